//! What somebody has half removed.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::linkerd::Linkerd;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Bench, NEWER, SYSTEM};
use crate::namespace::eventually;

impl Bench {
    fn is(&self, health: &str) -> anyhow::Result<Value> {
        eventually(|| {
            let found = self.installation()?.context("an installation")?;
            ensure!(found["health"] == health, "{found:#}");
            Ok(found)
        })
    }
}

/// Five ways in which an installation may be half there: each is seen, and mended by installing the same again, object by
/// object.
pub fn half_removed(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = bench.with_trust()?;
    let linkerd = Linkerd::start(&bench.cluster, SYSTEM)?;
    let wish = json!({"version": NEWER});
    bench.perform("linkerd", "install", &wish)?;
    bench.is("healthy")?;
    let whole = Snapshot::take(&bench.cluster)?;
    let in_system = format!("--namespace={SYSTEM}");
    for (what, gone, health) in [
        (
            "the destination controller",
            vec!["deployment", "linkerd-destination", &in_system],
            "incomplete",
        ),
        (
            "the injector's webhook",
            vec![
                "mutatingwebhookconfiguration",
                "linkerd-proxy-injector-webhook-config",
            ],
            "incomplete",
        ),
        (
            "the rights",
            vec!["clusterrole,clusterrolebinding", "linkerd-linkerd-identity"],
            "",
        ),
        ("a definition", vec!["crd", "servers.policy.linkerd.io"], ""),
        (
            "helm's record",
            vec![
                "secret",
                &in_system,
                "--selector=owner=helm,name=linkerd-control-plane",
            ],
            "",
        ),
    ] {
        bench.kubectl(&[&["delete"], &gone[..]].concat())?;
        if health.is_empty() {
            let found = bench.installation()?;
            ensure!(found.is_some(), "without {what} it is taken to be gone");
        } else {
            bench.is(health).with_context(|| what.to_owned())?;
        }
        bench
            .perform("linkerd", "install", &wish)
            .with_context(|| what.to_owned())?;
        bench.is("healthy").with_context(|| what.to_owned())?;
        let there = bench.kubectl(&[&["get", "--output=name"], &gone[..]].concat())?;
        ensure!(!there.trim().is_empty(), "{what}: it is not back");
        whole
            .await_mended(&bench.cluster)
            .with_context(|| what.to_owned())?;
    }
    linkerd.trouble()?;
    bench.kubectl(&["delete", "deployment", "linkerd-identity", &in_system])?;
    let removed = bench.perform("linkerd", "remove", &json!({}))?;
    ensure!(bench.installation()?.is_none());
    bench.without_gateway_api()?;
    before
        .await_same(&bench.cluster)
        .with_context(|| format!("left: {}", removed["left"]))
}
