//! What is done on explicit word only: refused without it, done with it, and taken back.

use anyhow::{Context as _, ensure};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Ground, Helm, accepting, annotated, config, id, needs_word, previewed};
use crate::invented::{LIMIT, request};
use crate::namespace::succeeded;

pub fn adopted() -> anyhow::Result<()> {
    let ground = Ground::new("release-adopted")?;
    let wanted = ground.pieces(&[config("there", json!({"a": "ours"})), config("new", json!({}))]);
    let managed = |annotations: &[(&str, &str)]| {
        let mut object = annotated(config("there", json!({"b": "theirs"})), annotations);
        object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
        object
    };
    let labelled = |key: &str| {
        let mut object = config("there", json!({"b": "theirs"}));
        object["metadata"]["labels"][key] = "somebody".into();
        object
    };
    let other_release = [
        ("meta.helm.sh/release-name", "other"),
        ("meta.helm.sh/release-namespace", "elsewhere"),
    ];
    let tracked = [("argocd.argoproj.io/tracking-id", "x")];
    let cases = [
        (
            config("there", json!({"b": "theirs"})),
            &["adopt"][..],
            "no part of release demo",
        ),
        (
            managed(&other_release),
            &["foreign"][..],
            "Helm release other in namespace elsewhere",
        ),
        (
            annotated(config("there", json!({"b": "theirs"})), &tracked),
            &["foreign", "adopt"][..],
            "Argo CD",
        ),
        (
            labelled("kustomize.toolkit.fluxcd.io/name"),
            &["foreign", "adopt"][..],
            "Flux",
        ),
    ];
    for (object, given, words) in cases {
        ground.apply(&object)?;
        let before = Snapshot::take(&ground.cluster)?;
        let planned = ground.host.plan(&wanted)?;
        let preview = ground.preview(&planned)?;
        let refused = previewed(&preview, "ConfigMap/release-adopted/there")?;
        ensure!(
            refused["change"] == "error"
                && refused["error"]["code"] == "consent-required"
                && refused["error"]["message"]
                    .as_str()
                    .is_some_and(|message| message.contains(words)),
            "{given:?}: {refused:#}"
        );
        let failed = ground.perform(&wanted, "undone")?;
        ensure!(failed["error"]["code"] == "consent-required", "{failed:#}");
        before.await_same(&ground.cluster)?;

        let done = ground.perform(&accepting(wanted.clone(), given), "succeeded")?;
        ensure!(ground.data("there")?["a"] == "ours");
        // It is Helm's own now, and helm may change it.
        let archive = ground.chart("pieces.tgz")?;
        let file = ground.values(&json!({"objects": [config("there", json!({"a": "helm's"}))]}))?;
        if given == ["adopt"] {
            ground.helm(Helm::Four, &["upgrade", "demo", &archive, "-f", &file])?;
            ensure!(ground.data("there")?["a"] == "helm's");
            ground.helm(Helm::Four, &["uninstall", "demo"])?;
        } else {
            ground.host.take_back(id(&done)?, "undone", LIMIT)?;
            before.await_same(&ground.cluster)?;
            ground.kubectl(&["delete", "configmap", "there"])?;
        }
    }
    Ok(())
}

pub fn deleted() -> anyhow::Result<()> {
    let ground = Ground::new("release-deleted")?;
    let refused = |request: &Value, object: &str, words: &str| -> anyhow::Result<()> {
        let why = needs_word(&ground, request, "foreign")?;
        ensure!(why.contains(object) && why.contains(words), "{why}");
        let preview = ground.preview(&ground.host.plan(request)?)?;
        let refused = previewed(&preview, object)?;
        let error = &refused["error"];
        ensure!(
            error["code"] == "consent-required" && error["message"].to_string().contains(words),
            "{refused:#}"
        );
        Ok(())
    };

    // A part of our release that a tool has taken into its care, first after the plan was made.
    ground.perform(&ground.pieces(&[config("kept", json!({"a": "1"}))]), "succeeded")?;
    let removal = ground.on_release("release-remove");
    let planned = ground.host.plan(&removal)?;
    let tracked = "argocd.argoproj.io/tracking-id=shop:/ConfigMap:release-deleted/kept";
    ground.kubectl(&["annotate", "configmap", "kept", tracked])?;
    let before = Snapshot::take(&ground.cluster)?;
    ground.host.order(&planned, "run")?;
    let record = ground.host.await_end(&planned, LIMIT)?;
    ensure!(
        record["state"] == "undone" && record["error"]["code"] == "consent-required",
        "{record:#}"
    );
    before.await_same(&ground.cluster)?;
    refused(
        &removal,
        "ConfigMap/release-deleted/kept",
        "Argo CD (Application shop)",
    )?;
    ground.perform(&accepting(removal, &["foreign"]), "succeeded")?;
    ensure!(ground.get("configmap", "kept")?.is_none());

    // An object that the plan names itself, and that has become part of a release.
    let space = json!({"namespace": ground.space});
    ground.perform(&request("install", space.clone()), "succeeded")?;
    let archive = ground.chart("pieces.tgz")?;
    let file = ground.values(&json!({"objects": [config("theirs", json!({"a": "1"}))]}))?;
    ground.helm(Helm::Four, &["install", "demo", &archive, "-f", &file])?;
    let controller = ["deployment", "invented-controller"];
    let marked =
        |verb: &str, marks: &[&str]| ground.kubectl(&[&[verb, controller[0], controller[1]], marks].concat());
    marked("label", &["app.kubernetes.io/managed-by=Helm"])?;
    marked(
        "annotate",
        &[
            "meta.helm.sh/release-name=demo",
            "meta.helm.sh/release-namespace=release-deleted",
        ],
    )?;
    let removal = request("remove", space);
    refused(
        &removal,
        "Deployment/release-deleted/invented-controller",
        "it belongs to the Helm release demo in namespace release-deleted",
    )?;
    // The marks alone are no reason: the release is gone.
    ground.helm(Helm::Four, &["uninstall", "demo"])?;
    ground.perform(&removal, "succeeded")?;
    ensure!(ground.get(controller[0], controller[1])?.is_none());
    Ok(())
}

/// What a release was told to keep and does not hold any more has its marks still, and is nobody's.
pub fn left() -> anyhow::Result<()> {
    let ground = Ground::new("release-left")?;
    let install = request("install", json!({"namespace": ground.space}));
    ground.perform(&install, "succeeded")?;
    let controller = ["deployment", "invented-controller"];
    let marked =
        |verb: &str, marks: &[&str]| ground.kubectl(&[&[verb, controller[0], controller[1]], marks].concat());
    marked("label", &["app.kubernetes.io/managed-by=Helm"])?;
    marked(
        "annotate",
        &[
            "meta.helm.sh/release-name=demo",
            "meta.helm.sh/release-namespace=release-left",
            "helm.sh/resource-policy=keep",
        ],
    )?;
    let there = ground.get(controller[0], controller[1])?.context("it is there")?;
    let held = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": there["spec"], "metadata": {
        "name": controller[1], "annotations": {"helm.sh/resource-policy": "keep"}}});
    let archive = ground.chart("pieces.tgz")?;
    let file = ground.values(&json!({"objects": [held]}))?;
    ground.helm(Helm::Four, &["install", "demo", &archive, "-f", &file])?;
    let why = needs_word_in_run(&ground, &install)?;
    ensure!(why.contains("it belongs to the Helm release demo"), "{why}");

    let file = ground.values(&json!({"objects": []}))?;
    ground.helm(Helm::Four, &["upgrade", "demo", &archive, "-f", &file])?;
    let preview = ground.preview(&ground.host.plan(&install)?)?;
    let shown = previewed(&preview, "Deployment/release-left/invented-controller")?;
    ensure!(shown["error"].is_null(), "{shown:#}");
    ground.perform(&install, "succeeded")?;
    Ok(())
}

/// What a run is refused for.
fn needs_word_in_run(ground: &Ground, request: &Value) -> anyhow::Result<String> {
    let record = ground.perform(request, "undone")?;
    ensure!(record["error"]["code"] == "consent-required", "{record:#}");
    Ok(record["error"]["message"].to_string())
}

pub fn lookup() -> anyhow::Result<()> {
    let ground = Ground::new("release-lookup")?;
    let mut wanted = ground.pieces(&[]);
    wanted["parameters"]["version"] = "0.1.0-lookup".into();
    let why = needs_word(&ground, &wanted, "lookup")?;
    ensure!(
        why.contains("pieces 0.1.0-lookup") && why.contains("sees nothing"),
        "{why}"
    );
    ensure!(ground.data("found")?.is_null());
    ground.perform(&accepting(wanted, &["lookup"]), "succeeded")?;
    ensure!(ground.data("found")?["found"] == "0");
    ground.perform(&ground.on_release("release-remove"), "succeeded")?;
    Ok(())
}

pub fn recreated() -> anyhow::Result<()> {
    let ground = Ground::new("release-recreated")?;
    let fixed = |data: &str| {
        let mut object = config("fixed", json!({"a": data}));
        object["immutable"] = true.into();
        object
    };
    let workload = |app: &str| -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "work"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": app}}, "template": {
                "metadata": {"labels": {"app": app}},
                "spec": {"containers": [{"name": "work", "image": "registry.example/work:1"}]}}}})
    };
    let pieces =
        |data: &str| ground.pieces(&[config("first", json!({"a": data})), fixed(data), workload(data)]);
    ground.perform(&pieces("old"), "succeeded")?;
    let before = Snapshot::take(&ground.cluster)?;
    let wanted = pieces("new");
    let planned = ground.host.plan(&wanted)?;
    let preview = ground.preview(&planned)?;
    for name in [
        "ConfigMap/release-recreated/fixed",
        "Deployment/release-recreated/work",
    ] {
        let refused = previewed(&preview, name)?;
        ensure!(
            refused["change"] == "error" && refused["error"]["code"] == "consent-required",
            "{refused:#}"
        );
    }
    ground.perform(&wanted, "undone")?;
    before.await_same(&ground.cluster)?;

    let wanted = accepting(wanted, &["recreate"]);
    let planned = ground.host.plan(&wanted)?;
    let preview = ground.preview(&planned)?;
    ensure!(preview["counts"]["recreate"] == 2, "{preview:#}");
    let old = ground.get("configmap", "fixed")?.unwrap_or_default();
    ground.host.order(&planned, "run")?;
    let done = ground.host.await_end(&planned, LIMIT)?;
    ensure!(
        done["state"] == "succeeded",
        "{done:#}\n{}",
        ground.host.story(&planned)
    );
    let new = ground.get("configmap", "fixed")?.unwrap_or_default();
    ensure!(new["data"]["a"] == "new" && new["metadata"]["uid"] != old["metadata"]["uid"]);
    ground.host.take_back(&planned, "undone", LIMIT)?;
    before.await_remade(&ground.cluster)?;

    // What was given back is Helm's as before.
    let archive = ground.chart("pieces.tgz")?;
    let file =
        ground.values(&json!({"objects": [config("first", json!({"a": "helm's"})), workload("old")]}))?;
    succeeded(ground.run_helm(Helm::Four, &["upgrade", "demo", &archive, "-f", &file])?)?;
    ground.helm(Helm::Four, &["uninstall", "demo"])?;
    Ok(())
}
