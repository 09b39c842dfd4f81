//! Rights on what no dry run can show, because its namespace or its kind comes with the plan.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, ensure};
use http::Method;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use meshery_tests::proxy::strike::{Strike, all};
use meshery_tests::proxy::{Action, FaultProxy, RequestInfo, refusal};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{install, objects};
use crate::cluster;
use crate::invented::invented_host;
use crate::mesheryctl::{ctl, has};
use crate::namespace::succeeded;

/// Kinds of the plan that the user may not write.
const REFUSED: [&str; 5] = ["Deployment", "Greeting", "Role", "Route", "Secret"];

/// Somebody who may make namespaces, definitions and some of what is inside, and not the rest, is told so by the preview,
/// and nothing is begun; who has a role that names an object is not told of that one.
pub fn told() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Snapshot::take(&cluster)?;
    let roles = cluster.dir().join("rights.json");
    fs::write(&roles, roles_of_limited().to_string())?;
    let file = roles.to_str().context("a path")?;
    succeeded(cluster.kubectl(&["apply", "--filename", file]))?;
    let result = seen_by_limited(&cluster);
    succeeded(cluster.kubectl(&["delete", "--filename", file]))?;
    result?;
    before.await_same(&cluster)
}

fn roles_of_limited() -> Value {
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
    let writes = ["create", "patch", "delete"];
    let rules = json!([
        // The chart's role grants to watch as well, which nobody may who does not have it.
        rule(&["*"], &["*"], &["get", "list"]),
        rule(
            &[""],
            &["namespaces", "serviceaccounts", "services", "configmaps"],
            &writes
        ),
        rule(&["policy"], &["poddisruptionbudgets"], &writes),
        rule(&["apiextensions.k8s.io"], &["customresourcedefinitions"], &writes),
        rule(
            &["admissionregistration.k8s.io"],
            &["validatingwebhookconfigurations"],
            &writes
        ),
        rule(&["rbac.authorization.k8s.io"], &["roles", "rolebindings"], &writes),
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["invented-controller"],
            "verbs": ["create"]},
    ]);
    let rbac = |kind: &str, rest: Value| {
        let mut object = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": "operations-rights"}});
        for (field, value) in rest.as_object().into_iter().flatten() {
            object[field] = value.clone();
        }
        object
    };
    json!({"apiVersion": "v1", "kind": "List", "items": [
        rbac("ClusterRole", json!({"rules": rules})),
        rbac("ClusterRoleBinding", json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "operations-rights"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited"}]})),
    ]})
}

fn seen_by_limited(cluster: &Cluster) -> anyhow::Result<()> {
    let before = Snapshot::take(cluster)?;
    let host = invented_host(cluster, cluster.limited_kubeconfig())?
        .env("MESHERY_CLUSTER_LEASE", "when-allowed")
        .start()?;
    let seen = preview(&host, "rights-limited")?;
    let refused = objects(&seen);
    let refused: Vec<&Value> = refused
        .into_iter()
        .filter(|object| object["change"] == "error")
        .collect();
    let kind = |object: &Value| -> Option<String> {
        Some(object["ref"].as_str()?.split('/').rev().nth(2)?.to_owned())
    };
    let kinds: BTreeSet<String> = refused.iter().filter_map(|object| kind(object)).collect();
    ensure!(kinds.iter().eq(REFUSED), "{kinds:?} in {seen:#}");
    for object in &refused {
        ensure!(object["error"]["code"] == "forbidden", "{object:#}");
        ensure!(object["certainty"] != "verified", "{object:#}");
    }
    let error_of = |end: &str| {
        let object = refused
            .iter()
            .find(|object| object["ref"].as_str().is_some_and(|name| name.ends_with(end)));
        object
            .map(|object| object["error"].clone())
            .with_context(|| format!("{end} in {seen:#}"))
    };
    let of_release = error_of("/Deployment/rights-limited/invented")?;
    has(
        &of_release.to_string(),
        &[
            "not allowed to create and patch deployments.apps",
            "namespace rights-limited",
            "a ClusterRole",
        ],
    )?;
    let granted = error_of("/Role/rights-limited/invented")?;
    has(
        &granted.to_string(),
        &["not allowed to escalate", "namespace rights-limited"],
    )?;
    // A role names this one, for one of the verbs.
    let named = error_of("/Deployment/rights-limited/invented-controller")?;
    has(&named.to_string(), &["not allowed to patch deployments.apps"])?;

    let (_, err) = ctl(
        &host,
        1,
        "mesh deploy invented --set namespace=rights-limited --yes",
    )?;
    has(&err, &["preview-has-errors"])?;
    before.await_same(cluster).context("nothing was begun")
}

/// Where nobody answers what is allowed, that is said, and nothing else is in the way.
pub fn not_known() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let proxy = FaultProxy::start(&cluster)?;
    let host = invented_host(&cluster, &proxy.kubeconfig(cluster.dir()))?.start()?;
    let reviews = |make: fn() -> Action| Strike::on(is_review, make).always();
    let answered = reviews(|| Action::Forward);
    proxy.on(all(vec![answered.clone()]));
    let seen = preview(&host, "rights-open")?;
    ensure!(seen["counts"]["error"] == 0, "{seen:#}");
    ensure!(!seen["notes"].to_string().contains("is not known"), "{seen:#}");
    let local = objects(&seen)
        .iter()
        .filter(|object| object["certainty"] == "local")
        .count();
    ensure!(
        answered.struck() > 0 && answered.struck() <= 2 * local,
        "{} questions about {local} objects",
        answered.struck()
    );

    proxy.on(all(vec![reviews(|| {
        refusal::status(403, "Forbidden", "no reviews for you")
    })]));
    let seen = preview(&host, "rights-open")?;
    ensure!(seen["counts"]["error"] == 0, "{seen:#}");
    let notes = seen["notes"].to_string();
    has(&notes, &["is not known", "selfsubjectaccessreviews"])
}

fn is_review(request: &RequestInfo) -> bool {
    request.method == Method::POST && request.path.ends_with("/selfsubjectaccessreviews")
}

fn preview(host: &Host, namespace: &str) -> anyhow::Result<Value> {
    let planned = host.plan(&install(namespace))?;
    let path = format!("/api/v1/operations/{planned}/preview");
    host.post(&path, &json!({}))?.expect(200)
}
