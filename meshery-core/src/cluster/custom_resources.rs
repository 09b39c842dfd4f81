//! The objects of the kind that a definition (a CRD) defines: what must be known before the definition goes, as they go
//! with it.

use std::time::{Duration, Instant};

use meshery_plugin_api::message::facts::Detail;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;
use tokio::time::sleep;

use super::contents::{MOST, PartialObject, partial};
use super::discovery::{ResourceType, SOON};
use super::error::ClusterError;
use super::handle::Cluster;
use super::list::Choice;

const PAUSE: Duration = Duration::from_millis(250);

impl Cluster {
    /// The objects of the kind that a definition defines, in all namespaces. None if the definition is not there or never
    /// came into force; an error if there may be some that the server does not show.
    pub async fn custom_resources_of(&self, crd: &ObjectRef) -> Result<Vec<PartialObject>, ClusterError> {
        let deadline = Instant::now() + SOON;
        loop {
            let Some(definition) = self.get(crd).await?.filter(was_in_force) else {
                return Ok(Vec::new());
            };
            let unknown = |reason: String| ClusterError::InstancesUnknown {
                definition: crd.clone(),
                reason,
            };
            let Some(version) = served_version(&definition) else {
                return Err(unknown("none of its versions is served".into()));
            };
            let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or("");
            let kind = ResourceType {
                group: text("/spec/group").to_owned(),
                version: version.to_owned(),
                kind: text("/spec/names/kind").to_owned(),
                plural: text("/spec/names/plural").to_owned(),
                namespaced: text("/spec/scope") == "Namespaced",
                verbs: Vec::new(),
            };
            match self
                .list_chosen(&kind, Choice::default(), Detail::Metadata, MOST)
                .await
            {
                Ok(listed) => return Ok(listed.items.iter().filter_map(partial).collect()),
                // It was deleted since we looked, or one of several servers has not heard of it yet.
                Err(ClusterError::NotServed { .. }) if Instant::now() < deadline => sleep(PAUSE).await,
                Err(ClusterError::NotServed { .. }) => {
                    return Err(unknown(format!("the server does not list its version {version}")));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the server has ever taken objects of it.
fn was_in_force(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| {
        condition["status"] == "True"
            && (condition["type"] == "Established" || condition["type"] == "NamesAccepted")
    })
}

/// The version to list its objects in: rather one in which they are kept, as that needs no conversion, whose webhook may be
/// the very thing that is being removed. The oldest that objects were ever kept in may not be served any more.
fn served_version(definition: &Value) -> Option<&str> {
    let versions = definition["spec"]["versions"].as_array()?;
    let served: Vec<&str> = versions
        .iter()
        .filter(|version| version["served"] == true)
        .filter_map(|version| version["name"].as_str())
        .collect();
    let stored = definition["status"]["storedVersions"].as_array();
    let mut stored = stored.into_iter().flatten().filter_map(Value::as_str);
    stored
        .find(|version| served.contains(version))
        .or_else(|| served.first().copied())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(versions: &[(&str, bool)], stored: &[&str]) -> Value {
        let versions: Vec<Value> = versions
            .iter()
            .map(|(name, served)| json!({"name": name, "served": served}))
            .collect();
        json!({"spec": {"versions": versions}, "status": {"storedVersions": stored}})
    }

    #[test]
    fn objects_are_listed_in_a_version_that_is_served_and_rather_in_one_that_they_are_kept_in() {
        for (versions, stored, expected) in [
            (&[("v1", true)][..], &["v1"][..], Some("v1")),
            (&[("v1", true), ("v2", true)], &["v2"], Some("v2")),
            (
                &[("v1alpha1", false), ("v1", true)],
                &["v1alpha1", "v1"],
                Some("v1"),
            ),
            (&[("v1alpha1", false), ("v1", true)], &["v1alpha1"], Some("v1")),
            (&[("v1", true)], &[], Some("v1")),
            (&[("v1", false)], &["v1"], None),
        ] {
            let definition = definition(versions, stored);
            assert_eq!(served_version(&definition), expected, "{definition}");
        }
    }

    #[test]
    fn a_definition_that_never_came_into_force_has_no_objects() {
        let with =
            |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status}]}});
        assert!(was_in_force(&with("Established", "True")));
        assert!(was_in_force(&with("NamesAccepted", "True")));
        for never in [
            json!({}),
            with("NamesAccepted", "False"),
            with("Established", "False"),
        ] {
            assert!(!was_in_force(&never), "{never}");
        }
    }
}
