//! Extensions: viz, multicluster, SMI, each a release of its own; and jaeger, which is gone.

use meshery_mesh_kit::catalogue::Chosen;
use meshery_mesh_kit::namespace::{self, State};
use meshery_mesh_kit::step::{apply, delete, holds, release, remove_release, wait};
use meshery_mesh_kit::{application, need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::Need;
use meshery_plugin_api::message::plan::{Plan, PlanRequest, Rule};
use serde_json::{Value, json};

use crate::control_plane::{NAMESPACE, deployment};
use crate::releases::{Part, of_linkerd};
use crate::versions::{self, SMI as SMI_CATALOGUE};
use crate::{MESH, detect};

/// An extension.
pub struct Extension {
    /// As in the names of its operations, and as Linkerd's own label has it.
    name: &'static str,
    title: &'static str,
    /// Chart, release and, unless somebody wants it elsewhere, namespace.
    chart: &'static str,
    part: Part,
    /// Deployments that must run.
    deployments: &'static [&'static str],
    /// The chart's value for the control plane's namespace, where it has one.
    control_plane_value: &'static str,
}

pub const VIZ: Extension = Extension {
    name: "viz",
    title: "dashboard, metrics and tap",
    chart: "linkerd-viz",
    part: Part::Viz,
    deployments: &["metrics-api", "prometheus", "tap", "tap-injector", "web"],
    control_plane_value: "linkerdNamespace",
};

pub const MULTICLUSTER: Extension = Extension {
    name: "multicluster",
    title: "gateway and links to other clusters",
    chart: "linkerd-multicluster",
    part: Part::Multicluster,
    deployments: &["linkerd-gateway"],
    control_plane_value: "linkerdNamespace",
};

pub const SMI: Extension = Extension {
    name: "smi",
    title: "TrafficSplit of the Service Mesh Interface, a specification that is archived",
    chart: "linkerd-smi",
    part: Part::Smi,
    deployments: &["smi-adaptor"],
    control_plane_value: "",
};

fn needs() -> Vec<Need> {
    let mut needs = vec![need::namespace("{namespace}")];
    needs.extend(detect::needs());
    needs
}

pub fn install_operation(extension: &Extension) -> Operation {
    Operation {
        name: format!("install-{}", extension.name),
        category: Category::Configure,
        description: format!("Add-on: {} ({})", extension.name, extension.title),
        parameters: schema::object(
            [
                (
                    "version",
                    schema::text("Version; the newest when empty, which should be that of the control plane"),
                ),
                (
                    "namespace",
                    schema::namespace("Namespace of the extension", extension.chart),
                ),
                (
                    "control_plane",
                    schema::namespace("Namespace of the control plane", NAMESPACE),
                ),
                application::deadline_parameter(),
            ],
            &[],
        ),
        needs: needs(),
    }
}

pub fn remove_operation(extension: &Extension) -> Operation {
    Operation {
        name: format!("remove-{}", extension.name),
        category: Category::Configure,
        description: format!("Removes the extension {}", extension.name),
        parameters: schema::object(
            [(
                "namespace",
                schema::namespace("Namespace of the extension", extension.chart),
            )],
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
    Ok(versions::choose(request, &charts)?.chosen)
}

pub fn install(request: &PlanRequest, extension: &Extension) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", extension.chart)?;
    let control_plane = parameter::namespace(request, "control_plane", NAMESPACE)?;
    let chosen = chosen(request, extension)?;
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
    steps.push(release(
        extension.name,
        extension.title,
        (target, extension.chart),
        chosen.chart(extension.chart)?,
        values,
    ));
    let conditions = extension
        .deployments
        .iter()
        .map(|name| holds(Rule::Ready, deployment(target, name)))
        .collect();
    let verify = vec![wait(
        "ready",
        "the extension runs",
        application::deadline(request)?,
        conditions,
    )];
    Ok(crate::plan(
        format!(
            "Install {MESH}'s extension {} {} in namespace {target}",
            extension.name, chosen.version
        ),
        steps,
        verify,
        vec![
            "Its Services stay inside the cluster: nothing is made reachable from outside.".into(),
            "This extension's chart is not tested here.".into(),
        ],
    ))
}

pub fn remove(request: &PlanRequest, extension: &Extension) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", extension.chart)?;
    detect::demand_whole(facts)?;
    let found = of_linkerd(facts)
        .into_iter()
        .find(|release| release.part == extension.part && release.id.namespace == target);
    let Some(found) = found else {
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
        "install an OpenTelemetry collector of your own and give proxies its address: the control plane's values \
         proxy.tracing.enabled and proxy.tracing.collector.endpoint",
    ))
}
