//! Plans that nobody would write: a few steps of any kind, in any order that their objects allow, over a small pool
//! of names, so that plans meet what earlier ones have left.

pub mod around;
mod contested;
pub mod derived;
pub mod releases;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::NAMESPACE;
use crate::kills::Seeded;
use releases::{After, Standing};

const POOL: u64 = 6;
const MEMBERS: u64 = 5;
/// What others have made and nobody else may touch.
pub const OTHERS: u64 = 3;
const WORKER: &str = "worker";

/// What an object is to be like when all is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Value(String),
    There,
    Gone,
}

/// A plan, and what has to come of it.
#[derive(Debug, Default)]
pub struct Script {
    pub steps: Vec<Value>,
    /// One of its steps cannot succeed.
    pub fails: bool,
    pub ends: BTreeMap<String, End>,
    /// What the release is to be like.
    pub after: After,
    /// Objects that may be deleted on the way: given back, they are others.
    pub remade: BTreeSet<String>,
    /// What is in it that not every plan has.
    pub situations: BTreeSet<&'static str>,
    /// Objects with a value that is somebody's, who is to hold it when the plan is made.
    pub contested: BTreeSet<String>,
    /// Such values are taken.
    pub forces: bool,
    /// Who has touched an object last.
    last: BTreeMap<String, String>,
    /// What every step comes after.
    barrier: Option<String>,
    has_release: bool,
    has_set: bool,
    has_definition: bool,
    has_webhook: bool,
    /// One of its objects has what a Secret of others holds.
    refers: bool,
}

pub fn pooled(seeded: &mut Seeded) -> String {
    format!("pool-{}", seeded.below(POOL))
}

pub fn config_map(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": data,
    })
}

fn reference(name: &str) -> String {
    format!("v1/ConfigMap/{NAMESPACE}/{name}")
}

fn worker() -> String {
    format!("apps/v1/Deployment/{NAMESPACE}/{WORKER}")
}

impl Script {
    /// A plan on what stands, with a gate in its midst if that is asked for.
    pub fn make(seeded: &mut Seeded, round: u64, standing: Standing, gated: bool) -> Self {
        let mut script = Self::default();
        let steps = 2 + seeded.below(6);
        for number in 0..steps {
            if gated && number == steps / 2 {
                script.gate();
            }
            script.step(seeded, &format!("r{round}-{number}"), standing);
        }
        script
    }

    /// About how many writes it takes.
    pub fn writes(&self) -> u64 {
        let count = |value: &Value| value.as_array().map_or(0, |items| items.len() as u64);
        let of_steps = self.steps.iter().map(|step| {
            let lists = ["objects", "targets", "items", "workloads"];
            let listed: u64 = lists.iter().map(|list| count(&step[list])).sum();
            listed + count(&step["values"]["objects"])
        });
        of_steps.sum::<u64>().max(1)
    }

    /// Somebody has to say yes before anything more is done.
    fn gate(&mut self) {
        let id = format!("step-{}", self.steps.len());
        let before: Vec<&Value> = self.steps.iter().map(|step| &step["id"]).collect();
        let gate = json!({"id": id, "title": "a gate", "kind": "gate", "reason": "others first", "approval": true, "after": before});
        self.steps.push(gate);
        self.barrier = Some(id);
    }

    /// A step after whoever has touched the same objects, and after some others.
    fn add(&mut self, seeded: &mut Seeded, mut step: Value, touched: &[String]) {
        let id = format!("step-{}", self.steps.len());
        let mut after: BTreeSet<String> = touched
            .iter()
            .filter_map(|object| self.last.get(object).cloned())
            .chain(self.barrier.clone())
            .collect();
        for earlier in &self.steps {
            if seeded.below(3) == 0 {
                after.insert(earlier["id"].as_str().unwrap_or_default().to_owned());
            }
        }
        for object in touched {
            self.last.insert(object.clone(), id.clone());
        }
        step["id"] = id.into();
        step["title"] = "a step".into();
        step["after"] = after.into_iter().collect();
        self.steps.push(step);
    }

    fn step(&mut self, seeded: &mut Seeded, value: &str, standing: Standing) {
        match seeded.below(30) {
            0..=4 => self.apply(seeded, value),
            5 => self.bulk(seeded, value),
            6 | 7 => self.delete(seeded),
            8 => {
                // What others have made stays.
                let other = reference(&format!("others-{}", seeded.below(OTHERS)));
                let step = json!({"kind": "delete", "targets": [{"ref": other, "when": "ours"}]});
                self.add(seeded, step, &[]);
            }
            9 => self.work(seeded),
            10 => {
                let step = json!({"kind": "wait", "deadline_s": 20, "for": [there()]});
                self.add(seeded, step, &[]);
            }
            11 => {
                let mut gate = json!({"kind": "gate", "reason": "by chance"});
                if seeded.below(2) == 0 {
                    gate["approval"] = true.into();
                } else {
                    gate["for"] = json!([there()]);
                }
                self.add(seeded, gate, &[]);
            }
            12 => self.material(seeded),
            13 | 14 | 22 | 23 => self.release(seeded, value, standing),
            15 => self.set(seeded, value),
            16 => self.probe(seeded),
            17 | 18 => self.output(seeded, value),
            19 => self.expand(seeded, value),
            20 => self.refer(seeded),
            24 => self.namespace(seeded, value),
            25 | 29 => self.definition(seeded, value),
            26 => self.webhook(seeded, value),
            27 | 28 => self.contested(seeded, value),
            _ => self.fail(seeded),
        }
    }

    fn apply(&mut self, seeded: &mut Seeded, value: &str) {
        let names: BTreeSet<String> = (0..=seeded.below(3)).map(|_| pooled(seeded)).collect();
        self.apply_all(seeded, names, value);
    }

    fn bulk(&mut self, seeded: &mut Seeded, value: &str) {
        let count = 10 + seeded.below(30);
        self.apply_all(
            seeded,
            (0..count).map(|n| format!("bulk-{n:02}")).collect(),
            value,
        );
    }

    fn apply_all(&mut self, seeded: &mut Seeded, names: BTreeSet<String>, value: &str) {
        let objects: Vec<Value> = names
            .iter()
            .map(|name| config_map(name, &json!({"value": value})))
            .collect();
        let touched: Vec<String> = names.iter().map(|name| reference(name)).collect();
        self.add(seeded, json!({"kind": "apply", "objects": objects}), &touched);
        for object in touched {
            self.ends.insert(object, End::Value(value.to_owned()));
        }
    }

    fn delete(&mut self, seeded: &mut Seeded) {
        let names: BTreeSet<String> = (0..=seeded.below(2)).map(|_| pooled(seeded)).collect();
        let touched: Vec<String> = names.iter().map(|name| reference(name)).collect();
        let always = seeded.below(3) > 0;
        let when = if always { "always" } else { "ours" };
        let targets: Vec<Value> = touched
            .iter()
            .map(|object| json!({"ref": object, "when": when}))
            .collect();
        self.add(seeded, json!({"kind": "delete", "targets": targets}), &touched);
        for object in touched {
            self.remade.insert(object.clone());
            if always {
                self.ends.insert(object, End::Gone);
            } else {
                // Whether it was ours is the journal's to say.
                self.ends.remove(&object);
            }
        }
    }

    /// A Deployment, made ready, and perhaps restarted.
    fn work(&mut self, seeded: &mut Seeded) {
        let labels = json!({"app": WORKER});
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": WORKER, "namespace": NAMESPACE},
            "spec": {
                "replicas": 1 + seeded.below(2),
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "worker", "image": "registry.example/worker:1.0.0"}]},
                },
            },
        });
        let touched = [worker()];
        self.add(
            seeded,
            json!({"kind": "apply", "objects": [deployment]}),
            &touched,
        );
        if seeded.below(2) == 0 {
            self.add(
                seeded,
                json!({"kind": "restart", "workloads": [worker()]}),
                &touched,
            );
        }
        let ready = json!({"ref": worker(), "rule": "ready"});
        self.add(
            seeded,
            json!({"kind": "wait", "deadline_s": 40, "for": [ready]}),
            &touched,
        );
    }

    fn material(&mut self, seeded: &mut Seeded) {
        let secret = format!("v1/Secret/{NAMESPACE}/secret-{}", seeded.below(2));
        let item = json!({
            "ref": secret,
            "replace": seeded.below(2) == 0,
            "entries": {"key": {"make": "random", "bytes": 32}},
        });
        self.add(seeded, json!({"kind": "material", "items": [item]}), &[secret]);
    }

    /// All that a set has, once in a plan; what it had before and does not have now goes.
    fn set(&mut self, seeded: &mut Seeded, value: &str) {
        if std::mem::replace(&mut self.has_set, true) {
            return;
        }
        let all: Vec<String> = (0..MEMBERS).map(|n| format!("member-{n}")).collect();
        let touched: Vec<String> = all.iter().map(|name| reference(name)).collect();
        let mut objects = Vec::new();
        for name in &all {
            let is_in = objects.is_empty() || seeded.below(2) == 0;
            if is_in {
                objects.push(config_map(name, &json!({"value": value})));
            }
            let end = if is_in {
                End::Value(value.to_owned())
            } else {
                End::Gone
            };
            self.ends.insert(reference(name), end);
        }
        let step = json!({"kind": "apply", "objects": objects, "set": "members", "prune": true});
        self.add(seeded, step, &touched);
        self.remade.extend(touched);
    }

    /// The server is asked about an object that nobody makes.
    fn probe(&mut self, seeded: &mut Seeded) {
        let object = config_map("probed", &json!({"value": "asked"}));
        let step = json!({"kind": "probe", "object": object, "expect": {"its value": "/data/value"}});
        self.add(seeded, step, &[]);
        self.ends.insert(reference("probed"), End::Gone);
    }

    fn fail(&mut self, seeded: &mut Seeded) {
        if seeded.below(2) == 0 {
            return;
        }
        self.fails = true;
        let step = if seeded.below(2) == 0 {
            let never = json!({"ref": reference("never"), "rule": "exists"});
            json!({"kind": "wait", "deadline_s": 1, "for": [never]})
        } else {
            json!({"kind": "apply", "objects": [config_map("bad", &json!({"no key!": "x"}))]})
        };
        self.add(seeded, step, &[]);
    }
}

fn there() -> Value {
    json!({"ref": reference("others-0"), "rule": "exists"})
}
