//! PodSecurity lets istiod run and refuses what it injects, so that a dry run beside it cannot prove that it injects.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::istiod::Istiod;
use meshery_tests::snapshot::Snapshot;
use serde_json::json;

use super::{Bench, SYSTEM, VERSION, request};

const NEWER: &str = "1.30.3";
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

pub fn beside_what_refuses_it(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let enforce = |namespace: &str, level: &str| {
        bench.kubectl(&["label", "namespace", namespace, &format!("{ENFORCE}{level}")])
    };
    bench.kubectl(&["create", "namespace", SYSTEM])?;
    enforce(SYSTEM, "=baseline")?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    bench.perform("install", &json!({"version": VERSION, "profile": "minimal"}))?;
    istiod.trouble()?;
    let pod = [
        "run",
        "web",
        "--image=web",
        "--labels=sidecar.istio.io/inject=true",
    ];
    let beside = bench.kubectl(&[&pod[..], &["--dry-run=server", "--namespace", SYSTEM]].concat());
    let said = format!("{:#}", beside.err().context("a pod with a sidecar is refused")?);
    ensure!(
        said.contains("PodSecurity \"baseline") && said.contains("istio-init"),
        "{said}"
    );
    bench.perform("upgrade", &json!({"version": NEWER}))?;
    istiod.trouble()?;

    // Other trials need that namespace as it was, whatever becomes of this one.
    enforce("default", "=restricted")?;
    let told = nothing_is_begun(&bench);
    enforce("default", "-")?;
    told?;

    bench.perform("remove", &json!({"purge": true}))?;
    drop(istiod);
    bench.kubectl(&["delete", "namespace", SYSTEM])?;
    before.await_same(&bench.cluster)
}

fn nothing_is_begun(bench: &Bench) -> anyhow::Result<()> {
    for (operation, parameters) in [
        ("install", json!({"version": NEWER, "profile": "minimal"})),
        ("upgrade", json!({"version": NEWER})),
        ("upgrade-canary", json!({"version": NEWER})),
    ] {
        let refused = bench
            .host
            .post("/api/v1/operations", &request(operation, &parameters))?
            .expect(409)?;
        ensure!(
            refused.to_string().contains("istio-unprovable"),
            "{operation}: {refused:#}"
        );
    }
    Ok(())
}
