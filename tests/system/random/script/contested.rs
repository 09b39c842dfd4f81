//! Steps about values that are somebody else's: taken by force, or refused.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{End, Script, config_map, reference};
use crate::kills::Seeded;

const CONTESTED: u64 = 2;

impl Script {
    /// Once in a plan: without force it cannot succeed, as long as the value is somebody's.
    pub fn contested(&mut self, seeded: &mut Seeded, value: &str) {
        if !self.contested.is_empty() {
            return;
        }
        let names: BTreeSet<String> = (0..=seeded.below(2))
            .map(|_| format!("contested-{}", seeded.below(CONTESTED)))
            .collect();
        self.forces = seeded.below(4) > 0;
        self.fails |= !self.forces;
        if self.forces {
            self.situations.insert("force");
        }
        let objects: Vec<Value> = names
            .iter()
            .map(|name| config_map(name, &json!({"value": value})))
            .collect();
        let touched: Vec<String> = names.iter().map(|name| reference(name)).collect();
        self.add(seeded, json!({"kind": "apply", "objects": objects}), &touched);
        for object in touched {
            self.ends.insert(object, End::Value(value.to_owned()));
        }
        self.contested = names;
    }

    /// The objects that somebody owns the value of when the plan is made, by reference, with a value of theirs.
    pub fn of_somebody(&self, value: &str) -> Vec<(String, Value)> {
        let names = self.contested.iter();
        names
            .map(|name| (reference(name), config_map(name, &json!({"value": value}))))
            .collect()
    }
}
