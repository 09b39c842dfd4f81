//! Extensions: viz, multicluster, SMI, each a release of its own; and jaeger, which is gone.

use meshery_mesh_kit::catalogue::Chosen;
use meshery_mesh_kit::namespace::{self, State};
use meshery_mesh_kit::ownership::ReleaseId;
use meshery_mesh_kit::precheck::{self, Pods};
use meshery_mesh_kit::step::{apply, delete, holds, release, remove_release, wait};
use meshery_mesh_kit::values::Values;
use meshery_mesh_kit::{adoption, application, need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Facts, Need};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::{Plan, PlanRequest, Readiness, Rule};
use semver::Version;
use serde_json::{Value, json};

use crate::control_plane::{NAMESPACE, deployment};
use crate::releases::{Part, PartRelease, of_linkerd};
use crate::values::VALUES;
use crate::versions::{self, SMI as SMI_CATALOGUE};
use crate::{MESH, check, detect};

/// An extension.
pub struct Extension {
    /// As in the names of its operations, and as Linkerd's own label has it.
    name: &'static str,
    title: &'static str,
    /// Chart, release and, unless somebody wants it elsewhere, namespace.
    chart: &'static str,
    part: Part,
    /// Deployments that must run.
    deployments: &'static [Running],
    /// The chart's value for the control plane's namespace, where it has one.
    control_plane_value: &'static str,
    /// Whether it has a gateway, which its chart makes reachable from outside unless it is told otherwise.
    has_gateway: bool,
}

/// A Deployment of an extension, and the values of its chart that it goes by.
struct Running {
    name: &'static str,
    /// That by which it has another name; "" where there is none.
    named_by: &'static str,
    /// That by which it is left out; "" where there is none.
    switch: &'static str,
}

impl Running {
    /// One that is always there.
    const fn always(name: &'static str) -> Self {
        Self {
            name,
            named_by: "",
            switch: "",
        }
    }

    /// Its name, unless it is left out.
    fn with(&self, extension: &Extension, values: &Values<'_>) -> Option<String> {
        let value = |path: &str| values.get(extension.chart, path).filter(|_| !path.is_empty());
        if value(self.switch) == Some(&Value::Bool(false)) {
            return None;
        }
        let name = value(self.named_by).and_then(Value::as_str);
        Some(name.unwrap_or(self.name).to_owned())
    }
}

/// Types of a gateway's Service; the first is the usual one here, the last the chart's own.
const SERVICE_TYPES: [&str; 3] = ["ClusterIP", "NodePort", "LoadBalancer"];

pub const VIZ: Extension = Extension {
    name: "viz",
    title: "dashboard, metrics and tap",
    chart: "linkerd-viz",
    part: Part::Viz,
    deployments: &[
        Running::always("metrics-api"),
        Running {
            switch: "/prometheus/enabled",
            ..Running::always("prometheus")
        },
        Running::always("tap"),
        Running::always("tap-injector"),
        Running::always("web"),
    ],
    control_plane_value: "linkerdNamespace",
    has_gateway: false,
};

pub const MULTICLUSTER: Extension = Extension {
    name: "multicluster",
    title: "gateway and links to other clusters",
    chart: "linkerd-multicluster",
    part: Part::Multicluster,
    deployments: &[Running {
        named_by: "/gateway/name",
        switch: "/gateway/enabled",
        ..Running::always("linkerd-gateway")
    }],
    control_plane_value: "linkerdNamespace",
    has_gateway: true,
};

pub const SMI: Extension = Extension {
    name: "smi",
    title: "TrafficSplit of the Service Mesh Interface, a specification that is archived",
    chart: "linkerd-smi",
    part: Part::Smi,
    deployments: &[Running::always("smi-adaptor")],
    control_plane_value: "",
    has_gateway: false,
};

impl Extension {
    /// The Deployments that it has with these values.
    fn running(&self, values: &Values<'_>) -> Vec<String> {
        let deployments = self.deployments.iter();
        deployments
            .filter_map(|deployment| deployment.with(self, values))
            .collect()
    }
}

fn needs() -> Vec<Need> {
    let mut needs = vec![need::namespace("{namespace}")];
    needs.extend(detect::needs());
    needs
}

pub fn install_operation(extension: &Extension) -> Operation {
    let mut parameters = vec![
        (
            "version",
            schema::text("Version; that of the control plane when empty"),
        ),
        (
            "namespace",
            schema::namespace("Namespace of the extension", extension.chart),
        ),
        (
            "control_plane",
            schema::namespace("Namespace of the control plane", NAMESPACE),
        ),
        VALUES.parameter(),
        adoption::parameter(),
        application::deadline_parameter(),
    ];
    if extension.has_gateway {
        let text = "Type of the gateway's Service: other clusters reach it by NodePort or LoadBalancer";
        parameters.push(("service_type", schema::choice(text, &SERVICE_TYPES)));
    }
    Operation {
        name: format!("install-{}", extension.name),
        category: Category::Configure,
        description: format!("Add-on: {} ({})", extension.name, extension.title),
        parameters: schema::object(parameters, &[]),
        needs: needs()
            .into_iter()
            .chain([precheck::quota_need("{namespace}")])
            .collect(),
    }
}

pub fn remove_operation(extension: &Extension) -> Operation {
    Operation {
        name: format!("remove-{}", extension.name),
        category: Category::Configure,
        description: format!("Removes the extension {}", extension.name),
        parameters: schema::object(
            [
                (
                    "namespace",
                    schema::namespace("Namespace of the extension", extension.chart),
                ),
                adoption::removal_parameter(),
            ],
            &[],
        ),
        needs: needs(),
    }
}

fn chosen(request: &PlanRequest, extension: &Extension) -> Result<Chosen, PluginError> {
    let charts = [extension.chart];
    if extension.part == Part::Smi {
        let asked = parameter::text(request, "version", "")?;
        return SMI_CATALOGUE.choose(asked, &charts, &request.facts);
    }
    // An extension is of the version that its control plane has, unless somebody says otherwise.
    let installed = installed_version(request)?;
    Ok(versions::choose_or(request, &installed, &charts)?.chosen)
}

/// The version of the control plane that it is for; "" where that is not known.
fn installed_version(request: &PlanRequest) -> Result<String, PluginError> {
    let control_plane = parameter::namespace(request, "control_plane", NAMESPACE)?;
    let found = detect::installations(&request.facts).unwrap_or_default();
    let found = found.into_iter().find(|found| found.namespace == control_plane);
    Ok(found.map(|found| found.version).unwrap_or_default())
}

pub fn check_install(request: &PlanRequest, extension: &Extension) -> Result<Vec<Finding>, PluginError> {
    let mut findings = check::beside_control_plane(request)?;
    findings.extend(adoption::changed(request, &wanted(request, extension)?)?);
    // By their charts these ask for nothing but a place.
    let pods = Pods {
        namespace: parameter::namespace(request, "namespace", extension.chart)?,
        count: extension.running(&VALUES.read(request)?).len() as u64,
        ..Pods::default()
    };
    findings.extend(precheck::quotas(&request.facts, &[pods]));
    let installed = installed_version(request)?;
    // SMI's versions are its own.
    if extension.part == Part::Smi {
        return Ok(findings);
    }
    if let (Ok(installed), Ok(chosen)) = (Version::parse(&installed), chosen(request, extension))
        && chosen.version != installed
    {
        findings.push(
            Finding::warning(
                "linkerd-extension-skew",
                format!(
                    "extension {} would be of {}, and the control plane is of {}",
                    extension.name,
                    versions::name(&chosen.version),
                    versions::name(&installed)
                ),
            )
            .remedy(
                "leave version out: the control plane's is taken; or upgrade the control plane first \
                 (operation upgrade)",
            ),
        );
    }
    Ok(findings)
}

/// The extensions that an upgrade of the control plane leaves as they are. SMI's versions are its own.
pub fn behind(facts: &Facts) -> Option<Finding> {
    let left: Vec<String> = of_linkerd(facts)
        .iter()
        .filter(|release| matches!(release.part, Part::Viz | Part::Multicluster))
        .map(|release| format!("{} in namespace {}", release.part.step(), release.id.namespace))
        .collect();
    (!left.is_empty()).then(|| {
        Finding::warning(
            "linkerd-extensions-behind",
            format!(
                "extensions stay at the version that they have: {}",
                left.join(", ")
            ),
        )
        .remedy(
            "bring them to the same version afterwards (operation install-viz or install-multicluster, \
             version left out)",
        )
    })
}

pub fn install(request: &PlanRequest, extension: &Extension) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", extension.chart)?;
    let control_plane = parameter::namespace(request, "control_plane", NAMESPACE)?;
    let chosen = chosen(request, extension)?;
    let given = VALUES.read(request)?;
    let mut steps = Vec::new();
    if namespace::state(facts, target) != State::Present {
        let mut object = namespace::manifest(target);
        object["metadata"]["labels"] = json!({
            "linkerd.io/extension": extension.name,
            "pod-security.kubernetes.io/enforce": "privileged",
        });
        steps.push(apply("namespace", format!("namespace {target}"), vec![object]));
    }
    let mut values = json!({});
    if !extension.control_plane_value.is_empty() {
        values[extension.control_plane_value] = Value::from(control_plane);
    }
    let mut reach =
        "Its Services stay inside the cluster: nothing is made reachable from outside.".to_owned();
    if extension.has_gateway {
        let service_type = parameter::choice(request, "service_type", &SERVICE_TYPES)?;
        values["gateway"]["serviceType"] = service_type.into();
        if service_type == SERVICE_TYPES[0] {
            reach.push_str(" Other clusters reach the gateway with service_type NodePort or LoadBalancer.");
        } else {
            reach = format!(
                "Its gateway is reached from outside ({service_type}): it lets in whoever has a certificate of the same trust anchor."
            );
        }
    }
    steps.push(release(
        extension.name,
        extension.title,
        (target, extension.chart),
        chosen.chart(extension.chart)?,
        given.over(extension.chart, values),
    ));
    let conditions: Vec<Readiness> = extension
        .running(&given)
        .iter()
        .map(|name| holds(Rule::Ready, deployment(target, name)))
        .collect();
    let deadline_s = application::deadline(request)?;
    let mut verify = Vec::new();
    if !conditions.is_empty() {
        verify.push(wait("ready", "the extension runs", deadline_s, conditions));
    }
    Ok(crate::plan(
        format!(
            "Install {MESH}'s extension {} {} in namespace {target}",
            extension.name, chosen.version
        ),
        steps,
        verify,
        vec![reach, "This extension's chart is not tested here.".into()],
    ))
}

/// The release that an installation makes or brings further.
pub fn wanted(request: &PlanRequest, extension: &Extension) -> Result<ReleaseId, PluginError> {
    let target = parameter::namespace(request, "namespace", extension.chart)?;
    Ok(ReleaseId::new(target, extension.chart))
}

/// The release that a removal takes.
pub fn there(request: &PlanRequest, extension: &Extension) -> Result<Option<PartRelease>, PluginError> {
    let target = parameter::namespace(request, "namespace", extension.chart)?;
    Ok(of_linkerd(&request.facts)
        .into_iter()
        .find(|release| release.part == extension.part && release.id.namespace == target))
}

pub fn remove(request: &PlanRequest, extension: &Extension) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", extension.chart)?;
    detect::demand_whole(facts)?;
    let Some(found) = there(request, extension)? else {
        return Err(PluginError::new(
            "extension-not-installed",
            format!(
                "there is no release of the extension {} in namespace \"{target}\"",
                extension.name
            ),
        )
        .remedy("name the namespace it is in, if there is another"));
    };
    let name = found.id.name.as_str();
    let steps = vec![
        remove_release(
            extension.name,
            format!("release {name} in {target}"),
            (target, name),
        ),
        delete(
            "namespace",
            "the namespace, if it is ours and empty",
            vec![namespace::removal(target)],
        ),
    ];
    Ok(crate::plan(
        format!(
            "Remove {MESH}'s extension {} from namespace {target}",
            extension.name
        ),
        steps,
        Vec::new(),
        Vec::new(),
    ))
}

pub fn jaeger_operation() -> Operation {
    Operation {
        name: "jaeger-addon".into(),
        category: Category::Configure,
        description: "Add-on: Jaeger. Gone: the project has removed this extension".into(),
        parameters: schema::object([("namespace", schema::text("Not used"))], &[]),
        needs: Vec::new(),
    }
}

pub fn jaeger(_: &PlanRequest) -> Result<Plan, PluginError> {
    Err(PluginError::new(
        "extension-gone",
        "the extension jaeger does not exist any more".to_owned(),
    )
    .cause("the Linkerd project removed linkerd-jaeger on 2025-10-01; its old charts do not fit the control planes of today")
    .remedy(
        "install an OpenTelemetry collector of your own and give proxies its address: operation upgrade with values \
         {\"linkerd-control-plane\": {\"proxy\": {\"tracing\": {\"enabled\": true, \"collector\": {\"endpoint\": \"HOST:4317\"}}}}}",
    ))
}
