//! Waiting for an object to be gone, and saying what holds it.

use std::time::{Duration, Instant};

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;
use tokio::sync::mpsc::channel;

use super::error::ClusterError;
use super::handle::Cluster;
use super::object::{Deletion, Preconditions};
use super::watch::{Seen, Target};

/// For finding out what is left in a namespace, after the deadline.
const LOOKING: Duration = Duration::from_secs(5);
const SHOWN: usize = 5;
/// How often an object that changes under our hands is deleted again.
const ATTEMPTS: usize = 8;

impl Cluster {
    /// Deletes this very object and waits until it is gone.
    pub(crate) async fn delete_and_wait(
        &self,
        object: &ObjectRef,
        uid: &str,
        deadline: Instant,
    ) -> Result<(), ClusterError> {
        let preconditions = Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        };
        let mut attempts = 0;
        loop {
            match self.delete(object, &preconditions, false).await {
                Ok(Deletion::Gone | Deletion::Absent) => return Ok(()),
                Ok(Deletion::Pending) => return self.wait_gone(object, Some(uid), deadline, |_| {}).await,
                // Its controllers write to it all the time; only another uid means another object.
                Err(ClusterError::ObjectChanged { .. }) if attempts < ATTEMPTS => {
                    attempts += 1;
                    match self.get(object).await? {
                        Some(now) if now["metadata"]["uid"] == uid => {}
                        _ => return Ok(()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until an object is gone: not there, or there with another uid. `progress` is told what holds it,
    /// whenever that changes.
    pub async fn wait_gone(
        &self,
        object: &ObjectRef,
        uid: Option<&str>,
        deadline: Instant,
        mut progress: impl FnMut(&str) + Send,
    ) -> Result<(), ClusterError> {
        let (sender, mut events) = channel(16);
        let mut target = Target::of(object);
        // A namespace says in its status what is left in it; of other objects the metadata will do.
        target.metadata = object.kind != "Namespace";
        // Boxed because it is large, and many of these are under way at a time.
        let mut watch = Box::pin(self.watch(0, &target, &sender));
        let mut reason = String::from("not looked at yet");
        loop {
            let seen = tokio::select! {
                Some((_, seen)) = events.recv() => seen,
                () = &mut watch => continue,
                () = tokio::time::sleep_until(deadline.into()) => break,
            };
            let now = match seen {
                Seen::All(objects) => match objects.into_iter().next() {
                    Some(now) => now,
                    None => return Ok(()),
                },
                Seen::Now(now) => now,
                Seen::Gone(_) | Seen::Trouble(ClusterError::NotServed { .. }) => return Ok(()),
                Seen::Trouble(error) => {
                    note(&mut reason, error.to_string(), &mut progress);
                    continue;
                }
            };
            if uid.is_some_and(|uid| now["metadata"]["uid"] != uid) {
                return Ok(());
            }
            note(&mut reason, holds(&now), &mut progress);
        }
        if object.kind == "Namespace"
            && let Ok(Some(left)) = tokio::time::timeout(LOOKING, self.held_in(&object.name)).await
        {
            reason = format!("{reason}; {left}");
        }
        Err(ClusterError::NotGone {
            object: object.clone(),
            reason,
        })
    }

    /// Objects in a namespace that finalizers hold: the namespace itself names only kinds.
    async fn held_in(&self, namespace: &str) -> Option<String> {
        let contents = self.contents_of_namespace(namespace).await.ok()?;
        let held: Vec<String> = contents
            .objects
            .iter()
            .filter(|object| !object.finalizers.is_empty())
            .take(SHOWN)
            .map(|held| format!("{} is held by {}", held.object, held.finalizers.join(", ")))
            .collect();
        (!held.is_empty()).then(|| held.join(", "))
    }
}

fn note(reason: &mut String, now: String, progress: &mut impl FnMut(&str)) {
    if *reason != now {
        progress(&now);
        *reason = now;
    }
}

/// What holds an object that is still there.
fn holds(object: &Value) -> String {
    let metadata = &object["metadata"];
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    if !metadata["deletionTimestamp"].is_string() {
        return "nobody has deleted it".into();
    }
    // Each of a namespace's conditions is a reason when it is true.
    let conditions: Vec<&str> = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|condition| condition["status"] == "True")
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    if !conditions.is_empty() {
        return conditions.join(" ");
    }
    let finalizers = texts(&metadata["finalizers"]);
    if finalizers.is_empty() {
        "it is on its way out".into()
    } else {
        format!("it is held by {}", finalizers.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finalizers_and_a_namespaces_own_words_are_the_reason() {
        let deleted = json!({"deletionTimestamp": "x", "finalizers": ["a.io/b"]});
        assert_eq!(holds(&json!({"metadata": deleted})), "it is held by a.io/b");
        let namespace = json!({"metadata": {"deletionTimestamp": "x"}, "status": {"conditions": [
            {"status": "False", "message": "fine"}, {"status": "True", "message": "Some resources are remaining: x"}]}});
        assert_eq!(holds(&namespace), "Some resources are remaining: x");
        assert_eq!(holds(&json!({"metadata": {}})), "nobody has deleted it");
    }
}
