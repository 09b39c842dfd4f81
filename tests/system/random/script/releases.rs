//! Steps about the one release of the namespace: made, upgraded, rolled back, removed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::NAMESPACE;
use super::{End, Script, config_map, reference};
use crate::kills::Seeded;
use crate::releases::{hook, job};

const PIECES: u64 = 4;
const RELEASE: &str = "rel";
/// When a hook runs.
const EVENTS: &str = "pre-install,pre-upgrade,pre-rollback";

/// What there is of the release when a plan is made.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub revisions: usize,
}

/// What the release is to be like when all is done.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum After {
    #[default]
    AsBefore,
    /// With these objects, by name, and their values.
    Deployed(BTreeMap<String, String>),
    /// As the revision before the newest.
    RolledBack,
    Removed,
}

impl Script {
    /// Once in a plan.
    pub fn release(&mut self, seeded: &mut Seeded, value: &str, standing: Standing) {
        if std::mem::replace(&mut self.has_release, true) {
            return;
        }
        let on_release = |kind: &str| json!({"kind": kind, "name": RELEASE, "namespace": NAMESPACE});
        for gone in ["hook", "hook-job"] {
            self.ends.insert(reference(gone), End::Gone);
        }
        match seeded.below(8) {
            0 if standing.revisions > 0 => {
                self.add(seeded, on_release("remove-release"), &[]);
                self.after = After::Removed;
                self.situations.insert("removal");
            }
            1..=4 if standing.revisions > 1 => {
                self.add(seeded, on_release("rollback-release"), &[]);
                self.after = After::RolledBack;
                self.situations.insert("rollback");
            }
            _ => {
                let mut step = on_release("release");
                step["chart"] = json!({"name": "pieces", "version": "0.1.0", "repository": "https://charts.invented.example"});
                let pieces = self.pieces(seeded, value);
                step["values"] = json!({"objects": pieces});
                self.add(seeded, step, &[]);
            }
        }
    }

    /// The objects of a revision, and perhaps a hook: an object that is made before the others and goes when it is there, or a
    /// program that has to come to its end.
    fn pieces(&mut self, seeded: &mut Seeded, value: &str) -> Vec<Value> {
        let mut pieces = BTreeMap::new();
        for number in 0..PIECES {
            if seeded.below(2) == 0 {
                pieces.insert(format!("piece-{number}"), value.to_owned());
            }
        }
        let objects = pieces
            .iter()
            .map(|(name, value)| config_map(name, &json!({"value": value})));
        let mut objects: Vec<Value> = objects.collect();
        let goes = "before-hook-creation,hook-succeeded,hook-failed";
        match seeded.below(6) {
            0 | 1 => objects.push(hook(
                config_map("hook", &json!({"value": value})),
                EVENTS,
                "0",
                goes,
            )),
            2 | 3 => {
                objects.push(hook(job("hook-job", "0"), EVENTS, "0", goes));
                self.situations.insert("hook job");
            }
            4 if seeded.below(3) == 0 => {
                objects.push(hook(job("hook-job", "1"), EVENTS, "0", goes));
                self.fails = true;
            }
            _ => {}
        }
        self.after = After::Deployed(pieces);
        self.situations.insert("release");
        objects
    }
}
