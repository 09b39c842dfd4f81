//! `app`: applications, which are operations of an adapter.
//!
//! Which applications there are is for the adapters to say: an operation of the category `sample-application`
//! either takes the application as a parameter or has it in its name, and removes one if its name says so. What is dropped
//! beside the host is offered by each adapter that has an operation for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::change::plan_and_run;
use crate::adapter::{Adapter, Operation};
use crate::application::Dropped;
use crate::arguments::{App, AppCommand};
use crate::client::Client;
use crate::console::{Console, plain};
use crate::failure::{Failure, Problem};
use crate::parameters;
use crate::table::Table;

pub async fn run(client: &Client, console: &mut Console, command: &AppCommand) -> Result<(), Failure> {
    match command {
        AppCommand::List { mesh } => list(client, console, mesh.as_deref()).await,
        AppCommand::Deploy(app) => change(client, console, app, false).await,
        AppCommand::Remove(app) => change(client, console, app, true).await,
    }
}

async fn adapters(client: &Client, mesh: Option<&str>) -> Result<Vec<Adapter>, Failure> {
    match mesh {
        Some(name) => Ok(vec![Adapter::get(client, name).await?]),
        None => Adapter::all(client).await,
    }
}

async fn list(client: &Client, console: &mut Console, mesh: Option<&str>) -> Result<(), Failure> {
    let adapters = adapters(client, mesh).await?;
    let mut samples: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut takers = Vec::new();
    for adapter in &adapters {
        for operation in deployments(adapter, false) {
            match offer(operation) {
                Offer::Samples(names, _) => {
                    for name in names {
                        samples.entry(name).or_default().push(&adapter.name);
                    }
                }
                Offer::Dropped(_) => takers.push(adapter.name.as_str()),
            }
        }
    }
    let dropped = Dropped::all(client).await?;
    let items: Vec<Value> = samples
        .iter()
        .map(|(name, adapters)| json!({"name": name, "source": "sample", "adapters": adapters}))
        .chain(dropped.items.iter().map(|item| {
            let mut item = item.clone();
            item["source"] = "folder".into();
            item["adapters"] = json!(takers);
            item
        }))
        .collect();
    if !console.for_people() {
        return console.document(&json!({"folder": dropped.folder, "items": items}));
    }
    let mut table = Table::new(&["NAME", "SOURCE", "FILES", "OF"]);
    let mut unusable = Vec::new();
    for item in &items {
        let text = |key: &str| item[key].as_str().unwrap_or("").to_owned();
        let of: Vec<&str> = item["adapters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let files = item["files"]
            .as_u64()
            .map(|files| files.to_string())
            .unwrap_or_default();
        table.row([&text("name"), &text("source"), &files, &of.join(", ")]);
        if let Ok(problem) = <Problem as serde::Deserialize>::deserialize(&item["problem"]) {
            unusable.push((text("name"), problem));
        }
    }
    let mut lines = if table.is_empty() {
        "There is no application.".to_owned()
    } else {
        table.lines(console.paint)
    };
    for (name, problem) in unusable {
        let _ = write!(lines, "\n\n{}\n{}", plain(&name), problem.lines(console.paint));
    }
    if !takers.is_empty() && !dropped.folder.is_empty() {
        let _ = write!(
            lines,
            "\n\nMore of them: a folder of YAML files for each in {}",
            plain(&dropped.folder)
        );
    }
    console.say(&lines)
}

async fn change(client: &Client, console: &mut Console, app: &App, remove: bool) -> Result<(), Failure> {
    app.run.require_answer(Some("adapter plan"))?;
    let adapters = adapters(client, app.mesh.as_deref()).await?;
    let mut found = find(&adapters, &[], &app.name, remove);
    let takes_dropped = |adapter: &Adapter| {
        let mut operations = deployments(adapter, remove);
        operations.any(|operation| matches!(offer(operation), Offer::Dropped(_)))
    };
    if found.is_err() && adapters.iter().any(takes_dropped) {
        let dropped = Dropped::all(client).await?.names();
        found = find(&adapters, &dropped, &app.name, remove);
    }
    let (adapter, operation, parameter) = found?;
    let mut words = app.request.parameters.words()?;
    let is_named = words.iter().any(|(name, _)| name == "namespace");
    if let Some(namespace) = &app.namespace {
        words.push(("namespace".to_owned(), namespace.clone()));
    } else if operation.requires("namespace") && !is_named {
        // As samples do.
        words.push(("namespace".to_owned(), app.name.clone()));
    }
    if let Some(parameter) = parameter {
        words.push((parameter, app.name.clone()));
    }
    let parameters = parameters::read(operation, &words)?;
    let asked = app.request.body(&adapter.name, &operation.name, parameters)?;
    plan_and_run(client, console, &asked, app.show, &app.run).await
}

/// What an operation deploys or removes.
enum Offer {
    /// These, and the parameter that chooses among them if there is one.
    Samples(Vec<String>, Option<String>),
    /// What is dropped beside the host; the parameter names it.
    Dropped(String),
}

fn offer(operation: &Operation) -> Offer {
    if let Some(parameter) = operation.parameter_of_format("application") {
        return Offer::Dropped(parameter);
    }
    match choice(operation) {
        Some((parameter, apps)) => Offer::Samples(apps, Some(parameter)),
        None => Offer::Samples(vec![own_name(operation)], None),
    }
}

/// The operations of an adapter that deploy applications, or remove them.
fn deployments(adapter: &Adapter, remove: bool) -> impl Iterator<Item = &Operation> {
    let operations = adapter.operations.iter();
    operations.filter(move |o| o.category == "sample-application" && removes(o) == remove)
}

/// The adapter, its operation, and the parameter that names the application if there is one.
fn find<'a>(
    adapters: &'a [Adapter],
    dropped: &[String],
    app: &str,
    remove: bool,
) -> Result<(&'a Adapter, &'a Operation, Option<String>), Failure> {
    let verb = if remove { "remove" } else { "deploy" };
    let mut found = Vec::new();
    let mut known = Vec::new();
    for adapter in adapters {
        for operation in deployments(adapter, remove) {
            let (named, parameter) = match offer(operation) {
                Offer::Samples(named, parameter) => (named, parameter),
                Offer::Dropped(parameter) => (dropped.to_vec(), Some(parameter)),
            };
            if named.iter().any(|name| name == app) {
                found.push((adapter, operation, parameter));
            }
            known.extend(named.iter().map(|name| format!("{name} (of {})", adapter.name)));
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::Problem(
            Problem::new(
                "unknown-application",
                format!("no adapter can {verb} an application \"{app}\""),
            )
            .remedy(if known.is_empty() {
                "see `mesheryctl adapter list`".to_owned()
            } else {
                format!("there are: {}", known.join(", "))
            }),
        )),
        _ => {
            let names: Vec<&str> = found.iter().map(|(adapter, ..)| adapter.name.as_str()).collect();
            Err(Failure::usage(
                "ambiguous-application",
                format!("several adapters can {verb} {app}: {}", names.join(", ")),
                "name one with --mesh",
            ))
        }
    }
}

const REMOVES: [&str; 3] = ["remove", "delete", "undeploy"];

fn removes(operation: &Operation) -> bool {
    operation.name.split('-').any(|word| REMOVES.contains(&word))
}

/// The name of the application in the operation's: `remove-bookinfo` is about `bookinfo`.
fn own_name(operation: &Operation) -> String {
    let words = operation.name.split('-');
    let verb = |word: &&str| REMOVES.contains(word) || matches!(*word, "deploy" | "install");
    words.filter(|word| !verb(word)).collect::<Vec<_>>().join("-")
}

/// The parameter that chooses among applications, and these.
fn choice(operation: &Operation) -> Option<(String, Vec<String>)> {
    ["application", "app", "sample"].iter().find_map(|name| {
        let words = operation.property(name)?["enum"].as_array()?;
        let words = words.iter().filter_map(Value::as_str).map(str::to_owned);
        Some(((*name).to_owned(), words.collect()))
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;

    fn adapter(name: &str, operations: Value) -> Adapter {
        Adapter::deserialize(json!({"name": name, "operations": operations})).unwrap()
    }

    #[test]
    fn an_application_is_found_by_the_operations_name_or_by_a_parameters_choice() {
        let by_name = adapter(
            "lattice",
            json!([
                {"name": "deploy-bookinfo", "category": "sample-application"},
                {"name": "remove-bookinfo", "category": "sample-application"},
                {"name": "install", "category": "install"}]),
        );
        let by_choice = adapter(
            "trellis",
            json!([{"name": "deploy-sample", "category": "sample-application", "parameters":
                {"properties": {"application": {"enum": ["emojivoto", "bookinfo"]}}}}]),
        );
        let adapters = [by_name, by_choice];
        let (adapter, operation, parameter) = find(&adapters, &[], "bookinfo", true).unwrap();
        assert_eq!(
            (adapter.name.as_str(), operation.name.as_str()),
            ("lattice", "remove-bookinfo")
        );
        assert_eq!(parameter, None);
        let (adapter, _, parameter) = find(&adapters, &[], "emojivoto", false).unwrap();
        assert_eq!(
            (adapter.name.as_str(), parameter.as_deref()),
            ("trellis", Some("application"))
        );
        let error = find(&adapters, &[], "bookinfo", false).unwrap_err().to_string();
        assert!(error.contains("--mesh"), "{error}");
        let error = find(&adapters, &[], "install", false).unwrap_err().to_string();
        assert!(error.contains("bookinfo (of lattice)"), "{error}");
    }

    #[test]
    fn what_is_dropped_is_offered_by_each_adapter_that_takes_it() {
        let by_folder = adapter(
            "lattice",
            json!([{"name": "deploy-application", "category": "sample-application", "parameters":
                {"properties": {"application": {"type": "string", "format": "application"}}}}]),
        );
        let by_folder = [by_folder];
        let dropped = ["shop".to_owned()];
        let (_, operation, parameter) = find(&by_folder, &dropped, "shop", false).unwrap();
        assert_eq!(
            (operation.name.as_str(), parameter.as_deref()),
            ("deploy-application", Some("application"))
        );
        let error = find(&by_folder, &dropped, "application", false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("shop (of lattice)"), "{error}");
    }
}
