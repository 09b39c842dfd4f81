//! The Lease by which hosts that know nothing of each other take turns at a cluster: one object in kube-system, who
//! holds it, and since when.
//!
//! The times in it are for people. The server enforces nothing, and clocks of different machines are not compared:
//! who waits goes by its own clock and by when it last saw the object change. Each write names the state that it
//! replaces, so that of two that want the lease one gets it.

use http::Method;
use k8s_openapi::jiff::Timestamp;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::{Value, json};
use std::time::Duration;

use super::discovery::ResourceType;
use super::error::ClusterError;
use super::handle::Cluster;
use super::request::{JSON, Request};

/// Where the Lease is.
pub const NAMESPACE: &str = "kube-system";
/// How it is called.
pub const NAME: &str = "meshery";

/// The shortest and the longest term that makes sense: who has a shorter one loses it to a slow answer, and a longer
/// one keeps others waiting after a crash.
pub const TERMS: std::ops::RangeInclusive<u64> = 3..=300;

/// How the cluster's Lease is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSettings {
    /// Without being renewed for so long, it may be taken by another host. In whole seconds, within [`TERMS`].
    pub term: Duration,
    /// What happens where the cluster does not let us have one.
    pub needed: LeaseNeeded,
}

/// What happens where the cluster does not let us have a Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseNeeded {
    /// Nothing is changed in the cluster.
    #[default]
    Required,
    /// The cluster is changed without one: another host that does so at the same time is not seen.
    WhenAllowed,
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self {
            term: Duration::from_secs(15),
            needed: LeaseNeeded::default(),
        }
    }
}

/// The Lease as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    object: Value,
}

/// Who holds a cluster, as its Lease says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub name: String,
    /// As the holder's clock had it.
    pub since: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "host {} holds the cluster", self.name)?;
        if !self.since.is_empty() {
            write!(f, " since {}", self.since)?;
        }
        Ok(())
    }
}

impl Lease {
    fn text(&self, pointer: &str) -> &str {
        self.object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Changes with every write.
    pub fn version(&self) -> &str {
        self.text("/metadata/resourceVersion")
    }

    /// Empty when nobody holds it.
    pub fn holder_name(&self) -> &str {
        self.text("/spec/holderIdentity")
    }

    pub fn holder(&self) -> Holder {
        Holder {
            name: self.holder_name().to_owned(),
            since: self.text("/spec/acquireTime").to_owned(),
        }
    }

    /// How often it went to somebody: the number of this tenure.
    pub fn transitions(&self) -> i64 {
        self.object
            .pointer("/spec/leaseTransitions")
            .and_then(Value::as_i64)
            .unwrap_or(0)
    }

    /// For how long its holder may go without renewing it. Whoever wrote it may have written anything.
    pub fn term(&self) -> Duration {
        let seconds = self
            .object
            .pointer("/spec/leaseDurationSeconds")
            .and_then(Value::as_u64)
            .unwrap_or(*TERMS.start());
        Duration::from_secs(seconds.clamp(*TERMS.start(), *TERMS.end()))
    }

    /// Whether it is still what its taker made of it, whatever else was written into it.
    pub fn is_tenure(&self, holder: &str, transitions: i64) -> bool {
        self.holder_name() == holder && self.transitions() == transitions
    }

    /// A new one, held.
    pub fn new(holder: &str, term: Duration) -> Self {
        let object = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/managed-by": "meshery"}},
            "spec": {},
        });
        Self { object }.taken(holder, term)
    }

    /// The same, taken by a holder.
    pub fn taken(mut self, holder: &str, term: Duration) -> Self {
        let transitions = self.transitions().saturating_add(1).clamp(1, i32::MAX.into());
        let now = now();
        self.set("holderIdentity", holder.into());
        self.set("leaseDurationSeconds", term.as_secs().into());
        self.set("acquireTime", now.as_str().into());
        self.set("renewTime", now.into());
        self.set("leaseTransitions", transitions.into());
        self
    }

    /// The same, renewed by who holds it.
    pub fn renewed(mut self) -> Self {
        self.set("renewTime", now().into());
        self
    }

    /// The same, for anybody to take.
    pub fn released(mut self) -> Self {
        self.set("holderIdentity", "".into());
        self.renewed()
    }

    fn set(&mut self, field: &str, value: Value) {
        if let Some(lease) = self.object.as_object_mut() {
            let spec = lease.entry("spec").or_insert_with(|| json!({}));
            if !spec.is_object() {
                *spec = json!({});
            }
            spec[field] = value;
        }
    }
}

/// The server wants all six decimals.
fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

/// How the Lease stands, for whoever thinks about taking it.
#[derive(Debug)]
pub(crate) enum Outlook {
    /// Nobody holds it, or this host itself does.
    Free,
    /// Somebody does, at this moment.
    Held(Holder),
    /// It cannot be taken.
    Refused(ClusterError),
}

/// Whether an error says that the cluster does not let us have a Lease, now or later.
pub(crate) fn is_refusal(error: &ClusterError) -> bool {
    matches!(
        error,
        ClusterError::Forbidden { .. } | ClusterError::NotServed { .. } | ClusterError::Denied { .. }
    )
}

impl Cluster {
    fn lease_request(method: Method, verb: &'static str, query: &str) -> Result<Request, ClusterError> {
        let kind = ResourceType {
            group: "coordination.k8s.io".into(),
            version: "v1".into(),
            kind: "Lease".into(),
            plural: "leases".into(),
            namespaced: true,
            verbs: Vec::new(),
        };
        let mut request = if method == Method::POST {
            let mut request = Request::collection(method, verb, &kind, NAMESPACE, query);
            request.subject.object.name = NAME.into();
            request
        } else {
            Request::object(method, verb, &kind, (NAMESPACE, NAME), query)?
        };
        // A holder that waits behind its own writes would lose what allows them.
        request.urgent = true;
        Ok(request)
    }

    pub(crate) async fn read_lease(&self) -> Result<Option<Lease>, ClusterError> {
        let request = Self::lease_request(Method::GET, "get", "")?;
        match self.connection.send(&request).await {
            Ok(answer) => {
                let object = answer.json(|| request.subject.what())?;
                Ok(Some(Lease { object }))
            }
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it in the place of the one that was read, or as a new one. [`ClusterError::ObjectChanged`] and
    /// [`ClusterError::AlreadyExists`] say that somebody was faster.
    pub(crate) async fn write_lease(&self, lease: &Lease) -> Result<Lease, ClusterError> {
        self.put_lease(lease, "").await
    }

    async fn put_lease(&self, lease: &Lease, query: &str) -> Result<Lease, ClusterError> {
        let (method, verb) = if lease.version().is_empty() {
            (Method::POST, "create")
        } else {
            (Method::PUT, "update")
        };
        let request = Self::lease_request(method, verb, query)?.body(JSON, lease.object.to_string());
        let answer = self.connection.send(&request).await?;
        let object = answer.json(|| request.subject.what())?;
        Ok(Lease { object })
    }

    /// Looks how the Lease stands, without writing it.
    pub(crate) async fn lease_outlook(&self, us: &str) -> Result<Outlook, ClusterError> {
        let looked = async {
            let now = self.read_lease().await?;
            let wanted = match &now {
                None => Lease::new(us, LeaseSettings::default().term),
                Some(lease) => lease.clone().renewed(),
            };
            match self.put_lease(&wanted, "dryRun=All").await {
                Err(error) if is_refusal(&error) => return Err(error),
                // Somebody writes it at this moment, or the server is not well: the run will see.
                _ => {}
            }
            Ok(match now {
                Some(lease) if !lease.holder_name().is_empty() && lease.holder_name() != us => {
                    Outlook::Held(lease.holder())
                }
                _ => Outlook::Free,
            })
        };
        match looked.await {
            Err(error) if is_refusal(&error) => Ok(Outlook::Refused(error)),
            other => other,
        }
    }

    /// The Lease, for messages.
    pub(crate) fn lease_ref() -> ObjectRef {
        ObjectRef::new("coordination.k8s.io/v1", "Lease", NAMESPACE, NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_says_nonsense_has_a_term_within_bounds() {
        let lease = |spec: Value| Lease {
            object: json!({"spec": spec}),
        };
        for (spec, seconds) in [
            (json!({"leaseDurationSeconds": 15}), 15),
            (json!({"leaseDurationSeconds": 0}), 3),
            (json!({"leaseDurationSeconds": -4}), 3),
            (json!({"leaseDurationSeconds": 2_000_000_000}), 300),
            (json!(null), 3),
        ] {
            assert_eq!(lease(spec.clone()).term().as_secs(), seconds, "{spec}");
        }
        assert_eq!(
            lease(json!(null))
                .taken("a", Duration::from_secs(9))
                .holder_name(),
            "a"
        );
        let most = lease(json!({"leaseTransitions": i32::MAX})).taken("a", Duration::from_secs(9));
        assert_eq!(most.transitions(), i64::from(i32::MAX));
    }

    #[test]
    fn what_others_wrote_into_it_stays() {
        let object = json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"strategy": "x"}});
        let lease = Lease { object }.taken("a", Duration::from_secs(15)).released();
        assert_eq!(lease.text("/metadata/annotations/a"), "b");
        assert_eq!(lease.text("/spec/strategy"), "x");
        assert_eq!(lease.holder_name(), "");
    }

    #[test]
    fn times_have_six_decimals() {
        assert_eq!(now().len(), "2026-11-22T20:00:00.000000Z".len(), "{}", now());
    }
}
