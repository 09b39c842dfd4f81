//! What somebody has half removed.

use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshery_tests::linkerd::Linkerd;
use meshery_tests::snapshot::Snapshot;
use meshery_tests::trust::Trust;
use serde_json::{Value, json};

use super::{Bench, NEWER, SYSTEM, codes, text};
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

/// A validator whose certificate has ended, as it is a year after the chart made it: detection tells it, and nothing else shows it.
/// The upgrade that is performed meanwhile makes it anew.
pub fn ended_certificate(bench: &Bench, upgrade: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let validator = [
        "validatingwebhookconfiguration",
        "linkerd-sp-validator-webhook-config",
    ];
    let mut object = bench.get(&validator)?;
    let ended = Trust::until(2020)?.values();
    let ended = STANDARD.encode(text(&ended["identityTrustAnchorsPEM"]));
    object["webhooks"][0]["clientConfig"]["caBundle"] = ended.into();
    let metadata = object["metadata"].as_object_mut().context("metadata")?;
    metadata.retain(|key, _| ["name", "labels", "annotations"].contains(&key.as_str()));
    let file = bench.cluster.dir().join("validator.json");
    std::fs::write(&file, object.to_string())?;
    let file = file.to_string_lossy();
    bench.kubectl(&[
        "apply",
        "--server-side",
        "--field-manager=helm",
        "--filename",
        &file,
    ])?;
    let code = "linkerd-webhook-expired";
    let found = bench.is("degraded")?;
    ensure!(codes(&found["findings"]).contains(&code), "{found:#}");
    upgrade()?;
    let found = bench.is("healthy")?;
    ensure!(!codes(&found["findings"]).contains(&code), "{found:#}");
    Ok(())
}
