//! Kinds that are there only by half: a definition whose names somebody else has, a group whose server is dead.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Scene, id, perform, told};
use crate::invented::{LIMIT, request};
use crate::namespace::succeeded;

pub fn names_taken() -> anyhow::Result<()> {
    let scene = Scene::new("names-taken")?;
    let theirs = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "paths.invented.example"},
        "spec": {
            "group": "invented.example", "scope": "Namespaced",
            "names": {"kind": "Route", "listKind": "PathList", "plural": "paths", "singular": "path"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    let file = scene.cluster.dir().join("paths.json");
    std::fs::write(&file, theirs.to_string())?;
    succeeded(
        scene
            .cluster
            .kubectl(&["apply", "--server-side", "-f", &file.to_string_lossy()]),
    )?;
    let result = (|| {
        let wait = [
            "wait",
            "crd/paths.invented.example",
            "--for=condition=Established",
        ];
        succeeded(scene.cluster.kubectl(&wait))?;
        let install = json!({"namespace": scene.space.name, "chart": false});
        let record = perform(&scene.host, &request("install", install), "undone")?;
        told(
            &record,
            "object-failed",
            &["routes.invented.example", "\"Route\\\" is already in use"],
        )?;
        let left = scene.cluster.kubectl(&["get", "crd", "routes.invented.example"]);
        ensure!(!left.status.success(), "the definition is left behind");
        Ok(())
    })();
    succeeded(
        scene
            .cluster
            .kubectl(&["delete", "crd", "paths.invented.example"]),
    )?;
    result
}

pub fn dead_group() -> anyhow::Result<()> {
    let scene = Scene::new("dead-group")?;
    let space = "dead-group";
    let install = request("install", json!({"namespace": space, "chart": false}));
    let installed = perform(&scene.host, &install, "succeeded")?;
    let name = "v1.ghosts.test.meshery.io";
    let dead = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name},
        "spec": {"group": "ghosts.test.meshery.io", "version": "v1", "groupPriorityMinimum": 10,
            "versionPriority": 10, "insecureSkipTLSVerify": true,
            "service": {"namespace": scene.space.name, "name": "nobody"}},
    });
    scene.space.apply(&dead.to_string())?;
    let result = (|| {
        let known = format!("apiservice/{name}");
        succeeded(
            scene
                .cluster
                .kubectl(&["wait", &known, "--for=condition=Available=False"]),
        )?;
        // What has nothing to do with it goes on as ever, in a host that begins now as well.
        let record = perform(&scene.host, &scene.many(3, 1), "succeeded")?;
        scene.host.take_back(id(&record)?, "undone", LIMIT)?;
        scene.nothing_is_left()?;
        // What may be in the namespace cannot be told: it stays, and why is said.
        let undone = scene.host.take_back(id(&installed)?, "undo-incomplete", LIMIT)?;
        let left: &Vec<Value> = undone["left"].as_array().context("left")?;
        ensure!(
            left.len() == 1
                && left[0]["ref"] == format!("v1/Namespace//{space}")
                && left[0]["why"].to_string().contains("ghosts.test.meshery.io/v1"),
            "{undone:#}"
        );
        succeeded(scene.cluster.kubectl(&["get", "namespace", space]))
    })();
    succeeded(scene.cluster.kubectl(&["delete", "apiservice", name]))?;
    result?;
    scene.host.take_back(id(&installed)?, "undone", LIMIT)?;
    ensure!(
        !scene
            .cluster
            .kubectl(&["get", "namespace", space])
            .status
            .success()
    );
    Ok(())
}
