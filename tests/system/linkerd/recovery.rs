//! A mesh that nobody has rotated in time: the anchor and the issuer have ended, and no proxy accepts another. Its control plane
//! is in another namespace than usual: what is told of anchors and issuer is told wherever they are.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::linkerd::Linkerd;
use meshery_tests::snapshot::Snapshot;
use meshery_tests::trust::Trust;
use serde_json::json;

use super::{Bench, LIMIT, text};
use crate::namespace::eventually;

const SYSTEM: &str = "mesh";

impl Bench {
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
    let mut bench = Bench::of_namespace(charts, SYSTEM)?;
    let system = json!({"namespace": SYSTEM});
    bench.perform("linkerd", "make-trust", &system)?;
    let linkerd = Linkerd::start(&bench.cluster, SYSTEM)?;
    bench.perform("linkerd", "install", &system)?;
    bench.kubectl(&["create", "namespace", "shop"])?;
    bench.perform("linkerd", "inject", &json!({"namespace": "shop"}))?;
    bench.kubectl(&["create", "deployment", "web", "--image=web", "--namespace=shop"])?;
    bench.all_have("shop", &["linkerd-proxy"])?;

    // While all is well nobody is cut off without a word.
    let replace = json!({"adapter": "linkerd", "operation": "replace-anchor", "parameters": system,
        "policy": {"on_interruption": "resume", "force_conflicts": true}});
    let refused = bench.host.post("/api/v1/operations", &replace)?;
    ensure!(
        refused.text().contains("linkerd-anchor-holds"),
        "{}",
        refused.text()
    );

    let found = bench.installation()?.context("Linkerd is there")?;
    let prospects = found["prospects"].as_array().into_iter().flatten();
    let mut verdicts = prospects.map(|prospect| (text(&prospect["operation"]), text(&prospect["verdict"])));
    ensure!(
        verdicts.any(|verdict| verdict == ("rotate-anchor", "possible")),
        "{found:#}"
    );
    cut_off_and_back(&bench, &linkerd)?;

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
    ensure!(
        bench.all_accept_each_other(&linkerd, "shop").is_err(),
        "nobody is given a certificate that holds"
    );
    let rotate = json!({"adapter": "linkerd", "operation": "rotate-anchor", "parameters": system});
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
    bench.all_accept_each_other(&linkerd, "shop")?;
    let codes = bench.codes()?;
    ensure!(!codes.iter().any(|code| code.ends_with("expired")), "{codes:?}");
    linkerd.trouble()
}

/// While the anchor holds still, who has replaced it nevertheless gets it back, and everybody with it.
fn cut_off_and_back(bench: &Bench, linkerd: &Linkerd) -> anyhow::Result<()> {
    let first = bench.newcomer(linkerd, "shop")?;
    let agreed = json!({"adapter": "linkerd", "operation": "replace-anchor",
        "parameters": {"namespace": SYSTEM, "cut_off": true}});
    let before = Snapshot::take(&bench.cluster)?;
    let replaced = bench.host.perform(&agreed, "succeeded", LIMIT)?;
    eventually(|| bench.all_accept_each_other(linkerd, "shop"))?;
    ensure!(
        first.accepts(&bench.newcomer(linkerd, "shop")?).is_err(),
        "another anchor"
    );
    bench.host.take_back(text(&replaced["id"]), "undone", LIMIT)?;
    eventually(|| bench.all_accept_each_other(linkerd, "shop"))?;
    first.accepts(&bench.newcomer(linkerd, "shop")?)?;
    before.await_restarted(&bench.cluster)
}
