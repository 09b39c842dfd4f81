//! What a cluster has of a release before a plan touches it, and what a new revision makes of that.

use std::collections::BTreeMap;

use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::RollbackRelease;

use super::moment::Moment;
use super::removal::target;
use crate::cluster::release::{Record, Revision, Status};
use crate::operation::consent::{Consent, NeededConsent};
use crate::operation::plan::resolve::{Resolved, Resolver};
use crate::operation::plan::stored::{ReleaseName, StatusChange, Work};
use crate::problem::{Problem, ProblemKind};

/// What a cluster has of a release.
pub(super) struct Existing {
    revisions: Vec<Revision>,
    /// Of the revision deployed last, and of those begun since: their objects may be there.
    pub records: Vec<Record>,
}

impl Existing {
    pub async fn read(resolver: &Resolver<'_>, name: &ReleaseName) -> Result<Self, Problem> {
        let cluster = resolver.cluster;
        let revisions = cluster.revisions(&name.namespace, &name.name).await?;
        let mut records = Vec::new();
        for revision in present(&revisions) {
            if let Some((record, _)) = cluster.record_of(&revision.secret).await? {
                records.push(record);
            }
        }
        Ok(Self { revisions, records })
    }

    /// The number of the next revision.
    pub fn next(&self) -> u32 {
        let latest = self.revisions.last();
        latest.map_or(1, |revision| revision.number.saturating_add(1))
    }

    /// Whether objects of it may be there.
    pub fn is_installed(&self) -> bool {
        !self.records.is_empty()
    }

    pub fn latest(&self) -> Option<&Revision> {
        self.revisions.last()
    }

    /// The labels that somebody has given the release, as helm carries them on: an upgrade those of the latest revision, a
    /// rollback those of the one that it goes back to.
    pub fn labels(&self, moment: Moment) -> BTreeMap<String, String> {
        let revision = match moment {
            Moment::Install => None,
            Moment::Upgrade => self.latest(),
            Moment::Rollback(number) => self.revisions.iter().find(|revision| revision.number == number),
        };
        revision
            .map(|revision| revision.labels.clone())
            .unwrap_or_default()
    }

    pub fn record(&self) -> Option<&Record> {
        self.records.last()
    }

    /// Of the revision that is deployed, or of the latest where none is: what was set in one that failed was never in force.
    pub fn deployed(&self) -> Option<&Record> {
        let deployed = |record: &&Record| record.text("/info/status") == Status::Deployed.to_string();
        self.records.iter().rev().find(deployed).or_else(|| self.record())
    }

    /// The record to go back to: of this revision, or, for zero, of the last one before the latest that was ever deployed.
    pub async fn earlier(
        &self,
        resolver: &Resolver<'_>,
        name: &ReleaseName,
        release: &RollbackRelease,
    ) -> Result<(u32, Record), Problem> {
        let wanted = self
            .revisions
            .iter()
            .rev()
            .skip(usize::from(release.revision == 0))
            .find(|revision| match release.revision {
                0 => matches!(revision.status, Status::Superseded | Status::Deployed),
                number => revision.number == number,
            });
        let record = match wanted {
            None => None,
            Some(revision) => {
                let read = resolver.cluster.record_of(&revision.secret).await?;
                read.map(|(record, _)| (revision.number, record))
            }
        };
        record.ok_or_else(|| no_revision(name, release.revision, &self.revisions))
    }

    /// When its first revision was installed.
    pub fn first_deployed(&self) -> Option<String> {
        let record = self.records.first()?;
        Some(record.text("/info/first_deployed").to_owned()).filter(|text| !text.is_empty())
    }

    pub fn secrets(&self) -> impl Iterator<Item = (ObjectRef, String)> {
        self.revisions
            .iter()
            .map(|revision| (revision.secret.clone(), revision.uid.clone()))
    }
}

/// The revisions whose objects may be there.
fn present(revisions: &[Revision]) -> &[Revision] {
    let deployed = revisions
        .iter()
        .rposition(|revision| revision.status == Status::Deployed);
    let gone = revisions
        .iter()
        .rposition(|revision| revision.status == Status::Uninstalled)
        .map(|at| at + 1);
    &revisions[deployed.max(gone).unwrap_or(0)..]
}

impl Resolver<'_> {
    /// What the cluster has of a release; somebody who may be at work on it is a reason to ask.
    pub(super) async fn existing(
        &self,
        name: &ReleaseName,
        resolved: &mut Resolved,
    ) -> Result<Existing, Problem> {
        let existing = Existing::read(self, name).await?;
        if let Some(latest) = existing.latest().filter(|latest| latest.status.is_pending()) {
            let since = existing
                .record()
                .map_or("", |record| record.text("/info/last_deployed"));
            resolved.needs_consent.push(NeededConsent {
                consent: Consent::RecoverRelease,
                why: format!(
                    "revision {} of release {} in namespace {} is {} since {since}: helm, or another host, is at work \
                     on it, or was killed",
                    latest.number, name.name, name.namespace, latest.status
                ),
            });
        }
        Ok(existing)
    }
}

/// Records that are more than are to be kept, the oldest first; never one whose objects may be there.
pub(super) fn outdated(existing: &Existing, history: u32) -> Option<Work> {
    let there = existing.revisions.len();
    let old = there - present(&existing.revisions).len();
    let most = usize::try_from(history).unwrap_or(usize::MAX);
    // With the one that comes.
    let excess = (there + 1).saturating_sub(most).min(old);
    let targets = existing.revisions[..excess]
        .iter()
        .map(|revision| target(revision.secret.clone(), revision.uid.clone()))
        .collect();
    (excess > 0).then(|| Work::Delete {
        waves: vec![targets],
        kept: Vec::new(),
        removes: None,
    })
}

/// What the new revision takes the place of.
pub(in crate::operation) fn superseded(existing: &Existing) -> impl Iterator<Item = StatusChange> {
    present(&existing.revisions)
        .iter()
        .filter(|revision| revision.status == Status::Deployed || revision.status.is_pending())
        .map(|revision| StatusChange {
            secret: revision.secret.clone(),
            status: Status::Superseded.to_string(),
            description: String::new(),
            hooks: Vec::new(),
        })
}

pub(super) fn no_release(name: &ReleaseName) -> Problem {
    Problem::new(
        ProblemKind::NotFound,
        "unknown-release",
        format!(
            "there is no release {} in namespace {}",
            name.name, name.namespace
        ),
    )
    .remedy("`helm list` shows the releases there are")
}

fn no_revision(name: &ReleaseName, wanted: u32, revisions: &[Revision]) -> Problem {
    if revisions.is_empty() {
        return no_release(name);
    }
    let known: Vec<String> = revisions
        .iter()
        .map(|revision| format!("{} ({})", revision.number, revision.status))
        .collect();
    let wanted = match wanted {
        0 => "no revision before the present one".to_owned(),
        number => format!("no revision {number}"),
    };
    Problem::new(
        ProblemKind::NotFound,
        "unknown-revision",
        format!(
            "release {} in namespace {} has {wanted}",
            name.name, name.namespace
        ),
    )
    .remedy(format!("use one of {}", known.join(", ")))
}
