//! `bundle`: what installations take, in one file, and such a file brought to a host without the internet.

use std::fs::File;
use std::path::Path;

use futures::StreamExt as _;
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

use super::provider::{hex, pieces, unreadable};
use crate::adapter::Adapter;
use crate::arguments::BundleCommand;
use crate::client::{Client, Patience};
use crate::console::{Console, plain};
use crate::failure::Failure;
use crate::parameters;
use crate::partial::Partial;

const TAR: &str = "application/x-tar";

pub async fn run(client: &Client, console: &mut Console, command: &BundleCommand) -> Result<(), Failure> {
    match command {
        BundleCommand::Create {
            meshes,
            parameters,
            out,
        } => create(client, console, meshes, &parameters.words()?, out).await,
        BundleCommand::Load { file } => load(client, console, file).await,
    }
}

/// An installation as the host takes it.
pub async fn wanted(
    client: &Client,
    name: &str,
    version: Option<&str>,
    words: &[(String, String)],
) -> Result<Value, Failure> {
    let adapter = Adapter::get(client, name).await?;
    let operation = adapter.operation_for("install")?;
    let parameters = parameters::read(operation, words)?;
    Ok(json!({
        "adapter": adapter.name,
        "version": version.unwrap_or(""),
        "parameters": parameters,
    }))
}

async fn create(
    client: &Client,
    console: &mut Console,
    meshes: &[String],
    words: &[(String, String)],
    out: &Path,
) -> Result<(), Failure> {
    let partial = Partial::make(out, 0o644, "bundle-file")?;
    let mut asked = Vec::new();
    for mesh in meshes {
        let (name, version) = match mesh.split_once('=') {
            Some((name, version)) if !name.is_empty() && !version.is_empty() => (name, Some(version)),
            None => (mesh.as_str(), None),
            Some(_) => {
                let message = format!("--mesh \"{}\" is not of the form name=version", plain(mesh));
                let remedy = "write it as --mesh istio=1.30.3";
                return Err(Failure::usage("bad-mesh", message, remedy));
            }
        };
        asked.push(wanted(client, name, version, words).await?);
    }
    let line = console.paint_err.dim("collecting charts and images...");
    console.live(&line)?;
    let body = json!({ "meshes": asked });
    let mut answer = client.download_slowly(&["bundle"], &body).await?;
    let (mut hash, mut size) = (Context::new(&SHA256), 0);
    while let Some(piece) = client.piece(&mut answer).await? {
        hash.update(&piece);
        size += piece.len();
        partial.write(&piece)?;
    }
    partial.finish()?;
    let digest = hex(hash.finish().as_ref());
    if !console.for_people() {
        return console.document(&json!({
            "file": out.display().to_string(), "bytes": size, "sha256": digest}));
    }
    console.say(&format!("{digest}  {}", out.display()))?;
    console.tell(&format!(
        "{size} bytes; the images that it needs are listed in it, not contained: tar -xOf {} images.txt",
        out.display()
    ))
}

async fn load(client: &Client, console: &mut Console, file: &Path) -> Result<(), Failure> {
    let input = File::open(file).map_err(|error| unreadable("bundle-file", file, &error))?;
    let size = input
        .metadata()
        .map_err(|error| unreadable("bundle-file", file, &error))?
        .len();
    let answer = client
        .upload(&["bundle", "load"], &[], TAR, pieces(input).boxed(), size)
        .await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    let contents = &answer["contents"];
    let mut lines = Vec::new();
    for chart in contents["charts"].as_array().into_iter().flatten() {
        let text = |key: &str| plain(chart[key].as_str().unwrap_or(""));
        lines.push(format!(
            "{} {}  sha256:{}",
            text("name"),
            text("version"),
            text("sha256")
        ));
    }
    console.say(&lines.join("\n"))?;
    let count = |value: &Value| value.as_array().map_or(0, Vec::len);
    let versions = match answer["versions"].as_u64() {
        None | Some(0) => String::new(),
        Some(versions) => format!("; {versions} versions that repositories listed are known by it"),
    };
    console.tell(&format!(
        "loaded {} charts, {} of them new; {} images must be in your registry{versions}",
        count(&contents["charts"]),
        answer["new"],
        count(&contents["images"]),
    ))
}

/// The images of an installation.
pub async fn images(client: &Client, wanted: &Value) -> Result<Value, Failure> {
    client.post(&["images"], Some(wanted), Patience::Long).await
}
