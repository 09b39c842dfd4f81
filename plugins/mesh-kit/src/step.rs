//! Steps in few words, so that a plan reads as what it does.

use meshery_plugin_api::message::SCHEMA;
use meshery_plugin_api::message::expansion::{Expand, Output};
use meshery_plugin_api::message::material::{Material, MaterialItem};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{
    Action, Apply, ChartRef, Delete, Gate, Plan, Probe, Readiness, Release, RemoveRelease, Restart, Rule,
    Step, Target, Wait,
};
use serde_json::{Map, Value};

/// As long as the id of a step may be, with room for those of what it is expanded to.
const LONGEST_ID: usize = 50;

/// Any step.
pub fn step(id: &str, title: impl Into<String>, action: Action) -> Step {
    Step::new(id, title, action)
}

/// Applies objects.
pub fn apply(id: &str, title: impl Into<String>, objects: Vec<Value>) -> Step {
    let apply = Apply {
        objects,
        ..Apply::default()
    };
    step(id, title, Action::Apply(apply))
}

/// Applies objects as a set, and deletes what of it is not among them if it is to be pruned.
pub fn apply_set(
    id: &str,
    title: impl Into<String>,
    objects: Vec<Value>,
    (set, prune): (&str, bool),
) -> Step {
    let apply = Apply {
        objects,
        set: set.into(),
        prune,
        ..Apply::default()
    };
    step(id, title, Action::Apply(apply))
}

/// Deletes objects.
pub fn delete(id: &str, title: impl Into<String>, targets: Vec<Target>) -> Step {
    let delete = Delete {
        targets,
        ..Delete::default()
    };
    step(id, title, Action::Delete(delete))
}

/// Deletes everything of a set.
pub fn delete_set(id: &str, title: impl Into<String>, set: &str) -> Step {
    let delete = Delete {
        set: set.into(),
        ..Delete::default()
    };
    step(id, title, Action::Delete(delete))
}

/// Applies a chart as a Helm release. Values that are no object count as none.
pub fn release(
    id: &str,
    title: impl Into<String>,
    (namespace, name): (&str, &str),
    chart: ChartRef,
    values: Value,
) -> Step {
    let values = match values {
        Value::Object(values) => values,
        _ => Map::new(),
    };
    let release = Release {
        name: name.into(),
        namespace: namespace.into(),
        chart,
        values,
        ..Release::default()
    };
    step(id, title, Action::Release(release))
}

/// The release step, over the values that the release has now. Other steps have none.
pub fn keeping_values(mut step: Step) -> Step {
    if let Action::Release(release) = &mut step.action {
        release.keep_values = true;
    }
    step
}

/// The release step, over the values of another release of its namespace while it has none itself. Other steps have none.
pub fn with_values_of(mut step: Step, other: &str) -> Step {
    if let Action::Release(release) = &mut step.action {
        release.values_of = other.into();
    }
    step
}

/// Takes a Helm release away.
pub fn remove_release(id: &str, title: impl Into<String>, (namespace, name): (&str, &str)) -> Step {
    let release = RemoveRelease {
        name: name.into(),
        namespace: namespace.into(),
    };
    step(id, title, Action::RemoveRelease(release))
}

/// Waits, for at most so many seconds, until all of these hold.
pub fn wait(id: &str, title: impl Into<String>, deadline_s: u32, conditions: Vec<Readiness>) -> Step {
    Step {
        deadline_s,
        ..step(
            id,
            title,
            Action::Wait(Wait {
                conditions,
                ..Wait::default()
            }),
        )
    }
}

/// Waits, for at most so many seconds, until what a release has gone back to is rolled out, and these hold of it.
pub fn wait_for_revision(
    id: &str,
    title: impl Into<String>,
    deadline_s: u32,
    (rollback, conditions): (&str, Vec<Readiness>),
) -> Step {
    let wait = Wait {
        conditions,
        of_revision: rollback.into(),
    };
    Step {
        deadline_s,
        ..step(id, title, Action::Wait(wait))
    }
}

/// Asks the server whether it would take the object.
pub fn probe(id: &str, title: impl Into<String>, object: Value) -> Step {
    let probe = Probe {
        object,
        ..Probe::default()
    };
    step(id, title, Action::Probe(probe))
}

/// Restarts workloads.
pub fn restart(id: &str, title: impl Into<String>, workloads: Vec<ObjectRef>) -> Step {
    let restart = Restart {
        workloads,
        in_undo: false,
    };
    step(id, title, Action::Restart(restart))
}

/// Restarts workloads when what follows this step has been taken back, and not before.
pub fn restart_in_undo(
    id: &str,
    title: impl Into<String>,
    deadline_s: u32,
    workloads: Vec<ObjectRef>,
) -> Step {
    let restart = Restart {
        workloads,
        in_undo: true,
    };
    Step {
        deadline_s,
        ..step(id, title, Action::Restart(restart))
    }
}

/// Pauses the operation, for at most so many seconds, until the gate opens.
pub fn gate(id: &str, title: impl Into<String>, deadline_s: u32, gate: Gate) -> Step {
    Step {
        deadline_s,
        ..step(id, title, Action::Gate(gate))
    }
}

/// Pauses the operation until somebody has said yes to what comes next.
pub fn ask(id: &str, title: impl Into<String>, reason: String) -> Step {
    let approval = Gate {
        reason,
        approval: true,
        ..Gate::default()
    };
    gate(id, title, 0, approval)
}

/// Makes keys, certificates and random values.
pub fn material(id: &str, title: impl Into<String>, items: Vec<MaterialItem>) -> Step {
    step(id, title, Action::Material(Material { items }))
}

/// Asks the adapter for steps when the operation has come here.
pub fn expand(id: &str, title: impl Into<String>, expand: Expand) -> Step {
    step(id, title, Action::Expand(expand))
}

/// The step, without which those before it are not taken back.
#[must_use]
pub fn holding_back(step: Step) -> Step {
    Step {
        holds_back: true,
        ..step
    }
}

/// The step, leaving something for later ones.
pub fn leaving(mut step: Step, name: &str, object: ObjectRef, path: &str) -> Step {
    let path = path.to_owned();
    step.outputs.insert(name.to_owned(), Output { object, path });
    step
}

/// The apply step, with outputs of steps before it in its objects. Other steps use none.
pub fn using(mut step: Step, outputs: &[&str]) -> Step {
    if let Action::Apply(apply) = &mut step.action {
        apply.uses = outputs.iter().map(|&output| output.to_owned()).collect();
    }
    step
}

/// The step, started after others have succeeded.
pub fn after(mut step: Step, others: &[&str]) -> Step {
    step.after = others.iter().map(|&id| id.to_owned()).collect();
    step
}

/// The apply step, with a field manager of its own. Other steps have none.
pub fn managed_by(mut step: Step, manager: &str) -> Step {
    if let Action::Apply(apply) = &mut step.action {
        apply.manager = manager.into();
    }
    step
}

/// The id of a step about something that has a name, which may be as long as an id by itself: then its number among its
/// likes tells it from others.
pub fn id_for(word: &str, name: &str, number: usize) -> String {
    let id = format!("{word}-{name}");
    if id.len() <= LONGEST_ID {
        return id;
    }
    let number = number.to_string();
    let room = LONGEST_ID.saturating_sub(word.len() + number.len() + 2);
    let start: String = name.chars().take(room).collect();
    format!("{word}-{start}-{number}")
}

/// Makes each step start after the one before it.
pub fn in_a_row(mut steps: Vec<Step>) -> Vec<Step> {
    for at in 1..steps.len() {
        steps[at].after = vec![steps[at - 1].id.clone()];
    }
    steps
}

/// A plan of the steps, one after the other.
pub fn plan(summary: String, steps: Vec<Step>, verify: Vec<Step>, notes: Vec<String>) -> Plan {
    Plan {
        schema: SCHEMA.into(),
        summary,
        steps: in_a_row(steps),
        notes,
        verify,
    }
}

/// A condition to wait for.
pub fn holds(rule: Rule, object: ObjectRef) -> Readiness {
    Readiness { object, rule }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_long_names_stay_apart_and_short_enough() {
        assert_eq!(id_for("gate", "shop", 0), "gate-shop");
        let long = "a".repeat(63);
        let (first, second) = (id_for("gate", &long, 1), id_for("gate", &long, 12));
        assert!(first.len() <= LONGEST_ID && second.len() <= LONGEST_ID);
        assert_ne!(first, second);
        assert!(
            second.starts_with("gate-aaa") && second.ends_with("a-12"),
            "{second}"
        );
    }
}
