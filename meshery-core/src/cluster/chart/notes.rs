//! What a chart has to say to whoever installs it (`templates/NOTES.txt`): Helm keeps it in the release's record.
//!
//! `helm template` leaves it out. For an installation a dry run has it, which asks no cluster. One of an upgrade would ask, so
//! there the chart gets a template more, which has the notes as a value of an object, and is rendered as an upgrade. The objects
//! in either are not looked at: what is installed is what was rendered once. A chart whose notes cannot be had is installed
//! without them.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use tar::Header;

use super::helm::Helm;
use super::process::{self, Invocation};
use super::render::{arguments, json_for_yaml};
use super::{Chart, RenderRequest};

const DEADLINE: Duration = Duration::from_secs(30);
/// What the dry run may print: the objects are in it, too.
const LIMIT: usize = 64 << 20;
/// What notes may be long: a Secret has to take the record.
const LONGEST: usize = 64 << 10;
/// The template that a chart gets for the notes of an upgrade.
const TEMPLATE: &str = "templates/meshery-notes.yaml";
/// One line of JSON, which is YAML as well.
const CONTENT: &str = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"notes"},"notes":{{ include (print $.Template.BasePath "/NOTES.txt") . | toJson }}}"#;

#[derive(Deserialize)]
struct DryRun {
    info: Notes,
}

#[derive(Deserialize)]
struct Notes {
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
    let notes = if request.is_upgrade {
        of_upgrade(helm, chart, request, home).await
    } else {
        of_installation(helm, chart, request, (archive, home)).await
    };
    notes.unwrap_or_else(|| {
        // Not what helm says: values may be in it.
        tracing::debug!(chart = %chart.name, version = %chart.version, "the chart's notes cannot be had");
        String::new()
    })
}

async fn of_installation(
    helm: &Helm,
    chart: &Chart,
    request: &RenderRequest,
    (archive, home): (&Path, &Path),
) -> Option<String> {
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
    let output = printed(helm, arguments, request, home).await?;
    let read = move || Ok(serde_json::from_slice::<DryRun>(&output).ok());
    let dry_run = super::blocking(read).await.ok().flatten()?;
    fitting(dry_run.info.notes)
}

async fn of_upgrade(helm: &Helm, chart: &Chart, request: &RenderRequest, home: &Path) -> Option<String> {
    let archive = home.join("with-notes.tgz");
    tokio::fs::write(&archive, with_template(chart).ok()?)
        .await
        .ok()?;
    let mut arguments = arguments(helm, chart, request, &archive).ok()?;
    arguments.push(format!("--show-only={TEMPLATE}").into());
    let output = printed(helm, arguments, request, home).await?;
    let text = String::from_utf8(output).ok()?;
    let object = text.lines().find(|line| line.starts_with('{'))?;
    fitting(serde_json::from_str::<Notes>(object).ok()?.notes)
}

fn fitting(notes: String) -> Option<String> {
    (notes.len() <= LONGEST).then_some(notes)
}

/// The chart's archive with the template before everything else: several gzip members are one stream, and helm does not mind
/// the name of the folder.
fn with_template(chart: &Chart) -> std::io::Result<Vec<u8>> {
    let mut header = Header::new_gnu();
    header.set_path(format!("chart/{TEMPLATE}"))?;
    header.set_size(CONTENT.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut entry = header.as_bytes().to_vec();
    entry.extend_from_slice(CONTENT.as_bytes());
    entry.resize(entry.len().next_multiple_of(512), 0);
    let mut member = GzEncoder::new(Vec::new(), Compression::fast());
    member.write_all(&entry)?;
    let mut archive = member.finish()?;
    archive.extend_from_slice(&chart.archive);
    Ok(archive)
}

/// What helm prints, when it succeeds.
async fn printed(
    helm: &Helm,
    arguments: Vec<OsString>,
    request: &RenderRequest,
    home: &Path,
) -> Option<Vec<u8>> {
    let run = process::run(Invocation {
        program: &helm.path,
        arguments,
        input: json_for_yaml(&request.values).into_bytes(),
        home,
        deadline: DEADLINE,
        limit: LIMIT,
    });
    let output = run.await.ok()?;
    output.status.success().then_some(output.stdout)
}
