//! Everything that is in a cluster, to be compared object by object: what "as before" means.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::ensure;
use base64::Engine as _;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::everything::listed;

/// Metadata that says nothing about what an object is. The uid stays: an object that was made again is another one.
const BOOKKEEPING: &[&str] = &["generation", "managedFields", "resourceVersion"];
/// Metadata that an object has not for what it is, but for when and as which one it was made.
const IDENTITY: &[&str] = &["creationTimestamp", "uid"];
/// Annotations in which Kubernetes counts the rollouts of a workload.
const ROLLOUTS: &[&str] = &[
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
];
/// Kubernetes puts these into each namespace, a moment after it was made.
const BROUGHT_BY_NAMESPACES: [(&str, &str); 2] = [
    ("v1/ConfigMap/", "/kube-root-ca.crt"),
    ("v1/ServiceAccount/", "/default"),
];

/// The objects of a cluster, without status and bookkeeping.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    objects: BTreeMap<String, Value>,
}

impl Snapshot {
    /// Reads every object of every kind that can be listed.
    pub fn take(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut objects = listed(cluster)?;
        for object in objects.values_mut() {
            if let Some(fields) = object.as_object_mut() {
                fields.remove("status");
            }
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.retain(|key, _| !BOOKKEEPING.contains(&key.as_str()));
            }
            unpack_record(object);
        }
        Ok(Self { objects })
    }

    /// The names of the objects.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.objects.keys().map(String::as_str)
    }

    /// What is different now: names of objects, each with `+` (it is new), `-` (it is gone) or `~` (it has changed).
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.objects.keys().chain(now.objects.keys()).collect();
        names
            .into_iter()
            .filter_map(|name| match (self.objects.get(name), now.objects.get(name)) {
                (None, Some(_)) => Some(format!("+ {name}")),
                (Some(_), None) => Some(format!("- {name}")),
                (Some(before), Some(now)) if before != now => {
                    Some(format!("~ {name}\n    before {before}\n    now    {now}"))
                }
                _ => None,
            })
            .collect()
    }

    /// The same, not minding that objects were deleted and made again: whatever controllers made for them is not looked at.
    pub fn differences_of_remade(&self, now: &Self) -> Vec<String> {
        self.without_identity().differences(&now.without_identity())
    }

    /// Waits until the cluster is as it was; controllers need a moment. Fails with what is different.
    pub fn await_same(&self, cluster: &Cluster) -> anyhow::Result<()> {
        self.await_like(cluster, Self::clone)
    }

    /// The same, as [`Self::differences_of_remade`] looks at it.
    pub fn await_remade(&self, cluster: &Cluster) -> anyhow::Result<()> {
        self.await_like(cluster, Self::without_identity)
    }

    /// The same, not minding either when workloads were restarted last.
    pub fn await_restarted(&self, cluster: &Cluster) -> anyhow::Result<()> {
        self.await_like(cluster, Self::without_restarts)
    }

    /// The same, after something was mended by installing it again: Helm has recorded that, and what a chart makes anew each
    /// time, certificates of webhooks and what follows from them and from the moment, is another than before.
    pub fn await_mended(&self, cluster: &Cluster) -> anyhow::Result<()> {
        self.await_like(cluster, Self::without_what_an_installation_makes_anew)
    }

    fn without_what_an_installation_makes_anew(&self) -> Self {
        let mut snapshot = self.without_identity();
        snapshot
            .objects
            .retain(|_, object| object["type"] != "helm.sh/release.v1");
        for (name, object) in &mut snapshot.objects {
            if name.ends_with("-k8s-tls")
                && let Some(data) = object["data"].as_object_mut()
            {
                data.values_mut().for_each(|value| *value = Value::Null);
            }
            // Some minutes after it was rendered.
            if name.ends_with("/linkerd-heartbeat")
                && let Some(spec) = object["spec"].as_object_mut()
            {
                spec.remove("schedule");
            }
            for webhook in object["webhooks"].as_array_mut().into_iter().flatten() {
                if let Some(call) = webhook["clientConfig"].as_object_mut() {
                    call.remove("caBundle");
                }
            }
            for annotations in ["/metadata/annotations", "/spec/template/metadata/annotations"] {
                if let Some(annotations) = object.pointer_mut(annotations).and_then(Value::as_object_mut) {
                    let made_anew = |key: &str| {
                        key.starts_with("checksum/")
                            || ["meshery.io/operation", "kubectl.kubernetes.io/restartedAt"].contains(&key)
                    };
                    annotations.retain(|key, _| !made_anew(key));
                }
            }
        }
        snapshot
    }

    fn without_restarts(&self) -> Self {
        let mut snapshot = self.without_identity();
        for object in snapshot.objects.values_mut() {
            let template = object.pointer_mut("/spec/template/metadata");
            if let Some(template) = template.and_then(Value::as_object_mut) {
                if let Some(annotations) = template.get_mut("annotations").and_then(Value::as_object_mut) {
                    annotations.remove("kubectl.kubernetes.io/restartedAt");
                }
                template.retain(|key, value| key != "annotations" || *value != json!({}));
            }
        }
        snapshot
    }

    fn without_identity(&self) -> Self {
        let mut objects = self.objects.clone();
        objects.retain(|name, object| {
            let is_brought = |(kind, named): &(&str, &str)| name.starts_with(kind) && name.ends_with(named);
            object["metadata"]["ownerReferences"].is_null() && !BROUGHT_BY_NAMESPACES.iter().any(is_brought)
        });
        for object in objects.values_mut() {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.retain(|key, _| !IDENTITY.contains(&key.as_str()));
                if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                    annotations.retain(|key, _| !ROLLOUTS.contains(&key.as_str()));
                }
            }
        }
        Self { objects }
    }

    fn await_like(&self, cluster: &Cluster, view: fn(&Self) -> Self) -> anyhow::Result<()> {
        let before = view(self);
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let differences = before.differences(&view(&Self::take(cluster)?));
            if differences.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < end,
                "the cluster is not as before:\n{}",
                differences.join("\n")
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// What a record of a Helm release says is what it is; how it was packed is not.
fn unpack_record(object: &mut Value) {
    if object["type"] != "helm.sh/release.v1" {
        return;
    }
    if let Some(record) = object["data"]["release"].as_str().and_then(release_record) {
        object["data"]["release"] = record;
    }
}

/// The record of a Helm release, from the Secret's own field.
pub fn release_record(data: &str) -> Option<Value> {
    use std::io::Read as _;
    let decode = |data: &[u8]| base64::engine::general_purpose::STANDARD.decode(data).ok();
    let packed = decode(&decode(data.as_bytes())?)?;
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_end(&mut json)
        .ok()?;
    serde_json::from_slice(&json).ok()
}
