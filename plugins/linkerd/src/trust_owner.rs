//! Who else keeps the anchors and the issuer. A controller that puts back what is written there would leave everybody with the
//! old anchor while the new one signs: nobody would accept anybody.

use meshery_mesh_kit::{adoption, parameter, reconciler};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::PlanRequest;
use serde_json::Value;

use crate::control_plane::{ISSUER, NAMESPACE, TRUST_ROOTS};
use crate::trust;

/// The parameter by which it is done all the same.
pub const OF_OTHERS: &str = "of-others";
const CODE: &str = "linkerd-trust-of-others";

/// The parameter as operations offer it.
pub fn parameter() -> (&'static str, Value) {
    let text = "Also where another controller keeps the anchors or the issuer: it is suspended meanwhile";
    (OF_OTHERS, meshery_mesh_kit::schema::flag(text, false))
}

/// What a controller keeps, each with the sentence that says so.
fn kept(facts: &Facts, in_namespace: &str) -> Vec<(ObjectRef, String)> {
    [("ConfigMap", TRUST_ROOTS), ("Secret", ISSUER)]
        .into_iter()
        .filter_map(|(kind, name)| {
            let controller = reconciler::of(trust::find(facts, kind, in_namespace, name)?)?;
            let message = format!(
                "{controller} keeps {kind} {in_namespace}/{name}, and would put back what is written there"
            );
            Some((ObjectRef::new("v1", kind, in_namespace, name), message))
        })
        .collect()
}

/// An error for each without the word, a warning with it.
pub fn findings(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    Ok(of(&request.facts, target, adoption::takes_others(request)?))
}

/// The same of an installation that was found.
pub fn of(facts: &Facts, in_namespace: &str, agreed: bool) -> Vec<Finding> {
    let (severity, remedy) = if agreed {
        let remedy =
            "suspend it until the operation has ended, and have it keep the new anchor before it goes on"
                .to_owned();
        (Severity::Warning, remedy)
    } else {
        (Severity::Error, remedy(in_namespace))
    };
    let told = |(object, message): (ObjectRef, String)| {
        Finding::new(severity, CODE, message)
            .about(object)
            .remedy(remedy.clone())
    };
    kept(facts, in_namespace).into_iter().map(told).collect()
}

fn remedy(in_namespace: &str) -> String {
    format!(
        "rotate where it is kept: the new anchor beside the old one, operation restart-all, the issuer under the new one, \
         restart-all again, then the new anchor alone and operation restart of {in_namespace}; or suspend the controller until \
         the operation has ended, and say so (parameter {OF_OTHERS})"
    )
}

/// An error where a controller keeps one of them, and nobody has said that it is suspended.
pub fn demand_nobody_else(request: &PlanRequest, target: &str) -> Result<(), PluginError> {
    if adoption::takes_others(request)? {
        return Ok(());
    }
    match kept(&request.facts, target).into_iter().next() {
        None => Ok(()),
        Some((_, message)) => Err(PluginError::new(CODE, message).remedy(remedy(target))),
    }
}
