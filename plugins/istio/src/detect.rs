//! Which installations of Istio facts show, whoever made them.

use std::collections::{BTreeMap, BTreeSet};

use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{annotation, label, name, namespace, text};
use meshery_mesh_kit::ownership::{ReleaseId, adopted_from, chart_of};
use meshery_mesh_kit::readable::{demand, gaps, kind_is_whole};
use meshery_mesh_kit::webhook::{self, Webhooks};
use meshery_mesh_kit::workload::{
    daemon_set_health, deployment_health, deployment_ref, image, image_version,
};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::{
    Component, Finding, Health, Installation, Severity, SourceVersion,
};
use meshery_plugin_api::message::member::Members;
use meshery_plugin_api::message::object_ref::ObjectRef;
use semver::Version;
use serde_json::Value;

use crate::control_plane::{
    DEFAULT_REVISION, DEFAULT_VALIDATOR, INJECTION_LABEL, MADE_BY_ISTIOD, MADE_GATEWAY, Plane,
    REVISION_LABEL, WEBHOOKS, is_istiod, revision, revision_of_pods, shown,
};
use crate::maker::{maker, of_operator};
use crate::versions::CATALOGUE;
use crate::{
    addon, ambient, authority, default_validator, gateway_workload, membership, nodes, proxies, tag,
};

/// Label of everything that the charts make.
const PART_OF: &str = "app.kubernetes.io/part-of=istio";
/// Label with the version of what an object is part of, on what newer charts make.
const VERSION_LABEL: &str = "app.kubernetes.io/version";

pub fn needs() -> Vec<Need> {
    let mut needs = vec![
        need::everywhere("apps", "Deployment", "istio", Detail::Full),
        // Gateways that istiod makes by itself, and where they are reached.
        need::everywhere("apps", "Deployment", MADE_BY_ISTIOD, Detail::Full),
        need::everywhere("", "Service", MADE_GATEWAY, Detail::Full),
        need::everywhere("apps", "DaemonSet", PART_OF, Detail::Full),
        tag::need(),
        need::everywhere(
            WEBHOOKS,
            "ValidatingWebhookConfiguration",
            REVISION_LABEL,
            Detail::Full,
        ),
        need::everywhere(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            PART_OF,
            Detail::Metadata,
        ),
        // What a removal that stopped half way may have left of a release.
        need::everywhere("", "Service", PART_OF, Detail::Full),
        need::everywhere("", "ServiceAccount", PART_OF, Detail::Metadata),
        need::everywhere("", "Namespace", INJECTION_LABEL, Detail::Metadata),
        need::everywhere("", "Namespace", REVISION_LABEL, Detail::Metadata),
    ];
    needs.extend(proxies::needs());
    needs.push(membership::need());
    needs.push(ambient::need());
    needs
}

/// The ServiceAccounts of a namespace that Istio's charts have made: each tells its release.
pub fn need_of_accounts(in_namespace: &str) -> Need {
    need::within(in_namespace, "", "ServiceAccount", PART_OF, Detail::Metadata)
}

/// Who answers for control planes: what tells whether webhooks that are there work.
pub fn endpoints() -> Need {
    webhook::endpoints("istio=pilot")
}

/// An error when nothing can be said about Istio at all without what could not be read.
pub fn demand_whole(facts: &Facts) -> Result<(), PluginError> {
    demand(facts, "apps", "Deployment")?;
    demand(facts, WEBHOOKS, "MutatingWebhookConfiguration")?;
    demand(facts, WEBHOOKS, "ValidatingWebhookConfiguration")
}

/// Namespace and revision of a control plane.
type Key = (String, String);

pub fn installations(facts: &Facts) -> Result<Vec<Installation>, PluginError> {
    let mut found = BTreeMap::<Key, Found<'_>>::new();
    for deployment in facts.objects("apps", "Deployment").filter(|d| is_istiod(d)) {
        let key = (namespace(deployment).to_owned(), revision(deployment).to_owned());
        found.entry(key).or_default().istiod = Some(deployment);
    }
    for (kind, mutating) in [
        ("MutatingWebhookConfiguration", true),
        ("ValidatingWebhookConfiguration", false),
    ] {
        for configuration in unique(facts, WEBHOOKS, kind) {
            if label(configuration, REVISION_LABEL).is_none() || label(configuration, tag::LABEL).is_some() {
                continue;
            }
            let webhooks = webhook::read(configuration);
            let Some((of_namespace, _)) = webhooks.services.first().cloned() else {
                continue;
            };
            let entry = found
                .entry((of_namespace, revision(configuration).to_owned()))
                .or_default();
            if mutating {
                entry.injectors.push((configuration, webhooks));
            } else {
                entry.validators.push((configuration, webhooks));
            }
        }
    }
    if found.is_empty() {
        demand_whole(facts)?;
    }
    let keys: Vec<Key> = found.keys().cloned().collect();
    Ok(found
        .iter()
        .map(|(key, found)| found.installation(facts, key, &keys))
        .collect())
}

/// The revision of the control plane that a gateway's pods ask for.
pub fn gateway_revision<'a>(facts: &'a Facts, in_namespace: &str, of_name: &str) -> &'a str {
    gateway_workload::there(facts, &ReleaseId::new(in_namespace, of_name))
        .map_or(DEFAULT_REVISION, |(_, workload)| revision_of_pods(workload))
}

/// Whether an installation is of a revision, "" for the default one.
pub fn is_of(installation: &Installation, revision: &str) -> bool {
    installation.revision == shown(revision)
}

/// Objects of a kind, each once, whichever needs asked for it.
pub fn unique<'a>(facts: &'a Facts, group: &'a str, kind: &'a str) -> Vec<&'a Value> {
    let mut seen = BTreeSet::new();
    facts
        .objects(group, kind)
        .filter(|object| seen.insert((namespace(object), name(object))))
        .collect()
}

/// What was found of one control plane.
#[derive(Default)]
struct Found<'a> {
    istiod: Option<&'a Value>,
    injectors: Vec<(&'a Value, Webhooks)>,
    validators: Vec<(&'a Value, Webhooks)>,
}

impl Found<'_> {
    fn installation(&self, facts: &Facts, key: &Key, keys: &[Key]) -> Installation {
        let (in_namespace, revision) = key;
        let mut findings = gaps(facts);
        let mut components = Vec::new();
        let mut worst = Health::Healthy;
        match self.istiod {
            Some(istiod) => components.push(component(istiod, "discovery")),
            None if kind_is_whole(facts, "apps", "Deployment") => {
                let plane = Plane {
                    namespace: in_namespace,
                    revision,
                };
                let staying = default_validator::others(facts, plane);
                findings.push(self.without_control_plane(in_namespace, revision, &staying));
                worst = Health::Incomplete;
            }
            None => worst = Health::Unknown,
        }
        if self.istiod.is_some() {
            worst = worse(worst, self.webhook_health(facts, revision, &mut findings));
        }
        let authority = authority::of(facts, in_namespace);
        worst = worse(worst, health_of(&authority));
        findings.extend(authority);
        for deployment in unique(facts, "apps", "Deployment")
            .into_iter()
            .filter(|d| !is_istiod(d) && !addon::is_one(d))
        {
            if of_this(deployment, key, keys) {
                components.push(component(deployment, "istio-proxy"));
            }
        }
        for daemons in facts.objects("apps", "DaemonSet") {
            let is_of_this = if gateway_workload::is_one(daemons) {
                of_this(daemons, key, keys)
            } else {
                keys.first() == Some(key)
            };
            if is_of_this {
                components.push(daemon_set(daemons));
            }
        }
        for part in &components {
            worst = worse(worst, part.health);
        }
        let versions = self.sources();
        let version = self.version(&components, &versions, &mut findings);
        if let Ok(version) = Version::parse(&version) {
            findings.extend(CATALOGUE.ended(&version, &facts.now));
            findings.extend(nodes::unsupported(facts, revision, &version));
        }
        // What is added shows the mesh, and is no reason to call it anything else than healthy.
        components.extend(addon::components(facts, in_namespace));
        let mut installation = Installation {
            mesh: crate::MESH.into(),
            namespace: in_namespace.clone(),
            version,
            revision: revision.clone(),
            health: worst,
            installed_by: self.installed_by().into(),
            adopted_from: self.objects().next().map_or("", adopted_from).into(),
            components,
            namespaces: injected(facts, revision),
            members: Members::default(),
            findings: Vec::new(),
            versions,
            prospects: Vec::new(),
        };
        // The nodes' proxies are of one of them.
        let has_nodes = keys.first() == Some(key);
        installation.members = membership::members(facts, &installation, has_nodes);
        findings.extend(of_operator(&installation));
        findings.extend(membership::findings(facts, &installation));
        findings.extend(has_nodes.then(|| ambient::finding(facts)).flatten());
        installation.findings = findings;
        installation
    }

    /// Any of its objects tells who made it; the control plane itself first.
    fn objects(&self) -> impl Iterator<Item = &Value> {
        let webhooks = self.injectors.iter().chain(&self.validators);
        self.istiod.into_iter().chain(webhooks.map(|(object, _)| *object))
    }

    fn installed_by(&self) -> &'static str {
        match self.objects().next() {
            Some(object) => maker(object),
            None => "unknown",
        }
    }

    /// What image, label and chart say, as far as they do.
    fn sources(&self) -> Vec<SourceVersion> {
        let of_image = self
            .istiod
            .and_then(|istiod| image_version(image(istiod, "discovery")?));
        let of_label = self
            .objects()
            .find_map(|object| Version::parse(label(object, VERSION_LABEL)?).ok());
        let of_chart = self.objects().find_map(|object| Some(chart_of(object)?.1));
        [("image", of_image), ("label", of_label), ("chart", of_chart)]
            .into_iter()
            .filter_map(|(source, version)| {
                Some(SourceVersion {
                    source: source.into(),
                    version: version?.to_string(),
                })
            })
            .collect()
    }

    /// The version that the image says, else the chart or the label.
    fn version(
        &self,
        components: &[Component],
        sources: &[SourceVersion],
        findings: &mut Vec<Finding>,
    ) -> String {
        let version = ["image", "chart", "label"]
            .iter()
            .find_map(|wanted| sources.iter().find(|source| source.source == *wanted))
            .map(|source| source.version.clone())
            .unwrap_or_default();
        if sources.iter().any(|source| source.version != version) {
            let all: Vec<String> = sources
                .iter()
                .map(|source| format!("{} {}", source.source, source.version))
                .collect();
            findings.push(
                Finding::warning(
                    "istio-version-mismatch",
                    format!(
                        "which version istiod is of is said in different ways: {}",
                        all.join(", ")
                    ),
                )
                .about(self.istiod.map(deployment_ref))
                .remedy("install the version that is wanted again, so that image and configuration agree"),
            );
        }
        for gateway in components.iter().skip(1) {
            let (Ok(theirs), Ok(ours)) = (Version::parse(&gateway.version), Version::parse(&version)) else {
                continue;
            };
            if (theirs.major, theirs.minor) > (ours.major, ours.minor) {
                findings.push(
                    Finding::warning(
                        "istio-gateway-newer",
                        format!(
                            "{} is of version {theirs}, newer than the control plane's {ours}",
                            gateway.object
                        ),
                    )
                    .about(gateway.object.clone())
                    .remedy("upgrade the control plane before its gateways"),
                );
            }
        }
        version
    }

    fn webhook_health(&self, facts: &Facts, revision: &str, findings: &mut Vec<Finding>) -> Health {
        let mut worst = Health::Healthy;
        if self.injectors.is_empty() {
            if kind_is_whole(facts, WEBHOOKS, "MutatingWebhookConfiguration") {
                findings.push(
                    Finding::error(
                        "istio-injector-missing",
                        format!("no webhook injects sidecars for revision \"{revision}\""),
                    )
                    .about(self.istiod.map(deployment_ref))
                    .remedy("install the same version again: what is missing is put back"),
                );
                worst = Health::Incomplete;
            } else {
                worst = Health::Unknown;
            }
        }
        for (object, webhooks) in self.injectors.iter().chain(&self.validators) {
            if !webhooks.without_ca_bundle.is_empty() {
                worst = worse(worst, Health::Degraded);
                findings.push(
                    Finding::error(
                        "istio-webhook-without-ca",
                        format!(
                            "{} has no CA bundle for {}: the API server cannot call istiod",
                            webhooks.name,
                            webhooks.without_ca_bundle.join(", ")
                        ),
                    )
                    .about(webhook_ref(object, self.is_injector(object)))
                    .remedy("istiod fills it in when it is ready; look at istiod's log if it does not"),
                );
            }
        }
        let injectors = self.injectors.iter().map(|(object, _)| *object);
        let validators = self.validators.iter().map(|(object, _)| *object);
        let mut ends = ending(facts, injectors.clone(), true);
        ends.extend(ending(facts, validators, false));
        worst = worse(worst, health_of(&ends));
        findings.extend(ends);
        let nobody = unanswered(facts, &injected(facts, revision), injectors);
        let validators = self.validators.iter();
        let unchecked = validators
            .filter_map(|(object, _)| Some((webhook::unanswered(facts, object)?, webhook_ref(object, false))))
            .map(|(found, object)| found.validator("istio", object));
        let silent: Vec<Finding> = nobody.into_iter().chain(unchecked).collect();
        if !silent.is_empty() {
            worst = worse(worst, Health::Degraded);
        }
        findings.extend(silent);
        for (object, webhooks) in &self.validators {
            if !webhooks.failing_open.is_empty() {
                findings.push(
                    Finding::warning(
                        "istio-validator-open",
                        format!(
                            "{} lets configuration pass unchecked while istiod cannot be reached",
                            webhooks.name
                        ),
                    )
                    .about(webhook_ref(object, false))
                    .remedy("istiod turns failurePolicy to Fail when it can validate; look at istiod's log"),
                );
            }
        }
        worst
    }

    fn is_injector(&self, object: &Value) -> bool {
        self.injectors
            .iter()
            .any(|(injector, _)| std::ptr::eq(*injector, object))
    }

    fn without_control_plane(&self, in_namespace: &str, revision: &str, staying: &[&str]) -> Finding {
        let left: Vec<&str> = self
            .injectors
            .iter()
            .chain(&self.validators)
            .map(|(object, _)| name(object))
            .collect();
        let only_default = !staying.is_empty() && left.iter().all(|name| *name == DEFAULT_VALIDATOR);
        let remedy = if only_default {
            // A removal would take what the others share.
            default_validator::remedy(staying)
        } else {
            "finish the removal (operation remove), or install Istio there again".to_owned()
        };
        let blocks = if self.injectors.is_empty() {
            "configuration of Istio may be refused"
        } else {
            "pods that ask for a sidecar cannot be made"
        };
        Finding::error(
            "istio-webhook-without-control-plane",
            format!(
                "{} call istiod of revision \"{revision}\" in namespace \"{in_namespace}\", which \
                 is not there: {blocks}",
                left.join(", ")
            ),
        )
        .about(
            self.injectors
                .iter()
                .map(|(object, _)| webhook_ref(object, true))
                .chain(
                    self.validators
                        .iter()
                        .map(|(object, _)| webhook_ref(object, false)),
                )
                .next(),
        )
        .remedy(remedy)
    }
}

/// What becomes of pods in namespaces that injectors are to see, when nobody answers these.
pub fn unanswered<'a>(
    facts: &Facts,
    namespaces: &[String],
    injectors: impl Iterator<Item = &'a Value>,
) -> Vec<Finding> {
    injectors
        .filter_map(|object| Some((webhook::unanswered(facts, object)?, webhook_ref(object, true))))
        .map(|(found, object)| found.injector("istio", namespaces, object))
        .collect()
}

/// What is said of those webhooks that the server trusts no longer, or not for long.
pub fn ending<'a>(
    facts: &Facts,
    configurations: impl Iterator<Item = &'a Value>,
    mutating: bool,
) -> Vec<Finding> {
    configurations
        .filter_map(|object| authority::of_webhooks(facts, object, webhook_ref(object, mutating)))
        .collect()
}

/// What works no longer where one of these is an error.
fn health_of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Health {
    let mut findings = findings.into_iter();
    if findings.any(|found| found.severity == Severity::Error) {
        Health::Degraded
    } else {
        Health::Healthy
    }
}

fn webhook_ref(object: &Value, mutating: bool) -> ObjectRef {
    let kind = if mutating {
        "MutatingWebhookConfiguration"
    } else {
        "ValidatingWebhookConfiguration"
    };
    ObjectRef::new("admissionregistration.k8s.io/v1", kind, "", name(object))
}

fn component(deployment: &Value, container: &str) -> Component {
    let (health, reason) = deployment_health(deployment);
    // A gateway's image is filled in by the injector: until then the chart says more.
    let version = image(deployment, container)
        .and_then(image_version)
        .or_else(|| Some(chart_of(deployment)?.1))
        .map(|version| version.to_string())
        .unwrap_or_default();
    Component {
        object: deployment_ref(deployment),
        version,
        health,
        reason,
        installed_by: String::new(),
    }
}

fn daemon_set(object: &Value) -> Component {
    let (health, reason) = daemon_set_health(object);
    Component {
        object: ObjectRef::new("apps/v1", "DaemonSet", namespace(object), name(object)),
        version: chart_of(object)
            .map(|(_, version)| version.to_string())
            .unwrap_or_default(),
        health,
        reason,
        installed_by: String::new(),
    }
}

/// Whether a gateway belongs to this control plane: the one of the revision that its pods ask for, or the only one.
fn of_this(workload: &Value, key: &Key, keys: &[Key]) -> bool {
    let wanted = revision_of_pods(workload);
    match keys.iter().find(|(_, revision)| revision == wanted) {
        Some(owner) => owner == key,
        None => keys.first() == Some(key),
    }
}

/// Namespaces whose pods this revision injects. The old label counts more than the revision's, and either may mean a
/// revision by another name of it.
fn injected(facts: &Facts, revision: &str) -> Vec<String> {
    let tags: BTreeMap<&str, &str> = tag::all(facts).map(|tag| (tag.name, tag.revision)).collect();
    // Also the revision itself, unless its name is now another one's.
    let means = |named: &str| {
        tags.get(named)
            .map_or(named == revision, |tagged| *tagged == revision)
    };
    let by_label = |object: &&Value| match label(object, INJECTION_LABEL) {
        Some(value) => value == "enabled" && means(DEFAULT_REVISION),
        None => label(object, REVISION_LABEL).is_some_and(means),
    };
    let mut names: Vec<String> = unique(facts, "", "Namespace")
        .into_iter()
        .filter(by_label)
        .map(|object| name(object).to_owned())
        .collect();
    names.sort();
    names
}

/// The name of the release that kept definitions are marked with, when it is not this one.
pub fn definitions_of_another_release(facts: &Facts, release: (&str, &str)) -> Option<(String, String)> {
    facts
        .objects("apiextensions.k8s.io", "CustomResourceDefinition")
        .filter_map(|object| {
            Some((
                annotation(object, "meta.helm.sh/release-namespace")?.to_owned(),
                annotation(object, "meta.helm.sh/release-name")?.to_owned(),
            ))
        })
        .find(|(of_namespace, of_name)| (of_namespace.as_str(), of_name.as_str()) != release)
}

/// The worse of two; what is not known is worse than what works, and better than what does not.
fn worse(a: Health, b: Health) -> Health {
    let rank = |health: Health| match health {
        Health::Healthy => 0,
        Health::Unknown => 1,
        Health::Degraded => 2,
        Health::Incomplete => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

/// Whether a mutating webhook configuration injects namespaces that carry the old label.
pub fn injects_labelled_namespaces(configuration: &Value) -> bool {
    let webhooks = configuration.get("webhooks").and_then(Value::as_array);
    webhooks.into_iter().flatten().any(|webhook| {
        let expressions = webhook.pointer("/namespaceSelector/matchExpressions");
        expressions
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .any(|expression| {
                text(expression, "/key") == INJECTION_LABEL && text(expression, "/operator") == "In"
            })
    })
}
