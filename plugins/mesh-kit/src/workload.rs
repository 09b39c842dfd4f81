//! Health and version of a workload, from its own words.

use meshery_plugin_api::message::finding::Health;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Readiness, Rule};
use semver::Version;
use serde_json::Value;

use crate::object::{name, namespace, text};
use crate::step::holds;

/// What builders add to a version to name a variant of the image. To semver they look like candidates.
const VARIANTS: [&str; 5] = ["-distroless", "-debug", "-alpine", "-ubi", "-fips"];

/// Whether a Deployment works, and why it has that health.
pub fn deployment_health(deployment: &Value) -> (Health, String) {
    let number = |pointer| deployment.pointer(pointer).and_then(Value::as_u64);
    let wanted = number("/spec/replicas").unwrap_or(1);
    if deployment.get("status").is_none() || deployment.get("spec").is_none() {
        return (Health::Unknown, "its status was not read".into());
    }
    let (generation, observed) = (
        number("/metadata/generation").unwrap_or(0),
        number("/status/observedGeneration").unwrap_or(0),
    );
    let available = number("/status/availableReplicas").unwrap_or(0);
    let updated = number("/status/updatedReplicas").unwrap_or(0);
    let reason = format!("{available} of {wanted} replicas available");
    if observed < generation {
        (
            Health::Degraded,
            format!("generation {generation} is not yet taken up; {reason}"),
        )
    } else if wanted == 0 {
        (Health::Degraded, "scaled to 0 replicas".into())
    } else if available < wanted {
        let why = condition_message(deployment);
        let reason = if why.is_empty() {
            reason
        } else {
            format!("{reason}: {why}")
        };
        (Health::Degraded, reason)
    } else if updated < wanted {
        (
            Health::Degraded,
            format!("{updated} of {wanted} replicas have the newest template"),
        )
    } else {
        (Health::Healthy, reason)
    }
}

/// What the first condition that speaks of trouble says.
fn condition_message(deployment: &Value) -> &str {
    let conditions = deployment.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .find(|condition| match text(condition, "/type") {
            "ReplicaFailure" => text(condition, "/status") == "True",
            "Progressing" => text(condition, "/status") == "False",
            _ => false,
        })
        .map_or("", |condition| text(condition, "/message"))
}

/// The image of a container in a workload's pod template.
pub fn image<'a>(workload: &'a Value, container: &str) -> Option<&'a str> {
    let containers = workload.pointer("/spec/template/spec/containers")?.as_array()?;
    containers
        .iter()
        .find(|c| text(c, "/name") == container)
        .map(|c| text(c, "/image"))
}

/// The version in an image's tag, without the name of a variant. A digest says nothing about it.
pub fn image_version(image: &str) -> Option<Version> {
    let image = image.split('@').next().unwrap_or("");
    let (_, tag) = image.rsplit('/').next().unwrap_or("").rsplit_once(':')?;
    let tag = tag.strip_prefix('v').unwrap_or(tag);
    let plain = VARIANTS
        .iter()
        .find_map(|variant| tag.strip_suffix(variant))
        .unwrap_or(tag);
    Version::parse(plain).ok()
}

/// The reference of a Deployment that was read.
pub fn deployment_ref(deployment: &Value) -> ObjectRef {
    ObjectRef::new("apps/v1", "Deployment", namespace(deployment), name(deployment))
}

/// Ready Deployments, as conditions to wait for.
pub fn deployments_ready<'a>(namespace: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<Readiness> {
    names
        .into_iter()
        .map(|name| {
            holds(
                Rule::Ready,
                ObjectRef::new("apps/v1", "Deployment", namespace, name),
            )
        })
        .collect()
}

/// Services with a ready endpoint, as conditions to wait for.
pub fn services_answer<'a>(namespace: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<Readiness> {
    names
        .into_iter()
        .map(|name| holds(Rule::Endpoints, ObjectRef::new("v1", "Service", namespace, name)))
        .collect()
}

/// Whether a `DaemonSet` runs on each node that it is for, and why not.
pub fn daemon_set_health(object: &Value) -> (Health, String) {
    let number = |pointer| object.pointer(pointer).and_then(Value::as_u64);
    let (Some(wanted), Some(ready)) = (
        number("/status/desiredNumberScheduled"),
        number("/status/numberReady"),
    ) else {
        return (Health::Unknown, "its status was not read".into());
    };
    let health = if ready < wanted {
        Health::Degraded
    } else {
        Health::Healthy
    };
    (health, format!("{ready} of {wanted} nodes ready"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(spec: &Value, status: &Value) -> (Health, String) {
        deployment_health(&json!({"metadata": {"generation": 2}, "spec": spec, "status": status}))
    }

    #[test]
    fn a_deployment_is_healthy_only_when_all_of_its_newest_replicas_are_available() {
        let full = json!({"observedGeneration": 2, "availableReplicas": 2, "updatedReplicas": 2});
        assert_eq!(deployment(&json!({"replicas": 2}), &full).0, Health::Healthy);
        assert_eq!(deployment(&json!({"replicas": 3}), &full).0, Health::Degraded);
        assert_eq!(deployment(&json!({"replicas": 0}), &full).0, Health::Degraded);
        let mid_rollout = json!({"observedGeneration": 2, "availableReplicas": 2, "updatedReplicas": 1});
        assert_eq!(
            deployment(&json!({"replicas": 2}), &mid_rollout).0,
            Health::Degraded
        );
        let unseen = json!({"observedGeneration": 1, "availableReplicas": 2, "updatedReplicas": 2});
        assert_eq!(deployment(&json!({"replicas": 2}), &unseen).0, Health::Degraded);
    }

    #[test]
    fn the_reason_repeats_what_kubernetes_says() {
        let failing = json!({"observedGeneration": 2, "conditions": [
            {"type": "Available", "status": "False", "message": "no"},
            {"type": "ReplicaFailure", "status": "True", "message": "quota exceeded"}]});
        let (health, reason) = deployment(&json!({}), &failing);
        assert_eq!(health, Health::Degraded);
        assert_eq!(reason, "0 of 1 replicas available: quota exceeded");
    }

    #[test]
    fn health_of_what_was_read_by_its_metadata_only_is_unknown() {
        assert_eq!(
            deployment_health(&json!({"metadata": {"name": "x"}})).0,
            Health::Unknown
        );
    }

    #[test]
    fn a_version_is_read_from_the_tag_whatever_surrounds_it() {
        let version = |image| image_version(image).map(|v| v.to_string());
        for image in [
            "registry.istio.io/release/pilot:1.30.3",
            "localhost:5000/pilot:v1.30.3-distroless",
            "pilot:1.30.3@sha256:00",
        ] {
            assert_eq!(version(image).as_deref(), Some("1.30.3"), "{image}");
        }
        assert_eq!(version("pilot:1.31.0-rc.0").as_deref(), Some("1.31.0-rc.0"));
        for image in [
            "auto",
            "localhost:5000/pilot",
            "pilot@sha256:00",
            "pilot:latest",
            "",
        ] {
            assert_eq!(version(image), None, "{image}");
        }
    }
}
