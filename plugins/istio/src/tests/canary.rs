//! The canary upgrade: its order, what stays, and what ends it before anybody is cut off.

use std::collections::BTreeMap;

use meshery_mesh_kit::review::{assert_snapshot, plan_text};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::expansion::Expansion;
use meshery_plugin_api::message::finding::Severity;
use meshery_plugin_api::message::plan::{Action, Plan};
use serde_json::{Value, json};

use super::cluster::{Cluster, folder};
use crate::canary::CANARY;

/// The namespace shop, labelled by us.
fn ours() -> Cluster {
    Cluster::of("installed").change("shop", |namespace| {
        namespace["metadata"]["annotations"] = json!({"istio.meshery.io/injection": "enabled"});
    })
}

fn planned(cluster: &Cluster, given: Value) -> Plan {
    cluster.plan(CANARY, given).unwrap()
}

fn to(version: &str) -> Value {
    json!({"version": version})
}

fn expanded(cluster: &Cluster, step: &str) -> Result<Expansion, PluginError> {
    let plan = planned(&ours(), to("1.30.3"));
    let step = plan.steps.iter().find(|found| found.id == step).unwrap();
    let Action::Expand(expand) = &step.action else {
        panic!("{step:?}")
    };
    cluster.expand(CANARY, expand, BTreeMap::new())
}

#[test]
fn the_old_control_plane_goes_last_and_each_namespace_after_a_yes() {
    let plan = planned(&ours(), to("1.30.3"));
    assert_snapshot(&folder("snapshots").join("upgrade-canary.txt"), &plan_text(&plan));
    let place = |id: &str| plan.steps.iter().position(|step| step.id == id).unwrap();
    let order = [
        "base",
        "istiod",
        "istiod-ready",
        "injection-beside",
        "gate-shop",
        "back-shop",
        "label-shop",
        "move-shop",
        "moved-shop",
        "gateways-gate",
        "gateway",
        "gateway-ready",
        "asked",
        "unused",
        "old-again",
        "old",
        "default",
    ]
    .map(place);
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn the_plugin_on_the_nodes_is_awaited_before_anybody_goes_over() {
    let plan = planned(&Cluster::of("with-cni"), to("1.30.3"));
    assert_snapshot(
        &folder("snapshots").join("upgrade-canary-with-cni.txt"),
        &plan_text(&plan),
    );
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    let cni = ids.iter().position(|id| *id == "cni").unwrap();
    assert_eq!(ids[cni + 1], "nodes-ready");
}

#[test]
fn the_new_one_begins_with_the_values_of_the_old_one_and_without_its_other_names() {
    let plan = planned(&ours(), to("1.30.3"));
    let istiod = plan.steps.iter().find(|step| step.id == "istiod").unwrap();
    let Action::Release(release) = &istiod.action else {
        panic!("{istiod:?}")
    };
    assert_eq!(
        (release.name.as_str(), release.values_of.as_str()),
        ("istiod-1-30-3", "istiod")
    );
    assert_eq!(
        Value::Object(release.values.clone()),
        json!({"revision": "1-30-3", "revisionTags": []})
    );
}

#[test]
fn the_label_is_changed_in_the_name_of_each_that_has_set_it() {
    let wanted = Cluster::of("installed").change("shop", |shop| {
        for mark in [
            "bookinfo.istio.meshery.io/injection",
            "httpbin.istio.meshery.io/injection",
            "store.application.istio.meshery.io/injection",
        ] {
            shop["metadata"]["annotations"][mark] = "enabled".into();
        }
    });
    let plan = planned(&wanted, to("1.30.3"));
    let managers: Vec<(&str, &str)> = plan
        .steps
        .iter()
        .filter(|step| step.id.ends_with("-shop"))
        .filter_map(|step| match &step.action {
            Action::Apply(apply) => Some((step.id.as_str(), apply.manager.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        managers,
        [
            ("label-shop", "meshery-injection-bookinfo"),
            ("label2-shop", "meshery-injection-httpbin"),
            ("label3-shop", "meshery-istio-injection-store"),
        ]
    );
}

#[test]
fn a_namespace_that_somebody_else_has_labelled_stays_unless_its_label_is_to_be_taken_over() {
    let others = Cluster::of("installed");
    let plan = planned(&others, to("1.30.3"));
    let ids = |plan: &Plan| -> Vec<String> { plan.steps.iter().map(|step| step.id.clone()).collect() };
    assert!(
        !ids(&plan).iter().any(|id| id == "old" || id.ends_with("shop")),
        "{:?}",
        ids(&plan)
    );
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("shop") && note.contains("replace-labels")),
        "{:?}",
        plan.notes
    );
    let found = others.check(CANARY, to("1.30.3"));
    let found = found.iter().find(|found| found.code == "istio-labels-of-others");
    assert_eq!(found.map(|found| found.severity), Some(Severity::Warning));

    let plan = planned(&others, json!({"version": "1.30.3", "replace-labels": true}));
    let ids = ids(&plan);
    let at = |id: &str| ids.iter().position(|found| found == id).unwrap();
    assert!(
        at("take-label-shop") < at("label-shop") && at("label-shop") < at("old"),
        "{ids:?}"
    );
}

#[test]
fn who_still_has_a_proxy_of_the_old_one_is_named_and_then_ends_it() {
    let asked = expanded(&ours(), "asked").unwrap();
    let [step] = &asked.steps[..] else {
        panic!("{asked:?}")
    };
    let Action::Gate(gate) = &step.action else {
        panic!("{step:?}")
    };
    assert!(
        gate.approval && gate.reason.contains("shop/web-1"),
        "{}",
        gate.reason
    );
    let error = expanded(&ours(), "unused").unwrap_err();
    assert_eq!(error.code, "istio-revision-in-use");
    let error = expanded(&ours(), "moved-shop").unwrap_err();
    assert_eq!(error.code, "istio-namespace-not-moved");

    let goes_over = |pod: &mut Value| {
        pod["metadata"]["annotations"]["sidecar.istio.io/status"] = r#"{"revision":"1-30-3"}"#.into();
    };
    let moved = ours().change("web-1", goes_over).change("cart-1", goes_over);
    let gone = |step: &str| expanded(&moved, step);
    assert!(gone("moved-shop").unwrap().steps.is_empty());
    let left = gone("unused");
    assert!(
        left.as_ref().is_ok_and(|expansion| expansion.steps.is_empty()),
        "{left:?}"
    );
}

/// With another name of the default revision, of istiod's release or of nobody's.
fn tagged(of_release: bool) -> Cluster {
    ours().change("istio-validator-istio-system", |object| {
        object["kind"] = "MutatingWebhookConfiguration".into();
        object["metadata"]["labels"]["istio.io/tag"] = "prod".into();
        if !of_release {
            object["metadata"]["annotations"] = json!({});
        }
    })
}

#[test]
fn a_tag_of_others_is_named_before_and_a_tag_is_as_good_as_a_revision() {
    let codes = |cluster: &Cluster| -> Vec<String> {
        let found = cluster.check(CANARY, to("1.30.3"));
        found.into_iter().map(|finding| finding.code).collect()
    };
    let code = "istio-tags-of-others".to_owned();
    assert!(codes(&tagged(false)).contains(&code));
    assert!(!codes(&tagged(true)).contains(&code));
    let unknown = |revision: &str| {
        let given = json!({"namespace": "shop", "revision": revision});
        let found = tagged(true).check("inject", given);
        found
            .iter()
            .any(|finding| finding.code == "istio-revision-unknown")
    };
    assert!(!unknown("prod") && unknown("stage"));
}

#[test]
fn the_new_one_gets_the_names_that_the_release_of_the_old_one_has() {
    let plan = planned(&tagged(true), to("1.30.3"));
    let step = plan.steps.iter().find(|step| step.id == "default").unwrap();
    let Action::Expand(expand) = &step.action else {
        panic!("{step:?}")
    };
    assert_eq!(expand.with["tags"], json!(["default", "prod"]));
    let steps = ours().expand(CANARY, expand, BTreeMap::new()).unwrap().steps;
    let tags: Vec<&Value> = steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Release(release) => release.values.get("revisionTags"),
            _ => None,
        })
        .collect();
    assert_eq!(tags, [&json!(["default", "prod"])]);
}

#[test]
fn a_name_of_the_old_one_that_would_outlive_it_ends_it() {
    let moved = |cluster: Cluster| {
        let goes_over = |pod: &mut Value| {
            pod["metadata"]["annotations"]["sidecar.istio.io/status"] = r#"{"revision":"1-30-3"}"#.into();
        };
        cluster.change("web-1", goes_over).change("cart-1", goes_over)
    };
    let error = expanded(&moved(tagged(false)), "unused").unwrap_err();
    assert_eq!(error.code, "istio-revision-tagged");
    assert!(
        error
            .remedy
            .contains("istioctl tag set prod --revision 1-30-3 --overwrite"),
        "{error:?}"
    );
    let asked = expanded(&moved(tagged(false)), "asked").unwrap();
    let Action::Gate(gate) = &asked.steps[0].action else {
        panic!("{asked:?}")
    };
    assert!(gate.reason.contains("prod still means it"), "{}", gate.reason);
    assert!(expanded(&moved(tagged(true)), "unused").is_ok());
}

#[test]
fn what_cannot_be_two_or_is_not_there_is_an_error() {
    let code = |cluster: &Cluster, given: Value| cluster.plan(CANARY, given).unwrap_err().code;
    assert_eq!(code(&Cluster::of("empty"), json!({})), "istio-not-installed");
    assert_eq!(code(&Cluster::of("istioctl"), json!({})), "istio-of-no-release");
    assert_eq!(
        code(&ours(), json!({"from": "x", "revision": "y"})),
        "istio-not-installed"
    );
    let named = json!({"version": "1.30.3", "revision": "-"});
    assert_eq!(code(&ours(), named), "bad-parameter");
    let far = ours().mirror(&["1.33.0"]).check(CANARY, to("1.33.0"));
    assert!(
        far.iter().any(|found| found.code == "upgrade-skips-versions"),
        "{far:?}"
    );
}

#[test]
fn a_list_of_pods_that_could_not_be_read_is_not_nobody() {
    for step in ["moved-shop", "asked", "unused"] {
        let error = expanded(&ours().forbid(&[("", "Pod")]), step).unwrap_err();
        assert_eq!(error.code, "facts-incomplete", "{step}");
    }
}

/// Where the default has moved to the revision 1-30-3, whose other name it is from then on.
fn moved() -> Cluster {
    let mut cluster = Cluster::of("installed");
    for name in ["istiod", "istio-sidecar-injector"] {
        cluster = cluster.change(name, |object| {
            object["metadata"]["labels"]["istio.io/rev"] = "1-30-3".into();
        });
    }
    cluster
}

#[test]
fn a_namespace_belongs_to_the_revision_that_its_label_means() {
    let namespaces = |cluster: &Cluster| cluster.detect().unwrap()[0].namespaces.clone();
    assert_eq!(namespaces(&Cluster::of("installed")), ["shop"]);
    assert!(namespaces(&moved()).is_empty());
    let tagged = moved().change("istio-validator-istio-system", |object| {
        object["kind"] = "MutatingWebhookConfiguration".into();
        object["metadata"]["labels"] =
            json!({"istio.io/tag": "default", "istio.io/rev": "1-30-3", "app.kubernetes.io/part-of": "istio"});
    });
    assert_eq!(namespaces(&tagged), ["shop"]);
}
