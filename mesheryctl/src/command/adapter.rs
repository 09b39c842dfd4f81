//! `adapter`: what the host can do, and any operation of it.

use std::fmt::Write as _;

use serde_json::Value;

use super::change::{plan, plan_and_run};
use crate::adapter::{Adapter, MeshVersion};
use crate::arguments::{AdapterCommand, AnyOperation, Request};
use crate::client::{Client, Patience};
use crate::console::{Console, Paint, plain};
use crate::failure::Failure;
use crate::parameters;
use crate::table::Table;

pub async fn run(client: &Client, console: &mut Console, command: &AdapterCommand) -> Result<(), Failure> {
    match command {
        AdapterCommand::List => list(client, console).await,
        AdapterCommand::View { name } => {
            let raw = Adapter::get_raw(client, name).await?;
            if console.for_people() {
                let page = page(&Adapter::read(&raw)?, console.paint);
                console.say(&page)
            } else {
                console.document(&raw)
            }
        }
        AdapterCommand::Versions { name, refresh } => versions(client, console, name, *refresh).await,
        AdapterCommand::Plan {
            what,
            request,
            show,
            result,
        } => {
            let asked = asked(client, what, request).await?;
            plan(client, console, &asked, *show, result).await
        }
        AdapterCommand::Run {
            what,
            request,
            show,
            run,
        } => {
            run.require_answer(Some("adapter plan"))?;
            let asked = asked(client, what, request).await?;
            plan_and_run(client, console, &asked, *show, run).await
        }
    }
}

async fn asked(client: &Client, what: &AnyOperation, request: &Request) -> Result<Value, Failure> {
    let adapter = Adapter::get(client, &what.name).await?;
    let operation = adapter.operation(&what.operation)?;
    let parameters = parameters::read(operation, &request.parameters.words()?)?;
    request.body(&adapter.name, &operation.name, parameters)
}

async fn list(client: &Client, console: &mut Console) -> Result<(), Failure> {
    let answer = client.get(&["adapters"], &[]).await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    let mut table = Table::new(&["NAME", "VERSION", "MESH", "NEWEST", "PORT", "DESCRIPTION"]);
    for item in answer["items"].as_array().into_iter().flatten() {
        let adapter = Adapter::read(item)?;
        let newest = adapter
            .versions
            .iter()
            .find(|v| v.stable)
            .or(adapter.versions.first());
        table.row([
            &adapter.name,
            &adapter.version,
            &adapter.mesh,
            newest.map_or("", |v| v.version.as_str()),
            &adapter.port.to_string(),
            &adapter.description,
        ]);
    }
    if table.is_empty() {
        return console
            .say("The host has no adapters: see `mesheryctl plugin list` for what was refused and why.");
    }
    let lines = table.lines(console.paint);
    console.say(&lines)
}

async fn versions(client: &Client, console: &mut Console, name: &str, refresh: bool) -> Result<(), Failure> {
    let adapter = Adapter::get(client, name).await?;
    let path = ["adapters", &adapter.name, "versions"];
    let answer = if refresh {
        let path = [path[0], path[1], path[2], "refresh"];
        client.post(&path, None, Patience::Long).await?
    } else {
        client.get_slowly(&path, &[]).await?
    };
    if !console.for_people() {
        return console.document(&answer);
    }
    let mut table = Table::new(&["MESH VERSION", "RELEASE", "SOURCE", "END OF LIFE", "KUBERNETES"]);
    for item in answer["items"].as_array().into_iter().flatten() {
        let version = MeshVersion::read(item)?;
        table.row([
            &version.version,
            version.release(),
            &version.source,
            &version.end_of_life,
            &version.kubernetes,
        ]);
    }
    if table.is_empty() {
        console.say("The adapter knows no versions of its mesh.")?;
    } else {
        let lines = table.lines(console.paint);
        console.say(&lines)?;
    }
    match answer["refreshed"].as_str() {
        Some(at) => console.tell(&format!("The repositories were asked last at {}.", plain(at))),
        None if refresh => console.tell("The mirror was read; the repositories may not be asked (offline)."),
        None => console.tell("The repositories were never asked; --refresh asks them."),
    }
}

fn page(adapter: &Adapter, paint: Paint) -> String {
    let mut text = paint.bold(&plain(&format!("{} {}", adapter.name, adapter.version)));
    if !adapter.description.is_empty() {
        let _ = write!(text, ": {}", plain(&adapter.description));
    }
    for (label, value) in [
        ("mesh", &adapter.mesh),
        ("licence", &adapter.license),
        ("homepage", &adapter.homepage),
    ] {
        if !value.is_empty() {
            let _ = write!(text, "\n{:<10} {}", format!("{label}:"), plain(value));
        }
    }
    if !adapter.versions.is_empty() {
        let mut table = Table::new(&["MESH VERSION", "RELEASE", "END OF LIFE", "KUBERNETES"]);
        for version in &adapter.versions {
            table.row([
                &version.version,
                version.release(),
                &version.end_of_life,
                &version.kubernetes,
            ]);
        }
        let _ = write!(text, "\n\n{}", table.lines(paint));
    }
    for operation in &adapter.operations {
        let head = paint.bold(&plain(&operation.name));
        let _ = write!(
            text,
            "\n\n{head} ({}): {}",
            plain(&operation.category),
            plain(&operation.description)
        );
        let rows = operation.parameter_rows();
        if !rows.is_empty() {
            let mut table = Table::new(&["PARAMETER", "TAKES", "DEFAULT", "MEANING"]);
            for [name, takes, default, meaning] in &rows {
                table.row([name, takes, default, meaning]);
            }
            let _ = write!(text, "\n  {}", table.lines(paint).replace('\n', "\n  "));
        }
    }
    text
}
