//! The values of a release that go on when it is upgraded: somebody has set them, and a plan that knows nothing of them
//! must not take them back.

use meshery_plugin_api::message::plan::Release;
use serde_json::{Map, Value};

use crate::cluster::release::Record;

/// The step's values, over those that the release has now.
pub(super) fn over_kept(release: &Release, now: Option<&Record>) -> Map<String, Value> {
    let Some(now) = now else {
        return release.values.clone();
    };
    let mut values = now.config();
    merge(&mut values, &release.values);
    values
}

/// Puts one map over another, as Helm does: maps key by key, all else as a whole.
fn merge(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Object(under)), Value::Object(over)) => merge(under, over),
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_set_stays_unless_the_step_says_otherwise() {
        let mut under = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1})
            .as_object()
            .cloned()
            .unwrap();
        let over = json!({"a": {"c": [3], "e": 2}, "d": {"f": 1}});
        merge(&mut under, over.as_object().unwrap());
        assert_eq!(
            Value::Object(under),
            json!({"a": {"b": 1, "c": [3], "e": 2}, "d": {"f": 1}})
        );
    }
}
