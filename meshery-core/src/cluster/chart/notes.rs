//! What a chart has to say to whoever installs it (`templates/NOTES.txt`): Helm keeps it in the release's record.
//!
//! `helm template` leaves it out, so that it takes a dry run of an installation, which asks no cluster. The objects
//! in that are not looked at: what is installed is what was rendered once. A chart whose notes cannot be had is
//! installed without them.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::helm::Helm;
use super::process::{self, Invocation};
use super::render::json_for_yaml;
use super::{Chart, RenderRequest};

const DEADLINE: Duration = Duration::from_secs(30);
/// What the dry run may print: the objects are in it, too.
const LIMIT: usize = 64 << 20;
/// What notes may be long: a Secret has to take the record.
const LONGEST: usize = 64 << 10;

#[derive(Deserialize)]
struct DryRun {
    info: Info,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    notes: String,
}

/// The notes; empty when the chart has none.
pub(super) async fn notes(
    helm: &Helm,
    chart: &Chart,
    request: &RenderRequest,
    (archive, home): (&Path, &Path),
) -> String {
    if !chart.has_notes {
        return String::new();
    }
    let mut arguments = vec![
        "install".into(),
        request.release.clone().into(),
        archive.into(),
        "--dry-run=client".into(),
        "--output=json".into(),
        "--values=-".into(),
        format!("--namespace={}", request.namespace).into(),
    ];
    if chart.schema_refers_out {
        arguments.push("--skip-schema-validation".into());
    }
    let run = process::run(Invocation {
        program: &helm.path,
        arguments,
        input: json_for_yaml(&request.values).into_bytes(),
        home,
        deadline: DEADLINE,
        limit: LIMIT,
    });
    let notes = match run.await {
        Ok(output) if output.status.success() => {
            let read = move || Ok(serde_json::from_slice::<DryRun>(&output.stdout).ok());
            super::blocking(read).await.ok().flatten()
        }
        _ => None,
    };
    let notes = notes
        .map(|dry_run| dry_run.info.notes)
        .filter(|notes| notes.len() <= LONGEST);
    notes.unwrap_or_else(|| {
        // Not what helm says: values may be in it.
        tracing::debug!(chart = %chart.name, version = %chart.version, "the chart's notes cannot be had");
        String::new()
    })
}
