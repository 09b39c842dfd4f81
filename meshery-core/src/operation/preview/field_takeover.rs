//! Fields that become a release's own before it is applied: those that its manager wrote by updates, as Helm 3 does, and
//! those of whoever made an object that it takes over. A dry run of the apply sees nothing of that, so a preview works out
//! what goes with them.

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use crate::cluster::falls_away::{merge_patch, without_fallen};
use crate::cluster::object::Patch;
use crate::cluster::take_over::take_over;
use crate::cluster::{Cluster, ClusterError};
use crate::operation::consent::Consents;
use crate::operation::object::ownership::gives_way;
use crate::operation::plan::stored::ReleaseName;

/// Whose fields go over, and to whom.
pub(super) struct FieldTakeover<'a> {
    manager: &'a str,
    /// Who has made the object and gives way; nobody when it is the manager's own by updates.
    pub makers: Vec<String>,
}

/// An object as it comes out.
pub(super) struct Outcome {
    pub object: Value,
    /// Why the server does not say what it puts in the place of fields that go.
    pub refused: Option<ClusterError>,
}

impl<'a> FieldTakeover<'a> {
    /// Nothing when everything is the manager's, or stays with whoever has it.
    pub fn of(
        now: &Value,
        manifest: &Value,
        (manager, release): (&'a str, Option<&ReleaseName>),
        given: Consents,
    ) -> Option<Self> {
        let makers = gives_way(now, manifest, release, given);
        take_over(now, manager, &makers).map(|_| Self { manager, makers })
    }

    /// What becomes of the object, which is `applied` with the fields that are still there, without those that fall away. The
    /// server is asked what it makes of that, defaults included; where it refuses to say, the fields are shown as gone.
    pub async fn fallen(
        &self,
        cluster: &Cluster,
        reference: &ObjectRef,
        now: &Value,
        wanted: &Value,
        applied: Value,
    ) -> Outcome {
        let Some(left) = without_fallen(now, (self.manager, &self.makers), wanted, &applied) else {
            return Outcome {
                object: applied,
                refused: None,
            };
        };
        let patch = Patch::Merge(merge_patch(now, &left));
        match cluster.patch(reference, &patch, self.manager, true).await {
            Ok(object) => Outcome {
                object,
                refused: None,
            },
            Err(error) => Outcome {
                object: left,
                refused: Some(error),
            },
        }
    }

    /// What is to be said of it. What the server says, as it may be told, is in `refusal`.
    pub fn note(&self, refusal: Option<&str>) -> Option<String> {
        let takes_over = (!self.makers.is_empty()).then(|| {
            format!(
                "it was made by {}, and becomes the release's own",
                self.makers.join(" and ")
            )
        });
        let unknown = refusal.map(|refusal| {
            format!(
                "fields that this version has no more go; what the server puts in their place is not known: {refusal}"
            )
        });
        let said: Vec<String> = takes_over.into_iter().chain(unknown).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}
