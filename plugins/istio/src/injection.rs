//! Taking namespaces into the mesh by label, and out again.

use meshery_mesh_kit::injection::Injection;
use meshery_mesh_kit::namespace::{self, State};
use meshery_mesh_kit::object::{annotation, label, name, namespace as namespace_of};
use meshery_mesh_kit::readable::demand;
use meshery_mesh_kit::step::{holds, restart, wait};
use meshery_mesh_kit::{need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Plan, PlanRequest, Rule, Step};

use crate::control_plane::{INJECTION_LABEL, REVISION_LABEL, WEBHOOKS};

/// The label, set because somebody asked for just that.
pub const INJECTION: Injection = Injection {
    key: INJECTION_LABEL,
    value: "enabled",
    manager: "meshery-injection",
    mark: "istio.meshery.io/injection",
};

const WORKLOADS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];
const ROLLOUT_S: u32 = 300;

pub fn inject_operation() -> Operation {
    Operation {
        name: "inject".into(),
        category: Category::Configure,
        description: "Labels a namespace, so that its new pods get a sidecar".into(),
        parameters: parameters("Namespace to take into the mesh"),
        needs: needs(),
    }
}

pub fn uninject_operation() -> Operation {
    Operation {
        name: "uninject".into(),
        category: Category::Configure,
        description: "Takes the label away that inject has set, so that new pods get no sidecar".into(),
        parameters: parameters("Namespace to take out of the mesh"),
        needs: needs(),
    }
}

fn parameters(of_namespace: &str) -> serde_json::Value {
    schema::object(
        [
            ("namespace", schema::namespace(of_namespace, "")),
            (
                "restart",
                schema::flag(
                    "Restart the workloads of the namespace, so that pods that run already change too",
                    false,
                ),
            ),
        ],
        &["namespace"],
    )
}

/// The injector, to know whether a label would do anything.
pub fn injector_need() -> Need {
    need::everywhere(
        WEBHOOKS,
        "MutatingWebhookConfiguration",
        REVISION_LABEL,
        Detail::Full,
    )
}

fn needs() -> Vec<Need> {
    let mut needs = vec![need::namespace("{namespace}"), injector_need()];
    needs.extend(WORKLOADS.map(|kind| need::within("{namespace}", "apps", kind, "", Detail::Metadata)));
    needs
}

pub fn inject(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = present(request)?;
    let steps = vec![INJECTION.enable("label", target)];
    changed(
        request,
        target,
        steps,
        format!("Inject sidecars into new pods of namespace {target}"),
    )
}

pub fn uninject(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = present(request)?;
    let object = namespace::find(&request.facts, target);
    let has = |key| object.and_then(|object| label(object, key));
    if object
        .and_then(|object| annotation(object, INJECTION.mark))
        .is_none()
    {
        let error = PluginError::new(
            "label-of-others",
            format!("Meshery has not labelled namespace \"{target}\""),
        );
        return Err(match (has(INJECTION_LABEL), has(REVISION_LABEL)) {
            (None, None) => error
                .cause("it has no label of Istio's")
                .remedy("nothing is to be done"),
            (Some(value), _) => error
                .cause(format!("somebody else has set {INJECTION_LABEL}={value}"))
                .remedy(format!(
                    "`kubectl label namespace {target} {INJECTION_LABEL}-` removes it"
                )),
            (None, Some(value)) => error
                .cause(format!("somebody else has set {REVISION_LABEL}={value}"))
                .remedy(format!(
                    "`kubectl label namespace {target} {REVISION_LABEL}-` removes it"
                )),
        });
    }
    let steps = vec![INJECTION.take_back("label", target)];
    changed(
        request,
        target,
        steps,
        format!("Inject no sidecars into new pods of namespace {target}"),
    )
}

/// The namespace that was asked for, if it can be changed.
fn present(request: &PlanRequest) -> Result<&str, PluginError> {
    let target = parameter::namespace(request, "namespace", "")?;
    demand(&request.facts, "", "Namespace")?;
    match namespace::state(&request.facts, target) {
        State::Absent => Err(PluginError::new(
            "namespace-unknown",
            format!("there is no namespace \"{target}\""),
        )
        .remedy("create it first")),
        State::Terminating => Err(PluginError::new(
            "namespace-terminating",
            format!("namespace \"{target}\" is being deleted"),
        )
        .remedy("wait until it is gone, and create it again")),
        State::Present | State::Unknown => Ok(target),
    }
}

fn changed(
    request: &PlanRequest,
    target: &str,
    mut steps: Vec<Step>,
    summary: String,
) -> Result<Plan, PluginError> {
    let workloads = workloads(&request.facts, target);
    let (mut verify, mut notes) = (Vec::new(), Vec::new());
    if parameter::flag(request, "restart", false)? {
        for kind in WORKLOADS {
            demand(&request.facts, "apps", kind)?;
        }
        if !workloads.is_empty() {
            let conditions = workloads.iter().map(|object| holds(Rule::Ready, object.clone()));
            verify.push(wait(
                "rolled-out",
                "the restarted workloads run",
                ROLLOUT_S,
                conditions.collect(),
            ));
            steps.push(restart(
                "restart",
                format!("workloads of namespace {target}"),
                workloads,
            ));
        }
    } else if !workloads.is_empty() {
        notes.push(format!(
            "Pods that run already do not change until they are restarted: {} workloads (parameter restart).",
            workloads.len()
        ));
    }
    Ok(crate::plan(summary, steps, verify, notes))
}

fn workloads(facts: &Facts, target: &str) -> Vec<ObjectRef> {
    let mut workloads: Vec<ObjectRef> = WORKLOADS
        .iter()
        .flat_map(|kind| {
            facts
                .objects("apps", kind)
                .map(|object| ObjectRef::new("apps/v1", kind, namespace_of(object), name(object)))
        })
        .filter(|object| object.namespace == target)
        .collect();
    workloads.sort();
    workloads.dedup();
    workloads
}
