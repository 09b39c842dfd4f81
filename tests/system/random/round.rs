//! One round: a plan, what befalls it, and what has to hold when it has come to its end and when it was taken back.

use std::fmt;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::rival::Coming;
use super::script::releases::Standing;
use super::script::{End, Script, around};
use super::turn::{Fate, Order, Outcome};
use super::world::World;
use super::{Ground, Planned};
use crate::kills::Seeded;
use crate::namespace::succeeded;

/// What a round is to be.
pub struct Wish {
    script: Script,
    on_interruption: &'static str,
    as_set: bool,
    run: Fate,
    /// What befalls the undo, if it is taken back when it has succeeded.
    undo: Option<Fate>,
    /// Whether somebody puts something into what it has made, before it is taken back.
    guest: bool,
}

impl Wish {
    /// All of it is drawn before anything happens, so that it is a matter of the seed alone.
    pub fn make(seeded: &mut Seeded, round: u64, standing: Standing) -> anyhow::Result<Self> {
        let gated = seeded.below(6) == 0;
        let script = Script::make(seeded, round, standing, gated);
        let writes = script.writes();
        let mut run = Fate::choose(seeded, Order::Run, writes)?;
        if gated {
            run.coming = Coming::AtGate;
        }
        let on_interruption = ["resume", "undo"][usize::try_from(seeded.below(2))?];
        let as_set = seeded.below(4) == 0;
        let undo = Fate::choose(seeded, Order::Undo, writes)?;
        Ok(Self {
            script,
            on_interruption,
            as_set,
            run,
            undo: (seeded.below(2) == 0).then_some(undo),
            guest: seeded.below(2) == 0,
        })
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = serde_json::to_string_pretty(&self.script.steps).map_err(|_| fmt::Error)?;
        write!(
            f,
            "{:?}, {}, as a set: {}, taken back: {:?}, a guest: {}:\n{steps}",
            self.run, self.on_interruption, self.as_set, self.undo, self.guest
        )
    }
}

/// What somebody has put into what the operation has made, or taken back from it.
struct Guest {
    object: Value,
    /// Its name.
    name: String,
    /// What it is in, or of.
    holder: String,
    /// Whether the undo has to leave that, and to tell so.
    stays: bool,
}

impl Ground {
    pub fn round(&mut self, round: u64, wish: &Wish) -> anyhow::Result<()> {
        let script = &wish.script;
        for (_, object) in script.of_somebody("theirs") {
            self.others(&object)?;
        }
        let before = self.world()?;
        let planned = self.plan(script, wish.on_interruption, wish.as_set)?;
        let outcome = self.turn(&planned, Order::Run, &wish.run, &format!("r{round}-run"))?;
        self.judge(&before, wish, &outcome)
            .with_context(|| format!("{}\n{}", outcome.record, self.host.story(&planned.id)))?;
        let mut end = outcome.record["state"].clone();
        self.agrees(&planned, &end, false)?;
        if end == "succeeded" {
            self.tally.came_about(Order::Run, &script.situations);
            if let Some(fate) = &wish.undo {
                end = self.take_back(round, wish, fate, &before, &planned, &outcome)?;
                self.agrees(&planned, &end, true)?;
            }
        }
        self.tally.sets += u64::from(wish.as_set);
        self.tally.ended(end.as_str().unwrap_or_default());
        self.ended.push((planned.id, end));
        Ok(())
    }

    /// That what there is fits what an operation says of itself.
    fn judge(&self, before: &World, wish: &Wish, outcome: &Outcome) -> anyhow::Result<()> {
        let script = &wish.script;
        let Outcome {
            record,
            mishap,
            theirs,
        } = outcome;
        let disturbed = mishap.disturbed();
        let now = self.world()?;
        before.same_others(&now)?;
        now.has_kept(theirs.as_ref())?;
        match record["state"].as_str().unwrap_or_default() {
            "succeeded" => {
                ensure!(!script.fails, "one of its steps cannot succeed");
                let id = record["id"].as_str().context("an id")?;
                now.is_end_of(script, &self.events(id)?, &disturbed)?;
                now.release_is(&script.after, before)?;
            }
            "undo-incomplete" => {
                ensure!(!disturbed.is_empty(), "nobody has disturbed it");
                now.is_as_before(before, script, &disturbed)?;
            }
            state => {
                let may_end_so = script.fails || mishap.may_fail(wish.on_interruption);
                ensure!(may_end_so, "it is {state} for no reason");
                now.is_as_before(before, script, &disturbed)?;
            }
        }
        now.release_is_whole()
    }

    /// Takes back what has succeeded; the state that it comes to.
    fn take_back(
        &mut self,
        round: u64,
        wish: &Wish,
        fate: &Fate,
        before: &World,
        planned: &Planned,
        run: &Outcome,
    ) -> anyhow::Result<Value> {
        let script = &wish.script;
        let guest = if wish.guest {
            self.guest(before, script)?
        } else {
            None
        };
        let with_guest = self.world()?;
        let undo = self.turn(planned, Order::Undo, fate, &format!("r{round}-undo"))?;
        let mut disturbed = run.mishap.disturbed();
        disturbed.extend(undo.mishap.disturbed());
        let state = undo.record["state"].clone();
        let judged = (|| {
            if let Some(guest) = &guest {
                disturbed.extend([guest.holder.clone(), guest.name.clone()]);
            }
            ensure!(
                state == "undone" || !disturbed.is_empty(),
                "it is {state} for no reason"
            );
            let now = self.world()?;
            now.is_as_before(before, script, &disturbed)?;
            with_guest.same_others(&now)?;
            for theirs in [&run.theirs, &undo.theirs] {
                now.has_kept(theirs.as_ref())?;
            }
            now.release_is_whole()?;
            if let Some(guest) = &guest {
                ensure!(now.has(&guest.holder), "{} is gone", guest.holder);
                now.has_value_of(&guest.name, &guest.object)?;
                let left = undo.record["left"].as_array().into_iter().flatten();
                let told = left.into_iter().any(|left| left["ref"] == guest.holder.as_str());
                ensure!(
                    told == guest.stays,
                    "that {} stays: {}, and it is {state}",
                    guest.holder,
                    if told { "told" } else { "not told" }
                );
            }
            Ok(())
        })();
        judged.with_context(|| {
            format!(
                "after the undo\n{:#}\n{}",
                undo.record,
                self.host.story(&planned.id)
            )
        })?;
        if let Some(guest) = guest {
            self.tally.guests += 1;
            self.leaves(&guest)?;
        }
        if state == "undone" {
            self.tally.came_about(Order::Undo, &script.situations);
        }
        Ok(state)
    }

    /// Somebody puts something of theirs into the namespace that the operation has made, or makes a custom resource of its
    /// definition, or takes back what was taken by force.
    fn guest(&self, before: &World, script: &Script) -> anyhow::Result<Option<Guest>> {
        let now = self.world()?;
        let guests = [
            (around::inner(), around::GUEST_INSIDE, around::guest_inside()),
            (around::definition(), around::GUEST_THING, around::guest_thing()),
        ];
        let guests = guests.into_iter().map(|(holder, name, object)| Guest {
            stays: !before.has(&holder),
            object,
            name: name.to_owned(),
            holder,
        });
        let taken_back = script
            .of_somebody("taken back")
            .into_iter()
            .map(|(name, object)| Guest {
                object,
                name: name.clone(),
                holder: name,
                stays: true,
            });
        let made = |guest: &Guest| {
            script
                .ends
                .get(&guest.holder)
                .is_some_and(|end| *end != End::Gone)
        };
        let guest = guests
            .chain(taken_back)
            .find(|guest| made(guest) && now.has(&guest.holder));
        if let Some(guest) = &guest {
            self.others(&guest.object)?;
        }
        Ok(guest)
    }

    /// Somebody takes it away.
    fn leaves(&self, guest: &Guest) -> anyhow::Result<()> {
        let file = self.cluster.dir().join("guest.json");
        std::fs::write(&file, guest.object.to_string())?;
        succeeded(self.cluster.kubectl(&["delete", "-f", &file.to_string_lossy()])).map(drop)
    }

    fn events(&self, id: &str) -> anyhow::Result<Vec<Value>> {
        let record = self
            .host
            .get(&format!("/api/v1/operations/{id}/record"))?
            .expect(200)?;
        Ok(record["events"].as_array().cloned().unwrap_or_default())
    }
}
