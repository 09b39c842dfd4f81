//! What is in the namespace, and whether it is what it has to be.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use meshery_tests::cluster::Cluster;
use meshery_tests::snapshot::release_record;
use serde_json::Value;

use super::NAMESPACE;
use super::script::Script;
use crate::namespace::succeeded;

/// The objects of the namespace, by reference.
#[derive(Debug, Clone)]
pub struct World(BTreeMap<String, Value>);

impl World {
    pub fn read(cluster: &Cluster) -> anyhow::Result<Self> {
        let kinds = "configmaps,secrets,deployments.apps";
        let text = succeeded(cluster.kubectl(&[
            "get",
            kinds,
            "--namespace",
            NAMESPACE,
            "--output=json",
            "--show-managed-fields",
        ]))?;
        let all: Value = serde_json::from_str(&text)?;
        let objects = all["items"].as_array().context("a list has items")?;
        let text = |object: &Value, pointer: &str| {
            let text = object.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        Ok(Self(
            objects
                .iter()
                .map(|object| {
                    let name = format!(
                        "{}/{}/{NAMESPACE}/{}",
                        text(object, "/apiVersion"),
                        text(object, "/kind"),
                        text(object, "/metadata/name")
                    );
                    (name, object.clone())
                })
                .filter(|(name, _)| {
                    // It is the cluster's.
                    !name.ends_with("/kube-root-ca.crt")
                })
                .collect(),
        ))
    }

    /// What others have made, to the last byte.
    fn others(&self) -> BTreeMap<&String, &Value> {
        self.0
            .iter()
            .filter(|(name, _)| name.contains("/others-"))
            .collect()
    }

    /// That nothing of what others have made was touched.
    pub fn same_others(&self, now: &Self) -> anyhow::Result<()> {
        let (before, now) = (self.others(), now.others());
        ensure!(
            before == now,
            "what others have made is not as it was: {before:#?}\nand now {now:#?}"
        );
        Ok(())
    }

    /// That what somebody has changed in the midst of it is still so, if it is the same object.
    pub fn has_kept(&self, theirs: Option<&(String, String)>) -> anyhow::Result<()> {
        let Some((name, uid)) = theirs else { return Ok(()) };
        let Some(now) = self
            .0
            .get(name)
            .filter(|now| now["metadata"]["uid"] == uid.as_str())
        else {
            return Ok(());
        };
        ensure!(
            now["data"]["theirs"] == "yes",
            "{name} has lost what somebody has written into it: {now:#}"
        );
        Ok(())
    }

    /// That this is what a script leaves when it has succeeded.
    pub fn is_end_of(
        &self,
        script: &Script,
        events: &[Value],
        disturbed: &BTreeSet<String>,
    ) -> anyhow::Result<()> {
        for (object, end) in &script.ends {
            let value = self.0.get(object).map(|now| &now["data"]["value"]);
            let fits = match end {
                Some(end) => value.is_some_and(|value| value == end),
                None => value.is_none(),
            };
            ensure!(
                fits || disturbed.contains(object),
                "{object} has the value {value:?} and not {end:?}"
            );
        }
        let mut last: BTreeMap<&str, &str> = BTreeMap::new();
        for event in events.iter().filter(|event| event["kind"] == "object") {
            if let (Some(object), Some(change)) = (event["object"].as_str(), event["change"].as_str()) {
                last.insert(object, change);
            }
        }
        for (object, change) in last {
            let watched = ["v1/ConfigMap/", "v1/Secret/", "apps/v1/Deployment/"]
                .iter()
                .any(|kind| object.starts_with(kind));
            let there = match change {
                "created" | "updated" | "recreated" | "unchanged" | "kept" | "ready" => true,
                "deleted" | "absent" => false,
                _ => continue,
            };
            ensure!(
                !watched || disturbed.contains(object) || self.0.contains_key(object) == there,
                "the journal says of {object} that it was {change}"
            );
        }
        Ok(())
    }

    /// That this is as it was before a script, object by object.
    pub fn is_as_before(
        &self,
        before: &Self,
        script: &Script,
        disturbed: &BTreeSet<String>,
    ) -> anyhow::Result<()> {
        let names: BTreeSet<&String> = self.0.keys().chain(before.0.keys()).collect();
        for name in names.into_iter().filter(|name| !disturbed.contains(*name)) {
            let remade = script.remade.contains(name)
                || name.contains("/piece-")
                || name.contains("/sh.helm.release.")
                || name.contains("/secret-");
            let seen = |world: &Self| world.0.get(name).map(|object| essence(object, remade));
            let (was, is) = (seen(before), seen(self));
            ensure!(was == is, "{name} was\n{was:#?}\nand is\n{is:#?}");
            if !remade {
                let theirs = |world: &Self| world.0.get(name).map(of_somebody);
                let (was, is) = (theirs(before), theirs(self));
                ensure!(was == is, "of {name}, somebody had\n{was:#?}\nand has\n{is:#?}");
            }
        }
        Ok(())
    }
}

/// What an object is, without what says when and how it came to be.
fn essence(object: &Value, remade: bool) -> Value {
    let mut object = object.clone();
    if object["type"] == "helm.sh/release.v1"
        && let Some(record) = object["data"]["release"].as_str().and_then(release_record)
    {
        object["data"]["release"] = record;
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["generation", "resourceVersion", "managedFields"] {
            metadata.remove(field);
        }
        if remade {
            for field in ["uid", "creationTimestamp"] {
                metadata.remove(field);
            }
        }
    }
    // A restart is none that is taken back.
    for (pointer, key) in [
        ("/metadata", "deployment.kubernetes.io/revision"),
        ("/spec/template/metadata", "kubectl.kubernetes.io/restartedAt"),
    ] {
        let Some(metadata) = object.pointer_mut(pointer).and_then(Value::as_object_mut) else {
            continue;
        };
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(key);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    object
}

/// The fields that the other field manager owns.
fn of_somebody(object: &Value) -> Vec<Value> {
    let entries = object["metadata"]["managedFields"].as_array();
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry["manager"] == "somebody")
        .map(|entry| entry["fieldsV1"].clone())
        .collect()
}
