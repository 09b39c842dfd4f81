//! Which operations of which adapters this program has seen through to their end, and which it has seen taken back: by this
//! the last trial finds those that no trial is about.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// What was seen of an operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    pub performed: bool,
    pub taken_back: bool,
}

static SEEN: Mutex<BTreeMap<(String, String), Seen>> = Mutex::new(BTreeMap::new());

/// What was seen of an adapter's operation so far.
pub fn seen(adapter: &str, operation: &str) -> Seen {
    let key = (adapter.to_owned(), operation.to_owned());
    locked().get(&key).copied().unwrap_or_default()
}

pub(crate) fn performed(record: &Value) {
    note(record, |seen| seen.performed = true);
}

pub(crate) fn taken_back(record: &Value) {
    note(record, |seen| seen.taken_back = true);
}

fn note(record: &Value, change: impl FnOnce(&mut Seen)) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let key = (text(&record["adapter"]["name"]), text(&record["operation"]));
    change(locked().entry(key).or_default());
}

fn locked() -> MutexGuard<'static, BTreeMap<(String, String), Seen>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}
