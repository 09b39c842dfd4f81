//! Which installation of Linkerd facts show, whoever made it.

use std::collections::{BTreeMap, BTreeSet};

use meshery_mesh_kit::need;
use meshery_mesh_kit::object::{annotation, label, name, namespace, text};
use meshery_mesh_kit::ownership::{adopted_from, chart_of};
use meshery_mesh_kit::readable::{demand, gaps, kind_is_whole};
use meshery_mesh_kit::webhook;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::{
    Component, Finding, Health, Installation, Severity, SourceVersion,
};
use semver::Version;
use serde_json::Value;

use crate::control_plane::{
    CONTROL_PLANE_NS, DEPLOYMENTS, INBOUND_POLICY, INJECTOR, ISSUER, PROXY_VERSION, TRUST_ROOTS, VALIDATORS,
    WEBHOOKS, webhook as webhook_ref,
};
use crate::{MESH, cni, component, config, membership, trust, versions, webhook_certificate};

const MUTATING: &str = "MutatingWebhookConfiguration";
const VALIDATING: &str = "ValidatingWebhookConfiguration";

pub fn needs() -> Vec<Need> {
    let of_linkerd = |group, kind, detail| need::everywhere(group, kind, CONTROL_PLANE_NS, detail);
    vec![
        of_linkerd("apps", "Deployment", Detail::Full),
        of_linkerd(WEBHOOKS, MUTATING, Detail::Full),
        of_linkerd(WEBHOOKS, VALIDATING, Detail::Full),
        of_linkerd(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            Detail::Metadata,
        ),
        // What a removal that stopped half way may have left of a release.
        of_linkerd("", "ServiceAccount", Detail::Metadata),
        // Pods with a proxy: their annotation has its version.
        of_linkerd("", "Pod", Detail::Metadata),
        // And those without: whether they could have one is in their spec, and whether they are over in their status.
        need::everywhere("", "Pod", &format!("!{CONTROL_PLANE_NS}"), Detail::Full),
        // Wherever the control plane is.
        need::one("", "", "ConfigMap", TRUST_ROOTS, Detail::Full),
        config::need(""),
        need::one("", "", "Secret", ISSUER, Detail::Full),
        need::everywhere("", "Namespace", "", Detail::Metadata),
        // Releases of extensions and of the CNI plugin.
        need::everywhere("", "ServiceAccount", "linkerd.io/extension", Detail::Metadata),
        cni::need(),
    ]
}

/// Who answers for control planes: what tells whether webhooks that are there work.
pub fn endpoints() -> Need {
    webhook::endpoints(CONTROL_PLANE_NS)
}

/// What becomes of pods in namespaces when nobody answers the injector.
pub fn unanswered(facts: &Facts, namespaces: &[String], injector: &Value) -> Option<Finding> {
    let found = webhook::unanswered(facts, injector)?;
    Some(found.injector("linkerd", namespaces, webhook_ref(MUTATING, INJECTOR)))
}

/// An error when nothing can be said about Linkerd at all without what could not be read.
pub fn demand_whole(facts: &Facts) -> Result<(), PluginError> {
    demand(facts, "apps", "Deployment")?;
    demand(facts, WEBHOOKS, MUTATING)?;
    demand(facts, WEBHOOKS, VALIDATING)
}

/// What was found of one control plane.
#[derive(Default)]
struct Found<'a> {
    deployments: BTreeMap<&'a str, &'a Value>,
    webhooks: BTreeMap<&'a str, &'a Value>,
}

pub fn installations(facts: &Facts) -> Result<Vec<Installation>, PluginError> {
    let mut found = BTreeMap::<&str, Found<'_>>::new();
    for object in facts.objects("apps", "Deployment") {
        if DEPLOYMENTS.contains(&name(object)) && label(object, CONTROL_PLANE_NS) == Some(namespace(object)) {
            let entry = found.entry(namespace(object)).or_default();
            entry.deployments.insert(name(object), object);
        }
    }
    for kind in [MUTATING, VALIDATING] {
        for object in facts.objects(WEBHOOKS, kind) {
            if let Some(of) = label(object, CONTROL_PLANE_NS)
                && (name(object) == INJECTOR || VALIDATORS.contains(&name(object)))
            {
                found.entry(of).or_default().webhooks.insert(name(object), object);
            }
        }
    }
    if found.is_empty() {
        demand_whole(facts)?;
    }
    Ok(found
        .iter()
        .map(|(of_namespace, found)| found.installation(facts, of_namespace))
        .collect())
}

/// The installation in a namespace.
pub fn installed_in(facts: &Facts, in_namespace: &str) -> Result<Installation, PluginError> {
    let mut installations = installations(facts)?;
    match installations
        .iter()
        .position(|found| found.namespace == in_namespace)
    {
        Some(at) => Ok(installations.swap_remove(at)),
        None => Err(not_installed(&installations, in_namespace)),
    }
}

/// That Linkerd is not in a namespace, and where it is.
pub fn not_installed(installations: &[Installation], in_namespace: &str) -> PluginError {
    let error = PluginError::new(
        "linkerd-not-installed",
        format!("there is no {MESH} in namespace \"{in_namespace}\""),
    );
    let elsewhere: Vec<&str> = installations
        .iter()
        .map(|found| found.namespace.as_str())
        .collect();
    if elsewhere.is_empty() {
        error.remedy("install it first (operation install)")
    } else {
        error.remedy(format!("name the namespace it is in: {}", elsewhere.join(", ")))
    }
}

impl Found<'_> {
    fn installation(&self, facts: &Facts, of_namespace: &str) -> Installation {
        let mut findings = gaps(facts);
        let mut components: Vec<Component> = self
            .deployments
            .values()
            .map(|object| component::of_control_plane(object))
            .collect();
        let mut health = components
            .iter()
            .map(|component| component.health)
            .fold(Health::Healthy, worse);
        health = worse(health, self.parts(facts, of_namespace, &mut findings));
        let sources = self.sources(facts, of_namespace, &components);
        // What is added has a health of its own.
        components.extend(component::added(facts));
        let version = Self::version(&sources, &mut findings);
        let (namespaces, with_proxies) = membership::of(facts, of_namespace);
        findings.extend(membership::findings(facts, of_namespace, &version));
        findings.extend(trust::anchors(facts, of_namespace));
        findings.extend(trust::issuer(facts, of_namespace));
        findings.extend(trust::behind(facts, of_namespace));
        if versions::parse(&version).is_some_and(|version| versions::line_of(&version) == "stable") {
            findings.push(
                Finding::warning(
                    "linkerd-stable-ended",
                    format!(
                        "{MESH} {version} is of the stable line, which ended in public on {}",
                        versions::STABLE_ENDED
                    ),
                )
                .remedy("go over to line edge, or to a vendor's releases"),
            );
        }
        if !namespaces.is_empty() {
            findings.push(mutual_tls(facts, of_namespace, with_proxies));
        }
        Installation {
            mesh: MESH.into(),
            namespace: of_namespace.into(),
            members: membership::members(facts, of_namespace, &version),
            version,
            revision: String::new(),
            health,
            installed_by: self.installed_by().into(),
            adopted_from: self.telling().map_or("", adopted_from).into(),
            components,
            namespaces,
            findings,
            versions: sources,
            prospects: Vec::new(),
        }
    }

    /// Any of its objects tells who made it.
    fn telling(&self) -> Option<&Value> {
        let mut objects = self.deployments.values().chain(self.webhooks.values());
        objects.next().copied()
    }

    fn installed_by(&self) -> &'static str {
        self.telling().map_or("unknown", component::maker)
    }

    /// What of the control plane is missing or does not work.
    fn parts(&self, facts: &Facts, of_namespace: &str, findings: &mut Vec<Finding>) -> Health {
        let mut health = Health::Healthy;
        let mut missing: Vec<&str> = Vec::new();
        if kind_is_whole(facts, "apps", "Deployment") {
            missing.extend(
                DEPLOYMENTS
                    .iter()
                    .copied()
                    .filter(|name| !self.deployments.contains_key(name)),
            );
        } else {
            health = Health::Unknown;
        }
        let names = [INJECTOR, VALIDATORS[0], VALIDATORS[1]];
        if kind_is_whole(facts, WEBHOOKS, MUTATING) && kind_is_whole(facts, WEBHOOKS, VALIDATING) {
            missing.extend(names.into_iter().filter(|name| !self.webhooks.contains_key(name)));
        } else {
            health = Health::Unknown;
        }
        if !missing.is_empty() {
            health = Health::Incomplete;
            findings.push(
                Finding::error(
                    "linkerd-incomplete",
                    format!("parts of the control plane are missing: {}", missing.join(", ")),
                )
                .remedy("install the same version again, or finish the removal (operation remove)"),
            );
        }
        let silent: Vec<Finding> = self
            .webhooks
            .iter()
            .filter_map(|(name, object)| {
                if *name == INJECTOR {
                    unanswered(facts, &membership::of(facts, of_namespace).0, object)
                } else {
                    let found = webhook::unanswered(facts, object)?;
                    Some(found.validator("linkerd", webhook_ref(VALIDATING, name)))
                }
            })
            .collect();
        if !silent.is_empty() {
            health = worse(health, Health::Degraded);
        }
        findings.extend(silent);
        let ending = self
            .webhooks
            .values()
            .filter_map(|object| webhook_certificate::of(facts, object));
        for found in ending {
            if found.severity == Severity::Error {
                health = worse(health, Health::Degraded);
            }
            findings.push(found);
        }
        for (name, object) in &self.webhooks {
            let read = webhook::read(object);
            if read.without_ca_bundle.is_empty() {
                continue;
            }
            health = worse(health, Health::Degraded);
            let kind = if *name == INJECTOR { MUTATING } else { VALIDATING };
            findings.push(
                Finding::error(
                    "linkerd-webhook-without-ca",
                    format!("{name} has no CA bundle: the API server cannot call it"),
                )
                .remedy(
                    "install the same version again, or look at what should write the bundle (cert-manager)",
                )
                .about(webhook_ref(kind, name)),
            );
        }
        health
    }

    /// Every version that images, labels and charts give, as far as they do. Deployments have no mark of their chart, and
    /// definitions have.
    fn sources(&self, facts: &Facts, of_namespace: &str, components: &[Component]) -> Vec<SourceVersion> {
        let by_image = components
            .iter()
            .filter_map(|component| Version::parse(&component.version).ok());
        let by_label = self
            .deployments
            .values()
            .filter_map(|object| versions::parse(label(object, "app.kubernetes.io/version")?));
        let by_chart = facts
            .objects("apiextensions.k8s.io", "CustomResourceDefinition")
            .filter(|object| label(object, CONTROL_PLANE_NS) == Some(of_namespace))
            // Those that the chart wants to be kept may be of the installation before.
            .filter(|object| annotation(object, "helm.sh/resource-policy") != Some("keep"))
            .filter_map(|object| Some(chart_of(object)?.1))
            // Charts of the stable line have numbers of their own.
            .filter(|version| versions::line_of(version) == "edge");
        let mut found = BTreeSet::new();
        found.extend(by_image.map(|version| ("image", version)));
        found.extend(by_label.map(|version| ("label", version)));
        found.extend(by_chart.map(|version| ("chart", version)));
        found
            .into_iter()
            .map(|(source, version)| SourceVersion {
                source: source.into(),
                version: version.to_string(),
            })
            .collect()
    }

    /// The newest version by image; by label, or by chart, where the image does not say.
    fn version(sources: &[SourceVersion], findings: &mut Vec<Finding>) -> String {
        let newest = |wanted: &&str| sources.iter().rfind(|source| source.source == *wanted);
        let version = ["image", "label", "chart"].iter().find_map(newest);
        let version = version.map(|source| source.version.clone()).unwrap_or_default();
        if sources.iter().any(|source| source.version != version) {
            let all: Vec<String> = sources
                .iter()
                .map(|source| format!("{} {}", source.source, source.version))
                .collect();
            findings.push(
                Finding::warning(
                    "linkerd-version-mismatch",
                    format!(
                        "images, labels and charts of the control plane do not agree: {}",
                        all.join(", ")
                    ),
                )
                .remedy("install the version that is wanted again"),
            );
        }
        version
    }
}

/// Pods with a proxy of this control plane, but for its own.
pub fn proxies<'a>(facts: &'a Facts, of_namespace: &'a str) -> impl Iterator<Item = &'a Value> {
    facts.objects("", "Pod").filter(move |pod| {
        label(pod, CONTROL_PLANE_NS) == Some(of_namespace)
            && namespace(pod) != of_namespace
            && annotation(pod, PROXY_VERSION).is_some()
    })
}

/// What is let in besides mutual TLS, by the policy that counts where no other one does.
fn mutual_tls(facts: &Facts, of_namespace: &str, with_proxies: usize) -> Finding {
    let values = config::find(facts, of_namespace).map_or("", |object| text(object, "/data/values"));
    let policy = values
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("defaultInboundPolicy:"))
        .map_or("", |policy| policy.trim().trim_matches('"'));
    let without_one = match policy {
        "all-unauthenticated" => "is let in unless a policy forbids it",
        "cluster-unauthenticated" => "is let in from the cluster's networks unless a policy forbids it",
        "all-authenticated" | "cluster-authenticated" | "deny" => "is refused unless a policy allows it",
        "audit" => "is let in and noted unless a policy forbids it",
        _ => "is let in unless a policy, or the default policy, which was not seen, forbids it",
    };
    let of_their_own: BTreeSet<String> = facts
        .objects("", "Namespace")
        .filter_map(|object| {
            let policy = annotation(object, INBOUND_POLICY)?;
            Some(format!("{policy} in {}", name(object)))
        })
        .collect();
    let mut message = format!(
        "pods with a proxy ({with_proxies} of them) speak mutual TLS with each other; what comes from pods without one \
         {without_one}"
    );
    if !policy.is_empty() {
        message = format!("{message} (default policy {policy})");
    }
    if !of_their_own.is_empty() {
        let of_their_own: Vec<String> = of_their_own.into_iter().collect();
        message = format!("{message}; {}", of_their_own.join(", "));
    }
    Finding::info("linkerd-mtls", message)
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

/// Whether a pod is seen by the injector: its namespace is not kept from the webhooks.
pub fn is_kept_from_webhooks(object: &Value) -> bool {
    text(object, "/metadata/labels/config.linkerd.io~1admission-webhooks") == "disabled"
}
