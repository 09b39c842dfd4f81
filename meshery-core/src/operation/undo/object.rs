//! Taking back one object: deleting what the run made, restoring what it changed, making again what it deleted.

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use super::{Taken, Undo};
use crate::cluster::ClusterError;
use crate::cluster::apply::{ApplyOptions, Guard};
use crate::cluster::object::Patch;
use crate::cluster::ownership::give_back;
use crate::cluster::release;
use crate::cluster::release::marks::release_of;
use crate::cluster::take_over::take_over;
use crate::operation::journal::entry::{ObjectChange, Reversal, Stored};
use crate::operation::journal::history::ObjectHistory;
use crate::operation::object::field::{Field, own_fields, restore};
use crate::operation::object::field_origin::{as_applied, covers};
use crate::operation::object::left_inside::left_inside;
use crate::operation::object::mark::{marked, operation_of, text};
use crate::operation::plan::resolve::MANAGER;
use crate::operation::plan::stored::open_value;
use crate::problem::Problem;

/// What is said of fields that are not given back.
pub(super) const CHANGED_SINCE: &str = "fields that somebody has changed since stay as they are";
/// How often an object that changes under our hands is read again.
const ATTEMPTS: usize = 8;
/// Before it is looked at again whether a write of which nothing was heard was carried out.
const PAUSE: Duration = Duration::from_millis(500);

impl Undo {
    /// Takes back what was applied.
    pub(in crate::operation) async fn applied(
        &self,
        object: &ObjectHistory,
        manifest: Option<&Value>,
        deadline: Instant,
    ) -> Result<Taken, Problem> {
        let outcome = object.outcome.as_ref().map(|outcome| outcome.change);
        if outcome == Some(ObjectChange::Unchanged) {
            return Ok(Taken::Back(Reversal::Unchanged, None));
        }
        let Some(now) = self.cluster.get_if_served(&object.object).await? else {
            return match object.before {
                None => Ok(Taken::Back(Reversal::Unchanged, None)),
                // An earlier step of the same run made it, and that was taken back already.
                Some(_) if self.history.created(&object.object) => Ok(Taken::Back(Reversal::Unchanged, None)),
                // Killed between the two halves of making it again, or of giving the old one back.
                Some(_) if self.recreating(object) => self.deleted(object, deadline).await,
                Some(_) => Ok(Taken::Left(
                    "it was there before, and somebody has deleted it since".into(),
                )),
            };
        };
        match &object.before {
            None => self.remove(object, &now, deadline).await,
            Some(before) => {
                let before: Value = self.opened(before.clone())?;
                if self.made_again(object, &before, &now) {
                    self.give_way(object, &before, &now, deadline).await
                } else {
                    self.restore(object, &before, manifest, now).await
                }
            }
        }
    }

    /// Whether the run has deleted the object to make it again, or may have.
    fn recreating(&self, object: &ObjectHistory) -> bool {
        match &object.outcome {
            Some(outcome) => outcome.change == ObjectChange::Recreated,
            None => self.recreate,
        }
    }

    /// Whether what is there is what the run made in the place of what was there before.
    fn made_again(&self, object: &ObjectHistory, before: &Value, now: &Value) -> bool {
        let uid = text(now, "/metadata/uid");
        match &object.outcome {
            Some(outcome) => outcome.change == ObjectChange::Recreated && outcome.uid == uid,
            None => text(before, "/metadata/uid") != uid && operation_of(now) == Some(self.live.id()),
        }
    }

    /// Deletes what the run made in the place of what was there before, and makes that again.
    async fn give_way(
        &self,
        object: &ObjectHistory,
        before: &Value,
        now: &Value,
        deadline: Instant,
    ) -> Result<Taken, Problem> {
        let uid = text(now, "/metadata/uid");
        self.cluster
            .delete_and_wait(&object.object, uid, deadline)
            .await?;
        self.make_again(&object.object, before, deadline).await
    }

    /// Deletes what the run made, if it still is that.
    async fn remove(&self, object: &ObjectHistory, now: &Value, deadline: Instant) -> Result<Taken, Problem> {
        let uid = text(now, "/metadata/uid");
        let ours = match &object.outcome {
            Some(outcome) if outcome.change != ObjectChange::Created => false,
            Some(outcome) => outcome.uid == uid || self.was_made_again(&object.object, uid).await?,
            // The host was killed before it could say: absent before, with our mark now.
            None => operation_of(now) == Some(self.live.id()),
        };
        if !ours {
            return Ok(Taken::Back(
                Reversal::Unchanged,
                Some("what is there now was made by somebody else".into()),
            ));
        }
        if let Some(why) = left_inside(&self.cluster, &object.object, self.live.id(), deadline).await? {
            return Ok(Taken::Left(why));
        }
        self.cluster
            .delete_and_wait(&object.object, uid, deadline)
            .await?;
        Ok(Taken::Back(Reversal::Removed, None))
    }

    /// Gives back the fields that the run changed and nobody else has changed since.
    async fn restore(
        &self,
        object: &ObjectHistory,
        before: &Value,
        manifest: Option<&Value>,
        mut now: Value,
    ) -> Result<Taken, Problem> {
        let known: Option<Vec<Field>> = match &object.outcome {
            Some(outcome) => Some(self.opened(outcome.fields.clone())?),
            None => None,
        };
        for attempt in 1..=ATTEMPTS {
            let uid = text(&now, "/metadata/uid");
            if text(before, "/metadata/uid") != uid && !self.was_made_again(&object.object, uid).await? {
                return Ok(Taken::Left(
                    "somebody has deleted it and made it again since".into(),
                ));
            }
            let fields = match &known {
                Some(fields) => fields.clone(),
                None => self.taken_for_ours(before, &now, manifest),
            };
            let mut restoration = restore(&fields, &now);
            let manager = manager_of(before);
            if restoration.patch.is_empty() {
                self.settle(object, now, manager).await?;
                return Ok(restored(&restoration.taken, Reversal::Unchanged));
            }
            let version = json!({"op": "test", "path": "/metadata/resourceVersion",
                "value": text(&now, "/metadata/resourceVersion")});
            restoration.patch.insert(0, version);
            let patch = Patch::Json(Value::Array(restoration.patch));
            match self.cluster.patch(&object.object, &patch, manager, false).await {
                Ok(now) => {
                    self.settle(object, now, manager).await?;
                    return Ok(restored(&restoration.taken, Reversal::Restored));
                }
                Err(error @ (ClusterError::ObjectChanged { .. } | ClusterError::Invalid { .. })) => {
                    let again = self.cluster.get_if_served(&object.object).await?;
                    match again {
                        Some(again)
                            if text(&again, "/metadata/resourceVersion")
                                != text(&now, "/metadata/resourceVersion") =>
                        {
                            now = again;
                        }
                        _ => return Err(error.into()),
                    }
                }
                // Whether it was done is seen by looking again.
                Err(error) if error.leaves_open() && attempt < ATTEMPTS => {
                    tokio::time::sleep(PAUSE).await;
                    match self.cluster.get_if_served(&object.object).await? {
                        Some(again) => now = again,
                        None => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Taken::Left("it changes faster than it can be restored".into()))
    }

    /// What the run changed, when the host was killed before it could say: what is now as it was applied, and was not before.
    fn taken_for_ours(&self, before: &Value, now: &Value, manifest: Option<&Value>) -> Vec<Field> {
        let Some(manifest) = manifest else {
            return Vec::new();
        };
        let applied = marked(manifest.clone(), Some(before), self.live.id());
        as_applied(before, now, &applied)
    }

    /// What was given back to an object of a Helm release belongs to Helm by apply, as what the run wrote: else the
    /// next `helm upgrade` would take it for somebody else's.
    async fn settle(&self, object: &ObjectHistory, now: Value, manager: &str) -> Result<(), Problem> {
        if manager == MANAGER {
            return Ok(());
        }
        let mut now = Some(now);
        for attempt in 1..=ATTEMPTS {
            let Some(patch) = now.as_ref().and_then(|now| take_over(now, manager, &[])) else {
                return Ok(());
            };
            let patch = Patch::Json(patch);
            match self.cluster.patch(&object.object, &patch, manager, false).await {
                Ok(_) => return Ok(()),
                Err(error)
                    if matches!(error, ClusterError::ObjectChanged { .. })
                        || error.leaves_open() && attempt < ATTEMPTS =>
                {
                    now = self.cluster.get_if_served(&object.object).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives each field that is as it was before the run back to those who owned it then.
    pub(super) async fn give_back_owners(
        &self,
        object: &ObjectHistory,
        taken: Taken,
        manager: &str,
    ) -> Result<Taken, Problem> {
        let Some(before) = object.before.clone() else {
            return Ok(taken);
        };
        let before: Value = self.opened(before)?;
        let made_again = matches!(taken, Taken::Back(Reversal::Recreated, _));
        let managers = [manager, manager_of(&before)];
        for attempt in 1..=ATTEMPTS {
            let Some(now) = self.cluster.get_if_served(&object.object).await? else {
                return Ok(taken);
            };
            // Another one that somebody has made in its place is theirs.
            if !made_again && text(&before, "/metadata/uid") != text(&now, "/metadata/uid") {
                return Ok(taken);
            }
            let Some(patch) = give_back(&before, &now, &managers) else {
                return Ok(taken);
            };
            let patch = Patch::Json(patch);
            match self.cluster.patch(&object.object, &patch, MANAGER, false).await {
                Ok(_) => return Ok(taken),
                Err(error)
                    if matches!(error, ClusterError::ObjectChanged { .. })
                        || error.leaves_open() && attempt < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(taken)
    }

    /// Makes again what the run deleted.
    pub(in crate::operation) async fn deleted(
        &self,
        object: &ObjectHistory,
        deadline: Instant,
    ) -> Result<Taken, Problem> {
        let kept = object
            .outcome
            .as_ref()
            .is_some_and(|outcome| matches!(outcome.change, ObjectChange::Kept | ObjectChange::Absent));
        let Some(before) = object.before.clone().filter(|_| !kept) else {
            return Ok(Taken::Back(Reversal::Unchanged, None));
        };
        let before: Value = self.opened(before)?;
        if let Some(now) = self.cluster.get_if_served(&object.object).await? {
            if now.pointer("/metadata/deletionTimestamp").is_none() {
                return Ok(self.stands(&object.object, &before, &now));
            }
            let uid = text(&now, "/metadata/uid");
            self.cluster
                .wait_gone(&object.object, Some(uid), deadline, |_| {})
                .await?;
        }
        self.make_again(&object.object, &before, deadline).await
    }

    /// Whether what is there is what this undo, or another one, has made again.
    async fn was_made_again(&self, object: &ObjectRef, uid: &str) -> Result<bool, Problem> {
        if self.remade.lock().get(object).is_some_and(|remade| remade == uid) {
            return Ok(true);
        }
        self.lineage.has(&self.store, &self.cluster, object, uid).await
    }

    fn is_made_again(&self, object: &ObjectRef, now: &Value) {
        let uid = text(now, "/metadata/uid").to_owned();
        self.remade.lock().insert(object.clone(), uid);
    }

    /// What is to be said of an object that is there although it was deleted: it may have been made again before an
    /// interruption.
    fn stands(&self, object: &ObjectRef, before: &Value, now: &Value) -> Taken {
        let same = text(before, "/metadata/uid") == text(now, "/metadata/uid");
        let marked = operation_of(before).is_some() && operation_of(before) == operation_of(now);
        if same || marked || covers(now, &as_new(&own_fields(before))) {
            self.is_made_again(object, now);
            Taken::Back(Reversal::Unchanged, None)
        } else {
            Taken::Left("somebody has made another one in its place since".into())
        }
    }

    async fn make_again(
        &self,
        object: &ObjectRef,
        before: &Value,
        deadline: Instant,
    ) -> Result<Taken, Problem> {
        let own = own_fields(before);
        let manager = manager_of(&own);
        let manifest = as_new(&own);
        let mut plainly = manager == MANAGER;
        loop {
            let made = if plainly {
                self.cluster.create(&manifest, manager).await
            } else {
                let options = ApplyOptions {
                    manager: manager.to_owned(),
                    guard: Some(Guard::absent()),
                    ..ApplyOptions::default()
                };
                let applied = self.cluster.apply(&manifest, &options).await;
                applied.map(|applied| applied.object)
            };
            match made {
                Ok(made) => {
                    self.is_made_again(object, &made);
                    return Ok(Taken::Back(Reversal::Recreated, None));
                }
                // A controller may have made it in the moment between, for what was made again just before.
                Err(
                    ClusterError::AlreadyExists { .. }
                    | ClusterError::ObjectChanged { .. }
                    | ClusterError::ApplyConflict { .. },
                ) => {
                    let Some(now) = self.cluster.get_if_served(object).await? else {
                        continue;
                    };
                    return Ok(self.stands(object, before, &now));
                }
                // Helm 3 makes objects that cannot be applied.
                Err(ClusterError::Invalid { .. }) if !plainly => plainly = true,
                // Looked at, not made again: the server may refuse a second one for what the first one has taken, an
                // address for example, before it says that it is there.
                Err(error) if error.leaves_open() && Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                    if let Some(now) = self.cluster.get_if_served(object).await? {
                        return Ok(self.stands(object, before, &now));
                    }
                }
                // The definition of its kind was made again a moment ago, perhaps.
                Err(ClusterError::NotServed { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(in crate::operation) fn opened<T: serde::de::DeserializeOwned + Default>(
        &self,
        stored: Stored<T>,
    ) -> Result<T, Problem> {
        open_value(&self.key, self.live.id(), stored)
    }
}

/// In whose name an object is given back: Helm's, when it is part of a release.
fn manager_of(object: &Value) -> &'static str {
    let metadata = &object["metadata"];
    match release_of(&metadata["labels"], &metadata["annotations"]) {
        Some(_) => release::MANAGER,
        None => MANAGER,
    }
}

/// An object as it can be made again: the server gives each Job a selector of its own, and takes no other; and a claim
/// that still has the volume it was given waits for that for ever.
fn as_new(manifest: &Value) -> Value {
    let mut manifest = manifest.clone();
    if manifest["apiVersion"] == "v1" && manifest["kind"] == "PersistentVolumeClaim" {
        let given = manifest.pointer(BY_CONTROLLER).is_some();
        if let Some(spec) = manifest["spec"].as_object_mut().filter(|_| given) {
            spec.remove("volumeName");
        }
        if let Some(annotations) = manifest["metadata"]["annotations"].as_object_mut() {
            annotations.retain(|key, _| !OF_A_CLAIM.contains(&key.as_str()));
        }
    }
    if manifest["kind"] == "Job" && manifest["spec"]["manualSelector"] != true {
        if let Some(spec) = manifest["spec"].as_object_mut() {
            spec.remove("selector");
        }
        for pointer in ["/metadata/labels", "/spec/template/metadata/labels"] {
            if let Some(labels) = manifest.pointer_mut(pointer).and_then(Value::as_object_mut) {
                labels.retain(|key, _| !OF_A_JOB.contains(&key.as_str()));
            }
        }
    }
    manifest
}

/// Labels by which the server ties pods to the Job that made them.
const OF_A_JOB: [&str; 4] = [
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "controller-uid",
    "job-name",
];

/// That a claim's volume was found for it, and not named by whoever made the claim.
const BY_CONTROLLER: &str = "/metadata/annotations/pv.kubernetes.io~1bound-by-controller";
/// Annotations that say which volume a claim was given, and how.
const OF_A_CLAIM: [&str; 5] = [
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/selected-node",
    "volume.kubernetes.io/storage-provisioner",
];

/// What is to be said of an object that got back what nobody has changed since.
fn restored(taken: &[String], result: Reversal) -> Taken {
    if taken.is_empty() {
        Taken::Back(result, None)
    } else {
        Taken::Left(format!("{CHANGED_SINCE}: {}", taken.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_is_made_again_waits_for_no_volume_but_one_that_it_names_itself() {
        let claim = |annotations: Value| {
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"volumeName": "volume"},
                "metadata": {"name": "data", "annotations": annotations}})
        };
        let found = claim(json!({"pv.kubernetes.io/bind-completed": "yes", "own": "stays",
            "pv.kubernetes.io/bound-by-controller": "yes", "volume.kubernetes.io/selected-node": "node"}));
        let new = as_new(&found);
        assert_eq!(new["spec"], json!({}));
        assert_eq!(new["metadata"]["annotations"], json!({"own": "stays"}));
        let named = claim(json!({"pv.kubernetes.io/bind-completed": "yes"}));
        let new = as_new(&named);
        assert_eq!(new["spec"], json!({"volumeName": "volume"}));
        assert_eq!(new["metadata"]["annotations"], json!({}));
    }
}
