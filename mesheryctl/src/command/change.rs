//! The way of every change: plan, preview, yes or no, run, follow, ending.

use serde_json::{Map, Value, json};

use super::image_digests;
use super::operation_set;
use crate::arguments::{Follow, PlanResult, Request, Running, Show};
use crate::client::{Client, Patience};
use crate::console::{Console, require_terminal};
use crate::failure::{Failure, Problem};
use crate::partial::Partial;
use crate::preview::Preview;
use crate::progress;
use crate::record::Record;

impl Request {
    /// The request as the host takes it.
    pub fn body(
        &self,
        adapter: &str,
        operation: &str,
        parameters: Map<String, Value>,
    ) -> Result<Value, Failure> {
        let mut policy = Map::new();
        let word = |value: &dyn std::fmt::Debug| Value::from(format!("{value:?}").to_lowercase());
        if let Some(on_failure) = &self.on_failure {
            policy.insert("on_failure".into(), word(on_failure));
        }
        if let Some(on_interruption) = &self.on_interruption {
            policy.insert("on_interruption".into(), word(on_interruption));
        }
        if self.force_conflicts {
            policy.insert("force_conflicts".into(), true.into());
        }
        if self.needs_approval {
            policy.insert("approval".into(), true.into());
        }
        if !self.accept.is_empty() {
            policy.insert("accept".into(), self.accept.clone().into());
        }
        let mut body = json!({"adapter": adapter, "operation": operation, "parameters": parameters});
        match self.context.as_slice() {
            [] => {}
            [context] => body["context"] = context.as_str().into(),
            contexts => {
                body["contexts"] = contexts.into();
                body["at_a_time"] = self.at_a_time.into();
                body["on_member_failure"] = self.on_member_failure.as_str().into();
            }
        }
        if self.image_registry.is_some() || !self.pull_secret.is_empty() || self.image_digests.is_some() {
            body["images"] = json!({
                "registry": self.image_registry.as_deref().unwrap_or(""),
                "pull_secrets": self.pull_secret,
            });
        }
        if let Some(file) = &self.image_digests {
            body["images"]["digests"] = image_digests::read(file)?.into();
        }
        if !policy.is_empty() {
            body["policy"] = policy.into();
        }
        Ok(body)
    }
}

impl Running {
    /// Refuses at once where nobody could be asked later; `look` is the command that shows what would be done.
    pub fn require_answer(&self, look: Option<&str>) -> Result<(), Failure> {
        if self.yes { Ok(()) } else { require_terminal(look) }
    }
}

/// Plans and previews; nothing in the cluster changes.
pub async fn plan(
    client: &Client,
    console: &mut Console,
    asked: &Value,
    show: Show,
    result: &PlanResult,
) -> Result<(), Failure> {
    if asked.get("contexts").is_some() {
        return operation_set::plan(client, console, asked, show, result).await;
    }
    // Not after the cluster was asked for long.
    let file = match &result.out {
        Some(out) => Some((Partial::make(out, 0o644, "plan-file")?, out)),
        None => None,
    };
    let (record, preview) = preview(client, console, asked).await?;
    let mut next = format!("operation run {}", record.id);
    if let Some((file, out)) = file {
        let plan = client
            .get_slowly(&["operations", &record.id, "plan"], &[])
            .await?;
        let mut text = serde_json::to_vec_pretty(&plan).map_err(std::io::Error::other)?;
        text.push(b'\n');
        file.write(&text)?;
        file.finish()?;
        next = format!("apply {}", out.display());
    }
    let seen = Preview::read(&preview)?;
    if console.for_people() {
        let lines = seen.lines(console.paint, show.full);
        console.say(&lines)?;
        console.tell(&format!("\nrun it: mesheryctl {next}"))?;
    } else {
        console.document(&preview)?;
    }
    if result.exit_code && seen.changes_something() {
        return Err(Failure::Changes);
    }
    Ok(())
}

/// What was planned and previewed.
pub struct Seen {
    pub record: Record,
    pub preview: Value,
    pub needs_approval: bool,
}

/// Plans, previews, asks, runs and follows.
pub async fn plan_and_run(
    client: &Client,
    console: &mut Console,
    asked: &Value,
    show: Show,
    run: &Running,
) -> Result<(), Failure> {
    if asked.get("contexts").is_some() {
        return operation_set::plan_and_run(client, console, asked, show, run).await;
    }
    let (record, preview) = preview(client, console, asked).await?;
    let seen = Seen {
        record,
        preview,
        needs_approval: asked["policy"]["approval"] == true,
    };
    ask_and_start(client, console, seen, show, run).await
}

/// Shows what was planned, asks, runs and follows.
pub async fn ask_and_start(
    client: &Client,
    console: &mut Console,
    seen: Seen,
    show: Show,
    run: &Running,
) -> Result<(), Failure> {
    let Seen {
        record,
        preview,
        needs_approval,
    } = seen;
    let preview = Preview::read(&preview)?;
    if console.for_people() {
        let lines = preview.lines(console.paint, show.full);
        console.say(&lines)?;
    } else {
        let lines = preview.lines(console.paint_err, show.full);
        console.tell(&lines)?;
    }
    if needs_approval {
        let now = client.get(&["operations", &record.id], &[]).await?;
        return waits_for_approval(console, &now);
    }
    let obstacles = preview.obstacles();
    if run.yes {
        refuse_obstacles(&obstacles, &format!("operation run {}", record.id))?;
    }
    if let Err(failure) = console.confirm("Go on?", run.yes) {
        // Left alone it would wait in the list for a yes that was denied.
        let _ = client
            .post(&["operations", &record.id, "cancel"], None, Patience::Normal)
            .await;
        return Err(failure);
    }
    start(client, console, record, run).await
}

/// Nobody is there to see what stands against it.
pub fn refuse_obstacles(obstacles: &[String], next: &str) -> Result<(), Failure> {
    if obstacles.is_empty() {
        return Ok(());
    }
    let message = format!("not run: the preview shows {}", obstacles.join(", "));
    Err(Failure::Problem(
        Problem::new("preview-has-errors", message)
            .cause("it would fail and be taken back")
            .remedy(format!("to run it all the same: mesheryctl {next}")),
    ))
}

/// Says what is being done, until something else is said.
pub fn note(console: &mut Console, text: &str) -> Result<(), Failure> {
    let line = console.paint_err.dim(text);
    console.live(&line).map(drop)
}

async fn preview(client: &Client, console: &mut Console, asked: &Value) -> Result<(Record, Value), Failure> {
    note(console, "planning...")?;
    // Planning reads the cluster and renders charts.
    let record = client.make(&["operations"], asked).await?;
    let record = Record::read(&record)?;
    note(console, "previewing...")?;
    let path = ["operations", record.id.as_str(), "preview"];
    let preview = client.post(&path, None, Patience::Long).await?;
    Ok((record, preview))
}

/// Runs what was planned and confirmed.
pub async fn start(
    client: &Client,
    console: &mut Console,
    record: Record,
    run: &Running,
) -> Result<(), Failure> {
    let now = client
        .post(&["operations", &record.id, "run"], None, Patience::Normal)
        .await?;
    finish(client, console, &now, 0, run, &["succeeded"]).await
}

fn waits_for_approval(console: &mut Console, raw: &Value) -> Result<(), Failure> {
    if console.for_people() {
        let ending = Record::read(raw)?.ending(console.paint);
        console.say(&ending)
    } else {
        console.document(raw)
    }
}

/// Follows a started operation if that is wanted, and says how it ended.
pub async fn finish(
    client: &Client,
    console: &mut Console,
    started: &Value,
    after: u64,
    run: &Running,
    good: &[&str],
) -> Result<(), Failure> {
    let record = Record::read(started)?;
    if run.waiting.no_wait {
        if !console.for_people() {
            return console.document(started);
        }
        console.say(&record.id)?;
        return progress::detach(console, &record.id, &record.state);
    }
    let end = progress::follow(client, console, &record, after, run.waiting.follow, false).await?;
    ended(console, &end, good)
}

/// Says how an operation ended, and whether that is what was wanted.
pub fn ended(console: &mut Console, end: &Value, good: &[&str]) -> Result<(), Failure> {
    let record = Record::read(end)?;
    if console.for_people() {
        let ending = record.ending(console.paint);
        console.say(&ending)?;
    } else {
        console.document(end)?;
    }
    if good.contains(&record.state.as_str()) {
        Ok(())
    } else {
        Err(Failure::Operation(record.problem()))
    }
}

/// Follows for its own sake.
pub async fn watch(client: &Client, console: &mut Console, id: &str, options: Follow) -> Result<(), Failure> {
    let record = Record::read(&client.get(&["operations", id], &[]).await?)?;
    if record.is_runnable() {
        let line = format!("{}: it waits to be run", record.state.replace('-', " "));
        console.tell(&crate::console::plain(&line))?;
    }
    let events_on_output = !console.for_people();
    let end = progress::follow(client, console, &record, 0, options, events_on_output).await?;
    let record = Record::read(&end)?;
    if !events_on_output {
        let ending = record.ending(console.paint);
        console.say(&ending)?;
    }
    if record.state == "succeeded" {
        Ok(())
    } else {
        Err(Failure::Operation(record.problem()))
    }
}
