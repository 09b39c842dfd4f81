//! What operations make of the cluster's Lease: it is taken before anything is changed, and where it cannot be had,
//! the settings say whether to do without. A preview only says how things stand.

use std::sync::Arc;
use std::time::Duration;

use meshery_plugin_api::message::finding::Severity;
use tokio::sync::watch;

use crate::cluster::lease::{Holder, LeaseNeeded, Outlook, is_refusal};
use crate::cluster::tenure::Tenure;
use crate::cluster::{Cluster, ClusterError};
use crate::operation::engine::Engine;
use crate::operation::preview::{Preview, Risk};
use crate::problem::{Problem, ProblemKind};

/// What an operation is told to do about a Lease that it may not have.
const REMEDY: &str = "give the user get, create and update on leases.coordination.k8s.io in namespace kube-system, or \
                      set lease = \"when-allowed\" under [cluster] if no other host changes this cluster";

impl Engine {
    /// Waits until this host has the cluster; `holder` says who has it until then.
    pub async fn tenure(
        &self,
        cluster: Arc<Cluster>,
        patience: Duration,
        holder: &watch::Sender<Option<Holder>>,
    ) -> Result<Tenure, Problem> {
        let waiting = |now| {
            holder.send_replace(Some(now));
        };
        let term = self.lease.term;
        match Tenure::take(cluster.clone(), &self.host, term, patience, &self.tasks, waiting).await {
            Ok(tenure) => Ok(tenure),
            Err(error) if is_refusal(&error) => {
                if self.lease.needed == LeaseNeeded::Required {
                    return Err(refused(&error));
                }
                tracing::warn!(cluster = %cluster.uid(), %error, "the cluster is changed without a lease");
                Ok(Tenure::without_lease())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Adds to a preview what a run would meet.
    pub async fn add_lease_outlook(&self, preview: &mut Preview, cluster: &Cluster) -> Result<(), Problem> {
        match cluster.lease_outlook(self.host.holder()).await? {
            Outlook::Free => {}
            Outlook::Held(holder) if self.host.succeeds(&holder.name) => {}
            Outlook::Held(holder) => preview
                .notes
                .push(format!("{holder}; a run waits until it gives it back")),
            Outlook::Refused(error) => {
                let (severity, message) = match self.lease.needed {
                    LeaseNeeded::Required => (
                        Severity::Error,
                        format!("{}; the run would be refused: {REMEDY}", refused(&error)),
                    ),
                    LeaseNeeded::WhenAllowed => (
                        Severity::Warning,
                        format!(
                            "{error}: the cluster is changed without a lease, so that another host that changes it \
                             at the same time is not seen"
                        ),
                    ),
                };
                let risk = Risk {
                    severity,
                    code: "no-lease".into(),
                    message,
                    object: None,
                };
                let place = preview.risks.partition_point(|other| other.severity <= severity);
                preview.risks.insert(place, risk);
            }
        }
        Ok(())
    }
}

fn refused(error: &ClusterError) -> Problem {
    let kind = match error {
        ClusterError::NotServed { .. } => ProblemKind::Unavailable,
        _ => ProblemKind::Forbidden,
    };
    Problem::new(
        kind,
        "no-lease",
        format!("this host cannot make sure that no other one changes the cluster meanwhile: {error}"),
    )
    .cause("hosts take turns at a cluster by a Lease in kube-system, and the cluster does not let this host have it")
    .remedy(REMEDY)
}
