//! What a pod is of: the workload that makes it.

use serde_json::Value;

use crate::object::{label, name};

/// A workload by kind and name, in the pod's namespace; the pod itself where nothing has made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner<'a> {
    /// `Deployment`, `StatefulSet`, ..., `Pod`.
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// The workload of a pod.
pub fn of(pod: &Value) -> Owner<'_> {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let owner = owners
        .into_iter()
        .flatten()
        .find(|owner| owner["controller"] == true);
    let Some(owner) = owner else {
        return Owner {
            kind: "Pod",
            name: name(pod),
        };
    };
    let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or_default();
    // A Deployment's ReplicaSet has its name, a dash and the hash that the pod is labelled with.
    let deployment = label(pod, "pod-template-hash")
        .and_then(|hash| text("name").strip_suffix(hash)?.strip_suffix('-'))
        .filter(|_| text("kind") == "ReplicaSet");
    match deployment {
        Some(name) => Owner {
            kind: "Deployment",
            name,
        },
        None => Owner {
            kind: text("kind"),
            name: text("name"),
        },
    }
}
