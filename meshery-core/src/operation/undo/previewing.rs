//! What an undo would do, object by object: by the journal, and by the cluster as it is now. Writes nothing.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _};
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use super::kind::holds_data;
use super::lineage::Lineage;
use super::object::CHANGED_SINCE;
use super::outage::is_outage;
use super::releases_since::ReleasesSince;
use super::{held_by, of_plan};
use crate::cluster::Cluster;
use crate::cluster::diff::diff;
use crate::cluster::object::Patch;
use crate::operation::clock;
use crate::operation::engine::Engine;
use crate::operation::journal::entry::ObjectChange;
use crate::operation::journal::history::{History, ObjectHistory};
use crate::operation::object::field::{Field, restore};
use crate::operation::object::mark::{operation_of, text};
use crate::operation::operations::{Operations, undoable};
use crate::operation::plan::resolve::MANAGER;
use crate::operation::plan::stored::{StoredPlan, StoredStep, Work, open_value};
use crate::operation::preview::previewing::{blank, count};
use crate::operation::preview::{Certainty, Change, Preview, PreviewedObject};
use crate::problem::Problem;

/// Objects asked about at a time; the cluster's own limit is the one that counts.
const AT_A_TIME: usize = 16;

/// Everything that a run did to one object.
struct Touched<'a> {
    step: &'a StoredStep,
    object: &'a ObjectRef,
    /// In the order of the steps.
    histories: Vec<&'a ObjectHistory>,
}

struct UndoPreviewing<'a> {
    engine: &'a Engine,
    operation: &'a str,
    cluster: &'a Cluster,
    lineage: Lineage,
}

impl Operations {
    /// Looks what an undo would do now. An object that cannot be told of beforehand says why.
    pub async fn preview_undo(&self, id: &str) -> Result<Preview, Problem> {
        let engine = &self.engine;
        let stored = engine.load(id).await?;
        undoable(&stored.record)?;
        let plan = engine.whole_plan(&stored).await?;
        let history = History::read(&engine.store, id).await?;
        let cluster = engine.cluster(&stored.record).await?;
        let previewing = UndoPreviewing {
            engine,
            operation: id,
            cluster: &cluster,
            lineage: Lineage::default(),
        };
        let since = ReleasesSince {
            operation: id,
            plan: &plan,
            history: &history,
            lineage: &previewing.lineage,
            cluster: &cluster,
            store: &engine.store,
            key: &engine.key,
        };
        let overtaken = since.overtaken().await?;
        let touched = touched(&plan, &history);
        let looks: Vec<_> = touched
            .iter()
            .map(|touched| async {
                match overtaken.get(of_plan(&touched.step.id)) {
                    Some(why) => Ok(noted(touched, Change::Keep, why)),
                    None => previewing.look(touched).await,
                }
            })
            .collect();
        let mut objects: Vec<PreviewedObject> = futures::stream::iter(looks)
            .buffered(AT_A_TIME)
            .try_collect()
            .await?;
        hold_back(&plan, &history, &mut objects);
        for step in &plan.steps {
            if let Work::RestartInUndo { workloads } = &step.work
                && gives_back(&plan.followers(&step.id), &objects)
            {
                let restarts = |workload| blank(step, workload, Change::Restart, Certainty::DecidedLater);
                objects.extend(workloads.iter().map(restarts));
            }
        }
        let mut notes = Vec::new();
        if plan
            .steps
            .iter()
            .any(|step| matches!(step.work, Work::Restart { .. }) && history.step(&step.id).is_some())
        {
            notes.push(
                "pods that the run has restarted stay as they are, unless what they are made of goes back"
                    .into(),
            );
        }
        Ok(Preview {
            operation: id.to_owned(),
            time: clock::now(),
            summary: format!("Take back: {}", stored.record.summary),
            counts: count(&objects),
            objects: objects.into_iter().map(|object| plan.shown(object)).collect(),
            risks: Vec::new(),
            findings: Vec::new(),
            point_of_no_return: None,
            notes,
            needs_consent: Vec::new(),
        })
    }
}

/// Whether anything of these steps would be given back.
fn gives_back(steps: &HashSet<&str>, objects: &[PreviewedObject]) -> bool {
    objects.iter().any(|object| {
        steps.contains(object.step.as_str())
            && matches!(
                object.change,
                Change::Create | Change::Update | Change::Delete | Change::Recreate
            )
    })
}

/// Keeps what belongs to steps without which one that stays would not work.
fn hold_back(plan: &StoredPlan, history: &History, objects: &mut [PreviewedObject]) {
    let mut holding: Vec<&str> = Vec::new();
    for of_step in history.steps.iter().rev() {
        let Some(step) = plan.step(&of_step.id) else {
            continue;
        };
        let why = held_by(plan, &step.id, &holding);
        let mut whole = why.is_none();
        for object in objects.iter_mut().filter(|object| object.step == step.id) {
            if let Some(why) = &why {
                object.change = Change::Keep;
                object.note = Some(why.clone());
                object.diff.clear();
            }
            let partly = |note: &String| note.starts_with(CHANGED_SINCE);
            whole &= !matches!(object.change, Change::Keep | Change::Error)
                && !object.note.as_ref().is_some_and(partly);
        }
        if !whole && step.holds_back {
            holding.push(&step.id);
        }
    }
}

/// What was done to each object, what was done last first.
fn touched<'a>(plan: &'a StoredPlan, history: &'a History) -> Vec<Touched<'a>> {
    let mut all: Vec<Touched<'a>> = Vec::new();
    let mut places: HashMap<&ObjectRef, usize> = HashMap::new();
    for of_step in history.steps.iter().rev() {
        let Some(step) = plan.step(&of_step.id) else {
            continue;
        };
        if matches!(step.work, Work::Restart { .. }) {
            continue;
        }
        for object in of_step.objects.iter().rev() {
            if let Some(&place) = places.get(&object.object) {
                all[place].histories.insert(0, object);
                continue;
            }
            places.insert(&object.object, all.len());
            all.push(Touched {
                step,
                object: &object.object,
                histories: vec![object],
            });
        }
    }
    all
}

fn noted(touched: &Touched<'_>, change: Change, note: &str) -> PreviewedObject {
    PreviewedObject {
        note: Some(note.to_owned()),
        ..blank(touched.step, touched.object, change, Certainty::Verified)
    }
}

impl UndoPreviewing<'_> {
    async fn look(&self, touched: &Touched<'_>) -> Result<PreviewedObject, Problem> {
        let now = match self.cluster.get_if_served(touched.object).await {
            Ok(now) => now,
            Err(error) => {
                let problem = Problem::from(error);
                if is_outage(self.cluster, &problem).await {
                    return Err(problem);
                }
                // It would be left, and the others not.
                return Ok(PreviewedObject {
                    error: Some(problem),
                    ..blank(touched.step, touched.object, Change::Error, Certainty::Verified)
                });
            }
        };
        let changes = || {
            touched
                .histories
                .iter()
                .filter_map(|history| history.outcome.as_ref())
                .map(|outcome| outcome.change)
        };
        let says_nothing = |change| {
            matches!(
                change,
                ObjectChange::Unchanged | ObjectChange::Kept | ObjectChange::Absent
            )
        };
        if touched.histories.iter().all(|history| history.outcome.is_some()) && changes().all(says_nothing) {
            return Ok(noted(touched, Change::Unchanged, "the run did not change it"));
        }
        let first = touched.histories[0];
        let was_there = first.before.is_some();
        let deleted = changes().any(|change| change == ObjectChange::Deleted);
        let Some(now) = now else {
            return Ok(match (was_there, deleted) {
                (false, _) => noted(touched, Change::Unchanged, "it is gone already"),
                (true, true) if holds_data(touched.object) => noted(
                    touched,
                    Change::Create,
                    "it is made again from what was stored, with a new uid and without its data",
                ),
                (true, true) => noted(
                    touched,
                    Change::Create,
                    "it is made again from what was stored, with a new uid",
                ),
                (true, false) => noted(
                    touched,
                    Change::Keep,
                    "it was there before, and somebody has deleted it since",
                ),
            });
        };
        if !was_there {
            return self.made(touched, &now).await;
        }
        let before = match self.opened(first) {
            Ok(before) => before,
            Err(problem) => return Ok(noted(touched, Change::Keep, &problem.to_string())),
        };
        let recreated = changes().any(|change| change == ObjectChange::Recreated);
        let uid = text(&now, "/metadata/uid");
        if text(&before, "/metadata/uid") != uid && !self.was_made_again(touched.object, uid).await? {
            return Ok(if recreated {
                noted(
                    touched,
                    Change::Recreate,
                    "what the run made in its place goes, and it is made again from what was stored",
                )
            } else {
                noted(
                    touched,
                    Change::Keep,
                    "somebody has deleted it and made it again since",
                )
            });
        }
        self.changed(touched, &now).await
    }

    /// Something that the run made.
    async fn made(&self, touched: &Touched<'_>, now: &Value) -> Result<PreviewedObject, Problem> {
        let uid = text(now, "/metadata/uid");
        let is_as_made = touched.histories.iter().any(|history| match &history.outcome {
            Some(outcome) => outcome.uid == uid,
            None => operation_of(now) == Some(self.operation),
        });
        let is_ours = is_as_made || self.was_made_again(touched.object, uid).await?;
        let holds_others = matches!(
            touched.object.kind.as_str(),
            "Namespace" | "CustomResourceDefinition"
        );
        Ok(match (is_ours, holds_others) {
            (false, _) => noted(
                touched,
                Change::Unchanged,
                "what is there now was made by somebody else",
            ),
            (true, true) => PreviewedObject {
                certainty: Certainty::DecidedLater,
                ..noted(
                    touched,
                    Change::Delete,
                    "it goes if nothing of others is left in it",
                )
            },
            (true, false) => blank(touched.step, touched.object, Change::Delete, Certainty::Verified),
        })
    }

    async fn was_made_again(&self, object: &ObjectRef, uid: &str) -> Result<bool, Problem> {
        let store = &self.engine.store;
        self.lineage.has(store, self.cluster, object, uid).await
    }

    /// Something that the run changed.
    async fn changed(&self, touched: &Touched<'_>, now: &Value) -> Result<PreviewedObject, Problem> {
        if touched.histories.iter().any(|history| history.outcome.is_none()) {
            return Ok(PreviewedObject {
                certainty: Certainty::DecidedLater,
                ..noted(
                    touched,
                    Change::Update,
                    "the host was killed before it could say what it has changed",
                )
            });
        }
        let fields = match self.fields(touched) {
            Ok(fields) => fields,
            Err(problem) => return Ok(noted(touched, Change::Keep, &problem.to_string())),
        };
        if fields.is_empty() {
            let note = "what the run changed in it goes back";
            return Ok(PreviewedObject {
                certainty: Certainty::DecidedLater,
                ..noted(touched, Change::Update, note)
            });
        }
        let restoration = restore(&fields, now);
        let mut previewed = blank(touched.step, touched.object, Change::Update, Certainty::Verified);
        if !restoration.taken.is_empty() {
            previewed.note = Some(format!("{CHANGED_SINCE}: {}", restoration.taken.join(", ")));
        }
        if restoration.patch.is_empty() {
            previewed.change = if restoration.taken.is_empty() {
                Change::Unchanged
            } else {
                Change::Keep
            };
            return Ok(previewed);
        }
        let patch = Patch::Json(Value::Array(restoration.patch));
        match self.cluster.patch(touched.object, &patch, MANAGER, true).await {
            Ok(after) => previewed.diff = diff(now, &after),
            Err(error) => {
                let problem = Problem::from(error);
                if is_outage(self.cluster, &problem).await {
                    return Err(problem);
                }
                previewed.change = Change::Error;
                previewed.error = Some(problem);
            }
        }
        Ok(previewed)
    }

    /// What all steps together changed in an object: each field from what it was before the first to what it was after
    /// the last.
    fn fields(&self, touched: &Touched<'_>) -> Result<Vec<Field>, Problem> {
        let mut all: Vec<Field> = Vec::new();
        for outcome in touched
            .histories
            .iter()
            .filter_map(|history| history.outcome.as_ref())
        {
            let fields: Vec<Field> = open_value(&self.engine.key, self.operation, outcome.fields.clone())?;
            for field in fields {
                match all.iter_mut().find(|known| known.path == field.path) {
                    Some(known) => known.after = field.after,
                    None => all.push(field),
                }
            }
        }
        Ok(all)
    }

    /// The object as it was.
    fn opened(&self, history: &ObjectHistory) -> Result<Value, Problem> {
        let before = history.before.clone().unwrap_or_default();
        open_value(&self.engine.key, self.operation, before)
    }
}
