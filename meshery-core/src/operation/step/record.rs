//! The step that keeps Helm's own records: before the first object of a release a record says that somebody is at
//! work on it, after the last one that it is deployed. To Helm, it is as if Helm had done it.

use serde_json::Value;

use crate::cluster::ClusterError;
use crate::cluster::apply::{ApplyOptions, Guard};
use crate::cluster::release::{MANAGER, Record, RecordFault, Standing, Status, secret_of, status_of};
use crate::operation::clock;
use crate::operation::journal::entry::{Intent, ObjectChange, Reversal, Stored};
use crate::operation::journal::history::ObjectHistory;
use crate::operation::object::mark::{mark, operation_of, text};
use crate::operation::plan::stored::{NewSecret, ReleaseName, StatusChange, load_sealed, unreadable};
use crate::operation::release::hook_runs::hook_runs;
use crate::operation::run::StepRun;
use crate::operation::undo::{Taken, Undo};
use crate::problem::{Problem, ProblemKind};

impl StepRun<'_> {
    pub async fn record(&self, makes: Option<&NewSecret>, changes: &[StatusChange]) -> Result<(), Problem> {
        if let Some(new) = makes {
            self.make_record(new).await?;
        }
        for change in changes {
            self.change_status(change).await?;
        }
        Ok(())
    }

    async fn make_record(&self, new: &NewSecret) -> Result<(), Problem> {
        self.go_on()?;
        let history = self.history.and_then(|history| history.object(&new.secret));
        if history.is_some_and(|history| history.outcome.is_some()) {
            return Ok(());
        }
        if history.is_none() {
            let intent = Intent {
                object: new.secret.clone(),
                before: None,
            };
            self.write_intents(vec![intent]).await?;
        }
        let secret = match self.run.cluster.get_if_served(&new.secret).await? {
            Some(secret) => secret,
            None => match self.send_record(new).await {
                Err(ClusterError::ObjectChanged { .. }) => self
                    .run
                    .cluster
                    .get_if_served(&new.secret)
                    .await?
                    .unwrap_or_default(),
                result => result?,
            },
        };
        if operation_of(&secret) != Some(self.run.id()) {
            return Err(busy(new));
        }
        let uid = text(&secret, "/metadata/uid").to_owned();
        self.outcome(new.secret.clone(), ObjectChange::Created, uid, Stored::Nothing)
            .await
    }

    async fn send_record(&self, new: &NewSecret) -> Result<Value, ClusterError> {
        let run = self.run;
        let unreadable = |message: String| ClusterError::Server {
            what: new.secret.to_string(),
            status: 0,
            message,
        };
        let packed = load_sealed(&run.store, &run.key, run.id(), &new.content)
            .await
            .map_err(|problem| unreadable(problem.to_string()))?;
        let wanted = new.clone();
        let made = tokio::task::spawn_blocking(move || made(&wanted, &packed))
            .await
            .unwrap_or_else(|error| Err(RecordFault(error.to_string())));
        let mut secret = made.map_err(|fault| unreadable(fault.0))?;
        mark(&mut secret, run.id());
        let options = ApplyOptions {
            manager: MANAGER.into(),
            guard: Some(Guard::absent()),
            ..ApplyOptions::default()
        };
        run.cluster
            .apply(&secret, &options)
            .await
            .map(|applied| applied.object)
    }

    async fn change_status(&self, change: &StatusChange) -> Result<(), Problem> {
        self.go_on()?;
        let cluster = &self.run.cluster;
        let history = self.history.and_then(|history| history.object(&change.secret));
        if history.is_some_and(|history| history.outcome.is_some()) {
            return Ok(());
        }
        let Some(read) = cluster.read_record(&change.secret).await? else {
            // Helm drops the records of old revisions; whoever did so here has done nothing to the release.
            return self
                .outcome(
                    change.secret.clone(),
                    ObjectChange::Absent,
                    String::new(),
                    Stored::Nothing,
                )
                .await;
        };
        if history.is_none() {
            // How it stands is all that changes, so it is all that has to be known to take it back.
            let before = serde_json::to_value(read.standing()).map_err(|error| unreadable(&error))?;
            let intent = Intent {
                object: change.secret.clone(),
                before: Some(Stored::Plain(before)),
            };
            self.write_intents(vec![intent]).await?;
        }
        let run = self.run;
        let runs = hook_runs(&run.store, run.id(), &run.plan, &change.hooks).await?;
        let standing = (Status::of(&change.status), change.description.as_str());
        let uid = cluster
            .set_release_status(&change.secret, Some(read), standing, &runs)
            .await?
            .unwrap_or_default();
        self.outcome(change.secret.clone(), ObjectChange::Updated, uid, Stored::Nothing)
            .await
    }
}

impl Undo {
    /// Gives a record the status back that it had.
    pub(in crate::operation) async fn recorded(
        &self,
        object: &ObjectHistory,
        changes: &[StatusChange],
    ) -> Result<Taken, Problem> {
        let secret = &object.object;
        let unchanged = Ok(Taken::Back(Reversal::Unchanged, None));
        let (Some(Stored::Plain(before)), Some(change)) = (
            &object.before,
            changes.iter().find(|change| change.secret == *secret),
        ) else {
            return unchanged;
        };
        let Some(now) = self.cluster.get_if_served(secret).await? else {
            return unchanged;
        };
        let uid = object.outcome.as_ref().map_or("", |outcome| &outcome.uid);
        // One that the run has deleted was made again by this undo a moment ago.
        let remade = self.history.deleted(secret);
        if !remade && !uid.is_empty() && uid != text(&now, "/metadata/uid") {
            let why = "what is there now was made by somebody else";
            return Ok(Taken::Back(Reversal::Unchanged, Some(why.into())));
        }
        let was: Standing = serde_json::from_value(before.clone()).map_err(|error| unreadable(&error))?;
        let is = status_of(&now);
        if is.as_str() == was.status {
            return unchanged;
        }
        if is != Status::of(&change.status) {
            return Ok(Taken::Left(format!(
                "somebody has changed its status since; it says {is}"
            )));
        }
        self.cluster.restore_standing(secret, &was).await?;
        Ok(Taken::Back(Reversal::Restored, None))
    }
}

fn made(new: &NewSecret, packed: &[u8]) -> Result<Value, RecordFault> {
    let status = Status::of(&new.status);
    let record = Record::from_packed(packed)?.standing(&Standing {
        status: new.status.clone(),
        description: new.description.clone(),
        last_deployed: clock::now(),
        modified_at: None,
        last_runs: Vec::new(),
    });
    let of = (new.release.name.as_str(), new.revision);
    secret_of(&new.secret, of, &record, status, &new.labels)
}

fn busy(new: &NewSecret) -> Problem {
    let ReleaseName { name, namespace } = &new.release;
    Problem::new(
        ProblemKind::Conflict,
        "release-changed",
        format!(
            "somebody else has written revision {} of release {name} in namespace {namespace} meanwhile",
            new.revision
        ),
    )
    .cause("helm, or another host, is at work on the same release")
    .remedy("look at `helm history`, and plan again")
}
