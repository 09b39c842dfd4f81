//! The control plane's release goes back to the version before, and forth again.

use anyhow::ensure;
use serde_json::json;

use super::{Bench, LIMIT, text};

/// After an upgrade; taken back, it is as that has left it.
pub fn back_and_forth(bench: &Bench, (older, newer): (&str, &str)) -> anyhow::Result<()> {
    let version = || -> anyhow::Result<String> {
        let found = bench.installation()?.unwrap_or_default();
        Ok(text(&found["version"]).to_owned())
    };
    let given = json!({"release": "linkerd-control-plane"});
    let back = bench.perform("linkerd", "rollback", &given)?;
    ensure!(version()? == older, "{back:#}");
    let findings = back["findings"].to_string();
    ensure!(findings.contains("certificates of the webhooks"), "{back:#}");
    bench.host.take_back(text(&back["id"]), "undone", LIMIT)?;
    ensure!(version()? == newer, "{back:#}");
    Ok(())
}
