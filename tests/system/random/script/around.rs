//! Steps about what others' objects may be in or hang on: a namespace, a definition with its custom resources, and a webhook
//! with nobody behind it, which refuses every change of what came with it.

use serde_json::{Value, json};

use super::super::NAMESPACE;
use super::{End, Script, config_map, reference};
use crate::kills::Seeded;

pub const INNER: &str = "random-inner";
pub const GROUP: &str = "random.example";
pub const API_VERSION: &str = "random.example/v1";
pub const DEFINITION: &str = "things.random.example";
pub const WEBHOOK: &str = "random-guard";
/// What somebody puts into the namespace, and what they make of the definition.
pub const GUEST_INSIDE: &str = "v1/ConfigMap/random-inner/others-guest";
pub const GUEST_THING: &str = "random.example/v1/Thing/random/others-guest";
/// Label of what the webhook has a say in.
const GUARDED: &str = "random.example/guarded";
const THINGS: u64 = 2;

pub fn inner() -> String {
    format!("v1/Namespace//{INNER}")
}

pub fn definition() -> String {
    format!("apiextensions.k8s.io/v1/CustomResourceDefinition//{DEFINITION}")
}

fn webhook() -> String {
    format!("admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration//{WEBHOOK}")
}

/// Somebody's object in the namespace.
pub fn guest_inside() -> Value {
    let mut guest = config_map("others-guest", &json!({"value": "theirs"}));
    guest["metadata"]["namespace"] = INNER.into();
    guest
}

/// Somebody's custom resource.
pub fn guest_thing() -> Value {
    thing("others-guest", "theirs")
}

fn thing(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "Thing",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"value": value},
    })
}

fn things() -> Vec<String> {
    (0..THINGS).map(|number| format!("thing-{number}")).collect()
}

fn thing_reference(name: &str) -> String {
    format!("{API_VERSION}/Thing/{NAMESPACE}/{name}")
}

impl Script {
    /// A namespace with an object in it, made or taken away.
    pub fn namespace(&mut self, seeded: &mut Seeded, value: &str) {
        let inside = format!("v1/ConfigMap/{INNER}/inside");
        let touched = [inner(), inside.clone()];
        if seeded.below(3) > 0 {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": INNER}});
            let mut object = config_map("inside", &json!({"value": value}));
            object["metadata"]["namespace"] = INNER.into();
            self.add(
                seeded,
                json!({"kind": "apply", "objects": [namespace, object]}),
                &touched,
            );
            self.ends.insert(inner(), End::There);
            self.ends.insert(inside, End::Value(value.to_owned()));
            self.situations.insert("namespace");
        } else {
            let targets = json!([{"ref": inside, "when": "always"}, {"ref": inner(), "when": "empty"}]);
            self.add(seeded, json!({"kind": "delete", "targets": targets}), &touched);
            self.ends.insert(inner(), End::Gone);
            self.ends.insert(inside, End::Gone);
            self.remade.extend(touched);
        }
    }

    /// A definition with custom resources, made or taken away; once in a plan.
    pub fn definition(&mut self, seeded: &mut Seeded, value: &str) {
        if std::mem::replace(&mut self.has_definition, true) {
            return;
        }
        let touched: Vec<String> = things()
            .iter()
            .map(|name| thing_reference(name))
            .chain([definition()])
            .collect();
        if seeded.below(2) == 0 {
            let target = json!({"ref": definition(), "when": "with-instances"});
            self.add(seeded, json!({"kind": "delete", "targets": [target]}), &touched);
            self.ends
                .extend(touched.iter().map(|object| (object.clone(), End::Gone)));
            self.remade.extend(touched);
            self.situations.insert("removal of a definition");
            return;
        }
        let mut objects = vec![json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": DEFINITION},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"},
                "versions": [{
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"value": {"type": "string"}}}},
                    }},
                }],
            },
        })];
        self.ends.insert(definition(), End::There);
        for name in things() {
            if seeded.below(3) > 0 {
                objects.push(thing(&name, value));
                self.ends
                    .insert(thing_reference(&name), End::Value(value.to_owned()));
            }
        }
        self.add(seeded, json!({"kind": "apply", "objects": objects}), &touched);
        self.situations.insert("definition");
    }

    /// A webhook that refuses every change of the one object that it has a say in. Once in a plan: it is taken away, and put up
    /// again with the object when that is as it is to be.
    pub fn webhook(&mut self, seeded: &mut Seeded, value: &str) {
        if std::mem::replace(&mut self.has_webhook, true) {
            return;
        }
        let touched = [webhook(), reference("guarded")];
        let target = json!({"ref": webhook(), "when": "always"});
        self.add(seeded, json!({"kind": "delete", "targets": [target]}), &touched);
        self.remade.insert(webhook());
        self.ends.insert(webhook(), End::Gone);
        if seeded.below(4) == 0 {
            return;
        }
        let mut guarded = config_map("guarded", &json!({"value": value}));
        guarded["metadata"]["labels"] = json!({GUARDED: "yes"});
        let guard = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": WEBHOOK},
            "webhooks": [{
                "name": format!("guard.{GROUP}"),
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 1,
                "clientConfig": {"service": {"namespace": NAMESPACE, "name": "nobody"}},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
                "objectSelector": {"matchLabels": {GUARDED: "yes"}},
                "rules": [{
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE", "DELETE"],
                    "resources": ["configmaps"],
                }],
            }],
        });
        self.add(
            seeded,
            json!({"kind": "apply", "objects": [guarded, guard]}),
            &touched,
        );
        self.ends.insert(webhook(), End::There);
        self.ends
            .insert(reference("guarded"), End::Value(value.to_owned()));
        self.situations.insert("webhook");
    }
}
