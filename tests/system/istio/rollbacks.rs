//! One release of Istio's goes back to an earlier revision and forth again, and the tests of its releases are run.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::chart_archive::written;
use meshery_tests::istiod::Istiod;
use serde_json::{Value, json};

use super::upgrades::image;
use super::{Bench, LIMIT, SYSTEM, VERSION, request, text};
use crate::namespace::succeeded;

const NEWER: &str = "1.30.3";

/// What `helm history` says of the control plane: number, status and chart of each revision.
fn history(bench: &Bench) -> anyhow::Result<Vec<String>> {
    let arguments = ["history", "istiod", "--namespace", SYSTEM, "--output=json"];
    let told = succeeded(bench.cluster.run_helm(&arguments)).context("helm history")?;
    let revisions: Vec<Value> = serde_json::from_str(&told)?;
    Ok(revisions
        .iter()
        .map(|of| {
            format!(
                "{} {} {}",
                of["revision"],
                text(&of["status"]),
                text(&of["chart"])
            )
        })
        .collect())
}

pub fn back_and_forth(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    bench.perform("install", &json!({"version": VERSION, "profile": "minimal"}))?;
    let refused = |operation: &str, given: Value, status: u16, code: &str| {
        bench
            .host
            .post("/api/v1/operations", &request(operation, &given))?
            .problem(status, code)
    };
    // Istio's charts bring no tests, and there is nothing to go back to yet.
    let none = refused("test", json!({}), 404, "no-tests")?;
    ensure!(text(&none["detail"]).contains("istio-base, istiod"), "{none:#}");
    let first = refused("rollback", json!({"release": "istiod"}), 400, "unknown-revision")?;
    ensure!(text(&first["remedy"]).contains("1 (deployed)"), "{first:#}");
    let unknown = refused("rollback", json!({"release": "istoid"}), 400, "unknown-release")?;
    ensure!(
        text(&unknown["remedy"]).contains("istiod in namespace"),
        "{unknown:#}"
    );

    bench.perform("upgrade", &json!({"version": NEWER}))?;
    let upgraded = [
        format!("1 superseded istiod-{VERSION}"),
        format!("2 deployed istiod-{NEWER}"),
    ];
    ensure!(history(&bench)? == upgraded, "{:?}", history(&bench)?);

    let mut wish = request("rollback", &json!({"release": "istiod"}));
    // As an installation the chart has webhooks let everything pass, and istiod has made them strict since.
    let preview = bench.preview(&bench.host.plan(&wish)?)?;
    let conflicts = preview.to_string();
    ensure!(conflicts.contains("failurePolicy"), "{preview:#}");
    wish["policy"] = json!({"force_conflicts": true});
    let back = bench.host.perform(&wish, "succeeded", LIMIT)?;
    istiod.trouble()?;
    let notes = back["notes"].to_string();
    ensure!(
        notes.contains(&format!(
            "is of chart istiod {NEWER} and goes back to chart istiod {VERSION}"
        )),
        "{back:#}"
    );
    let findings = back["findings"].to_string();
    ensure!(findings.contains("rollback-of-control-plane"), "{back:#}");
    ensure!(image(&bench, "istiod")?.ends_with(VERSION));
    let gone_back = [
        upgraded[0].clone(),
        format!("2 superseded istiod-{NEWER}"),
        format!("3 deployed istiod-{VERSION}"),
    ];
    ensure!(history(&bench)? == gone_back, "{:?}", history(&bench)?);

    // The definitions after it; their validator is made strict again as well.
    wish["parameters"]["release"] = "istio-base".into();
    let base = bench.host.perform(&wish, "succeeded", LIMIT)?;
    istiod.trouble()?;
    ensure!(
        base["findings"].to_string().contains("rollback-of-definitions"),
        "{base:#}"
    );
    bench.host.take_back(text(&base["id"]), "undone", LIMIT)?;

    bench.host.take_back(text(&back["id"]), "undone", LIMIT)?;
    ensure!(image(&bench, "istiod")?.ends_with(NEWER));
    ensure!(history(&bench)? == upgraded, "{:?}", history(&bench)?);

    with_tests(&bench)
}

/// A release of the mesh whose chart brings a test: it is run, and of the others it is said that theirs bring none.
fn with_tests(bench: &Bench) -> anyhow::Result<()> {
    let gateway = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: tested\n  labels: {istio: tested, \
                   app.kubernetes.io/managed-by: Helm, helm.sh/chart: gateway-0.1.0}\nspec:\n  selector: {matchLabels: \
                   {app: tested}}\n  template:\n    metadata: {labels: {app: tested}}\n    spec: {containers: [{name: \
                   istio-proxy, image: registry.example/proxy}]}\n";
    let test = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: tested-by\n  annotations: {helm.sh/hook: test}\nspec:\n  \
                restartPolicy: Never\n  containers: [{name: test, image: registry.example/test}]\n";
    let chart = written(
        "gateway",
        &[
            ("Chart.yaml", b"apiVersion: v2\nname: gateway\nversion: 0.1.0\n"),
            ("templates/gateway.yaml", gateway.as_bytes()),
            ("templates/test.yaml", test.as_bytes()),
        ],
    )?;
    let archive = bench.cluster.dir().join("tested-gateway.tgz");
    std::fs::write(&archive, chart)?;
    let archive = archive.to_string_lossy().into_owned();
    let arguments = [
        "install",
        "tested",
        &archive,
        "--namespace=edge",
        "--create-namespace",
    ];
    succeeded(bench.cluster.run_helm(&arguments)).context("helm install")?;
    let tested = bench.perform("test", &json!({}))?;
    let notes = tested["notes"].to_string();
    for none in ["istio-base", "istiod"] {
        ensure!(
            notes.contains(&format!("release {none} brings no tests")),
            "{tested:#}"
        );
    }
    ensure!(!notes.contains("release tested"), "{tested:#}");
    let pod = bench.get(&["pod", "tested-by", "--namespace=edge"])?;
    ensure!(pod["status"]["phase"] == "Succeeded", "{pod:#}");
    Ok(())
}
