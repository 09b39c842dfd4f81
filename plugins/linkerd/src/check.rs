//! What speaks against an operation, or should be known, before it runs: in the spirit of `linkerd check --pre`.

use meshery_mesh_kit::application::{Application, clashes};
use meshery_mesh_kit::object::{annotation, label, name};
use meshery_mesh_kit::ownership::ReleaseId;
use meshery_mesh_kit::readable::{gaps, kind_is_whole};
use meshery_mesh_kit::{
    adoption, cut_off, dropped, namespace, parameter, precheck, rollout, unreleased, webhook,
};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Installation, Severity};
use meshery_plugin_api::message::plan::PlanRequest;
use semver::Version;

use crate::control_plane::{
    CNI, CONTROL_PLANE, CONTROL_PLANE_NS, INJECT, INJECTOR, NAMESPACE, WEBHOOKS, WEBHOOKS_DISABLED,
};
use crate::extension::{self, Extension};
use crate::sample::App;
use crate::{
    MESH, cli, cni, detect, gateway_api, injection, install, ip_families, networks, remove as removal, room,
    trust, trust_owner, versions, webhook_certificate,
};

pub fn install(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let mut findings = before(request, |found, wish, others| Some(beside(found, wish, others)))?;
    findings.extend(webhook_certificate::renewed(&request.facts));
    Ok(findings)
}

pub fn upgrade(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let mut findings = before(request, over)?;
    findings.extend(webhook_certificate::renewed(&request.facts));
    findings.extend(extension::behind(&request.facts));
    Ok(findings)
}

/// What an installation that is there means for the version that is wanted, in the namespace that is wanted.
type Judge = fn(&Installation, &install::Wish, Option<Finding>) -> Option<Finding>;

fn before(request: &PlanRequest, judge: Judge) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let wish = install::wish(request)?;
    let mut findings: Vec<Finding> = wish.skew.clone().into_iter().collect();
    findings.extend(namespace::terminating(facts, &wish.namespace));
    findings.extend(room::of_installation(facts, &wish));
    findings.extend(wish.ha.then(|| nodes_for_replicas(facts)).flatten());
    findings.extend(unprovable(facts, wish.cni));
    let networks = request.parameters.get("values");
    let networks = networks.and_then(|values| values.get(CONTROL_PLANE)?.get("clusterNetworks"));
    findings.extend(networks::outside(facts, &wish.namespace, networks));
    findings.extend(ip_families::left_out(request, &wish));
    findings.extend(cni::missing_on_nodes(facts));
    findings.extend(cni::of_openshift(wish.platform, wish.cni));
    if wish.cni {
        findings.extend(adoption::changed(request, &ReleaseId::new(CNI, CNI))?);
    }
    findings.extend(gaps(facts));
    findings.extend(trust::before(
        facts,
        &wish.namespace,
        wish.is_upgrade && !wish.takes_out,
    ));
    if wish.line == "stable" {
        findings.push(
            Finding::warning(
                "linkerd-stable-ended",
                format!("the stable line ended in public on {}", versions::STABLE_ENDED),
            )
            .remedy("choose line edge, unless something depends on stable-2.14.10"),
        );
    }
    if !wish.missing_definitions.is_empty() {
        findings.push(
            Finding::error(
                "linkerd-gateway-api-missing",
                format!(
                    "definitions of the Gateway API are missing: {}",
                    wish.missing_definitions.join(", ")
                ),
            )
            .remedy(gateway_api::remedy(facts, &wish.namespace)),
        );
    }
    match detect::installations(facts) {
        Ok(installations) => {
            for found in &installations {
                let others = adoption::of_others(request, "linkerd", found, &described(found))?;
                findings.extend(judge(found, &wish, others));
            }
        }
        Err(_) => findings.push(
            Finding::warning(
                "linkerd-unknown",
                format!("whether {MESH} is installed already cannot be told"),
            )
            .remedy("use an identity that may list Deployments and webhook configurations"),
        ),
    }
    findings.extend(webhooks_of_others(facts));
    Ok(findings)
}

/// Webhooks of others without which no new pod is let in, and which cannot be called.
fn webhooks_of_others(facts: &Facts) -> Vec<Finding> {
    webhook::of_others(facts, |object| label(object, CONTROL_PLANE_NS).is_some())
}

/// With high availability no two replicas of a Deployment are put on one node.
fn nodes_for_replicas(facts: &Facts) -> Option<Finding> {
    let nodes = precheck::nodes_for_pods(facts).filter(|nodes| *nodes < install::HA_REPLICAS)?;
    Some(
        Finding::warning(
            "linkerd-ha-nodes",
            format!(
                "high availability puts {} replicas of each Deployment on as many nodes, and {nodes} \
                 take pods: the control plane would not come up whole",
                install::HA_REPLICAS
            ),
        )
        .remedy("add nodes first, or go on without high availability (ha)"),
    )
}

/// The proof asks for a pod that gets a proxy. Where that would be refused, or no webhook sees it, a control plane that works
/// would be taken for one that does not, and be taken back.
pub fn unprovable(facts: &Facts, cni: bool) -> Option<Finding> {
    let place = install::PROOF_NAMESPACE;
    let (key, why, instead) = if let Some(level) = namespace::refuses_proxies(facts, place, cni) {
        let why = format!("enforces PodSecurity \"{level}\", which refuses a pod with a proxy");
        let with_plugin = if namespace::refuses_proxies(facts, place, true).is_some() {
            ""
        } else {
            ", or use the CNI plugin (cni)"
        };
        (namespace::ENFORCED, why, with_plugin)
    } else {
        let object = namespace::find(facts, place)?;
        label(object, WEBHOOKS_DISABLED).filter(|value| *value == "disabled")?;
        let why = format!("has {WEBHOOKS_DISABLED}=disabled: no webhook sees its pods");
        (WEBHOOKS_DISABLED, why, "")
    };
    let found = Finding::error(
        "linkerd-unprovable",
        format!("namespace \"{place}\", in which injection is proved by a dry run, {why}"),
    )
    .remedy(format!(
        "take that label away while the operation runs (`kubectl label namespace {place} {key}-`){instead}"
    ));
    Some(found.about(namespace::reference(place)))
}

pub fn described(found: &Installation) -> String {
    let version = match Version::parse(&found.version) {
        Ok(version) => versions::name(&version),
        Err(_) => "of unknown version".into(),
    };
    format!(
        "{MESH} {version} (installed by {}) in namespace \"{}\"",
        found.installed_by, found.namespace
    )
}

fn beside(found: &Installation, wish: &install::Wish, others: Option<Finding>) -> Finding {
    let there = described(found);
    if found.namespace != wish.namespace {
        Finding::error(
            "linkerd-installed",
            format!("there is {there}, and a cluster takes one {MESH} only"),
        )
        .remedy(format!(
            "remove it first, or install into namespace \"{}\"",
            found.namespace
        ))
    } else if let Some(others) = others.clone().filter(|others| others.severity == Severity::Error) {
        others
    } else if found.version != wish.version.to_string() && !found.version.is_empty() {
        Finding::error(
            "linkerd-other-version",
            format!(
                "there is {there}, and {} is to be installed over it",
                versions::name(&wish.version)
            ),
        )
        .remedy("go from one version to another by operation upgrade")
    } else if let Some(adopted) = others {
        adopted
    } else {
        Finding::info(
            "linkerd-installed",
            format!("there is {there}: only what differs is changed, and what is missing is put back"),
        )
    }
}

pub fn over(found: &Installation, wish: &install::Wish, others: Option<Finding>) -> Option<Finding> {
    let there = described(found);
    if found.namespace != wish.namespace {
        return None;
    }
    if found.installed_by == "linkerd" || found.installed_by == "unknown" {
        return Some(
            Finding::error(
                "linkerd-of-others",
                format!("there is {there}, which is of no Helm release"),
            )
            .remedy("upgrade it with what installed it, or take it over first: operation install with adopt"),
        );
    }
    if others
        .as_ref()
        .is_some_and(|others| others.severity == Severity::Error)
    {
        return others;
    }
    let Ok(version) = Version::parse(&found.version) else {
        return Some(
            Finding::warning(
                "linkerd-version-unknown",
                format!(
                    "there is {there}: whether {} is newer cannot be told",
                    versions::name(&wish.version)
                ),
            )
            .remedy("make sure that it is"),
        );
    };
    let wanted = versions::name(&wish.version);
    if version > wish.version {
        return Some(
            Finding::error(
                "linkerd-downgrade",
                format!("there is {there}, which is newer than {wanted}"),
            )
            .remedy(
                "definitions cannot be taken back to an older form: take the upgrade back (operation undo) \
                 instead",
            ),
        );
    }
    // A stable version has no date; 2.14 is what edge releases of 2024 can follow.
    let months = |version: &Version| version.major * 12 + version.minor;
    let apart = months(&wish.version).saturating_sub(months(&version));
    if versions::line_of(&version) != wish.line || apart > 12 {
        return Some(
            Finding::warning(
                "linkerd-skew",
                format!("from {there} to {wanted} is farther than the project tries out"),
            )
            .remedy(
                "go by a version in between, or try it on another cluster first; proxies of both must work \
                 together meanwhile",
            ),
        );
    }
    others
}

pub fn remove(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let in_namespace = parameter::namespace(request, "namespace", NAMESPACE)?;
    let pods = detect::proxies(facts, in_namespace);
    let remedy = "take their namespaces out first (operation uninject, with restart)";
    let mut findings: Vec<Finding> = cut_off::warning(pods, remedy).into_iter().collect();
    let injected = removal::injected(facts);
    if !injected.is_empty() {
        findings.push(
            Finding::warning(
                "namespaces-in-mesh",
                format!("namespaces in the mesh: {}", injected.join(", ")),
            )
            .remedy(
                "take them out first (operation uninject, with restart): proxies without a control plane \
                 end with their certificates",
            ),
        );
    }
    findings.extend(gaps(facts));
    for release in removal::going(facts, in_namespace) {
        if !release.ours {
            findings.push(adoption::removed(request, &release.id)?);
        }
    }
    let by_cli = cli::made(facts, in_namespace).len();
    findings.extend(unreleased::finding(request, cli::INSTALLER, by_cli)?);
    Ok(findings)
}

pub fn inject(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let target = parameter::namespace(request, "namespace", "")?;
    let facts = &request.facts;
    let mut findings = gaps(facts);
    findings.extend(injector(facts, target));
    if parameter::text(request, "mode", "")? != "disabled" {
        findings.extend(init_refused(facts, target));
        findings.extend(cni::missing_on_nodes(facts));
    }
    findings.extend(annotations(facts, target));
    // Pods of one workload are made again without being asked for.
    if rollout::is_asked(request)? || !parameter::text(request, "workload", "")?.is_empty() {
        findings.extend(webhooks_of_others(facts));
    }
    Ok(findings)
}

/// Without the CNI plugin, a container that runs before the others sets up the redirection, for which it needs rights that
/// the two stricter levels refuse. With it the strictest one still asks more of a proxy than the chart gives it.
fn init_refused(facts: &Facts, target: &str) -> Option<Finding> {
    let with_plugin = cni::is_there(facts);
    let level = namespace::refuses_proxies(facts, target, with_plugin)?;
    let (what, remedy) = if with_plugin {
        (
            "a proxy that does not give up all capabilities, as it is by the chart",
            "have the proxies give them up (values of chart linkerd-control-plane, proxy.capabilities.drop)"
                .to_owned(),
        )
    } else {
        (
            "the init container of a proxy",
            format!("install {MESH} with the CNI plugin (parameter cni)"),
        )
    };
    let found = Finding::warning(
        "pod-security",
        format!(
            "namespace \"{target}\" enforces PodSecurity \"{level}\", which refuses {what}: its \
             pods would not be made"
        ),
    )
    .remedy(format!(
        "{remedy}, or `kubectl label namespace {target} {}=privileged --overwrite`, if that is \
         wanted; see https://kubernetes.io/docs/concepts/security/pod-security-admission/",
        namespace::ENFORCED
    ));
    Some(found.about(namespace::reference(target)))
}

/// What others have said about a namespace that contradicts us.
fn annotations(facts: &Facts, target: &str) -> Vec<Finding> {
    let Some(object) = namespace::find(facts, target) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if detect::is_kept_from_webhooks(object) {
        findings.push(
            Finding::error(
                "namespace-kept-from-webhooks",
                format!(
                    "no webhook of {MESH} sees pods of namespace \"{target}\" (label \
                     config.linkerd.io/admission-webhooks)"
                ),
            )
            .remedy("choose another namespace, or take the label away if that is wanted"),
        );
    }
    let ours = annotation(object, injection::ANNOTATION.mark).is_some();
    if let Some(value) = annotation(object, INJECT).filter(|_| !ours) {
        findings.push(
            Finding::warning(
                "annotation-of-others",
                format!("namespace \"{target}\" has {INJECT}={value}, set by somebody else"),
            )
            .remedy("if it is to change, the preview shows a conflict, and who else minds"),
        );
    }
    if let Some(value) = label(object, "istio-injection").or_else(|| label(object, "istio.io/rev")) {
        findings.push(
            Finding::warning(
                "two-meshes",
                format!(
                    "namespace \"{target}\" is in Istio too (its label says \"{value}\"): pods would get two \
                     proxies"
                ),
            )
            .remedy("take it out of one of the two meshes"),
        );
    }
    findings
}

/// Whether an annotation would do anything.
fn injector(facts: &Facts, target: &str) -> Vec<Finding> {
    let kind = "MutatingWebhookConfiguration";
    let there = facts
        .objects(WEBHOOKS, kind)
        .find(|object| name(object) == INJECTOR);
    if let Some(there) = there {
        let silent = detect::unanswered(facts, &[target.into()], there);
        return silent
            .into_iter()
            .chain(webhook_certificate::of(facts, there))
            .collect();
    }
    if !kind_is_whole(facts, WEBHOOKS, kind) {
        return Vec::new();
    }
    vec![
        Finding::error(
            "linkerd-not-installed",
            format!("{MESH} is not installed: nothing would inject proxies"),
        )
        .remedy("install it first (operation install)"),
    ]
}

pub fn deploy_sample(request: &PlanRequest, app: &App) -> Result<Vec<Finding>, PluginError> {
    let target = parameter::namespace(request, "namespace", app.sample.name)?;
    application(request, &app.sample.in_namespace(target)?)
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
        findings.extend(injector(facts, target));
        findings.extend(init_refused(facts, target));
        findings.extend(cni::missing_on_nodes(facts));
        findings.extend(annotations(facts, target));
    }
    findings.extend(clashes(facts, application));
    Ok(findings)
}

/// Whether there is a control plane for an extension.
pub fn beside_control_plane(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let control_plane = parameter::namespace(request, "control_plane", NAMESPACE)?;
    let mut findings = gaps(facts);
    if let Ok(installations) = detect::installations(facts)
        && !installations.iter().any(|found| found.namespace == control_plane)
    {
        let error = detect::not_installed(&installations, control_plane);
        findings.push(Finding::error("linkerd-not-installed", error.message).remedy(error.remedy));
    }
    Ok(findings)
}

pub fn remove_extension(request: &PlanRequest, extension: &Extension) -> Result<Vec<Finding>, PluginError> {
    let mut findings = gaps(&request.facts);
    if let Some(release) = extension::there(request, extension)?.filter(|release| !release.ours) {
        findings.push(adoption::removed(request, &release.id)?);
    }
    Ok(findings)
}

pub fn restart_all(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    anchors_of(request)
}

/// A rotation restarts identity before it brings a new issuer: that has to work with the one that is there.
pub fn rotate(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let mut findings = anchors_of(request)?;
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    findings.extend(trust::issuer(&request.facts, target));
    findings.extend(trust_owner::findings(request)?);
    Ok(findings)
}

pub fn restart(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", "")?;
    let mut findings = gaps(facts);
    findings.extend(trust::anchors(facts, target));
    if detect::installations(facts)?
        .iter()
        .any(|found| found.namespace == target)
    {
        findings.extend(unprovable(facts, cni::is_there(facts)));
    }
    Ok(findings)
}

/// What is said of the anchors, and of the proof at the end, where a control plane is restarted.
fn anchors_of(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let mut findings = gaps(facts);
    findings.extend(trust::anchors(facts, target));
    findings.extend(unprovable(facts, cni::is_there(facts)));
    Ok(findings)
}
