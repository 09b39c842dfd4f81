//! Operations: every change to a cluster is a plan that is shown, run, recorded and, if need be, taken back.
//!
//! An adapter returns a plan; from there on nobody needs it. The plan is resolved (charts rendered, removals looked
//! up, objects put into waves) and stored; that is what is previewed and that is what runs. A run writes into the
//! operation's journal before it acts and after, so that whoever comes after a crash knows what was done: resuming
//! and undoing go by the journal and the cluster alone.
//!
//! One operation at a time works on a cluster, whatever its context is called: those of one host wait in a queue, and
//! hosts take turns by a Lease in the cluster. Who loses it stops at once.

mod apply;
pub(crate) mod clock;
mod coming;
mod conduct;
mod consent;
mod delete;
mod deletion;
mod engine;
mod entry;
mod event;
mod event_stream;
mod expand;
mod exposure;
mod field;
mod fold;
mod foreign;
mod forget;
mod gate;
mod history;
mod holding;
mod hook_ownership;
mod hook_runs;
mod hooks;
mod journal;
mod keeps_all;
mod kept_values;
pub(crate) mod lease_use;
mod lineage;
mod live;
mod mark;
mod material;
mod moved;
mod object_set;
mod once;
mod operations;
mod outputs;
mod ownership;
pub(crate) mod parameters;
mod placeholder_use;
mod plan_digest;
mod plan_file;
mod planning;
mod policy;
mod presence;
mod preview;
mod preview_deletion;
mod preview_hook;
mod preview_rights;
mod previewing;
mod probe;
mod pulled;
mod queue;
mod record;
mod record_step;
mod recovery;
mod release_existing;
mod release_failure;
mod release_moment;
mod release_removal;
mod release_secrets;
mod release_steps;
mod release_takeover;
mod release_tests;
mod relied;
mod resolve;
mod restart;
mod retention;
mod revision_ready;
mod rights;
mod risk;
mod run;
pub(crate) mod seal;
pub(crate) mod secret_ref;
mod secret_values;
mod seen;
mod set;
mod state;
mod stored;
mod stored_plan;
mod test_runs_step;
mod undo;
mod undo_kind;
mod undo_object;
mod undo_previewing;
mod undo_restart;
mod wait;

pub use consent::{Consent, Consents, NeededConsent};
pub use event::{Event, EventKind};
pub use event_stream::EventStream;
pub(crate) use operations::{EngineSettings, Then};
pub use operations::{OperationPage, Operations, Selection};
pub use plan_file::PlanFile;
pub(crate) use planning::filled;
pub use policy::{OnFailure, OnInterruption, Policy};
pub use preview::{Certainty, Change, Counts, Preview, PreviewedObject, Risk};
pub use record::{
    AdapterUsed, ClusterUsed, HeldUp, Left, NewOperation, OperationRecord, StepRecord, StepState, UndoKind,
};
pub use retention::{Pruned, Retention};
pub use set::{
    AtATime, Member, MemberPreview, NewOperationSet, OnMemberFailure, OperationSet, OperationSetPage,
};
pub use state::OperationState;
