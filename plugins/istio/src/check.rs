//! What speaks against an operation, or should be known, before it runs.

use meshery_mesh_kit::adoption;
use meshery_mesh_kit::application::{Application, clashes};
use meshery_mesh_kit::documentation::Pages;
use meshery_mesh_kit::object::{annotation, label};
use meshery_mesh_kit::readable::{gaps, kind_is_whole};
use meshery_mesh_kit::{cut_off as losing, dropped, namespace, parameter, rollout, unreleased, webhook};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Health, Installation, Severity};
use meshery_plugin_api::message::plan::PlanRequest;
use serde_json::Value;

use crate::control_plane::{BASE, INJECTION_LABEL, REVISION_LABEL, WEBHOOKS, revision};
use crate::default_validator::Handover;
use crate::install::Wish;
use crate::maker::of_operator;
use crate::releases::{self, Part, PartRelease, of_istio};
use crate::sample::App;
use crate::{
    MESH, ambient, authority, default_validator, detect, injection, install, istioctl, nodes, pod_security,
    proof, proxies, remove as removal, room, tag, versions,
};

/// Where more is written about findings, by their codes.
pub const PAGES: Pages = &[
    (
        "kubernetes-version",
        "https://istio.io/latest/docs/releases/supported-releases/",
    ),
    (
        "version-end-of-life",
        "https://istio.io/latest/docs/releases/supported-releases/",
    ),
    (
        "istio-revision",
        "https://istio.io/latest/docs/setup/upgrade/canary/",
    ),
    (
        "istio-revision-tagged",
        "https://istio.io/latest/docs/setup/upgrade/canary/",
    ),
    (
        "istio-default-validator",
        "https://istio.io/latest/docs/setup/upgrade/canary/",
    ),
    (
        "istio-labels-of-others",
        "https://istio.io/latest/docs/setup/upgrade/canary/",
    ),
    (
        "upgrade-skips-versions",
        "https://istio.io/latest/docs/setup/upgrade/",
    ),
    ("downgrade", "https://istio.io/latest/docs/setup/upgrade/"),
    (
        "proxies-unsupported",
        "https://istio.io/latest/docs/setup/upgrade/",
    ),
    (
        "istio-nodes-unsupported",
        "https://istio.io/latest/docs/setup/additional-setup/cni/",
    ),
    (
        "namespaces-in-mesh",
        "https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/",
    ),
    (
        "label-of-others",
        "https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/",
    ),
    (
        "istio-of-operator",
        "https://github.com/istio-ecosystem/sail-operator/tree/main/docs",
    ),
    (
        "istio-webhook-without-endpoints",
        "https://istio.io/latest/docs/ops/common-problems/injection/",
    ),
    (
        "istio-unprovable",
        "https://istio.io/latest/docs/setup/additional-setup/pod-security-admission/",
    ),
    (
        "istio-webhook-expires",
        "https://istio.io/latest/docs/ops/common-problems/injection/",
    ),
    (
        "istio-webhook-expired",
        "https://istio.io/latest/docs/ops/common-problems/injection/",
    ),
    (
        "istio-ca-expires",
        "https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/",
    ),
    (
        "istio-ca-expired",
        "https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/",
    ),
    (
        "istio-ambient-interrupted",
        "https://istio.io/latest/docs/ambient/upgrade/helm/",
    ),
    (
        "istio-no-ambient",
        "https://istio.io/latest/docs/ambient/install/helm/",
    ),
];
/// About all else.
pub const PAGE: &str = "https://istio.io/latest/docs/setup/install/helm/";

pub fn install(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let wish = install::wish(request)?;
    let mut findings: Vec<Finding> = wish.skew.clone().into_iter().collect();
    findings.extend(versions::CATALOGUE.ended(&wish.version, &facts.now));
    for in_namespace in &wish.namespaces {
        findings.extend(namespace::terminating(facts, in_namespace));
    }
    if wish.cni {
        findings.extend(pod_security::of_nodes(facts, wish.plane.namespace));
    }
    findings.extend(room::of_installation(request, &wish));
    findings.extend(gaps(facts));
    match detect::installations(facts) {
        Ok(installations) => {
            for found in &installations {
                findings.push(beside(found, &wish, of_others(request, found)?));
                if found.namespace == wish.plane.namespace {
                    findings.extend(of_operator(found));
                }
            }
            findings.extend(nodes_unsupported(facts, &installations, &wish));
        }
        // What is missing is among the gaps already.
        Err(_) => findings.push(
            Finding::warning(
                "istio-unknown",
                format!("whether {MESH} is installed already cannot be told"),
            )
            .remedy("use an identity that may list Deployments and webhook configurations"),
        ),
    }
    findings.extend(proof::refused(facts, wish.plane));
    findings.extend(definitions(facts, wish.plane.namespace));
    findings.extend(authority::of(facts, wish.plane.namespace));
    for gateway in &wish.gateways {
        findings.extend(adoption::changed(request, gateway)?);
    }
    findings.extend(webhooks_of_others(facts));
    Ok(findings)
}

/// Webhooks of others without which no new pod is let in, and which cannot be called.
pub fn webhooks_of_others(facts: &Facts) -> Vec<Finding> {
    webhook::of_others(facts, |object| label(object, REVISION_LABEL).is_some())
}

pub fn there(found: &Installation) -> String {
    format!(
        "{MESH} {} (revision {}, installed by {}) in namespace \"{}\"",
        if found.version.is_empty() {
            "of unknown version"
        } else {
            &found.version
        },
        found.revision,
        found.installed_by,
        found.namespace
    )
}

/// What somebody else has installed is changed on explicit word only.
pub fn of_others(request: &PlanRequest, found: &Installation) -> Result<Option<Finding>, PluginError> {
    adoption::of_others(request, "istio", found, &there(found))
}

/// A control plane that uses the CNI plugin, which is on the nodes for all of them.
fn nodes_unsupported(facts: &Facts, there: &[Installation], wish: &Wish<'_>) -> Vec<Finding> {
    if !wish.cni {
        return Vec::new();
    }
    let mut releases = of_istio(facts);
    releases.retain(|release| release.id.namespace == wish.plane.namespace);
    nodes::Seen::new(facts, there, &releases).in_place(wish.plane, &wish.version)
}

/// What an installation that is there means for another one.
fn beside(found: &Installation, wish: &Wish<'_>, others: Option<Finding>) -> Finding {
    let there = there(found);
    let version = wish.version.to_string();
    if !detect::is_of(found, wish.plane.revision) {
        return Finding::warning("istio-revision", format!("there is {there}")).remedy(
            "namespaces labelled with that revision stay with it; gateways may serve only one of the two",
        );
    }
    if found.namespace != wish.plane.namespace {
        return Finding::error(
            "istio-installed",
            format!(
                "there is {there}, and two control planes of revision {} would fight over it",
                found.revision
            ),
        )
        .remedy(format!(
            "remove it first, install into namespace \"{}\", or choose another revision",
            found.namespace
        ));
    }
    if let Some(finding) = others.filter(|finding| finding.severity == Severity::Error) {
        return finding;
    }
    if found.version == version {
        let what = if found.installed_by != "meshery" {
            "it is managed here from now on"
        } else if found.health == Health::Healthy {
            "only what differs is changed"
        } else {
            "what is missing is put back"
        };
        return Finding::info("istio-installed", format!("there is {there}: {what}"));
    }
    if found.version.is_empty() || found.health == Health::Incomplete {
        return Finding::warning("istio-incomplete", format!("there is what is left of {there}"))
            .remedy("go on to complete it with this version, or remove it first");
    }
    Finding::error(
        "istio-other-version",
        format!("there is {there}, and {version} is to be installed over it"),
    )
    .remedy(format!(
        "upgrade it (operation upgrade), or choose version {}",
        found.version
    ))
}

/// Definitions that another release has left behind would change hands.
fn definitions(facts: &Facts, in_namespace: &str) -> Option<Finding> {
    let base = releases::named(facts, in_namespace, Part::Base, BASE);
    let (of_namespace, of_name) = detect::definitions_of_another_release(facts, (in_namespace, &base))?;
    Some(
        Finding::warning(
            "istio-definitions-of-another-release",
            format!("custom resource definitions are marked as those of release {of_namespace}/{of_name}"),
        )
        .remedy(format!(
            "they would become those of {in_namespace}/{base}; let that release be, or remove it first"
        )),
    )
}

/// The workloads whose proxies are of the revisions in a namespace.
fn cut_off(facts: &Facts, scope: &removal::Scope<'_>) -> Option<Finding> {
    let going: Vec<String> = detect::installations(facts)
        .unwrap_or_default()
        .into_iter()
        .filter(|found| scope.takes_plane(found))
        .map(|found| found.revision)
        .collect();
    let pods = facts.objects("", "Pod").filter(|pod| {
        !proxies::is_over(pod) && proxies::of_pod(pod).is_some_and(|proxy| going.contains(&proxy.revision))
    });
    losing::warning(
        pods,
        "take their namespaces out first (operation uninject, with restart), or move them to another control plane",
    )
}

pub fn remove(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let scope = removal::Scope::read(request)?;
    let going = removal::going(facts, &scope);
    let mut findings: Vec<Finding> = cut_off(facts, &scope).into_iter().collect();
    findings.extend(gaps(facts));
    let installations = detect::installations(facts).unwrap_or_default();
    findings.extend(
        installations
            .iter()
            .filter(|found| scope.takes_plane(found))
            .find_map(of_operator),
    );
    for release in &going {
        if !release.ours {
            findings.push(adoption::removed(request, &release.id)?);
        }
    }
    let made = istioctl::made(facts, &scope);
    let of_istioctl: usize = made.values().map(Vec::len).sum();
    findings.extend(unreleased::finding(request, istioctl::INSTALLER, of_istioctl)?);
    if made.contains_key(&Part::Ztunnel) || going.iter().any(|release| release.part == Part::Ztunnel) {
        findings.extend(ambient::lost(facts));
    }
    let staying = removal::staying(&installations, &scope);
    if let Some(plane) = scope.only_plane()
        && let Handover::Impossible(finding) = default_validator::handover(request, plane)?
    {
        findings.push(finding);
    }
    findings.extend(tag::outliving(request, &installations, &scope, &going)?);
    let loses = |gateway: &PartRelease| {
        let revision = detect::gateway_revision(facts, &gateway.id.namespace, &gateway.id.name);
        !staying.contains(&revision)
    };
    for left in of_istio(facts) {
        if left.part == Part::Gateway && !going.contains(&left) && loses(&left) {
            findings.push(
                Finding::warning(
                    "gateway-of-others",
                    format!(
                        "gateway {}/{} stays, and loses its control plane",
                        left.id.namespace, left.id.name
                    ),
                )
                .remedy("remove it first, or connect it to another control plane"),
            );
        }
    }
    let injected: Vec<String> = detect::installations(facts)
        .unwrap_or_default()
        .into_iter()
        .filter(|found| scope.takes_plane(found))
        .flat_map(|found| found.namespaces)
        .collect();
    if !injected.is_empty() {
        findings.push(
            Finding::warning(
                "namespaces-in-mesh",
                format!("namespaces in the mesh: {}", injected.join(", ")),
            )
            .remedy(
                "take them out first (operation uninject, with restart), or their pods keep sidecars \
                 without a control plane",
            ),
        );
    }
    Ok(findings)
}

pub fn inject(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let target = parameter::namespace(request, "namespace", "")?;
    let mut findings = gaps(&request.facts);
    let facts = &request.facts;
    let object = namespace::find(facts, target);
    match injection::wanted(request)? {
        (injection::AMBIENT_LABEL, _) => findings.extend(no_ambient(facts)),
        (REVISION_LABEL, wanted) => {
            findings.extend(no_revision(facts, wanted));
            findings.extend(nobody_answers(facts, target, |object| {
                label(object, tag::LABEL).unwrap_or_else(|| revision(object)) == wanted
            }));
            findings.extend(pod_security::of_sidecars(facts, target));
            findings.extend(object.and_then(|object| label_that_wins(object, target)));
        }
        _ => {
            findings.extend(injector(facts));
            findings.extend(nobody_answers(facts, target, detect::injects_labelled_namespaces));
            findings.extend(pod_security::of_sidecars(facts, target));
            findings.extend(object.into_iter().flat_map(|object| labels(object, target)));
        }
    }
    if rollout::is_asked(request)? {
        findings.extend(webhooks_of_others(facts));
    }
    Ok(findings)
}

/// Whether nodes redirect traffic at all.
fn no_ambient(facts: &Facts) -> Option<Finding> {
    ambient::is_missing(facts).then(|| {
        Finding::error(
            "istio-no-ambient",
            format!("no node has a proxy of {MESH}: the label would do nothing"),
        )
        .remedy("install it with the profile ambient")
    })
}

/// Istio's injectors: webhooks of others may be among the facts.
fn injectors(facts: &Facts) -> impl Iterator<Item = &Value> {
    let all = detect::unique(facts, WEBHOOKS, "MutatingWebhookConfiguration");
    all.into_iter()
        .filter(|object| label(object, REVISION_LABEL).is_some())
}

fn no_revision(facts: &Facts, wanted: &str) -> Option<Finding> {
    let mut revisions: Vec<&str> = injectors(facts)
        .flat_map(|object| [Some(revision(object)), label(object, tag::LABEL)])
        .flatten()
        .collect();
    if revisions.contains(&wanted) || !kind_is_whole(facts, WEBHOOKS, "MutatingWebhookConfiguration") {
        return None;
    }
    revisions.sort_unstable();
    revisions.dedup();
    let known = match revisions.join(", ") {
        none if none.is_empty() => "none".to_owned(),
        known => known,
    };
    Some(
        Finding::error(
            "istio-revision-unknown",
            format!("no injector is of revision \"{wanted}\": pods would get no sidecar"),
        )
        .remedy(format!(
            "install that revision first, or name one that is there: {known}"
        )),
    )
}

/// The old label counts more than the revision's: set by others, it would make ours do nothing.
fn label_that_wins(object: &Value, target: &str) -> Option<Finding> {
    let value = label(object, INJECTION_LABEL)?;
    annotation(object, injection::INJECTION.mark).is_none().then(|| {
        Finding::error(
            "IST0123",
            format!(
                "namespace \"{target}\" has {INJECTION_LABEL}={value}, set by somebody else, which overrides \
                 {REVISION_LABEL}"
            ),
        )
        .remedy(format!(
            "`kubectl label namespace {target} {INJECTION_LABEL}-` removes it, if that is wanted"
        ))
    })
}

/// Labels of others that contradict ours.
fn labels(object: &Value, target: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours = annotation(object, injection::INJECTION.mark).is_some();
    match label(object, INJECTION_LABEL) {
        Some("enabled") if !ours => findings.push(Finding::info(
            "label-there",
            format!("namespace \"{target}\" has the label already, set by somebody else"),
        )),
        Some(value) if value != "enabled" => findings.push(
            Finding::error(
                "label-of-others",
                format!("namespace \"{target}\" has {INJECTION_LABEL}={value}, set by somebody else"),
            )
            .remedy(format!(
                "`kubectl label namespace {target} {INJECTION_LABEL}-` removes it, if that is wanted"
            )),
        ),
        _ => {}
    }
    if let Some(value) = label(object, REVISION_LABEL) {
        findings.push(
            Finding::warning(
                "IST0123",
                format!(
                    "namespace \"{target}\" has {REVISION_LABEL}={value}, which {INJECTION_LABEL} overrides"
                ),
            )
            .remedy(format!(
                "keep one of the two labels: `kubectl label namespace {target} {REVISION_LABEL}-`"
            )),
        );
    }
    findings
}

/// Whether a label would do anything.
fn injector(facts: &Facts) -> Option<Finding> {
    let mut revisions = Vec::new();
    for configuration in injectors(facts) {
        if detect::injects_labelled_namespaces(configuration) {
            return None;
        }
        revisions.push(revision(configuration));
    }
    if !kind_is_whole(facts, WEBHOOKS, "MutatingWebhookConfiguration") {
        return None;
    }
    Some(if revisions.is_empty() {
        Finding::error(
            "istio-not-installed",
            format!("{MESH} is not installed: nothing would inject sidecars"),
        )
        .remedy("install it first (operation install)")
    } else {
        revisions.sort_unstable();
        revisions.dedup();
        Finding::error(
            "istio-no-default-revision",
            format!(
                "{INJECTION_LABEL} is for the default revision, and there is only: {}",
                revisions.join(", ")
            ),
        )
        .remedy(format!(
            "label the namespace with {REVISION_LABEL} and the revision, or install the default one"
        ))
    })
}

/// What would become of pods of a namespace whose injector nobody answers for, or which the server trusts no longer.
fn nobody_answers(facts: &Facts, target: &str, concerns: impl Fn(&Value) -> bool) -> Vec<Finding> {
    let injectors: Vec<&Value> = injectors(facts).filter(|object| concerns(object)).collect();
    let mut findings = detect::unanswered(facts, &[target.into()], injectors.iter().copied());
    findings.extend(detect::ending(facts, injectors.into_iter(), true));
    findings
}

pub fn deploy_sample(request: &PlanRequest, app: &App) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", app.sample.name)?;
    let mut findings = application(request, &app.sample.in_namespace(target)?)?;
    let served = |kind: &str| {
        let suffix = format!("/{kind}");
        facts
            .cluster
            .apis
            .iter()
            .any(|api| api.starts_with("networking.istio.io/") && api.ends_with(&suffix))
    };
    if parameter::flag(request, "expose", false)? && !served("VirtualService") {
        findings.push(
            Finding::error(
                "istio-not-installed",
                "the cluster does not know Gateways and VirtualServices of Istio",
            )
            .remedy("install Istio first (operation install), or deploy without `expose`"),
        );
    }
    Ok(findings)
}

pub fn deploy_application(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    application(request, &dropped::read(request)?)
}

/// What is in the way of any application.
fn application(request: &PlanRequest, application: &Application) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let target = application.namespace.as_str();
    let mut findings = gaps(facts);
    findings.extend(namespace::terminating(facts, target));
    if parameter::flag(request, "inject", false)? {
        findings.extend(injector(facts));
        findings.extend(nobody_answers(facts, target, detect::injects_labelled_namespaces));
        findings.extend(pod_security::of_sidecars(facts, target));
        if let Some(object) = namespace::find(facts, target) {
            findings.extend(labels(object, target));
        }
    }
    findings.extend(clashes(facts, application));
    Ok(findings)
}
