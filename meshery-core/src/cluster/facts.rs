//! Facts: what adapters ask to be told about a cluster.

use std::future::Future;

use futures::stream::{self, StreamExt as _};
use meshery_plugin_api::message::facts::{Detail, KindFacts, Need, Readability};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::withheld::withhold;
use serde_json::Value;

use super::error::ClusterError;
use super::handle::Cluster;
use super::list::{Choice, tidy};
use super::request::{JSON, METADATA};

/// Objects of one need; beyond that, the rest is said to be left out.
const MOST: usize = 5_000;
/// Needs that are read at a time; the requests themselves have their own bound.
const AT_ONCE: usize = 8;

impl Cluster {
    /// Reads what the needs ask for, their braces filled in, in their order. What cannot be read is said kind by
    /// kind; only a cluster that cannot be reached at all is an error.
    pub async fn facts(&self, needs: &[Need]) -> Result<Vec<KindFacts>, ClusterError> {
        let reads = needs.iter().map(|need| self.need(need)).collect::<Vec<_>>();
        in_order(reads).await
    }

    async fn need(&self, need: &Need) -> Result<KindFacts, ClusterError> {
        let mut facts = KindFacts {
            need: need.clone(),
            ..KindFacts::default()
        };
        match self.read_need(need).await {
            Ok((objects, truncated)) => {
                facts.state = match (objects.is_empty(), truncated) {
                    (_, true) => Readability::Truncated,
                    (true, _) => Readability::Absent,
                    (false, _) => Readability::Present,
                };
                if truncated {
                    facts.reason = format!("there are more than {MOST}");
                }
                facts.objects = objects;
            }
            Err(error) => {
                facts.state = match &error {
                    ClusterError::Forbidden { .. } => Readability::Forbidden,
                    ClusterError::NotServed { .. } if !self.is_unknown(need) => Readability::NotServed,
                    ClusterError::Unreachable { .. }
                    | ClusterError::Tls { .. }
                    | ClusterError::Timeout { .. }
                    | ClusterError::Unauthorized { .. }
                    | ClusterError::Credentials { .. } => return Err(error),
                    _ => Readability::Unknown,
                };
                facts.reason = error.to_string();
            }
        }
        Ok(facts)
    }

    async fn read_need(&self, need: &Need) -> Result<(Vec<Value>, bool), ClusterError> {
        let kind = self.resolve(&need.group, "", &need.kind).await?;
        let full = need.detail == Detail::Full;
        let (mut objects, truncated) = if need.name.is_empty() {
            let choice = Choice {
                namespace: &need.namespace,
                labels: &need.selector,
                name: "",
            };
            let detail = if full { Detail::Full } else { Detail::Metadata };
            let listed = self.list_chosen(&kind, choice, detail, MOST).await?;
            (listed.items, listed.truncated)
        } else if kind.namespaced && need.namespace.is_empty() {
            let choice = Choice {
                namespace: "",
                labels: &need.selector,
                name: &need.name,
            };
            let detail = if full { Detail::Full } else { Detail::Metadata };
            let listed = self.list_chosen(&kind, choice, detail, MOST).await?;
            (listed.items, listed.truncated)
        } else {
            let object = ObjectRef::new(&kind.api_version(), &kind.kind, &need.namespace, &need.name);
            let found = self.read(&object, if full { JSON } else { METADATA }).await?;
            (found.into_iter().map(|item| tidy(&kind, item)).collect(), false)
        };
        for object in &mut objects {
            if kind.group.is_empty() && kind.kind == "Secret" {
                withhold(object);
            }
        }
        Ok((objects, truncated))
    }

    /// Whether the kind may be there although it is not known: its group's own server is down.
    fn is_unknown(&self, need: &Need) -> bool {
        let kinds = self.kinds.read();
        kinds.unknown.iter().any(|version| {
            let group = version.split_once('/').map_or("", |(group, _)| group);
            group == need.group
        })
    }
}

/// Runs some at a time; the results are in the order of the futures.
async fn in_order<T, E>(futures: Vec<impl Future<Output = Result<T, E>>>) -> Result<Vec<T>, E> {
    let mut results = stream::iter(futures).buffered(AT_ONCE);
    let mut all = Vec::new();
    while let Some(result) = results.next().await {
        all.push(result?);
    }
    Ok(all)
}
