//! What a plan would change, shown so that a person can say yes or no to it.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::console::{Paint, brief, plain};
use crate::failure::{Failure, Problem};
use crate::finding::Finding;

/// Longest value in a diff.
const LONGEST_VALUE: usize = 200;
/// Most lines of a text in a diff.
const MOST_LINES: usize = 40;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Preview {
    pub summary: String,
    pub objects: Vec<Object>,
    pub risks: Vec<Finding>,
    pub findings: Vec<Finding>,
    pub point_of_no_return: Option<String>,
    pub notes: Vec<String>,
    pub needs_consent: Vec<NeededConsent>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NeededConsent {
    pub consent: String,
    pub why: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Object {
    #[serde(rename = "ref")]
    pub reference: String,
    pub step: String,
    pub change: String,
    pub certainty: String,
    pub diff: Vec<Field>,
    pub conflicts: Vec<Conflict>,
    pub error: Option<Problem>,
    pub warnings: Vec<String>,
    pub note: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Field {
    pub path: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Conflict {
    pub manager: String,
    pub field: String,
}

/// Sign, plural of what happens, and whether it is about objects that change.
const CHANGES: [(&str, &str, &str); 11] = [
    ("create", "+", "to create"),
    ("update", "~", "to change"),
    ("delete", "-", "to delete"),
    ("recreate", "±", "to delete and make again"),
    ("restart", "↻", "to restart"),
    ("keep", "=", "kept"),
    ("unchanged", "=", "unchanged"),
    ("conflict", "!", "in conflict"),
    ("error", "!", "refused"),
    ("wait", "…", "waited for"),
    ("probe", "?", "to ask the server about"),
];

impl Preview {
    pub fn read(value: &Value) -> Result<Self, Failure> {
        Deserialize::deserialize(value).map_err(|e| {
            let message = format!("the host's preview cannot be read: {e}");
            Failure::Problem(Problem::new("unexpected-answer", message))
        })
    }

    /// Why it cannot go well as it is.
    /// Whether anything would be otherwise. Helm's own records, of which each run makes one, do not count.
    pub fn changes_something(&self) -> bool {
        let is_record =
            |object: &str| object.starts_with("v1/Secret/") && object.contains("/sh.helm.release.v1.");
        self.objects.iter().any(|object| {
            !matches!(object.change.as_str(), "unchanged" | "keep" | "wait" | "probe")
                && !is_record(&object.reference)
        })
    }

    pub fn obstacles(&self) -> Vec<String> {
        let count = |change: &str| self.objects.iter().filter(|o| o.change == change).count();
        let findings = self.findings.iter().filter(|f| f.is_error()).count();
        [
            (count("error"), "objects that the server would refuse"),
            (
                count("conflict"),
                "objects with fields of other managers (--force-conflicts takes them)",
            ),
            (findings, "findings that forbid it"),
            (
                self.needs_consent.len(),
                "things it does on explicit word only (--accept)",
            ),
        ]
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect()
    }

    pub fn lines(&self, paint: Paint, full: bool) -> String {
        let mut text = paint.bold(&plain(&self.summary));
        let mut step = None;
        for object in &self.objects {
            if object.change == "unchanged" && !full {
                continue;
            }
            if step != Some(&object.step) {
                let _ = write!(text, "\n\n{}", paint.dim(&plain(&object.step)));
                step = Some(&object.step);
            }
            let _ = write!(text, "\n{}", object.lines(paint, full));
        }
        text.push('\n');
        for risk in &self.risks {
            let _ = write!(text, "\n{}", risk.lines(paint));
        }
        for finding in &self.findings {
            let _ = write!(text, "\n{}", finding.lines(paint));
        }
        for needed in &self.needs_consent {
            let line = format!(
                "needs --accept {}: {}",
                plain(&needed.consent),
                plain(&needed.why)
            );
            let _ = write!(text, "\n{}", paint.bad(&line));
        }
        if let Some(step) = &self.point_of_no_return {
            let line = format!(
                "point of no return: step {} cannot be taken back in full",
                plain(step)
            );
            let _ = write!(text, "\n{}", paint.bad(&line));
        }
        for note in &self.notes {
            let _ = write!(text, "\n{} {}", paint.notable("note:"), plain(note));
        }
        let _ = write!(text, "\n{}", paint.bold(&self.totals()));
        text
    }

    fn totals(&self) -> String {
        let totals: Vec<String> = CHANGES
            .iter()
            .map(|(change, _, what)| (self.objects.iter().filter(|o| o.change == *change).count(), what))
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{n} {what}"))
            .collect();
        if totals.is_empty() {
            "nothing to do".into()
        } else {
            totals.join(", ")
        }
    }
}

impl Object {
    fn lines(&self, paint: Paint, full: bool) -> String {
        let sign = CHANGES
            .iter()
            .find(|(change, ..)| *change == self.change)
            .map_or("?", |(_, sign, _)| sign);
        let head = format!("  {sign} {}", plain(&self.reference));
        let head = match self.change.as_str() {
            "create" => paint.good(&head),
            "update" | "restart" => paint.notable(&head),
            "delete" | "recreate" | "error" | "conflict" => paint.bad(&head),
            _ => paint.dim(&head),
        };
        let certainty = match self.certainty.as_str() {
            "decided-later" => "decided later",
            other => other,
        };
        let mut fate = format!("{} [{}]", plain(&self.change), plain(certainty));
        if let Some(note) = &self.note {
            let _ = write!(fate, " {}", plain(note));
        }
        let mut text = format!("{head}  {}", paint.dim(&fate));
        for warning in &self.warnings {
            let _ = write!(text, "\n      {} {}", paint.notable("warning:"), plain(warning));
        }
        let (fate, color): (_, fn(Paint, &str) -> String) = match self.change.as_str() {
            "conflict" => ("is owned by", Paint::bad),
            _ => ("is taken from", Paint::notable),
        };
        for conflict in &self.conflicts {
            let line = format!("{} {fate} {}", plain(&conflict.field), plain(&conflict.manager));
            let _ = write!(text, "\n      {}", color(paint, &line));
        }
        if let Some(error) = &self.error {
            let _ = write!(text, "\n      {}", error.lines(paint).replace('\n', "\n      "));
        }
        if full || self.change != "create" {
            for field in &self.diff {
                text.push_str(&field.lines(paint));
            }
        }
        text
    }
}

impl Field {
    fn lines(&self, paint: Paint) -> String {
        let path = plain(&self.path);
        match (&self.before, &self.after) {
            (Some(Value::String(before)), Some(Value::String(after)))
                if before.contains('\n') || after.contains('\n') =>
            {
                format!("\n      {path}:{}", text_diff(before, after, paint))
            }
            (Some(before), Some(after)) => format!(
                "\n      {path}: {} {} {}",
                paint.bad(&short(before)),
                paint.dim("->"),
                paint.good(&short(after))
            ),
            (Some(before), None) => format!("\n      {}", paint.bad(&format!("- {path}: {}", short(before)))),
            (None, Some(after)) => format!("\n      {}", paint.good(&format!("+ {path}: {}", short(after)))),
            (None, None) => format!("\n      {path}"),
        }
    }
}

fn short(value: &Value) -> String {
    match value {
        Value::String(text) => brief(&format!("{text:?}"), LONGEST_VALUE),
        other => brief(&other.to_string(), LONGEST_VALUE),
    }
}

/// The lines that differ, with a few around them.
fn text_diff(before: &str, after: &str, paint: Paint) -> String {
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for (n, group) in diff.grouped_ops(2).iter().enumerate() {
        if n > 0 {
            lines.push(paint.dim("  ..."));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = brief(change.value().trim_end_matches('\n'), LONGEST_VALUE);
            lines.push(match change.tag() {
                ChangeTag::Delete => paint.bad(&format!("- {line}")),
                ChangeTag::Insert => paint.good(&format!("+ {line}")),
                ChangeTag::Equal => format!("  {line}"),
            });
        }
    }
    let more = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    if more > 0 {
        lines.push(paint.dim(&format!("  ... and {more} more lines")));
    }
    lines
        .iter()
        .fold(String::new(), |text, line| text + "\n        " + line)
}
