//! What steps do: a module for each kind of work, which a [`Run`](super::run::Run) calls when the step's turn has come.
//!
//! Each writes into the journal before it acts and after. What comes before and after the steps is left to others.

pub(super) mod apply;
mod delete;
pub(super) mod hooks;
pub(super) mod outputs;
mod presence;
mod probe;
mod record;
pub(super) mod restart;
mod test_runs;
pub(super) mod wait;
