//! Which webhooks a control plane has: by its values it may have no injector, or no validator of its own.

use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{name, namespace, text};
use meshery_mesh_kit::values::Values;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use serde_json::Value;

use crate::control_plane::Plane;

/// ConfigMap in which the chart leaves the values that it was rendered with.
const CONFIG_MAP: &str = "values";
/// Selects it, among the few that the chart makes.
const OF_ISTIOD: &str = "istio.io/rev,app.kubernetes.io/name=istiod";
/// The key of those with the chart's own among them.
const MERGED: &str = "merged-values";
/// Whether somebody else makes the injector.
const NO_INJECTOR: &str = "/global/operatorManageWebhooks";
/// Whether there is a validator.
const VALIDATOR: &str = "/global/configValidation";

/// What has to be read of the control planes of a namespace.
pub fn need(in_namespace: &str) -> Need {
    need::within(in_namespace, "", "ConfigMap", OF_ISTIOD, Detail::Full)
}

fn config_map(plane: Plane<'_>) -> String {
    match plane.revision {
        "" => CONFIG_MAP.to_owned(),
        revision => format!("{CONFIG_MAP}-{revision}"),
    }
}

/// Which webhooks the release of a control plane has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Webhooks {
    pub injector: bool,
    pub validator: bool,
}

impl Webhooks {
    /// By the values that are given and, below them, by those of the first of these control planes that is there.
    pub fn of(facts: &Facts, values: &Values<'_>, carried_on: &[Plane<'_>]) -> Self {
        let before = carried_on.iter().find_map(|plane| merged(facts, *plane));
        let set = |path: &str| {
            let given = values.get("istiod", path);
            given
                .or_else(|| before.as_ref()?.pointer(path))
                .and_then(Value::as_bool)
        };
        Self {
            injector: set(NO_INJECTOR) != Some(true),
            validator: set(VALIDATOR) != Some(false),
        }
    }
}

/// The values that a control plane was rendered with.
fn merged(facts: &Facts, plane: Plane<'_>) -> Option<Value> {
    let wanted = config_map(plane);
    let mut all = facts.objects("", "ConfigMap");
    let object = all.find(|object| namespace(object) == plane.namespace && name(object) == wanted)?;
    serde_json::from_str(text(object, &format!("/data/{MERGED}"))).ok()
}
