//! Istio's own charts, installed by us, in helm's hands.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::istiod::Istiod;
use serde_json::{Value, json};

use super::{Bench, SYSTEM, VERSION};
use crate::namespace::succeeded;

const NEWER: &str = "1.30.3";

pub fn goes_on(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    bench.perform("install", &json!({"version": VERSION, "profile": "minimal"}))?;
    istiod.trouble()?;
    let helm = |args: &[&str]| {
        succeeded(bench.cluster.run_helm(&[args, &["--namespace", SYSTEM]].concat()))
            .with_context(|| format!("helm {}", args.join(" ")))
    };
    let releases =
        || -> anyhow::Result<Vec<Value>> { Ok(serde_json::from_str(&helm(&["list", "--output=json"])?)?) };
    let installed = releases()?;
    let charts_of: Vec<(&str, &str)> = installed
        .iter()
        .filter(|release| release["status"] == "deployed")
        .filter_map(|release| Some((release["name"].as_str()?, release["chart"].as_str()?)))
        .collect();
    ensure!(
        charts_of.len() == 2
            && charts_of
                .iter()
                .any(|(_, chart)| *chart == format!("base-{VERSION}"))
            && charts_of
                .iter()
                .any(|(_, chart)| *chart == format!("istiod-{VERSION}")),
        "{installed:#?}"
    );
    for (name, chart) in &charts_of {
        let archive = charts.join(format!("istio/{}.tgz", chart.replace(VERSION, NEWER)));
        helm(&["upgrade", name, &archive.to_string_lossy(), "--reuse-values"])?;
    }
    drop(istiod);
    for (name, _) in charts_of.iter().rev() {
        // As an installation, the charts have webhooks let everything pass; istiod has made them strict since. That
        // conflict is the charts' own, with helm's releases as with ours.
        helm(&["rollback", name, "1", "--force-conflicts"])?;
        helm(&["uninstall", name])?;
    }
    let left = releases()?;
    ensure!(left.is_empty(), "{left:#?}");
    Ok(())
}
