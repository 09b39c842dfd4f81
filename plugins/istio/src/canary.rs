//! Upgrading by revision: the new control plane beside the old one, the namespaces moved to it one by one, the gateways
//! after them, and the old one removed when nobody uses it. `docs/plans/istio-canary-upgrade.md` says why in this order.

use std::collections::BTreeSet;

use meshery_mesh_kit::catalogue::Chosen;
use meshery_mesh_kit::object::{annotation, label as mesh_label};
use meshery_mesh_kit::step::{ask, expand, id_for, remove_release, restart_in_undo, with_values_of};
use meshery_mesh_kit::{adoption, namespace, need, parameter, precheck, rollout, schema, webhook};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation, RbacScope, Rights};
use meshery_plugin_api::message::expansion::Expand;
use meshery_plugin_api::message::facts::{Facts, Need};
use meshery_plugin_api::message::finding::{Finding, Installation};
use meshery_plugin_api::message::plan::{Action, Plan, PlanRequest, Step};
use semver::Version;
use serde_json::{Map, Value, json};

use crate::canary_expansion::{MAY_GO, MOVED, MOVES, MOVES_BACK, NAMES_MOVE, UNUSED, VALIDATOR_MOVES};
use crate::control_plane::{DEFAULT_REVISION, INJECTION_LABEL, NAMESPACE, Plane, REVISION_LABEL, shown};
use crate::dropped::{self, Names};
use crate::install::{deadline, deadline_parameter, revision_named, revision_schema, version_parameter};
use crate::parts::{Gateway, Parts, SERVICE_TYPES};
use crate::plane_values::{self, Webhooks};
use crate::profile::Profile;
use crate::releases::{Part, PartRelease, of_istio};
use crate::skew::BY_REVISION;
use crate::tag::Tag;
use crate::upgrade::{installed, of_release, releases};
use crate::values::VALUES;
use crate::{
    MESH, authority, default_validator, detect, injection, nodes, pod_security, proof, proxies, tag, upgrade,
    versions,
};

/// Name of the operation.
pub const CANARY: &str = "upgrade-canary";

pub fn operation() -> Operation {
    let mut needs = vec![need::namespace("{namespace}"), proof::need()];
    needs.extend(detect::needs());
    needs.extend(webhook::needs());
    needs.push(authority::need("{namespace}"));
    needs.push(plane_values::need("{namespace}"));
    needs.extend(precheck::needs(&["{namespace}"]));
    Operation {
        name: CANARY.into(),
        category: Category::Configure,
        description: "Installs another version beside the control plane, moves the namespaces to it one by one, each when somebody \
                      has said yes, then the gateways, and removes the old one when nobody uses it"
            .into(),
        parameters: schema::object(
            [
                version_parameter(),
                (
                    "namespace",
                    schema::namespace("Namespace of both control planes", NAMESPACE),
                ),
                (
                    "from",
                    revision_schema("Revision of the control plane that is there; the default one when empty"),
                ),
                (
                    "revision",
                    revision_schema("Revision of the new one; its version with dashes when empty, as in 1-30-3"),
                ),
                (
                    "replace-labels",
                    schema::flag(
                        "Also move namespaces whose label somebody else has set: it is taken over, which the policy has to \
                         allow (force conflicts). Without it they stay, and the old control plane with them",
                        false,
                    ),
                ),
                VALUES.parameter(),
                adoption::parameter(),
                deadline_parameter(),
            ],
            &[],
        ),
        needs,
    }
}

/// A namespace with pods of the old control plane.
struct Member<'a> {
    name: &'a str,
    /// Among its likes.
    number: usize,
    /// What gives it the new label; nothing where somebody else has set the one it has.
    labels: Option<Vec<Step>>,
}

/// A request, read.
struct Canary<'a> {
    old: Plane<'a>,
    installed: Installation,
    releases: Vec<PartRelease>,
    chosen: Chosen,
    revision: String,
}

impl<'a> Canary<'a> {
    fn read(request: &'a PlanRequest) -> Result<Self, PluginError> {
        let facts = &request.facts;
        let old = Plane {
            namespace: parameter::namespace(request, "namespace", NAMESPACE)?,
            revision: revision_named(request, "from")?,
        };
        let installed = installed(facts, old)?;
        let releases = releases(facts, old);
        of_release(&installed, &releases, old)?;
        if of_istio(facts)
            .iter()
            .any(|release| release.part == Part::Ztunnel)
        {
            return Err(PluginError::new(
                "istio-canary-ambient",
                "there is a proxy on each node, of which no node can have two: ambient mode has no canary upgrade",
            )
            .remedy("upgrade in place (operation upgrade)"));
        }
        let mut charts = vec!["base", "istiod"];
        charts.extend(has(&releases, Part::Cni).then_some("cni"));
        charts.extend(has(&releases, Part::Gateway).then_some("gateway"));
        let version = parameter::text(request, "version", "")?;
        let chosen = versions::CATALOGUE.choose(version, &charts, facts)?;
        let revision = match revision_named(request, "revision")? {
            "" => dashed(&chosen.version),
            revision => revision.to_owned(),
        };
        if revision == old.revision {
            return Err(PluginError::new(
                "bad-parameter",
                format!("\"{revision}\" is the revision that is there: nothing would be beside it"),
            )
            .remedy("name another one (parameter revision), or upgrade in place (operation upgrade)"));
        }
        Ok(Self {
            old,
            installed,
            releases,
            chosen,
            revision,
        })
    }

    fn new_plane(&self) -> Plane<'_> {
        Plane {
            namespace: self.old.namespace,
            revision: &self.revision,
        }
    }

    /// Whether the old one is what pods get that name no revision.
    fn is_default(&self, facts: &Facts) -> bool {
        self.old.revision.is_empty() || default_validator::calls(facts, self.old)
    }

    /// The other names of the old one that the new one gets: those that its release has, and the default one; and those that
    /// its own release has already.
    fn tags(&self, facts: &Facts, is_default: bool) -> Vec<String> {
        let releases = [self.old.istiod(), self.new_plane().istiod()];
        let of_release = |tag: &Tag<'_>| {
            tag.release.as_ref().is_some_and(|release| {
                release.namespace == self.old.namespace && releases.contains(&release.name)
            })
        };
        let theirs = tag::all(facts).filter(of_release).map(|tag| tag.name);
        let default = is_default.then_some(DEFAULT_REVISION);
        let names: BTreeSet<&str> = theirs.chain(default).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// The namespaces of the old one.
    fn members(&self, request: &PlanRequest) -> Result<Vec<Member<'_>>, PluginError> {
        let replace = parameter::flag(request, "replace-labels", false)?;
        let members = self.installed.namespaces.iter().enumerate();
        Ok(members
            .map(|(number, name)| Member {
                name,
                number,
                labels: self.labels(&request.facts, name, number, replace),
            })
            .collect())
    }

    /// The steps that give a namespace the label of the new revision in place of the one it has.
    fn labels(&self, facts: &Facts, member: &str, number: usize, replace: bool) -> Option<Vec<Step>> {
        let label = (REVISION_LABEL, self.revision.as_str());
        let object = namespace::find(facts, member)?;
        let dropped = dropped::wanting(object);
        let ours: Vec<_> = injection::all_of_ours()
            .filter(|injection| annotation(object, injection.mark).is_some())
            .chain(dropped.iter().map(Names::injection))
            .collect();
        if !ours.is_empty() {
            let steps = ours.iter().enumerate().map(|(at, injection)| {
                // The digit is in the word, so that none is the id of a namespace that begins with it.
                let word = if at == 0 {
                    "label".to_owned()
                } else {
                    format!("label{}", at + 1)
                };
                let id = id_for(&word, member, number);
                injection.enable_with(&id, member, label)
            });
            return Some(steps.collect());
        }
        if !replace {
            return None;
        }
        let mut steps = Vec::new();
        if mesh_label(object, INJECTION_LABEL).is_some() {
            // A label that somebody else has set can only be removed by whoever owns it, and owns it alone whoever has
            // set it otherwise.
            let id = id_for("take-label", member, number);
            steps.push(injection::INJECTION.enable_with(&id, member, (INJECTION_LABEL, "disabled")));
        }
        let id = id_for("label", member, number);
        steps.push(injection::INJECTION.enable_with(&id, member, label));
        Some(steps)
    }
}

fn has(releases: &[PartRelease], part: Part) -> bool {
    releases.iter().any(|release| release.part == part)
}

/// A version as a revision: dots are not allowed there.
pub fn dashed(version: &Version) -> String {
    version.to_string().replace(['.', '+'], "-")
}

pub fn plan(request: &PlanRequest) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    detect::demand_whole(facts)?;
    let canary = Canary::read(request)?;
    let (old, new) = (canary.old, canary.new_plane());
    let values = VALUES.read(request)?;
    let parts = Parts {
        facts,
        chosen: canary.chosen.clone(),
        profile: Profile::of("default"),
        plane: new,
        is_default: false,
        webhooks: Webhooks::of(facts, &values, &[new, old]),
        platform: None,
        values,
        images: &request.images,
        deadline_s: deadline(request)?,
        keep_values: true,
    };
    let mut steps = beside(&canary, facts, &parts)?;
    let mut stay = Vec::new();
    for member in canary.members(request)? {
        match member.labels {
            Some(labels) => {
                let of_namespace = moved(&canary, member.name, member.number, labels, parts.deadline_s);
                steps.extend(of_namespace);
            }
            None => stay.push(member.name),
        }
    }
    steps.extend(gateways(&canary, &parts)?);
    let mut verify: Vec<Step> = parts.injects().into_iter().collect();
    verify.push(proof::validation_works(new.namespace, parts.deadline_s));
    let mut notes = vec![format!(
        "The new control plane begins with the values of {}; what is set later in one is not set in the other.",
        old.istiod()
    )];
    if stay.is_empty() {
        steps.extend(removal(&canary, facts, parts.deadline_s));
        if canary.is_default(facts) && parts.webhooks.injector {
            let unnamed = Plane { revision: "", ..new };
            let mut of_default = proof::injection_works(facts, unnamed, parts.images, parts.deadline_s);
            of_default.id = "injection-default".into();
            verify.push(of_default);
        }
    } else {
        notes.push(format!(
            "Somebody else has labelled {}: they stay with revision {}, and so it is not removed (parameter replace-labels).",
            stay.join(", "),
            shown(old.revision)
        ));
    }
    Ok(crate::plan(
        format!(
            "Upgrade {MESH} {} (revision {}) to {} (revision {}) in namespace {}, namespace by namespace",
            canary.installed.version,
            shown(old.revision),
            canary.chosen.version,
            canary.revision,
            old.namespace
        ),
        steps,
        verify,
        notes,
    ))
}

/// The new control plane, and that it injects.
fn beside(canary: &Canary<'_>, facts: &Facts, parts: &Parts<'_>) -> Result<Vec<Step>, PluginError> {
    let mut istiod = with_values_of(parts.istiod()?, &canary.old.istiod());
    let there = of_istio(facts).into_iter().any(|release| {
        release.id.namespace == canary.old.namespace && release.id.name == parts.plane.istiod()
    });
    if let (Action::Release(release), false) = (&mut istiod.action, there) {
        // Another name of the old one stays with that.
        release.values.insert("revisionTags".into(), json!([]));
    }
    let mut steps: Vec<Step> = parts.pod_is_taken().into_iter().collect();
    steps.extend([parts.base()?, istiod, parts.ready()]);
    steps.extend(parts.injects().map(|proof| Step {
        id: "injection-beside".into(),
        ..proof
    }));
    if has(&canary.releases, Part::Cni) {
        steps.extend([parts.cni()?, parts.nodes_ready(false)]);
    }
    Ok(steps)
}

fn with(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
        .collect()
}

fn expansion(what: &str, with: Map<String, Value>, needs: Vec<Need>, within: Rights) -> Expand {
    Expand {
        what: what.into(),
        with,
        needs,
        within,
    }
}

/// A namespace goes over to the new revision when somebody has said yes, with the workloads that are there then.
fn moved(canary: &Canary<'_>, member: &str, number: usize, labels: Vec<Step>, deadline_s: u32) -> Vec<Step> {
    let within = Rights {
        namespaces: vec![member.to_owned()],
        ..Rights::default()
    };
    let workloads = |what| {
        let needs = rollout::needs(member).to_vec();
        let mut with = with(&[("namespace", member)]);
        with.insert("deadline".into(), deadline_s.into());
        expansion(what, with, needs, within.clone())
    };
    let reason = format!(
        "namespace {member} goes over to revision {} and its workloads are restarted next",
        canary.revision
    );
    let mut steps = vec![
        ask(
            &id_for("gate", member, number),
            format!("before namespace {member}"),
            reason,
        ),
        // Before the label: in the undo it comes after that.
        expand(
            &id_for("back", member, number),
            format!("the workloads of namespace {member}, should the label be taken back"),
            workloads(MOVES_BACK),
        ),
    ];
    steps.extend(labels);
    steps.push(expand(
        &id_for("move", member, number),
        format!("the workloads of namespace {member}"),
        workloads(MOVES),
    ));
    let both = [
        ("namespace", member),
        ("from", shown(canary.old.revision)),
        ("to", &canary.revision),
    ];
    steps.push(expand(
        &id_for("moved", member, number),
        format!("namespace {member} is with revision {}", canary.revision),
        expansion(
            MOVED,
            with(&both),
            vec![proxies::need_within(member)],
            Rights::default(),
        ),
    ));
    steps
}

/// A gateway's pods ask for a revision by a value of their release.
fn gateways(canary: &Canary<'_>, parts: &Parts<'_>) -> Result<Vec<Step>, PluginError> {
    let gateways: Vec<&PartRelease> = canary
        .releases
        .iter()
        .filter(|release| release.part == Part::Gateway)
        .collect();
    let mut steps = Vec::new();
    if !gateways.is_empty() {
        let names: Vec<&str> = gateways.iter().map(|gateway| gateway.id.name.as_str()).collect();
        let reason = format!(
            "the pods of {} are made anew next, with revision {}: connections through them end",
            names.join(", "),
            canary.revision
        );
        steps.push(ask("gateways-gate", "before the gateways", reason));
    }
    for (at, release) in gateways.into_iter().enumerate() {
        let id = match at {
            0 => "gateway".to_owned(),
            at => format!("gateway-{}", at + 1),
        };
        let gateway = Gateway {
            id: &id,
            title: "gateway",
            name: &release.id.name,
            namespace: &release.id.namespace,
            // What it has stays.
            service_type: SERVICE_TYPES[0],
            wait_for_address: false,
        };
        steps.extend([parts.gateway(&gateway)?, parts.gateway_ready(&gateway)]);
    }
    Ok(steps)
}

/// The old control plane goes when nobody uses it, and the new one gets its place.
fn removal(canary: &Canary<'_>, facts: &Facts, deadline_s: u32) -> Vec<Step> {
    let (old, from) = (canary.old, shown(canary.old.revision));
    let mut of_old = with(&[("from", from), ("to", &canary.revision)]);
    of_old.insert("release".into(), old.istiod().into());
    let users = vec![proxies::need(), tag::need()];
    let mut steps = vec![
        expand(
            "asked",
            format!("who still uses revision {from}"),
            expansion(MAY_GO, of_old.clone(), users.clone(), Rights::default()),
        ),
        expand(
            "unused",
            format!("nobody uses revision {from}"),
            expansion(UNUSED, of_old, users, Rights::default()),
        ),
    ];
    let is_default = canary.is_default(facts);
    if is_default {
        let title = format!("configuration is checked by revision {}", canary.revision);
        let with = Map::from_iter([("default".into(), true.into())]);
        let moves = new_plane(VALIDATOR_MOVES, canary, deadline_s, with);
        steps.push(expand("validator", title, moves));
    }
    steps.extend([
        // In the undo: the old one has to serve before anything goes back to it.
        restart_in_undo(
            "old-again",
            format!("istiod of revision {from} runs, when it is back"),
            deadline_s,
            vec![old.deployment()],
        ),
        remove_release(
            "old",
            format!("release {} in {}", old.istiod(), old.namespace),
            (old.namespace, &old.istiod()),
        ),
    ]);
    let tags = canary.tags(facts, is_default);
    if !tags.is_empty() {
        let title = if is_default {
            format!("pods that name no revision get {}", canary.revision)
        } else {
            format!("{} means revision {}", tags.join(", "), canary.revision)
        };
        let with = Map::from_iter([
            ("default".into(), is_default.into()),
            ("tags".into(), tags.into()),
        ]);
        steps.push(expand(
            "default",
            title,
            new_plane(NAMES_MOVE, canary, deadline_s, with),
        ));
    }
    steps
}

/// What is expanded to steps that make the new control plane what the old one was.
fn new_plane(what: &str, canary: &Canary<'_>, deadline_s: u32, mut more: Map<String, Value>) -> Expand {
    let namespace = canary.old.namespace;
    let version = canary.chosen.version.to_string();
    let mut with = with(&[
        ("namespace", namespace),
        ("revision", &canary.revision),
        ("version", &version),
    ]);
    with.insert("deadline".into(), deadline_s.into());
    with.append(&mut more);
    let needs = vec![detect::need_of_accounts(namespace), plane_values::need(namespace)];
    // As much as the charts of base and istiod hold.
    let within = Rights {
        namespaces: vec![namespace.to_owned()],
        cluster_groups: Vec::new(),
        crds: true,
        rbac: RbacScope::Cluster,
        webhooks: true,
        secrets: true,
        ..Rights::default()
    };
    expansion(what, with, needs, within)
}

pub fn check(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let canary = Canary::read(request)?;
    let facts = &request.facts;
    let mut findings = upgrade::checked(request, &canary.installed, &canary.chosen, BY_REVISION)?;
    findings.extend(upgrade::carried(request, &canary.releases, true)?);
    let there = detect::installations(facts)?;
    let seen = nodes::Seen::new(facts, &there, &canary.releases);
    findings.extend(seen.beside(canary.old, &canary.revision, &canary.chosen.version));
    findings.extend(proof::refused(facts, canary.new_plane()));
    let beside = there
        .into_iter()
        .find(|found| found.namespace == canary.old.namespace && found.revision == canary.revision);
    if let Some(beside) = beside {
        findings.push(
            Finding::warning(
                "istio-revision-there",
                format!(
                    "revision {} is there already, with version {}: it is gone on with, and keeps its values",
                    beside.revision, beside.version
                ),
            )
            .remedy("name another revision, if it is for something else"),
        );
    }
    let (from, old) = (shown(canary.old.revision), canary.old.istiod());
    let tags = tag::of_others(facts, from, &old);
    if !tags.is_empty() {
        findings.push(
            Finding::warning(
                "istio-tags-of-others",
                format!(
                    "no release of the control plane has made the tags {}, which mean revision {from}: \
                     while they do, it does not go",
                    tags.join(", ")
                ),
            )
            .remedy(format!(
                "move them before the last gate, when the namespaces have gone over: {}",
                tag::moving(tags[0], &canary.revision)
            )),
        );
    }
    let members = canary.members(request)?;
    let go = members.iter().filter(|member| member.labels.is_some());
    findings.extend(go.filter_map(|member| pod_security::of_sidecars(facts, member.name)));
    let stay: Vec<&str> = members
        .iter()
        .filter(|member| member.labels.is_none())
        .map(|member| member.name)
        .collect();
    if !stay.is_empty() {
        findings.push(
            Finding::warning(
                "istio-labels-of-others",
                format!(
                    "somebody else has labelled {}: they stay with the old control plane",
                    stay.join(", ")
                ),
            )
            .remedy(
                "have their labels changed by whoever has set them, or say that they are to be taken over \
                 (parameter replace-labels, and force conflicts)",
            ),
        );
    }
    Ok(findings)
}
