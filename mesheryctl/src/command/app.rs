//! `app`: sample applications, which are operations of an adapter.
//!
//! Which applications there are is for the adapters to say: an operation of the category `sample-application`
//! either takes the application as a parameter or has it in its name, and removes one if its name says so.

use serde_json::Value;

use super::change::plan_and_run;
use crate::adapter::{Adapter, Operation};
use crate::arguments::AppCommand;
use crate::client::Client;
use crate::console::Console;
use crate::failure::{Failure, Problem};
use crate::parameters;

pub async fn run(client: &Client, console: &mut Console, command: &AppCommand) -> Result<(), Failure> {
    let (app, remove) = match command {
        AppCommand::Deploy(app) => (app, false),
        AppCommand::Remove(app) => (app, true),
    };
    app.run.require_answer()?;
    let adapters = match &app.mesh {
        Some(name) => vec![Adapter::get(client, name).await?],
        None => Adapter::all(client).await?,
    };
    let (adapter, operation, parameter) = find(&adapters, &app.name, remove)?;
    let mut words = app.request.words()?;
    if let Some(parameter) = parameter {
        words.push((parameter, app.name.clone()));
    }
    if let Some(namespace) = &app.namespace {
        words.push(("namespace".to_owned(), namespace.clone()));
    }
    let parameters = parameters::read(operation, &words)?;
    let asked = app.request.body(&adapter.name, &operation.name, parameters);
    plan_and_run(client, console, &asked, app.show, &app.run).await
}

/// The adapter, its operation, and the parameter that names the application if there is one.
fn find<'a>(
    adapters: &'a [Adapter],
    app: &str,
    remove: bool,
) -> Result<(&'a Adapter, &'a Operation, Option<String>), Failure> {
    let verb = if remove { "remove" } else { "deploy" };
    let mut found = Vec::new();
    let mut known = Vec::new();
    for adapter in adapters {
        let samples = adapter
            .operations
            .iter()
            .filter(|o| o.category == "sample-application");
        for operation in samples.filter(|o| removes(o) == remove) {
            let (named, parameter) = match choice(operation) {
                Some((parameter, apps)) => (apps, Some(parameter)),
                None => (vec![own_name(operation)], None),
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
        let (adapter, operation, parameter) = find(&adapters, "bookinfo", true).unwrap();
        assert_eq!(
            (adapter.name.as_str(), operation.name.as_str()),
            ("lattice", "remove-bookinfo")
        );
        assert_eq!(parameter, None);
        let (adapter, _, parameter) = find(&adapters, "emojivoto", false).unwrap();
        assert_eq!(
            (adapter.name.as_str(), parameter.as_deref()),
            ("trellis", Some("application"))
        );
        let error = find(&adapters, "bookinfo", false).unwrap_err().to_string();
        assert!(error.contains("--mesh"), "{error}");
        let error = find(&adapters, "install", false).unwrap_err().to_string();
        assert!(error.contains("bookinfo (of lattice)"), "{error}");
    }
}
