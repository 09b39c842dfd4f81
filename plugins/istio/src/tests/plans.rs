use meshery_mesh_kit::review::{assert_snapshot, plan_text};
use meshery_plugin_api::MeshAdapter;
use meshery_plugin_api::message::plan::{Action, Condition, Images, Plan, PlanRequest, Target};
use serde_json::{Value, json};

use super::cluster::{Cluster, folder};
use crate::Istio;

fn matches(snapshot: &str, plan: &Plan) {
    assert_snapshot(
        &folder("snapshots").join(format!("{snapshot}.txt")),
        &plan_text(plan),
    );
}

pub fn step_ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

#[test]
fn install_with_the_profile_default() {
    let plan = Cluster::of("empty")
        .plan("install", json!({"version": "1.30.2"}))
        .unwrap();
    matches("install-default", &plan);
}

#[test]
fn install_with_the_profile_minimal_in_a_namespace_of_choice() {
    let given = json!({"version": "1.30.2", "profile": "minimal", "namespace": "mesh", "deadline": 20});
    matches(
        "install-minimal",
        &Cluster::of("empty").plan("install", given).unwrap(),
    );
}

#[test]
fn install_with_a_plain_service_and_an_address_to_wait_for() {
    let given =
        json!({"service_type": "NodePort", "wait_for_address": true, "gateway_namespace": "istio-system"});
    let plan = Cluster::of("empty").plan("install", given).unwrap();
    let text = plan_text(&plan);
    assert!(text.contains("type: NodePort"), "{text}");
    assert!(
        text.contains("wait for v1/Service/istio-system/istio-ingressgateway: address"),
        "{text}"
    );
    assert_eq!(text.matches("apply v1/Namespace").count(), 1, "{text}");
}

#[test]
fn sidecars_come_from_where_images_come_from() {
    let install = |version: &str, images: Images| {
        let request = PlanRequest {
            images,
            ..Cluster::of("empty").request("install", json!({"version": version}))
        };
        plan_text(&Istio.plan(request).unwrap())
    };
    let elsewhere = || Images {
        registry: "registry.corp/mirror".into(),
        pull_secrets: vec!["regcred".into()],
    };
    let text = install("1.30.2", elsewhere());
    assert!(text.contains("hub: registry.corp/mirror/release"), "{text}");
    assert!(
        text.contains("imagePullSecrets:") && text.contains("- regcred"),
        "{text}"
    );
    let text = install("1.29.1", elsewhere());
    assert!(text.contains("hub: registry.corp/mirror/istio"), "{text}");
    assert!(!install("1.30.2", Images::default()).contains("hub:"));
}

#[test]
fn without_a_wish_the_newest_release_is_installed_and_the_mirror_counts() {
    let plan = Cluster::of("empty").plan("install", json!({})).unwrap();
    assert!(
        plan.summary.starts_with("Install Istio 1.30.3 "),
        "{}",
        plan.summary
    );

    let mirrored = Cluster::of("empty").mirror(&["1.30.2", "1.32.0"]);
    let plan = mirrored.plan("install", json!({})).unwrap();
    assert!(
        plan.summary.starts_with("Install Istio 1.32.0 "),
        "{}",
        plan.summary
    );
    assert!(
        plan.notes.iter().any(|note| note.contains("mirror only")),
        "{:?}",
        plan.notes
    );
}

#[test]
fn the_archive_of_the_mirror_is_named_by_its_digest_and_no_other_is_pinned() {
    let digests = |plan: &Plan| -> Vec<String> {
        let of_releases = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Release(release) => Some(release.chart.sha256.clone()),
            _ => None,
        });
        of_releases.collect()
    };
    let given = json!({"version": "1.30.2"});
    let plan = Cluster::of("empty").plan("install", given.clone()).unwrap();
    assert_eq!(digests(&plan), ["", "", ""]);
    let plan = Cluster::of("empty")
        .mirror(&["1.30.2"])
        .plan("install", given)
        .unwrap();
    let of = |chart| format!("sha-of-{chart}-1.30.2");
    assert_eq!(digests(&plan), [of("base"), of("istiod"), of("gateway")]);
}

#[test]
fn a_namespace_that_is_there_is_not_applied() {
    let plan = Cluster::of("installed")
        .plan("install", json!({"version": "1.30.2"}))
        .unwrap();
    assert_eq!(
        step_ids(&plan),
        ["pod-taken", "base", "istiod", "istiod-ready", "gateway"]
    );
}

#[test]
fn remove() {
    matches(
        "remove",
        &Cluster::of("installed").plan("remove", json!({})).unwrap(),
    );
}

#[test]
fn remove_with_what_istio_keeps() {
    let plan = Cluster::of("installed")
        .plan("remove", json!({"purge": true}))
        .unwrap();
    matches("remove-purge", &plan);
    let with_resources = Cluster::of("installed")
        .plan("remove", json!({"purge": true, "custom-resources": true}))
        .unwrap();
    let definitions = with_resources
        .steps
        .iter()
        .find(|step| step.id == "purge")
        .unwrap();
    let Action::Delete(delete) = &definitions.action else {
        panic!("{definitions:?}")
    };
    let goes_with = |target: &Target| target.when == Condition::WithInstances;
    assert!(delete.targets.iter().any(goes_with));
}

#[test]
fn remove_what_is_left_of_a_removal() {
    let plan = Cluster::of("half-removed").plan("remove", json!({})).unwrap();
    assert_eq!(step_ids(&plan), ["istiod", "base", "namespaces"]);
}

#[test]
fn remove_all_control_planes_of_a_namespace_and_no_gateway_of_others() {
    let plan = Cluster::of("revisioned").plan("remove", json!({})).unwrap();
    assert_eq!(step_ids(&plan), ["istiod", "istiod-2", "namespaces"]);
    let text = plan_text(&plan);
    assert!(
        text.contains("remove release istio-system/istiod-canary"),
        "{text}"
    );
    assert!(!text.contains("edge"), "{text}");
}

#[test]
fn a_removal_that_cannot_be_planned_says_why() {
    for (cluster, namespace, code, part) in [
        ("empty", "istio-system", "istio-not-installed", ""),
        ("definitions-only", "istio-system", "istio-not-installed", ""),
        ("installed", "elsewhere", "istio-not-installed", "istio-system"),
        (
            "istioctl",
            "istio-system",
            "istio-of-istioctl",
            "istioctl uninstall",
        ),
    ] {
        // A namespace that is not the control plane's finds ours, and gateways of ours only.
        let cluster = match namespace {
            "elsewhere" => Cluster::of(cluster).change("istio-ingressgateway", |object| {
                object["metadata"]["annotations"]["meshery.io/operation"].take();
                object["metadata"]["annotations"]
                    .as_object_mut()
                    .unwrap()
                    .remove("meshery.io/operation");
            }),
            _ => Cluster::of(cluster),
        };
        let error = cluster
            .plan("remove", json!({"namespace": namespace}))
            .unwrap_err();
        assert_eq!(error.code, code, "{error:?}");
        assert!(
            error.remedy.contains(part) && !error.remedy.is_empty(),
            "{error:?}"
        );
    }
}

#[test]
fn what_may_not_be_read_is_not_taken_for_absent() {
    let cluster = Cluster::of("installed").forbid(&[("apps", "Deployment")]);
    let error = cluster.plan("remove", json!({})).unwrap_err();
    assert_eq!(error.code, "facts-incomplete");
    assert!(error.cause.contains("may not list"), "{error:?}");
    let error = Cluster::of("empty")
        .forbid(&[("", "Namespace")])
        .plan("inject", json!({"namespace": "shop"}))
        .unwrap_err();
    assert_eq!(error.code, "facts-incomplete");
}

#[test]
fn inject_and_uninject() {
    let cluster = Cluster::of("empty");
    let plan = cluster.plan("inject", json!({"namespace": "shop"})).unwrap();
    matches("inject", &plan);
    let plan = cluster
        .plan("inject", json!({"namespace": "shop", "restart": true}))
        .unwrap();
    matches("inject-restart", &plan);

    let labelled = cluster.change("shop", |object| {
        object["metadata"]["labels"] = json!({"istio-injection": "enabled"});
        object["metadata"]["annotations"] = json!({"istio.meshery.io/injection": "enabled"});
    });
    matches(
        "uninject",
        &labelled.plan("uninject", json!({"namespace": "shop"})).unwrap(),
    );
}

#[test]
fn the_rollouts_of_a_restart_have_the_deadline_that_was_asked_for() {
    let given = json!({"namespace": "shop", "restart": true, "deadline": 1800});
    let plan = Cluster::of("empty").plan("inject", given).unwrap();
    let again = plan.steps.iter().find(|step| step.id == "restart-again");
    assert_eq!(again.unwrap().deadline_s, 1800);
    assert_eq!(plan.verify[0].deadline_s, 1800);
}

#[test]
fn a_label_of_others_is_not_ours_to_take() {
    for (labels, part) in [
        (json!({}), "no label"),
        (json!({"istio-injection": "enabled"}), "istio-injection=enabled"),
        (json!({"istio.io/rev": "canary"}), "istio.io/rev=canary"),
    ] {
        let cluster = Cluster::of("empty").change("shop", |object| {
            object["metadata"]["labels"] = labels.clone();
        });
        let error = cluster
            .plan("uninject", json!({"namespace": "shop"}))
            .unwrap_err();
        assert_eq!(error.code, "label-of-others");
        assert!(error.cause.contains(part), "{error:?}");
    }
}

#[test]
fn a_namespace_that_is_not_there_cannot_be_labelled() {
    for (namespace, code) in [
        ("nowhere", "namespace-unknown"),
        ("going", "namespace-terminating"),
    ] {
        let error = Cluster::of("empty")
            .plan("inject", json!({"namespace": namespace}))
            .unwrap_err();
        assert_eq!(error.code, code);
    }
}

#[test]
fn deploy_bookinfo() {
    let plan = Cluster::of("empty").plan("deploy-bookinfo", json!({})).unwrap();
    matches("deploy-bookinfo", &plan);
}

#[test]
fn deploy_bookinfo_into_the_mesh_with_a_way_in() {
    let given = json!({"namespace": "shop", "inject": true, "expose": true});
    let plan = Cluster::of("empty").plan("deploy-bookinfo", given).unwrap();
    assert_eq!(step_ids(&plan), ["label", "bookinfo", "routes"]);
    let text = plan_text(&plan);
    assert!(
        text.contains("apply v1/Namespace//shop as meshery-injection-bookinfo"),
        "{text}"
    );
    assert!(
        text.contains("apply networking.istio.io/v1/VirtualService/shop/bookinfo"),
        "{text}"
    );
}

#[test]
fn remove_bookinfo_takes_only_what_is_there_and_ours() {
    let plan = Cluster::of("bookinfo")
        .plan("remove-bookinfo", json!({}))
        .unwrap();
    matches("remove-bookinfo", &plan);
    let error = Cluster::of("empty")
        .plan("remove-bookinfo", json!({"namespace": "shop"}))
        .unwrap_err();
    assert_eq!(error.code, "bookinfo-not-deployed");
}

#[test]
fn bad_parameters_are_refused_with_name_and_value() {
    for (operation, given, code, part) in [
        (
            "install",
            json!({"version": "1.99.0"}),
            "unknown-version",
            "1.99.0",
        ),
        (
            "install",
            json!({"version": "latest"}),
            "unknown-version",
            "latest",
        ),
        ("install", json!({"version": 1.30}), "bad-parameter", "version"),
        ("install", json!({"profile": "huge"}), "bad-parameter", "huge"),
        (
            "install",
            json!({"namespace": "kube-system"}),
            "system-namespace",
            "kube-system",
        ),
        ("install", json!({"gateway_namespace": "A"}), "bad-parameter", "A"),
        (
            "install",
            json!({"service_type": "Magic"}),
            "bad-parameter",
            "Magic",
        ),
        (
            "install",
            json!({"wait_for_address": "yes"}),
            "bad-parameter",
            "yes",
        ),
        ("install", json!({"deadline": 3601}), "bad-parameter", "3601"),
        ("remove", json!({"namespace": "a/b"}), "bad-parameter", "a/b"),
        ("remove", json!({"purge": 1}), "bad-parameter", "purge"),
        (
            "remove",
            json!({"custom-resources": true}),
            "bad-parameter",
            "purge",
        ),
        (
            "inject",
            json!({"namespace": "kube-public"}),
            "system-namespace",
            "kube-public",
        ),
        ("uninject", json!({"namespace": "a b"}), "bad-parameter", "a b"),
        ("deploy-bookinfo", json!({"inject": 3}), "bad-parameter", "inject"),
        ("deploy-bookinfo", json!({"deadline": -1}), "bad-parameter", "-1"),
        ("remove-bookinfo", json!({"namespace": ""}), "", ""),
    ] {
        let request = PlanRequest {
            operation: operation.into(),
            parameters: given.as_object().cloned().unwrap(),
            ..PlanRequest::default()
        };
        match Istio.plan(request) {
            Err(error) => {
                assert_eq!(error.code, code, "{operation} {given}: {error:?}");
                assert!(error.message.contains(part), "{operation} {given}: {error:?}");
                assert!(!error.remedy.is_empty(), "{operation} {given}: {error:?}");
            }
            // An empty name stands for the default.
            Ok(_) => assert_eq!(code, "", "{operation} {given}"),
        }
    }
}

#[test]
fn an_unknown_version_is_answered_with_those_near_it() {
    let cluster = Cluster::of("empty").mirror(&["1.30.8"]);
    let error = cluster.plan("install", json!({"version": "1.30.9"})).unwrap_err();
    for near in ["1.30.8", "1.30.3", "1.30.2"] {
        assert!(error.remedy.contains(near), "{error:?}");
    }
}

#[test]
fn what_the_index_lists_is_installed_by_its_name_with_the_digest_it_says() {
    let cluster = Cluster::of("empty").index(&["1.30.9", "1.30.3"]);
    let plan = cluster
        .plan("install", json!({"version": "1.30.9", "profile": "minimal"}))
        .unwrap();
    let text = plan_text(&plan);
    assert!(text.contains("listed-istiod-1.30.9"), "{text}");
    assert!(
        plan.notes.iter().any(|note| note.contains("index only")),
        "{:?}",
        plan.notes
    );
    let text = plan_text(&cluster.plan("install", json!({"profile": "minimal"})).unwrap());
    assert!(
        text.contains("Install Istio 1.30.3") && text.contains("listed-istiod-1.30.3"),
        "{text}"
    );
}

#[test]
fn an_unknown_operation_is_answered_with_those_there_are() {
    for result in [
        Istio.plan(PlanRequest::default()).map(drop),
        Istio.check(PlanRequest::default()).map(drop),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.code, "unknown-operation");
        assert!(
            error.remedy.contains("install") && error.remedy.contains("remove-bookinfo"),
            "{error:?}"
        );
    }
}

#[test]
fn every_operation_says_what_it_takes_and_every_default_is_taken() {
    for operation in Istio.describe().operations {
        assert!(!operation.description.is_empty());
        let properties = operation.parameters["properties"].as_object().unwrap();
        for (name, schema) in properties {
            assert!(
                schema["description"].is_string() && schema["type"].is_string(),
                "{name}"
            );
        }
        let required = operation.parameters["required"].as_array().into_iter().flatten();
        let given: serde_json::Map<String, Value> = required
            .filter_map(|name| Some((name.as_str()?.to_owned(), "shop".into())))
            .collect();
        let given = Value::Object(given);
        let request = Cluster::of("empty").request(&operation.name, given);
        if let Err(error) = Istio.plan(request) {
            assert_ne!(error.code, "bad-parameter", "{}: {error:?}", operation.name);
        }
    }
}

#[test]
fn each_platform_gets_what_its_nodes_need() {
    for platform in ["gke", "k3s", "openshift"] {
        let cluster = Cluster::of("empty").on(platform);
        let plan = cluster.plan("install", json!({"profile": "ambient"})).unwrap();
        matches(&format!("install-ambient-on-{platform}"), &plan);
    }
    // Elsewhere sidecars redirect the traffic of their pod themselves.
    let cluster = |platform| {
        Cluster::of("empty")
            .on(platform)
            .plan("install", json!({"profile": "minimal"}))
            .unwrap()
    };
    matches("install-minimal-on-openshift", &cluster("openshift"));
    assert!(!plan_text(&cluster("gke")).contains("chart cni"));
}
