//! A plan as text that a person can review, for snapshot tests of adapters.
//!
//! The text is kept beside the test and shows in a change what the change does to a plan. With `UPDATE_SNAPSHOTS=1`
//! in the environment the files are written instead of compared.

use std::fmt::Write as _;
use std::path::Path;

use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Action, Plan, Readiness, Step};
use serde::Serialize;

/// The plan as text.
pub fn plan_text(plan: &Plan) -> String {
    let mut text = format!("{}\n", plan.summary);
    for note in &plan.notes {
        let _ = writeln!(text, "note: {note}");
    }
    for step in &plan.steps {
        step_text(&mut text, "step", step);
    }
    for step in &plan.verify {
        step_text(&mut text, "verify", step);
    }
    text
}

fn step_text(text: &mut String, heading: &str, step: &Step) {
    let _ = write!(text, "\n{heading} {}", step.id);
    if !step.after.is_empty() {
        let _ = write!(text, " after {}", step.after.join(", "));
    }
    if step.deadline_s > 0 {
        let _ = write!(text, " within {} s", step.deadline_s);
    }
    let _ = writeln!(text, ": {}", step.title);
    match &step.action {
        Action::Apply(apply) => {
            for used in &apply.uses {
                let _ = writeln!(text, "  use {used}");
            }
            for object in &apply.objects {
                let reference = ObjectRef::of(object).map_or_else(|| "?".into(), |r| r.to_string());
                let by = if apply.manager.is_empty() {
                    String::new()
                } else {
                    format!(" as {}", apply.manager)
                };
                let _ = writeln!(text, "  apply {reference}{by}");
                indent(text, object);
            }
        }
        Action::Delete(delete) => {
            for target in &delete.targets {
                let when = serde_json::to_value(target.when).unwrap_or_default();
                let when = when.as_str().unwrap_or("?");
                let _ = writeln!(text, "  delete {} when {when}", target.object);
            }
        }
        Action::Release(release) => {
            let _ = writeln!(text, "  release {}/{}", release.namespace, release.name);
            let _ = writeln!(text, "  chart {} {}", release.chart.name, release.chart.version);
            let _ = writeln!(text, "  from {}", release.chart.repository);
            if !release.chart.sha256.is_empty() {
                let _ = writeln!(text, "  sha256 {}", release.chart.sha256);
            }
            if release.keep_values {
                let _ = writeln!(text, "  over the values it has");
            }
            if !release.values_of.is_empty() {
                let _ = writeln!(
                    text,
                    "  over the values of {}, until it has its own",
                    release.values_of
                );
            }
            if !release.adopted_from.is_empty() {
                let _ = writeln!(text, "  taken over from {}", release.adopted_from);
            }
            if !release.values.is_empty() {
                let _ = writeln!(text, "  values");
                indent(text, &release.values);
            }
        }
        Action::RemoveRelease(release) => {
            let _ = writeln!(text, "  remove release {}/{}", release.namespace, release.name);
        }
        Action::RollbackRelease(release) => {
            let to = match release.revision {
                0 => "the revision before".to_owned(),
                revision => format!("revision {revision}"),
            };
            let _ = writeln!(
                text,
                "  roll back release {}/{} to {to}",
                release.namespace, release.name
            );
        }
        Action::TestRelease(release) => {
            let _ = writeln!(text, "  test release {}/{}", release.namespace, release.name);
        }
        Action::Wait(wait) => {
            if !wait.of_revision.is_empty() {
                let _ = writeln!(
                    text,
                    "  wait for the workloads of the revision of step {}",
                    wait.of_revision
                );
            }
            conditions(text, &wait.conditions);
        }
        Action::Gate(gate) => {
            let _ = writeln!(text, "  gate: {}", gate.reason);
            if gate.approval {
                let _ = writeln!(text, "  wait for an approval");
            }
            conditions(text, &gate.conditions);
            if !gate.not_before.is_empty() {
                let _ = writeln!(text, "  not before {}", gate.not_before);
            }
        }
        Action::Probe(probe) => {
            let reference = ObjectRef::of(&probe.object).map_or_else(|| "?".into(), |r| r.to_string());
            let _ = writeln!(text, "  probe {reference}");
            indent(text, &probe.object);
            for (proof, pointer) in &probe.expect {
                let _ = writeln!(text, "  expect {pointer}: {proof}");
            }
        }
        Action::Restart(restart) => {
            let when = if restart.in_undo {
                "in undo, restart"
            } else {
                "restart"
            };
            for workload in &restart.workloads {
                let _ = writeln!(text, "  {when} {workload}");
            }
        }
        Action::Material(material) => {
            for item in &material.items {
                let _ = writeln!(text, "  make {}", item.object);
                indent(text, item);
            }
        }
        Action::Expand(expand) => {
            let _ = writeln!(text, "  expand {}", expand.what);
            indent(text, expand);
        }
        Action::Unknown => {
            let _ = writeln!(text, "  unknown");
        }
    }
    for (name, output) in &step.outputs {
        let _ = writeln!(text, "  leave {name}: {} {}", output.object, output.path);
    }
    if step.holds_back {
        text.push_str("  what is before it stays when it cannot be taken back\n");
    }
}

fn conditions(text: &mut String, conditions: &[Readiness]) {
    for condition in conditions {
        let rule = serde_json::to_value(condition.rule).unwrap_or_default();
        let rule = rule.as_str().unwrap_or("?");
        let _ = writeln!(text, "  wait for {}: {rule}", condition.object);
    }
}

fn indent(text: &mut String, value: &impl Serialize) {
    let yaml = serde_saphyr::to_string(value).unwrap_or_else(|error| error.to_string());
    for line in yaml.lines() {
        let _ = writeln!(text, "    {line}");
    }
}

/// Compares a text with the file of a snapshot, or writes the file when `UPDATE_SNAPSHOTS=1`.
///
/// # Panics
/// When they differ, with the first line that does.
pub fn assert_snapshot(file: &Path, text: &str) {
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        let written = file
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(file, text));
        written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        return;
    }
    let hint = "UPDATE_SNAPSHOTS=1 writes the file anew";
    let kept =
        std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}; {hint}", file.display()));
    if kept == text {
        return;
    }
    let differs = kept
        .lines()
        .zip(text.lines())
        .position(|(a, b)| a != b)
        .unwrap_or_else(|| kept.lines().count().min(text.lines().count()));
    let line = |of: &str| of.lines().nth(differs).unwrap_or("(end)").to_owned();
    panic!(
        "{}:{} is not what the plan says; {hint}\n  file: {}\n  plan: {}\n\n{text}",
        file.display(),
        differs + 1,
        line(&kept),
        line(text)
    );
}
