//! The moments of a release's life that make a new revision, in Helm's words.

use crate::cluster::release::Status;

/// Why there is a new revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operation) enum Moment {
    Install,
    Upgrade,
    /// Back to a revision.
    Rollback(u32),
}

impl Moment {
    /// As hooks name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Rollback(_) => "rollback",
        }
    }

    /// While somebody is at work.
    pub fn pending(self) -> Status {
        match self {
            Self::Install => Status::PendingInstall,
            Self::Upgrade => Status::PendingUpgrade,
            Self::Rollback(_) => Status::PendingRollback,
        }
    }

    /// What Helm says meanwhile.
    pub fn underway(self) -> String {
        match self {
            Self::Install => "Initial install underway".into(),
            Self::Upgrade => "Preparing upgrade".into(),
            Self::Rollback(revision) => format!("Rollback to {revision}"),
        }
    }

    /// What Helm says in the end.
    pub fn complete(self) -> String {
        match self {
            Self::Install => "Install complete".into(),
            Self::Upgrade => "Upgrade complete".into(),
            Self::Rollback(revision) => format!("Rollback to {revision}"),
        }
    }
}
