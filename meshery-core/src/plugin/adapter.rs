//! A mesh adapter as the engine calls it: the plugin's methods with their types.

use std::sync::Arc;
use std::time::Duration;

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{AdapterDescriptor, Operation};
use meshery_plugin_api::message::expansion::{ExpandRequest, Expansion};
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Installation};
use meshery_plugin_api::message::plan::{Plan, PlanRequest};

use super::handle::PluginHandle;

/// A loaded adapter.
#[derive(Debug)]
pub struct Adapter {
    handle: Arc<PluginHandle>,
    descriptor: AdapterDescriptor,
    deadline: Duration,
}

impl Adapter {
    /// Asks the plugin to describe itself, once.
    pub(super) async fn new(handle: Arc<PluginHandle>, deadline: Duration) -> Result<Self, PluginError> {
        let descriptor = handle
            .call_json("adapter.describe", &serde_json::json!({}), deadline)
            .await?;
        Ok(Self {
            handle,
            descriptor,
            deadline,
        })
    }

    /// Name of the plugin.
    pub fn name(&self) -> &str {
        &self.handle.manifest().name
    }

    /// The plugin.
    pub fn handle(&self) -> &Arc<PluginHandle> {
        &self.handle
    }

    /// What it offers and needs.
    pub fn descriptor(&self) -> &AdapterDescriptor {
        &self.descriptor
    }

    /// One of its operations.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.descriptor
            .operations
            .iter()
            .find(|operation| operation.name == name)
    }

    /// What is to be done for an operation.
    pub async fn plan(&self, request: &PlanRequest) -> Result<Plan, PluginError> {
        self.handle
            .call_json("adapter.plan", request, self.deadline)
            .await
    }

    /// The steps that an `expand` of one of its plans stands for.
    pub async fn expand(&self, request: &ExpandRequest) -> Result<Expansion, PluginError> {
        self.handle
            .call_json("adapter.expand", request, self.deadline)
            .await
    }

    /// What speaks against an operation, or should be known before it runs.
    pub async fn check(&self, request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
        self.handle
            .call_json("adapter.check", request, self.deadline)
            .await
    }

    /// Which installations of its mesh the facts show.
    pub async fn detect(&self, facts: &Facts) -> Result<Vec<Installation>, PluginError> {
        self.handle
            .call_json("adapter.detect", facts, self.deadline)
            .await
    }

    /// What is wrong with the configuration the facts show.
    pub async fn analyze(&self, facts: &Facts) -> Result<Vec<Finding>, PluginError> {
        self.handle
            .call_json("adapter.analyze", facts, self.deadline)
            .await
    }
}
