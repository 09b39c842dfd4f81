//! Sets as they are asked for: planned, looked at, ordered.

use std::collections::HashMap;

use futures::StreamExt as _;
use meshery_plugin_api::message::document::Query;

use super::stored::{KIND, StoredMember, StoredSet};
use super::{
    Member, MemberPreview, NewOperationSet, OperationSet, Order, Standing, found, standing, state_of,
};
use crate::operation::clock;
use crate::operation::idempotency::Request;
use crate::operation::operations::{Operations, Selection};
use crate::operation::record::{NewOperation, OperationRecord};
use crate::operation::state::OperationState;
use crate::problem::{Problem, ProblemKind};

/// How many clusters a set may have.
const MOST: usize = 100;
/// Clusters that are asked at a time.
const AT_A_TIME: usize = 8;

/// A page of sets.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OperationSetPage {
    /// The sets, newest first.
    pub items: Vec<OperationSet>,
    /// Value of [`Selection::after`] for the next page; empty when this is the last.
    pub next: String,
}

impl Operations {
    /// Plans an operation on each of several clusters. When that fails on one of them, none is planned.
    pub async fn plan_set(&self, new: NewOperationSet) -> Result<OperationSet, Problem> {
        self.plan_members(new, None).await
    }

    /// The same for a request that has a key of the caller's: when it comes again, within a day, the set that it has made
    /// is what it gets, and `true`.
    pub async fn plan_set_once(
        &self,
        key: &str,
        new: NewOperationSet,
    ) -> Result<(OperationSet, bool), Problem> {
        let owner = self.engine.store.user().await?.name;
        let request = Request::new(key, &owner, &new)?;
        if let Some(id) = request.made(&self.engine.store).await? {
            return Ok((self.set(&id).await?, true));
        }
        match self.plan_members(new, Some(&request)).await {
            // The same request came at the same time, and was faster.
            Err(problem) if problem.code == "revision-conflict" => {
                let Some(id) = request.made(&self.engine.store).await? else {
                    return Err(problem);
                };
                Ok((self.set(&id).await?, true))
            }
            planned => Ok((planned?, false)),
        }
    }

    async fn plan_members(
        &self,
        new: NewOperationSet,
        request: Option<&Request>,
    ) -> Result<OperationSet, Problem> {
        check(&new)?;
        let id = ulid::Ulid::generate().to_string();
        let planning: Vec<_> = new
            .contexts
            .iter()
            .map(|context| {
                let asked = NewOperation {
                    adapter: new.adapter.clone(),
                    operation: new.operation.clone(),
                    context: Some(context.clone()),
                    parameters: new.parameters.clone(),
                    policy: new.policy,
                    images: new.images.clone(),
                };
                let planning = self.engine.plan(asked, None, Some(&id));
                async move { planning.await.map_err(|problem| in_context(context, problem)) }
            })
            .collect();
        let results: Vec<Result<OperationRecord, Problem>> = futures::stream::iter(planning)
            .buffered(AT_A_TIME)
            .collect()
            .await;
        let mut planned: Vec<OperationRecord> = Vec::new();
        let mut refusal = None;
        for result in results {
            match result {
                Ok(record) => {
                    let twin = planned
                        .iter()
                        .find(|other| other.cluster.uid == record.cluster.uid);
                    refusal = refusal.or_else(|| twin.map(|other| same_cluster(&record, other)));
                    planned.push(record);
                }
                Err(problem) => refusal = refusal.or(Some(problem)),
            }
        }
        if let Some(refusal) = refusal {
            self.drop_planned(&planned).await;
            return Err(refusal);
        }
        let created = clock::now();
        let set = StoredSet {
            id,
            adapter: new.adapter,
            operation: new.operation,
            owner: self.engine.store.user().await?.name,
            at_a_time: new.at_a_time,
            on_member_failure: new.on_member_failure,
            members: new
                .contexts
                .into_iter()
                .zip(&planned)
                .map(|(context, record)| StoredMember {
                    context,
                    operation: record.id.clone(),
                    error: None,
                    told: false,
                })
                .collect(),
            order: Order::Nothing,
            at_rest: true,
            tolerated: 0,
            updated: created.clone(),
            created,
        };
        let beside = request
            .map(|request| request.write(&set.owner, &set.id))
            .transpose()?;
        if let Err(problem) = set.create(&self.engine.store, beside).await {
            self.drop_planned(&planned).await;
            return Err(problem);
        }
        tracing::info!(set = %set.id, adapter = %set.adapter, clusters = set.members.len(), "planned");
        self.shown_set(set).await
    }

    /// Nobody would ask for them any more.
    async fn drop_planned(&self, planned: &[OperationRecord]) {
        for record in planned {
            if let Err(problem) = self.cancel(&record.id).await {
                tracing::warn!(operation = %record.id, code = %problem.code, "it stays planned: {problem}");
            }
        }
    }

    /// The record of a set.
    pub async fn set(&self, id: &str) -> Result<OperationSet, Problem> {
        let set = StoredSet::load(&self.engine.store, id).await?;
        self.shown_set(set).await
    }

    /// A page of sets, newest first; of the selection, only its limit and its start count.
    pub async fn sets(&self, selection: Selection) -> Result<OperationSetPage, Problem> {
        let query = Query {
            kind: KIND.into(),
            after: selection.after.unwrap_or_default(),
            descending: true,
            limit: selection.limit.unwrap_or(100).clamp(1, 500),
            ..Query::default()
        };
        let page = self.engine.store.list(query).await?;
        let mut items = Vec::with_capacity(page.documents.len());
        for document in page.documents {
            items.push(self.shown_set(StoredSet::of(document.body)?).await?);
        }
        Ok(OperationSetPage {
            items,
            next: page.next,
        })
    }

    /// Looks what each member would change. A cluster that cannot be asked does not keep the others from it.
    pub async fn preview_set(&self, id: &str) -> Result<Vec<MemberPreview>, Problem> {
        let set = StoredSet::load(&self.engine.store, id).await?;
        if set.order != Order::Nothing {
            return Err(conflict(
                "not-runnable",
                &format!("operation set {id} was run already"),
                "look at the previews of its members, or plan a new one",
            ));
        }
        let previewing: Vec<_> = set
            .members
            .into_iter()
            .map(|member| async move {
                let (preview, error) = match self.preview(&member.operation).await {
                    Ok(preview) => (Some(preview), None),
                    Err(problem) => (None, Some(problem)),
                };
                MemberPreview {
                    context: member.context,
                    operation: member.operation,
                    preview,
                    error,
                }
            })
            .collect();
        Ok(futures::stream::iter(previewing)
            .buffered(AT_A_TIME)
            .collect()
            .await)
    }

    /// Says yes to all members whose policy asks for one.
    pub async fn approve_set(&self, id: &str) -> Result<OperationSet, Problem> {
        let mut waiting = self.set(id).await?.members;
        waiting.retain(|member| member.state == Some(OperationState::AwaitingApproval));
        if waiting.is_empty() {
            return Err(conflict(
                "not-awaiting-approval",
                &format!("no member of operation set {id} awaits an approval"),
                "members await approval when their policy says so and their preview was made",
            ));
        }
        for member in waiting {
            self.approve(&member.operation, None)
                .await
                .map_err(|problem| in_context(&member.context, problem))?;
        }
        self.set(id).await
    }

    /// Runs a set, or goes on with what of it has not had its turn. Returns at once.
    pub async fn run_set(&self, id: &str) -> Result<OperationSet, Problem> {
        self.order(id, Order::Run, |set, standings| {
            if standings.contains(&Standing::Waits) && set.order != Order::Undo {
                return Ok(());
            }
            let what = "nothing of it waits to be run";
            Err(refused("not-runnable", set, what, "plan a new one"))
        })
        .await
    }

    /// Stops all members at the next safe point; what had not begun is not run.
    pub async fn cancel_set(&self, id: &str) -> Result<OperationSet, Problem> {
        self.order(id, Order::Cancel, |set, standings| {
            let cancellable = [Standing::Waits, Standing::AtWork];
            let is_undoing = set.order == Order::Undo && !set.at_rest;
            if !is_undoing && standings.iter().any(|standing| cancellable.contains(standing)) {
                return Ok(());
            }
            let what = "there is nothing to stop";
            Err(refused(
                "not-cancellable",
                set,
                what,
                "take back what it did by an undo",
            ))
        })
        .await
    }

    /// Takes back what the members did, the last first. Returns at once.
    pub async fn undo_set(&self, id: &str) -> Result<OperationSet, Problem> {
        self.order(id, Order::Undo, |set, standings| {
            if standings.contains(&Standing::AtWork) {
                let what = "members are at work";
                return Err(refused(
                    "operation-active",
                    set,
                    what,
                    "cancel it, or wait until they have ended",
                ));
            }
            let undoable = [Standing::Succeeded, Standing::Failed];
            if standings.iter().any(|standing| undoable.contains(standing)) {
                return Ok(());
            }
            let what = "there is nothing to take back";
            Err(refused(
                "nothing-to-undo",
                set,
                what,
                "only what has run can be undone",
            ))
        })
        .await
    }

    async fn order(
        &self,
        id: &str,
        order: Order,
        may: impl Fn(&StoredSet, &[Standing]) -> Result<(), Problem>,
    ) -> Result<OperationSet, Problem> {
        let now = StoredSet::load(&self.engine.store, id).await?;
        let mut standings = Vec::with_capacity(now.members.len());
        for member in &now.members {
            let record = found(self.engine.journaled_record(&member.operation).await)?;
            standings.push(standing(record.as_ref(), false));
        }
        let failed = standings
            .iter()
            .filter(|standing| matches!(standing, Standing::Failed | Standing::Untouched))
            .count();
        let set = StoredSet::update(&self.engine.store, id, |set| {
            may(set, &standings)?;
            set.order(order, failed);
            Ok(())
        })
        .await?;
        self.drive(set.id.clone());
        self.engine.stir();
        self.shown_set(set).await
    }

    async fn records_of(&self, set: &StoredSet) -> Result<HashMap<String, OperationRecord>, Problem> {
        let mut records = HashMap::new();
        for member in &set.members {
            if let Some(record) = found(self.engine.record(&member.operation).await)? {
                records.insert(member.operation.clone(), record);
            }
        }
        Ok(records)
    }

    async fn shown_set(&self, set: StoredSet) -> Result<OperationSet, Problem> {
        let records = self.records_of(&set).await?;
        let of_members: Vec<(Standing, Option<OperationState>)> = set
            .members
            .iter()
            .map(|member| {
                let record = records.get(&member.operation);
                let standing = standing(record, member.error.is_some());
                (standing, record.map(|record| record.state))
            })
            .collect();
        Ok(OperationSet {
            state: state_of(set.order, set.at_rest, &of_members),
            id: set.id,
            adapter: set.adapter,
            operation: set.operation,
            owner: set.owner,
            at_a_time: set.at_a_time,
            on_member_failure: set.on_member_failure,
            members: set
                .members
                .into_iter()
                .map(|member| {
                    let record = records.get(&member.operation);
                    Member {
                        context: member.context,
                        state: record.map(|record| record.state),
                        error: member
                            .error
                            .or_else(|| record.and_then(|record| record.error.clone())),
                        operation: member.operation,
                    }
                })
                .collect(),
            created: set.created,
            updated: set.updated,
        })
    }
}

fn check(new: &NewOperationSet) -> Result<(), Problem> {
    let invalid = |message: String, remedy: &str| {
        Err(Problem::new(ProblemKind::Invalid, "bad-operation-set", message).remedy(remedy))
    };
    if new.contexts.is_empty() || new.contexts.len() > MOST {
        return invalid(
            format!(
                "a set has 1 to {MOST} clusters, and {} are named",
                new.contexts.len()
            ),
            "name the contexts of the clusters in \"contexts\"",
        );
    }
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = new.contexts.iter().find(|context| !seen.insert(context.as_str())) {
        return invalid(
            format!("context \"{}\" is named twice", twice.escape_debug()),
            "name each context once",
        );
    }
    let most = u32::try_from(MOST).unwrap_or(u32::MAX);
    if new.at_a_time.0 == 0 || new.at_a_time.0 > most {
        return invalid(
            format!("at_a_time is {}, and 1 to {most} are possible", new.at_a_time.0),
            "say at how many clusters it may be at work at a time",
        );
    }
    Ok(())
}

fn same_cluster(record: &OperationRecord, other: &OperationRecord) -> Problem {
    let (context, other) = (&record.cluster.context, &other.cluster.context);
    Problem::new(
        ProblemKind::Invalid,
        "bad-operation-set",
        format!("contexts \"{other}\" and \"{context}\" lead to the same cluster"),
    )
    .remedy("name each cluster once")
}

fn in_context(context: &str, mut problem: Problem) -> Problem {
    problem.message = format!("context {context}: {}", problem.message);
    problem
}

fn refused(code: &str, set: &StoredSet, what: &str, remedy: &str) -> Problem {
    conflict(code, &format!("operation set {}: {what}", set.id), remedy)
}

fn conflict(code: &str, message: &str, remedy: &str) -> Problem {
    Problem::new(ProblemKind::Conflict, code, message).remedy(remedy)
}
