//! Steps whose objects have something from elsewhere: from an earlier step, from the adapter in the midst of the
//! operation, or from a Secret.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::NAMESPACE;
use super::{End, Script, config_map, reference};
use crate::kills::Seeded;

const COPIES: u64 = 3;
/// What a Secret of others holds.
const SECRET: &str = "what nobody is told";

/// The Secret that is referred to.
pub fn referred() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "others-secret", "namespace": NAMESPACE},
        "data": {"value": STANDARD.encode(SECRET)},
    })
}

/// Where a value is taken from: the output `value` of a step.
#[derive(Debug)]
struct Source {
    step: String,
    value: String,
}

impl Script {
    /// What the operation is asked with.
    pub fn parameters(&self) -> Value {
        let mut secrets = BTreeMap::new();
        if self.refers {
            let reference = json!({"namespace": NAMESPACE, "name": "others-secret", "key": "value"});
            secrets.insert("SECRET", json!({"secretRef": reference}));
        }
        json!({"steps": self.steps, "secrets": secrets})
    }

    /// A step that leaves the value of what it applies.
    fn source(&mut self, seeded: &mut Seeded, value: &str) -> Source {
        let name = format!("source-{}", self.steps.len());
        let object = reference(&name);
        let step = json!({
            "kind": "apply",
            "objects": [config_map(&name, &json!({"value": value}))],
            "outputs": {"value": {"ref": object, "path": "/data/value"}},
        });
        self.ends.insert(object.clone(), End::Value(value.to_owned()));
        self.add(seeded, step, std::slice::from_ref(&object));
        Source {
            step: self.last[&object].clone(),
            value: value.to_owned(),
        }
    }

    /// An object that gets what an earlier step leaves.
    pub fn output(&mut self, seeded: &mut Seeded, value: &str) {
        let source = self.source(seeded, value);
        let name = format!("derived-{}", seeded.below(COPIES));
        let step = self.of_source(&source, &name);
        self.add_after(seeded, step, &name, &source);
    }

    /// The same, by a step that the adapter says only when the operation has come to it.
    pub fn expand(&mut self, seeded: &mut Seeded, value: &str) {
        let source = self.source(seeded, value);
        let name = format!("expanded-{}", seeded.below(COPIES));
        let mut step = self.of_source(&source, &name);
        let id = format!("step-{}", self.steps.len());
        step["id"] = format!("{id}-1").into();
        step["title"] = "a step of an expansion".into();
        let expand = json!({
            "kind": "expand",
            "what": "steps",
            "with": {"steps": [step]},
            "within": {"namespaces": [NAMESPACE]},
        });
        self.add_after(seeded, expand, &name, &source);
    }

    fn of_source(&mut self, source: &Source, name: &str) -> Value {
        let value = format!("of ${{{}.value}}", source.step);
        self.ends
            .insert(reference(name), End::Value(format!("of {}", source.value)));
        json!({
            "kind": "apply",
            "objects": [config_map(name, &json!({"value": value}))],
            "uses": [format!("{}.value", source.step)],
        })
    }

    fn add_after(&mut self, seeded: &mut Seeded, step: Value, name: &str, source: &Source) {
        let object = reference(name);
        self.add(seeded, step, &[object]);
        let Some(after) = self
            .steps
            .last_mut()
            .and_then(|step| step["after"].as_array_mut())
        else {
            return;
        };
        let source = Value::from(source.step.clone());
        if !after.contains(&source) {
            after.push(source);
        }
    }

    /// A Secret with what a Secret of others holds.
    pub fn refer(&mut self, seeded: &mut Seeded) {
        self.refers = true;
        let name = format!("referring-{}", seeded.below(COPIES));
        let object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {"value": "@base64:SECRET@"},
        });
        let touched = format!("v1/Secret/{NAMESPACE}/{name}");
        self.ends
            .insert(touched.clone(), End::Value(STANDARD.encode(SECRET)));
        self.add(seeded, json!({"kind": "apply", "objects": [object]}), &[touched]);
    }
}
