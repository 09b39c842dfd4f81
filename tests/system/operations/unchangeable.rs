//! Fields that the server lets nobody change, each kind in words of its own: the preview says so, nothing is deleted
//! without a word for it, and with the word it works and is taken back.

use anyhow::{Context as _, ensure};
use meshery_tests::host::Host;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::cluster;
use crate::invented::LIMIT;
use crate::namespace::Namespace;

/// What is changed: kind and name, the whole object, where in it, and to what.
struct Fixed {
    object: Value,
    place: &'static str,
    to: Value,
}

impl Fixed {
    fn changed(&self) -> Value {
        let mut object = self.object.clone();
        if let Some(field) = object.pointer_mut(self.place) {
            *field = self.to.clone();
        }
        object
    }

    fn name(&self) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!(
            "{}/{}",
            text(&self.object["kind"]),
            text(&self.object["metadata"]["name"])
        )
    }
}

fn table(space: &str) -> Vec<Fixed> {
    let of = |api: &str, kind: &str, name: &str, place: &'static str, to: Value, rest: Value| {
        let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}});
        if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
            object.extend(rest);
        }
        Fixed { object, place, to }
    };
    // Theirs alone: what lives in no namespace is named after it.
    let wide = |name: &str| format!("{space}-{name}");
    let pod =
        json!({"containers": [{"name": "main", "image": "registry.example/main:1", "command": ["one"]}]});
    let template = |app: &str| json!({"metadata": {"labels": {"app": app}}, "spec": pod});
    let both = |app: &str, more: Value| {
        let mut spec =
            json!({"replicas": 0, "selector": {"matchLabels": {"app": app}}, "template": template(app)});
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        json!({"spec": spec})
    };
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "storageClassName": "none", "resources": {"requests": {"storage": "1Gi"}}}});
    let mut pod_of_job = pod.clone();
    pod_of_job["restartPolicy"] = "Never".into();
    let mut other_spec = both("selector", json!({}))["spec"].clone();
    other_spec["selector"]["matchLabels"]["app"] = "other".into();
    other_spec["template"]["metadata"]["labels"]["app"] = "other".into();
    let role =
        |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    let rbac = "rbac.authorization.k8s.io/v1";
    let storage = "storage.k8s.io/v1";
    let class = |rest: Value| {
        let mut class = json!({"provisioner": "one.example/none", "parameters": {"a": "b"}});
        if let (Some(class), Value::Object(rest)) = (class.as_object_mut(), rest) {
            class.extend(rest);
        }
        class
    };
    vec![
        of(
            "batch/v1",
            "Job",
            "template",
            "/spec/template/spec/containers/0/command",
            json!(["two"]),
            json!({"spec": {"completions": 0, "template": {"spec": pod_of_job}}}),
        ),
        of(
            "apps/v1",
            "StatefulSet",
            "service-name",
            "/spec/serviceName",
            "other".into(),
            both("service-name", json!({"serviceName": "one"})),
        ),
        of(
            "apps/v1",
            "StatefulSet",
            "claims",
            "/spec/volumeClaimTemplates/0/spec/resources/requests/storage",
            "2Gi".into(),
            both(
                "claims",
                json!({"serviceName": "one", "volumeClaimTemplates": [claim]}),
            ),
        ),
        of(
            "v1",
            "PersistentVolumeClaim",
            "claim",
            "/spec/accessModes",
            json!(["ReadWriteMany"]),
            json!({"spec": claim["spec"]}),
        ),
        of(
            "v1",
            "Service",
            "address",
            "/spec/clusterIP",
            "None".into(),
            json!({"spec": {"clusterIP": "", "ports": [{"port": 80}]}}),
        ),
        of(
            rbac,
            "RoleBinding",
            "role",
            "/roleRef/name",
            "edit".into(),
            json!({"roleRef": role("view")}),
        ),
        of(
            rbac,
            "ClusterRoleBinding",
            &wide("role"),
            "/roleRef/name",
            "edit".into(),
            json!({"roleRef": role("view")}),
        ),
        of(
            storage,
            "StorageClass",
            &wide("provisioner"),
            "/provisioner",
            "two.example/none".into(),
            class(json!({})),
        ),
        of(
            storage,
            "StorageClass",
            &wide("parameters"),
            "/parameters/a",
            "c".into(),
            class(json!({})),
        ),
        of(
            storage,
            "StorageClass",
            &wide("binding"),
            "/volumeBindingMode",
            "WaitForFirstConsumer".into(),
            class(json!({"volumeBindingMode": "Immediate"})),
        ),
        of(
            "v1",
            "Pod",
            "pod",
            "/spec/containers/0/command",
            json!(["two"]),
            json!({"spec": {"containers": pod["containers"], "terminationGracePeriodSeconds": 0}}),
        ),
        of(
            "apps/v1",
            "Deployment",
            "selector",
            "/spec",
            other_spec,
            both("selector", json!({})),
        ),
        of(
            "v1",
            "ConfigMap",
            "fixed",
            "/data/a",
            "two".into(),
            json!({"immutable": true, "data": {"a": "one"}}),
        ),
        of(
            "v1",
            "Secret",
            "fixed",
            "/stringData/a",
            "two".into(),
            json!({"immutable": true, "stringData": {"a": "one"}}),
        ),
        of(
            "v1",
            "Secret",
            "type",
            "/type",
            "example.com/two".into(),
            json!({"type": "example.com/one"}),
        ),
        of(
            "v1",
            "PersistentVolume",
            &wide("volume"),
            "/spec/hostPath/path",
            "/two".into(),
            json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": "elsewhere", "hostPath": {"path": "/one"}}}),
        ),
        of(
            "scheduling.k8s.io/v1",
            "PriorityClass",
            &wide("value"),
            "/value",
            2.into(),
            json!({"value": 1}),
        ),
        of(
            "node.k8s.io/v1",
            "RuntimeClass",
            &wide("handler"),
            "/handler",
            "two".into(),
            json!({"handler": "one"}),
        ),
        of(
            "networking.k8s.io/v1",
            "IngressClass",
            &wide("controller"),
            "/spec/controller",
            "two.example/none".into(),
            json!({"spec": {"controller": "one.example/none"}}),
        ),
        of(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            "slice",
            "/addressType",
            "IPv6".into(),
            json!({"addressType": "IPv4", "endpoints": []}),
        ),
    ]
}

fn asked(space: &str, objects: Vec<Value>, accept: &[&str]) -> Value {
    let yaml: Vec<String> = objects.iter().map(Value::to_string).collect();
    json!({"adapter": "istio", "operation": "apply-custom",
        "parameters": {"namespace": space, "yaml": yaml.join("\n---\n")},
        "policy": {"accept": accept}})
}

fn previewed(host: &Host, asked: &Value) -> anyhow::Result<(String, Value)> {
    let id = host.plan(asked)?;
    let preview = host
        .post(&format!("/api/v1/operations/{id}/preview"), &json!({}))?
        .expect(200)?;
    Ok((id, preview))
}

fn entry<'p>(preview: &'p Value, name: &str) -> anyhow::Result<&'p Value> {
    let (kind, name) = name.split_once('/').context("a kind and a name")?;
    let of = |reference: &str| {
        reference.contains(&format!("/{kind}/")) && reference.ends_with(&format!("/{name}"))
    };
    preview["objects"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|object| object["ref"].as_str().is_some_and(of))
        .with_context(|| format!("no {kind}/{name} in {preview:#}"))
}

pub fn made_again() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let space = Namespace::new("unchangeable")?;
    let host = Host::builder()
        .kubeconfig(cluster.kubeconfig())
        .settings("offline = true\n")
        .start()?;
    let table = table(&space.name);
    let empty = Snapshot::take(&cluster)?;
    let old = asked(
        &space.name,
        table.iter().map(|fixed| fixed.object.clone()).collect(),
        &[],
    );
    let first = host.perform(&old, "succeeded", LIMIT)?;
    let before = Snapshot::take(&cluster)?;

    // Each is named with the server's reason before anything is touched, and nothing of it is done.
    let changed = || table.iter().map(Fixed::changed).collect();
    let (id, preview) = previewed(&host, &asked(&space.name, changed(), &[]))?;
    let unsaid: Vec<String> = table
        .iter()
        .filter_map(|fixed| {
            let entry = entry(&preview, &fixed.name()).ok()?;
            let is_said = entry["change"] == "error" && entry["error"]["code"] == "consent-required";
            (!is_said).then(|| format!("{} {}: {entry:#}", fixed.name(), fixed.place))
        })
        .collect();
    ensure!(unsaid.is_empty(), "{}", unsaid.join("\n"));
    host.order(&id, "run")?;
    let record = host.await_end(&id, LIMIT)?;
    ensure!(record["state"] == "undone", "{record:#}");
    before.await_same(&cluster)?;

    let (id, preview) = previewed(&host, &asked(&space.name, changed(), &["recreate"]))?;
    ensure!(preview["counts"]["recreate"] == table.len(), "{preview:#}");
    host.order(&id, "run")?;
    let record = host.await_end(&id, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}\n{}", host.story(&id));
    let (_, preview) = previewed(&host, &asked(&space.name, changed(), &[]))?;
    ensure!(
        preview["counts"]["error"] == 0 && preview["counts"]["create"] == 0,
        "{:#}",
        preview["counts"]
    );
    let record = host.take_back(&id, "undone", LIMIT)?;
    let (_, preview) = previewed(&host, &old)?;
    for fixed in &table {
        let entry = entry(&preview, &fixed.name())?;
        ensure!(
            entry["change"] == "unchanged",
            "{} was not given back: {entry:#}\n{record:#}\n{}",
            fixed.name(),
            host.story(&id)
        );
    }
    let first = first["id"].as_str().context("an id")?;
    host.take_back(first, "undone", LIMIT)?;
    empty.await_same(&cluster)
}
