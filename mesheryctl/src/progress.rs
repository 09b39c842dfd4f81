//! Follows an operation: its events as lines for people, or as they are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

use crate::arguments::Follow;
use crate::client::Client;
use crate::client::event_stream::{EventStream, Next};
use crate::console::{Console, brief, plain};
use crate::failure::{Failure, Problem};
use crate::record::{Record, shown};

/// How long a host that is back may need until it takes up what was interrupted.
const TAKING_UP: Duration = Duration::from_secs(30);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    time: String,
    kind: String,
    step: Option<String>,
    state: Option<String>,
    object: Option<String>,
    change: Option<String>,
    reason: Option<String>,
    done: Option<u64>,
    total: Option<u64>,
    message: Option<String>,
    error: Option<Problem>,
}

/// Shows what happens from event `after` on, until the operation is at rest, and returns its record then.
pub async fn follow(
    client: &Client,
    console: &mut Console,
    record: &Record,
    after: u64,
    options: Follow,
    events_on_output: bool,
) -> Result<Value, Failure> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let limit = Duration::from_secs(options.wait_timeout);
    tokio::select! {
        ended = timeout(limit, watch(client, console, record, after, options, events_on_output)) => {
            ended.unwrap_or_else(|_| {
                let message = format!("the operation is not at rest after {} s", options.wait_timeout);
                Err(Failure::Problem(
                    Problem::new("wait-timeout", message)
                        .cause("it goes on")
                        .remedy(format!("mesheryctl operation watch {}", record.id)),
                ))
            })
        }
        _ = interrupts.recv() => {
            Err(Failure::Detached(detached(&record.id, "no longer following")))
        }
    }
}

async fn watch(
    client: &Client,
    console: &mut Console,
    record: &Record,
    after: u64,
    options: Follow,
    events_on_output: bool,
) -> Result<Value, Failure> {
    let mut shown = Shown::new(record, options.verbose);
    let mut events = EventStream::new(client, &record.id, after);
    let mut taking_up = None;
    loop {
        match events.next().await? {
            Next::Event(event) if events_on_output => console.record(&event)?,
            Next::Event(event) => {
                // An event of a shape that this side does not know is no reason to stop following.
                if let Ok(event) = Event::deserialize(&event) {
                    shown.show(console, &event)?;
                }
            }
            Next::Reconnecting => {
                taking_up = Some(Instant::now() + TAKING_UP);
                shown.reconnecting(console)?;
            }
            // A host that is being stopped ends its streams, and one that has just been started needs a moment
            // until it takes up what was interrupted.
            Next::End => match client.get(&["operations", &record.id], &[]).await {
                Err(error) if error.is_passing() => shown.reconnecting(console)?,
                Err(error) => return Err(error),
                Ok(end) => {
                    let record = Record::read(&end)?;
                    let in_a_moment =
                        record.will_be_taken_up() && taking_up.is_some_and(|until| Instant::now() < until);
                    if !record.is_active() && !in_a_moment {
                        return Ok(end);
                    }
                    shown.reconnecting(console)?;
                }
            },
        }
    }
}

/// Says that the operation goes on without anybody watching.
pub fn detach(console: &mut Console, id: &str, why: &str) -> Result<(), Failure> {
    match Failure::Detached(detached(id, why)).lines(console.paint_err) {
        Some(lines) => console.tell(&lines),
        None => Ok(()),
    }
}

fn detached(id: &str, why: &str) -> Problem {
    Problem::new("detached", format!("{why}: the operation goes on")).remedy(format!(
        "follow it: mesheryctl operation watch {id}; stop it: mesheryctl operation cancel {id}"
    ))
}

/// What has been shown, so that nothing is said twice in a row.
struct Shown {
    titles: HashMap<String, String>,
    verbose: bool,
    waiting: HashMap<String, String>,
    error: Option<String>,
    reconnecting: bool,
}

impl Shown {
    fn new(record: &Record, verbose: bool) -> Self {
        let titles = record
            .steps
            .iter()
            .map(|step| (step.id.clone(), step.title.clone()));
        Self {
            titles: titles.collect(),
            verbose,
            waiting: HashMap::new(),
            error: None,
            reconnecting: false,
        }
    }

    fn reconnecting(&mut self, console: &mut Console) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.reconnecting, true) {
            let line = console.paint_err.notable("connection lost, reconnecting");
            console.tell(&line)?;
        }
        Ok(())
    }

    fn title(&self, step: &str) -> String {
        let title = self.titles.get(step).filter(|title| !title.is_empty());
        plain(title.map_or(step, String::as_str))
    }

    fn show(&mut self, console: &mut Console, event: &Event) -> Result<(), Failure> {
        let paint = console.paint_err;
        self.reconnecting = false;
        let step = event
            .step
            .as_deref()
            .map(|step| self.title(step))
            .unwrap_or_default();
        let state = event.state.as_deref().unwrap_or("");
        let object = event.object.as_deref().map(plain).unwrap_or_default();
        let count = match (event.done, event.total) {
            (Some(done), Some(total)) if total > 0 => format!(" {done}/{total}"),
            _ => String::new(),
        };
        match event.kind.as_str() {
            "state" => console.tell(&paint.bold(&plain(&state.replace('-', " "))))?,
            "step" => match state {
                "running" | "undoing" | "pending" => {
                    let line = format!("  {} {step}{}", paint.dim("·"), paint.dim(&format!(" {state}")));
                    if !console.live(&line)? {
                        console.tell(&line)?;
                    }
                }
                "done" | "undone" => console.tell(&format!("  {} {step}{count}{}", paint.good("✓"), {
                    if state == "undone" { " undone" } else { "" }
                }))?,
                "skipped" => console.tell(&paint.dim(&format!("  - {step} skipped")))?,
                other => console.tell(&format!(
                    "  {} {step} {}",
                    paint.bad("✗"),
                    plain(&other.replace('-', " "))
                ))?,
            },
            "waiting" => {
                let reason = event.reason.as_deref().map(plain).unwrap_or_default();
                let line = format!("  {} {object}: {reason}{count}", paint.dim("… waiting for"));
                // Without a terminal the same reason is said once an object.
                let new = self.waiting.get(&object) != Some(&reason);
                if !console.live(&line)? && new {
                    console.tell(&line)?;
                }
                self.waiting.insert(object, reason);
            }
            "progress" => {
                console.live(&format!("  {} {step}{count}", paint.dim("…")))?;
            }
            "object" => {
                let change = event.change.as_deref().map(plain).unwrap_or_default();
                let reason = event
                    .reason
                    .as_deref()
                    .map(|r| format!(" ({})", plain(r)))
                    .unwrap_or_default();
                let line = format!("    {change} {object}{reason}{count}");
                if self.verbose {
                    console.tell(&line)?;
                } else {
                    console.live(&paint.dim(&line))?;
                }
            }
            _ => {
                if let Some(message) = &event.message {
                    let message = without_long_value(message);
                    console.tell(&format!("  {} {}", paint.notable("note:"), plain(&message)))?;
                }
            }
        }
        // A step's error is the operation's as well.
        if let Some(error) = &event.error {
            let lines = error.lines(paint);
            if self.error.as_ref() != Some(&lines) {
                console.tell(&format!("  {}", lines.replace('\n', "\n  ")))?;
            }
            self.error = Some(lines);
        }
        Ok(())
    }
}

/// What a note says that a step has found, with a list or map in it cut.
fn without_long_value(message: &str) -> Cow<'_, str> {
    const BEFORE: &str = " is ";
    message
        .split_once(BEFORE)
        .and_then(|(name, value)| Some((name, serde_json::from_str::<Value>(value).ok()?)))
        .filter(|(_, value)| value.is_array() || value.is_object())
        .map_or(Cow::Borrowed(message), |(name, value)| {
            Cow::Owned(format!("{name}{BEFORE}{}", shown(&value)))
        })
}

/// One line of an operation's history.
pub fn history_line(value: &Value) -> String {
    let Ok(event) = Event::deserialize(value) else {
        return brief(&value.to_string(), 200);
    };
    let parts = [
        Some(event.time),
        Some(event.kind),
        event.step,
        event.state,
        event.change,
        event.object,
        event.reason,
        event
            .message
            .map(|message| without_long_value(&message).into_owned()),
        event.error.map(|e| e.to_string()),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    brief(&parts.join("  "), 400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_with_a_list_that_a_step_has_found_is_cut_and_others_are_not() {
        let list = format!("ready.rolled-out is [\"{}\"]", "a".repeat(100));
        let told = without_long_value(&list);
        assert!(
            told.starts_with("ready.rolled-out is [\"aaa") && told.ends_with("a…"),
            "{told}"
        );
        let text = format!("the server is \"{}\", as it says", "a".repeat(100));
        for whole in [
            "ready.port is 443",
            "ready.few is [1,2]",
            &text,
            "approved by meshery",
        ] {
            assert_eq!(without_long_value(whole), whole);
        }
    }
}
