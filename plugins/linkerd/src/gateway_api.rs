//! The definitions of the Gateway API, which Linkerd reads: Linkerd's chart can bring them, and must not where somebody else
//! has.

use meshery_mesh_kit::need;
use meshery_mesh_kit::object::name;
use meshery_mesh_kit::ownership::release_of;
use meshery_mesh_kit::readable::demand;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use serde_json::{Map, Value, json};

use crate::control_plane::CRDS;

/// What a request may say about them; the first is the default.
pub const WISHES: [&str; 3] = ["missing", "all", "none"];
const GROUP: &str = "apiextensions.k8s.io";
const KIND: &str = "CustomResourceDefinition";

/// Values of the chart, each with the definitions that it brings.
const PARTS: [(&str, &[&str]); 3] = [
    ("enableHttpRoutes", &["httproutes", "grpcroutes"]),
    ("enableTlsRoutes", &["tlsroutes"]),
    ("enableTcpRoutes", &["tcproutes"]),
];

fn full(plural: &str) -> String {
    format!("{plural}.gateway.networking.k8s.io")
}

fn names() -> impl Iterator<Item = String> {
    PARTS
        .iter()
        .flat_map(|(_, plurals)| plurals.iter().copied().map(full))
}

/// Each of them by name.
pub fn needs() -> Vec<Need> {
    names()
        .map(|name| need::one("", GROUP, KIND, &name, Detail::Metadata))
        .collect()
}

fn find<'a>(facts: &'a Facts, wanted: &str) -> Option<&'a Value> {
    facts.objects(GROUP, KIND).find(|object| name(object) == wanted)
}

/// The chart's values. Those that its release has brought before go on being its own.
pub fn values(facts: &Facts, wish: &str, namespace: &str) -> Result<Map<String, Value>, PluginError> {
    if wish == WISHES[0] {
        demand(facts, GROUP, KIND)?;
    }
    let of_others = |plural: &&str| {
        find(facts, &full(plural)).is_some_and(|object| {
            release_of(object).is_none_or(|release| release.name != CRDS || release.namespace != namespace)
        })
    };
    Ok(PARTS
        .iter()
        .map(|(value, plurals)| {
            let brought = match wish {
                "all" => true,
                "none" => false,
                _ => !plurals.iter().any(&of_others),
            };
            ((*value).to_owned(), brought.into())
        })
        .collect())
}

/// As the chart takes them: one value for all where they agree, which is the only one that its defaults name.
pub fn of_chart(values: &Map<String, Value>, line: &str) -> Value {
    let mut all = values.values();
    let first = all.next();
    match first {
        Some(first) if line == "edge" && all.all(|value| value == first) => {
            json!({"installGatewayAPI": first})
        }
        _ => values.clone().into(),
    }
}

/// How those that are missing come to be there. What others have brought a part of, the chart does not complete.
pub fn remedy(facts: &Facts, in_namespace: &str) -> String {
    let brought = values(facts, WISHES[0], in_namespace).unwrap_or_default();
    let left = missing(facts, &brought);
    if left.is_empty() {
        return "let the chart bring them (gateway_api=missing), or install them first".into();
    }
    format!(
        "install {} of the release of the Gateway API that the others there are of, or of a newer one (before 1.1 it had no \
         GRPCRoute); or have the chart bring all (gateway_api=all), in the place of those that are there",
        left.join(", ")
    )
}

/// Those that would be in nobody's hands after a plan with these values.
pub fn missing(facts: &Facts, values: &Map<String, Value>) -> Vec<String> {
    PARTS
        .iter()
        .filter(|(value, _)| values.get(*value) != Some(&Value::Bool(true)))
        .flat_map(|(_, plurals)| plurals.iter().copied().map(full))
        .filter(|name| find(facts, name).is_none())
        .collect()
}
