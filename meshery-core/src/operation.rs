//! Operations: every change to a cluster is a plan that is shown, run, recorded and, if need be, taken back.
//!
//! An adapter returns a plan; from there on nobody needs it. The plan is resolved (charts rendered, removals looked
//! up, objects put into waves) and stored; that is what is previewed and that is what runs. A run writes into the
//! operation's journal before it acts and after, so that whoever comes after a crash knows what was done: resuming
//! and undoing go by the journal and the cluster alone.
//!
//! One operation at a time works on a cluster, whatever its context is called: those of one host wait in a queue, and
//! hosts take turns by a Lease in the cluster. Who loses it stops at once.

pub(crate) mod clock;
mod conduct;
mod consent;
mod engine;
mod expansion;
mod forget;
mod gate;
mod idempotency;
mod journal;
mod live;
mod object;
mod operations;
pub(crate) mod plan;
mod policy;
mod preview;
mod record;
mod recovery;
mod release;
mod retention;
mod run;
pub(crate) mod secret;
mod set;
mod staleness;
mod state;
mod step;
mod stored;
mod turn;
mod undo;

pub use consent::{Consent, Consents, NeededConsent};
pub use journal::event::{Event, EventKind};
pub use journal::event_stream::EventStream;
pub(crate) use operations::{EngineSettings, Then};
pub use operations::{OperationPage, Operations, Selection};
pub use plan::PlanFile;
pub(crate) use plan::filled;
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
