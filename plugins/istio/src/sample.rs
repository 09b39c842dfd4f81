//! The sample applications: in any namespace, with or without sidecars and a way in through the gateway.

use meshery_mesh_kit::injection::Injection;
use meshery_mesh_kit::object::{annotation, name, namespace as namespace_of};
use meshery_mesh_kit::readable::kind_is_whole;
use meshery_mesh_kit::sample::{self, Path, Sample, WayIn};
use meshery_mesh_kit::step::apply;
use meshery_mesh_kit::{application, namespace, need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Plan, PlanRequest, Target};
use serde_json::{Value, json};

use crate::control_plane::INJECTION_LABEL;
use crate::injection::injector_needs;

/// Group and version of the way in.
const ROUTING: &str = "networking.istio.io";
const ROUTING_VERSION: &str = "networking.istio.io/v1";
/// Under which host names the gateway serves applications, after their name and namespace.
const DOMAIN: &str = "meshery.internal";

/// A sample application in the mesh.
pub struct App {
    pub sample: &'static Sample,
    /// The label, set because this application wants it.
    pub injection: Injection<'static>,
}

pub const BOOKINFO: App = App {
    sample: &sample::BOOKINFO,
    injection: wanted_by(
        "meshery-injection-bookinfo",
        "bookinfo.istio.meshery.io/injection",
    ),
};

pub const HTTPBIN: App = App {
    sample: &sample::HTTPBIN,
    injection: wanted_by("meshery-injection-httpbin", "httpbin.istio.meshery.io/injection"),
};

pub const IMAGE_HUB: App = App {
    sample: &sample::IMAGE_HUB,
    injection: wanted_by(
        "meshery-injection-imagehub",
        "imagehub.istio.meshery.io/injection",
    ),
};

pub const EMOJIVOTO: App = App {
    sample: &sample::EMOJIVOTO,
    injection: wanted_by(
        "meshery-injection-emojivoto",
        "emojivoto.istio.meshery.io/injection",
    ),
};

/// All of them.
pub const APPS: [&App; 4] = [&BOOKINFO, &HTTPBIN, &IMAGE_HUB, &EMOJIVOTO];

const fn wanted_by(manager: &'static str, mark: &'static str) -> Injection<'static> {
    Injection {
        key: INJECTION_LABEL,
        value: "enabled",
        manager,
        mark,
    }
}

pub fn deploy_operation(app: &App) -> Operation {
    let sample = app.sample;
    Operation {
        name: format!("deploy-{}", sample.name),
        category: Category::SampleApplication,
        description: format!("Deploys the sample application {}", sample.title),
        parameters: schema::object(
            [
                sample.namespace_parameter("Namespace of the application; made if it is not there"),
                (
                    "inject",
                    schema::flag("Label the namespace first, so that the pods get sidecars", false),
                ),
                (
                    "expose",
                    schema::flag(
                        "Also make a Gateway and a VirtualService that lead from the ingress gateway to it",
                        false,
                    ),
                ),
                (
                    "host",
                    schema::text(
                        "Host name under which it is exposed; NAME.NAMESPACE.meshery.internal when empty, * for any",
                    ),
                ),
                application::deadline_parameter(),
            ],
            &[],
        ),
        needs: needs(sample),
    }
}

pub fn remove_operation(app: &App) -> Operation {
    app.sample.remove_operation(needs(app.sample))
}

fn needs(sample: &Sample) -> Vec<Need> {
    let mut needs = vec![need::namespace("{namespace}")];
    needs.extend(injector_needs());
    needs.extend(sample.needs("{namespace}"));
    let routes = route_names(sample);
    needs.extend(
        routes
            .iter()
            .map(|(kind, name)| need::one("{namespace}", ROUTING, kind, name, Detail::Metadata)),
    );
    needs
}

pub fn deploy(request: &PlanRequest, app: &App) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", app.sample.name)?;
    let mut into_mesh = Vec::new();
    if parameter::flag(request, "inject", false)? {
        into_mesh.push(app.injection.enable("label", target));
    }
    let mut more = Vec::new();
    let mut exposed = None;
    if parameter::flag(request, "expose", false)? {
        let host = host(request, app.sample, target)?;
        more.push(apply("routes", "the way in", routes(app.sample, target, &host)));
        exposed = Some(host);
    }
    let mut plan = application::deploy(request, &app.sample.in_namespace(target)?, into_mesh, more)?;
    match exposed.as_deref() {
        None | Some("*") => {}
        Some(host) => plan.notes.push(format!(
            "The ingress gateway serves it to requests for host \"{host}\": give that name the gateway's address, or send \
             it as header Host."
        )),
    }
    Ok(plan)
}

/// The host name, which a Gateway would refuse if it were none.
fn host(request: &PlanRequest, sample: &Sample, target: &str) -> Result<String, PluginError> {
    let host = parameter::text(request, "host", "")?;
    if host.is_empty() {
        return Ok(format!("{}.{target}.{DOMAIN}", sample.name));
    }
    let bare = host.strip_prefix("*.").unwrap_or(host);
    let part = |part: &str| {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        (1..=63).contains(&part.len())
            && part.bytes().all(plain)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if host == "*" || (bare.len() <= 253 && bare.split('.').all(part)) {
        return Ok(host.to_owned());
    }
    Err(
        PluginError::new("bad-parameter", format!("parameter \"host\" is \"{host}\""))
            .cause("it takes a host name in lower case without port and path, *.DOMAIN, or *")
            .remedy("give a name as in shop.example.com, or leave it out"),
    )
}

pub fn remove(request: &PlanRequest, app: &App) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", app.sample.name)?;
    let labelled = namespace::find(&request.facts, target)
        .is_some_and(|object| annotation(object, app.injection.mark).is_some());
    let out_of_mesh = labelled.then(|| app.injection.take_back("label", target));
    application::remove(
        request,
        &app.sample.in_namespace(target)?,
        route_targets(&request.facts, app.sample, target),
        out_of_mesh.into_iter().collect(),
    )
}

fn route_names(sample: &Sample) -> [(&'static str, String); 2] {
    [
        ("VirtualService", sample.name.to_owned()),
        ("Gateway", format!("{}-gateway", sample.name)),
    ]
}

/// Gateway and VirtualService.
fn routes(sample: &Sample, target: &str, host: &str) -> Vec<Value> {
    let labels = json!({"app.kubernetes.io/part-of": sample.name});
    let gateway = format!("{}-gateway", sample.name);
    let http: Vec<Value> = sample.ways_in.iter().map(route).collect();
    vec![
        json!({
            "apiVersion": ROUTING_VERSION,
            "kind": "Gateway",
            "metadata": {"name": gateway, "namespace": target, "labels": labels},
            "spec": {
                "selector": {"istio": "ingressgateway"},
                "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": [host]}],
            },
        }),
        json!({
            "apiVersion": ROUTING_VERSION,
            "kind": "VirtualService",
            "metadata": {"name": sample.name, "namespace": target, "labels": labels},
            "spec": {"hosts": [host], "gateways": [gateway], "http": http},
        }),
    ]
}

fn route(way: &WayIn) -> Value {
    let mut route = json!({
        "route": [{"destination": {"host": way.service, "port": {"number": way.port}}}],
    });
    let matches: Vec<Value> = way
        .paths
        .iter()
        .map(|path| match path {
            Path::Exact(path) => json!({"uri": {"exact": path}}),
            Path::Prefix(path) => json!({"uri": {"prefix": path}}),
        })
        .collect();
    if !matches.is_empty() {
        route["match"] = matches.into();
    }
    route
}

fn route_targets(facts: &Facts, sample: &Sample, target: &str) -> Vec<Target> {
    route_names(sample)
        .iter()
        .filter(|(kind, wanted)| {
            !kind_is_whole(facts, ROUTING, kind)
                || facts
                    .objects(ROUTING, kind)
                    .any(|object| name(object) == *wanted && namespace_of(object) == target)
        })
        .map(|(kind, wanted)| Target {
            object: ObjectRef::new(ROUTING_VERSION, kind, target, wanted),
            when: Condition::Ours,
        })
        .collect()
}
