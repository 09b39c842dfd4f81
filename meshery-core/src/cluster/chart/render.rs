//! One rendering: the archive, the values and what the cluster is like go in, helm's output comes out.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use super::error::ChartError;
use super::helm::Helm;
use super::notes::notes;
use super::process::{self, Invocation, RunError};
use super::{Chart, RenderRequest, Rendered, documents, failure};
use crate::confidential::Confidential;

const DEADLINE: Duration = Duration::from_mins(1);
/// What a rendering may print. The largest charts of meshes print 3 MB.
const LIMIT: usize = 64 << 20;

/// Renders a chart in a folder of its own, which is to be empty and to go afterwards.
pub(super) async fn render(
    helm: &Helm,
    chart: &Chart,
    request: &RenderRequest,
    hidden: &Confidential,
    home: &Path,
) -> Result<Rendered, ChartError> {
    check(request)?;
    let label = format!("{} {}", chart.name, chart.version);
    let archive = home.join("chart.tgz");
    tokio::fs::write(&archive, &chart.archive)
        .await
        .map_err(|source| ChartError::Files {
            what: "cannot write".into(),
            path: archive.clone(),
            source,
        })?;
    let rendering = process::run(Invocation {
        program: &helm.path,
        arguments: arguments(helm, chart, request, &archive)?,
        input: json_for_yaml(&request.values).into_bytes(),
        home,
        deadline: DEADLINE,
        limit: LIMIT,
    });
    let (output, notes) = tokio::join!(rendering, notes(helm, chart, request, (&archive, home)));
    let output = output.map_err(|error| match error {
        RunError::Deadline => ChartError::Timeout {
            chart: label.clone(),
            limit: DEADLINE,
        },
        RunError::TooMuch => ChartError::TooLarge {
            what: format!("what chart {label} renders to"),
            limit: LIMIT as u64,
        },
        RunError::Start(_) | RunError::Read(_) => ChartError::HelmUnusable {
            path: helm.path.clone(),
            reason: error.to_string(),
        },
    })?;
    if !output.status.success() {
        return Err(match output.status.code() {
            Some(_) => failure::classify(&label, &output.stderr, hidden),
            None => ChartError::Helm {
                chart: label,
                text: "the program was killed".into(),
            },
        });
    }
    let version = helm.version.clone();
    // Large definitions of kinds take a while to parse; the executor has other things to do.
    let hidden = hidden.clone();
    let read = move || -> Result<Rendered, ChartError> {
        let text = String::from_utf8_lossy(&output.stdout);
        let rendered = documents::read(&label, &text).map_err(|error| failure::untold(error, &hidden))?;
        Ok(Rendered {
            helm: version,
            notes,
            ..rendered
        })
    };
    super::blocking(read).await
}

pub(super) fn arguments(
    helm: &Helm,
    chart: &Chart,
    request: &RenderRequest,
    archive: &Path,
) -> Result<Vec<OsString>, ChartError> {
    let mut arguments: Vec<OsString> =
        vec!["template".into(), request.release.clone().into(), archive.into()];
    let mut add = |flag: &str, value: &str| arguments.push(format!("{flag}={value}").into());
    add("--namespace", &request.namespace);
    add("--values", "-");
    if !request.kube_version.is_empty() {
        add("--kube-version", &request.kube_version);
    }
    for api in &request.api_versions {
        add("--api-versions", api);
    }
    arguments.push("--include-crds".into());
    if request.is_upgrade {
        arguments.push("--is-upgrade".into());
    }
    if chart.schema_refers_out {
        if !helm.can_skip_schema() {
            return Err(ChartError::HelmUnusable {
                path: helm.path.clone(),
                reason: format!(
                    "it is {}, which would fetch what the schema of chart {} refers to; 3.16 and newer need not",
                    helm.version, chart.name
                ),
            });
        }
        tracing::warn!(chart = %chart.name, version = %chart.version,
            "the schema of the chart's values refers to other documents; the values are not checked against it");
        arguments.push("--skip-schema-validation".into());
    }
    Ok(arguments)
}

/// Refuses what helm would refuse, and what it would take for something else.
fn check(request: &RenderRequest) -> Result<(), ChartError> {
    let fault = |what: &str, value: &str, reason: &str| {
        let value = value.escape_debug().take(100).collect();
        Err(ChartError::Request {
            what: what.into(),
            value,
            reason: reason.into(),
        })
    };
    let words = "must be lower-case letters, digits and dashes, with a letter or digit at both ends";
    if !request.release.split('.').all(is_label) || request.release.len() > 53 {
        return fault(
            "the release name",
            &request.release,
            &format!("{words}, at most 53 of them"),
        );
    }
    if !is_label(&request.namespace) || request.namespace.len() > 63 {
        return fault(
            "the namespace",
            &request.namespace,
            &format!("{words}, at most 63 of them"),
        );
    }
    let plain = |text: &str| {
        text.len() <= 300
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '-' | '+'))
    };
    if !plain(&request.kube_version) {
        return fault("the Kubernetes version", &request.kube_version, "is no version");
    }
    match request
        .api_versions
        .iter()
        .find(|api| api.is_empty() || !plain(api))
    {
        Some(api) => fault("the API version", api, "is not one"),
        None => Ok(()),
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// JSON that means the same when it is read as YAML 1.1, where a few characters end a line or are not allowed.
pub(super) fn json_for_yaml(values: &Map<String, Value>) -> String {
    let json = serde_json::to_string(values).unwrap_or_else(|_| "{}".into());
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // Outside of strings JSON is ASCII, so these are inside, where they may be written so.
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(safe, "\\u{:04x}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    safe
}
