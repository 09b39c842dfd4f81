//! The step that waits until objects are ready, and says what it waits for.

use std::time::Duration;

use meshery_plugin_api::message::plan::Readiness;
use tokio::sync::watch;

use crate::cluster::wait::Waiting;
use crate::operation::journal::entry::{Entry, ObjectChange, Stored};
use crate::operation::run::{StepRun, halted};
use crate::problem::Problem;

/// How often listeners hear of it at most; the reasons in between are passed over.
const EVERY: Duration = Duration::from_millis(500);
/// How many entries one wait writes at most: the room that is set aside for a journal has an end.
pub(in crate::operation) const MOST_ENTRIES: usize = 500;

impl StepRun<'_> {
    pub async fn wait(&self, conditions: &[Readiness]) -> Result<(), Problem> {
        self.await_ready(conditions).await?;
        // They are ready all at once, so one write tells of them all.
        let ready = conditions.iter().map(|condition| {
            self.outcome_entry(
                condition.object.clone(),
                ObjectChange::Ready,
                String::new(),
                Stored::Nothing,
            )
        });
        self.run.journal.write(ready.collect()).await
    }

    /// Waits, and says what for.
    pub(super) async fn await_ready(&self, conditions: &[Readiness]) -> Result<(), Problem> {
        self.go_on()?;
        let (say, mut said) = watch::channel(None);
        let mut progress = move |waiting: Waiting| {
            say.send_replace(Some(waiting));
        };
        let ready = self
            .run
            .cluster
            .wait_ready(conditions, self.deadline, &mut progress);
        tokio::pin!(ready);
        let mut told = 0;
        loop {
            tokio::select! {
                biased;
                () = self.run.halt.cancelled() => return Err(halted()),
                result = &mut ready => return Ok(result?),
                Ok(()) = said.changed(), if told < MOST_ENTRIES => {
                    let waiting = said.borrow_and_update().clone();
                    if let Some(waiting) = waiting {
                        told += 1;
                        self.say(waiting).await?;
                        tokio::select! {
                            biased;
                            () = self.run.halt.cancelled() => return Err(halted()),
                            result = &mut ready => return Ok(result?),
                            () = tokio::time::sleep(EVERY) => {}
                        }
                    }
                }
            }
        }
    }

    async fn say(&self, waiting: Waiting) -> Result<(), Problem> {
        let entry = Entry::Waiting {
            step: self.step.id.clone(),
            object: waiting.object,
            reason: waiting.reason,
            done: waiting.done,
            total: waiting.total,
        };
        self.run.journal.note(entry).await
    }
}
