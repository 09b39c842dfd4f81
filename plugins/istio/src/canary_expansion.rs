//! What a canary upgrade finds out when it has come that far: the workloads of a namespace, whether they went over, and
//! who still uses the old control plane.

use std::fmt::Write as _;

use meshery_mesh_kit::object::{name, namespace as namespace_of, text};
use meshery_mesh_kit::readable::demand;
use meshery_mesh_kit::rollout::{self, carried};
use meshery_mesh_kit::step::{ask, holds, in_a_row, wait};
use meshery_mesh_kit::values::Values;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::expansion::{ExpandRequest, Expansion};
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::plan::{Action, Rule, Step};
use serde_json::{Value, json};

use crate::control_plane::{Plane, WEBHOOKS, default_validator};
use crate::parts::{Parts, validates};
use crate::plane_values::Webhooks;
use crate::profile::Profile;

use crate::{proxies, tag, versions};

/// The workloads of a namespace, restarted when its label has been taken back.
pub const MOVES_BACK: &str = "namespace-moves-back";
/// The workloads of a namespace, restarted.
pub const MOVES: &str = "namespace-moves";
/// Whether they are with the new revision.
pub const MOVED: &str = "namespace-moved";
/// A gate that says who still uses the old control plane.
pub const MAY_GO: &str = "old-may-go";
/// Whether nobody does.
pub const UNUSED: &str = "old-unused";
/// Configuration checked by the new control plane.
pub const VALIDATOR_MOVES: &str = "validator-moves";
/// The new control plane under the other names of the old one: for all who name no revision, and by its tags.
pub const NAMES_MOVE: &str = "names-move";
/// How many pods are named.
const NAMED: usize = 5;

pub fn expanded(request: &ExpandRequest) -> Result<Expansion, PluginError> {
    match request.what.as_str() {
        MOVES_BACK => back(request),
        MOVES => moves(request),
        MOVED => moved(request),
        MAY_GO => may_go(request),
        UNUSED => unused(request),
        VALIDATOR_MOVES => validator_moves(request),
        NAMES_MOVE => names_move(request),
        _ => Err(request.unknown()),
    }
}

fn steps(steps: Vec<Step>) -> Expansion {
    Expansion {
        steps: in_a_row(steps),
        notes: Vec::new(),
    }
}

fn back(request: &ExpandRequest) -> Result<Expansion, PluginError> {
    let back = rollout::back(&request.facts, request.text("namespace"), carried(request))?;
    Ok(steps(back.into_iter().collect()))
}

fn moves(request: &ExpandRequest) -> Result<Expansion, PluginError> {
    let namespace = request.text("namespace");
    let workloads = rollout::workloads(&request.facts, namespace)?;
    if workloads.is_empty() {
        return Ok(Expansion {
            steps: Vec::new(),
            notes: vec![format!(
                "Namespace {namespace} has no workload that can be restarted."
            )],
        });
    }
    let title = format!("namespace {namespace} runs");
    let ready = rollout::ready("ready", title, carried(request), &workloads);
    Ok(steps(vec![
        rollout::restart("restarted", namespace, workloads),
        ready,
    ]))
}

/// The pods with proxies of a revision that are not on their way out.
fn pods<'a>(facts: &'a Facts, revision: &str) -> Result<Vec<&'a Value>, PluginError> {
    // A list that was cut, or may not be read, must not look like nobody.
    demand(facts, "", "Pod")?;
    Ok(facts
        .objects("", "Pod")
        .filter(|pod| !proxies::is_over(pod) && text(pod, "/metadata/deletionTimestamp").is_empty())
        .filter(|pod| proxies::of_pod(pod).is_some_and(|proxy| proxy.revision == revision))
        .collect())
}

/// "3 pods (shop/a, shop/b, shop/c)".
fn named(pods: &[&Value]) -> String {
    let mut names: Vec<String> = pods
        .iter()
        .map(|pod| format!("{}/{}", namespace_of(pod), name(pod)))
        .collect();
    names.sort();
    let more = if names.len() > NAMED { ", ..." } else { "" };
    names.truncate(NAMED);
    format!("{} pods ({}{more})", pods.len(), names.join(", "))
}

fn moved(request: &ExpandRequest) -> Result<Expansion, PluginError> {
    let (namespace, from) = (request.text("namespace"), request.text("from"));
    // A pod that nobody made anew is not the label's fault; it is asked for before the old control plane goes.
    let mut left = pods(&request.facts, from)?;
    left.retain(|pod| pod.pointer("/metadata/ownerReferences").is_some());
    if left.is_empty() {
        return Ok(Expansion::default());
    }
    Err(PluginError::new(
        "istio-namespace-not-moved",
        format!(
            "{} of namespace {namespace} got proxies of revision {from} again",
            named(&left)
        ),
    )
    .cause(format!(
        "another label of the namespace or of the pods counts more than istio.io/rev={}, or they are of no Deployment, \
         StatefulSet or DaemonSet",
        request.text("to")
    ))
    .remedy(format!(
        "`kubectl get namespace {namespace} --show-labels`; take istio-injection away, or sidecar.istio.io/inject and \
         istio.io/rev from the pods' template, and upgrade again"
    )))
}

/// The tags of the old control plane that its release does not take along when it goes.
fn tags_of_others(request: &ExpandRequest) -> Result<Vec<&str>, PluginError> {
    demand(&request.facts, WEBHOOKS, "MutatingWebhookConfiguration")?;
    let (from, of_release) = (request.text("from"), request.text("release"));
    Ok(tag::of_others(&request.facts, from, of_release))
}

fn may_go(request: &ExpandRequest) -> Result<Expansion, PluginError> {
    let from = request.text("from");
    let left = pods(&request.facts, from)?;
    let tags = tags_of_others(request)?;
    let mut reason = if left.is_empty() {
        format!("revision {from} is removed next; no pod has a proxy of it")
    } else {
        format!(
            "revision {from} is removed next, and {} still use it: restart or delete them first, else the upgrade ends there",
            named(&left)
        )
    };
    if !tags.is_empty() {
        let _ = write!(
            reason,
            "; {} still means it: {}, else the upgrade ends there",
            tags.join(", "),
            tag::moving(tags[0], request.text("to"))
        );
    }
    Ok(steps(vec![ask(
        "gate",
        format!("before revision {from} goes"),
        reason,
    )]))
}

fn unused(request: &ExpandRequest) -> Result<Expansion, PluginError> {
    let from = request.text("from");
    let left = pods(&request.facts, from)?;
    let tags = tags_of_others(request)?;
    if let Some(first) = tags.first() {
        return Err(PluginError::new(
            "istio-revision-tagged",
            format!("the tag {} means revision {from}", tags.join(", ")),
        )
        .cause("it is not part of the release: without its control plane it would refuse every pod that it is asked about")
        .remedy(format!("{}, and upgrade again", tag::moving(first, request.text("to")))));
    }
    if left.is_empty() {
        return Ok(Expansion::default());
    }
    Err(PluginError::new(
        "istio-revision-in-use",
        format!("{} have proxies of revision {from}", named(&left)),
    )
    .cause("they are of no workload that was restarted, or their namespace came to the mesh meanwhile")
    .remedy("restart or delete them, and upgrade again; without their control plane they would be cut off"))
}

/// Before the old one goes: its Service is what the validator calls, and without it all configuration would be refused.
fn validator_moves(request: &ExpandRequest) -> Result<Expansion, PluginError> {
    let parts = new_plane(request)?;
    let serves = wait(
        "validates",
        format!("revision {} checks configuration", parts.plane.revision),
        parts.deadline_s,
        validates(default_validator()).into(),
    );
    Ok(steps(vec![parts.base()?, serves]))
}

fn names_move(request: &ExpandRequest) -> Result<Expansion, PluginError> {
    let tags: Vec<&str> = request
        .with
        .get("tags")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let parts = new_plane(request)?;
    let mut istiod = parts.istiod()?;
    if let Action::Release(release) = &mut istiod.action {
        release.values.insert("revisionTags".into(), json!(tags));
    }
    let mut ready = parts.ready();
    if let Action::Wait(wait) = &mut ready.action {
        let serving = |tag: &&str| holds(Rule::Serving, parts.plane.tag(tag));
        let with_tags = tags.iter().filter(|_| parts.webhooks.injector);
        wait.conditions.extend(with_tags.map(serving));
    }
    Ok(steps(vec![istiod, ready]))
}

/// What the new control plane consists of, as it is in the old one's place.
fn new_plane(request: &ExpandRequest) -> Result<Parts<'_>, PluginError> {
    let facts = &request.facts;
    let plane = Plane {
        namespace: request.text("namespace"),
        revision: request.text("revision"),
    };
    Ok(Parts {
        facts,
        chosen: versions::CATALOGUE.choose(request.text("version"), &["base", "istiod"], facts)?,
        profile: Profile::of("default"),
        plane,
        is_default: request.with.get("default") == Some(&Value::Bool(true)),
        webhooks: Webhooks::of(facts, &Values::default(), &[plane]),
        platform: None,
        values: Values::default(),
        images: &request.images,
        deadline_s: carried(request),
        keep_values: true,
    })
}
