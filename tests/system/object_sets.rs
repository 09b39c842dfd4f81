//! Sets of objects: applied again with less, what fell away goes, if it still is ours; and an undo brings it back.

use std::sync::Arc;

use anyhow::ensure;
use libtest_mimic::Trial;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::invented::LIMIT;
use crate::namespace::{eventually, succeeded};
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "object_sets::what_falls_out_of_a_set_goes_comes_back_and_goes_with_the_set",
            pruned,
        ),
        trial(
            "object_sets::a_host_killed_while_a_member_goes_goes_on_or_brings_it_back",
            killed,
        ),
        trial(
            "object_sets::a_definition_with_custom_resources_and_a_namespace_in_use_stay",
            in_use,
        ),
        trial(
            "object_sets::what_others_have_taken_over_copied_or_mind_stays_and_is_named",
            taken_over,
        ),
    ]
}

struct Ground {
    cluster: Arc<Cluster>,
    host: Host,
    space: &'static str,
}

impl Ground {
    fn new(space: &'static str) -> anyhow::Result<Self> {
        let cluster = cluster()?;
        let host = Host::builder()
            .kubeconfig(cluster.kubeconfig())
            .settings("offline = true\n")
            .start()?;
        succeeded(cluster.kubectl(&["create", "namespace", space]))?;
        Ok(Self { cluster, host, space })
    }

    fn ask(&self, operation: &str, mut parameters: Value, accept: &[&str]) -> Value {
        parameters["namespace"] = self.space.into();
        parameters["set"] = "shop".into();
        json!({"adapter": "istio", "operation": operation, "parameters": parameters, "policy": {"accept": accept}})
    }

    fn apply(&self, names: &[&str]) -> Value {
        self.ask("apply-custom", json!({"yaml": maps(names)}), &[])
    }

    /// Plans, looks and runs; the preview's words by name of the object, and the record.
    fn perform(&self, asked: &Value) -> anyhow::Result<(Value, Value)> {
        let id = self.host.plan(asked)?;
        let preview = self
            .host
            .post(&format!("/api/v1/operations/{id}/preview"), &json!({}))?
            .expect(200)?;
        self.host.order(&id, "run")?;
        let record = self.host.await_end(&id, LIMIT)?;
        ensure!(
            record["state"] == "succeeded",
            "{record:#}\n{}",
            self.host.story(&id)
        );
        Ok((changes(&preview), record))
    }

    fn there(&self) -> anyhow::Result<Vec<String>> {
        let names = succeeded(self.cluster.kubectl(&[
            "get",
            "configmaps",
            "--namespace",
            self.space,
            "-o",
            "jsonpath={.items[*].metadata.name}",
        ]))?;
        let names = names.split_whitespace().map(str::to_owned);
        Ok(names.filter(|name| name != "kube-root-ca.crt").collect())
    }

    /// The ConfigMaps without what a new one has of its own.
    fn maps(&self) -> anyhow::Result<Value> {
        let maps = self.kubectl(&["get", "configmaps", "-o", "json"])?;
        let mut maps: Value = serde_json::from_str(&maps)?;
        for map in maps["items"].as_array_mut().into_iter().flatten() {
            let Some(metadata) = map["metadata"].as_object_mut() else {
                continue;
            };
            for field in ["uid", "resourceVersion", "creationTimestamp"] {
                metadata.remove(field);
            }
        }
        Ok(maps["items"].take())
    }

    fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let of_space = ["--namespace", self.space];
        succeeded(self.cluster.kubectl(&[arguments, &of_space[..]].concat()))
    }

    /// Lets somebody else apply the ConfigMap of this name, on the server's side.
    fn take(&self, name: &str, labels: &Value) -> anyhow::Result<()> {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": labels}, "data": {"value": "theirs"}});
        let file = self.cluster.dir().join(format!("{}-{name}.json", self.space));
        std::fs::write(&file, object.to_string())?;
        let file = file.to_string_lossy();
        self.kubectl(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=somebody",
            "-f",
            &file,
        ])
        .map(drop)
    }
}

fn maps(names: &[&str]) -> String {
    let documents: Vec<String> = names
        .iter()
        .map(|name| {
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: ours}}\n")
        })
        .collect();
    documents.join("---\n")
}

fn changes(preview: &Value) -> Value {
    let objects = preview["objects"].as_array().into_iter().flatten();
    let pairs = objects.filter_map(|object| {
        let name = object["ref"].as_str()?.rsplit('/').next()?.to_owned();
        Some((name, object["change"].clone()))
    });
    Value::Object(pairs.collect())
}

fn pruned() -> anyhow::Result<()> {
    let ground = Ground::new("object-set")?;
    let before = Snapshot::take(&ground.cluster)?;
    let (_, first) = ground.perform(&ground.apply(&["a", "b", "c"]))?;
    let label = ground.kubectl(&["get", "configmap", "a", "-o", "jsonpath={.metadata.labels}"])?;
    ensure!(label.contains("istio.shop"), "{label}");
    let whole = ground.maps()?;

    // Of a set that is not there, those that are are named.
    let mut mistyped = ground.ask("remove-custom", json!({}), &[]);
    mistyped["parameters"]["set"] = "shp".into();
    let notes = ground.host.record(&ground.host.plan(&mistyped)?)?["notes"].to_string();
    ensure!(
        notes.contains("shp") && notes.contains("sets of istio that are: shop"),
        "{notes}"
    );

    // Without pruning, what fell away stays and stays a member.
    let mut keeping = ground.apply(&["a", "b"]);
    keeping["parameters"]["prune"] = false.into();
    ground.perform(&keeping)?;
    ensure!(ground.there()? == ["a", "b", "c"]);

    let (preview, second) = ground.perform(&ground.apply(&["a"]))?;
    ensure!(
        preview == json!({"a": "unchanged", "b": "delete", "c": "delete"}),
        "{preview:#}"
    );
    ensure!(ground.there()? == ["a"]);
    // It comes back as it was, and is a member again.
    let id = second["id"].as_str().unwrap_or_default();
    ground.host.take_back(id, "undone", LIMIT)?;
    ensure!(ground.maps()? == whole);
    let (preview, _) = ground.perform(&ground.apply(&["a", "b"]))?;
    ensure!(
        preview == json!({"a": "unchanged", "b": "unchanged", "c": "delete"}),
        "{preview:#}"
    );
    ensure!(ground.there()? == ["a", "b"]);

    // Applied without the set, an object is no part of it any more.
    let mut alone = ground.apply(&["b"]);
    if let Some(parameters) = alone["parameters"].as_object_mut() {
        parameters.remove("set");
    }
    ground.perform(&alone)?;
    let (preview, removed) = ground.perform(&ground.ask("remove-custom", json!({}), &[]))?;
    ensure!(
        preview["a"] == "delete" && preview.get("b").is_none(),
        "{preview:#}"
    );
    ensure!(ground.there()? == ["b"]);
    let id = removed["id"].as_str().unwrap_or_default();
    ground.host.take_back(id, "undone", LIMIT)?;
    ensure!(ground.there()? == ["a", "b"]);
    let id = first["id"].as_str().unwrap_or_default();
    ground.host.take_back(id, "undone", LIMIT)?;
    before.await_same(&ground.cluster)?;
    ground
        .cluster
        .kubectl(&["delete", "namespace", ground.space, "--wait=false"]);
    Ok(())
}

/// One of those that go is held by a finalizer, so that the host is killed when it is half gone.
fn killed() -> anyhow::Result<()> {
    let mut ground = Ground::new("object-set-kill")?;
    ground.perform(&ground.apply(&["a", "b", "c"]))?;
    let whole = ground.maps()?;
    for (policy, end) in [("undo", "undone"), ("resume", "succeeded")] {
        let hold = |finalizers: &str| {
            let patch = format!("{{\"metadata\": {{\"finalizers\": {finalizers}}}}}");
            ground.kubectl(&["patch", "configmap", "b", "--type=merge", "--patch", &patch])
        };
        hold("[\"test.meshery.io/held\"]")?;
        let mut asked = ground.apply(&["a"]);
        asked["policy"] = json!({"on_interruption": policy});
        let id = ground.host.plan(&asked)?;
        ground.host.order(&id, "run")?;
        eventually(|| {
            let going = "jsonpath={.metadata.deletionTimestamp}";
            let going = ground.kubectl(&["get", "configmap", "b", "-o", going])?;
            ensure!(!going.is_empty() && ground.there()? == ["a", "b"], "not yet");
            Ok(())
        })?;
        let state = ground.host.record(&id)?["state"].clone();
        ensure!(state == "running", "{state}");
        ground.host.kill()?;
        release(&ground)?;
        ground.host.restart()?;
        ground.host.await_state(&id, &[end], LIMIT)?;
        if policy == "resume" {
            ensure!(ground.there()? == ["a"]);
            ground.host.take_back(&id, "undone", LIMIT)?;
        }
        let mut back = ground.maps()?;
        // Of the one that was held, how it was before: with what held it.
        for map in back.as_array_mut().into_iter().flatten() {
            if let Some(metadata) = map["metadata"].as_object_mut() {
                metadata.remove("finalizers");
            }
        }
        ensure!(back == whole, "{back:#}\n{whole:#}");
    }
    // What came back is held again, and would hold the namespace, and whoever takes such a set down.
    release(&ground)?;
    succeeded(ground.cluster.kubectl(&["delete", "namespace", ground.space])).map(drop)
}

fn release(ground: &Ground) -> anyhow::Result<()> {
    let patch = r#"{"metadata": {"finalizers": null}}"#;
    ground
        .kubectl(&["patch", "configmap", "b", "--type=merge", "--patch", patch])
        .map(drop)
}

/// A definition and a namespace fall away while somebody uses them; once nobody does, they go.
fn in_use() -> anyhow::Result<()> {
    let ground = Ground::new("object-set-use")?;
    let brought = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
        metadata: {name: wares.sets.example}\nspec:\n  group: sets.example\n  scope: Namespaced\n  \
        names: {kind: Ware, plural: wares}\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    \
        schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}\n---\n\
        apiVersion: v1\nkind: Namespace\nmetadata: {name: object-set-inner}\n---\n";
    let whole = format!("{brought}{}", maps(&["stays"]));
    ground.perform(&ground.ask("apply-custom", json!({"yaml": whole}), &[]))?;
    let ware = json!({"apiVersion": "sets.example/v1", "kind": "Ware", "metadata": {"name": "theirs"}});
    let file = ground.cluster.dir().join("object-set-ware.json");
    std::fs::write(&file, ware.to_string())?;
    ground.kubectl(&["create", "-f", &file.to_string_lossy()])?;
    let inner = ["--namespace", "object-set-inner"];
    let create = ["create", "configmap", "theirs"];
    succeeded(ground.cluster.kubectl(&[&create[..], &inner].concat()))?;

    let (_, record) = ground.perform(&ground.apply(&["stays"]))?;
    let left = record["left"].to_string();
    for word in [
        "CustomResourceDefinition",
        "Ware/object-set-use/theirs",
        "Namespace//object-set-inner",
        "ConfigMap/object-set-inner/theirs",
    ] {
        ensure!(left.contains(word), "{word}: {left}");
    }
    ground.kubectl(&["get", "wares.sets.example", "theirs"])?;
    ground.kubectl(&["delete", "wares.sets.example", "theirs"])?;
    let delete = ["delete", "configmap", "theirs"];
    succeeded(ground.cluster.kubectl(&[&delete[..], &inner].concat()))?;
    let (_, record) = ground.perform(&ground.apply(&["stays"]))?;
    ensure!(record["left"].as_array().is_none_or(Vec::is_empty), "{record:#}");
    for gone in [
        ["get", "customresourcedefinition", "wares.sets.example"],
        ["get", "namespace", "object-set-inner"],
    ] {
        ensure!(!ground.cluster.kubectl(&gone).status.success(), "{gone:?}");
    }
    ground
        .cluster
        .kubectl(&["delete", "namespace", ground.space, "--wait=false"]);
    Ok(())
}

fn taken_over() -> anyhow::Result<()> {
    let ground = Ground::new("object-set-taken")?;
    ground.perform(&ground.apply(&["stays", "taken", "copied", "argo", "edited", "again"]))?;
    let ours = json!({"meshery.io/set": "istio.shop"});
    ground.take("taken", &ours)?;
    // Somebody has deleted it and made it again, with everything that was written on it.
    let copy = ground.kubectl(&["get", "configmap", "copied", "-o", "json"])?;
    let mut copy: Value = serde_json::from_str(&copy)?;
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        if let Some(metadata) = copy["metadata"].as_object_mut() {
            metadata.remove(field);
        }
    }
    let file = ground.cluster.dir().join("object-set-copied.json");
    std::fs::write(&file, copy.to_string())?;
    ground.kubectl(&["delete", "configmap", "copied"])?;
    ground.kubectl(&["create", "-f", &file.to_string_lossy()])?;
    ground.kubectl(&[
        "annotate",
        "configmap",
        "argo",
        "argocd.argoproj.io/tracking-id=web:/ConfigMap:x/argo",
    ])?;
    // A value that somebody has changed is no reason: an undo brings it back.
    ground.kubectl(&[
        "patch",
        "configmap",
        "edited",
        "--type=merge",
        "-p",
        "{\"data\":{\"value\":\"edited\"}}",
    ])?;

    let (preview, record) = ground.perform(&ground.apply(&["stays"]))?;
    let kept = json!({"stays": "unchanged", "taken": "keep", "copied": "keep", "argo": "keep",
        "edited": "delete", "again": "delete"});
    ensure!(preview == kept, "{preview:#}");
    ensure!(ground.there()? == ["argo", "copied", "stays", "taken"]);
    let left = record["left"].to_string();
    for word in [
        "somebody has taken it over",
        "by kubectl-create and not by Meshery",
        "Argo CD (Application web)",
        "accept foreign",
    ] {
        ensure!(left.contains(word), "{word}: {left}");
    }
    // With the word, what Argo CD minds goes; what is not ours stays all the same.
    let parameters = json!({"yaml": maps(&["stays"])});
    let (preview, _) = ground.perform(&ground.ask("apply-custom", parameters, &["foreign"]))?;
    ensure!(
        preview["argo"] == "delete" && preview["taken"] == "keep",
        "{preview:#}"
    );
    ensure!(ground.there()? == ["copied", "stays", "taken"]);
    let (_, record) = ground.perform(&ground.ask("remove-custom", json!({}), &[]))?;
    ensure!(ground.there()? == ["copied", "taken"], "{record:#}");
    ensure!(
        record["left"].as_array().is_some_and(|left| left.len() >= 2),
        "{record:#}"
    );
    ground
        .cluster
        .kubectl(&["delete", "namespace", ground.space, "--wait=false"]);
    Ok(())
}
