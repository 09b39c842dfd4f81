//! What a mesh adapter is: a pure function from facts to plans.

use crate::error::PluginError;
use crate::message::descriptor::AdapterDescriptor;
use crate::message::expansion::{ExpandRequest, Expansion};
use crate::message::facts::Facts;
use crate::message::finding::{Finding, Installation};
use crate::message::plan::{Plan, PlanRequest};

/// A mesh adapter.
///
/// Adapters do no input or output: everything they know comes in, everything they want comes back as data. That is
/// why they can be called under a deadline, isolated in a process of their own, fuzzed and replayed. Every method
/// may be called from several threads at once, and none may keep anything between calls.
pub trait MeshAdapter: Send + Sync + 'static {
    /// What the adapter offers and needs. Called once after loading.
    fn describe(&self) -> AdapterDescriptor;

    /// What is to be done for an operation.
    fn plan(&self, request: PlanRequest) -> Result<Plan, PluginError>;

    /// The steps that an [`Expand`](crate::message::expansion::Expand) of one of its plans stands for, now that the
    /// operation has come to it.
    fn expand(&self, request: ExpandRequest) -> Result<Expansion, PluginError> {
        Err(request.unknown())
    }

    /// What speaks against an operation, or should be known, before it runs (with the facts of `plan`).
    fn check(&self, request: PlanRequest) -> Result<Vec<Finding>, PluginError> {
        let _ = request;
        Ok(Vec::new())
    }

    /// Which installations of its mesh the facts show.
    fn detect(&self, facts: Facts) -> Result<Vec<Installation>, PluginError>;

    /// What is wrong with the configuration the facts show.
    fn analyze(&self, facts: Facts) -> Result<Vec<Finding>, PluginError> {
        let _ = facts;
        Ok(Vec::new())
    }
}
