//! Helm's releases as they lie in a cluster: the marks on their objects and the records of their revisions.
//!
//! What we install is Helm's own in every respect: `helm list`, `status`, `history`, `upgrade`, `rollback` and
//! `uninstall` work on it, and what the program itself installed is upgraded and removed by us. So the records are
//! read and written just as the program does, in the form that its versions 3 and 4 share.

mod hook_run;
pub mod marks;
mod record;
mod revisions;
mod status;

pub(crate) use hook_run::HookRun;
pub(crate) use record::{NewRecord, Record, RecordFault, Status, hook_of};
pub(crate) use revisions::{LatestRevision, Revision, record_reference};
pub(crate) use status::{MANAGER, Standing, secret_of, status_of};
