//! Removing Istio: releases in reverse, then what istiod made by itself, then namespaces that are ours and empty.

use std::collections::BTreeMap;

use meshery_mesh_kit::object::{annotation, label, name, namespace as namespace_of};
use meshery_mesh_kit::ownership::{ReleaseId, release_of};
use meshery_mesh_kit::step::{delete, remove_release};
use meshery_mesh_kit::{adoption, namespace, need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Detail, Facts};
use meshery_plugin_api::message::finding::Installation;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Plan, PlanRequest, Step, Target};

use crate::control_plane::{DEFAULT_REVISION, NAMESPACE, Plane, REVISION_LABEL, WEBHOOKS, is_istiod, shown};
use crate::default_validator::{self, Handover};
use crate::install::{asked_revision, revision_parameter};
use crate::maker::of_operator;
use crate::releases::{Part, PartRelease, of_istio};
use crate::{MESH, detect, istioctl};

/// Label of the ConfigMap with the CA's certificate that istiod puts into every namespace.
const ISTIODS_OWN: &str = "istio.io/config=true";
/// Annotation by which an object serves as a lock between replicas.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Key and certificate of istiod's own CA.
const CA_SECRET: &str = "istio-ca-secret";

pub fn operation() -> Operation {
    let mut needs = vec![need::namespace("{namespace}")];
    needs.extend(detect::needs());
    needs.extend([
        need::everywhere("", "ConfigMap", ISTIODS_OWN, Detail::Metadata),
        need::within("{namespace}", "", "ConfigMap", "", Detail::Metadata),
        need::within(
            "{namespace}",
            "coordination.k8s.io",
            "Lease",
            "",
            Detail::Metadata,
        ),
        need::one("{namespace}", "", "Secret", CA_SECRET, Detail::Metadata),
    ]);
    needs.extend(istioctl::needs());
    Operation {
        name: "remove".into(),
        category: Category::Remove,
        description: "Removes Istio: gateways, control plane, definitions; keeps what Istio keeps on purpose"
            .into(),
        parameters: schema::object(
            [
                (
                    "namespace",
                    schema::namespace("Namespace of the control plane", NAMESPACE),
                ),
                (
                    "custom-resources",
                    schema::flag(
                        "With `purge`: also delete the definitions that are in use or were made by others, and all custom \
                         resources of them; an undo brings them back",
                        false,
                    ),
                ),
                revision_parameter(
                    "Only the control plane of this revision, with its gateways, while there is another one in the \
                     namespace; all of them when none is named",
                ),
                adoption::removal_parameter(),
                (
                    "purge",
                    schema::flag(
                        "Also delete what Istio keeps: its definitions, if no custom resource uses them, and the \
                         Secret of its CA",
                        false,
                    ),
                ),
            ],
            &[],
        ),
        needs,
    }
}

/// What a removal is about.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Namespace of the control plane.
    pub namespace: &'a str,
    /// The one control plane that goes while others stay in the namespace, by its revision as objects show it.
    only: Option<&'a str>,
}

impl<'a> Scope<'a> {
    /// All that is of control planes in a namespace.
    pub fn whole(namespace: &'a str) -> Self {
        Self {
            namespace,
            only: None,
        }
    }

    pub fn read(request: &'a PlanRequest) -> Result<Self, PluginError> {
        let namespace = parameter::namespace(request, "namespace", NAMESPACE)?;
        let asked = shown(asked_revision(request)?);
        if parameter::text(request, "revision", "")?.is_empty() {
            return Ok(Self::whole(namespace));
        }
        let installations = detect::installations(&request.facts)?;
        let mut here: Vec<&str> = installations
            .iter()
            .filter(|found| found.namespace == namespace)
            .map(|found| found.revision.as_str())
            .collect();
        if !here.contains(&asked) {
            here.sort_unstable();
            return Err(PluginError::new(
                "istio-not-installed",
                format!("there is no {MESH} of revision \"{asked}\" in namespace \"{namespace}\""),
            )
            .cause(format!(
                "revisions there: {}",
                if here.is_empty() {
                    "none".into()
                } else {
                    here.join(", ")
                }
            ))
            .remedy("name one that is there"));
        }
        let others = here.iter().any(|revision| *revision != asked);
        Ok(Self {
            namespace,
            only: others.then_some(asked),
        })
    }

    /// The control plane that goes while others stay.
    pub fn only_plane(&self) -> Option<Plane<'a>> {
        let revision = self.only?;
        Some(Plane {
            namespace: self.namespace,
            revision: if revision == DEFAULT_REVISION {
                ""
            } else {
                revision
            },
        })
    }

    /// Whether a control plane goes.
    pub fn takes_plane(&self, found: &Installation) -> bool {
        found.namespace == self.namespace && self.only.is_none_or(|revision| found.revision == revision)
    }

    /// Whether an object of a part goes, that says for itself of which revision it is.
    pub fn takes(&self, part: Part, revision: &str) -> bool {
        match self.only {
            None => true,
            // What revisions share stays for the others.
            Some(only) => matches!(part, Part::Istiod | Part::Gateway) && revision == only,
        }
    }
}

/// The revisions of the control planes that stay.
pub fn staying<'a>(installations: &'a [Installation], scope: &Scope<'_>) -> Vec<&'a str> {
    installations
        .iter()
        .filter(|found| !scope.takes_plane(found))
        .map(|found| found.revision.as_str())
        .collect()
}

/// The releases that go: those in the control plane's namespace, and gateways of ours wherever they are, but for those of a
/// control plane that stays.
pub fn going(facts: &Facts, scope: &Scope<'_>) -> Vec<PartRelease> {
    going_beside(facts, &detect::installations(facts).unwrap_or_default(), scope)
}

/// The same when it is known which installations there are.
pub fn going_beside(facts: &Facts, installations: &[Installation], scope: &Scope<'_>) -> Vec<PartRelease> {
    let staying = staying(installations, scope);
    let goes = |release: &PartRelease| {
        let id = &release.id;
        if release.part == Part::Gateway {
            let revision = detect::gateway_revision(facts, &id.namespace, &id.name);
            let stays = staying.contains(&revision);
            return scope.takes(Part::Gateway, revision)
                && (id.namespace == scope.namespace || (release.ours && !stays));
        }
        id.namespace == scope.namespace && scope.takes(release.part, revision_of_release(facts, id))
    };
    of_istio(facts).into_iter().filter(goes).collect()
}

/// The revision of a control plane's release, by any of its objects that says so.
fn revision_of_release<'a>(facts: &'a Facts, id: &ReleaseId) -> &'a str {
    let kinds = [
        ("apps", "Deployment"),
        (WEBHOOKS, "MutatingWebhookConfiguration"),
        (WEBHOOKS, "ValidatingWebhookConfiguration"),
        ("", "Service"),
        ("", "ServiceAccount"),
    ];
    kinds
        .into_iter()
        .flat_map(|(group, kind)| facts.objects(group, kind))
        .filter(|object| release_of(object).as_ref() == Some(id))
        .find_map(|object| label(object, REVISION_LABEL))
        .unwrap_or(DEFAULT_REVISION)
}

pub fn plan(request: &PlanRequest) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    detect::demand_whole(facts)?;
    let scope = Scope::read(request)?;
    let in_namespace = scope.namespace;
    let purge = parameter::flag(request, "purge", false)?;
    let with_resources = parameter::flag(request, "custom-resources", false)?;
    if with_resources && !purge {
        return Err(PluginError::new(
            "bad-parameter",
            "\"custom-resources\" says more about \"purge\", which is not asked for",
        )
        .remedy("ask for both, or for neither"));
    }
    if let Some(revision) = scope.only.filter(|_| purge) {
        return Err(PluginError::new(
            "bad-parameter",
            format!("\"purge\" takes what revisions share, and only \"{revision}\" is to go"),
        )
        .remedy("purge with the last revision"));
    }
    let going = going(facts, &scope);
    let made = if adoption::takes_others(request)? {
        istioctl::made(facts, &scope)
    } else {
        BTreeMap::new()
    };
    if going.is_empty() && made.is_empty() {
        return Err(nothing_to_remove(&detect::installations(facts)?, in_namespace));
    }

    let mut steps = Vec::new();
    if let Some(plane) = scope.only_plane()
        && let Handover::Steps(moved) = default_validator::handover(request, plane)?
    {
        steps.extend(moved);
    }
    for release in &going {
        let same = going.iter().take_while(|other| *other != release);
        let before = same.filter(|other| other.part == release.part).count();
        steps.push(removal(release, before));
    }
    let control_plane_goes =
        going.iter().any(|release| release.part == Part::Istiod) || made.contains_key(&Part::Istiod);
    steps.extend(istioctl::removal(made));
    // The others' as well, while there are some.
    if control_plane_goes && scope.only.is_none() {
        let made = made_by_istiod(facts, in_namespace);
        if !made.is_empty() {
            steps.push(delete("made-by-istiod", "what istiod made by itself", made));
        }
    }
    let (kept, secret) = (definitions(facts, with_resources), ca_secret(facts, in_namespace));
    let mut notes = Vec::new();
    if let Some(revision) = scope.only {
        notes.push(format!(
            "Only the control plane of revision \"{revision}\" and its gateways go; what it shares with others stays."
        ));
    } else if purge {
        let targets: Vec<Target> = kept.into_iter().chain(secret).collect();
        if !targets.is_empty() {
            steps.push(delete("purge", "what Istio keeps on purpose", targets));
        }
    } else {
        notes.extend(kept_note(&kept, secret.as_ref()));
    }
    let namespaces = namespaces(facts, &scope, &going);
    if !namespaces.is_empty() {
        steps.push(delete(
            "namespaces",
            "namespaces of ours that are empty",
            namespaces,
        ));
    }
    notes.extend(injected_note(facts, &scope));
    let revision = scope.only.map(|revision| format!(", revision {revision},"));
    Ok(crate::plan(
        format!(
            "Remove {MESH}{} from namespace {in_namespace}",
            revision.unwrap_or_default()
        ),
        steps,
        Vec::new(),
        notes,
    ))
}

fn removal(release: &PartRelease, before: usize) -> Step {
    let ReleaseId { namespace, name } = &release.id;
    let chart = release.part.chart();
    let id = if before == 0 {
        chart.to_owned()
    } else {
        format!("{chart}-{}", before + 1)
    };
    remove_release(&id, format!("release {name} in {namespace}"), (namespace, name))
}

/// What istiod wrote without being asked: the CA's certificate in each namespace, and its locks.
fn made_by_istiod(facts: &Facts, in_namespace: &str) -> Vec<Target> {
    let others = facts
        .objects("apps", "Deployment")
        .any(|deployment| is_istiod(deployment) && namespace_of(deployment) != in_namespace);
    let mut objects = Vec::new();
    for object in facts.objects("", "ConfigMap") {
        let here = namespace_of(object) == in_namespace;
        let certificate = label(object, "istio.io/config") == Some("true");
        // Another control plane would write the certificate again.
        if (certificate && (here || !others)) || (here && is_lock(object)) {
            objects.push(ObjectRef::new(
                "v1",
                "ConfigMap",
                namespace_of(object),
                name(object),
            ));
        }
    }
    for object in facts.objects("coordination.k8s.io", "Lease") {
        if namespace_of(object) == in_namespace && name(object).starts_with("istio-") {
            objects.push(ObjectRef::new(
                "coordination.k8s.io/v1",
                "Lease",
                in_namespace,
                name(object),
            ));
        }
    }
    objects.sort();
    objects.dedup();
    let target = |object| Target {
        object,
        when: Condition::Always,
    };
    objects.into_iter().map(target).collect()
}

fn is_lock(object: &serde_json::Value) -> bool {
    name(object).starts_with("istio-") && annotation(object, LEADER).is_some()
}

fn definitions(facts: &Facts, with_resources: bool) -> Vec<Target> {
    let when = if with_resources {
        Condition::WithInstances
    } else {
        Condition::OursAndEmpty
    };
    facts
        .objects("apiextensions.k8s.io", "CustomResourceDefinition")
        .map(|object| Target {
            object: ObjectRef::new(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                "",
                name(object),
            ),
            when,
        })
        .collect()
}

fn ca_secret(facts: &Facts, in_namespace: &str) -> Option<Target> {
    facts
        .objects("", "Secret")
        .find(|object| name(object) == CA_SECRET && namespace_of(object) == in_namespace)
        .map(|_| Target {
            object: ObjectRef::new("v1", "Secret", in_namespace, CA_SECRET),
            when: Condition::Always,
        })
}

/// Namespaces that may go: the control plane's and those of the gateways.
fn namespaces(facts: &Facts, scope: &Scope<'_>, going: &[PartRelease]) -> Vec<Target> {
    let mut names = Vec::new();
    if scope.only.is_none() && namespace::state(facts, scope.namespace) != namespace::State::Absent {
        names.push(scope.namespace);
    }
    for release in going {
        let of_release = release.id.namespace.as_str();
        if scope.only.is_some() && of_release == scope.namespace {
            continue;
        }
        if of_release != "default" && !names.contains(&of_release) {
            names.push(of_release);
        }
    }
    names.sort_unstable();
    names.into_iter().map(namespace::removal).collect()
}

fn kept_note(definitions: &[Target], secret: Option<&Target>) -> Option<String> {
    let mut kept = Vec::new();
    if !definitions.is_empty() {
        kept.push(format!(
            "{} custom resource definitions with their custom resources",
            definitions.len()
        ));
    }
    if let Some(secret) = secret {
        kept.push(format!(
            "{}, and so namespace {}",
            secret.object, secret.object.namespace
        ));
    }
    (!kept.is_empty()).then(|| {
        format!(
            "Istio keeps on purpose: {}. `purge` deletes them.",
            kept.join("; ")
        )
    })
}

fn injected_note(facts: &Facts, scope: &Scope<'_>) -> Option<String> {
    let mut namespaces: Vec<String> = detect::installations(facts)
        .unwrap_or_default()
        .into_iter()
        .filter(|found| scope.takes_plane(found))
        .flat_map(|installation| installation.namespaces)
        .collect();
    namespaces.sort();
    namespaces.dedup();
    (!namespaces.is_empty()).then(|| {
        format!(
            "Pods in {} keep the sidecars they have until they are restarted; the label stays.",
            namespaces.join(", ")
        )
    })
}

pub fn nothing_to_remove(installations: &[Installation], in_namespace: &str) -> PluginError {
    let here = installations.iter().find(|found| found.namespace == in_namespace);
    match here {
        Some(found) if found.installed_by == "istioctl" => PluginError::new(
            "istio-of-istioctl",
            format!("{MESH} in namespace \"{in_namespace}\" was installed by istioctl, not as Helm releases"),
        )
        .cause("what others have installed goes on explicit word only")
        .remedy("say that it is to go (parameter of-others), or remove it with `istioctl uninstall --purge`"),
        Some(found) if of_operator(found).is_some() => PluginError::new(
            "istio-of-operator",
            format!(
                "{MESH} in namespace \"{in_namespace}\" is kept by {}",
                found.installed_by
            ),
        )
        .cause("its objects carry no release to remove them by, and the operator would put them back")
        .remedy("delete the operator's own resource (Istio or IstioOperator): it takes away what it made"),
        Some(found) => PluginError::new(
            "istio-of-others",
            format!("{MESH} in namespace \"{in_namespace}\" is of no Helm release"),
        )
        .cause(format!("it was installed by: {}", found.installed_by))
        .remedy("remove it with what installed it"),
        None => {
            let elsewhere: Vec<&str> = installations
                .iter()
                .map(|found| found.namespace.as_str())
                .collect();
            let error = PluginError::new(
                "istio-not-installed",
                format!("there is no {MESH} in namespace \"{in_namespace}\""),
            );
            if elsewhere.is_empty() {
                error.remedy("nothing is to be done")
            } else {
                error.remedy(format!("name the namespace it is in: {}", elsewhere.join(", ")))
            }
        }
    }
}
