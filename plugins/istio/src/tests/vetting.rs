//! The seven vetters, against a cluster in which each finds one thing.

use meshery_plugin_api::message::facts::Readability;
use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::testkit;
use serde_json::json;

use super::cluster::folder;
use crate::{Istio, vet};

fn cluster(file: &str) -> testkit::Cluster {
    let text = std::fs::read_to_string(folder("clusters").join(format!("{file}.yaml"))).unwrap();
    testkit::Cluster::from_yaml(&text).unwrap()
}

fn findings(cluster: &testkit::Cluster) -> Vec<Finding> {
    cluster.analyze(&Istio, &vet::needs()).unwrap()
}

const VETTERS: [&str; 7] = [
    "podsinmesh",
    "meshversion",
    "applabel",
    "serviceportprefix",
    "serviceassociation",
    "danglingroutedestinationhost",
    "conflictingvirtualservicehost",
];

#[test]
fn each_vetter_names_object_place_reason_and_remedy() {
    let found = findings(&cluster("misconfigured"));
    for (vetter, object, words) in [
        ("podsinmesh", "v1/Pod/shop/bare", ["no sidecar", "shop"]),
        ("meshversion", "v1/Pod/shop/web-1", ["1.29.1", "1.30.2"]),
        (
            "meshversion",
            "v1/Pod/shop/orphan",
            ["revision \"gone\"", "no control plane"],
        ),
        ("applabel", "v1/Pod/shop/orphan", ["no label app", "shop"]),
        (
            "serviceportprefix",
            "v1/Service/shop/web",
            ["\"main\"", "protocol"],
        ),
        (
            "serviceassociation",
            "v1/Pod/shop/web-1",
            ["grpc by Service web-grpc", "8080"],
        ),
        (
            "danglingroutedestinationhost",
            "networking.istio.io/v1/VirtualService/shop/one",
            ["\"nowhere\"", "no Service"],
        ),
        (
            "conflictingvirtualservicehost",
            "networking.istio.io/v1/VirtualService/shop/one",
            ["shop/one, shop/two", "web.shop"],
        ),
    ] {
        let finding = found
            .iter()
            .find(|f| f.code == vetter && f.object.as_ref().is_some_and(|o| o.to_string() == object));
        let finding = finding.unwrap_or_else(|| panic!("{vetter} {object}: {found:#?}"));
        assert!(
            words.iter().all(|word| finding.message.contains(word)),
            "{finding:?}"
        );
        assert!(
            finding.severity != Severity::Info && !finding.remedy.is_empty(),
            "{finding:?}"
        );
    }
    assert_eq!(found.len(), 8, "{found:#?}");
}

/// The hosts that routes are said to lead to without there being anybody.
fn dangling(hosts: &[&str], destinations: serde_json::Value) -> String {
    let cluster = cluster("misconfigured").change("one", |route| {
        route["spec"] = json!({"hosts": hosts, "http": [destinations]});
    });
    let found = findings(&cluster).into_iter();
    let found = found.filter(|f| f.code == "danglingroutedestinationhost" && f.severity == Severity::Error);
    found.map(|finding| finding.message).collect()
}

#[test]
fn a_host_with_a_dot_is_taken_as_it_is() {
    let to = |host: &str| dangling(&["alone"], json!({"route": [{"destination": {"host": host}}]}));
    for host in [
        "web",
        "web.shop.svc.cluster.local",
        "web.shop.svc.corp.example",
        "api.example.com",
    ] {
        assert_eq!(to(host), "", "{host}");
    }
    for host in ["web.shop", "web.shop.svc", "web.bank.svc.cluster.local"] {
        assert!(to(host).contains(&format!("\"{host}\"")), "{host}");
    }
    // Nor is it the Service's host that another route has.
    let cluster = cluster("misconfigured").change("one", |route| {
        route["spec"]["hosts"] = json!(["web.shop"]);
    });
    let of_hosts = findings(&cluster)
        .into_iter()
        .find(|finding| finding.code == "conflictingvirtualservicehost");
    assert_eq!(of_hosts.unwrap().severity, Severity::Info);
}

#[test]
fn a_host_that_gets_a_copy_of_the_traffic_has_to_be_there_too() {
    let message = dangling(
        &["alone"],
        json!({"route": [{"destination": {"host": "web"}}], "mirror": {"host": "copy"},
            "mirrors": [{"destination": {"host": "web-grpc"}}, {"destination": {"host": "copies"}}]}),
    );
    assert!(
        message.contains("\"copy\"") && message.contains("\"copies\"") && !message.contains("web-grpc"),
        "{message}"
    );
}

#[test]
fn a_vetter_that_finds_nothing_says_so() {
    let found = findings(&testkit::Cluster::empty());
    let said: Vec<&str> = found.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(said, VETTERS);
    assert!(found.iter().all(|finding| finding.severity == Severity::Info));
}

#[test]
fn a_vetter_that_may_not_look_does_not_say_that_all_is_well() {
    let blind = testkit::Cluster::empty().readable("", "Pod", Readability::Forbidden);
    let found = findings(&blind);
    let of = |vetter: &str| found.iter().find(|finding| finding.code == vetter).unwrap();
    assert_eq!(of("podsinmesh").severity, Severity::Warning);
    assert_eq!(of("conflictingvirtualservicehost").severity, Severity::Info);
}

/// What is said of routes for one host: the first route with these hosts and this visibility, the second in a namespace with its own.
fn conflicts(
    hosts: &[&str],
    exported: serde_json::Value,
    (of_namespace, other_exported): (&str, serde_json::Value),
) -> Vec<String> {
    let cluster = cluster("misconfigured")
        .change("one", |route| {
            route["spec"]["hosts"] = json!(hosts);
            route["spec"]["exportTo"] = exported.clone();
        })
        .change("two", |route| {
            route["metadata"]["namespace"] = of_namespace.into();
            route["spec"]["exportTo"] = other_exported.clone();
        });
    let found = findings(&cluster).into_iter();
    let found = found.filter(|f| f.code == "conflictingvirtualservicehost" && f.severity == Severity::Error);
    found.map(|finding| finding.message).collect()
}

#[test]
fn a_route_that_says_its_host_twice_does_not_conflict_with_itself() {
    let twice = ["web", "web.shop.svc.cluster.local"];
    let cluster = cluster("misconfigured")
        .change("one", |route| route["spec"]["hosts"] = json!(twice))
        .change("two", |route| route["spec"]["hosts"] = json!(["elsewhere"]));
    let found = findings(&cluster).into_iter();
    let mut found = found.filter(|f| f.code == "conflictingvirtualservicehost");
    assert_eq!(found.next().unwrap().severity, Severity::Info);
    // With another one for the same host each is named once.
    let said = conflicts(&twice, json!(null), ("shop", json!(null)));
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].matches("shop/one").count(), 1, "{said:?}");
}

#[test]
fn routes_conflict_only_where_the_same_proxies_see_both() {
    let said = |exported, other| conflicts(&["web"], exported, other);
    let own = || json!(["."]);
    assert!(said(own(), ("bank", own())).is_empty());
    assert!(said(json!(["~"]), ("bank", json!(null))).is_empty());
    assert!(said(json!(["bank"]), ("shop", own())).is_empty());
    let in_bank = said(json!(["bank", "vault"]), ("bank", own()));
    assert_eq!(in_bank.len(), 1, "{in_bank:?}");
    assert!(in_bank[0].ends_with("as seen from bank"), "{in_bank:?}");
    let in_both = said(json!(["bank", "vault"]), ("shop", json!(["*"])));
    assert!(
        in_both.len() == 1 && in_both[0].ends_with("as seen from bank, vault"),
        "{in_both:?}"
    );
    let everywhere = said(json!(["*"]), ("shop", json!(null)));
    assert!(
        everywhere.len() == 1 && everywhere[0].ends_with("on the sidecars"),
        "{everywhere:?}"
    );
}
