//! The record of an operation: as much of it as is shown.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::console::{Paint, brief, plain};
use crate::failure::{Failure, Problem};
use crate::finding::Finding;
use crate::table::Table;

/// Longest list or map that is shown, in characters.
const LONGEST_SHOWN: usize = 80;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Record {
    pub id: String,
    pub adapter: AdapterUsed,
    pub operation: String,
    pub parameters: Map<String, Value>,
    pub cluster: ClusterUsed,
    pub owner: String,
    pub state: String,
    pub summary: String,
    pub notes: Vec<String>,
    pub policy: Policy,
    pub steps: Vec<Step>,
    pub outputs: Vec<Output>,
    pub findings: Vec<Finding>,
    pub error: Option<Problem>,
    pub left: Vec<Left>,
    pub host: String,
    pub held_up: Option<HeldUp>,
    pub created: String,
    pub updated: String,
}

/// What a step has left; no value when it is a secret.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Output {
    pub step: String,
    pub name: String,
    pub value: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AdapterUsed {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClusterUsed {
    pub uid: String,
    pub context: String,
    pub server: String,
}

/// What keeps it from its turn.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct HeldUp {
    pub before: u64,
    pub reason: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Policy {
    pub on_interruption: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    pub id: String,
    pub title: String,
    pub kind: String,
    pub state: String,
    pub undo: String,
    pub because: String,
    pub done: u64,
    pub total: u64,
    pub error: Option<Problem>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Left {
    #[serde(rename = "ref")]
    pub object: String,
    pub why: String,
}

impl Record {
    pub fn read(value: &Value) -> Result<Self, Failure> {
        let record: Self = Deserialize::deserialize(value).map_err(|e| {
            Failure::Problem(Problem::new(
                "unexpected-answer",
                format!("the host's record of the operation cannot be read: {e}"),
            ))
        })?;
        if record.id.is_empty() {
            let message = "the host's record of the operation has no id";
            return Err(Failure::Problem(Problem::new("unexpected-answer", message)));
        }
        Ok(record)
    }

    /// At work: something happens by itself.
    pub fn is_active(&self) -> bool {
        matches!(
            self.state.as_str(),
            "queued" | "running" | "paused" | "verifying" | "undoing"
        )
    }

    /// Stopped with its host, which takes it up by itself when it is back.
    pub fn will_be_taken_up(&self) -> bool {
        self.state == "interrupted" && matches!(self.policy.on_interruption.as_str(), "resume" | "undo")
    }

    /// Its state in a table, with its place in the queue.
    pub fn state_and_place(&self) -> String {
        match &self.held_up {
            Some(held_up) if held_up.before > 0 => format!("{}, {} before it", self.state, held_up.before),
            Some(_) if self.state == "paused" => "paused, at a gate".to_owned(),
            Some(_) => format!("{}, for another host", self.state),
            None => self.state.clone(),
        }
    }

    /// What it waits for.
    pub fn waits(&self) -> Option<&str> {
        let held_up = self.held_up.as_ref()?;
        Some(held_up.reason.as_str())
    }

    /// Whether a step has begun, or was begun and then skipped.
    fn has_begun(&self) -> bool {
        self.steps.iter().any(|step| step.state != "pending")
    }

    /// Not run yet.
    pub fn is_runnable(&self) -> bool {
        matches!(self.state.as_str(), "planned" | "previewed" | "awaiting-approval")
    }

    /// That it came to another end than the one asked for.
    pub fn problem(&self) -> Problem {
        let state = &self.state;
        let message = format!(
            "operation {} is {}: {}",
            self.id,
            state.replace('-', " "),
            self.summary
        );
        let why = self.error.clone().unwrap_or_default();
        let cause = match why.code.as_str() {
            "" => why.message,
            code => format!("{} [{code}]", why.message),
        };
        let look = format!("mesheryctl operation view --events {}", self.id);
        let remedy = if why.remedy.is_empty() { look } else { why.remedy };
        Problem::new(&format!("operation-{state}"), message)
            .cause(cause)
            .remedy(remedy)
    }

    /// How it ended, in a few lines.
    pub fn ending(&self, paint: Paint) -> String {
        let state = self.state.replace('-', " ");
        let state = match self.state.as_str() {
            "succeeded" => paint.good(&state),
            "failed" | "undo-incomplete" | "stale" | "interrupted" => paint.bad(&state),
            _ => paint.notable(&state),
        };
        let mut text = format!("{state}: {}", plain(&self.summary));
        let _ = write!(text, "\n  operation {}", plain(&self.id));
        if !self.cluster.context.is_empty() {
            let _ = write!(text, " on {}", plain(&self.cluster.context));
        }
        if let Some(error) = &self.error {
            let _ = write!(text, "\n{}", error.lines(paint));
        }
        for step in &self.steps {
            if let Some(error) = step
                .error
                .as_ref()
                .filter(|error| self.error.as_ref() != Some(error))
            {
                let _ = write!(text, "\nstep {}: {}", plain(&step.id), error.lines(paint));
            }
        }
        text + &self.left_behind(paint) + &self.next_commands(paint)
    }

    fn left_behind(&self, paint: Paint) -> String {
        let mut text = String::new();
        if !self.left.is_empty() {
            let _ = write!(text, "\n{}", paint.notable("left in the cluster:"));
            // Several steps may have left the same object, each for a reason of its own.
            let mut told: Vec<(&str, Vec<&str>)> = Vec::new();
            for left in &self.left {
                let position = told.iter().position(|(object, _)| *object == left.object);
                let position = position.unwrap_or_else(|| {
                    told.push((&left.object, Vec::new()));
                    told.len() - 1
                });
                let reasons = &mut told[position].1;
                if !reasons.contains(&left.why.as_str()) {
                    reasons.push(&left.why);
                }
            }
            for (object, reasons) in told {
                let reasons = plain(&reasons.join("; "));
                let _ = write!(text, "\n  {}  {}", plain(object), paint.dim(&reasons));
            }
        }
        text
    }

    fn next_commands(&self, paint: Paint) -> String {
        let commands: &[(&str, &str)] = match self.state.as_str() {
            "planned" | "previewed" => &[("run it", "run"), ("drop it", "cancel")],
            "awaiting-approval" => &[("approve it", "approve"), ("drop it", "cancel")],
            "paused" => &[
                ("approve what it waits for", "approve"),
                ("take back what it did", "cancel"),
            ],
            "succeeded" => &[("take it back", "undo")],
            "failed" | "cancelled" if !self.has_begun() => &[("what happened", "view --events")],
            "failed" | "cancelled" => &[
                ("what happened", "view --events"),
                ("take back what it did", "undo"),
            ],
            "interrupted" => &[("go on", "resume"), ("take back what it did", "undo")],
            "undo-incomplete" => &[("what happened", "view --events"), ("try again", "undo")],
            "undone" => &[("what happened", "view --events")],
            _ => &[],
        };
        let mut text = String::new();
        for (what, command) in commands {
            let line = format!("{what}: mesheryctl operation {command} {}", plain(&self.id));
            let _ = write!(text, "\n  {}", paint.dim(&line));
        }
        text
    }

    /// All of it.
    pub fn page(&self, paint: Paint) -> String {
        let mut text = self.ending(paint);
        let mut line = |label: &str, value: &str| {
            if !value.is_empty() {
                let _ = write!(text, "\n{:<11} {}", format!("{label}:"), brief(value, 300));
            }
        };
        line(
            "adapter",
            format!("{} {}", self.adapter.name, self.adapter.version).trim(),
        );
        line("operation", &self.operation);
        line("parameters", &parameters(&self.parameters));
        let cluster = [&self.cluster.context, &self.cluster.server, &self.cluster.uid];
        line("cluster", cluster.map(String::as_str).join(" ").trim());
        line("asked by", &self.owner);
        line("host", &self.host);
        if let Some(held_up) = &self.held_up {
            line("waits", &held_up.reason);
        }
        for output in &self.outputs {
            let value = match &output.value {
                Some(Value::String(text)) => text.clone(),
                Some(value) => shown(value),
                None => "a secret".to_owned(),
            };
            line("output", &format!("{}.{} = {value}", output.step, output.name));
        }
        line("created", &self.created);
        line("updated", &self.updated);
        for note in &self.notes {
            let _ = write!(text, "\n{} {}", paint.notable("note:"), plain(note));
        }
        for finding in &self.findings {
            let _ = write!(text, "\n{}", finding.lines(paint));
        }
        if !self.steps.is_empty() {
            let mut table = Table::new(&["STEP", "KIND", "STATE", "DONE", "UNDO", "WHAT"]);
            for step in &self.steps {
                let undo = if step.because.is_empty() {
                    step.undo.clone()
                } else {
                    format!("{}: {}", step.undo, step.because)
                };
                let done = format!("{}/{}", step.done, step.total);
                table.row([&step.id, &step.kind, &step.state, &done, &undo, &step.title]);
            }
            let _ = write!(text, "\n\n{}", table.lines(paint));
        }
        text
    }
}

/// A value on one line; lists and maps are cut, as `-o json` has them whole.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => brief(&value.to_string(), LONGEST_SHOWN - 1),
        scalar => scalar.to_string(),
    }
}

fn parameters(parameters: &Map<String, Value>) -> String {
    let one = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    };
    parameters.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_several_steps_have_left_is_listed_once_with_the_reasons_of_each() {
        let left = |step: &str, why: &str| json!({"ref": "v1/Secret/a/b", "why": why, "step": step});
        let record = json!({"id": "1", "state": "undo-incomplete",
            "left": [left("first", "theirs"), left("second", "theirs"), left("third", "another")]});
        let told = Record::read(&record).unwrap().left_behind(Paint::off());
        assert_eq!(told.matches("v1/Secret/a/b").count(), 1, "{told}");
        assert!(told.ends_with("theirs; another"), "{told}");
    }

    #[test]
    fn an_undo_is_offered_only_where_something_was_begun() {
        for (state, step, offered) in [
            ("cancelled", "pending", false),
            ("cancelled", "done", true),
            ("cancelled", "skipped", true),
            ("failed", "pending", false),
            ("failed", "failed", true),
        ] {
            let record = json!({"id": "1", "state": state, "steps": [{"id": "a", "state": step}]});
            let told = Record::read(&record).unwrap().ending(Paint::off());
            assert_eq!(told.contains("operation undo 1"), offered, "{told}");
            assert!(told.contains("operation view --events 1"), "{told}");
        }
    }

    #[test]
    fn an_output_that_is_a_list_is_cut_and_one_that_is_a_text_is_not() {
        let conditions =
            json!([{"lastTransitionTime": "2026-11-24T10:00:00Z", "message": "it is é".repeat(20)}]);
        let outputs = json!([{"step": "ready", "name": "rolled-out", "value": conditions},
            {"step": "ready", "name": "few", "value": [1, 2]},
            {"step": "ready", "name": "text", "value": "a".repeat(100)}]);
        let record = json!({"id": "1", "state": "succeeded", "outputs": outputs});
        let page = Record::read(&record).unwrap().page(Paint::off());
        let value = |name: &str| {
            let mut lines = page.lines();
            lines
                .find_map(|line| line.split_once(&format!("ready.{name} = ")))
                .unwrap()
                .1
        };
        assert!(
            value("rolled-out").starts_with("[{\"lastTransitionTime\":"),
            "{page}"
        );
        assert!(
            value("rolled-out").ends_with('…') && value("rolled-out").chars().count() == 80,
            "{page}"
        );
        assert_eq!(value("few"), "[1,2]");
        assert_eq!(value("text"), "a".repeat(100));
    }

    #[test]
    fn the_place_in_the_queue_is_beside_the_state() {
        let shown = |held_up: Value| {
            let record = json!({"id": "1", "state": "queued", "held_up": held_up});
            Record::read(&record).unwrap().state_and_place()
        };
        assert_eq!(shown(json!(null)), "queued");
        assert_eq!(shown(json!({"before": 2, "reason": "x"})), "queued, 2 before it");
        assert_eq!(
            shown(json!({"before": 0, "reason": "x"})),
            "queued, for another host"
        );
    }
}
