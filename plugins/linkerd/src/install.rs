//! Installing and upgrading Linkerd: the namespace with its marks, definitions, perhaps the CNI plugin, control plane.

use meshery_mesh_kit::namespace::{self, State};
use meshery_mesh_kit::step::{apply, holds, keeping_values, managed_by, probe, release, wait};
use meshery_mesh_kit::values::Values;
use meshery_mesh_kit::{adoption, injection_proof, need, parameter, precheck, schema, skew, webhook};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Facts, Need};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Images, Plan, PlanRequest, Rule, Step};
use semver::Version;
use serde_json::{Map, Value, json};

use crate::control_plane::{
    CNI, CNI_CHART, CONTROL_PLANE, CONTROL_PLANE_NS, CRDS, INJECT, NAMESPACE, WEBHOOKS_DISABLED, ready,
};
use crate::releases::{Part, of_linkerd};
use crate::values::{self, VALUES};
use crate::versions::{self, LINES, Release, STABLE_ENDED};
use crate::{MESH, cni, config, detect, gateway_api, issuer_secret, networks, trust, webhook_certificate};

const DEADLINE_S: u64 = 300;
const LONGEST_DEADLINE_S: u64 = 3600;
/// Replicas of each of the control plane's Deployments with high availability, each on a node of its own.
pub const HA_REPLICAS: usize = 3;
/// Who marks a namespace that others have made.
pub const NAMESPACE_MANAGER: &str = "meshery-linkerd-namespace";
/// The mark by which that is known again.
pub const NAMESPACE_MARK: &str = "linkerd.meshery.io/namespace";

fn version_parameters() -> [(&'static str, Value); 2] {
    [
        (
            "version",
            schema::text("Version, as in edge-26.8.3 or stable-2.14.10; the newest of the line when empty"),
        ),
        (
            "line",
            schema::choice(
                "edge: what the project publishes; stable: ended in public with stable-2.14.10 in February 2024",
                &LINES,
            ),
        ),
    ]
}

fn common_parameters() -> [(&'static str, Value); 2] {
    [
        (
            "namespace",
            schema::namespace("Namespace of the control plane", NAMESPACE),
        ),
        (
            "deadline",
            schema::count(
                "Seconds that each wait may take; the host's own limit when 0",
                DEADLINE_S,
                LONGEST_DEADLINE_S,
            ),
        ),
    ]
}

fn needs() -> Vec<Need> {
    let mut needs = vec![need::namespace("{namespace}"), need::namespace(CNI)];
    needs.extend(trust::needs());
    needs.extend(gateway_api::needs());
    needs.extend(detect::needs());
    needs.extend(webhook_certificate::needs());
    needs.extend(webhook::needs());
    needs.push(need::namespace(PROOF_NAMESPACE));
    needs.push(networks::need());
    needs.extend(precheck::needs(&["{namespace}", CNI]));
    needs
}

pub fn operation() -> Operation {
    let [version, line] = version_parameters();
    let [namespace, deadline] = common_parameters();
    Operation {
        name: "install".into(),
        category: Category::Install,
        description: "Installs Linkerd: custom resource definitions and control plane, with the trust anchors and the issuer \
                      that are there"
            .into(),
        parameters: schema::object(
            [
                version,
                line,
                namespace,
                (
                    "ha",
                    schema::flag(
                        "Three replicas, spread and protected; pods are refused while no injector answers",
                        false,
                    ),
                ),
                (
                    "cni",
                    schema::flag(
                        "Install the CNI plugin first, in linkerd-cni; pods then need no rights on their network",
                        false,
                    ),
                ),
                (
                    "platform",
                    schema::choice(
                        "Platform whose nodes have the network's plugins elsewhere; auto: by what the server says of itself",
                        &cni::PLATFORMS,
                    ),
                ),
                (
                    "gateway_api",
                    schema::choice(
                        "Definitions of the Gateway API that the chart brings: those that are missing, all, none",
                        &gateway_api::WISHES,
                    ),
                ),
                (
                    "init_as_root",
                    schema::flag("Let the init container run as root, as nodes with Docker's runtime want it", false),
                ),
                VALUES.parameter(),
                adoption::parameter(),
                deadline,
            ],
            &[],
        ),
        needs: needs(),
    }
}

pub fn upgrade_operation() -> Operation {
    let [version, line] = version_parameters();
    let [namespace, deadline] = common_parameters();
    Operation {
        name: "upgrade".into(),
        category: Category::Configure,
        description:
            "Upgrades Linkerd in place: definitions first, then the control plane, with the options it has"
                .into(),
        parameters: schema::object(
            [
                version,
                line,
                namespace,
                VALUES.parameter(),
                adoption::parameter(),
                deadline,
            ],
            &[],
        ),
        needs: needs(),
    }
}

/// A request, read.
struct Install<'a> {
    release: Release,
    namespace: &'a str,
    ha: bool,
    cni: bool,
    /// What is special about the nodes.
    platform: Option<&'static str>,
    init_as_root: bool,
    values: Values<'a>,
    /// The chart is to leave the anchors and the issuer that it has made to others.
    takes_out: bool,
    gateway_api: Map<String, Value>,
    deadline_s: u32,
    images: &'a Images,
    is_upgrade: bool,
    /// What was set when it was installed stays, also when the same is installed again, to mend it say.
    keeps: bool,
    /// What is there is of no release yet.
    unreleased: bool,
}

/// Whether there is a release of the control plane.
fn is_there(facts: &Facts, in_namespace: &str) -> bool {
    of_linkerd(facts)
        .iter()
        .any(|release| release.part == Part::ControlPlane && release.id.namespace == in_namespace)
}

impl<'a> Install<'a> {
    fn read(request: &'a PlanRequest) -> Result<Self, PluginError> {
        let facts = &request.facts;
        let in_namespace = parameter::namespace(request, "namespace", NAMESPACE)?;
        let upgrade = request.operation == "upgrade";
        let released = is_there(facts, in_namespace);
        // Of a control plane that is of no release its own installer's options are known, and stay when it becomes one.
        let keeps_options = upgrade || !released;
        let option = |parameter: &str, value: &str| -> Result<bool, PluginError> {
            if keeps_options && config::has(facts, in_namespace, value) {
                return Ok(true);
            }
            Ok(!upgrade && parameter::flag(request, parameter, false)?)
        };
        let cni = option("cni", "cniEnabled: true")?;
        let mut charts = vec![CRDS, CONTROL_PLANE];
        if cni {
            charts.push(CNI_CHART);
        }
        let values = values::read(request)?;
        let deadline = parameter::count(request, "deadline", DEADLINE_S, LONGEST_DEADLINE_S)?;
        let wish = parameter::choice(request, "gateway_api", &gateway_api::WISHES)?;
        let platform = parameter::choice(request, "platform", &cni::PLATFORMS)?;
        Ok(Self {
            release: versions::choose(request, &charts)?,
            namespace: in_namespace,
            ha: option("ha", "highAvailability: true")?,
            cni,
            platform: cni::platform(platform, facts),
            init_as_root: option("init_as_root", "  runAsRoot: true")?,
            gateway_api: gateway_api::values(facts, wish, in_namespace)?,
            takes_out: (!upgrade || values::takes_out(&values)) && trust::is_of_chart(facts, in_namespace),
            values,
            deadline_s: u32::try_from(deadline).unwrap_or(u32::MAX),
            images: &request.images,
            is_upgrade: upgrade,
            keeps: upgrade || released,
            unreleased: !released && config::find(facts, in_namespace).is_some(),
        })
    }

    /// The options, as values of the control plane's chart; those that an upgrade finds are there already.
    fn options(&self) -> Value {
        let mut values = json!({});
        if self.is_upgrade && !self.takes_out {
            return values;
        }
        values["identity"] = json!({"externalCA": true, "issuer": {"scheme": "kubernetes.io/tls"}});
        if self.takes_out {
            // What they were is in no record from then on.
            values["identityTrustAnchorsPEM"] = "".into();
            values["identity"]["issuer"]["tls"] = json!({"crtPEM": "", "keyPEM": ""});
        }
        if self.is_upgrade {
            return values;
        }
        if self.cni {
            values["cniEnabled"] = true.into();
        }
        if self.init_as_root {
            values["proxyInit"] = json!({"runAsRoot": true});
        }
        if self.ha {
            high_availability(&mut values);
        }
        values
    }

    fn values(&self) -> Value {
        let mut values = self.options();
        if !self.images.registry.is_empty() {
            let moved = |name: &str| Value::from(format!("{}/linkerd/{name}", self.images.registry));
            values["controllerImage"] = moved("controller");
            values["debugContainer"] = json!({"image": {"name": moved("debug")}});
            values["proxy"]["image"] = json!({"name": moved("proxy")});
        }
        if !self.images.pull_secrets.is_empty() {
            let secrets: Vec<Value> = self
                .images
                .pull_secrets
                .iter()
                .map(|name| json!({"name": name}))
                .collect();
            values["imagePullSecrets"] = secrets.into();
        }
        values
    }

    /// Values of the CNI plugin; those that an upgrade finds are there already.
    fn plugin(&self) -> Value {
        if self.is_upgrade {
            json!({})
        } else {
            cni::values(self.platform)
        }
    }

    fn release(
        &self,
        id: &str,
        title: &str,
        name: (&str, &str),
        chart: &str,
        values: Value,
    ) -> Result<Step, PluginError> {
        let values = self.values.over(chart, values);
        let step = release(id, title, name, self.release.chosen.chart(chart)?, values);
        Ok(if self.keeps { keeping_values(step) } else { step })
    }

    fn steps(&self, facts: &Facts) -> Result<Vec<Step>, PluginError> {
        let mut steps = vec![pod_is_taken(self.images), marked(facts, self.namespace, self.cni)];
        steps.push(self.release(
            "crds",
            "custom resource definitions",
            (self.namespace, CRDS),
            CRDS,
            gateway_api::of_chart(&self.gateway_api, self.release.line),
        )?);
        if self.cni {
            let mut cni = namespace::manifest(CNI);
            cni["metadata"]["labels"] = json!({"linkerd.io/cni-resource": "true", WEBHOOKS_DISABLED: "disabled",
                    "pod-security.kubernetes.io/enforce": "privileged"});
            if namespace::state(facts, CNI) != State::Present {
                steps.push(apply("cni-namespace", "namespace of the CNI plugin", vec![cni]));
            }
            steps.push(self.release("cni", "CNI plugin", (CNI, CNI), CNI_CHART, self.plugin())?);
            let daemons = ObjectRef::new("apps/v1", "DaemonSet", CNI, CNI);
            steps.push(wait(
                "cni-ready",
                "the CNI plugin runs on every node",
                self.deadline_s,
                vec![holds(Rule::Ready, daemons)],
            ));
        }
        steps.extend(issuer_secret::named(facts, self.namespace, self.takes_out));
        steps.push(self.release(
            "control-plane",
            "control plane",
            (self.namespace, CONTROL_PLANE),
            CONTROL_PLANE,
            self.values(),
        )?);
        Ok(steps)
    }

    fn verify(&self) -> Vec<Step> {
        let mut verify = vec![wait(
            "ready",
            "identity, destination and injector run and answer",
            self.deadline_s,
            ready(self.namespace),
        )];
        verify.push(injection_works(self.images, self.deadline_s));
        if self.release.line == "edge" {
            verify.push(validation_works(self.deadline_s));
        }
        verify
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "The trust anchors and the issuer that are there are used, and not changed by this or a later run.".to_owned(),
        ];
        if self.unreleased {
            notes.push(
                "Of what is there high availability, the CNI plugin and an init container that runs as root stay as they are; other \
                 values that its installer was given do not: the preview shows what changes."
                    .into(),
            );
        }
        if self.release.line == "stable" {
            notes.push(format!(
                "The stable line ended in public on {STABLE_ENDED}; it gets no corrections any more."
            ));
        }
        notes.extend(self.release.chosen.note(&self.release.name()));
        if self.cni
            && !self.is_upgrade
            && let Some(platform) = self.platform
        {
            notes.push(format!(
                "The CNI plugin is put where nodes of {platform} look for it (parameter platform)."
            ));
        }
        if self.cni {
            notes.push("The CNI plugin's chart is an extra of the project's and is not tested here.".into());
        }
        notes
    }
}

/// What the chart's own `values-ha.yaml` says.
fn high_availability(values: &mut Value) {
    let resources = |limit: &str, request: &str| json!({"cpu": {"limit": "", "request": "100m"}, "memory": {"limit": limit, "request": request}});
    let of_controllers = resources("250Mi", "50Mi");
    for (key, value) in [
        ("enablePodDisruptionBudget", json!(true)),
        (
            "controller",
            json!({"podDisruptionBudget": {"maxUnavailable": 1}}),
        ),
        (
            "deploymentStrategy",
            json!({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": "25%"}}),
        ),
        ("enablePodAntiAffinity", json!(true)),
        (
            "proxy",
            json!({"resources": {"cpu": {"request": "100m"}, "memory": {"limit": "250Mi", "request": "20Mi"}}}),
        ),
        ("controllerReplicas", json!(HA_REPLICAS)),
        ("controllerResources", of_controllers.clone()),
        ("destinationResources", of_controllers.clone()),
        ("identityResources", resources("250Mi", "10Mi")),
        ("heartbeatResources", of_controllers.clone()),
        ("proxyInjectorResources", of_controllers.clone()),
        ("spValidatorResources", of_controllers),
        ("webhookFailurePolicy", json!("Fail")),
        ("highAvailability", json!(true)),
    ] {
        values[key] = value;
    }
}

/// The namespace with the marks that the CLI would give it: no webhook of Linkerd's sees its pods.
fn marked(facts: &Facts, in_namespace: &str, cni: bool) -> Step {
    let mut object = namespace::manifest(in_namespace);
    object["metadata"]["labels"] = json!({
        "linkerd.io/is-control-plane": "true",
        WEBHOOKS_DISABLED: "disabled",
        CONTROL_PLANE_NS: in_namespace,
        "pod-security.kubernetes.io/enforce": if cni { "restricted" } else { "privileged" },
    });
    object["metadata"]["annotations"] = json!({INJECT: "disabled"});
    let there = namespace::state(facts, in_namespace) == State::Present;
    let ours = there
        && namespace::find(facts, in_namespace).is_some_and(meshery_mesh_kit::ownership::is_ours)
        && namespace::find(facts, in_namespace)
            .is_some_and(|found| meshery_mesh_kit::object::annotation(found, NAMESPACE_MARK).is_none());
    if !there || ours {
        return apply(
            "namespace",
            format!("namespace {in_namespace} and its marks"),
            vec![object],
        );
    }
    object["metadata"]["annotations"][NAMESPACE_MARK] = "marked".into();
    let title = format!("marks of a control plane on namespace {in_namespace}");
    managed_by(apply("namespace", title, vec![object]), NAMESPACE_MANAGER)
}

/// Who has made the installation that is there, of which a cluster takes one only; "" when there is none.
pub fn maker_there(request: &PlanRequest) -> Result<String, PluginError> {
    let there = detect::installations(&request.facts)?.into_iter().next();
    Ok(there.map(|found| found.installed_by).unwrap_or_default())
}

/// What the plan of a request would install, for checks.
pub struct Wish {
    pub version: Version,
    pub line: &'static str,
    pub namespace: String,
    pub skew: Option<Finding>,
    pub missing_definitions: Vec<String>,
    pub is_upgrade: bool,
    /// Whether anchors and issuer of a chart are taken out of its hands.
    pub takes_out: bool,
    pub ha: bool,
    pub cni: bool,
    pub platform: Option<&'static str>,
}

impl Wish {
    /// A version over what is there, and nothing else of it.
    pub fn of(version: &Version, in_namespace: &str) -> Self {
        Self {
            version: version.clone(),
            line: versions::line_of(version),
            namespace: in_namespace.into(),
            skew: None,
            missing_definitions: Vec::new(),
            is_upgrade: true,
            takes_out: false,
            ha: false,
            cni: false,
            platform: None,
        }
    }
}

pub fn wish(request: &PlanRequest) -> Result<Wish, PluginError> {
    let install = Install::read(request)?;
    let mesh = format!("{MESH} {}", install.release.name());
    let kubernetes = &install.release.chosen.kubernetes;
    Ok(Wish {
        skew: skew::outside(&mesh, kubernetes, &request.facts.cluster.version),
        namespace: install.namespace.to_owned(),
        line: install.release.line,
        is_upgrade: install.is_upgrade,
        takes_out: install.takes_out,
        ha: install.ha,
        cni: install.cni,
        platform: install.platform,
        missing_definitions: gateway_api::missing(&request.facts, &install.gateway_api),
        version: install.release.chosen.version,
    })
}

pub fn plan(request: &PlanRequest) -> Result<Plan, PluginError> {
    planned(request, "Install")
}

pub fn upgrade(request: &PlanRequest) -> Result<Plan, PluginError> {
    let in_namespace = parameter::namespace(request, "namespace", NAMESPACE)?;
    let there = detect::installations(&request.facts)?;
    if !there.iter().any(|found| found.namespace == in_namespace) {
        return Err(detect::not_installed(&there, in_namespace));
    }
    let mut plan = planned(request, "Upgrade")?;
    plan.summary = plan.summary.replacen("Upgrade Linkerd", "Upgrade Linkerd to", 1);
    plan.notes.push(
        "Proxies keep their version until their pods are made again: operation restart, one namespace after the other."
            .into(),
    );
    Ok(plan)
}

fn planned(request: &PlanRequest, verb: &str) -> Result<Plan, PluginError> {
    let install = Install::read(request)?;
    let options: Vec<&str> = [(install.ha, "high availability"), (install.cni, "CNI plugin")]
        .into_iter()
        .filter_map(|(has, option)| has.then_some(option))
        .collect();
    let with = if options.is_empty() {
        String::new()
    } else {
        format!(" with {}", options.join(" and "))
    };
    let name = install.release.name();
    Ok(crate::plan(
        format!("{verb} {MESH} {name}{with} in namespace {}", install.namespace),
        install.steps(&request.facts)?,
        install.verify(),
        install.notes(),
    ))
}

/// A pod that asks for a proxy gets one. Not in the control plane's own namespace, whose pods no webhook sees.
pub fn injection_works(images: &Images, deadline_s: u32) -> Step {
    injection_proof::injection_works(
        "a pod that asks for a proxy would get one",
        json!({"namespace": PROOF_NAMESPACE, "annotations": {INJECT: "enabled"}}),
        images,
        (
            "the mark of a proxy",
            "/metadata/annotations/linkerd.io~1proxy-version",
        ),
        deadline_s,
    )
}

/// Before anything is changed: nothing refuses such a pod. The injector, which need not work yet, does not see it: by its chart it
/// leaves alone what bears this label.
pub fn pod_is_taken(images: &Images) -> Step {
    let labels = json!({cni::OF_PLUGIN: "true"});
    injection_proof::pod_is_taken(json!({"namespace": PROOF_NAMESPACE, "labels": labels}), images)
}

/// Where the pod would be that is asked for to prove that injection works: one that is there in every cluster.
pub const PROOF_NAMESPACE: &str = "default";

/// A policy is taken: its definition is served. The validator fails open, unless with high availability.
fn validation_works(deadline_s: u32) -> Step {
    let step = probe(
        "validation",
        "a policy would be taken",
        json!({
            "apiVersion": "policy.linkerd.io/v1beta3",
            "kind": "Server",
            "metadata": {"name": "meshery-validation-probe", "namespace": PROOF_NAMESPACE},
            "spec": {"podSelector": {"matchLabels": {"app": "probe"}}, "port": 80},
        }),
    );
    Step { deadline_s, ..step }
}
