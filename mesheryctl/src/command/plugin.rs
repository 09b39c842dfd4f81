//! `plugin`: the files that the host has looked at.

use std::fmt::Write as _;

use serde_json::Value;

use crate::arguments::PluginCommand;
use crate::client::Client;
use crate::console::{Console, plain};
use crate::failure::{Failure, Problem};
use crate::table::Table;

pub async fn run(client: &Client, console: &mut Console, command: &PluginCommand) -> Result<(), Failure> {
    let PluginCommand::List = command;
    let answer = client.get(&["plugins"], &[]).await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    let mut table = Table::new(&["KIND", "NAME", "VERSION", "STATE", "MODE", "FILE"]);
    let mut refused = Vec::new();
    for item in answer["items"].as_array().into_iter().flatten() {
        let text = |key: &str| item[key].as_str().unwrap_or("").to_owned();
        table.row([
            &text("kind"),
            &text("name"),
            &text("version"),
            &text("state"),
            &text("mode"),
            &text("file"),
        ]);
        if let Some(error) = problem(&item["error"]) {
            refused.push((text("file"), error));
        }
    }
    if table.is_empty() {
        return console.say("The host has looked at no plugin file.");
    }
    let mut lines = table.lines(console.paint);
    for (file, error) in refused {
        let _ = write!(lines, "\n\n{}\n{}", plain(&file), error.lines(console.paint));
    }
    console.say(&lines)
}

fn problem(value: &Value) -> Option<Problem> {
    if value.is_null() {
        return None;
    }
    serde::Deserialize::deserialize(value).ok()
}
