//! The values of a release that go on when it is upgraded, or when another one comes beside it: somebody has set them, and
//! a plan that knows nothing of them must not take them back.

use meshery_plugin_api::message::plan::Release;
use serde_json::{Map, Value};

use super::existing::{Existing, no_release};
use crate::operation::plan::resolve::Resolver;
use crate::operation::plan::stored::ReleaseName;
use crate::problem::Problem;

impl Resolver<'_> {
    /// The step's values, over those that are to go on.
    pub(super) async fn values(
        &self,
        release: &Release,
        existing: &Existing,
    ) -> Result<Map<String, Value>, Problem> {
        let mut values = match existing.deployed() {
            Some(now) if release.keep_values => now.config(),
            None if !release.values_of.is_empty() => Box::pin(self.values_of_another(release)).await?,
            _ => Map::new(),
        };
        merge(&mut values, &release.values);
        Ok(values)
    }

    async fn values_of_another(&self, release: &Release) -> Result<Map<String, Value>, Problem> {
        let other = ReleaseName {
            name: release.values_of.clone(),
            namespace: release.namespace.clone(),
        };
        let existing = Existing::read(self, &other).await?;
        let record = existing.deployed().ok_or_else(|| no_release(&other))?;
        Ok(record.config())
    }
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
