//! The images that a planned operation's pods would pull.

use serde_json::Value;

use super::stored::{Work, load_waves};
use crate::images::{NamedImage, named};
use crate::operation::operations::Operations;
use crate::problem::Problem;

impl Operations {
    /// Every image that the objects of an operation name, with what names it; sorted.
    pub async fn images(&self, id: &str) -> Result<Vec<NamedImage>, Problem> {
        let engine = &self.engine;
        let plan = engine.whole_plan(&engine.load(id).await?).await?;
        let mut objects: Vec<Value> = Vec::new();
        for step in &plan.steps {
            if let Work::Apply { content, .. } | Work::Hooks { content, .. } = &step.work {
                let waves = load_waves(&engine.store, &engine.key, id, content).await?;
                objects.extend(waves.into_iter().flatten());
            }
        }
        Ok(named(objects.iter()))
    }
}
