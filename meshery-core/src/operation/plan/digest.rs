//! A digest of what a plan would do, which is the same for two plans that would do the same.
//!
//! Planned twice, a plan is not the same byte for byte: charts that make certificates make others each time, and records
//! of releases have times in them. So what may differ without meaning anything is left out: the contents of Secrets (not
//! the names of their keys), `caBundle`s, and annotations that are checksums of such contents. Everything else of every
//! object counts, and so do the request and the policy.

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::{Map, Value, json};

use super::stored::{StoredPlan, StoredStep, Work, load_waves};
use crate::cluster::chart::sha256;
use crate::operation::record::OperationRecord;
use crate::operation::secret::seal::HostKey;
use crate::problem::Problem;
use crate::provider::Store;

/// What stands for a value that is left out.
const MASK: &str = "(not compared)";

/// The digest of a stored plan, as `sha256:...`.
pub(in crate::operation) async fn digest(
    store: &Store,
    key: &HostKey,
    record: &OperationRecord,
    plan: &StoredPlan,
) -> Result<String, Problem> {
    let mut steps = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        steps.push(step_of(store, key, &record.id, step).await?);
    }
    let whole = json!({
        "adapter": record.adapter.name,
        "operation": record.operation,
        "parameters": record.parameters,
        "policy": record.policy,
        "images": record.images,
        "cluster": record.cluster.uid,
        "steps": steps,
    });
    let mut text = String::new();
    write(&whole, &mut text);
    // Placeholders are others each time.
    let text = plan.references.name_references(&text);
    Ok(format!("sha256:{}", sha256(text.as_bytes())))
}

async fn step_of(store: &Store, key: &HostKey, id: &str, step: &StoredStep) -> Result<Value, Problem> {
    let contents = async |content| -> Result<Vec<Value>, Problem> {
        let waves = load_waves(store, key, id, content).await?;
        Ok(waves.into_iter().flatten().map(normal).collect())
    };
    let work = match &step.work {
        Work::Apply {
            manager,
            content,
            release,
            uses,
            ..
        } => {
            json!({"manager": manager, "release": release, "uses": uses, "objects": contents(content).await?})
        }
        Work::Hooks {
            event,
            content,
            hooks,
            release,
        } => json!({"event": event, "release": release, "hooks": hooks, "objects": contents(content).await?}),
        // What is in it is what the objects say; times and certificates are in it too.
        Work::Record { makes, changes } => json!({
            "makes": makes.as_ref().map(|new| json!([new.release, new.revision, new.secret, new.status])),
            "changes": changes,
        }),
        Work::Probe {
            reference, expect, ..
        } => json!([reference, expect]),
        work => json!(work),
    };
    Ok(json!({
        "id": step.id,
        "kind": step.kind,
        "after": step.after,
        "deadline": step.deadline_s,
        "verify": step.verify,
        "outputs": step.outputs,
        "work": work,
    }))
}

/// An object without what may differ between two plans of the same.
pub(super) fn normal(mut object: Value) -> Value {
    let is_secret = ObjectRef::of(&object).is_some_and(|of| super::stored::holds_secrets(&of));
    if is_secret {
        for part in ["data", "stringData"] {
            if let Some(data) = object.get_mut(part).and_then(Value::as_object_mut) {
                for value in data.values_mut() {
                    *value = MASK.into();
                }
            }
        }
    }
    mask(&mut object);
    object
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if is_masked(name) && !value.is_null() {
                    *value = MASK.into();
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

/// Whether a field has this name because its value is a certificate or the checksum of one.
fn is_masked(name: &str) -> bool {
    name == "caBundle" || name.starts_with("checksum/")
}

/// Whether a field at this path of a preview is one of those.
pub(super) fn is_masked_path(path: &str) -> bool {
    path.ends_with("caBundle")
        || path.contains("checksum/")
        || path.contains("kubectl.kubernetes.io/restartedAt")
}

/// JSON with sorted keys and nothing between.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => write_fields(fields, text),
        Value::Array(items) => {
            text.push('[');
            for (nth, item) in items.iter().enumerate() {
                if nth > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

fn write_fields(fields: &Map<String, Value>, text: &mut String) {
    let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    text.push('{');
    for (nth, (name, value)) in sorted.into_iter().enumerate() {
        if nth > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(name.as_str()).to_string());
        text.push(':');
        write(value, text);
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_and_their_checksums_are_left_out_and_everything_else_counts() {
        let webhook = |bundle: &str, name: &str| {
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": name}, "webhooks": [{"clientConfig": {"caBundle": bundle}}]})
        };
        assert_eq!(normal(webhook("a", "x")), normal(webhook("b", "x")));
        assert_ne!(normal(webhook("a", "x")), normal(webhook("a", "y")));
        let secret = |value: &str, key: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "n"}, "data": {key: value}});
        assert_eq!(normal(secret("a", "tls.key")), normal(secret("b", "tls.key")));
        assert_ne!(normal(secret("a", "tls.key")), normal(secret("a", "other")));
        let config = |sum: &str, value: &str| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "n",
                "annotations": {"checksum/config": sum}}, "data": {"k": value}})
        };
        assert_eq!(normal(config("1", "a")), normal(config("2", "a")));
        assert_ne!(normal(config("1", "a")), normal(config("1", "b")));
    }

    #[test]
    fn the_order_of_keys_makes_no_difference() {
        let text = |json: &str| {
            let mut text = String::new();
            write(&serde_json::from_str(json).unwrap(), &mut text);
            text
        };
        assert_eq!(
            text(r#"{"b": [1, {"d": null, "c": "\""}], "a": true}"#),
            r#"{"a":true,"b":[1,{"c":"\"","d":null}]}"#
        );
        assert_eq!(text(r#"{"a": 1, "b": 2}"#), text(r#"{"b": 2, "a": 1}"#));
        assert_ne!(text("[1,2]"), text("[2,1]"));
    }
}
