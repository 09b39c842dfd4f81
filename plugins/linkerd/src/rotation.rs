//! Rotating the trust anchor: the new one beside the old one, everybody restarted, then the issuer under the new one,
//! everybody restarted again, and only then the new one alone. `docs/plans/linkerd-trust-anchor-rotation.md` says why
//! in this order.

use meshery_mesh_kit::object::{name, namespace as namespace_of, text};
use meshery_mesh_kit::readable::demand;
use meshery_mesh_kit::rollout::{self, DEADLINE, workloads};
use meshery_mesh_kit::step::{
    ask, delete, expand, holding_back, id_for, leaving, material, restart, restart_in_undo, wait,
};
use meshery_mesh_kit::{certificate, need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation, Rights};
use meshery_plugin_api::message::expansion::{Expand, ExpandRequest, Expansion};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Plan, PlanRequest, Step, Target};
use serde_json::{Map, Value};

use crate::control_plane::{CONTROL_PLANE_NS, DEPLOYMENTS, NAMESPACE, TRUST_ROOTS, deployment, ready};
use crate::identity::{self, ANCHOR};
use crate::{MESH, bundle, detect, install, trust, trust_owner};

/// Name of the operation.
pub const ROTATE: &str = "rotate-anchor";
/// Expansions: the workloads of a namespace, the same in the undo, and whether any pod was left behind.
const NAMESPACE_RESTARTED: &str = "namespace-restarted";
const NAMESPACE_AGAIN: &str = "namespace-again";
const NOBODY_BEHIND: &str = "nobody-behind";
/// What the Deployments leave: the moment at which their rollout was complete is in it.
const ROLLED_OUT: &str = "rolled-out";
/// What holds before the issuer is signed anew, and before the old anchor goes.
const EVERY_POD_BOTH: &str = "every pod believes both";
const NO_POD_OLD: &str = "no pod has a certificate under the old anchor";
/// What the proof of it gets: the Secret with the new anchor, and the digests of those that were believed before.
const NEW: &str = "new-anchor";
const BEFORE: &str = "anchors-before";
/// Label of the control plane's own pods.
const COMPONENT: &str = "/metadata/labels/linkerd.io~1control-plane-component";
/// How many pods an error names.
const NAMED: usize = 5;

/// What has to be read to put another anchor into the place of the one that is there.
pub fn needs() -> Vec<Need> {
    let mut needs = detect::needs();
    needs.extend([
        need::namespace("{namespace}"),
        need::within("{namespace}", "", "Secret", "", Detail::Metadata),
    ]);
    needs.extend(trust::needs());
    needs
}

pub fn operation() -> Operation {
    Operation {
        name: ROTATE.into(),
        category: Category::Configure,
        description: "Makes a new trust anchor and goes over to it: every pod trusts both before the issuer is signed anew, and \
                      the new one alone only at the end; each namespace is restarted twice, when somebody has said yes"
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
                trust_owner::parameter(),
                rollout::deadline_parameter(),
            ],
            &[],
        ),
        needs: needs(),
    }
}

pub fn plan(request: &PlanRequest) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let found = detect::installed_in(facts, target)?;
    let old = identity::anchor_of(facts, target);
    demand_bundle(facts, target)?;
    trust_owner::demand_nobody_else(request, target)?;
    identity::demand_lifetimes(request)?;
    let rotation = Rotation {
        request,
        target,
        new: next(facts, target),
        namespaces: &found.namespaces,
        deadline_s: rollout::deadline(request)?,
    };
    let steps = [
        rotation.trust_both()?,
        rotation.restarts_after_old_issuer(),
        rotation.renew_issuer()?,
        rotation.trust_new_alone(&old),
    ];
    Ok(crate::plan(
        format!("Rotate the trust anchor of {MESH} in namespace {target}, namespace by namespace"),
        steps.concat(),
        vec![install::injection_works(&request.images, rotation.deadline_s)],
        vec![
            format!(
                "Nothing is cut off as long as every pod is restarted twice. Namespaces with proxies: {}.",
                if found.namespaces.is_empty() {
                    "none".into()
                } else {
                    found.namespaces.join(", ")
                }
            ),
            "Pods that are of no workload, or come to the mesh meanwhile, are found before each point at which they would be \
             cut off; then nothing goes on."
                .into(),
        ],
    ))
}

/// What the phases of a rotation go by.
struct Rotation<'a> {
    request: &'a PlanRequest,
    /// Namespace of the control plane.
    target: &'a str,
    /// The Secret with the new anchor.
    new: String,
    /// Those in the mesh.
    namespaces: &'a [String],
    /// Of each rollout.
    deadline_s: u32,
}

impl Rotation<'_> {
    /// The new anchor is made and believed beside the old one, by everybody in the end.
    fn trust_both(&self) -> Result<Vec<Step>, PluginError> {
        let (target, new) = (self.target, &self.new);
        let mut steps = vec![
            install::pod_is_taken(&self.request.images),
            material(
                "anchor",
                format!("the new anchor, in Secret {target}/{new}"),
                vec![identity::anchor(self.request, target, new)?],
            ),
            material(
                "both",
                "the old and the new anchor are believed",
                vec![identity::roots(target, new, true)],
            ),
            restart(
                "control-plane",
                "identity, destination, injector",
                self.control_plane(),
            ),
            leaving(
                self.ready("control-plane-ready", "the control plane believes both"),
                ROLLED_OUT,
                deployment(target, DEPLOYMENTS[2]),
                "/status/conditions",
            ),
        ];
        steps.extend(self.round("trust", "so that they believe both anchors"));
        steps.push(self.behind("all-trust-both", EVERY_POD_BOTH, "control-plane-ready"));
        steps.push(ask(
            "issuer-gate",
            "before the new anchor signs",
            "the issuer is signed by the new anchor next: whoever does not believe it is cut off".into(),
        ));
        // A gate may stay closed for days.
        steps.push(self.behind("all-trust-both-still", EVERY_POD_BOTH, "control-plane-ready"));
        Ok(steps)
    }

    /// Before the issuer: in the undo all of these come after that, identity first. Who has a certificate under the new anchor
    /// by then gets one under the old one while both are believed; only then does the new one go.
    fn restarts_after_old_issuer(&self) -> Vec<Step> {
        let mut steps = self.back();
        steps.push(restart_in_undo(
            "control-plane-renewed-again",
            "destination and injector get certificates under the old issuer again, when that is back",
            self.deadline_s,
            self.beside_identity(),
        ));
        steps.push(restart_in_undo(
            "identity-again",
            "identity signs under the old issuer again, when that is back",
            self.deadline_s,
            self.identity(),
        ));
        steps
    }

    /// The new anchor signs the issuer, and everybody gets a certificate under it.
    fn renew_issuer(&self) -> Result<Vec<Step>, PluginError> {
        let target = self.target;
        let mut steps = vec![
            // Where it stays, the anchor that has signed it has to be believed on.
            holding_back(material(
                "issuer",
                "the issuer, signed by the new anchor",
                vec![identity::issuer(self.request, target, &self.new, true)?],
            )),
            restart("identity", "identity signs under it", self.identity()),
            leaving(
                self.ready("identity-ready", "identity runs and answers"),
                ROLLED_OUT,
                deployment(target, DEPLOYMENTS[0]),
                "/status/conditions",
            ),
            restart(
                "control-plane-renewed",
                "destination and injector get certificates under it",
                self.beside_identity(),
            ),
            self.ready(
                "control-plane-renewed-ready",
                "the control plane runs and answers",
            ),
        ];
        steps.extend(self.round("renew", "so that their certificates are under the new anchor"));
        steps.push(self.behind("all-renewed", NO_POD_OLD, "identity-ready"));
        Ok(steps)
    }

    /// The old anchor goes, when nothing in use is under it any more.
    fn trust_new_alone(&self, old: &str) -> Vec<Step> {
        let target = self.target;
        vec![
            ask(
                "new-alone-gate",
                "before the old anchor goes",
                "the old anchor is not believed any more from then on".into(),
            ),
            self.behind("all-renewed-still", NO_POD_OLD, "identity-ready"),
            restart_in_undo(
                "control-plane-again",
                "the control plane believes both again, when they are back",
                self.deadline_s,
                self.control_plane(),
            ),
            holding_back(material(
                "new-alone",
                "the new anchor alone is believed",
                vec![identity::roots(target, &self.new, false)],
            )),
            restart(
                "control-plane-new",
                "identity, destination, injector",
                self.control_plane(),
            ),
            self.ready("control-plane-new-ready", "the control plane runs and answers"),
            delete(
                "old-anchor",
                "the old anchor, if it was made here",
                vec![Target {
                    object: ObjectRef::new("v1", "Secret", target, old),
                    when: Condition::Ours,
                }],
            ),
        ]
    }

    /// Every namespace once, each when somebody has said yes, with the workloads that are there then.
    fn round(&self, word: &str, why: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        for (number, namespace) in self.namespaces.iter().enumerate() {
            let reason = format!("the workloads of namespace {namespace} are restarted next, {why}");
            let title = format!("before namespace {namespace}");
            let id = id_for(&format!("{word}-gate"), namespace, number);
            steps.push(ask(&id, title, reason));
            let title = format!("the workloads of namespace {namespace}");
            let id = id_for(word, namespace, number);
            steps.push(expand(
                &id,
                title,
                self.workloads_of(namespace, NAMESPACE_RESTARTED),
            ));
        }
        steps
    }

    /// The workloads of every namespace, restarted when the issuer has been taken back.
    fn back(&self) -> Vec<Step> {
        let expansion = |(number, namespace): (usize, &String)| {
            let title = format!("the workloads of namespace {namespace}, should the issuer be taken back");
            let id = id_for("back", namespace, number);
            expand(&id, title, self.workloads_of(namespace, NAMESPACE_AGAIN))
        };
        self.namespaces.iter().enumerate().map(expansion).collect()
    }

    fn workloads_of(&self, namespace: &str, what: &str) -> Expand {
        let mut with = with("namespace", namespace);
        with.insert(DEADLINE.into(), self.deadline_s.into());
        Expand {
            what: what.into(),
            with,
            needs: rollout::needs(namespace).to_vec(),
            within: Rights {
                namespaces: vec![namespace.to_owned()],
                ..Rights::default()
            },
        }
    }

    /// Fails when the anchors are not both there any more, and when there are pods with proxies from before a rollout or with
    /// other anchors.
    fn behind(&self, id: &str, title: &str, since: &str) -> Step {
        let target = self.target;
        let before = trust::text_of(&self.request.facts, target).unwrap_or_default();
        let mut with = with("since", &format!("{since}.{ROLLED_OUT}"));
        with.insert("control-plane".into(), target.into());
        with.insert(NEW.into(), self.new.clone().into());
        with.insert(BEFORE.into(), bundle::digests(before).into_iter().collect());
        let nobody = Expand {
            what: NOBODY_BEHIND.into(),
            with,
            needs: vec![
                need::everywhere("", "Pod", CONTROL_PLANE_NS, Detail::Full),
                need::one(target, "", "ConfigMap", TRUST_ROOTS, Detail::Full),
                need::one(target, "", "Secret", &self.new, Detail::Full),
            ],
            within: Rights::default(),
        };
        expand(id, title, nobody)
    }

    fn ready(&self, id: &str, title: &str) -> Step {
        wait(id, title, self.deadline_s, ready(self.target))
    }

    fn control_plane(&self) -> Vec<ObjectRef> {
        self.deployments(&DEPLOYMENTS)
    }

    fn identity(&self) -> Vec<ObjectRef> {
        self.deployments(&DEPLOYMENTS[..1])
    }

    /// Destination and injector.
    fn beside_identity(&self) -> Vec<ObjectRef> {
        self.deployments(&DEPLOYMENTS[1..])
    }

    fn deployments(&self, names: &[&str]) -> Vec<ObjectRef> {
        names.iter().map(|name| deployment(self.target, name)).collect()
    }
}

/// The Secret that the new anchor gets: a number more than the highest there is.
pub fn next(facts: &Facts, target: &str) -> String {
    let highest = facts
        .objects("", "Secret")
        .filter(|secret| namespace_of(secret) == target)
        .filter_map(|secret| {
            name(secret)
                .strip_prefix(ANCHOR)?
                .strip_prefix('-')?
                .parse::<u32>()
                .ok()
        })
        .max();
    format!("{ANCHOR}-{}", highest.unwrap_or(1).saturating_add(1))
}

/// Anchors that a chart has written belong to its release, and the next upgrade would put them back.
pub fn demand_bundle(facts: &Facts, target: &str) -> Result<(), PluginError> {
    let bundle = facts
        .objects("", "ConfigMap")
        .find(|object| name(object) == TRUST_ROOTS && namespace_of(object) == target);
    let place = format!("ConfigMap {target}/{TRUST_ROOTS}");
    match bundle {
        None => Err(PluginError::new(
            "linkerd-trust-missing",
            format!("there is no {place}: the anchors are somewhere else"),
        )
        .remedy("rotate them with whatever has made them")),
        Some(_) if trust::is_of_chart(facts, target) => Err(PluginError::new(
            "linkerd-trust-in-chart",
            format!("{place} is part of a Helm release: its anchors come from the chart's values"),
        )
        .remedy(format!(
            "take both out of its hands: {}, then operation upgrade with values {{\"linkerd-control-plane\": {{\"identity\": \
             {{\"externalCA\": true}}}}}}; or rotate them by an upgrade with other values (identityTrustAnchorsPEM, \
             identity.issuer.tls)",
            trust::keeping(target)
        ))),
        Some(_) => Ok(()),
    }
}

fn with(name: &str, value: &str) -> Map<String, Value> {
    [(name.to_owned(), Value::from(value))].into_iter().collect()
}

pub fn expanded(request: &ExpandRequest) -> Result<Expansion, PluginError> {
    match request.what.as_str() {
        NAMESPACE_RESTARTED => {
            let namespace = request.text("namespace");
            let workloads = workloads(&request.facts, namespace)?;
            if workloads.is_empty() {
                return Ok(Expansion {
                    steps: Vec::new(),
                    notes: vec![format!(
                        "Namespace {namespace} has no workload that can be restarted."
                    )],
                });
            }
            let title = format!("namespace {namespace} runs");
            let ready = rollout::ready("ready", title, rollout::carried(request), &workloads);
            let steps = vec![rollout::restart("restarted", namespace, workloads), ready];
            Ok(Expansion {
                steps: meshery_mesh_kit::step::in_a_row(steps),
                notes: Vec::new(),
            })
        }
        NAMESPACE_AGAIN => {
            let back = rollout::back(
                &request.facts,
                request.text("namespace"),
                rollout::carried(request),
            )?;
            Ok(Expansion {
                steps: back.into_iter().collect(),
                notes: Vec::new(),
            })
        }
        NOBODY_BEHIND => nobody_behind(request),
        _ => Err(request.unknown()),
    }
}

fn nobody_behind(request: &ExpandRequest) -> Result<Expansion, PluginError> {
    let conditions = request
        .outputs
        .get(request.text("since"))
        .and_then(Value::as_array);
    let since = conditions
        .into_iter()
        .flatten()
        .find(|condition| text(condition, "/type") == "Progressing")
        .map(|condition| text(condition, "/lastUpdateTime"))
        .filter(|moment| !moment.is_empty())
        .ok_or_else(|| {
            PluginError::new(
                "linkerd-rollout-unknown",
                "when the control plane was rolled out cannot be told from its Deployment",
            )
        })?;
    // What was cut, or may not be read, must not look like nobody.
    for kind in ["Pod", "ConfigMap", "Secret"] {
        demand(&request.facts, "", kind)?;
    }
    let anchors = demand_both(request)?;
    let pods: Vec<&Value> = request
        .facts
        .objects("", "Pod")
        .filter(|pod| text(pod, COMPONENT).is_empty())
        .filter(|pod| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"))
        .filter(|pod| text(pod, "/metadata/deletionTimestamp").is_empty())
        .collect();
    // Both have seconds only: who is of the same one may be from before.
    let old = |pod: &&&Value| text(pod, "/metadata/creationTimestamp") <= since;
    if let Some((count, named)) = named(pods.iter().filter(old)) {
        return Err(PluginError::new(
            "linkerd-pods-behind",
            format!("{count} pods with proxies are not newer than the rollout at {since}: {named}"),
        )
        .cause("they are of no workload that was restarted, or their namespace came to the mesh meanwhile")
        .remedy("restart or delete them, and rotate again; until then they would be cut off"));
    }
    if let Some((count, named)) = named(pods.iter().filter(|pod| trust::was_given_others(pod, anchors))) {
        return Err(PluginError::new(
            "linkerd-pods-behind",
            format!("{count} pods have proxies with other anchors than those of now: {named}"),
        )
        .cause("the anchors were others for a while when these pods were made, or the injector has old ones still")
        .remedy("see that nobody else writes the anchors, restart or delete these pods, and rotate again"));
    }
    Ok(Expansion::default())
}

/// How many pods there are, and the first of them by name.
fn named<'a>(pods: impl Iterator<Item = &'a &'a Value>) -> Option<(usize, String)> {
    let mut names: Vec<String> = pods
        .map(|pod| format!("{}/{}", namespace_of(pod), name(pod)))
        .collect();
    names.sort();
    let count = names.len();
    names.truncate(NAMED);
    if count > NAMED {
        names.push(format!("and {} more", count - NAMED));
    }
    (count > 0).then(|| (count, names.join(", ")))
}

/// The anchors of now: an error where the new one, or one that was believed before, is not among them.
fn demand_both(request: &ExpandRequest) -> Result<&str, PluginError> {
    let (facts, target) = (&request.facts, request.text("control-plane"));
    let new = trust::find(facts, "Secret", target, request.text(NEW))
        .and_then(|secret| certificate::of_base64(text(secret, "/data/tls.crt")))
        .unwrap_or_default();
    let before = request.with.get(BEFORE).and_then(Value::as_array);
    let before = before.into_iter().flatten().filter_map(Value::as_str);
    let there = trust::text_of(facts, target).unwrap_or_default();
    let (new, now) = (bundle::digests(&new), bundle::digests(there));
    if !new.is_empty() && now.is_superset(&new) && before.into_iter().all(|digest| now.contains(digest)) {
        return Ok(there);
    }
    Err(PluginError::new(
        "linkerd-anchors-put-back",
        format!("ConfigMap {target}/{TRUST_ROOTS} does not have the old and the new anchor any more"),
    )
    .cause("somebody else has written it since: a controller that keeps it (trust-manager, Flux, Argo CD), or a person")
    .remedy(
        "rotate where it is kept, or suspend what keeps it until the operation has ended, and rotate again; until then pods would \
         be cut off",
    ))
}
