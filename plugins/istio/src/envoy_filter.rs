//! The Envoy filter for Image Hub: limits how often its API is asked, with a filter that Envoy has itself. No code is
//! loaded from anywhere, and no workload is changed.

use meshery_mesh_kit::readable::gaps;
use meshery_mesh_kit::step::{apply, delete};
use meshery_mesh_kit::{namespace, need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::Detail;
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Condition, Plan, PlanRequest, Target};
use serde_json::{Value, json};

const NAMESPACE: &str = "imagehub";
const NAME: &str = "imagehub-filter";
const VERSION: &str = "networking.istio.io/v1alpha3";
const PER_MINUTE: u64 = 10;
const MOST: u64 = 100_000;

pub fn add_operation() -> Operation {
    Operation {
        name: "add-imagehub-filter".into(),
        category: Category::Configure,
        description: "Limits requests to Image Hub's API by an Envoy filter".into(),
        parameters: schema::object(
            [
                (
                    "namespace",
                    schema::namespace("Namespace of Image Hub", NAMESPACE),
                ),
                (
                    "per_minute",
                    schema::count(
                        "Requests to each pod that pass in a minute, at least 1",
                        PER_MINUTE,
                        MOST,
                    ),
                ),
            ],
            &[],
        ),
        needs: vec![
            need::namespace("{namespace}"),
            need::one("{namespace}", "apps", "Deployment", "api-v1", Detail::Metadata),
        ],
    }
}

pub fn remove_operation() -> Operation {
    Operation {
        name: "remove-imagehub-filter".into(),
        category: Category::Configure,
        description: "Removes the Envoy filter of Image Hub".into(),
        parameters: schema::object(
            [(
                "namespace",
                schema::namespace("Namespace of Image Hub", NAMESPACE),
            )],
            &[],
        ),
        needs: vec![need::namespace("{namespace}")],
    }
}

fn object(target: &str, per_minute: u64) -> Value {
    let always = json!({"default_value": {"numerator": 100, "denominator": "HUNDRED"}});
    json!({
        "apiVersion": VERSION,
        "kind": "EnvoyFilter",
        "metadata": {"name": NAME, "namespace": target, "labels": {"app.kubernetes.io/part-of": "imagehub"}},
        "spec": {
            "workloadSelector": {"labels": {"app": "api", "version": "v1"}},
            "configPatches": [{
                "applyTo": "HTTP_FILTER",
                "match": {
                    "context": "SIDECAR_INBOUND",
                    "listener": {
                        "portNumber": 9091,
                        "filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}},
                    },
                },
                "patch": {
                    "operation": "INSERT_BEFORE",
                    "value": {
                        "name": "envoy.filters.http.local_ratelimit",
                        "typed_config": {
                            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
                            "type_url": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
                            "value": {
                                "stat_prefix": "imagehub",
                                "token_bucket": {
                                    "max_tokens": per_minute, "tokens_per_fill": per_minute, "fill_interval": "60s",
                                },
                                "filter_enabled": always,
                                "filter_enforced": always,
                            },
                        },
                    },
                },
            }],
        },
    })
}

pub fn add(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let per_minute = parameter::count(request, "per_minute", PER_MINUTE, MOST)?;
    if per_minute == 0 {
        return Err(PluginError::new(
            "bad-parameter",
            "parameter \"per_minute\" is 0: nothing would pass",
        )
        .remedy("give at least 1, or deny traffic by a policy (operation set-policy)"));
    }
    let steps = vec![apply("filter", "the filter", vec![object(target, per_minute)])];
    Ok(crate::plan(
        format!("Let {per_minute} requests a minute pass to Image Hub's API in namespace {target}"),
        steps,
        Vec::new(),
        vec!["It works in pods with a sidecar only.".into()],
    ))
}

pub fn remove(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let filter = Target {
        object: ObjectRef::new(VERSION, "EnvoyFilter", target, NAME),
        when: Condition::Ours,
    };
    Ok(crate::plan(
        format!("Remove Image Hub's filter from namespace {target}"),
        vec![delete("filter", "the filter, if it is ours", vec![filter])],
        Vec::new(),
        Vec::new(),
    ))
}

pub fn check(request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let mut findings = gaps(facts);
    findings.extend(namespace::terminating(facts, target));
    let served = facts.cluster.apis.iter().any(|api| api.ends_with("/EnvoyFilter"));
    if !served {
        findings.push(
            Finding::error(
                "istio-not-installed",
                "the cluster does not know Envoy filters of Istio",
            )
            .remedy("install Istio first (operation install)"),
        );
    }
    if facts.objects("apps", "Deployment").next().is_none() {
        findings.push(
            Finding::warning(
                "filter-without-workload",
                format!("there is no Deployment api-v1 of Image Hub in namespace \"{target}\""),
            )
            .remedy("deploy it (operation deploy-imagehub), or name its namespace"),
        );
    }
    Ok(findings)
}
