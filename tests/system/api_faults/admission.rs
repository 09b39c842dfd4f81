//! What has a say in what the cluster takes: webhooks whose program is not there, and quotas.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Scene, id, perform, told};
use crate::invented::{LIMIT, request};
use crate::namespace::{Namespace, eventually, succeeded};

/// A webhook for new ConfigMaps of the namespace, at a service that nobody is behind.
fn dead_webhook(space: &Namespace, policy: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": space.name},
        "webhooks": [{
            "name": "guard.others.example", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": policy,
            "clientConfig": {"service": {"namespace": space.name, "name": "guard"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        }],
    })
}

pub fn webhooks() -> anyhow::Result<()> {
    let scene = Scene::new("dead-webhook")?;
    let space = &scene.space;
    space.kubectl(&["create", "service", "clusterip", "guard", "--tcp=443:443"])?;
    let remove = || {
        space.cluster.kubectl(&[
            "delete",
            "validatingwebhookconfiguration",
            &space.name,
            "--ignore-not-found",
        ])
    };
    let result = (|| {
        space.apply(&dead_webhook(space, "Fail").to_string())?;
        let asks = || space.kubectl(&["create", "configmap", "asked", "--dry-run=server"]);
        eventually(|| {
            ensure!(asks().is_err(), "the webhook is not asked yet");
            Ok(())
        })?;
        let record = perform(&scene.host, &scene.many(2, 1), "undone")?;
        told(
            &record,
            "webhook-failed",
            &[
                "object-0000",
                "guard.others.example",
                "remove its webhook configuration",
            ],
        )?;
        scene.nothing_is_left()?;
        space.apply(&dead_webhook(space, "Ignore").to_string())?;
        eventually(asks)?;
        let record = perform(&scene.host, &scene.many(2, 1), "succeeded")?;
        scene.host.take_back(id(&record)?, "undone", LIMIT)?;
        scene.nothing_is_left()
    })();
    succeeded(remove())?;
    result
}

/// A mesh's own webhook, with nobody behind it, that refuses every change of what came with it.
pub fn our_own() -> anyhow::Result<()> {
    let scene = Scene::new("own-webhook")?;
    let install = json!({"namespace": scene.space.name, "chart": false});
    let record = perform(&scene.host, &request("install", install), "succeeded")?;
    let webhook = format!("invented-{}", scene.space.name);
    let patch = json!([
        {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"},
        {"op": "add", "path": "/webhooks/0/rules/0/operations/-", "value": "DELETE"},
    ]);
    let patch = patch.to_string();
    succeeded(scene.cluster.kubectl(&[
        "patch",
        "validatingwebhookconfiguration",
        &webhook,
        "--type=json",
        "-p",
        &patch,
    ]))?;
    let space = scene.space.name.as_str();
    succeeded(
        scene
            .cluster
            .kubectl(&["label", "namespace", space, "invented.example/validate=enabled"]),
    )?;
    eventually(|| {
        let tried = scene
            .space
            .kubectl(&["delete", "route", "first", "--dry-run=server"]);
        ensure!(tried.is_err(), "the webhook is not asked yet");
        Ok(())
    })?;
    scene.host.take_back(id(&record)?, "undone", LIMIT)?;
    Ok(())
}

pub fn quota() -> anyhow::Result<()> {
    let scene = Scene::new("quota")?;
    // The namespace has one already.
    scene
        .space
        .kubectl(&["create", "quota", "few", "--hard=count/configmaps=3"])?;
    eventually(|| {
        let used = ["get", "quota", "few", "-o", "jsonpath={.status.used}"];
        let used = scene.space.kubectl(&used)?;
        ensure!(used.contains("configmaps"), "not counted yet: {used}");
        Ok(())
    })?;
    let record = perform(&scene.host, &scene.many(6, 6), "undone")?;
    told(
        &record,
        "quota-exceeded",
        &["object-00002", "few", "count/configmaps=3", "raise"],
    )?;
    scene.nothing_is_left().context("after the quota")
}
