//! How long rollouts may take: as it was asked for, wherever an operation restarts something.

use meshery_plugin_api::message::expansion::Expand;
use meshery_plugin_api::message::plan::{Action, Plan, Step};
use serde_json::{Value, json};

use super::cluster::Cluster;

/// Whether it waits for a rollout, or proves something after one.
fn is_rollout(step: &Step) -> bool {
    match &step.action {
        // Before there is any.
        Action::Probe(_) if step.id == "pod-taken" => false,
        Action::Wait(_) | Action::Probe(_) => true,
        Action::Restart(restart) => restart.in_undo,
        _ => false,
    }
}

fn deadlines<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Vec<u32> {
    steps
        .into_iter()
        .filter(|step| is_rollout(step))
        .map(|step| step.deadline_s)
        .collect()
}

fn planned(operation: &str, mut given: Value, deadline: Option<u32>) -> Plan {
    if let Some(deadline) = deadline {
        given["deadline"] = deadline.into();
    }
    // An anchor that is valid, and an injector that has set the annotation.
    let cluster = Cluster::of("installed")
        .now("2026-06-01T00:00:00Z")
        .change("shop", |namespace| {
            namespace["metadata"]["annotations"]["linkerd.meshery.io/injection"] = "enabled".into();
        })
        .change("web", |workload| {
            workload["metadata"]["annotations"]["linkerd.meshery.io/injection"] = "enabled".into();
        });
    cluster.plan(operation, given).unwrap()
}

#[test]
fn every_rollout_has_the_deadline_that_was_asked_for() {
    for (operation, given) in [
        ("restart", json!({"namespace": "shop"})),
        ("restart", json!({"namespace": "linkerd"})),
        ("restart-all", json!({})),
        ("rotate-anchor", json!({})),
        ("replace-anchor", json!({"cut_off": true})),
        ("inject", json!({"namespace": "shop", "restart": true})),
        (
            "inject",
            json!({"namespace": "shop", "workload": "Deployment/web"}),
        ),
        ("uninject", json!({"namespace": "shop", "restart": true})),
        (
            "uninject",
            json!({"namespace": "shop", "workload": "Deployment/web"}),
        ),
    ] {
        for (asked, wanted) in [(None, 300), (Some(1800), 1800)] {
            let plan = planned(operation, given.clone(), asked);
            let found = deadlines(plan.steps.iter().chain(&plan.verify));
            assert!(!found.is_empty(), "{operation}");
            assert!(
                found.iter().all(|deadline| *deadline == wanted),
                "{operation} {given}: {found:?}"
            );
        }
    }
}

#[test]
fn the_rollouts_of_a_rotation_s_namespaces_have_it_too() {
    let plan = planned("rotate-anchor", json!({}), Some(1800));
    let cluster = Cluster::of("installed");
    let mut seen = 0;
    for step in &plan.steps {
        let Action::Expand(expand) = &step.action else {
            continue;
        };
        if expand.what == "nobody-behind" {
            continue;
        }
        let expansion = cluster.expand("rotate-anchor", expand, [].into()).unwrap();
        let found = deadlines(&expansion.steps);
        assert_eq!(found, [1800], "{}", step.id);
        seen += 1;
        // A plan from before the parameter was there.
        let mut before: Expand = expand.clone();
        before.with.remove("deadline");
        let expansion = cluster.expand("rotate-anchor", &before, [].into()).unwrap();
        assert_eq!(deadlines(&expansion.steps), [300], "{}", step.id);
    }
    assert_eq!(seen, 3);
}
