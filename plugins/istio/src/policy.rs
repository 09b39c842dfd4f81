//! Policies: mutual TLS and who may talk to whom, for a namespace or, in the control plane's, for the whole mesh.

use meshery_mesh_kit::object::{name, namespace as namespace_of, text};
use meshery_mesh_kit::ownership::is_ours;
use meshery_mesh_kit::readable::{gaps, kind_is_whole};
use meshery_mesh_kit::step::{apply, delete};
use meshery_mesh_kit::{namespace, need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Plan, PlanRequest, Target};
use serde_json::{Value, json};

use crate::control_plane::NAMESPACE;
use crate::{detect, plain_text};

pub const SECURITY: &str = "security.istio.io";
const VERSION: &str = "security.istio.io/v1";
/// The words, and what each stands for as a mode of mutual TLS; deny-all is none.
const POLICIES: [&str; 4] = ["strict", "permissive", "disable", "deny-all"];

fn parameters(description: &str) -> Value {
    schema::object(
        [
            (
                "policy",
                schema::choice(
                    "strict: only mutual TLS; permissive: plain text too; disable: plain text only; deny-all: nobody may \
                     talk to anybody who is not allowed to by another policy",
                    &POLICIES,
                ),
            ),
            ("namespace", schema::namespace(description, NAMESPACE)),
        ],
        &[],
    )
}

pub fn set_operation() -> Operation {
    Operation {
        name: "set-policy".into(),
        category: Category::Configure,
        description: "Sets mutual TLS (strict, permissive, disable) or denies all traffic, in a namespace or in the mesh".into(),
        parameters: parameters("Namespace it is for; that of the control plane stands for the whole mesh"),
        needs: needs(),
    }
}

pub fn remove_operation() -> Operation {
    Operation {
        name: "remove-policy".into(),
        category: Category::Configure,
        description: "Removes a policy that set-policy has set".into(),
        parameters: parameters("Namespace it is set in"),
        needs: needs(),
    }
}

fn needs() -> Vec<Need> {
    let mut needs = vec![need::namespace("{namespace}")];
    needs.extend(detect::needs());
    // Those of mutual TLS are among what detection sees.
    needs.push(need::within(
        "{namespace}",
        SECURITY,
        "AuthorizationPolicy",
        "",
        Detail::Full,
    ));
    needs
}

/// Of several policies for all of a namespace Istio takes the oldest: so there is one of ours, by one name.
fn object(policy: &str, target: &str) -> Value {
    if policy == "deny-all" {
        return json!({
            "apiVersion": VERSION,
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "deny-all", "namespace": target},
            "spec": {},
        });
    }
    json!({
        "apiVersion": VERSION,
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": target},
        "spec": {"mtls": {"mode": policy.to_uppercase()}},
    })
}

fn is_mesh_wide(facts: &Facts, target: &str) -> bool {
    target == NAMESPACE
        || detect::installations(facts).is_ok_and(|found| found.iter().any(|found| found.namespace == target))
}

fn place(facts: &Facts, target: &str) -> String {
    if is_mesh_wide(facts, target) {
        format!("the whole mesh (namespace {target})")
    } else {
        format!("namespace {target}")
    }
}

pub fn set(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let policy = parameter::choice(request, "policy", &POLICIES)?;
    let place = place(&request.facts, target);
    let steps = vec![apply(
        "policy",
        format!("{policy} for {place}"),
        vec![object(policy, target)],
    )];
    Ok(crate::plan(
        format!("Set policy {policy} for {place}"),
        steps,
        Vec::new(),
        Vec::new(),
    ))
}

pub fn remove(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let policy = parameter::choice(request, "policy", &POLICIES)?;
    let object = ObjectRef::of(&object(policy, target)).unwrap_or_else(|| namespace::reference(target));
    let target = Target {
        object: object.clone(),
        when: Condition::Ours,
    };
    let steps = vec![delete("policy", format!("{object}, if it is ours"), vec![target])];
    let place = place(&request.facts, &object.namespace);
    Ok(crate::plan(
        format!("Remove policy {policy} from {place}"),
        steps,
        Vec::new(),
        Vec::new(),
    ))
}

pub fn check(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let policy = parameter::choice(request, "policy", &POLICIES)?;
    let mut findings = gaps(facts);
    findings.extend(namespace::terminating(facts, target));
    let is_bare = kind_is_whole(facts, "apps", "Deployment") && detect::installations(facts)?.is_empty();
    if !facts
        .cluster
        .apis
        .iter()
        .any(|api| api.starts_with("security.istio.io/"))
    {
        findings.push(
            Finding::error(
                "istio-not-installed",
                "the cluster does not know policies of Istio",
            )
            .remedy("install Istio first (operation install)"),
        );
    } else if is_bare {
        findings.push(
            Finding::warning(
                "istio-no-control-plane",
                "no control plane of Istio is in the cluster, only its definitions: nobody enforces the policy",
            )
            .remedy("install Istio (operation install)"),
        );
    }
    findings.extend(of_others(facts, policy, target));
    if policy == "strict"
        && !is_bare
        && let Some(pods) = plain_text::pods_without_proxy(facts)
    {
        findings.push(
            Finding::warning(
                "workloads-without-proxy",
                format!(
                    "pods without a proxy ({pods}) can talk to nobody in {} any more",
                    place(facts, target)
                ),
            )
            .remedy(
                "take those that have to into the mesh first (operation inject, with restart, or mode=ambient), or \
                 set permissive",
            ),
        );
    }
    if policy == "deny-all" {
        findings.push(
            Finding::warning(
                "denies-all",
                format!(
                    "in {} only what an AuthorizationPolicy allows passes",
                    place(facts, target)
                ),
            )
            .remedy("have the policies that allow what is needed there first; undo takes this one back"),
        );
    }
    Ok(findings)
}

/// A policy of somebody else for the same pods.
fn of_others(facts: &Facts, policy: &str, target: &str) -> Vec<Finding> {
    let kind = if policy == "deny-all" {
        "AuthorizationPolicy"
    } else {
        "PeerAuthentication"
    };
    let ours = object(policy, target);
    facts
        .objects(SECURITY, kind)
        .filter(|there| namespace_of(there) == target && !is_ours(there))
        .filter_map(|there| {
            let reference = ObjectRef::new(VERSION, kind, target, name(there));
            let finding = if name(there) == name(&ours) {
                Finding::error(
                    "policy-of-others",
                    format!("{reference} is there already, made by somebody else"),
                )
                .remedy("change or remove it with what made it")
            } else if kind == "PeerAuthentication" && there.pointer("/spec/selector").is_none() {
                Finding::warning(
                    "IST0111",
                    format!(
                        "{reference} ({}) is for all pods of the namespace too, and Istio takes the \
                         older one",
                        text(there, "/spec/mtls/mode")
                    ),
                )
                .remedy("keep one of the two")
            } else {
                return None;
            };
            Some(finding.about(reference))
        })
        .collect()
}
