//! What is in the namespaces and of the kinds that plans are about, and whether it is what it has to be.

pub mod reader;
pub mod release;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use meshery_tests::snapshot::release_record;
use serde_json::Value;

use super::NAMESPACE;
use super::script::{End, Script, around};
use reader::Reader;

/// The objects, by reference.
#[derive(Debug, Clone)]
pub struct World(BTreeMap<String, Value>);

/// Where lists are, and of what.
fn lists() -> [(String, &'static str, &'static str); 6] {
    let core = format!("/api/v1/namespaces/{NAMESPACE}");
    let inner = around::INNER;
    let things = format!("/apis/{}/v1/namespaces/{NAMESPACE}/things", around::GROUP);
    [
        (format!("{core}/configmaps"), "v1", "ConfigMap"),
        (format!("{core}/secrets"), "v1", "Secret"),
        (
            format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments"),
            "apps/v1",
            "Deployment",
        ),
        (
            format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs"),
            "batch/v1",
            "Job",
        ),
        (
            format!("/api/v1/namespaces/{inner}/configmaps"),
            "v1",
            "ConfigMap",
        ),
        (things, around::API_VERSION, "Thing"),
    ]
}

/// Where the objects of no namespace are.
fn single() -> [String; 3] {
    [
        format!("/api/v1/namespaces/{}", around::INNER),
        format!(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}",
            around::DEFINITION
        ),
        format!(
            "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{}",
            around::WEBHOOK
        ),
    ]
}

impl World {
    pub fn read(reader: &Reader) -> anyhow::Result<Self> {
        let lists = lists();
        let paths: Vec<String> = lists
            .iter()
            .map(|(path, ..)| path.clone())
            .chain(single())
            .collect();
        let mut found = reader.read(&paths)?.into_iter();
        let mut world = BTreeMap::new();
        for (_, api_version, kind) in lists {
            let Some(list) = found.next().flatten() else {
                continue;
            };
            for object in list["items"].as_array().context("a list has items")? {
                let mut object = object.clone();
                // Objects of a list do not say what they are.
                object["apiVersion"] = api_version.into();
                object["kind"] = kind.into();
                // It is the cluster's.
                if object["metadata"]["name"] != "kube-root-ca.crt" {
                    world.insert(reference_of(&object), object);
                }
            }
        }
        for object in found.flatten() {
            world.insert(reference_of(&object), object);
        }
        Ok(Self(world))
    }

    pub fn has(&self, object: &str) -> bool {
        self.0.contains_key(object)
    }

    /// That an object has the value that somebody has written into it.
    pub fn has_value_of(&self, name: &str, wanted: &Value) -> anyhow::Result<()> {
        let value = self.0.get(name).and_then(value_of);
        ensure!(
            value == value_of(wanted),
            "{name} has the value {value:?}, and not what somebody has written into it: {wanted:#}"
        );
        Ok(())
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
            let now = self.0.get(object);
            let value = now.and_then(value_of);
            let fits = match end {
                End::Value(end) => value == Some(end),
                End::There => now.is_some(),
                End::Gone => now.is_none(),
            };
            ensure!(
                fits || disturbed.contains(object),
                "{object} has the value {value:?} and not {end:?}"
            );
        }
        for (object, _) in script.of_somebody("") {
            let theirs = self.0.get(&object).map(of_somebody).unwrap_or_default();
            ensure!(
                !theirs
                    .iter()
                    .any(|fields| fields.pointer("/f:data/f:value").is_some()),
                "{object} was taken by force, and its value is somebody's: {theirs:?}"
            );
        }
        let mut last: BTreeMap<&str, &str> = BTreeMap::new();
        for event in events.iter().filter(|event| event["kind"] == "object") {
            if let (Some(object), Some(change)) = (event["object"].as_str(), event["change"].as_str()) {
                last.insert(object, change);
            }
        }
        for (object, change) in last {
            let watched = lists()
                .iter()
                .any(|(_, api_version, kind)| object.starts_with(&format!("{api_version}/{kind}/")));
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

fn reference_of(object: &Value) -> String {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    format!(
        "{}/{}/{}/{}",
        text("/apiVersion"),
        text("/kind"),
        text("/metadata/namespace"),
        text("/metadata/name")
    )
}

/// What a plan has written into an object.
fn value_of(object: &Value) -> Option<&str> {
    ["/data/value", "/spec/value"]
        .iter()
        .find_map(|pointer| object.pointer(pointer)?.as_str())
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
