//! Everything of a host that somebody may see or steal, searched for what was planted.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use meshery_tests::artifacts;
use meshery_tests::host::Host;
use serde_json::{Value, json};

use super::Marker;

/// What is told of the host as a whole.
const OF_HOST: [&str; 9] = [
    "/metrics",
    "/readyz",
    "/api/v1/version",
    "/api/v1/plugins",
    "/api/v1/operations",
    "/api/v1/operation-sets",
    "/api/v1/clusters",
    "/api/v1/provider",
    "/api/v1/provider/backup",
];
/// Kinds of documents that the host keeps.
const KINDS: [&str; 6] = [
    "operation",
    "operation-set",
    "cluster",
    "host-key",
    "request-key",
    "mesh-versions",
];
const OF_OPERATION: [&str; 6] = ["", "/record", "/preview", "/images", "/plan", "/undo-preview"];
/// What `mesheryctl` shows of an operation.
const COMMANDS: [&str; 6] = [
    "operation view",
    "operation watch",
    "operation watch --verbose",
    "operation preview",
    "operation images",
    "operation undo --preview",
];
/// Longer than any operation takes to tell of itself once it is at rest.
const LISTENING: Duration = Duration::from_secs(20);

/// Looks for the markers in all that a host tells, logs and keeps. The operations have to be at rest.
pub fn search(host: &Host, markers: &[&Marker], operations: &[String]) -> anyhow::Result<()> {
    let absent = |place: &str, bytes: &[u8]| {
        markers
            .iter()
            .try_for_each(|marker| marker.is_absent(place, bytes))
    };
    let told = |path: &str| -> anyhow::Result<Value> {
        let answer = host.get(path)?;
        absent(path, &answer.body)?;
        Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    };
    for path in OF_HOST {
        told(path)?;
    }
    for kind in KINDS {
        told(&format!("/api/v1/documents/{kind}"))?;
    }
    let items = |list: Value, name: &str| -> Vec<String> {
        let items = list["items"].as_array().into_iter().flatten();
        items
            .filter_map(|item| item[name].as_str().map(str::to_owned))
            .collect()
    };
    for set in items(told("/api/v1/operation-sets")?, "id") {
        told(&format!("/api/v1/operation-sets/{set}"))?;
    }
    let adapters = items(told("/api/v1/adapters")?, "name");
    told("/api/v1/clusters/-")?;
    for adapter in &adapters {
        for what in ["facts", "detect", "analyze"] {
            told(&format!("/api/v1/clusters/-/{what}?adapter={adapter}"))?;
        }
        told(&format!("/api/v1/adapters/{adapter}"))?;
        let wanted = json!({"adapter": adapter});
        absent("the images", &host.post("/api/v1/images", &wanted)?.body)?;
        let bundle = host.post("/api/v1/bundle", &json!({"meshes": [wanted]}))?;
        absent("a bundle", &bundle.body)?;
    }
    for operation in operations {
        let of_operation = format!("/api/v1/operations/{operation}");
        for what in OF_OPERATION {
            told(&format!("{of_operation}{what}"))?;
        }
        let (events, end) = host
            .client()?
            .events(operation, 0)?
            .until_end(LISTENING)
            .with_context(|| format!("the events of {operation}"))?;
        let events: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
        absent("an event", events.join("\n").as_bytes())?;
        absent("the last event", end.to_string().as_bytes())?;
    }
    commands(host, operations, &absent)?;
    files(host.data(), &absent)?;
    files(&host.provider_folder()?, &absent)?;
    // Last, as all of the above may be in it.
    absent("the log", host.log().as_bytes())?;
    absent("the start report", host.report().as_bytes())
}

fn commands(
    host: &Host,
    operations: &[String],
    absent: &impl Fn(&str, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let ctl = artifacts::build()?.program("mesheryctl")?.to_owned();
    let run = |line: &str| -> anyhow::Result<()> {
        let output = std::process::Command::new(&ctl)
            .args(["--server", host.url()?, "--token-file"])
            .arg(host.token_file())
            .args(line.split_whitespace())
            .env_remove("MESHERY_SERVER")
            .output()?;
        let place = format!("mesheryctl {line}");
        absent(&place, &output.stdout)?;
        absent(&place, &output.stderr)
    };
    for line in [
        "operation list -o json",
        "operation-set list",
        "cluster list -o json",
        "provider view",
        "mesh detect",
    ] {
        run(line)?;
    }
    for operation in operations {
        for command in COMMANDS {
            run(&format!("-o table {command} {operation}"))?;
        }
        for format in ["json", "yaml"] {
            for command in ["view", "watch"] {
                run(&format!("-o {format} operation {command} {operation}"))?;
            }
        }
    }
    Ok(())
}

/// Byte by byte, but for the plugins, which are copies of files that were there before.
fn files(folder: &Path, absent: &impl Fn(&str, &[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        absent("a file's name", path.to_string_lossy().as_bytes())?;
        if path.is_symlink() || path.extension().is_some_and(|name| name == "so") {
            continue;
        }
        if path.is_dir() {
            files(&path, absent)?;
        } else {
            match std::fs::read(&path) {
                Ok(bytes) => absent(&path.display().to_string(), &bytes)?,
                // It was there for a moment only.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
