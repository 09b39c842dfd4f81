//! When the hooks of a release ran, by the journal: what its record is told of them. So it is known after a crash as well.

use std::collections::BTreeMap;

use meshery_plugin_api::message::object_ref::ObjectRef;

use crate::cluster::release::HookRun;
use crate::operation::clock;
use crate::operation::journal::entry::{Entry, Timed};
use crate::operation::plan::stored::{StoredPlan, Work, unreadable};
use crate::operation::step::hooks::HookPlan;
use crate::problem::Problem;
use crate::provider::Store;

/// What is known of one hook.
struct Seen {
    started: String,
    completed: Option<String>,
}

/// The runs of the hooks of these steps, those that did not come to their end included.
pub(in crate::operation) async fn hook_runs(
    store: &Store,
    operation: &str,
    plan: &StoredPlan,
    steps: &[String],
) -> Result<Vec<HookRun>, Problem> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    for entry in store.read(operation, 0).await? {
        let timed: Timed = serde_json::from_value(entry.entry).map_err(|error| unreadable(&error))?;
        entries.push(timed);
    }
    Ok(runs_by(entries, plan, steps))
}

/// The same, by the entries in their order.
fn runs_by(entries: impl IntoIterator<Item = Timed>, plan: &StoredPlan, steps: &[String]) -> Vec<HookRun> {
    let mut seen: BTreeMap<(String, ObjectRef), Seen> = BTreeMap::new();
    for timed in entries {
        match timed.entry {
            Entry::Intent { step, objects } if steps.contains(&step) => {
                for intent in objects {
                    let begun = Seen {
                        started: timed.time.clone(),
                        completed: None,
                    };
                    seen.entry((step.clone(), intent.object)).or_insert(begun);
                }
            }
            Entry::Outcome { step, object, .. } => {
                if let Some(seen) = seen.get_mut(&(step, object)) {
                    seen.completed = Some(timed.time);
                }
            }
            _ => {}
        }
    }
    let mut runs = Vec::new();
    for id in steps {
        let Some(Work::Hooks { event, hooks, .. }) = plan.step(id).map(|step| &step.work) else {
            continue;
        };
        for HookPlan { object, .. } in hooks {
            let Some(seen) = seen.get(&(id.clone(), object.clone())) else {
                continue;
            };
            runs.push(HookRun {
                kind: object.kind.clone(),
                name: object.name.clone(),
                event: event.clone(),
                started_at: seen.started.clone(),
                completed_at: seen.completed.clone().unwrap_or_else(clock::now),
                succeeded: seen.completed.is_some(),
            });
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::journal::entry::{Intent, ObjectChange, Stored};
    use crate::operation::plan::stored::StoredStep;
    use crate::provider::BlobRef;

    #[test]
    fn a_hook_ran_from_its_intent_to_its_outcome_and_one_without_an_outcome_has_failed() {
        let object = |name: &str| ObjectRef::new("batch/v1", "Job", "space", name);
        let hook = |name: &str| HookPlan {
            object: object(name),
            source: String::new(),
            delete_policies: Vec::new(),
        };
        let plan = StoredPlan {
            steps: vec![StoredStep {
                id: "r.before".into(),
                title: String::new(),
                kind: "release".into(),
                after: Vec::new(),
                deadline_s: 0,
                verify: false,
                outputs: BTreeMap::new(),
                holds_back: false,
                work: Work::Hooks {
                    event: "pre-upgrade".into(),
                    content: BlobRef::of(b""),
                    hooks: vec![hook("done"), hook("fails"), hook("never-begun")],
                    release: None,
                },
            }],
            ..StoredPlan::default()
        };
        let at = |second: u32, entry| Timed {
            time: format!("2026-11-22T10:00:{second:02}.000Z"),
            entry,
        };
        let intent = |name: &str| Entry::Intent {
            step: "r.before".into(),
            objects: vec![Intent {
                object: object(name),
                before: None,
            }],
        };
        let outcome = Entry::Outcome {
            step: "r.before".into(),
            object: object("done"),
            change: ObjectChange::Created,
            uid: "u".into(),
            fields: Stored::Nothing,
            done: 1,
            total: 3,
        };
        // Written again after a crash: it began when it did.
        let entries = [
            at(1, intent("done")),
            at(3, intent("done")),
            at(4, outcome),
            at(5, intent("fails")),
        ];
        let runs = runs_by(entries, &plan, &["r.before".to_owned()]);
        let told: Vec<(&str, &str, bool)> = runs
            .iter()
            .map(|run| (run.name.as_str(), &run.started_at[17..19], run.succeeded))
            .collect();
        assert_eq!(told, [("done", "01", true), ("fails", "05", false)]);
        assert_eq!(runs[0].completed_at, "2026-11-22T10:00:04.000Z");
        assert_eq!(runs[0].event, "pre-upgrade");
    }
}
