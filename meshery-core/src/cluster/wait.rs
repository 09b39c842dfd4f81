//! Waiting for objects to become ready, by watching them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use meshery_plugin_api::message::facts::Detail;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Readiness, Rule};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc::{Sender, channel};

use super::error::ClusterError;
use super::handle::Cluster;
use super::readiness::{self, State, pod, webhook};
use super::watch::{Seen, Target};

/// From this many objects of a kind in a namespace on, one watch of all of them takes the place of one each.
const TOGETHER: usize = 3;
/// How often pods are asked why a workload is not ready.
const EXPLAIN_EVERY: Duration = Duration::from_secs(2);
const EXPLAIN_WITHIN: Duration = Duration::from_secs(3);

/// An object that is not ready, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The object.
    pub object: ObjectRef,
    /// Why it is not ready.
    pub reason: String,
    /// How many of the conditions hold.
    pub done: usize,
    /// Of how many.
    pub total: usize,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.reason)
    }
}

impl Cluster {
    /// Waits until each condition holds, all at the same moment. `progress` is told of each object that is not ready,
    /// whenever its reason changes. Ends early when something has failed for good.
    pub async fn wait_ready(
        &self,
        conditions: &[Readiness],
        deadline: Instant,
        progress: &mut (dyn FnMut(Waiting) + Send),
    ) -> Result<(), ClusterError> {
        if conditions.is_empty() {
            return Ok(());
        }
        let (sender, mut events) = channel(256);
        let mut watches = Watches {
            cluster: self,
            sender,
            targets: HashMap::new(),
            running: FuturesUnordered::new(),
            together: crowded(conditions),
        };
        let mut view = View::default();
        let mut reasons: Vec<Option<String>> = vec![None; conditions.len()];
        let mut explained: HashMap<ObjectRef, String> = HashMap::new();
        let mut explain_at = Instant::now() + EXPLAIN_EVERY;
        loop {
            let states: Vec<State> = conditions
                .iter()
                .map(|condition| view.state(condition, &mut watches))
                .collect();
            let done = states.iter().filter(|state| **state == State::Ready).count();
            let tell = |number: usize, reason: String| Waiting {
                object: conditions[number].object.clone(),
                reason,
                done,
                total: conditions.len(),
            };
            let failed: Vec<Waiting> = states
                .iter()
                .enumerate()
                .filter_map(|(number, state)| match state {
                    State::Failed(reason) => Some(tell(number, reason.clone())),
                    _ => None,
                })
                .collect();
            if !failed.is_empty() {
                return Err(ClusterError::Failed { failed });
            }
            if done == conditions.len() {
                return Ok(());
            }
            let full = |number: usize, reason: &String| match explained.get(&conditions[number].object) {
                Some(more) => format!("{reason}; {more}"),
                None => reason.clone(),
            };
            for (number, state) in states.iter().enumerate() {
                let now = match state {
                    State::Waiting(reason) => Some(full(number, reason)),
                    _ => None,
                };
                if let Some(reason) = &now
                    && reasons[number] != now
                {
                    progress(tell(number, reason.clone()));
                }
                reasons[number] = now;
            }
            let now = Instant::now();
            if now >= deadline {
                let waiting = reasons
                    .into_iter()
                    .enumerate()
                    .filter_map(|(number, reason)| Some(tell(number, reason?)))
                    .collect();
                return Err(ClusterError::NotReady { waiting });
            }
            if now >= explain_at {
                for (condition, state) in conditions.iter().zip(&states) {
                    let object = &condition.object;
                    if *state == State::Ready {
                        explained.remove(object);
                    } else if let Some(workload) = view.object(object) {
                        let asking = tokio::time::timeout(EXPLAIN_WITHIN, self.explain(object, workload));
                        match asking.await.ok().flatten() {
                            Some(reason) => explained.insert(object.clone(), reason),
                            None => explained.remove(object),
                        };
                    }
                }
                explain_at = Instant::now() + EXPLAIN_EVERY;
                continue;
            }
            tokio::select! {
                Some((number, seen)) = events.recv() => view.take(number, seen),
                Some(()) = watches.running.next(), if !watches.running.is_empty() => {}
                () = tokio::time::sleep_until(deadline.min(explain_at).into()) => {}
            }
            // What came together is looked at together.
            while let Ok((number, seen)) = events.try_recv() {
                view.take(number, seen);
            }
        }
    }

    /// What the pods of a workload say about why it is not ready.
    pub(crate) async fn explain(&self, object: &ObjectRef, workload: &Value) -> Option<String> {
        let selector = selector(workload.pointer("/spec/selector")?)?;
        let pods = self.resolve("", "v1", "Pod").await.ok()?;
        let namespace = Some(object.namespace.as_str());
        let listed = self
            .list(&pods, namespace, &selector, Detail::Full, 50)
            .await
            .ok()?;
        listed.items.iter().find_map(|item| {
            let reason = pod::trouble(item)?;
            let name = item["metadata"]["name"].as_str().unwrap_or("");
            Some(format!("pod {name}: {reason}"))
        })
    }
}

/// A label selector as a query has it.
fn selector(selector: &Value) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str()?));
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str()?;
        let values = || -> Vec<&str> {
            let values = expression["values"].as_array().into_iter().flatten();
            values.filter_map(Value::as_str).collect()
        };
        parts.push(match expression["operator"].as_str()? {
            "In" => format!("{key} in ({})", values().join(",")),
            "NotIn" => format!("{key} notin ({})", values().join(",")),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

type Place = (String, String, String, String);

/// Kinds and namespaces of which many objects are waited for.
fn crowded(conditions: &[Readiness]) -> HashSet<Place> {
    let mut counts: HashMap<Place, HashSet<&str>> = HashMap::new();
    for Readiness { object, .. } in conditions {
        counts.entry(place(object)).or_default().insert(&object.name);
    }
    counts.retain(|_, names| names.len() >= TOGETHER);
    counts.into_keys().collect()
}

fn place(object: &ObjectRef) -> Place {
    let ObjectRef {
        group,
        version,
        kind,
        namespace,
        ..
    } = object;
    (group.clone(), version.clone(), kind.clone(), namespace.clone())
}

/// The watches that run, begun as they are needed.
struct Watches<'a> {
    cluster: &'a Cluster,
    sender: Sender<(usize, Seen)>,
    targets: HashMap<Target, usize>,
    running: FuturesUnordered<BoxFuture<'a, ()>>,
    together: HashSet<Place>,
}

impl Watches<'_> {
    /// The number of a target, which is watched from now on.
    fn number(&mut self, target: Target) -> usize {
        if let Some(number) = self.targets.get(&target) {
            return *number;
        }
        let number = self.targets.len();
        self.targets.insert(target.clone(), number);
        let (cluster, sender) = (self.cluster, self.sender.clone());
        self.running.push(Box::pin(async move {
            cluster.watch(number, &target, &sender).await;
        }));
        number
    }

    fn object(&mut self, object: &ObjectRef) -> usize {
        let mut target = Target::of(object);
        if self.together.contains(&place(object)) {
            target.name = String::new();
        }
        self.number(target)
    }

    fn slices(&mut self, namespace: &str, service: &str) -> usize {
        self.number(Target {
            group: "discovery.k8s.io".into(),
            version: "v1".into(),
            kind: "EndpointSlice".into(),
            namespace: namespace.into(),
            name: String::new(),
            labels: format!("kubernetes.io/service-name={service}"),
            metadata: false,
        })
    }
}

/// What the watches have seen, by the number of the target.
#[derive(Default)]
struct View {
    seen: HashMap<usize, Result<HashMap<Key, Value>, String>>,
    /// Where each object of a condition is looked for.
    numbers: HashMap<ObjectRef, usize>,
}

/// Namespace and name.
type Key = (String, String);

fn key(object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or("").to_owned();
    (text("namespace"), text("name"))
}

impl View {
    fn take(&mut self, number: usize, seen: Seen) {
        match seen {
            Seen::All(objects) => {
                let all = objects.into_iter().map(|object| (key(&object), object)).collect();
                self.seen.insert(number, Ok(all));
            }
            Seen::Now(object) => {
                if let Some(Ok(all)) = self.seen.get_mut(&number) {
                    all.insert(key(&object), object);
                }
            }
            Seen::Gone(object) => {
                if let Some(Ok(all)) = self.seen.get_mut(&number) {
                    all.remove(&key(&object));
                }
            }
            Seen::Trouble(error) => {
                self.seen.insert(number, Err(error.to_string()));
            }
        }
    }

    fn all(&self, number: usize) -> Result<&HashMap<Key, Value>, State> {
        match self.seen.get(&number) {
            Some(Ok(all)) => Ok(all),
            Some(Err(reason)) => Err(State::waiting(reason.clone())),
            None => Err(State::waiting("not looked at yet")),
        }
    }

    fn object(&self, object: &ObjectRef) -> Option<&Value> {
        let all = self.all(*self.numbers.get(object)?).ok()?;
        all.get(&(object.namespace.clone(), object.name.clone()))
    }

    /// The object, or why there is none to be looked at.
    fn find(&mut self, object: &ObjectRef, watches: &mut Watches<'_>) -> Result<&Value, State> {
        let number = watches.object(object);
        self.numbers.insert(object.clone(), number);
        let all = self.all(number)?;
        // A cluster-wide object may be asked for with a namespace.
        all.get(&(object.namespace.clone(), object.name.clone()))
            .or_else(|| all.get(&(String::new(), object.name.clone())))
            .ok_or_else(|| State::waiting("it does not exist"))
    }

    fn state(&mut self, condition: &Readiness, watches: &mut Watches<'_>) -> State {
        let found = match self.find(&condition.object, watches) {
            Ok(found) => found,
            Err(state) => return state,
        };
        match condition.rule {
            Rule::Exists => State::Ready,
            Rule::Ready => readiness::ready(found),
            Rule::Complete => readiness::complete(found),
            Rule::CaBundle => readiness::current(found).and(|| webhook::ca_bundle(found)),
            Rule::FailsClosed => readiness::current(found).and(|| webhook::fails_closed(found)),
            Rule::Address => readiness::address(found),
            Rule::Endpoints => {
                let ObjectRef { namespace, name, .. } = &condition.object;
                self.endpoints(namespace, name, watches)
            }
            Rule::Serving => {
                let state = readiness::current(found).and(|| webhook::ca_bundle(found));
                let called = webhook::called(found);
                called.into_iter().fold(state, |state, called| {
                    state.and(|| self.answers(&called, watches))
                })
            }
            Rule::Unknown => State::Failed("the rule is not known to this version".into()),
        }
    }

    fn endpoints(&self, namespace: &str, service: &str, watches: &mut Watches<'_>) -> State {
        match self.all(watches.slices(namespace, service)) {
            Ok(slices) => readiness::endpoints(slices.values()),
            Err(state) => state,
        }
    }

    /// Whether something answers a webhook's calls.
    fn answers(&mut self, called: &webhook::Called, watches: &mut Watches<'_>) -> State {
        let webhook::Called {
            webhook,
            namespace,
            name,
            port,
        } = called;
        let service = ObjectRef::new("v1", "Service", namespace, name);
        let state = match self.find(&service, watches) {
            Ok(found) if webhook::has_port(found, *port) => self.endpoints(namespace, name, watches),
            Ok(_) => State::waiting(format!("it has no port {port}")),
            Err(state) => state,
        };
        match state {
            State::Waiting(reason) => State::Waiting(format!("{webhook} calls {service}: {reason}")),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_are_written_as_queries_have_them() {
        let value = json!({"matchLabels": {"app": "a"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["x", "y"]}, {"key": "old", "operator": "DoesNotExist"}]});
        assert_eq!(selector(&value).unwrap(), "app=a,tier in (x,y),!old");
        assert_eq!(
            selector(&json!({})),
            None,
            "an empty selector would mean every pod"
        );
    }

    #[test]
    fn many_of_a_kind_are_watched_together() {
        let condition = |name: &str| Readiness {
            object: ObjectRef::new("v1", "Pod", "ns", name),
            rule: Rule::Ready,
        };
        let two = [condition("a"), condition("b"), condition("a")];
        assert!(crowded(&two).is_empty());
        assert_eq!(
            crowded(&[condition("a"), condition("b"), condition("c")]).len(),
            1
        );
    }
}
