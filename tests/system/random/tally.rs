//! What has happened over the rounds: a test of chance says how much of it there was.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::ensure;

use super::MANY;
use super::turn::Order;

/// What has to have struck in a long run.
const KINDS: [&str; 6] = ["kill", "kill and others", "fault", "others", "freeze", "provider"];

#[derive(Default)]
pub struct Tally {
    /// The mishaps that have struck, by the order that they befell.
    mishaps: BTreeMap<(Order, &'static str), u64>,
    /// What the plans had that succeeded, and those that were taken back.
    situations: BTreeMap<(Order, &'static str), u64>,
    ends: BTreeMap<String, u64>,
    /// How many operations were sets of one.
    pub sets: u64,
    /// How often somebody had put something into what an undo was to remove.
    pub guests: u64,
}

impl Tally {
    pub fn struck(&mut self, order: Order, kind: &'static str) {
        *self.mishaps.entry((order, kind)).or_default() += 1;
    }

    /// That an operation with these situations was carried out, or taken back.
    pub fn came_about<'a>(&mut self, order: Order, situations: impl IntoIterator<Item = &'a &'static str>) {
        for situation in situations {
            *self.situations.entry((order, situation)).or_default() += 1;
        }
    }

    pub fn ended(&mut self, state: &str) {
        *self.ends.entry(state.to_owned()).or_default() += 1;
    }

    fn of(&self, order: Order) -> u64 {
        let all = self.mishaps.iter();
        all.filter(|((of, _), _)| *of == order)
            .map(|(_, count)| count)
            .sum()
    }

    /// That enough has happened, and of each kind when there were enough rounds for all of them.
    pub fn is_enough(&self, rounds: u64, situations: &[&'static str]) -> anyhow::Result<()> {
        for (order, at_least) in [(Order::Run, rounds / 4), (Order::Undo, rounds / 20)] {
            let happened = self.of(order);
            ensure!(
                happened >= at_least,
                "only {happened} mishaps have struck a {order} in {rounds} rounds"
            );
        }
        if rounds < MANY {
            return Ok(());
        }
        for order in [Order::Run, Order::Undo] {
            for kind in KINDS {
                let struck = self.mishaps.contains_key(&(order, kind));
                ensure!(struck, "no {kind} has ever struck a {order}");
            }
            for situation in situations {
                let came = self.situations.contains_key(&(order, situation));
                ensure!(came, "no {order} of {situation} has come to its end");
            }
        }
        ensure!(
            self.mishaps.contains_key(&(Order::Run, "cancel")),
            "nothing was ever cancelled"
        );
        ensure!(self.sets > 0, "no operation was one of a set");
        ensure!(self.guests > 0, "nobody has ever put anything in between");
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for order in [Order::Run, Order::Undo] {
            let of = |counts: &BTreeMap<(Order, &'static str), u64>| -> BTreeMap<&'static str, u64> {
                let mine = counts.iter().filter(|((of, _), _)| *of == order);
                mine.map(|((_, kind), count)| (*kind, *count)).collect()
            };
            let (mishaps, situations) = (of(&self.mishaps), of(&self.situations));
            writeln!(f, "{order}: mishaps {mishaps:?}; done {situations:?}")?;
        }
        write!(
            f,
            "ends {:?}; {} as sets; {} undos met what somebody has put in between",
            self.ends, self.sets, self.guests
        )
    }
}
