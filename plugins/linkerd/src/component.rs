//! The workloads that an installation consists of: the control plane's, and what was added to it, extensions and the CNI plugin,
//! each with who made it.

use std::collections::BTreeMap;

use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{annotation, label, name, namespace};
use meshery_mesh_kit::ownership::installed_by;
use meshery_mesh_kit::workload::{daemon_set_health, deployment_health, deployment_ref, image};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::Component;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use crate::control_plane::CREATED_BY;
use crate::{cni, versions};

/// Label of what an extension consists of, with its name.
const EXTENSION: &str = "linkerd.io/extension";

/// The workloads of extensions, Linkerd's own and others'.
pub fn need() -> Need {
    need::everywhere("apps", "Deployment", EXTENSION, Detail::Full)
}

pub fn maker(object: &Value) -> &'static str {
    let by_cli = annotation(object, CREATED_BY).is_some_and(|by| by.starts_with("linkerd/cli"));
    match installed_by(object) {
        "unknown" if by_cli => "linkerd",
        maker => maker,
    }
}

pub fn of_control_plane(deployment: &Value) -> Component {
    let (health, reason) = deployment_health(deployment);
    let container = name(deployment).strip_prefix("linkerd-").unwrap_or_default();
    let version = image(deployment, container)
        .and_then(|image| image.split('@').next()?.rsplit_once(':'))
        .and_then(|(_, tag)| versions::parse(tag))
        .map(|version| version.to_string())
        .unwrap_or_default();
    Component {
        object: deployment_ref(deployment),
        version,
        health,
        reason,
        installed_by: String::new(),
    }
}

/// Extensions and the CNI plugin. A cluster has one Linkerd, so they are its.
pub fn added(facts: &Facts) -> Vec<Component> {
    let mut found = BTreeMap::new();
    for object in facts.objects("apps", "Deployment") {
        if label(object, EXTENSION).is_some() {
            found.insert(("Deployment", namespace(object), name(object)), object);
        }
    }
    for object in facts
        .objects("apps", "DaemonSet")
        .filter(|object| cni::is_plugin(object))
    {
        found.insert(("DaemonSet", namespace(object), name(object)), object);
    }
    let components = found.into_iter().map(|((kind, of_namespace, of_name), object)| {
        let (health, reason) = match kind {
            "Deployment" => deployment_health(object),
            _ => daemon_set_health(object),
        };
        Component {
            object: ObjectRef::new("apps/v1", kind, of_namespace, of_name),
            version: version(object),
            health,
            reason,
            installed_by: maker(object).into(),
        }
    });
    components.collect()
}

/// As its label says, or whatever has made it.
fn version(object: &Value) -> String {
    let by_label = label(object, "app.kubernetes.io/version");
    let by_maker = annotation(object, CREATED_BY).and_then(|by| by.rsplit_once(' '));
    by_label
        .or(by_maker.map(|(_, version)| version))
        .and_then(versions::parse)
        .map(|version| version.to_string())
        .unwrap_or_default()
}
