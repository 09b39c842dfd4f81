//! A mesh that nobody has rotated in time: the anchor and the issuer have ended, and no proxy accepts another.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::linkerd::Linkerd;
use meshery_tests::trust::Trust;
use serde_json::json;

use super::{Bench, LIMIT, SYSTEM, text};
use crate::namespace::eventually;

impl Bench {
    /// The pods of a namespace that are not going, by uid.
    fn uids(&self, namespace: &str) -> anyhow::Result<Vec<String>> {
        let pods = self.get(&["pods", "--namespace", namespace])?;
        let pods = pods["items"].as_array().context("pods")?.iter();
        Ok(pods
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .map(|pod| text(&pod["metadata"]["uid"]).to_owned())
            .collect())
    }

    fn codes(&self) -> anyhow::Result<Vec<String>> {
        let found = self.installation()?.context("Linkerd is there")?;
        let findings = found["findings"].as_array().context("findings")?;
        Ok(findings
            .iter()
            .map(|finding| text(&finding["code"]).to_owned())
            .collect())
    }
}

pub fn recovered(charts: &Path) -> anyhow::Result<()> {
    let mut bench = Bench::new(charts)?;
    bench.perform("linkerd", "make-trust", &json!({}))?;
    let linkerd = Linkerd::start(&bench.cluster, SYSTEM)?;
    bench.perform("linkerd", "install", &json!({}))?;
    bench.kubectl(&["create", "namespace", "shop"])?;
    bench.perform("linkerd", "inject", &json!({"namespace": "shop"}))?;
    bench.kubectl(&["create", "deployment", "web", "--image=web", "--namespace=shop"])?;
    bench.all_have("shop", &["linkerd-proxy"])?;

    // While all is well nobody is cut off without a word.
    let replace = json!({"adapter": "linkerd", "operation": "replace-anchor",
        "policy": {"on_interruption": "resume", "force_conflicts": true}});
    let refused = bench.host.post("/api/v1/operations", &replace)?;
    ensure!(
        refused.text().contains("linkerd-anchor-holds"),
        "{}",
        refused.text()
    );

    // Years go by.
    let ended = tempfile::NamedTempFile::with_suffix(".json")?;
    std::fs::write(ended.path(), Trust::until(2020)?.manifests(SYSTEM).to_string())?;
    let ended = ended.path().to_string_lossy();
    bench.kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "--filename",
        &ended,
    ])?;
    let codes = bench.codes()?;
    for code in ["linkerd-anchor-expired", "linkerd-issuer-expired"] {
        ensure!(codes.iter().any(|found| found == code), "{codes:?}");
    }
    let rotate = json!({"adapter": "linkerd", "operation": "rotate-anchor"});
    let refused = bench.host.post("/api/v1/operations", &rotate)?;
    ensure!(refused.text().contains("replace-anchor"), "{}", refused.text());

    let before = bench.uids("shop")?;
    let id = bench.host.plan(&replace)?;
    bench.host.order(&id, "run")?;
    // Whenever it is killed, it goes on to the end.
    bench.host.kill()?;
    bench.host.restart()?;
    bench.host.await_state(&id, &["succeeded"], LIMIT)?;

    let new = bench.anchor("linkerd-trust-anchor-2")?;
    bench.believed(&[&new])?;
    bench.signed_by(&new)?;
    ensure!(
        bench.anchor("linkerd-trust-anchor").is_err(),
        "the old anchor is left"
    );
    eventually(|| {
        let after = bench.uids("shop")?;
        ensure!(
            !after.is_empty() && after.iter().all(|pod| !before.contains(pod)),
            "{before:?} {after:?}"
        );
        Ok(())
    })?;
    bench.all_have("shop", &["linkerd-proxy"])?;
    let codes = bench.codes()?;
    ensure!(!codes.iter().any(|code| code.ends_with("expired")), "{codes:?}");
    linkerd.trouble()
}
