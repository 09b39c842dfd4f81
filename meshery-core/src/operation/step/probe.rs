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

/// Between two questions: webhooks need a moment after they are ready.
const PAUSE: Duration = Duration::from_millis(250);
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
        loop {
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
            if Instant::now() + PAUSE >= self.deadline {
                return Err(reason);
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
                () = tokio::time::sleep(PAUSE) => {}
            }
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
