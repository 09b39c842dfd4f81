//! `operation`: everything that was planned, runs or has run.

use serde_json::Value;

use super::change::{finish, start, watch};
use crate::arguments::{Change, OperationCommand, Show};
use crate::client::{Client, Patience};
use crate::console::Console;
use crate::failure::Failure;
use crate::preview::Preview;
use crate::progress::history_line;
use crate::record::Record;
use crate::table::Table;

pub async fn run(client: &Client, console: &mut Console, command: &OperationCommand) -> Result<(), Failure> {
    match command {
        OperationCommand::List {
            state,
            cluster,
            limit,
            after,
        } => {
            let limit = limit.map(|limit| limit.to_string());
            let query: Vec<(&str, &str)> = [
                ("state", state),
                ("cluster", cluster),
                ("limit", &limit),
                ("after", after),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
            .collect();
            list(client, console, &query).await
        }
        OperationCommand::View { id, events } => view(client, console, id, *events).await,
        OperationCommand::Preview { id, again, show } => preview(client, console, id, *again, *show).await,
        OperationCommand::Images { id } => {
            let answer = client.get(&["operations", id, "images"], &[]).await?;
            super::images::show(console, &answer)
        }
        OperationCommand::Watch { id, follow } => watch(client, console, id, *follow).await,
        OperationCommand::Run(change) => run_planned(client, console, change).await,
        OperationCommand::Forget { id, leave_behind } => forget(client, console, id, *leave_behind).await,
        OperationCommand::Prune => prune(client, console).await,
        OperationCommand::Approve { gate, change } => approve(client, console, gate.as_deref(), change).await,
        OperationCommand::Resume(change) => {
            act(client, console, change, "resume", "Go on with", &["succeeded"]).await
        }
        OperationCommand::Undo {
            preview: true,
            change,
        } => preview_undo(client, console, &change.id).await,
        OperationCommand::Undo { change, .. } => {
            act(client, console, change, "undo", "Take back", &["undone"]).await
        }
        OperationCommand::Cancel(change) => {
            act(
                client,
                console,
                change,
                "cancel",
                "Cancel",
                &["cancelled", "undone"],
            )
            .await
        }
    }
}

async fn list(client: &Client, console: &mut Console, query: &[(&str, &str)]) -> Result<(), Failure> {
    let answer = client.get(&["operations"], query).await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    let mut table = Table::new(&[
        "ID",
        "STATE",
        "ADAPTER",
        "OPERATION",
        "CLUSTER",
        "CREATED",
        "SUMMARY",
    ]);
    for item in answer["items"].as_array().into_iter().flatten() {
        let record = Record::read(item)?;
        table.row([
            &record.id,
            &record.state_and_place(),
            &record.adapter.name,
            &record.operation,
            &record.cluster.context,
            record.created.split('.').next().unwrap_or(""),
            &record.summary,
        ]);
    }
    if table.is_empty() {
        return console.say("No operations.");
    }
    let lines = table.lines(console.paint);
    console.say(&lines)?;
    match answer["next"].as_str() {
        Some(next) if !next.is_empty() => console.tell(&format!("more: --after {next}")),
        _ => Ok(()),
    }
}

async fn view(client: &Client, console: &mut Console, id: &str, with_events: bool) -> Result<(), Failure> {
    if !with_events {
        let answer = client.get(&["operations", id], &[]).await?;
        return show(console, &answer, &answer, &[]);
    }
    let answer = client.get(&["operations", id, "record"], &[]).await?;
    let events = answer["events"].as_array().map_or(&[][..], Vec::as_slice);
    show(console, &answer, &answer["operation"], events)
}

fn show(console: &mut Console, raw: &Value, record: &Value, events: &[Value]) -> Result<(), Failure> {
    if !console.for_people() {
        return console.document(raw);
    }
    let mut page = Record::read(record)?.page(console.paint);
    if !events.is_empty() {
        page.push('\n');
    }
    for event in events {
        page.push('\n');
        page.push_str(&history_line(event));
    }
    console.say(&page)
}

async fn preview(
    client: &Client,
    console: &mut Console,
    id: &str,
    again: bool,
    show: Show,
) -> Result<(), Failure> {
    let path = ["operations", id, "preview"];
    let answer = if again {
        client.post(&path, None, Patience::Long).await?
    } else {
        client.get(&path, &[]).await?
    };
    if !console.for_people() {
        return console.document(&answer);
    }
    let lines = Preview::read(&answer)?.lines(console.paint, show.full);
    console.say(&lines)
}

/// Shows what an undo would do; nothing in the cluster changes.
async fn preview_undo(client: &Client, console: &mut Console, id: &str) -> Result<(), Failure> {
    let answer = client
        .get_slowly(&["operations", id, "undo-preview"], &[])
        .await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    let lines = Preview::read(&answer)?.lines(console.paint, true);
    console.say(&lines)
}

async fn run_planned(client: &Client, console: &mut Console, change: &Change) -> Result<(), Failure> {
    let look = format!("operation preview {}", change.id);
    change.run.require_answer(Some(&look))?;
    let record = Record::read(&client.get(&["operations", &change.id], &[]).await?)?;
    if !change.run.yes && record.is_runnable() {
        // What is agreed to is what is seen: the stored preview, or a first one.
        let path = ["operations", change.id.as_str(), "preview"];
        let preview = if record.state == "planned" {
            client.post(&path, None, Patience::Long).await?
        } else {
            client.get(&path, &[]).await?
        };
        let lines = Preview::read(&preview)?.lines(console.paint_err, false);
        console.tell(&lines)?;
    }
    console.confirm("Go on?", change.run.yes)?;
    start(client, console, record, &change.run).await
}

async fn forget(client: &Client, console: &mut Console, id: &str, leave_behind: bool) -> Result<(), Failure> {
    let path = ["operations", id, "forget"];
    let query: &[(&str, &str)] = if leave_behind {
        &[("leave_behind", "true")]
    } else {
        &[]
    };
    let record = client.post_slowly(&path, query, &serde_json::json!({})).await?;
    show(console, &record, &record, &[])
}

async fn prune(client: &Client, console: &mut Console) -> Result<(), Failure> {
    let answer = client
        .post_slowly(&["operations", "prune"], &[], &serde_json::json!({}))
        .await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    let more = if answer["more"] == true {
        "; there are more"
    } else {
        ""
    };
    console.say(&format!("removed {} operations{more}", answer["operations"]))
}

async fn approve(
    client: &Client,
    console: &mut Console,
    gate: Option<&str>,
    change: &Change,
) -> Result<(), Failure> {
    change.run.require_answer(None)?;
    let before = client.get(&["operations", &change.id], &[]).await?;
    let record = Record::read(&before)?;
    let what = record.waits().unwrap_or(&record.summary);
    console.confirm(
        &crate::console::plain(&format!("Approve \"{what}\"?")),
        change.run.yes,
    )?;
    let path = ["operations", change.id.as_str(), "approve"];
    let query: Vec<(&str, &str)> = gate.map(|gate| ("gate", gate)).into_iter().collect();
    let now = client.post_slowly(&path, &query, &serde_json::json!({})).await?;
    if Record::read(&now)?.is_runnable() {
        return show(console, &now, &now, &[]);
    }
    let seen = before["seq"].as_u64().unwrap_or(0);
    finish(client, console, &now, seen, &change.run, &["succeeded"]).await
}

/// What acts on an operation that was run.
async fn act(
    client: &Client,
    console: &mut Console,
    change: &Change,
    action: &str,
    question: &str,
    good: &[&str],
) -> Result<(), Failure> {
    let look = (action == "undo").then(|| format!("operation undo {} --preview", change.id));
    change.run.require_answer(look.as_deref())?;
    let before = client.get(&["operations", &change.id], &[]).await?;
    let record = Record::read(&before)?;
    let question = format!("{question} \"{}\" ({})?", record.summary, record.state);
    console.confirm(&crate::console::plain(&question), change.run.yes)?;
    let path = ["operations", change.id.as_str(), action];
    let now = client.post(&path, None, Patience::Normal).await?;
    // What came before has been seen; only what this brings is shown.
    let seen = before["seq"].as_u64().unwrap_or(0);
    finish(client, console, &now, seen, &change.run, good).await
}
