//! The sample application Bookinfo: in any namespace, with or without sidecars and a way in through the gateway.

use meshery_mesh_kit::injection::Injection;
use meshery_mesh_kit::namespace::{self, State};
use meshery_mesh_kit::object::{annotation, name, namespace as namespace_of};
use meshery_mesh_kit::readable::kind_is_whole;
use meshery_mesh_kit::sample::BOOKINFO;
use meshery_mesh_kit::step::{apply, delete, wait};
use meshery_mesh_kit::{need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Plan, PlanRequest, Target};
use serde_json::{Value, json};

use crate::control_plane::INJECTION_LABEL;
use crate::injection::injector_need;

const NAMESPACE: &str = "bookinfo";
const DEADLINE_S: u64 = 300;
const LONGEST_DEADLINE_S: u64 = 3600;
/// Group, version and kinds of the way in.
const ROUTING: &str = "networking.istio.io";
const ROUTING_VERSION: &str = "networking.istio.io/v1";
const ROUTES: [(&str, &str); 2] = [("VirtualService", "bookinfo"), ("Gateway", "bookinfo-gateway")];
/// The label, set because this application wants it.
const INJECTION: Injection = Injection {
    key: INJECTION_LABEL,
    value: "enabled",
    manager: "meshery-injection-bookinfo",
    mark: "bookinfo.istio.meshery.io/injection",
};

pub fn deploy_operation() -> Operation {
    Operation {
        name: "deploy-bookinfo".into(),
        category: Category::SampleApplication,
        description: "Deploys the sample application Bookinfo".into(),
        parameters: schema::object(
            [
                (
                    "namespace",
                    schema::namespace("Namespace of the application; made if it is not there", NAMESPACE),
                ),
                (
                    "inject",
                    schema::flag("Label the namespace first, so that the pods get sidecars", false),
                ),
                (
                    "expose",
                    schema::flag(
                        "Also make a Gateway and a VirtualService that lead from the ingress gateway to the page",
                        false,
                    ),
                ),
                (
                    "deadline",
                    schema::count(
                        "Seconds to wait until it runs; the host's own limit when 0",
                        DEADLINE_S,
                        LONGEST_DEADLINE_S,
                    ),
                ),
            ],
            &[],
        ),
        needs: needs(),
    }
}

pub fn remove_operation() -> Operation {
    Operation {
        name: "remove-bookinfo".into(),
        category: Category::SampleApplication,
        description: "Removes the sample application Bookinfo, as far as Meshery made it".into(),
        parameters: schema::object(
            [(
                "namespace",
                schema::namespace("Namespace of the application", NAMESPACE),
            )],
            &[],
        ),
        needs: needs(),
    }
}

fn needs() -> Vec<Need> {
    let mut needs = vec![need::namespace("{namespace}"), injector_need()];
    needs.extend(BOOKINFO.needs("{namespace}"));
    needs.extend(ROUTES.map(|(kind, name)| need::one("{namespace}", ROUTING, kind, name, Detail::Metadata)));
    needs
}

pub fn deploy(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let mut steps = Vec::new();
    let missing = namespace::missing(&request.facts, &[target]);
    if !missing.is_empty() {
        steps.push(apply("namespace", format!("namespace {target}"), missing));
    }
    if parameter::flag(request, "inject", false)? {
        steps.push(INJECTION.enable("label", target));
    }
    steps.push(apply(
        "bookinfo",
        "services and workloads",
        BOOKINFO.manifests(target)?,
    ));
    if parameter::flag(request, "expose", false)? {
        steps.push(apply("routes", "the way in", routes(target)));
    }
    let deadline = parameter::count(request, "deadline", DEADLINE_S, LONGEST_DEADLINE_S)?;
    let verify = vec![wait(
        "ready",
        "every workload runs, every service answers",
        u32::try_from(deadline).unwrap_or(u32::MAX),
        BOOKINFO.ready(target)?,
    )];
    Ok(crate::plan(
        format!("Deploy Bookinfo in namespace {target}"),
        steps,
        verify,
        Vec::new(),
    ))
}

pub fn remove(request: &PlanRequest) -> Result<Plan, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let mut targets = route_targets(facts, target);
    targets.extend(BOOKINFO.targets(facts, target)?);
    let labelled = namespace::find(facts, target).is_some_and(|o| annotation(o, INJECTION.mark).is_some());
    if targets.is_empty() && !labelled {
        return Err(PluginError::new(
            "bookinfo-not-deployed",
            format!("there is nothing of Bookinfo in namespace \"{target}\""),
        )
        .remedy("name the namespace it is in, if there is another"));
    }
    let mut steps = Vec::new();
    if !targets.is_empty() {
        steps.push(delete("bookinfo", "what Meshery made of it", targets));
    }
    if labelled {
        steps.push(INJECTION.take_back("label", target));
    }
    if namespace::state(facts, target) != State::Absent {
        steps.push(delete(
            "namespace",
            "the namespace, if it is ours and empty",
            vec![namespace::removal(target)],
        ));
    }
    let others = BOOKINFO.of_others(facts, target)?;
    let notes = others
        .iter()
        .map(|object| format!("{object} was made by somebody else and stays."))
        .collect();
    Ok(crate::plan(
        format!("Remove Bookinfo from namespace {target}"),
        steps,
        Vec::new(),
        notes,
    ))
}

/// Gateway and VirtualService; the page, its assets and its API.
fn routes(target: &str) -> Vec<Value> {
    let paths = [
        ("exact", "/productpage"),
        ("prefix", "/static"),
        ("exact", "/login"),
        ("exact", "/logout"),
        ("prefix", "/api/v1/products"),
    ];
    let matches: Vec<Value> = paths
        .iter()
        .map(|(how, path)| json!({"uri": {*how: path}}))
        .collect();
    let labels = json!({"app.kubernetes.io/part-of": BOOKINFO.name});
    vec![
        json!({
            "apiVersion": ROUTING_VERSION,
            "kind": "Gateway",
            "metadata": {"name": "bookinfo-gateway", "namespace": target, "labels": labels},
            "spec": {
                "selector": {"istio": "ingressgateway"},
                "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
            },
        }),
        json!({
            "apiVersion": ROUTING_VERSION,
            "kind": "VirtualService",
            "metadata": {"name": "bookinfo", "namespace": target, "labels": labels},
            "spec": {
                "hosts": ["*"],
                "gateways": ["bookinfo-gateway"],
                "http": [{
                    "match": matches,
                    "route": [{"destination": {"host": "productpage", "port": {"number": 9080}}}],
                }],
            },
        }),
    ]
}

fn route_targets(facts: &Facts, target: &str) -> Vec<Target> {
    ROUTES
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
