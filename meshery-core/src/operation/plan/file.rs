//! A plan as a document that people review and that is applied later: the request, what was seen, and a digest of what
//! would be done.
//!
//! It holds no manifests and nothing secret. Who applies it plans again, and what comes out is held against it: the
//! digest says whether the same would be done, the preview whether it would have the same effect. While the operation it
//! was written from is still there to be run, that is the one that runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::digest::{digest, is_masked_path};
use super::parameters::withheld;
use crate::operation::consent::NeededConsent;
use crate::operation::operations::Operations;
use crate::operation::preview::{Change, Preview, PreviewedObject};
use crate::operation::record::{AdapterUsed, NewOperation, OperationRecord};
use crate::operation::stored::Stored;
use crate::problem::{Problem, ProblemKind};

/// The version of the form.
const FORM: u32 = 1;
/// Differences that are told; more are counted.
const TOLD: usize = 30;

/// A plan to be reviewed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanFile {
    /// Version of the form.
    pub meshery_plan: u32,
    /// One sentence on what it does.
    pub summary: String,
    /// The plugin that planned it.
    pub adapter: AdapterUsed,
    /// What is asked for: operation, parameters, policy, images.
    pub request: NewOperation,
    /// Parameters that are not in it, because they may be secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
    /// The uid of the cluster's namespace kube-system.
    pub cluster: String,
    /// The operation that it was written from.
    pub operation: String,
    /// What it does only on explicit word; it does not run unless the policy has all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_consent: Vec<NeededConsent>,
    /// Digest of what would be done.
    pub digest: String,
    /// What it would change.
    pub preview: Preview,
}

impl Operations {
    /// An operation that was previewed, as a document.
    pub async fn plan_file(&self, id: &str) -> Result<PlanFile, Problem> {
        let engine = &self.engine;
        let stored = engine.load(id).await?;
        let preview = self.stored_preview(id).await?;
        let plan = stored.plan(&engine.store).await?;
        let digest = digest(&engine.store, &engine.key, &stored.record, &plan).await?;
        Ok(self.file_of(stored.record, preview, digest))
    }

    fn file_of(&self, record: OperationRecord, preview: Preview, digest: String) -> PlanFile {
        let schema = self
            .engine
            .plugins
            .adapter(&record.adapter.name)
            .ok()
            .and_then(|adapter| Some(adapter.operation(&record.operation)?.parameters.clone()));
        let mut parameters = record.parameters;
        let withheld = match schema {
            Some(schema) => withheld(&schema, &parameters),
            // Nobody is there who could say.
            None => parameters.keys().cloned().collect(),
        };
        parameters.retain(|name, _| !withheld.contains(name));
        PlanFile {
            meshery_plan: FORM,
            summary: record.summary,
            adapter: record.adapter.clone(),
            request: NewOperation {
                adapter: record.adapter.name,
                operation: record.operation,
                context: Some(record.cluster.context),
                parameters,
                policy: record.policy,
                images: Some(record.images),
            },
            withheld,
            cluster: record.cluster.uid,
            operation: record.id,
            needs_consent: record.needs_consent,
            digest,
            preview,
        }
    }

    /// Makes ready to run what a document says, and nothing else: the operation that it was written from, or the same
    /// planned anew. Refused, with what has changed, when that is not what was reviewed.
    pub async fn take_plan_file(
        &self,
        file: PlanFile,
        context: Option<String>,
    ) -> Result<OperationRecord, Problem> {
        if file.meshery_plan != FORM {
            let message = format!(
                "the plan has form {}; this host reads form {FORM}",
                file.meshery_plan
            );
            return Err(Problem::new(ProblemKind::Invalid, "plan-other-form", message)
                .cause("it was written by another version of Meshery")
                .remedy("update this host, or plan again"));
        }
        let context = context.or_else(|| file.request.context.clone());
        let cluster = self.engine.clusters.connect(context.as_deref()).await?;
        if cluster.uid() != file.cluster {
            let message = format!(
                "context \"{}\" leads to cluster {}; the plan was made for {}",
                cluster.context(),
                cluster.uid(),
                file.cluster
            );
            return Err(Problem::new(ProblemKind::Conflict, "other-cluster", message)
                .remedy("name the context of the plan's cluster, or plan again for this one"));
        }
        if let Some(id) = self.still_there(&file).await? {
            self.preview(&id).await?;
            return self.held_against(&file, &id, false).await;
        }
        if !file.withheld.is_empty() {
            let message = format!(
                "the plan does not hold the parameters {}, which may be secret, and operation {} is not there to be run",
                file.withheld.join(", "),
                file.operation
            );
            return Err(Problem::new(ProblemKind::Conflict, "plan-withholds", message).remedy("plan again"));
        }
        let new = NewOperation {
            context,
            ..file.request.clone()
        };
        let planned = self.plan(new).await?;
        let previewed = self.preview(&planned.id).await;
        match previewed {
            Ok(_) => self.held_against(&file, &planned.id, true).await,
            Err(problem) => {
                let _ = self.cancel(&planned.id).await;
                Err(problem)
            }
        }
    }

    /// The operation that a document was written from, if it can still be run and is what the document says.
    async fn still_there(&self, file: &PlanFile) -> Result<Option<String>, Problem> {
        let stored = match self.engine.load(&file.operation).await {
            Ok(stored) => stored,
            Err(problem) if problem.kind == ProblemKind::NotFound => return Ok(None),
            Err(problem) => return Err(problem),
        };
        if !stored.record.state.is_runnable() || self.engine.live(&stored.record.id).is_some() {
            return Ok(None);
        }
        let Stored { record, .. } = stored;
        // A document that was edited is another request.
        let own = self.file_of(record, file.preview.clone(), file.digest.clone());
        let same =
            own.request == file.request && own.withheld == file.withheld && own.cluster == file.cluster;
        Ok(same.then_some(own.operation))
    }

    /// The operation's record, if it would do what the document says; else what is different.
    async fn held_against(
        &self,
        file: &PlanFile,
        id: &str,
        planned_anew: bool,
    ) -> Result<OperationRecord, Problem> {
        let now = self.plan_file(id).await?;
        let differences = differences(file, &now);
        if differences.is_empty() {
            return self.get(id).await;
        }
        if planned_anew {
            let _ = self.cancel(id).await;
        }
        let more = differences.len().saturating_sub(TOLD);
        let mut told = differences.into_iter().take(TOLD).collect::<Vec<_>>().join("; ");
        if more > 0 {
            let _ = write!(told, "; and {more} more");
        }
        let message = format!("the plan is not what would be done now: {told}");
        Err(Problem::new(ProblemKind::Conflict, "plan-stale", message)
            .cause("the cluster, the charts, the adapter or the file were changed since it was written")
            .remedy("plan again, and have that reviewed"))
    }
}

/// What would be otherwise, object by object; nothing when the same would be done to the same effect.
fn differences(then: &PlanFile, now: &PlanFile) -> Vec<String> {
    let mut found = Vec::new();
    let key = |object: &PreviewedObject| (object.step.clone(), object.object.to_string());
    let list = |preview: &Preview| -> BTreeMap<(String, String), PreviewedObject> {
        preview
            .objects
            .iter()
            .map(|object| (key(object), object.clone()))
            .collect()
    };
    let (old, new) = (list(&then.preview), list(&now.preview));
    for (at, object) in &old {
        match new.get(at) {
            None => found.push(format!("{} is not part of it any more", object.object)),
            Some(other) => found.extend(difference(object, other)),
        }
    }
    for (at, object) in &new {
        if !old.contains_key(at) {
            found.push(format!(
                "{} is part of it now ({})",
                object.object,
                word(object.change)
            ));
        }
    }
    if then.digest != now.digest && found.is_empty() {
        let plugin = if then.adapter == now.adapter {
            String::new()
        } else {
            format!(
                " (adapter {} is version {} now, it was {})",
                now.adapter.name, now.adapter.version, then.adapter.version
            )
        };
        found.push(format!(
            "what objects would hold is another{plugin}: digest {}, reviewed was {}",
            now.digest, then.digest
        ));
    }
    found
}

fn difference(then: &PreviewedObject, now: &PreviewedObject) -> Option<String> {
    let name = &then.object;
    if then.change != now.change {
        return Some(format!(
            "{name}: it was {}, it is {}",
            word(then.change),
            word(now.change)
        ));
    }
    // Of a new object the server fills in what it likes; what is sent is in the digest.
    if then.change == Change::Create {
        return None;
    }
    let fields = |object: &PreviewedObject| -> BTreeMap<String, serde_json::Value> {
        object
            .diff
            .iter()
            .filter(|field| !is_masked_path(&field.path))
            .map(|field| {
                (
                    field.path.clone(),
                    serde_json::to_value(field).unwrap_or_default(),
                )
            })
            .collect()
    };
    let (old, new) = (fields(then), fields(now));
    let mut paths: Vec<&String> = old
        .iter()
        .filter(|(path, change)| new.get(*path) != Some(*change))
        .map(|(path, _)| path)
        .chain(new.keys().filter(|path| !old.contains_key(*path)))
        .collect();
    paths.sort();
    paths.truncate(5);
    let paths: Vec<&str> = paths.into_iter().map(String::as_str).collect();
    (!paths.is_empty()).then(|| format!("{name}: another change of {}", paths.join(", ")))
}

fn word(change: Change) -> String {
    serde_json::to_value(change)
        .ok()
        .and_then(|word| word.as_str().map(str::to_owned))
        .unwrap_or_default()
}
