//! Where an operation is in its life.

use serde::{Deserialize, Serialize};

/// Where an operation is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    /// The plan is made and stored; nothing was looked at beyond what it needed.
    Planned,
    /// What the plan would change was shown.
    Previewed,
    /// Its policy asks for a yes, which nobody gave yet.
    AwaitingApproval,
    /// Another operation, or another host, is at work on the same cluster.
    Queued,
    /// Its steps run.
    Running,
    /// It waits at a gate, without the cluster; or the provider does not answer: nothing is written until it does.
    Paused,
    /// The steps are done; the result is being proved.
    Verifying,
    /// Done and proved.
    Succeeded,
    /// A step failed, or the proof did.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// The host was stopped, has lost the cluster's Lease, or the provider was away for long: what was done so far is in
    /// the journal.
    Interrupted,
    /// What the run did is being taken back.
    Undoing,
    /// The cluster is as before.
    Undone,
    /// Something could not be taken back; the record lists what is left and why.
    UndoIncomplete,
    /// It was given up; the record lists what it leaves behind.
    Forgotten,
    /// What the plan relied on has changed since; it has to be made again.
    Stale,
}

impl OperationState {
    /// Whether the operation is in somebody's hands at this moment: queued, running, or being taken back.
    pub fn is_active(self) -> bool {
        matches!(
            self,
            Self::Queued | Self::Running | Self::Paused | Self::Verifying | Self::Undoing
        )
    }

    /// Whether nothing more happens by itself and something has happened.
    pub fn is_ended(self) -> bool {
        matches!(
            self,
            Self::Succeeded
                | Self::Failed
                | Self::Cancelled
                | Self::Interrupted
                | Self::Undone
                | Self::UndoIncomplete
                | Self::Forgotten
                | Self::Stale
        )
    }

    /// Whether the plan waits to be run for the first time.
    pub fn is_runnable(self) -> bool {
        matches!(self, Self::Planned | Self::Previewed | Self::AwaitingApproval)
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Previewed => "previewed",
            Self::AwaitingApproval => "awaiting-approval",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Verifying => "verifying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::UndoIncomplete => "undo-incomplete",
            Self::Forgotten => "forgotten",
            Self::Stale => "stale",
        }
    }
}

impl std::fmt::Display for OperationState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_shown_is_the_word_on_the_wire() {
        for state in [
            OperationState::AwaitingApproval,
            OperationState::UndoIncomplete,
            OperationState::Running,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
