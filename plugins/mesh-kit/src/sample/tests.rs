use std::collections::BTreeSet;

use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::plan::Condition;

use super::*;
use crate::object::{name, namespace};

fn named(sample: &Sample, kind: &str) -> BTreeSet<String> {
    sample
        .manifests("shop")
        .unwrap()
        .iter()
        .filter(|object| object["kind"] == kind)
        .map(|object| name(object).to_owned())
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn bookinfo_is_four_services_and_six_deployments_each_with_an_account() {
    let services = set(&["details", "ratings", "reviews", "productpage"]);
    assert_eq!(named(&BOOKINFO, "Service"), services);
    assert_eq!(
        named(&BOOKINFO, "Deployment"),
        set(&[
            "details-v1",
            "ratings-v1",
            "reviews-v1",
            "reviews-v2",
            "reviews-v3",
            "productpage-v1"
        ])
    );
    let accounts = services.iter().map(|s| format!("bookinfo-{s}")).collect();
    assert_eq!(named(&BOOKINFO, "ServiceAccount"), accounts);
}

#[test]
fn every_object_is_in_the_namespace_and_every_selector_finds_its_pods() {
    let manifests = BOOKINFO.manifests("shop").unwrap();
    let text = |object: &Value, pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
    for object in &manifests {
        assert_eq!(namespace(object), "shop");
        assert_eq!(object["metadata"]["labels"][PART_OF], "bookinfo");
        if object["kind"] != "Deployment" {
            continue;
        }
        let labels = text(object, "/spec/template/metadata/labels");
        assert_eq!(text(object, "/spec/selector/matchLabels"), labels);
        let account = text(object, "/spec/template/spec/serviceAccountName");
        assert_eq!(account, format!("bookinfo-{}", labels["app"].as_str().unwrap()));
        let image = text(object, "/spec/template/spec/containers/0/image");
        let expected = format!(
            "registry.istio.io/release/examples-bookinfo-{}:1.20.3",
            name(object)
        );
        assert_eq!(image, expected);
        assert_eq!(
            text(object, "/spec/template/spec/containers/0/ports/0/containerPort"),
            9080
        );
    }
    let services = manifests.iter().filter(|object| object["kind"] == "Service");
    for service in services {
        assert_eq!(service["spec"]["ports"][0]["port"], 9080);
        let wanted = &service["spec"]["selector"]["app"];
        assert!(
            manifests
                .iter()
                .any(|o| &text(o, "/spec/template/metadata/labels")["app"] == wanted),
            "{wanted}"
        );
    }
}

#[test]
fn of_a_kind_that_was_not_read_all_objects_are_targets() {
    let targets = BOOKINFO.in_namespace("shop").unwrap().targets(&Facts::default());
    assert_eq!(targets.len(), 14);
    assert!(targets.iter().all(|target| target.when == Condition::Ours));
}

#[test]
fn each_sample_has_its_services_and_what_runs_behind_them() {
    for (sample, services, deployments) in [
        (&HTTPBIN, set(&["httpbin"]), set(&["httpbin"])),
        (&IMAGE_HUB, set(&["api", "web"]), set(&["api-v1", "web"])),
        (
            &EMOJIVOTO,
            set(&["emoji-svc", "voting-svc", "web-svc"]),
            set(&["emoji", "voting", "web", "vote-bot"]),
        ),
    ] {
        assert_eq!(named(sample, "Service"), services);
        assert_eq!(named(sample, "Deployment"), deployments);
        let ready = sample.in_namespace("shop").unwrap().ready();
        assert_eq!(ready.len(), services.len() + deployments.len(), "{}", sample.name);
    }
}

#[test]
fn a_service_leads_to_a_port_that_a_container_listens_on_and_stays_inside_the_cluster() {
    for sample in SAMPLES {
        let manifests = sample.manifests("shop").unwrap();
        for service in manifests.iter().filter(|object| object["kind"] == "Service") {
            assert_eq!(
                service["spec"]["type"],
                Value::Null,
                "{}: no address of its own",
                name(service)
            );
            let port = &service["spec"]["ports"][0];
            let target = if port["targetPort"].is_null() {
                &port["port"]
            } else {
                &port["targetPort"]
            };
            let selected = |object: &&Value| {
                let labels = &object["spec"]["template"]["metadata"]["labels"];
                object["kind"] == "Deployment" && labels["app"] == service["spec"]["selector"]["app"]
            };
            let mut behind = manifests.iter().filter(selected).peekable();
            assert!(behind.peek().is_some(), "{}", name(service));
            for deployment in behind {
                let container = &deployment["spec"]["template"]["spec"]["containers"][0];
                assert_eq!(
                    &container["ports"][0]["containerPort"],
                    target,
                    "{}",
                    name(service)
                );
            }
        }
        for way in sample.ways_in {
            let leads = |object: &Value| {
                object["kind"] == "Service"
                    && name(object) == way.service
                    && object["spec"]["ports"][0]["port"] == way.port
            };
            assert!(manifests.iter().any(leads), "{}: {}", sample.name, way.service);
        }
    }
}

#[test]
fn host_names_follow_the_namespace() {
    for sample in SAMPLES {
        let of = |namespace: &str| serde_json::to_string(&sample.manifests(namespace).unwrap()).unwrap();
        assert!(!of("shop").contains("{namespace}"), "{}", sample.name);
        assert_eq!(
            of("shop").replace("shop", "store"),
            of("store"),
            "{}",
            sample.name
        );
    }
    let text = serde_json::to_string(&EMOJIVOTO.manifests("shop").unwrap()).unwrap();
    assert!(
        text.contains("voting-svc.shop.svc:8080") && !text.contains("emojivoto:"),
        "{text}"
    );
}

#[test]
fn images_have_a_version_where_their_project_gives_one() {
    for sample in SAMPLES {
        for deployment in sample.manifests("shop").unwrap() {
            let Some(image) = deployment.pointer("/spec/template/spec/containers/0/image") else {
                continue;
            };
            let image = image.as_str().unwrap();
            let (repository, tag) = image.rsplit_once(':').unwrap();
            assert!(
                !repository.contains(':') && repository.contains('.'),
                "{image} names its registry"
            );
            // Image Hub's has only this one.
            assert_eq!(tag == "latest", sample.name == "imagehub", "{image}");
        }
    }
}
