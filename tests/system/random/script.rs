//! Plans that nobody would write: a few steps of any kind, in any order that their objects allow, over a small pool
//! of names, so that plans meet what earlier ones have left.

pub mod derived;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::NAMESPACE;
use crate::kills::Seeded;

const POOL: u64 = 6;
const PIECES: u64 = 4;
const MEMBERS: u64 = 5;
/// What others have made and nobody else may touch.
pub const OTHERS: u64 = 3;
const WORKER: &str = "worker";

/// A plan, and what has to come of it.
#[derive(Debug, Default)]
pub struct Script {
    pub steps: Vec<Value>,
    /// One of its steps cannot succeed.
    pub fails: bool,
    /// What an object is to be like when all is done: its value, or not there.
    pub ends: BTreeMap<String, Option<String>>,
    /// Objects that may be deleted on the way: given back, they are others.
    pub remade: BTreeSet<String>,
    /// Who has touched an object last.
    last: BTreeMap<String, String>,
    has_release: bool,
    has_set: bool,
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
    pub fn make(seeded: &mut Seeded, round: u64) -> Self {
        let mut script = Self::default();
        for number in 0..2 + seeded.below(6) {
            script.step(seeded, &format!("r{round}-{number}"));
        }
        script
    }

    /// A step after whoever has touched the same objects, and after some others.
    fn add(&mut self, seeded: &mut Seeded, mut step: Value, touched: &[String]) {
        let id = format!("step-{}", self.steps.len());
        let mut after: BTreeSet<String> = touched
            .iter()
            .filter_map(|object| self.last.get(object).cloned())
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

    fn step(&mut self, seeded: &mut Seeded, value: &str) {
        match seeded.below(22) {
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
            13 | 14 => self.release(seeded, value),
            15 => self.set(seeded, value),
            16 => self.probe(seeded),
            17 | 18 => self.output(seeded, value),
            19 => self.expand(seeded, value),
            20 => self.refer(seeded),
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
            self.ends.insert(object, Some(value.to_owned()));
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
                self.ends.insert(object, None);
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
            self.ends.insert(reference(name), is_in.then(|| value.to_owned()));
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
        self.ends.insert(reference("probed"), None);
    }

    /// The release, made or upgraded or taken away; once in a plan.
    fn release(&mut self, seeded: &mut Seeded, value: &str) {
        if std::mem::replace(&mut self.has_release, true) {
            return;
        }
        if seeded.below(4) == 0 {
            let step = json!({"kind": "remove-release", "name": "rel", "namespace": NAMESPACE});
            self.add(seeded, step, &[]);
            return;
        }
        let names: Vec<String> = (0..PIECES)
            .filter(|_| seeded.below(2) == 0)
            .map(|n| format!("piece-{n}"))
            .collect();
        let objects: Vec<Value> = names
            .iter()
            .map(|name| config_map(name, &json!({"value": value})))
            .collect();
        let hook = (seeded.below(3) == 0).then(|| hook(value));
        let objects: Vec<Value> = objects.into_iter().chain(hook).collect();
        self.ends.insert(reference("hook"), None);
        let step = json!({
            "kind": "release",
            "name": "rel",
            "namespace": NAMESPACE,
            "chart": {"name": "pieces", "version": "0.1.0", "repository": "https://charts.invented.example"},
            "values": {"objects": objects},
        });
        self.add(seeded, step, &[]);
        for name in names {
            self.ends.insert(reference(&name), Some(value.to_owned()));
        }
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

/// An object of a release that is made before the others and goes when it is there.
fn hook(value: &str) -> Value {
    let mut object = config_map("hook", &json!({"value": value}));
    object["metadata"]["annotations"] = json!({
        "helm.sh/hook": "pre-install,pre-upgrade",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    });
    object
}

fn there() -> Value {
    json!({"ref": reference("others-0"), "rule": "exists"})
}
