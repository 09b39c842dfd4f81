//! What happens when something goes wrong, and what needs a yes: policy, not code.

use serde::{Deserialize, Serialize};

use super::consent::Consents;

/// What an operation does when something goes wrong, and what it needs before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// After a step failed, or the operation was cancelled.
    pub on_failure: OnFailure,
    /// After the host was stopped in the middle.
    pub on_interruption: OnInterruption,
    /// Whether somebody has to approve before it may run.
    pub approval: bool,
    /// Whether fields that other managers own are taken from them. The preview names them.
    pub force_conflicts: bool,
    /// What is done on explicit word only, and was agreed to.
    #[serde(skip_serializing_if = "is_nothing")]
    pub accept: Consents,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_nothing(consents: &Consents) -> bool {
    *consents == Consents::default()
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Take back what the run did.
    #[default]
    Undo,
    /// Leave everything as it is.
    Keep,
}

/// What to do after an interruption, when the host is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnInterruption {
    /// Go on where it stopped.
    #[default]
    Resume,
    /// Take back what was done.
    Undo,
    /// Wait for somebody to decide; other operations on the cluster are refused meanwhile.
    Ask,
}
