//! `operation-set`: one operation on several clusters.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::change::{note, refuse_obstacles};
use crate::arguments::{OperationSetCommand, PlanResult, Running, SetChange, Show};
use crate::client::{Client, Patience};
use crate::console::{Console, plain};
use crate::failure::{Failure, Problem};
use crate::preview::Preview;
use crate::table::Table;

const PATH: &str = "operation-sets";
/// How often the host is asked how far it is.
const EVERY: Duration = Duration::from_millis(500);

/// As much of a set as is shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Set {
    id: String,
    adapter: String,
    operation: String,
    state: String,
    members: Vec<Member>,
    created: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Member {
    context: String,
    operation: String,
    state: Option<String>,
    error: Option<Problem>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemberPreview {
    context: String,
    operation: String,
    preview: Option<Value>,
    error: Option<Problem>,
}

impl Member {
    fn state(&self) -> &str {
        self.state.as_deref().unwrap_or("no longer kept")
    }
}

impl Set {
    fn read(value: &Value) -> Result<Self, Failure> {
        Deserialize::deserialize(value).map_err(|error| unexpected("operation set", &error))
    }

    fn is_at_work(&self) -> bool {
        matches!(self.state.as_str(), "running" | "undoing" | "paused")
    }

    /// How far it is on each cluster.
    fn page(&self, console: &Console) -> String {
        let paint = console.paint;
        let state = self.state.replace('-', " ");
        let state = match self.state.as_str() {
            "succeeded" => paint.good(&state),
            "failed" | "undo-incomplete" => paint.bad(&state),
            _ => paint.notable(&state),
        };
        let mut table = Table::new(&["CONTEXT", "STATE", "OPERATION"]);
        for member in &self.members {
            table.row([&member.context, member.state(), &member.operation]);
        }
        let mut page = format!(
            "{state}: {} of {} on {} clusters\n  operation set {}\n{}",
            plain(&self.operation),
            plain(&self.adapter),
            self.members.len(),
            plain(&self.id),
            table.lines(paint)
        );
        for member in &self.members {
            if let Some(error) = &member.error {
                let _ = write!(page, "\n{}: {}", plain(&member.context), error.lines(paint));
            }
        }
        page
    }

    fn problem(&self) -> Problem {
        let message = format!("operation set {} is {}", self.id, self.state.replace('-', " "));
        let failed = self.members.iter().find_map(|member| {
            let error = member.error.as_ref()?;
            Some(format!("{}: {} [{}]", member.context, error.message, error.code))
        });
        Problem::new(&format!("operation-set-{}", self.state), message)
            .cause(failed.unwrap_or_default())
            .remedy(format!("mesheryctl operation-set view {}", self.id))
    }
}

fn unexpected(what: &str, error: &serde_json::Error) -> Failure {
    let message = format!("the host's {what} cannot be read: {error}");
    Failure::Problem(Problem::new("unexpected-answer", message))
}

pub async fn run(
    client: &Client,
    console: &mut Console,
    command: &OperationSetCommand,
) -> Result<(), Failure> {
    match command {
        OperationSetCommand::List { limit, after } => list(client, console, *limit, after.as_deref()).await,
        OperationSetCommand::View { id } => {
            let answer = client.get(&[PATH, id], &[]).await?;
            show(console, &answer)
        }
        OperationSetCommand::Watch { id, wait_timeout } => {
            let end = follow(client, console, id, *wait_timeout).await?;
            ended(console, &end, &["succeeded"])
        }
        OperationSetCommand::Approve(change) => approve(client, console, change).await,
        OperationSetCommand::Run(change) => act(client, console, change, "run", &["succeeded"]).await,
        OperationSetCommand::Cancel(change) => act(client, console, change, "cancel", &["cancelled"]).await,
        OperationSetCommand::Undo(change) => act(client, console, change, "undo", &["undone"]).await,
    }
}

async fn list(
    client: &Client,
    console: &mut Console,
    limit: Option<u32>,
    after: Option<&str>,
) -> Result<(), Failure> {
    let limit = limit.map(|limit| limit.to_string());
    let query: Vec<(&str, &str)> = [("limit", limit.as_deref()), ("after", after)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let answer = client.get(&[PATH], &query).await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    let mut table = Table::new(&["ID", "STATE", "ADAPTER", "OPERATION", "CLUSTERS", "CREATED"]);
    for item in answer["items"].as_array().into_iter().flatten() {
        let set = Set::read(item)?;
        table.row([
            &set.id,
            &set.state,
            &set.adapter,
            &set.operation,
            &set.members.len().to_string(),
            set.created.split('.').next().unwrap_or(""),
        ]);
    }
    if table.is_empty() {
        return console.say("No operation sets.");
    }
    let lines = table.lines(console.paint);
    console.say(&lines)?;
    match answer["next"].as_str() {
        Some(next) if !next.is_empty() => console.tell(&format!("more: --after {next}")),
        _ => Ok(()),
    }
}

fn show(console: &mut Console, answer: &Value) -> Result<(), Failure> {
    if !console.for_people() {
        return console.document(answer);
    }
    let page = Set::read(answer)?.page(console);
    console.say(&page)
}

/// Plans and previews on each cluster; nothing in them changes.
pub async fn plan(
    client: &Client,
    console: &mut Console,
    asked: &Value,
    show: Show,
    result: &PlanResult,
) -> Result<(), Failure> {
    if result.out.is_some() {
        return Err(Failure::usage(
            "several-contexts",
            "a plan's file is for one cluster, and several contexts are named",
            "write a file for each, or leave out --out",
        ));
    }
    let (set, previews) = preview(client, console, asked).await?;
    if console.for_people() {
        let lines = lines(&previews, console, show)?;
        console.say(&lines)?;
        console.tell(&format!("\nrun it: mesheryctl operation-set run {}", set.id))?;
    } else {
        console.document(&previews)?;
    }
    let changes = read_previews(&previews)?
        .iter()
        .any(|(_, preview)| preview.as_ref().is_ok_and(Preview::changes_something));
    if result.exit_code && changes {
        return Err(Failure::Changes);
    }
    Ok(())
}

/// Plans, previews, asks, runs and follows, on each cluster.
pub async fn plan_and_run(
    client: &Client,
    console: &mut Console,
    asked: &Value,
    show: Show,
    run: &Running,
) -> Result<(), Failure> {
    let (set, previews) = preview(client, console, asked).await?;
    let lines = lines(&previews, console, show)?;
    if console.for_people() {
        console.say(&lines)?;
    } else {
        console.tell(&lines)?;
    }
    if asked["policy"]["approval"] == true {
        let next = format!("approve it: mesheryctl operation-set approve {}", set.id);
        return console.tell(&next);
    }
    let mut obstacles = Vec::new();
    for (member, preview) in read_previews(&previews)? {
        let of_member = match preview {
            Ok(preview) => preview.obstacles(),
            Err(_) => vec!["no preview".to_owned()],
        };
        obstacles.extend(
            of_member
                .iter()
                .map(|what| format!("{what} on {}", member.context)),
        );
    }
    if run.yes {
        refuse_obstacles(&obstacles, &format!("operation-set run {}", set.id))?;
    }
    if let Err(failure) = console.confirm("Go on?", run.yes) {
        // Left alone it would wait in the list for a yes that was denied.
        let _ = client
            .post(&[PATH, &set.id, "cancel"], None, Patience::Normal)
            .await;
        return Err(failure);
    }
    let now = client
        .post(&[PATH, &set.id, "run"], None, Patience::Normal)
        .await?;
    finish(client, console, &now, run, &["succeeded"]).await
}

async fn preview(client: &Client, console: &mut Console, asked: &Value) -> Result<(Set, Value), Failure> {
    note(console, "planning...")?;
    let set = Set::read(&client.make(&[PATH], asked).await?)?;
    note(console, "previewing...")?;
    let previews = client
        .post(&[PATH, &set.id, "preview"], None, Patience::Long)
        .await?;
    Ok((set, previews))
}

type Read = (MemberPreview, Result<Preview, Problem>);

fn read_previews(previews: &Value) -> Result<Vec<Read>, Failure> {
    let items: Vec<MemberPreview> = Deserialize::deserialize(&previews["items"])
        .map_err(|error: serde_json::Error| unexpected("preview", &error))?;
    items
        .into_iter()
        .map(|member| {
            let preview = match &member.preview {
                Some(preview) => Ok(Preview::read(preview)?),
                None => Err(member.error.clone().unwrap_or_default()),
            };
            Ok((member, preview))
        })
        .collect()
}

fn lines(previews: &Value, console: &Console, show: Show) -> Result<String, Failure> {
    let paint = if console.for_people() {
        console.paint
    } else {
        console.paint_err
    };
    let mut parts = Vec::new();
    for (member, preview) in read_previews(previews)? {
        let head = format!(
            "{} (operation {})",
            plain(&member.context),
            plain(&member.operation)
        );
        let said = match preview {
            Ok(preview) => preview.lines(paint, show.full),
            Err(problem) => problem.lines(paint),
        };
        parts.push(format!("{}\n{said}", paint.bold(&head)));
    }
    Ok(parts.join("\n\n"))
}

async fn approve(client: &Client, console: &mut Console, change: &SetChange) -> Result<(), Failure> {
    ask(client, console, change, "approve").await?;
    let now = client
        .post(&[PATH, &change.id, "approve"], None, Patience::Normal)
        .await?;
    show(console, &now)
}

async fn act(
    client: &Client,
    console: &mut Console,
    change: &SetChange,
    action: &str,
    good: &[&str],
) -> Result<(), Failure> {
    ask(client, console, change, action).await?;
    let now = client
        .post(&[PATH, &change.id, action], None, Patience::Normal)
        .await?;
    finish(client, console, &now, &change.run, good).await
}

async fn ask(
    client: &Client,
    console: &mut Console,
    change: &SetChange,
    action: &str,
) -> Result<(), Failure> {
    change.run.require_answer(None)?;
    let set = Set::read(&client.get(&[PATH, &change.id], &[]).await?)?;
    let question = format!(
        "Shall {action} of \"{} of {}\" on {} clusters ({}) begin?",
        set.operation,
        set.adapter,
        set.members.len(),
        set.state
    );
    console.confirm(&plain(&question), change.run.yes)
}

async fn finish(
    client: &Client,
    console: &mut Console,
    now: &Value,
    run: &Running,
    good: &[&str],
) -> Result<(), Failure> {
    let set = Set::read(now)?;
    if run.waiting.no_wait {
        return show(console, now);
    }
    let end = follow(client, console, &set.id, run.waiting.follow.wait_timeout).await?;
    ended(console, &end, good)
}

fn ended(console: &mut Console, end: &Value, good: &[&str]) -> Result<(), Failure> {
    show(console, end)?;
    let set = Set::read(end)?;
    if good.contains(&set.state.as_str()) {
        Ok(())
    } else {
        Err(Failure::Operation(set.problem()))
    }
}

/// Says what changes on which cluster, until the set is at rest; how it is then.
async fn follow(client: &Client, console: &mut Console, id: &str, seconds: u64) -> Result<Value, Failure> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let go_on = |code: &str, why: &str| {
        Problem::new(code, format!("{why}: the operation set goes on"))
            .remedy(format!("follow it: mesheryctl operation-set watch {id}"))
    };
    tokio::select! {
        end = timeout(Duration::from_secs(seconds), until_rest(client, console, id)) => {
            end.unwrap_or_else(|_| {
                Err(Failure::Problem(go_on("wait-timeout", &format!("not at rest after {seconds} s"))))
            })
        }
        _ = interrupts.recv() => Err(Failure::Detached(go_on("detached", "no longer following"))),
    }
}

async fn until_rest(client: &Client, console: &mut Console, id: &str) -> Result<Value, Failure> {
    let mut seen: Vec<Member> = Vec::new();
    let mut reconnecting = false;
    loop {
        let now = match client.get(&[PATH, id], &[]).await {
            Err(error) if error.is_passing() => {
                if !std::mem::replace(&mut reconnecting, true) {
                    console.tell("the host does not answer; trying again")?;
                }
                sleep(EVERY).await;
                continue;
            }
            now => now?,
        };
        reconnecting = false;
        let set = Set::read(&now)?;
        for (place, member) in set.members.iter().enumerate() {
            let before = seen.get(place);
            if before.is_some_and(|before| before.state == member.state) {
                continue;
            }
            // Who has not had his turn yet is in the table.
            if before.is_some() || set.is_at_work() && member.state() != "previewed" {
                let line = format!("{}: {}", member.context, member.state().replace('-', " "));
                console.tell(&plain(&line))?;
            }
        }
        if !set.is_at_work() {
            return Ok(now);
        }
        seen = set.members;
        sleep(EVERY).await;
    }
}
