//! Which kinds the server offers, and under which addresses.
//!
//! Two requests bring it all (aggregated discovery); an old server is asked group by group. A group whose own server
//! is down does not stop the others: its kinds are unknown, which is not the same as gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use kube::client::{APIGroupDiscoveryList, APIResourceDiscovery};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connection::Connection;
use super::error::ClusterError;
use super::handle::Cluster;
use super::request::Request;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
/// A kind that is not known is not looked for again sooner.
const EVERY: Duration = Duration::from_secs(1);
/// How long a server may take to list a kind whose definition it has accepted.
pub(crate) const SOON: Duration = Duration::from_secs(2);

/// A kind as the server offers it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResourceType {
    /// API group, empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// What addresses call it.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

impl ResourceType {
    /// Group and version as a manifest writes them.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    pub(super) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// All kinds of a server at one moment.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    /// Per group, the preferred version first.
    types: Vec<ResourceType>,
    /// By group and kind; places in `types`.
    index: HashMap<(String, String), Vec<usize>>,
    /// Group and version whose kinds could not be learnt.
    pub(super) unknown: Vec<String>,
}

impl Kinds {
    fn add(&mut self, kind: ResourceType) {
        let key = (kind.group.clone(), kind.kind.clone());
        self.index.entry(key).or_default().push(self.types.len());
        self.types.push(kind);
    }

    fn find(&self, group: &str, version: &str, kind: &str) -> Option<&ResourceType> {
        self.index
            .get(&(group.to_owned(), kind.to_owned()))?
            .iter()
            .map(|place| &self.types[*place])
            .find(|found| version.is_empty() || found.version == version)
    }

    /// Each kind that can be listed, once, in its preferred version.
    pub(super) fn listable(&self) -> impl Iterator<Item = &ResourceType> {
        self.types.iter().enumerate().filter_map(|(place, kind)| {
            let same = &self.index[&(kind.group.clone(), kind.kind.clone())];
            let first = same.iter().find(|other| self.types[**other].can("list"));
            (first == Some(&place)).then_some(kind)
        })
    }

    fn read_aggregated(&mut self, list: APIGroupDiscoveryList) {
        for group in list.items {
            let name = group.metadata.and_then(|m| m.name).unwrap_or_default();
            for version in group.versions {
                let number = version.version.unwrap_or_default();
                if version.freshness.as_deref() == Some("Stale") {
                    self.unknown.push(api_version(&name, &number));
                }
                for resource in version.resources {
                    if let Some(kind) = resource_type(&name, &number, resource) {
                        self.add(kind);
                    }
                }
            }
        }
    }

    /// The answer to `GET /api/v1` or `GET /apis/GROUP/VERSION`.
    fn read_plain(&mut self, group: &str, version: &str, list: &Value) {
        let text = |value: &Value, key| value.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        for resource in list["resources"].as_array().into_iter().flatten() {
            let plural = text(resource, "name");
            if plural.is_empty() || plural.contains('/') {
                continue;
            }
            self.add(ResourceType {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: text(resource, "kind"),
                plural,
                namespaced: resource["namespaced"] == true,
                verbs: resource["verbs"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|verb| verb.as_str().map(str::to_owned))
                    .collect(),
            });
        }
    }

    fn apis(&self) -> Vec<String> {
        let mut apis = Vec::with_capacity(self.types.len() * 2);
        for kind in &self.types {
            let version = kind.api_version();
            apis.push(format!("{version}/{}", kind.kind));
            apis.push(version);
        }
        apis.sort();
        apis.dedup();
        apis
    }
}

fn resource_type(group: &str, version: &str, resource: APIResourceDiscovery) -> Option<ResourceType> {
    Some(ResourceType {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: resource.response_kind?.kind?,
        plural: resource.resource?,
        namespaced: resource.scope.as_deref() == Some("Namespaced"),
        verbs: resource.verbs,
    })
}

/// Asks the server for all kinds.
pub(super) async fn discover(connection: &Connection) -> Result<Kinds, ClusterError> {
    let core = Request::path("/api", AGGREGATED);
    let groups = Request::path("/apis", AGGREGATED);
    let (core, groups) = futures::try_join!(connection.send(&core), connection.send(&groups))?;
    let mut kinds = Kinds::default();
    let mut plain = Vec::new();
    for (answer, path) in [(core, "/api"), (groups, "/apis")] {
        let what = || format!("which kinds there are ({path})");
        let value = answer.json(what)?;
        if value["kind"] == "APIGroupDiscoveryList" {
            let list = serde_json::from_value(value).map_err(|error| ClusterError::Server {
                what: what(),
                status: 200,
                message: format!("the answer is not understood: {error}"),
            })?;
            kinds.read_aggregated(list);
        } else {
            plain.extend(group_versions(&value));
        }
    }
    let answers = stream::iter(plain)
        .map(|(group, version)| async move {
            let path = if group.is_empty() {
                format!("/api/{version}")
            } else {
                format!("/apis/{group}/{version}")
            };
            let request = Request::path(&path, super::request::JSON);
            let answer = connection.send(&request).await;
            (group, version, answer.and_then(|answer| answer.json(|| path)))
        })
        .buffered(8)
        .collect::<Vec<_>>()
        .await;
    for (group, version, answer) in answers {
        match answer {
            Ok(list) => kinds.read_plain(&group, &version, &list),
            Err(error) if error.is_connection() => return Err(error),
            Err(_) => kinds.unknown.push(api_version(&group, &version)),
        }
    }
    Ok(kinds)
}

/// Groups and versions in the plain answers to `GET /api` and `GET /apis`, the preferred version of a group first.
fn group_versions(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found: Vec<(String, String)> = array(&value["versions"])
        .iter()
        .map(|version| (String::new(), text(version)))
        .collect();
    for group in array(&value["groups"]) {
        let preferred = text(&group["preferredVersion"]["version"]);
        let mut versions: Vec<String> = array(&group["versions"])
            .iter()
            .map(|version| text(&version["version"]))
            .collect();
        versions.sort_by_key(|version| *version != preferred);
        found.extend(
            versions
                .into_iter()
                .map(|version| (text(&group["name"]), version)),
        );
    }
    found
}

impl Cluster {
    /// Finds a kind. An empty version stands for the one that the server prefers. What is not known is looked for
    /// again at the server, at most once a second.
    pub async fn resolve(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<ResourceType, ClusterError> {
        let known = || self.kinds.read().find(group, version, kind).cloned();
        if let Some(found) = known() {
            return Ok(found);
        }
        let mut last = self.discovered.lock().await;
        if last.elapsed() >= EVERY {
            self.learn_kinds().await?;
            *last = Instant::now();
        }
        drop(last);
        known().ok_or_else(|| ClusterError::NotServed {
            api_version: api_version(group, version),
            kind: kind.to_owned(),
        })
    }

    /// As [`Cluster::resolve`], for a kind whose definition may have been accepted a moment ago.
    pub(super) async fn resolve_soon(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<ResourceType, ClusterError> {
        self.resolve_until(group, version, kind, Instant::now() + SOON)
            .await
    }

    /// As [`Cluster::resolve`], asking again until then for a kind that is not known.
    pub(crate) async fn resolve_until(
        &self,
        group: &str,
        version: &str,
        kind: &str,
        deadline: Instant,
    ) -> Result<ResourceType, ClusterError> {
        loop {
            match self.resolve(group, version, kind).await {
                Err(ClusterError::NotServed { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                done => return done,
            }
        }
    }

    /// Reads from the server what it offers now.
    pub async fn rediscover(&self) -> Result<(), ClusterError> {
        let mut last = self.discovered.lock().await;
        self.learn_kinds().await?;
        *last = Instant::now();
        Ok(())
    }

    async fn learn_kinds(&self) -> Result<(), ClusterError> {
        let kinds = discover(&self.connection).await?;
        *self.kinds.write() = Arc::new(kinds);
        Ok(())
    }

    /// What the server offers, as helm's `--api-versions` wants it: `v1`, `v1/Pod`, `apps/v1`, `apps/v1/Deployment`.
    pub fn apis(&self) -> Vec<String> {
        self.kinds.read().apis()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn aggregated() -> Kinds {
        let mut kinds = Kinds::default();
        let resource = |plural: &str, kind: &str, verbs: &[&str]| {
            json!({"resource": plural, "responseKind": {"group": "", "version": "", "kind": kind},
                "scope": "Namespaced", "verbs": verbs})
        };
        let list = json!({"items": [
            {"metadata": {"name": ""}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
                resource("pods", "Pod", &["get", "list"]), resource("bindings", "Binding", &["create"])]}]},
            {"metadata": {"name": "autoscaling"}, "versions": [
                {"version": "v2", "resources": [resource("hpas", "HPA", &["list"])]},
                {"version": "v1", "resources": [resource("hpas", "HPA", &["list"])]}]},
            {"metadata": {"name": "ext.io"}, "versions": [{"version": "v1", "freshness": "Stale"}]},
        ]});
        kinds.read_aggregated(serde_json::from_value(list).unwrap());
        kinds
    }

    #[test]
    fn the_preferred_version_counts_unless_one_is_named() {
        let kinds = aggregated();
        assert_eq!(kinds.find("autoscaling", "", "HPA").unwrap().version, "v2");
        assert_eq!(kinds.find("autoscaling", "v1", "HPA").unwrap().version, "v1");
        assert!(kinds.find("autoscaling", "v3", "HPA").is_none());
    }

    #[test]
    fn a_dead_group_is_unknown_and_the_others_are_there() {
        let kinds = aggregated();
        assert_eq!(kinds.unknown, ["ext.io/v1"]);
        assert!(kinds.find("", "v1", "Pod").is_some());
    }

    #[test]
    fn each_listable_kind_is_listed_once() {
        let listed: Vec<String> = aggregated().listable().map(ResourceType::api_version).collect();
        assert_eq!(listed, ["v1", "autoscaling/v2"]);
    }

    #[test]
    fn helm_is_told_versions_and_kinds() {
        let apis = aggregated().apis();
        for api in ["v1", "v1/Pod", "autoscaling/v1", "autoscaling/v2/HPA"] {
            assert!(apis.contains(&api.to_owned()), "{api}");
        }
    }

    #[test]
    fn an_old_server_is_read_group_by_group() {
        let groups = json!({"kind": "APIGroupList", "groups": [{"name": "apps",
            "versions": [{"version": "v1beta1"}, {"version": "v1"}], "preferredVersion": {"version": "v1"}}]});
        let named = |group: &str, version: &str| (group.to_owned(), version.to_owned());
        assert_eq!(
            group_versions(&groups),
            [named("apps", "v1"), named("apps", "v1beta1")]
        );
        let core = json!({"kind": "APIVersions", "versions": ["v1"]});
        assert_eq!(group_versions(&core), [named("", "v1")]);
        let mut kinds = Kinds::default();
        let list = json!({"resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": true, "verbs": ["list"]},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": true, "verbs": ["get"]}]});
        kinds.read_plain("apps", "v1", &list);
        assert_eq!(kinds.types.len(), 1);
        assert_eq!(
            kinds.find("apps", "", "Deployment").unwrap().plural,
            "deployments"
        );
    }
}
