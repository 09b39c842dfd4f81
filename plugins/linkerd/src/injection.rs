//! Taking namespaces and single workloads into the mesh by annotation, and out again.

use meshery_mesh_kit::annotation::Annotation;
use meshery_mesh_kit::object::{annotation, name, namespace as namespace_of};
use meshery_mesh_kit::rollout::{self, WORKLOADS, workloads};
use meshery_mesh_kit::{namespace, need, parameter, schema, webhook};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Detail, Need};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Plan, PlanRequest, Step};
use serde_json::Value;

use crate::control_plane::{CONTROL_PLANE_NS, INJECT, WEBHOOKS};
use crate::{cni, detect};

/// The annotation, set because somebody asked for just that.
pub const ANNOTATION: Annotation<'static> = Annotation {
    key: INJECT,
    manager: "meshery-injection",
    mark: "linkerd.meshery.io/injection",
};

/// What it may say; the first is the default.
const MODES: [&str; 3] = ["enabled", "ingress", "disabled"];

pub fn inject_operation() -> Operation {
    Operation {
        name: "inject".into(),
        category: Category::Configure,
        description: "Annotates a namespace, or one workload, so that its new pods get a proxy, or none"
            .into(),
        parameters: schema::object(
            [
                namespace_parameter(),
                workload_parameter(),
                (
                    "mode",
                    schema::choice(
                        "enabled; ingress: for pods of an ingress controller, which choose endpoints by host name; disabled",
                        &MODES,
                    ),
                ),
                rollout::parameter(),
                rollout::deadline_parameter(),
            ],
            &["namespace"],
        ),
        // The restarted pods have to pass all webhooks.
        needs: needs().into_iter().chain(webhook::needs()).collect(),
    }
}

pub fn uninject_operation() -> Operation {
    Operation {
        name: "uninject".into(),
        category: Category::Configure,
        description: "Takes the annotation away that inject has set".into(),
        parameters: schema::object(
            [
                namespace_parameter(),
                workload_parameter(),
                rollout::parameter(),
                rollout::deadline_parameter(),
            ],
            &["namespace"],
        ),
        needs: needs(),
    }
}

fn namespace_parameter() -> (&'static str, Value) {
    ("namespace", schema::namespace("Namespace that it is about", ""))
}

fn workload_parameter() -> (&'static str, Value) {
    (
        "workload",
        schema::text(
            "Only this workload of the namespace, as in Deployment/web; its pods are made again at once",
        ),
    )
}

/// The injector, to know whether an annotation would do anything.
pub fn injector_needs() -> [Need; 2] {
    let injector = need::everywhere(
        WEBHOOKS,
        "MutatingWebhookConfiguration",
        CONTROL_PLANE_NS,
        Detail::Full,
    );
    [injector, detect::endpoints()]
}

fn needs() -> Vec<Need> {
    let mut needs = vec![need::namespace("{namespace}"), cni::need()];
    needs.extend(injector_needs());
    needs.extend(rollout::needs("{namespace}"));
    needs
}

pub fn inject(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = namespace::asked(request)?;
    let mode = parameter::choice(request, "mode", &MODES)?;
    match workload(request, target)? {
        Some((workload, _)) => of_workload(
            request,
            ANNOTATION.set_on_pods("annotation", &workload, mode),
            format!("Pods of {workload}: {INJECT}={mode}"),
            workload,
        ),
        None => changed(
            request,
            target,
            ANNOTATION.set("annotation", target, mode),
            format!("New pods of namespace {target}: {INJECT}={mode}"),
        ),
    }
}

pub fn uninject(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = namespace::asked(request)?;
    let workload = workload(request, target)?;
    let object = match &workload {
        Some((_, object)) => Some(*object),
        None => namespace::find(&request.facts, target),
    };
    if object
        .and_then(|object| annotation(object, ANNOTATION.mark))
        .is_none()
    {
        let what = workload.as_ref().map_or_else(
            || format!("namespace \"{target}\""),
            |(workload, _)| workload.to_string(),
        );
        let error = PluginError::new(
            "annotation-of-others",
            format!("Meshery has not annotated {what}"),
        );
        return Err(match object.and_then(|object| annotation(object, INJECT)) {
            Some(value) => error
                .cause(format!("somebody else has set {INJECT}={value}"))
                .remedy(format!(
                    "`kubectl annotate namespace {target} {INJECT}-` removes it"
                )),
            None => error
                .cause("it has no annotation of Linkerd's of its own")
                .remedy("nothing is to be done"),
        });
    }
    match workload {
        Some((workload, _)) => of_workload(
            request,
            ANNOTATION.take_back_from_pods("annotation", &workload),
            format!("Pods of {workload}: no {INJECT} of their own"),
            workload,
        ),
        None => changed(
            request,
            target,
            ANNOTATION.take_back("annotation", target),
            format!("New pods of namespace {target}: no {INJECT}"),
        ),
    }
}

/// The one workload that was asked for, if any.
fn workload<'a>(
    request: &'a PlanRequest,
    target: &str,
) -> Result<Option<(ObjectRef, &'a Value)>, PluginError> {
    let asked = parameter::text(request, "workload", "")?;
    if asked.is_empty() {
        return Ok(None);
    }
    let found = asked.split_once('/').and_then(|(kind, wanted)| {
        let kind = *WORKLOADS.iter().find(|known| known.eq_ignore_ascii_case(kind))?;
        let object = request
            .facts
            .objects("apps", kind)
            .find(|object| name(object) == wanted && namespace_of(object) == target)?;
        Some((ObjectRef::new("apps/v1", kind, target, wanted), object))
    });
    if found.is_none() {
        let known: Vec<String> = workloads(&request.facts, target)?
            .iter()
            .map(|object| format!("{}/{}", object.kind, object.name))
            .collect();
        return Err(PluginError::new(
            "workload-unknown",
            format!("namespace \"{target}\" has no workload \"{asked}\""),
        )
        .cause("it takes a kind and a name, as in Deployment/web")
        .remedy(format!("choose one of: {}", known.join(", "))));
    }
    Ok(found)
}

fn of_workload(
    request: &PlanRequest,
    step: Step,
    summary: String,
    workload: ObjectRef,
) -> Result<Plan, PluginError> {
    let deadline_s = rollout::deadline(request)?;
    let ready = rollout::ready("rolled-out", "the workload runs", deadline_s, &[workload]);
    Ok(crate::plan(summary, vec![step], vec![ready], Vec::new()))
}

fn changed(request: &PlanRequest, target: &str, step: Step, summary: String) -> Result<Plan, PluginError> {
    let then = rollout::as_asked(request, target)?;
    let steps = [then.before, vec![step], then.steps].concat();
    Ok(crate::plan(summary, steps, then.verify, then.notes))
}
