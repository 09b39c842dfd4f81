//! One operation on several clusters: a set, and for each cluster a member that is an operation of its own.
//!
//! Members are planned, previewed, run, proved and taken back like any other operation, each with its own journal. A
//! set keeps only which they are and what was ordered; what it shows is worked out from their records. So a crash
//! leaves nothing that could disagree.

mod drive;
mod order;
mod stored;

pub use order::OperationSetPage;
pub(super) use stored::{KIND, prune_sets};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::policy::Policy;
use super::preview::Preview;
use super::record::OperationRecord;
use super::state::OperationState;
use crate::images::ImageSource;
use crate::problem::{Problem, ProblemKind};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOperationSet {
    /// Name of the adapter.
    pub adapter: String,
    /// Name of one of its operations.
    pub operation: String,
    /// Kubeconfig contexts, in the order in which their clusters have their turn: 1 to 100, each another cluster.
    pub contexts: Vec<String>,
    /// The operation's parameters, the same everywhere.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// What happens when something goes wrong within one cluster.
    #[serde(default)]
    pub policy: Policy,
    /// Where images come from; as the engine's settings say when not given.
    #[serde(default)]
    pub images: Option<ImageSource>,
    /// At how many clusters it is at work at a time, at most.
    #[serde(default)]
    pub at_a_time: AtATime,
    /// What becomes of the others when one fails.
    #[serde(default)]
    pub on_member_failure: OnMemberFailure,
}

/// At how many clusters a set is at work at a time: 1 when not given, 100 at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AtATime(pub u32);

impl Default for AtATime {
    fn default() -> Self {
        Self(1)
    }
}

/// What becomes of the other clusters when an operation does not succeed on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMemberFailure {
    /// What is at work comes to its end; what had not begun waits for somebody to decide.
    #[default]
    Stop,
    /// The others have their turn all the same.
    GoOn,
    /// What was done on the others is taken back as well.
    Undo,
}

/// A set of operations, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationSet {
    /// Its id; ids sort by time.
    pub id: String,
    /// Name of the adapter.
    pub adapter: String,
    /// What was asked for.
    pub operation: String,
    /// Who asked.
    pub owner: String,
    /// How far it is: `planned`, `running`, `undoing`, or what came of it.
    pub state: OperationState,
    /// At how many clusters it is at work at a time, at most.
    pub at_a_time: AtATime,
    /// What becomes of the others when one fails.
    pub on_member_failure: OnMemberFailure,
    /// In the order of their turns.
    pub members: Vec<Member>,
    /// When it was planned, RFC 3339 in UTC.
    pub created: String,
    /// When somebody last ordered something, or it came to rest.
    pub updated: String,
}

/// One cluster's part in a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Context of the cluster.
    pub context: String,
    /// Its operation.
    pub operation: String,
    /// How far that is; nothing when it is older than operations are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<OperationState>,
    /// Why it failed, or could not be begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// What a set would change on one of its clusters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberPreview {
    /// Context of the cluster.
    pub context: String,
    /// Its operation.
    pub operation: String,
    /// What it would change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// Why that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// What was last ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    #[default]
    Nothing,
    Run,
    Cancel,
    Undo,
}

/// What a member's state means for its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It waits for its turn.
    Waits,
    AtWork,
    Succeeded,
    /// It has ended otherwise, or could not be begun.
    Failed,
    /// The cluster is as before, or was never touched.
    Untouched,
}

/// What the record of a member, if there is one, and an error of its beginning mean.
fn standing(record: Option<&OperationRecord>, could_not_begin: bool) -> Standing {
    use OperationState as S;
    let Some(record) = record else {
        return Standing::Untouched;
    };
    match record.state {
        state if state.is_runnable() && could_not_begin => Standing::Failed,
        state if state.is_runnable() => Standing::Waits,
        S::Succeeded => Standing::Succeeded,
        S::Undone => Standing::Untouched,
        // Nobody has run it.
        S::Cancelled if record.host.is_none() => Standing::Untouched,
        state if state.is_ended() => Standing::Failed,
        _ => Standing::AtWork,
    }
}

/// What was found of a member; nothing when its operation is not kept any more.
fn found(record: Result<OperationRecord, Problem>) -> Result<Option<OperationRecord>, Problem> {
    match record {
        Err(problem) if problem.kind == ProblemKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// The state of a set.
fn state_of(order: Order, at_rest: bool, members: &[(Standing, Option<OperationState>)]) -> OperationState {
    use OperationState as S;
    let is = |wanted: Standing| move |(standing, _): &(Standing, Option<S>)| *standing == wanted;
    let shows = |wanted: S| move |(_, state): &(Standing, Option<S>)| *state == Some(wanted);
    match order {
        Order::Nothing if members.iter().any(shows(S::AwaitingApproval)) => S::AwaitingApproval,
        Order::Nothing if members.iter().all(shows(S::Previewed)) => S::Previewed,
        Order::Nothing => S::Planned,
        Order::Undo if !at_rest => S::Undoing,
        Order::Undo if members.iter().all(is(Standing::Untouched)) => S::Undone,
        Order::Undo => S::UndoIncomplete,
        // It waits for nothing but a person.
        Order::Run | Order::Cancel
            if !at_rest
                && members.iter().any(shows(S::Paused))
                && members
                    .iter()
                    .filter(|member| is(Standing::AtWork)(member))
                    .all(shows(S::Paused)) =>
        {
            S::Paused
        }
        Order::Run | Order::Cancel if !at_rest => S::Running,
        Order::Run if members.iter().all(is(Standing::Succeeded)) => S::Succeeded,
        Order::Run => S::Failed,
        Order::Cancel => S::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_set_is_that_of_its_members() {
        use OperationState as S;
        let waits = (Standing::Waits, Some(S::Planned));
        let done = (Standing::Succeeded, Some(S::Succeeded));
        let paused = (Standing::AtWork, Some(S::Paused));
        let runs = (Standing::AtWork, Some(S::Running));
        let failed = (Standing::Failed, Some(S::Failed));
        let back = (Standing::Untouched, Some(S::Undone));
        for (order, at_rest, members, wanted) in [
            (Order::Nothing, true, [waits, waits], S::Planned),
            (Order::Run, false, [done, runs], S::Running),
            (Order::Run, false, [paused, runs], S::Running),
            (Order::Run, false, [paused, waits], S::Paused),
            (Order::Run, true, [done, done], S::Succeeded),
            (Order::Run, true, [failed, waits], S::Failed),
            (Order::Run, true, [done, back], S::Failed),
            (Order::Undo, false, [done, back], S::Undoing),
            (Order::Undo, true, [back, back], S::Undone),
            (Order::Undo, true, [failed, back], S::UndoIncomplete),
            (Order::Cancel, true, [done, back], S::Cancelled),
        ] {
            assert_eq!(
                state_of(order, at_rest, &members),
                wanted,
                "{order:?} {members:?}"
            );
        }
    }
}
