//! Every object of every kind that a cluster can list, read as directly as can be: most trials compare all of it before and
//! after.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use kube::Client;
use kube::client::APIGroupDiscoveryList;
use kube::core::Status;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::cluster::Cluster;

/// Kinds that come and go by themselves.
const RESTLESS: &[&str] = &[
    "Event",
    "Lease",
    "EndpointSlice",
    "Endpoints",
    "ComponentStatus",
    // The server makes one for every group that a definition defines.
    "APIService",
    // Of a Service whose creation was cut off in the middle, the server leaves one for a while.
    "IPAddress",
];

/// All of it by name, but for kinds that come and go by themselves and namespaces on their way out: those of tests before
/// this one are no business of anybody.
pub(crate) fn listed(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, Value>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let all = runtime.block_on(async { every_object(cluster.client().await?).await })?;
    let text = |object: &Value, pointer: &str| {
        let text = object.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let going: BTreeSet<String> = all
        .iter()
        .filter(|object| object["kind"] == "Namespace" && !object["metadata"]["deletionTimestamp"].is_null())
        .map(|namespace| text(namespace, "/metadata/name"))
        .collect();
    let mut objects = BTreeMap::new();
    for object in all {
        let kind = text(&object, "/kind");
        let namespace = text(&object, "/metadata/namespace");
        let name = text(&object, "/metadata/name");
        let place = if kind == "Namespace" { &name } else { &namespace };
        if going.contains(place) {
            continue;
        }
        let id = format!("{}/{kind}/{namespace}/{name}", text(&object, "/apiVersion"));
        objects.insert(id, object);
    }
    ensure!(!objects.is_empty(), "the server has listed nothing");
    Ok(objects)
}

async fn every_object(client: Client) -> anyhow::Result<Vec<Value>> {
    let groups = client.list_api_groups_aggregated().await?;
    let core = client.list_core_api_versions_aggregated().await?;
    let mut lists = JoinSet::new();
    for address in addresses(core).into_iter().chain(addresses(groups)) {
        lists.spawn(list(client.clone(), address));
    }
    let mut objects = Vec::new();
    while let Some(list) = lists.join_next().await {
        objects.extend(list??);
    }
    Ok(objects)
}

/// Where the kinds are listed, each in its preferred version.
fn addresses(groups: APIGroupDiscoveryList) -> Vec<String> {
    let mut addresses = Vec::new();
    for group in groups.items {
        let name = group
            .metadata
            .and_then(|metadata| metadata.name)
            .unwrap_or_default();
        let mut seen = BTreeSet::new();
        for version in group.versions {
            let number = version.version.unwrap_or_default();
            for resource in version.resources {
                let kind = resource
                    .response_kind
                    .and_then(|kind| kind.kind)
                    .unwrap_or_default();
                let plural = resource.resource.unwrap_or_default();
                let can_be_listed = resource.verbs.iter().any(|verb| verb == "list");
                if !can_be_listed || RESTLESS.contains(&kind.as_str()) || !seen.insert(plural.clone()) {
                    continue;
                }
                addresses.push(if name.is_empty() {
                    format!("/api/{number}/{plural}")
                } else {
                    format!("/apis/{name}/{number}/{plural}")
                });
            }
        }
    }
    addresses
}

async fn list(client: Client, address: String) -> anyhow::Result<Vec<Value>> {
    let request = http::Request::get(&address).body(Vec::new())?;
    let mut list: Value = match client.request(request).await {
        Ok(list) => list,
        // Its definition has gone meanwhile.
        Err(kube::Error::Api(status)) if has_gone(&status) => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {address}")),
    };
    let version = list["apiVersion"].clone();
    let kind = list["kind"].as_str().unwrap_or_default();
    let kind: Value = kind.strip_suffix("List").unwrap_or(kind).into();
    let items = list["items"]
        .as_array_mut()
        .map(std::mem::take)
        .unwrap_or_default();
    let named = items.into_iter().map(|mut item| {
        // Those of the server's own kinds leave it to the list to say what they are.
        if let Some(fields) = item.as_object_mut() {
            fields.entry("apiVersion").or_insert_with(|| version.clone());
            fields.entry("kind").or_insert_with(|| kind.clone());
        }
        item
    });
    Ok(named.collect())
}

fn has_gone(status: &Status) -> bool {
    [404, 405].contains(&status.code)
}
