//! `cluster`: the contexts that the host can talk to.

use std::io::Read as _;
use std::path::Path;

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::arguments::ClusterCommand;
use crate::client::{Client, Patience};
use crate::console::{Console, plain, require_terminal};
use crate::failure::{Failure, Problem};
use crate::table::Table;

/// Largest kubeconfig that is read.
const LARGEST: u64 = 1 << 20;

pub async fn run(client: &Client, console: &mut Console, command: &ClusterCommand) -> Result<(), Failure> {
    match command {
        ClusterCommand::List => list(client, console).await,
        ClusterCommand::View { context } => {
            let path = ["clusters", context.as_deref().unwrap_or("-")];
            let answer = client.get(&path, &[]).await?;
            if !console.for_people() {
                return console.document(&answer);
            }
            let text: Vec<String> = answer
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    (value != "null").then(|| format!("{:<10} {}", format!("{}:", plain(key)), plain(&value)))
                })
                .collect();
            console.say(&text.join("\n"))
        }
        ClusterCommand::Add { file, name, replace } => {
            add(client, console, file, name.as_deref(), *replace).await
        }
        ClusterCommand::Remove { context, yes } => {
            if !yes {
                require_terminal(None)?;
            }
            console.confirm(&format!("Make the host forget \"{}\"?", plain(context)), *yes)?;
            client.delete(&["clusters", context]).await?;
            console.tell(&format!("removed: {}", plain(context)))
        }
    }
}

async fn list(client: &Client, console: &mut Console) -> Result<(), Failure> {
    let answer = client.get(&["clusters"], &[]).await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    let mut table = Table::new(&["CURRENT", "CONTEXT", "SERVER", "NAMESPACE", "SOURCE"]);
    for item in answer["items"].as_array().into_iter().flatten() {
        let text = |key: &str| item[key].as_str().unwrap_or("").to_owned();
        let current = if item["current"] == Value::Bool(true) {
            "*"
        } else {
            ""
        };
        table.row([
            current,
            &text("context"),
            &text("server"),
            &text("namespace"),
            &text("source"),
        ]);
    }
    let unusable: Vec<String> = answer["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| {
            let problem = Problem::deserialize(item.get("problem")?).ok()?;
            let context = plain(item["context"].as_str().unwrap_or_default());
            Some(format!("{context}: {}", problem.lines(console.paint)))
        })
        .collect();
    if table.is_empty() {
        return console.say("The host knows no cluster. Give it a kubeconfig: mesheryctl cluster add FILE");
    }
    let mut lines = table.lines(console.paint);
    for problem in unusable {
        lines.push_str("\n\n");
        lines.push_str(&problem);
    }
    console.say(&lines)
}

async fn add(
    client: &Client,
    console: &mut Console,
    file: &Path,
    name: Option<&str>,
    replace: bool,
) -> Result<(), Failure> {
    let (text, stem) = if file.as_os_str() == "-" {
        (read(std::io::stdin().lock()), None)
    } else {
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        (std::fs::File::open(file).and_then(read), stem)
    };
    let text = text.map_err(|e| {
        let message = format!("cannot read the kubeconfig {}: {e}", file.display());
        Failure::Problem(
            Problem::new("kubeconfig", message)
                .remedy("name a file with a kubeconfig, in UTF-8, or `-` for standard input"),
        )
    })?;
    let Some(name) = name.map(str::to_owned).or(stem) else {
        return Err(Failure::usage(
            "no-name",
            "standard input has no name",
            "give one with --name",
        ));
    };
    let mut body = json!({"name": name, "kubeconfig": text});
    // Hosts that do not know the field refuse it.
    if replace {
        body["replace"] = true.into();
    }
    let answer = client.post(&["clusters"], Some(&body), Patience::Normal).await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    console.tell(&format!("added: {}", plain(&name)))
}

fn read(from: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(std::io::Error::other(format!(
            "it is larger than {LARGEST} bytes"
        )));
    }
    Ok(text)
}
