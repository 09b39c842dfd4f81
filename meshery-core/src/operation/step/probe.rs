//! The step that asks the server whether it would accept an object, and what it would make of it.

use std::collections::BTreeMap;
use std::time::Duration;

use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;
use std::time::Instant;

use crate::cluster::apply::{Applied, ApplyOptions};
use crate::operation::journal::entry::{Entry, ObjectChange, Stored};
use crate::operation::run::{StepRun, halted};
use crate::problem::{Problem, ProblemKind};

/// First pause between two questions, as webhooks need a moment after they are ready; doubled each time up to
/// [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Field manager of what is never stored.
const PROBER: &str = "meshery-probe";

impl StepRun<'_> {
    pub async fn probe(
        &self,
        reference: &ObjectRef,
        object: &Value,
        expect: &BTreeMap<String, String>,
    ) -> Result<(), Problem> {
        // Applied and not created, which is the same to webhooks: the server holds up whoever creates an object of a kind
        // that was defined within two seconds.
        let options = ApplyOptions {
            manager: PROBER.into(),
            force: true,
            dry_run: true,
            ..ApplyOptions::default()
        };
        let mut told = String::new();
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        for questions in 1_u32.. {
            if self.run.halt.is_cancelled() {
                return Err(halted());
            }
            let reason = match self.run.cluster.apply(object, &options).await {
                Ok(Applied { object: answer, .. }) => {
                    let missing: Vec<&str> = expect
                        .iter()
                        .filter(|(_, pointer)| answer.pointer(pointer).is_none_or(Value::is_null))
                        .map(|(what, _)| what.as_str())
                        .collect();
                    if missing.is_empty() {
                        break;
                    }
                    Problem::new(
                        ProblemKind::Timeout,
                        "probe-failed",
                        format!(
                            "the server would accept {reference}, but without {}",
                            missing.join(", ")
                        ),
                    )
                    .cause("the webhook that should change it does not, or does not see its namespace")
                }
                Err(error) => match error.remedy_when_shown() {
                    Some(remedy) => Problem::from(error).remedy(remedy),
                    None => error.into(),
                },
            };
            let now = Instant::now();
            let left = self
                .deadline
                .saturating_duration_since(now)
                .saturating_sub(FIRST_PAUSE);
            if left.is_zero() {
                return Err(asked_in_vain(reason, questions, now - begun));
            }
            if told != reason.message {
                told.clone_from(&reason.message);
                let waiting = Entry::Waiting {
                    step: self.step.id.clone(),
                    object: reference.clone(),
                    reason: reason.message,
                    done: 0,
                    total: 1,
                };
                self.run.journal.note(waiting).await?;
            }
            tokio::select! {
                () = self.run.halt.cancelled() => return Err(halted()),
                // The last question is shortly before the deadline, however long the pause would be.
                () = tokio::time::sleep(pause.min(left)) => {}
            }
            pause = next_pause(pause);
        }
        self.outcome(
            reference.clone(),
            ObjectChange::Accepted,
            String::new(),
            Stored::Nothing,
        )
        .await
    }
}

fn next_pause(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

/// The last answer, with how long another one was asked for.
fn asked_in_vain(mut reason: Problem, questions: u32, took: Duration) -> Problem {
    if questions > 1 {
        let tried = format!("; it was asked {questions} times in {} s", took.as_secs());
        reason.message.push_str(&tried);
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses = std::iter::successors(Some(FIRST_PAUSE), |pause| Some(next_pause(*pause)));
        let millis: Vec<u128> = pauses.take(7).map(|pause| pause.as_millis()).collect();
        assert_eq!(millis, [250, 500, 1000, 2000, 4000, 5000, 5000]);
    }

    #[test]
    fn the_error_says_how_long_it_was_tried() {
        let refused = || Problem::new(ProblemKind::Forbidden, "webhook-denied", "refused");
        assert_eq!(asked_in_vain(refused(), 1, Duration::ZERO).message, "refused");
        assert_eq!(
            asked_in_vain(refused(), 9, Duration::from_secs(30)).message,
            "refused; it was asked 9 times in 30 s"
        );
    }
}
