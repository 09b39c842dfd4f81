//! What the preview says of fields that Helm 3 wrote and that a new version has no more: they go when the object becomes a
//! server-side applied one.

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use super::previewing::Previewing;
use crate::cluster::falls_away::{merge_patch, without_fallen};
use crate::cluster::object::Patch;
use crate::cluster::take_over::take_over;

/// An object as it comes out, and what is to be said of it.
pub(super) struct Outcome {
    pub object: Value,
    pub note: Option<String>,
}

impl Previewing<'_> {
    /// What becomes of an object with the fields gone that fall away. The server is asked what it makes of that, defaults
    /// included; where it refuses to say, the fields are shown as gone.
    pub(super) async fn fallen(
        &self,
        reference: &ObjectRef,
        (now, manager): (Option<&Value>, &str),
        wanted: &Value,
        applied: Value,
    ) -> Outcome {
        let taken = now.filter(|now| take_over(now, manager).is_some());
        let Some((now, left)) = taken.and_then(|now| {
            let left = without_fallen(now, manager, wanted, &applied)?;
            Some((now, left))
        }) else {
            return Outcome {
                object: applied,
                note: None,
            };
        };
        let patch = Patch::Merge(merge_patch(now, &left));
        match self.cluster.patch(reference, &patch, manager, true).await {
            Ok(object) => Outcome { object, note: None },
            Err(error) => Outcome {
                object: left,
                note: Some(format!(
                    "fields that Helm 3 wrote and this version has no more go; what the server puts in their place is not \
                     known: {error}"
                )),
            },
        }
    }
}
