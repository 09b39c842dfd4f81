//! When the hooks of a release ran, by the journal: what its record is told of them. So it is known after a crash as well.

use std::collections::BTreeMap;

use meshery_plugin_api::message::object_ref::ObjectRef;

use super::clock;
use super::entry::{Entry, Timed};
use super::stored_plan::{HookPlan, StoredPlan, Work, unreadable};
use crate::cluster::release::HookRun;
use crate::problem::Problem;
use crate::provider::Store;

/// What is known of one hook.
struct Seen {
    started: String,
    completed: Option<String>,
}

/// The runs of the hooks of these steps, those that did not come to their end included.
pub(super) async fn hook_runs(
    store: &Store,
    operation: &str,
    plan: &StoredPlan,
    steps: &[String],
) -> Result<Vec<HookRun>, Problem> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let mut seen: BTreeMap<(String, ObjectRef), Seen> = BTreeMap::new();
    for entry in store.read(operation, 0).await? {
        let timed: Timed = serde_json::from_value(entry.entry).map_err(|error| unreadable(&error))?;
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
    Ok(runs)
}
