//! Carries out what was ordered of a set: gives each member its turn.

use std::sync::Arc;
use std::time::Duration;

use super::stored::StoredSet;
use super::{OnMemberFailure, Order, Standing, found, standing};
use crate::operation::engine::Engine;
use crate::operation::operations::Operations;
use crate::problem::{Problem, ProblemKind};

/// How long a set stands still when the store does not answer.
const AGAIN: Duration = Duration::from_secs(5);

/// A member, by its place in the set.
struct Seen {
    place: usize,
    operation: String,
    standing: Standing,
    told: bool,
}

/// What comes next.
enum Next {
    /// The order is given to this member.
    Tell(usize),
    /// Something has to end first.
    Wait,
    /// Another order takes its place.
    TakeBack,
    Rest,
}

impl Operations {
    /// Carries out what is left of a set's order, unless somebody does already.
    pub(in crate::operation) fn drive(&self, id: String) {
        let this = self.clone();
        if !this.engine.begin_driving(&id) {
            return;
        }
        self.engine.tasks.spawn(async move {
            loop {
                let done = this.carry_out(&id).await;
                this.engine.end_driving(&id);
                if this.engine.stop.is_cancelled() {
                    return;
                }
                if let Err(problem) = &done {
                    tracing::error!(set = %id, code = %problem.code, "the set stands still: {problem}");
                    if problem.kind == ProblemKind::NotFound {
                        return;
                    }
                    tokio::select! {
                        () = this.engine.stop.cancelled() => return,
                        () = tokio::time::sleep(AGAIN) => {}
                    }
                }
                // An order that came at the last moment has found somebody at work and left it to him.
                let has_more = match StoredSet::load(&this.engine.store, &id).await {
                    Ok(set) => !set.at_rest,
                    Err(_) => done.is_err(),
                };
                if !has_more || !this.engine.begin_driving(&id) {
                    return;
                }
            }
        });
    }

    /// After a start: goes on with the sets that have something left to do.
    pub(in crate::operation) async fn drive_unfinished(&self) {
        match StoredSet::unfinished(&self.engine.store).await {
            Ok(ids) => ids.into_iter().for_each(|id| self.drive(id)),
            Err(problem) => {
                tracing::error!(code = %problem.code, "sets that were at work cannot be read: {problem}");
            }
        }
    }

    /// After a restore: what the members are doing by now nobody can tell, so that a person has to say.
    pub(in crate::operation) async fn rest_unfinished(&self) -> Result<(), Problem> {
        for id in StoredSet::unfinished(&self.engine.store).await? {
            let rest = |set: &mut StoredSet| {
                set.at_rest = true;
                Ok(())
            };
            StoredSet::update(&self.engine.store, &id, rest).await?;
        }
        Ok(())
    }

    async fn carry_out(&self, id: &str) -> Result<(), Problem> {
        let engine = &self.engine;
        loop {
            let mut changed = engine.taken();
            let (mut set, revision) = StoredSet::read(&engine.store, id).await?;
            if set.at_rest {
                return Ok(());
            }
            let seen = look(engine, &set).await?;
            // An order that comes meanwhile is another revision, and nothing of this one is written.
            match next(&set, &seen) {
                Next::Tell(place) => self.tell(set, revision, &seen[place]).await?,
                Next::TakeBack => {
                    set.order(Order::Undo, 0);
                    set.put(&engine.store, revision).await?;
                }
                Next::Rest => {
                    set.at_rest = true;
                    set.put(&engine.store, revision).await?;
                }
                Next::Wait => tokio::select! {
                    () = engine.stop.cancelled() => return Ok(()),
                    _ = changed.changed() => {}
                },
            }
            if engine.stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Gives the order to one member. What it says against that stays with it.
    async fn tell(&self, mut set: StoredSet, revision: u64, member: &Seen) -> Result<(), Problem> {
        let told = match set.order {
            Order::Run => self.run(&member.operation).await.map(drop),
            Order::Cancel => self.cancel(&member.operation).await.map(drop),
            Order::Undo if member.standing == Standing::Waits => {
                self.cancel(&member.operation).await.map(drop)
            }
            Order::Undo => self.undo(&member.operation).await.map(drop),
            Order::Nothing => Ok(()),
        };
        if self.engine.stop.is_cancelled() {
            // Whoever goes on after the next start tells it again.
            return Ok(());
        }
        let stored = &mut set.members[member.place];
        stored.told = true;
        stored.error = told.err();
        set.put(&self.engine.store, revision).await
    }
}

async fn look(engine: &Arc<Engine>, set: &StoredSet) -> Result<Vec<Seen>, Problem> {
    let mut seen = Vec::with_capacity(set.members.len());
    for (place, member) in set.members.iter().enumerate() {
        let record = found(engine.journaled_record(&member.operation).await)?;
        seen.push(Seen {
            place,
            operation: member.operation.clone(),
            standing: standing(record.as_ref(), member.error.is_some()),
            told: member.told,
        });
    }
    Ok(seen)
}

fn next(set: &StoredSet, members: &[Seen]) -> Next {
    let count = |wanted: Standing| members.iter().filter(|member| member.standing == wanted).count();
    let at_work = count(Standing::AtWork);
    let is_free = at_work < set.at_a_time.0 as usize;
    let rest_or_wait = if at_work == 0 { Next::Rest } else { Next::Wait };
    match set.order {
        Order::Nothing => Next::Rest,
        Order::Run => {
            let has_failed = count(Standing::Failed) + count(Standing::Untouched) > set.tolerated;
            let waiting = members.iter().find(|member| member.standing == Standing::Waits);
            match (set.on_member_failure, waiting) {
                (OnMemberFailure::Undo, _) if has_failed && at_work == 0 => Next::TakeBack,
                (OnMemberFailure::Stop | OnMemberFailure::Undo, _) if has_failed => rest_or_wait,
                (_, Some(member)) if is_free => Next::Tell(member.place),
                (_, Some(_)) => Next::Wait,
                (_, None) => rest_or_wait,
            }
        }
        Order::Cancel => {
            let running = |member: &&Seen| {
                matches!(member.standing, Standing::Waits | Standing::AtWork) && !member.told
            };
            members
                .iter()
                .find(running)
                .map_or(rest_or_wait, |member| Next::Tell(member.place))
        }
        Order::Undo => {
            // In the reverse of the order in which they had their turn; what is at work has to end first.
            let left = members.iter().rev().find(|member| {
                !member.told && !matches!(member.standing, Standing::Untouched | Standing::AtWork)
            });
            match left {
                Some(member) if is_free => Next::Tell(member.place),
                Some(_) => Next::Wait,
                None => rest_or_wait,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::AtATime;
    use super::super::stored::StoredMember;
    use super::*;

    fn set(order: Order, on_member_failure: OnMemberFailure, at_a_time: u32) -> StoredSet {
        StoredSet {
            id: String::new(),
            adapter: String::new(),
            operation: String::new(),
            owner: String::new(),
            at_a_time: AtATime(at_a_time),
            on_member_failure,
            members: Vec::<StoredMember>::new(),
            order,
            at_rest: false,
            tolerated: 0,
            created: String::new(),
            updated: String::new(),
        }
    }

    fn members(standings: &[Standing]) -> Vec<Seen> {
        let seen = |(place, standing): (usize, &Standing)| Seen {
            place,
            operation: String::new(),
            standing: *standing,
            told: false,
        };
        standings.iter().enumerate().map(seen).collect()
    }

    fn word(next: &Next) -> String {
        match next {
            Next::Tell(place) => format!("tell {place}"),
            Next::Wait => "wait".into(),
            Next::TakeBack => "take back".into(),
            Next::Rest => "rest".into(),
        }
    }

    #[test]
    fn members_have_their_turn_as_far_as_failures_let_them() {
        use OnMemberFailure::{GoOn, Stop, Undo};
        use Standing::{AtWork, Failed, Succeeded, Untouched, Waits};
        for (order, policy, at_a_time, standings, wanted) in [
            (Order::Run, Stop, 1, [Waits, Waits, Waits], "tell 0"),
            (Order::Run, Stop, 1, [AtWork, Waits, Waits], "wait"),
            (Order::Run, Stop, 2, [AtWork, Waits, Waits], "tell 1"),
            (Order::Run, Stop, 2, [AtWork, Failed, Waits], "wait"),
            (Order::Run, Stop, 2, [Succeeded, Failed, Waits], "rest"),
            (Order::Run, Stop, 1, [Untouched, Waits, Waits], "rest"),
            (Order::Run, GoOn, 1, [Succeeded, Failed, Waits], "tell 2"),
            (Order::Run, Undo, 1, [Succeeded, Failed, Waits], "take back"),
            (Order::Run, Undo, 2, [AtWork, Failed, Waits], "wait"),
            (Order::Run, Stop, 1, [Succeeded, Succeeded, Succeeded], "rest"),
            (Order::Undo, Stop, 1, [Succeeded, Succeeded, Untouched], "tell 1"),
            (Order::Undo, Stop, 1, [Succeeded, AtWork, Untouched], "wait"),
            (Order::Undo, Stop, 1, [Untouched, Untouched, Untouched], "rest"),
            (Order::Cancel, Stop, 1, [Succeeded, AtWork, Waits], "tell 1"),
        ] {
            let next = next(&set(order, policy, at_a_time), &members(&standings));
            assert_eq!(word(&next), wanted, "{order:?} {policy:?} {standings:?}");
        }
    }
}
