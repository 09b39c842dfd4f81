//! Manifests on their way to the server: whose address they have, and what of them is sent.
//!
//! Much of an object that was read from a server, or written by hand, must not be sent back: identity and
//! bookkeeping make the server refuse it, owners of another cluster make it delete the object at once, and fields
//! that say `null` become owned by us. Written straight into the request, so that no object is copied for it.

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::apply::Guard;
use super::discovery::ResourceType;
use super::error::ClusterError;

/// Metadata that only the server writes, or that means something only where it was read: no manifest has it, and it is never part
/// of what a run changes.
pub(crate) const OF_THE_SERVER: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The reference of a manifest, or what it lacks.
pub(super) fn reference(object: &Value) -> Result<ObjectRef, ClusterError> {
    ObjectRef::of(object).ok_or_else(|| {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or("");
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let lacks = [("apiVersion", api_version), ("kind", kind)]
            .iter()
            .find(|(_, value)| value.is_empty())
            .map_or("metadata.name", |(field, _)| field);
        let message = if lacks == "metadata.name" && object.pointer("/metadata/generateName").is_some() {
            "generateName cannot be used: an object that is to be found again needs a name".to_owned()
        } else {
            format!("the manifest has no {lacks}")
        };
        ClusterError::Invalid {
            object: ObjectRef::new(api_version, kind, text("/metadata/namespace"), ""),
            causes: Vec::new(),
            message,
        }
    })
}

/// That an object of a namespaced kind names its namespace: which one is meant by none is not ours to guess.
pub(super) fn has_namespace(object: &ObjectRef, kind: &ResourceType) -> Result<(), ClusterError> {
    if kind.namespaced && object.namespace.is_empty() {
        return Err(ClusterError::Invalid {
            object: object.clone(),
            causes: Vec::new(),
            message: format!("{} lives in a namespace, and none is named", object.kind),
        });
    }
    Ok(())
}

/// A manifest as it is sent.
pub(super) struct Manifest<'a> {
    pub(super) object: &'a Value,
    pub(super) kind: &'a ResourceType,
    pub(super) guard: Option<&'a Guard>,
}

impl Manifest<'_> {
    pub(super) fn bytes(&self) -> Vec<u8> {
        // A value of strings as keys always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether null may mean something: in an object of a kind that Kubernetes does not know itself.
    fn keeps_nulls(&self) -> bool {
        self.kind.group.contains('.') && !self.kind.group.ends_with(".k8s.io")
    }
}

impl Serialize for Manifest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.object.as_object().into_iter().flatten() {
            match (key.as_str(), value) {
                ("status", _) | (_, Value::Null) => {}
                ("metadata", Value::Object(metadata)) => map.serialize_entry(
                    key,
                    &Metadata {
                        metadata,
                        manifest: self,
                    },
                )?,
                _ if self.keeps_nulls() => map.serialize_entry(key, value)?,
                _ => map.serialize_entry(key, &WithoutNulls(value))?,
            }
        }
        map.end()
    }
}

struct Metadata<'a> {
    metadata: &'a Map<String, Value>,
    manifest: &'a Manifest<'a>,
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.metadata {
            let dropped = value.is_null()
                || OF_THE_SERVER.contains(&key.as_str())
                || key == "ownerReferences"
                // Charts put one on cluster-wide objects too, and the server refuses that.
                || key == "namespace" && !self.manifest.kind.namespaced;
            if !dropped {
                map.serialize_entry(key, &WithoutNulls(value))?;
            }
        }
        if let Some(guard) = self.manifest.guard {
            if let Some(uid) = &guard.uid {
                map.serialize_entry("uid", uid)?;
            }
            if let Some(version) = &guard.resource_version {
                map.serialize_entry("resourceVersion", version)?;
            }
        }
        map.end()
    }
}

struct WithoutNulls<'a>(&'a Value);

impl Serialize for WithoutNulls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(object) => {
                let mut map = serializer.serialize_map(None)?;
                for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
                    map.serialize_entry(key, &WithoutNulls(value))?;
                }
                map.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(WithoutNulls)),
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(group: &str, namespaced: bool) -> ResourceType {
        ResourceType {
            group: group.into(),
            version: "v1".into(),
            kind: "Thing".into(),
            plural: "things".into(),
            namespaced,
            verbs: vec![],
        }
    }

    fn sent(object: &Value, kind: &ResourceType, guard: Option<&Guard>) -> Value {
        serde_json::from_slice(&Manifest { object, kind, guard }.bytes()).unwrap()
    }

    #[test]
    fn what_the_server_writes_is_not_sent_back() {
        let object = json!({"apiVersion": "v1", "kind": "Thing", "status": {"a": 1},
            "metadata": {"name": "a", "namespace": "ns", "uid": "1", "resourceVersion": "2", "generation": 3,
                "managedFields": [], "creationTimestamp": null, "labels": null, "annotations": {"a": null},
                "ownerReferences": [{"uid": "x"}]},
            "spec": {"a": null, "b": [{"c": null, "d": 1}]}});
        assert_eq!(
            sent(&object, &kind("apps", true), None),
            json!({"apiVersion": "v1", "kind": "Thing",
                "metadata": {"name": "a", "namespace": "ns", "annotations": {}}, "spec": {"b": [{"d": 1}]}})
        );
    }

    #[test]
    fn a_guard_takes_the_place_of_what_the_manifest_says() {
        let object = json!({"metadata": {"name": "a", "uid": "old", "resourceVersion": "1"}});
        let guard = Guard {
            uid: Some("new".into()),
            resource_version: None,
        };
        assert_eq!(
            sent(&object, &kind("", true), Some(&guard)),
            json!({"metadata": {"name": "a", "uid": "new"}})
        );
    }

    #[test]
    fn custom_resources_keep_their_nulls_and_cluster_wide_objects_lose_their_namespace() {
        let object = json!({"metadata": {"name": "a", "namespace": "ns"}, "spec": {"value": null}});
        assert_eq!(
            sent(&object, &kind("example.org", false), None),
            json!({"metadata": {"name": "a"}, "spec": {"value": null}})
        );
    }

    #[test]
    fn what_a_manifest_lacks_is_named() {
        for (object, said) in [
            (json!({}), "no apiVersion"),
            (json!({"apiVersion": "v1", "metadata": {"name": "a"}}), "no kind"),
            (json!({"apiVersion": "v1", "kind": "Pod"}), "no metadata.name"),
            (
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "a-"}}),
                "generateName cannot be used",
            ),
            (json!([1]), "no apiVersion"),
        ] {
            let error = reference(&object).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
