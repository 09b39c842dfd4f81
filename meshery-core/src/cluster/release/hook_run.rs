//! When a hook of a release ran, and how it ended: what `helm status` shows of hooks and tests.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// A run of a hook, told apart from others by its object and its moment, as a record does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HookRun {
    pub(crate) kind: String,
    pub(crate) name: String,
    /// `pre-install`, `test`, ...
    pub(crate) event: String,
    /// RFC 3339.
    pub(crate) started_at: String,
    /// RFC 3339.
    pub(crate) completed_at: String,
    pub(crate) succeeded: bool,
}

/// Helm's older word for a test.
const OLD_TEST: &str = "test-success";

impl HookRun {
    /// Whether a record's hook is this one.
    fn is_of(&self, hook: &Value) -> bool {
        let at_this_moment = |event: &Value| {
            event
                .as_str()
                .is_some_and(|event| event == self.event || (event == OLD_TEST && self.event == "test"))
        };
        hook["kind"] == self.kind.as_str()
            && hook["name"] == self.name.as_str()
            && hook["events"]
                .as_array()
                .is_some_and(|events| events.iter().any(at_this_moment))
    }

    /// Whether this is what a record's hook says of its last run. Helm writes the same moment in fewer digits.
    pub(crate) fn is_said_by(&self, hook: &Value) -> bool {
        let said = &hook["last_run"];
        let wrote = self.to_record();
        let moment = |run: &Value, key: &str| -> Option<Timestamp> { run[key].as_str()?.parse().ok() };
        let same = |key| moment(said, key).is_some_and(|at| moment(&wrote, key) == Some(at));
        self.is_of(hook) && said["phase"] == wrote["phase"] && same("started_at") && same("completed_at")
    }

    /// As Helm writes it.
    fn to_record(&self) -> Value {
        let phase = if self.succeeded { "Succeeded" } else { "Failed" };
        json!({"started_at": self.started_at, "completed_at": self.completed_at, "phase": phase})
    }
}

/// What the hooks of a record ran last, in their order, now that these have run.
pub(crate) fn last_runs(hooks: &[Value], runs: &[HookRun]) -> Vec<Value> {
    hooks
        .iter()
        .map(|hook| {
            let last = runs.iter().rev().find(|run| run.is_of(hook));
            last.map_or_else(|| hook["last_run"].clone(), HookRun::to_record)
        })
        .collect()
}

/// The same with what they ran `before` in the place of these runs. What somebody has run since is left as it is.
pub(crate) fn runs_before(hooks: &[Value], runs: &[HookRun], before: &[Value]) -> Vec<Value> {
    hooks
        .iter()
        .enumerate()
        .map(|(at, hook)| match before.get(at) {
            Some(before) if runs.iter().any(|run| run.is_said_by(hook)) => before.clone(),
            _ => hook["last_run"].clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_run_before_comes_back_unless_somebody_has_run_it_since() {
        let run = |name: &str| HookRun {
            kind: "Pod".into(),
            name: name.into(),
            event: "test".into(),
            started_at: "2026-11-22T10:00:00.500Z".into(),
            completed_at: "2026-11-22T10:00:09.000Z".into(),
            succeeded: true,
        };
        let runs = ["ours", "rewritten", "again", "failed-since"].map(run);
        let hook = |name: &str, started: &str, phase: &str| {
            json!({"kind": "Pod", "name": name, "events": ["test"], "last_run":
                {"started_at": started, "completed_at": "2026-11-22T10:00:09Z", "phase": phase}})
        };
        let ours = "2026-11-22T10:00:00.500Z";
        let hooks = [
            hook("ours", ours, "Succeeded"),
            // As Helm has it once it has written the record itself.
            hook("rewritten", "2026-11-22T10:00:00.5Z", "Succeeded"),
            hook("again", "2026-11-22T11:00:00Z", "Succeeded"),
            hook("failed-since", ours, "Failed"),
            hook("of-others", ours, "Succeeded"),
        ];
        let before = ["a", "b", "c", "d", "e"].map(Value::from);
        let back = runs_before(&hooks, &runs, &before);
        assert_eq!(back[..2], before[..2]);
        for at in 2..5 {
            assert_eq!(back[at], hooks[at]["last_run"], "{at}");
        }
        // Nothing is known of how a record with other hooks was.
        assert_eq!(runs_before(&hooks[..1], &runs, &[])[0], hooks[0]["last_run"]);
    }

    #[test]
    fn a_run_is_that_of_the_hook_with_its_object_and_its_moment() {
        let hook = |name: &str, events: &[&str]| {
            json!({"kind": "Job", "name": name, "events": events,
                "last_run": {"started_at": "", "completed_at": "", "phase": ""}})
        };
        let hooks = [
            hook("one", &["pre-install", "pre-upgrade"]),
            hook("one", &["post-delete"]),
            hook("two", &["pre-upgrade"]),
            hook("old", &["test-success"]),
        ];
        let run = |name: &str, event: &str, succeeded| HookRun {
            kind: "Job".into(),
            name: name.into(),
            event: event.into(),
            started_at: "2026-11-22T10:00:00Z".into(),
            completed_at: "2026-11-22T10:00:09Z".into(),
            succeeded,
        };
        let runs = [run("one", "pre-upgrade", true), run("old", "test", false)];
        let last = last_runs(&hooks, &runs);
        assert_eq!(
            last[0],
            json!({"started_at": "2026-11-22T10:00:00Z", "completed_at": "2026-11-22T10:00:09Z", "phase": "Succeeded"})
        );
        assert_eq!(
            (&last[1], &last[2]),
            (&hooks[1]["last_run"], &hooks[2]["last_run"])
        );
        assert_eq!(last[3]["phase"], "Failed");
    }
}
