//! Taking namespaces into the mesh by label, and out again.

use meshery_mesh_kit::injection::Injection;
use meshery_mesh_kit::object::{annotation, label};
use meshery_mesh_kit::{namespace, need, parameter, rollout, schema, webhook};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Detail, Need};
use meshery_plugin_api::message::plan::{Plan, PlanRequest, Step};

use crate::control_plane::{INJECTION_LABEL, REVISION_LABEL, WEBHOOKS};
use crate::install::{asked_revision, revision_parameter};
use crate::{detect, nodes, sample};

/// The label, set because somebody asked for just that.
pub const INJECTION: Injection<'static> = Injection {
    key: INJECTION_LABEL,
    value: "enabled",
    manager: "meshery-injection",
    mark: "istio.meshery.io/injection",
};

/// The label by every reason that there is for it here, but for [applications that were dropped](crate::dropped).
pub fn all_of_ours<'a>() -> impl Iterator<Item = Injection<'a>> {
    let of_apps = sample::APPS.map(|app| -> Injection<'a> { app.injection });
    [INJECTION].into_iter().chain(of_apps)
}

/// Label of namespaces that are in the mesh without sidecars.
pub const AMBIENT_LABEL: &str = "istio.io/dataplane-mode";
const MODES: [&str; 2] = ["sidecar", "ambient"];

pub fn inject_operation() -> Operation {
    Operation {
        name: "inject".into(),
        category: Category::Configure,
        description: "Labels a namespace, so that its new pods get a sidecar, or are in the mesh without one"
            .into(),
        parameters: parameters("Namespace to take into the mesh", true),
        // The restarted pods have to pass all webhooks.
        needs: needs().into_iter().chain(webhook::needs()).collect(),
    }
}

pub fn uninject_operation() -> Operation {
    Operation {
        name: "uninject".into(),
        category: Category::Configure,
        description: "Takes the label away that inject has set, so that new pods get no sidecar".into(),
        parameters: parameters("Namespace to take out of the mesh", false),
        needs: needs(),
    }
}

fn parameters(of_namespace: &str, into: bool) -> serde_json::Value {
    let mut properties = vec![
        ("namespace", schema::namespace(of_namespace, "")),
        rollout::parameter(),
        rollout::deadline_parameter(),
    ];
    if into {
        properties.push((
            "mode",
            schema::choice(
                "sidecar: a proxy in each pod; ambient: none, the node's serves",
                &MODES,
            ),
        ));
        properties.push(revision_parameter(
            "Revision of the control plane whose sidecars it gets; the default one when empty",
        ));
    }
    schema::object(properties, &["namespace"])
}

/// The label that a request asks for.
pub fn wanted(request: &PlanRequest) -> Result<(&str, &str), PluginError> {
    let revision = asked_revision(request)?;
    match (parameter::choice(request, "mode", &MODES)?, revision) {
        ("ambient", "") => Ok((AMBIENT_LABEL, "ambient")),
        ("ambient", revision) => Err(PluginError::new(
            "bad-parameter",
            format!(
                "parameter \"revision\" is \"{revision}\", and mode ambient has no sidecars of a revision"
            ),
        )
        .remedy("leave one of the two out")),
        (_, "") => Ok((INJECTION.key, INJECTION.value)),
        (_, revision) => Ok((REVISION_LABEL, revision)),
    }
}

/// The injector and who answers for it, to know whether a label would do anything; and what is on the nodes, to know which rights
/// sidecars need.
pub fn injector_needs() -> [Need; 3] {
    let injectors = need::everywhere(
        WEBHOOKS,
        "MutatingWebhookConfiguration",
        REVISION_LABEL,
        Detail::Full,
    );
    [injectors, detect::endpoints(), nodes::need()]
}

fn needs() -> Vec<Need> {
    let mut needs = vec![need::namespace("{namespace}")];
    needs.extend(injector_needs());
    needs.extend(rollout::needs("{namespace}"));
    needs
}

pub fn inject(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = namespace::asked(request)?;
    let label = wanted(request)?;
    let step = INJECTION.enable_with("label", target, label);
    let summary = match label {
        (AMBIENT_LABEL, _) => format!("Take namespace {target} into the mesh, without sidecars"),
        (REVISION_LABEL, revision) => {
            format!("Inject sidecars of revision {revision} into new pods of namespace {target}")
        }
        _ => format!("Inject sidecars into new pods of namespace {target}"),
    };
    changed(request, target, step, summary)
}

pub fn uninject(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = namespace::asked(request)?;
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
    changed(
        request,
        target,
        INJECTION.take_back("label", target),
        format!("Inject no sidecars into new pods of namespace {target}"),
    )
}

fn changed(request: &PlanRequest, target: &str, step: Step, summary: String) -> Result<Plan, PluginError> {
    let then = rollout::as_asked(request, target)?;
    let steps = [then.before, vec![step], then.steps].concat();
    Ok(crate::plan(summary, steps, then.verify, then.notes))
}
