//! Restarting the control plane, or the workloads of a namespace: they take up the trust anchors, the issuer and the version
//! that are there now. Rotations and upgrades consist of it, one namespace after the other.

use meshery_mesh_kit::rollout::{self, WORKLOADS, workloads};
use meshery_mesh_kit::step::{ask, id_for, restart, wait};
use meshery_mesh_kit::{need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::Detail;
use meshery_plugin_api::message::plan::{Plan, PlanRequest};

use crate::control_plane::{DEPLOYMENTS, NAMESPACE, deployment, ready};
use crate::{MESH, detect, install};

pub fn operation() -> Operation {
    let mut needs = detect::needs();
    needs.push(need::namespace("{namespace}"));
    needs.extend(rollout::needs("{namespace}"));
    Operation {
        name: "restart".into(),
        category: Category::Configure,
        description: "Restarts the control plane, or the workloads of a namespace in the mesh, so that they take up the trust \
                      anchors, the issuer and the version that are there"
            .into(),
        parameters: schema::object(
            [
                (
                    "namespace",
                    schema::namespace("Namespace of the control plane, or one whose pods have proxies", ""),
                ),
                rollout::deadline_parameter(),
            ],
            &["namespace"],
        ),
        needs,
    }
}

pub fn all_operation() -> Operation {
    let mut needs = detect::needs();
    needs.extend(WORKLOADS.map(|kind| need::everywhere("apps", kind, "", Detail::Metadata)));
    Operation {
        name: "restart-all".into(),
        category: Category::Configure,
        description: "Restarts the control plane, then each namespace in the mesh when somebody has said yes: a round of a rotation, \
                      or what follows an upgrade"
            .into(),
        parameters: schema::object(
            [
                (
                    "namespace",
                    schema::namespace("Namespace of the control plane", NAMESPACE),
                ),
                rollout::deadline_parameter(),
            ],
            &[],
        ),
        needs,
    }
}

pub fn all(request: &PlanRequest) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let control_plane = parameter::namespace(request, "namespace", NAMESPACE)?;
    let found = detect::installed_in(facts, control_plane)?;
    let deadline_s = rollout::deadline(request)?;
    // Injected pods get anchors and version from the injector: it goes first.
    let mut steps = vec![
        install::pod_is_taken(&request.images),
        restart(
            "control-plane",
            "identity, destination, injector",
            DEPLOYMENTS.map(|name| deployment(control_plane, name)).to_vec(),
        ),
        wait(
            "control-plane-ready",
            "the control plane runs and answers",
            deadline_s,
            ready(control_plane),
        ),
    ];
    let mut notes = vec![
        "The workloads are those of now: what comes to a namespace later is made with what is there then."
            .to_owned(),
    ];
    for (number, target) in found.namespaces.iter().enumerate() {
        let workloads = workloads(facts, target)?;
        if workloads.is_empty() {
            notes.push(format!(
                "Namespace {target} has no workload that can be restarted."
            ));
            continue;
        }
        let reason = format!(
            "{} workloads of namespace {target} are restarted next",
            workloads.len()
        );
        steps.push(ask(
            &id_for("gate", target, number),
            format!("before namespace {target}"),
            reason,
        ));
        let title = format!("the workloads of namespace {target} run");
        let ready = rollout::ready(&id_for("ready", target, number), title, deadline_s, &workloads);
        steps.push(rollout::restart(
            &id_for("restart", target, number),
            target,
            workloads,
        ));
        steps.push(ready);
    }
    Ok(crate::plan(
        format!(
            "Restart the control plane of {MESH} in namespace {control_plane}, then the namespaces in the mesh one by one"
        ),
        steps,
        vec![install::injection_works(&request.images, deadline_s)],
        notes,
    ))
}

pub fn plan(request: &PlanRequest) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", "")?;
    let deadline_s = rollout::deadline(request)?;
    let installations = detect::installations(facts)?;
    if installations.iter().any(|found| found.namespace == target) {
        let workloads = DEPLOYMENTS.map(|name| deployment(target, name)).to_vec();
        let verify = vec![
            wait(
                "ready",
                "the control plane runs and answers",
                deadline_s,
                ready(target),
            ),
            install::injection_works(&request.images, deadline_s),
        ];
        return Ok(crate::plan(
            format!("Restart the control plane of {MESH} in namespace {target}"),
            vec![
                install::pod_is_taken(&request.images),
                restart("restart", "identity, destination, injector", workloads),
            ],
            verify,
            Vec::new(),
        ));
    }
    let workloads = workloads(facts, target)?;
    if workloads.is_empty() {
        return Err(PluginError::new(
            "nothing-to-restart",
            format!("namespace \"{target}\" has no Deployment, StatefulSet or DaemonSet"),
        )
        .remedy("name the namespace of the control plane, or one that has workloads"));
    }
    let title = "the restarted workloads run";
    let ready = rollout::ready("rolled-out", title, deadline_s, &workloads);
    Ok(crate::plan(
        format!("Restart the workloads of namespace {target}"),
        vec![rollout::restart("restart", target, workloads)],
        vec![ready],
        Vec::new(),
    ))
}
