//! Replacing the trust anchor at once, when it or the issuer has ended: nobody accepts anybody any more, so there is no order
//! that would spare connections, and identity would not even start with what is there. In time, `rotation` is the way.

use meshery_mesh_kit::object::{name, namespace as namespace_of};
use meshery_mesh_kit::rollout::{self, WORKLOADS, workloads};
use meshery_mesh_kit::step::{delete, holding_back, id_for, material, restart, restart_in_undo, wait};
use meshery_mesh_kit::{need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Detail, Facts};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Plan, PlanRequest, Step, Target};
use serde_json::Value;

use crate::check::unprovable;
use crate::control_plane::{DEPLOYMENTS, NAMESPACE, deployment, ready};
use crate::{MESH, cni, detect, identity, install, rotation, trust, trust_owner};

/// Name of the operation.
pub const REPLACE: &str = "replace-anchor";
/// The parameter by which it is done while the anchor is valid still.
pub const CUT_OFF: &str = "cut_off";
/// How many pods a finding names.
const NAMED: usize = 5;

pub fn operation() -> Operation {
    let mut needs = rotation::needs();
    needs.extend(WORKLOADS.map(|kind| need::everywhere("apps", kind, "", Detail::Metadata)));
    Operation {
        name: REPLACE.into(),
        category: Category::Configure,
        description: "Makes a new trust anchor and issuer in the place of those that have ended, and restarts the control plane \
                      and everybody; while they are valid, rotate-anchor cuts nobody off"
            .into(),
        parameters: schema::object(
            [
                (
                    "namespace",
                    schema::namespace("Namespace of the control plane", NAMESPACE),
                ),
                identity::anchor_days(),
                identity::issuer_days(),
                identity::keep_anchor_key(),
                (
                    CUT_OFF,
                    schema::flag(
                        "Also while an anchor and the issuer are valid: until everybody is restarted, pods refuse each other",
                        false,
                    ),
                ),
                trust_owner::parameter(),
                rollout::deadline_parameter(),
            ],
            &[],
        ),
        needs,
    }
}

pub fn plan(request: &PlanRequest) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let found = detect::installed_in(facts, target)?;
    rotation::demand_bundle(facts, target)?;
    trust_owner::demand_nobody_else(request, target)?;
    identity::demand_lifetimes(request)?;
    let deadline_s = rollout::deadline(request)?;
    let old = identity::anchor_of(facts, target);
    let new = rotation::next(facts, target);
    let members = members(facts, &found.namespaces)?;
    let mut steps = vec![
        install::pod_is_taken(&request.images),
        material(
            "anchor",
            format!("the new anchor, in Secret {target}/{new}"),
            vec![identity::anchor(request, target, &new)?],
        ),
    ];
    if !trust::is_past_rotation(facts, target) {
        steps.extend(again(target, &members, deadline_s));
    }
    steps.extend([
        // Where one of them stays, the anchor does.
        holding_back(material(
            "trust",
            "the new anchor alone is believed, and has signed the issuer",
            vec![
                identity::roots(target, &new, false),
                identity::issuer(request, target, &new, true)?,
            ],
        )),
        restart(
            "control-plane",
            "identity, destination, injector",
            DEPLOYMENTS.map(|name| deployment(target, name)).to_vec(),
        ),
        // The injector hands out the anchor: nobody is restarted before it has the new one.
        wait(
            "control-plane-ready",
            "the control plane runs and answers",
            deadline_s,
            ready(target),
        ),
    ]);
    let mut notes = Vec::new();
    for (number, (member, workloads)) in members.into_iter().enumerate() {
        if workloads.is_empty() {
            notes.push(format!(
                "Namespace {member} has no workload that can be restarted."
            ));
            continue;
        }
        // That one of them does not come up is no reason to go back to an anchor that nobody accepts.
        steps.push(rollout::restart(
            &id_for("restart", member, number),
            member,
            workloads,
        ));
    }
    steps.push(delete(
        "old-anchor",
        "the old anchor, if it was made here",
        vec![Target {
            object: ObjectRef::new("v1", "Secret", target, &old),
            when: Condition::Ours,
        }],
    ));
    notes.push(
        "Workloads are restarted all at once and not waited for: each is cut off until its pods are new. What is in no namespace \
         of the mesh, or of no workload, is not restarted."
            .into(),
    );
    Ok(crate::plan(
        format!(
            "Replace the trust anchor and the issuer of {MESH} in namespace {target}, and restart everybody"
        ),
        steps,
        vec![install::injection_works(&request.images, deadline_s)],
        notes,
    ))
}

/// The namespaces in the mesh, each with its workloads.
fn members<'a>(
    facts: &Facts,
    namespaces: &'a [String],
) -> Result<Vec<(&'a str, Vec<ObjectRef>)>, PluginError> {
    let member = |namespace: &'a String| Ok((namespace.as_str(), workloads(facts, namespace)?));
    namespaces.iter().map(member).collect()
}

/// Everybody is made anew once more when anchor and issuer are back, the control plane first. Where they have ended, nobody
/// would come up with them.
fn again(target: &str, members: &[(&str, Vec<ObjectRef>)], deadline_s: u32) -> Vec<Step> {
    let mut steps: Vec<Step> = members
        .iter()
        .enumerate()
        .filter(|(_, (_, workloads))| !workloads.is_empty())
        .map(|(number, (member, workloads))| {
            restart_in_undo(
                &id_for("again", member, number),
                format!("the workloads of namespace {member}, when anchor and issuer are back"),
                deadline_s,
                workloads.clone(),
            )
        })
        .collect();
    steps.push(restart_in_undo(
        "control-plane-again",
        "the control plane, when anchor and issuer are back",
        deadline_s,
        DEPLOYMENTS.map(|name| deployment(target, name)).to_vec(),
    ));
    steps
}

pub fn check(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let mut findings = meshery_mesh_kit::readable::gaps(facts);
    if !trust::is_past_rotation(facts, target) {
        findings.push(if parameter::flag(request, CUT_OFF, false)? {
            cuts_off()
        } else {
            Finding::error(
                "linkerd-anchor-holds",
                "an anchor and the issuer are valid still: replacing them at once would cut pods off from \
                 each other",
            )
            .remedy(
                "rotate the anchor (operation rotate-anchor), or say that pods may be cut off \
                 (parameter cut_off)",
            )
        });
    }
    findings.extend(trust_owner::findings(request)?);
    findings.extend(of_no_workload(facts, target));
    findings.extend(unprovable(facts, cni::is_there(facts)));
    Ok(findings)
}

/// What somebody agrees to who replaces an anchor that is valid.
pub fn cuts_off() -> Finding {
    Finding::warning(
        "linkerd-cut-off",
        "an anchor and the issuer are valid still: pods refuse each other until all of them are new",
    )
    .remedy(
        "go on when that is wanted, because a key has leaked say; operation rotate-anchor cuts nobody off",
    )
}

/// Pods that no controller would make anew.
fn of_no_workload(facts: &Facts, target: &str) -> Option<Finding> {
    let is_kept = |pod: &&Value| {
        let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        !owners.is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true))
    };
    let mut pods: Vec<String> = detect::proxies(facts, target)
        .filter(is_kept)
        .map(|pod| format!("{}/{}", namespace_of(pod), name(pod)))
        .collect();
    if pods.is_empty() {
        return None;
    }
    pods.sort();
    let count = pods.len();
    pods.truncate(NAMED);
    let more = if count > NAMED { ", ..." } else { "" };
    Some(
        Finding::warning(
            "linkerd-pods-of-no-workload",
            format!(
                "{count} pods with proxies are of no workload and stay cut off: {}{more}",
                pods.join(", ")
            ),
        )
        .remedy("make them anew by hand afterwards"),
    )
}
