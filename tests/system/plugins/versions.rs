//! The promise of the boundary: within a major version, older and newer fit together, in both directions.
//!
//! The other version is made here: the boundary's own source with everything in it that may grow grown by one, a
//! plugin built with that, and a host built with that. It takes a while, the first time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_core::plugin::{Isolation, PluginState, Plugins};
use meshery_tests::artifacts;
use serde_json::Value;
use tempfile::TempDir;

use super::{Place, line, run};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![trial(
        "plugins::older_and_newer_versions_of_the_boundary_fit_in_both_directions",
        both_directions,
    )]
}

fn both_directions() -> anyhow::Result<()> {
    let newer = Newer::build()?;

    for isolation in [Isolation::InProcess, Isolation::Child] {
        let place = Place::new()?;
        place.put("newer.so", &fs::read(&newer.plugin)?)?;
        place.put("ours.so", &fs::read(super::fixture("misbehaving")?)?)?;
        run(async {
            let plugins = Plugins::load(place.settings(isolation)).await;
            for (file, name) in [("newer.so", "newer"), ("ours.so", "misbehaving")] {
                ensure!(
                    line(&plugins, file)?.state == PluginState::Loaded,
                    "{:#?}",
                    plugins.list()
                );
                let plan = plugins
                    .adapter(name)?
                    .plan(&super::adapters::request("well"))
                    .await?;
                ensure!(plan.summary == "hello", "{plan:?}");
            }
            plugins.shutdown().await;
            Ok(())
        })??;

        let mode = if isolation == Isolation::Child {
            "child"
        } else {
            "in-process"
        };
        let output = Command::new(&newer.host)
            .arg(place.root.path().join("newer-data"))
            .arg(place.plugins())
            .arg(mode)
            .output()?;
        let told = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(output.status.success(), "{told}");
        let list: Value = serde_json::from_slice(&output.stdout).context(told)?;
        ensure!(
            list == serde_json::json!({"misbehaving": "hello", "newer": "hello"}),
            "{list}"
        );
    }
    Ok(())
}

struct Newer {
    plugin: PathBuf,
    host: PathBuf,
    _source: TempDir,
}

const HOST: &str = r#"
use meshery_core::plugin::{Isolation, PluginSettings, Plugins, child_main};
use meshery_plugin_api::message::plan::PlanRequest;
use serde_json::{Map, Value, json};

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next().unwrap();
    if first == "plugin-child" {
        return child_main(arguments);
    }
    assert_eq!(meshery_plugin_api::VERSION, "1.1.0");
    let mut settings = PluginSettings::new(first);
    settings.folders = vec![arguments.next().unwrap().into()];
    settings.isolation = match arguments.next().unwrap().to_str() {
        Some("child") => Isolation::Child,
        _ => Isolation::InProcess,
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let plugins = Plugins::load(settings).await;
        let mut answers = Map::new();
        for status in plugins.list() {
            let answer = match (status.error, plugins.adapter(&status.name)) {
                (None, Ok(adapter)) => {
                    let parameters = json!({"say": "hello"}).as_object().unwrap().clone();
                    let request = PlanRequest { operation: "well".into(), parameters, ..PlanRequest::default() };
                    adapter.plan(&request).await.map_or_else(|e| e.to_string(), |plan| plan.summary)
                }
                (error, _) => format!("{error:?}"),
            };
            answers.insert(status.name, answer.into());
        }
        println!("{}", Value::Object(answers));
        plugins.shutdown().await;
    });
    std::process::ExitCode::SUCCESS
}
"#;

impl Newer {
    fn build() -> anyhow::Result<Self> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("tests lie in a workspace")?;
        let source = TempDir::new()?;
        let root = source.path();
        for package in ["meshery-plugin-api", "meshery-core"] {
            copy(&workspace.join(package), &root.join(package))?;
        }
        copy(&workspace.join("docs"), &root.join("docs"))?;
        copy(
            &workspace.join("tests/fixtures/misbehaving"),
            &root.join("newer-plugin"),
        )?;
        fs::copy(workspace.join("Cargo.lock"), root.join("Cargo.lock"))?;
        let manifest = fs::read_to_string(workspace.join("Cargo.toml"))?;
        let start = manifest
            .find("members = [")
            .context("the workspace has members")?;
        let end = manifest
            .find("[workspace.package]")
            .context("the workspace has a package")?;
        let members = r#"members = ["meshery-plugin-api", "meshery-core", "newer-plugin", "newer-host"]"#;
        fs::write(
            root.join("Cargo.toml"),
            format!("{}{members}\n\n{}", &manifest[..start], &manifest[end..]),
        )?;

        let api = root.join("meshery-plugin-api");
        change(
            &api.join("Cargo.toml"),
            "version = \"1.0.0\"",
            "version = \"1.1.0\"",
        )?;
        let abi = api.join("src/abi.rs");
        let last_method =
            "fn call_async(&self, op: u64, method: RString, payload: RVec<u8>) -> FfiFuture<Reply>;";
        change(
            &abi,
            last_method,
            &format!("{last_method}\n    fn newer(&self, n: u64) -> u64 {{\n        n\n    }}"),
        )?;
        let last_service = "fn call(&self, method: RString, payload: RVec<u8>) -> FfiFuture<Reply>;";
        change(
            &abi,
            last_service,
            &format!("{last_service}\n    fn newer(&self) -> u64 {{\n        7\n    }}"),
        )?;
        let last_field = "pub create: extern \"C\" fn(HostRef, RString) -> RResult<InstanceBox, AbiError>,";
        change(
            &abi,
            last_field,
            &format!("{last_field}\n    pub newer: extern \"C\" fn() -> u64,"),
        )?;
        change(
            &api.join("src/export.rs"),
            "PluginModule { manifest, create }.leak_into_prefix()",
            "extern \"C\" fn newer() -> u64 { 9 }\n    PluginModule { manifest, create, newer }.leak_into_prefix()",
        )?;
        change(
            &root.join("newer-plugin/Cargo.toml"),
            "fixture-misbehaving",
            "fixture-newer",
        )?;
        change(
            &root.join("newer-plugin/src/lib.rs"),
            "name: \"misbehaving\"",
            "name: \"newer\"",
        )?;
        fs::create_dir_all(root.join("newer-host/src"))?;
        fs::write(root.join("newer-host/src/main.rs"), HOST)?;
        fs::write(
            root.join("newer-host/Cargo.toml"),
            "[package]\nname = \"newer-host\"\nedition = \"2024\"\n[dependencies]\nmeshery-core.workspace = true\n\
             meshery-plugin-api.workspace = true\nserde_json.workspace = true\ntokio.workspace = true\n",
        )?;

        let this = std::env::current_exe()?;
        let profile = this
            .ancestors()
            .nth(2)
            .context("this program lies in no target folder")?;
        let target = profile
            .parent()
            .context("this program lies in no target folder")?;
        let mut command = artifacts::cargo();
        command
            .args([
                "build",
                "--offline",
                "--package",
                "newer-host",
                "--package",
                "fixture-newer",
            ])
            .env("CARGO_TARGET_DIR", target)
            .current_dir(root);
        artifacts::as_built(&mut command);
        let status = command.status().context("cargo could not be run")?;
        ensure!(status.success(), "{command:?}: {status}");
        Ok(Self {
            plugin: profile.join("libfixture_newer.so"),
            host: profile.join("newer-host"),
            _source: source,
        })
    }
}

/// Replaces the one place where a text stands.
fn change(file: &Path, from: &str, to: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    ensure!(
        text.matches(from).count() == 1,
        "{} does not have exactly one {from:?}",
        file.display()
    );
    Ok(fs::write(file, text.replace(from, to))?)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
