//! Helm releases: what one becomes when a plan is made, what is there of it before, and what goes when it is removed.
//!
//! How records are read and written is left to `cluster::release`.

pub(super) mod chart_tests;
mod existing;
pub(super) mod failure;
pub(super) mod hook_ownership;
pub(super) mod hook_runs;
mod kept_values;
mod moment;
pub(super) mod removal;
mod rendering;
pub(super) mod revision_ready;
pub(super) mod steps;
mod takeover;
