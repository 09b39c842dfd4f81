//! Room on the provider's disk for an operation's journal: for the whole run and the whole undo, so that a disk that becomes full
//! meanwhile blocks neither.
//!
//! Before it begins nobody has read how large the objects are that it finds; so room is set aside by what its plan has, and more
//! before larger ones are written down. Where there is none, the step fails before it touches them, and what was done can
//! be taken back.

use tokio::sync::Mutex;

use super::entry::Intent;
use super::history::History;
use super::size_of_stored;
use crate::operation::plan::stored::{StoredPlan, Work};
use crate::problem::Problem;
use crate::provider::Store;

/// Room set aside for a journal.
const ROOM: u64 = 1 << 20;
const ROOM_OF_AN_OBJECT: u64 = 2 << 10;
/// Of it, what an object may have before it counts.
const OF_A_SMALL_ONE: u64 = 1 << 10;
/// An object that is changed is written down as it was, with who owned which field, and field by field.
const ROOM_OF_CONTENT: u64 = 5;
/// Of it, what is for the objects as they were.
const FOR_BEFORE: u64 = 4;
/// What is set aside beyond what is needed, so that not each batch asks for more.
const SPARE: u64 = 1 << 20;

/// The room of an operation at work.
pub(in crate::operation) struct Room {
    /// What its plan has asked for before it began.
    planned: u64,
    /// Of it, what is for objects as they were.
    for_before: u64,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// What was written down of objects as they were, and will be of how they were changed.
    before: u64,
    /// What is set aside.
    set_aside: u64,
}

impl Room {
    /// With what a run has written down before an interruption.
    pub fn of(plan: &StoredPlan, history: &History) -> Self {
        let before = history
            .steps
            .iter()
            .map(|step| {
                let work = plan.step(&step.id).map(|step| &step.work);
                let befores = step.objects.iter().filter_map(|object| object.before.as_ref());
                befores
                    .map(|before| weight(work, size_of_stored(before)))
                    .sum::<u64>()
            })
            .sum();
        let planned = planned(plan);
        Self {
            planned,
            for_before: FOR_BEFORE * plan.content(),
            taken: Mutex::new(Taken {
                before,
                set_aside: planned,
            }),
        }
    }

    /// Sets aside what is needed by now.
    pub async fn set_aside(&self, store: &Store, operation: &str) -> Result<(), Problem> {
        let mut taken = self.taken.lock().await;
        let needed = self.needed(taken.before);
        store.reserve(operation, needed).await?;
        taken.set_aside = needed;
        Ok(())
    }

    /// Sets more aside where it is needed for what is about to be written down.
    pub async fn make(
        &self,
        store: &Store,
        operation: &str,
        work: &Work,
        intents: &[Intent],
    ) -> Result<(), Problem> {
        let befores = intents.iter().filter_map(|intent| intent.before.as_ref());
        let more: u64 = befores
            .map(|before| weight(Some(work), size_of_stored(before)))
            .sum();
        let mut taken = self.taken.lock().await;
        let needed = self.needed(taken.before + more);
        if needed > taken.set_aside {
            store.reserve(operation, needed + SPARE).await?;
            taken.set_aside = needed + SPARE;
        }
        taken.before += more;
        Ok(())
    }

    fn needed(&self, before: u64) -> u64 {
        self.planned + before.saturating_sub(self.for_before)
    }
}

/// What is set aside before an operation begins.
pub(in crate::operation) fn planned(plan: &StoredPlan) -> u64 {
    ROOM + ROOM_OF_AN_OBJECT * plan.objects() as u64 + ROOM_OF_CONTENT * plan.content()
}

/// What a journal takes for an object of this size: as it was, and what was changed in it unless it only goes.
fn weight(work: Option<&Work>, size: usize) -> u64 {
    let times = if matches!(work, Some(Work::Delete { .. })) {
        1
    } else {
        2
    };
    (size as u64 * times).saturating_sub(OF_A_SMALL_ONE)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use meshery_plugin_api::message::object_ref::ObjectRef;
    use serde_json::json;

    use super::super::entry::Stored;
    use super::*;
    use crate::provider::memory::MemoryProvider;

    fn intent(size: usize) -> Intent {
        Intent {
            object: ObjectRef::new("v1", "ConfigMap", "a", "b"),
            before: Some(Stored::Plain(json!("x".repeat(size)))),
        }
    }

    fn removal() -> Work {
        Work::Delete {
            waves: Vec::new(),
            kept: Vec::new(),
            removes: None,
        }
    }

    #[tokio::test]
    async fn what_a_run_finds_larger_than_its_plan_has_more_set_aside() {
        let provider = Arc::new(MemoryProvider::new());
        let store = Store::new(provider.clone());
        let plan = StoredPlan::default();
        let room = Room::of(&plan, &History::default());
        let small: Vec<Intent> = (0..100).map(|_| intent(500)).collect();
        room.make(&store, "op", &removal(), &small).await.unwrap();
        assert_eq!(provider.reserved("op"), 0, "the plan's is enough");
        room.make(&store, "op", &removal(), &[intent(1 << 20)])
            .await
            .unwrap();
        let first = provider.reserved("op");
        assert!(first >= planned(&plan) + (1 << 20), "{first}");
        room.make(&store, "op", &removal(), &[intent(1 << 22)])
            .await
            .unwrap();
        assert!(provider.reserved("op") >= first + (1 << 22) - SPARE);
    }
}
