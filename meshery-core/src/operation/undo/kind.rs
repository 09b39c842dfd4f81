//! How well a step can be taken back, as a preview tells it.

use meshery_plugin_api::message::object_ref::ObjectRef;

use crate::operation::plan::stored::{StoredStep, Work};
use crate::operation::record::UndoKind;
use crate::operation::step::hooks::HookPlan;

/// Whether there is more in an object than the cluster's own store has.
pub(super) fn holds_data(object: &ObjectRef) -> bool {
    object.group.is_empty() && matches!(object.kind.as_str(), "PersistentVolumeClaim" | "PersistentVolume")
}

impl StoredStep {
    /// How well it can be taken back, and why not exactly.
    pub fn undo(&self) -> (UndoKind, &'static str) {
        match &self.work {
            Work::Apply { .. } | Work::Record { .. } | Work::TestRuns { .. } => (UndoKind::Exact, ""),
            Work::Hooks { .. } if self.is_final() => (
                UndoKind::Compensating,
                "the hooks' own objects are removed; what their programs did stays",
            ),
            Work::Hooks { .. } => (
                UndoKind::Compensating,
                "the hooks' own objects are removed; what made room for them is made again, with new uids",
            ),
            Work::Delete { .. } if self.is_final() => (
                UndoKind::Compensating,
                "objects are made again from what was stored, with new uids; what controllers kept in them is not, \
                 and the data of volumes is gone",
            ),
            Work::Delete { .. } => (
                UndoKind::Compensating,
                "objects are made again from what was stored, with new uids; what controllers kept in them is not",
            ),
            Work::Wait { .. } | Work::Probe { .. } | Work::Gate(_) => (UndoKind::None, "it changes nothing"),
            Work::Expand(_) => (UndoKind::None, "the steps that it becomes are taken back"),
            Work::Restart { .. } => (UndoKind::None, "pods that were replaced do not come back"),
            Work::RestartInUndo { .. } => (
                UndoKind::Compensating,
                "it restarts workloads when what follows has been taken back",
            ),
        }
    }

    /// Whether something of what it does is done for good: pods that are replaced, programs that run, data that goes.
    pub fn is_final(&self) -> bool {
        match &self.work {
            Work::Restart { .. } => true,
            Work::Hooks { hooks, .. } => hooks.iter().any(HookPlan::runs),
            Work::Delete { waves, .. } => waves.iter().flatten().any(|target| holds_data(&target.object)),
            Work::Apply { .. }
            | Work::Record { .. }
            | Work::TestRuns { .. }
            | Work::Wait { .. }
            | Work::Probe { .. }
            | Work::RestartInUndo { .. }
            | Work::Gate(_)
            | Work::Expand(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use meshery_plugin_api::message::plan::Condition;

    use super::*;
    use crate::operation::plan::stored::DeleteTarget;
    use crate::provider::BlobRef;

    fn step(work: Work) -> StoredStep {
        StoredStep {
            id: "step".into(),
            title: String::new(),
            kind: String::new(),
            after: Vec::new(),
            deadline_s: 0,
            verify: false,
            outputs: BTreeMap::new(),
            holds_back: false,
            work,
        }
    }

    fn hooks(api_version: &str, kind: &str) -> StoredStep {
        step(Work::Hooks {
            event: "pre-install".into(),
            content: BlobRef::of(b""),
            hooks: vec![HookPlan {
                object: ObjectRef::new(api_version, kind, "space", "name"),
                source: String::new(),
                delete_policies: Vec::new(),
            }],
            release: None,
        })
    }

    fn deletion(api_version: &str, kind: &str) -> StoredStep {
        step(Work::Delete {
            waves: vec![vec![DeleteTarget {
                object: ObjectRef::new(api_version, kind, "space", "name"),
                when: Condition::Always,
                uid: None,
                set: None,
            }]],
            kept: Vec::new(),
            removes: None,
        })
    }

    #[test]
    fn programs_that_run_and_volumes_that_go_are_for_good_and_say_why() {
        for (step, why) in [
            (hooks("batch/v1", "Job"), "what their programs did stays"),
            (hooks("v1", "Pod"), "what their programs did stays"),
            (
                deletion("v1", "PersistentVolumeClaim"),
                "the data of volumes is gone",
            ),
            (deletion("v1", "PersistentVolume"), "the data of volumes is gone"),
            (
                step(Work::Restart {
                    workloads: Vec::new(),
                }),
                "do not come back",
            ),
        ] {
            assert!(step.is_final() && step.undo().1.contains(why), "{step:?}");
        }
        for step in [
            hooks("v1", "ConfigMap"),
            hooks("example.io/v1", "Job"),
            deletion("v1", "ConfigMap"),
        ] {
            let (_, because) = step.undo();
            assert!(!step.is_final() && because.contains("new uids"), "{step:?}");
            assert!(
                !because.contains("program") && !because.contains("volumes"),
                "{step:?}"
            );
        }
    }
}
