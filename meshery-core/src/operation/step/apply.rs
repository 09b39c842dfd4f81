//! The step that makes objects so: wave after wave, in batches whose intent is durable before anything is sent.

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Readiness, Rule};
use serde_json::Value;
use std::time::Instant;

use crate::cluster::apply::{Applied, ApplyOptions, Guard};
use crate::cluster::object::Patch;
use crate::cluster::take_over::take_over;
use crate::cluster::{Cluster, ClusterError};
use crate::operation::consent::Consent;
use crate::operation::journal::entry::{Entry, Intent, ObjectChange, Stored};
use crate::operation::journal::size_of_stored;
use crate::operation::object::field::{Field, changed, own_fields};
use crate::operation::object::field_origin::as_applied_again;
use crate::operation::object::mark::{is_only_made, marked, operation_of, text};
use crate::operation::object::ownership::{gives_way, objection_to_change};
use crate::operation::plan::resolve::MANAGER;
use crate::operation::plan::stored::{ReleaseName, load_waves, nameless};
use crate::operation::run::{StepRun, failure_of, halted};
use crate::operation::staleness::{appeared, replaced};
use crate::problem::Problem;
use crate::provider::BlobRef;

/// Objects whose state before is written as one entry. Large enough that the disk is not what a run waits for, small
/// enough that a crash leaves few objects to look at.
const BATCH: usize = 64;
/// Batches under way: while one waits for the disk, the other keeps the connections busy.
const BATCHES: usize = 2;
/// A webhook that the same plan has just installed needs a moment until something serves it.
const WEBHOOKS: Duration = Duration::from_mins(1);
/// One that was there before may be in the midst of a restart.
const OTHERS_WEBHOOKS: Duration = Duration::from_secs(10);

/// Its kind was served when the plan was made, or comes with the plan: an API server that has just started, or just
/// learned of a kind, needs a moment.
const SERVED: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);

/// How often an object that changes under our hands is looked at again.
const ATTEMPTS: usize = 8;

/// An object that is about to be applied.
struct Todo {
    reference: ObjectRef,
    manifest: Value,
    /// How it was before the step, which is what an undo goes by.
    before: Option<Value>,
    /// How it is now; after an interruption, it may have been applied already.
    now: Option<Value>,
    /// Whether the intent is in the journal already, from before an interruption.
    intended: bool,
    /// Whether that it is not there is a guess, which the server is left to judge.
    guessed: bool,
}

impl Todo {
    /// Whether an object that was guessed not to be there is there, and not because this operation made it.
    fn is_found(&self, now: &Value, operation: &str) -> bool {
        self.guessed && operation_of(now) != Some(operation)
    }
}

impl StepRun<'_> {
    pub async fn apply(
        &self,
        manager: &str,
        content: &BlobRef,
        release: Option<&ReleaseName>,
        uses: &[String],
    ) -> Result<(), Problem> {
        let mut waves = load_waves(&self.run.store, &self.run.key, self.run.id(), content).await?;
        self.run.fill(uses, &mut waves)?;
        Box::pin(self.run.put_secrets(&mut waves)).await?;
        for wave in waves {
            let definitions = definitions(&wave);
            let absent = self.seemingly_absent(&wave).await;
            let mut batches = Vec::new();
            let mut objects = wave.into_iter().peekable();
            while objects.peek().is_some() {
                batches.push(objects.by_ref().take(BATCH).collect::<Vec<Value>>());
            }
            let batches: Vec<_> = batches
                .into_iter()
                .map(|batch| self.batch(manager, release, batch, &absent))
                .collect();
            let results: Vec<Result<(), Problem>> =
                futures::stream::iter(batches).buffered(BATCHES).collect().await;
            failure_of(results)?;
            if !definitions.is_empty() {
                self.established(&definitions).await?;
            }
        }
        Ok(())
    }

    /// Kinds must be served before the next wave uses them.
    async fn established(&self, definitions: &[Readiness]) -> Result<(), Problem> {
        let mut quiet = |_| {};
        tokio::select! {
            result = self.run.cluster.wait_ready(definitions, self.deadline, &mut quiet) => Ok(result?),
            () = self.run.halt.cancelled() => Err(halted()),
        }
    }

    async fn batch(
        &self,
        manager: &str,
        release: Option<&ReleaseName>,
        batch: Vec<Value>,
        absent: &HashSet<ObjectRef>,
    ) -> Result<(), Problem> {
        self.go_on()?;
        let looks: Vec<_> = batch
            .into_iter()
            .map(|manifest| self.look(manifest, release, absent))
            .collect();
        let todos: Vec<Todo> = futures::stream::iter(looks)
            .buffered(BATCH)
            .try_filter_map(|todo| async move { Ok(todo) })
            .try_collect()
            .await?;
        let intents = todos
            .iter()
            .filter(|todo| !todo.intended)
            .map(|todo| {
                let before = match &todo.before {
                    None => None,
                    Some(before) => Some(self.run.stored(&todo.reference, before.clone())?),
                };
                Ok(Intent {
                    object: todo.reference.clone(),
                    before,
                })
            })
            .collect::<Result<Vec<Intent>, Problem>>()?;
        self.write_intents(intents).await?;
        self.go_on()?;
        let todos: Vec<_> = todos
            .into_iter()
            .map(|todo| async {
                let reference = todo.reference.clone();
                let result = self.apply_one(manager, release, todo).await;
                let result = result.map_err(|problem| self.run.plan.veiled(&reference, problem));
                if result.is_err() {
                    self.run.halt.cancel();
                }
                result
            })
            .collect();
        // What is under way is not dropped when one fails: nobody would know what came of it.
        let results: Vec<Result<(), Problem>> = futures::stream::iter(todos)
            .buffer_unordered(BATCH)
            .collect()
            .await;
        failure_of(results)
    }

    /// How an object is before the step; nothing when it was done before an interruption.
    async fn look(
        &self,
        manifest: Value,
        release: Option<&ReleaseName>,
        absent: &HashSet<ObjectRef>,
    ) -> Result<Option<Todo>, Problem> {
        let reference = ObjectRef::of(&manifest).ok_or_else(nameless)?;
        let history = self.history.and_then(|history| history.object(&reference));
        if history.is_some_and(|history| history.outcome.is_some()) {
            return Ok(None);
        }
        let guessed = history.is_none() && absent.contains(&reference);
        let now = if guessed {
            None
        } else {
            self.run.cluster.get_if_served(&reference).await?
        };
        let before = match history {
            None => {
                if let Some(now) = &now {
                    self.run.baseline.check_absent(&reference, now, self.run.id())?;
                    self.may_touch(&reference, &manifest, now, release).await?;
                }
                now.clone()
            }
            Some(history) => match history.before.clone() {
                None => {
                    self.is_ours(&reference, now.as_ref())?;
                    None
                }
                Some(stored) => {
                    let before = self.run.opened(stored)?;
                    self.is_still(&reference, &manifest, (&before, now.as_ref()), release)
                        .await?;
                    Some(before)
                }
            },
        };
        Ok(Some(Todo {
            reference,
            manifest,
            before,
            now,
            intended: history.is_some(),
            guessed,
        }))
    }

    /// Refuses what others mind, unless it was agreed to.
    async fn may_touch(
        &self,
        reference: &ObjectRef,
        manifest: &Value,
        now: &Value,
        release: Option<&ReleaseName>,
    ) -> Result<(), Problem> {
        // What a chart's folder crds holds is not changed when it is there.
        if is_only_made(manifest) {
            return Ok(());
        }
        let run = &self.run;
        match objection_to_change(&run.cluster, now, release, &run.plan, run.policy.accept).await? {
            Some((consent, why)) => Err(consent.required(format!("{reference}: {why}"))),
            None => Ok(()),
        }
    }

    /// Refuses what is there although the step was to make it, unless the step did.
    fn is_ours(&self, reference: &ObjectRef, now: Option<&Value>) -> Result<(), Problem> {
        match now {
            Some(now) if operation_of(now) != Some(self.run.id()) => Err(appeared(reference)),
            _ => Ok(()),
        }
    }

    /// Refuses what others have made since in the place of what was there before an interruption, and what they mind by
    /// now.
    async fn is_still(
        &self,
        reference: &ObjectRef,
        manifest: &Value,
        (before, now): (&Value, Option<&Value>),
        release: Option<&ReleaseName>,
    ) -> Result<(), Problem> {
        let Some(now) = now else {
            // The step has deleted it to make it again, perhaps.
            return if self.run.policy.accept.has(Consent::Recreate) {
                Ok(())
            } else {
                Err(replaced(reference))
            };
        };
        if text(before, "/metadata/uid") == text(now, "/metadata/uid") {
            return self.may_touch(reference, manifest, now, release).await;
        }
        if is_only_made(manifest) || operation_of(now) == Some(self.run.id()) {
            return Ok(());
        }
        Err(replaced(reference))
    }

    async fn apply_one(
        &self,
        manager: &str,
        release: Option<&ReleaseName>,
        mut todo: Todo,
    ) -> Result<(), Problem> {
        if let Some(before) = &todo.before
            && is_only_made(&todo.manifest)
        {
            let uid = text(before, "/metadata/uid").to_owned();
            return self
                .outcome(todo.reference, ObjectChange::Unchanged, uid, Stored::Nothing)
                .await;
        }
        let mut attempts = 0;
        let applied = loop {
            let sending = async {
                self.take_over(manager, release, &mut todo).await?;
                self.send(manager, &todo).await
            };
            match self.until_halted(sending).await? {
                Err(ClusterError::ObjectChanged { .. }) if attempts < ATTEMPTS => {
                    attempts += 1;
                    todo = self.look_again(todo, release).await?;
                }
                // Only what is there can be in others' hands.
                Err(ClusterError::ApplyConflict { .. }) if todo.guessed && attempts < ATTEMPTS => {
                    attempts += 1;
                    todo = self.look_again(todo, release).await?;
                }
                Err(error) if error.is_immutable() => {
                    let accept = self.run.policy.accept;
                    if todo.now.is_none() || !accept.has(Consent::Recreate) {
                        return Err(unchangeable(&todo.reference, error));
                    }
                    self.clear_away(&mut todo).await?;
                }
                result => break result?,
            }
        };
        let reference = todo.reference;
        let uid = text(&applied.object, "/metadata/uid").to_owned();
        let (change, fields) = match &todo.before {
            None => (ObjectChange::Created, Stored::Nothing),
            Some(before) if text(before, "/metadata/uid") != uid => {
                (ObjectChange::Recreated, Stored::Nothing)
            }
            Some(before) => {
                let fields = match todo.now.as_ref().filter(|_| todo.intended) {
                    // Others may have changed it while no host ran.
                    Some(found) => {
                        let manifest = marked(todo.manifest, Some(before), self.run.id());
                        as_applied_again(before, found, &applied.object, &manifest)
                    }
                    None => changed(before, &applied.object),
                };
                if fields.is_empty() {
                    (ObjectChange::Unchanged, Stored::Nothing)
                } else {
                    (ObjectChange::Updated, self.run.stored(&reference, fields)?)
                }
            }
        };
        for warning in applied.warnings {
            let note = Entry::Note {
                step: Some(self.step.id.clone()),
                message: format!("{reference}: {warning}"),
            };
            self.run.journal.note(note).await?;
        }
        self.outcome(reference, change, uid, fields).await
    }

    /// Deletes an object that cannot be changed, so that it can be made again.
    async fn clear_away(&self, todo: &mut Todo) -> Result<(), Problem> {
        let Some(now) = todo.now.take() else { return Ok(()) };
        let uid = text(&now, "/metadata/uid");
        let gone = self
            .run
            .cluster
            .delete_and_wait(&todo.reference, uid, self.deadline);
        Ok(self.until_halted(gone).await??)
    }

    /// Makes what this manager wrote in another way its own by apply, and what belongs to the makers of an object that the
    /// release takes over.
    async fn take_over(
        &self,
        manager: &str,
        release: Option<&ReleaseName>,
        todo: &mut Todo,
    ) -> Result<(), ClusterError> {
        let accept = self.run.policy.accept;
        let patch = todo.now.as_ref().and_then(|now| {
            let makers = gives_way(now, &todo.manifest, release, accept);
            take_over(now, manager, &makers)
        });
        let Some(patch) = patch else { return Ok(()) };
        let patch = Patch::Json(patch);
        let cluster = &self.run.cluster;
        match cluster.patch(&todo.reference, &patch, manager, false).await {
            Ok(now) => todo.now = Some(now),
            // Whether it was done is seen by looking again.
            Err(error) if error.leaves_open() => {
                return Err(ClusterError::ObjectChanged {
                    object: todo.reference.clone(),
                    reason: error.to_string(),
                });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn webhook_patience(&self) -> Duration {
        if self.run.plan.installs_webhooks() {
            WEBHOOKS
        } else {
            OTHERS_WEBHOOKS
        }
    }

    /// Applies an object in just the state in which it was seen: what others do to it in between is theirs, and is
    /// not taken for the run's.
    async fn send(&self, manager: &str, todo: &Todo) -> Result<Applied, ClusterError> {
        let run = self.run;
        let creates = todo.now.is_none();
        let before = if creates { None } else { todo.before.as_ref() };
        let manifest = marked(todo.manifest.clone(), before, run.id());
        let options = ApplyOptions {
            manager: manager.to_owned(),
            force: run.policy.force_conflicts,
            dry_run: false,
            guard: Some(todo.now.as_ref().map_or_else(Guard::absent, Guard::unchanged)),
            retry_webhooks_until: Some(self.deadline.min(Instant::now() + self.webhook_patience())),
        };
        let served_until = self.deadline.min(Instant::now() + SERVED);
        loop {
            match apply_as_ours(&run.cluster, &manifest, &[], options.clone()).await {
                Err(ClusterError::NotServed { .. }) if Instant::now() < served_until => {
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// Somebody wrote to the object between our look and our write.
    async fn look_again(&self, mut todo: Todo, release: Option<&ReleaseName>) -> Result<Todo, Problem> {
        let now = self.run.cluster.get_if_served(&todo.reference).await?;
        let uid = |object: &Option<Value>| {
            object
                .as_ref()
                .map(|object| text(object, "/metadata/uid").to_owned())
        };
        if let Some(found) = now.as_ref().filter(|now| todo.is_found(now, self.run.id())) {
            // It was there all the time, for all that is known: as if it had been looked at before.
            self.run
                .baseline
                .check_absent(&todo.reference, found, self.run.id())?;
            self.may_touch(&todo.reference, &todo.manifest, found, release)
                .await?;
            self.intend_again(&mut todo, found).await?;
        } else if todo.now.is_none() {
            self.is_ours(&todo.reference, now.as_ref())?;
        } else if uid(&now) != uid(&todo.now) {
            return Err(replaced(&todo.reference));
        } else if !todo.intended && todo.now.as_ref().map(own_fields) != now.as_ref().map(own_fields) {
            // Not a controller's word on its status: what the run finds is what its undo gives back.
            if let Some(before) = &now {
                self.intend_again(&mut todo, before).await?;
            }
        }
        todo.guessed = false;
        todo.now = now;
        Ok(todo)
    }

    /// Writes an intent again: what is about to be changed is not as the first one says.
    async fn intend_again(&self, todo: &mut Todo, before: &Value) -> Result<(), Problem> {
        todo.before = Some(before.clone());
        let intent = Intent {
            object: todo.reference.clone(),
            before: Some(self.run.stored(&todo.reference, before.clone())?),
        };
        self.write_intents(vec![intent]).await
    }

    /// Writes what is about to be changed, in entries that the provider takes and has room for.
    pub(super) async fn write_intents(&self, intents: Vec<Intent>) -> Result<(), Problem> {
        const BYTES: usize = 2 << 20;
        let run = self.run;
        run.room
            .make(&run.store, run.id(), &self.step.work, &intents)
            .await?;
        let mut entries: Vec<Entry> = Vec::new();
        let (mut objects, mut bytes) = (Vec::new(), 0);
        for intent in intents {
            let size = intent.before.as_ref().map_or(0, size_of_stored);
            if bytes + size > BYTES && !objects.is_empty() {
                entries.push(Entry::Intent {
                    step: self.step.id.clone(),
                    objects: std::mem::take(&mut objects),
                });
                bytes = 0;
            }
            bytes += size;
            objects.push(intent);
        }
        if !objects.is_empty() {
            entries.push(Entry::Intent {
                step: self.step.id.clone(),
                objects,
            });
        }
        if entries.is_empty() {
            return Ok(());
        }
        self.run.journal.write(entries).await
    }

    /// Writes what became of an object.
    pub(in crate::operation) async fn outcome(
        &self,
        object: ObjectRef,
        change: ObjectChange,
        uid: String,
        fields: Stored<Vec<Field>>,
    ) -> Result<(), Problem> {
        let outcome = self.outcome_entry(object, change, uid, fields);
        self.run.journal.note(outcome).await
    }

    /// The entry that says what became of an object, which counts as done from now on.
    pub(super) fn outcome_entry(
        &self,
        object: ObjectRef,
        change: ObjectChange,
        uid: String,
        fields: Stored<Vec<Field>>,
    ) -> Entry {
        Entry::Outcome {
            step: self.step.id.clone(),
            object,
            change,
            uid,
            fields,
            done: self.progress.one_more(),
            total: self.progress.total,
        }
    }
}

/// The server does not let an object be changed so; only a new one can be so.
pub(in crate::operation) fn unchangeable(reference: &ObjectRef, error: ClusterError) -> Problem {
    Consent::Recreate.required(format!(
        "{reference} cannot be changed so, only deleted and made again: {}",
        Problem::from(error).message
    ))
}

/// Applies an object, and takes fields from ourselves: what an undo has restored or made again is owned by our own
/// manager, and what the same manager wrote by updates is its own as well; that is no conflict. Nor is what belongs to
/// those that give way.
pub(in crate::operation) async fn apply_as_ours(
    cluster: &Cluster,
    manifest: &Value,
    give_way: &[String],
    mut options: ApplyOptions,
) -> Result<Applied, ClusterError> {
    match cluster.apply(manifest, &options).await {
        Err(ClusterError::ApplyConflict { conflicts, .. })
            if conflicts.iter().all(|conflict| {
                let manager = conflict.manager.split(' ').next().unwrap_or_default();
                manager == MANAGER
                    || manager == options.manager
                    || give_way
                        .iter()
                        .any(|maker| maker.split(' ').next() == Some(manager))
            }) =>
        {
            options.force = true;
            cluster.apply(manifest, &options).await
        }
        result => result,
    }
}

/// The definitions of kinds among the objects, as conditions to wait for.
fn definitions(wave: &[Value]) -> Vec<Readiness> {
    wave.iter()
        .filter(|object| object["kind"] == "CustomResourceDefinition")
        .filter_map(ObjectRef::of)
        .map(|object| Readiness {
            object,
            rule: Rule::Ready,
        })
        .collect()
}
