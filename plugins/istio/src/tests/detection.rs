use meshery_plugin_api::message::finding::{Finding, Health, Installation};
use meshery_plugin_api::message::member::Workloads;
use meshery_plugin_api::testkit;
use serde_json::json;

use super::cluster::{Cluster, folder};
use crate::Istio;

/// What is said of a control plane itself; who is in the mesh is another matter.
fn codes(findings: &[Finding]) -> Vec<&str> {
    let of_members = [
        "istio-proxies",
        "istio-pods-without-proxy",
        "istio-mtls",
        "istio-address",
    ];
    all_codes(findings)
        .into_iter()
        .filter(|code| !of_members.iter().any(|member| code.starts_with(member)))
        .collect()
}

fn all_codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.as_str()).collect()
}

fn only(cluster: &Cluster) -> Installation {
    let mut found = cluster.detect().unwrap();
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[test]
fn what_meshery_installed_is_healthy_and_whole() {
    let found = only(&Cluster::of("installed"));
    assert_eq!(
        (found.mesh.as_str(), found.namespace.as_str()),
        ("Istio", "istio-system")
    );
    assert_eq!(
        (found.version.as_str(), found.revision.as_str()),
        ("1.30.2", "default")
    );
    assert_eq!(
        (found.installed_by.as_str(), found.health),
        ("meshery", Health::Healthy)
    );
    assert_eq!(found.namespaces, ["shop"]);
    assert_eq!(
        all_codes(&found.findings),
        [
            "istio-proxies",
            "istio-proxies-behind",
            "istio-pods-without-proxy",
            "istio-mtls"
        ]
    );
    let said = |code: &str| &found.findings.iter().find(|f| f.code == code).unwrap().message;
    assert_eq!(said("istio-proxies"), "proxies: 2 in shop");
    assert!(said("istio-proxies-behind").contains("1.29.1 (1 in shop)"));
    assert_eq!(
        said("istio-pods-without-proxy"),
        "1 pods in namespace \"shop\" are out of the mesh: old-1"
    );
    assert_eq!(said("istio-mtls"), "mutual TLS: permissive");
    let components: Vec<(String, &str)> = found
        .components
        .iter()
        .map(|part| (part.object.to_string(), part.version.as_str()))
        .collect();
    assert_eq!(
        components,
        [
            ("apps/v1/Deployment/istio-system/istiod".to_owned(), "1.30.2"),
            (
                "apps/v1/Deployment/istio-ingress/istio-ingressgateway".to_owned(),
                "1.30.2"
            ),
        ]
    );
}

#[test]
fn workloads_are_told_in_the_mesh_out_of_it_and_behind() {
    let told = |cluster: &Cluster| -> Vec<String> {
        let found = only(cluster);
        let words = |workloads: &Workloads| format!("{} {}", workloads.count, workloads.names.join(" "));
        let namespaces = found.members.namespaces.iter();
        namespaces
            .map(|of| {
                let lists = [&of.inside, &of.out, &of.behind].map(words);
                format!("{} {:?}: {}", of.namespace, of.joined, lists.join(" | "))
            })
            .collect()
    };
    let of_bank = "\
- apiVersion: v1
  kind: Namespace
  metadata: {name: bank}
- apiVersion: v1
  kind: Pod
  metadata: {name: till-1, namespace: bank}
  spec: {containers: [{name: till}]}
";
    let cluster = Cluster::with("installed", of_bank);
    assert_eq!(
        told(&cluster),
        [
            "shop ByNamespace: 2 ReplicaSet/cart-77c4 ReplicaSet/web-5d8f | 3 Pod/agent-1 Pod/declined-1 StatefulSet/old | \
             1 ReplicaSet/cart-77c4",
            "bank Nothing: 0  | 1 Pod/till-1 | 0 ",
            "default Nothing: 0  | 0  | 0 ",
            "istio-ingress Nothing: 0  | 0  | 0 ",
        ]
    );
    // By the nodes' proxies, without a sidecar.
    let ambient = cluster.change("bank", |namespace| {
        namespace["metadata"]["labels"] = json!({"istio.io/dataplane-mode": "ambient"});
    });
    assert_eq!(told(&ambient)[0], "bank ByNamespace: 1 Pod/till-1 | 0  | 0 ");
}

#[test]
fn addons_are_parts_of_the_control_plane_that_they_stand_beside_or_that_meshery_put_anywhere() {
    let addon = |name: &str, namespace: &str, image: &str, labels: &str| {
        format!(
            "- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n  \
             spec: {{template: {{spec: {{containers: [{{name: x, image: '{image}'}}]}}}}}}\n"
        )
    };
    let more = [
        addon("kiali", "istio-system", "quay.io/kiali/kiali:v2.27", "app: kiali"),
        addon(
            "grafana",
            "shop",
            "docker.io/grafana/grafana:12.0.1",
            "app: grafana, app.kubernetes.io/part-of: meshery-grafana",
        ),
        addon(
            "prometheus",
            "monitoring",
            "prom/prometheus:v3.0.0",
            "app: prometheus",
        ),
    ];
    let found = only(&Cluster::with("installed", &more.concat()));
    let addons: Vec<_> = found
        .components
        .iter()
        .skip(2)
        .map(|part| {
            (
                part.object.to_string(),
                part.version.as_str(),
                part.installed_by.as_str(),
            )
        })
        .collect();
    assert_eq!(
        addons,
        [
            (
                "apps/v1/Deployment/istio-system/kiali".to_owned(),
                "2.27",
                "unknown"
            ),
            ("apps/v1/Deployment/shop/grafana".to_owned(), "12.0.1", "unknown"),
        ]
    );
    // What shows a mesh is not what makes it work.
    assert_eq!(found.health, Health::Healthy);
}

#[test]
fn what_helm_installed_is_told_from_what_meshery_installed() {
    let cluster = Cluster::of("installed").change("istiod", |object| {
        object["metadata"]["annotations"]
            .as_object_mut()
            .unwrap()
            .remove("meshery.io/operation");
    });
    assert_eq!(only(&cluster).installed_by, "helm");
}

#[test]
fn what_istioctl_installed_is_seen_with_its_trouble() {
    let found = only(&Cluster::of("istioctl"));
    assert_eq!(
        (found.installed_by.as_str(), found.version.as_str()),
        ("istioctl", "1.24.1")
    );
    assert_eq!(found.health, Health::Degraded);
    let reason = &found.components[0].reason;
    assert!(
        reason.contains("1 of 2") && reason.contains("timed out progressing"),
        "{reason}"
    );
    assert_eq!(found.components.len(), 2);
}

#[test]
fn revisions_are_installations_of_their_own() {
    let found = Cluster::of("revisioned").detect().unwrap();
    let [canary, default] = &found[..] else {
        panic!("{found:#?}");
    };
    assert_eq!(
        (canary.revision.as_str(), default.revision.as_str()),
        ("canary", "default")
    );
    assert_eq!(
        (canary.version.as_str(), default.version.as_str()),
        ("1.30.2", "1.29.1")
    );
    assert_eq!(
        (canary.health, default.health),
        (Health::Degraded, Health::Healthy)
    );
    assert_eq!(
        codes(&canary.findings),
        [
            "istio-webhook-without-ca",
            "istio-version-mismatch",
            "istio-gateway-newer"
        ]
    );
    assert_eq!((canary.components.len(), default.components.len()), (2, 1));
    // The old label counts more than the revision's.
    assert_eq!(
        (&canary.namespaces[..], &default.namespaces[..]),
        (&["trial".to_owned()][..], &["shop".to_owned()][..])
    );
}

#[test]
fn a_control_plane_that_is_gone_while_its_webhooks_stay_is_incomplete() {
    let found = only(&Cluster::of("half-removed"));
    assert_eq!(
        (found.health, found.version.as_str()),
        (Health::Incomplete, "1.30.2")
    );
    assert_eq!(codes(&found.findings), ["istio-webhook-without-control-plane"]);
    let message = &found.findings[0].message;
    assert!(
        message.contains("istio-sidecar-injector") && message.contains("pods"),
        "{message}"
    );
}

#[test]
fn a_missing_injector_and_an_open_validator_are_found() {
    let cluster = Cluster::of("installed")
        .change("istio-validator-istio-system", |object| {
            object["webhooks"][0]["failurePolicy"] = json!("Ignore");
        })
        .change("istio-sidecar-injector", |object| object["kind"] = json!("Gone"));
    let found = only(&cluster);
    assert_eq!(found.health, Health::Incomplete);
    assert_eq!(
        codes(&found.findings),
        ["istio-injector-missing", "istio-validator-open"]
    );
}

#[test]
fn nothing_and_kept_definitions_are_no_installation() {
    for cluster in ["empty", "definitions-only", "bookinfo"] {
        assert!(Cluster::of(cluster).detect().unwrap().is_empty(), "{cluster}");
    }
}

#[test]
fn what_may_not_be_read_is_said_and_nothing_is_made_up() {
    let all = [
        ("apps", "Deployment"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ];
    let error = Cluster::of("installed").forbid(&all).detect().unwrap_err();
    assert_eq!(error.code, "facts-incomplete");

    let found = only(&Cluster::of("installed").forbid(&[("apps", "Deployment")]));
    assert_eq!(found.health, Health::Unknown);
    assert_eq!(codes(&found.findings), ["facts-incomplete"]);

    let found = only(
        &Cluster::of("installed").forbid(&[("admissionregistration.k8s.io", "MutatingWebhookConfiguration")]),
    );
    assert_eq!(found.health, Health::Unknown);
    assert_eq!(codes(&found.findings), ["facts-incomplete"]);
}

#[test]
fn objects_of_any_shape_do_no_harm() {
    for wrong in [
        json!(null),
        json!(3),
        json!([]),
        json!({"webhooks": "x"}),
        json!("text"),
    ] {
        let cluster = Cluster::of("installed").change("istio-sidecar-injector", |object| {
            object["webhooks"] = wrong.clone();
        });
        assert!(!cluster.detect().unwrap().is_empty());
        let cluster = Cluster::of("installed").change("istiod", |object| {
            for field in ["spec", "status"] {
                object[field] = wrong.clone();
            }
        });
        assert!(!cluster.detect().unwrap().is_empty());
    }
    let mut facts = Cluster::of("installed").facts(&crate::detect::needs());
    for kind in &mut facts.kinds {
        kind.objects.push(json!("no object"));
    }
    assert_eq!(crate::detect::installations(&facts).unwrap().len(), 1);
}

#[test]
fn mutual_tls_and_addresses_are_told_with_their_place() {
    let text = std::fs::read_to_string(folder("clusters").join("installed.yaml")).unwrap();
    let more = "
- {apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: default, namespace: istio-system}, spec: {mtls: {mode: STRICT}}}
- {apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a, namespace: shop}, spec: {mtls: {mode: DISABLE}}}
- {apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: b, namespace: shop}, spec: {selector: {matchLabels: {a: b}}}}
";
    let cluster = testkit::Cluster::from_yaml(&format!("{text}{more}")).unwrap();
    let with_address = cluster.change("istio-ingressgateway", |object| {
        if object["kind"] == "Service" {
            object["spec"] = json!({"type": "LoadBalancer"});
            object["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
        }
    });
    let found = with_address.detect(&Istio).unwrap();
    let said = |code: &str| {
        found[0]
            .findings
            .iter()
            .find(|f| f.code == code)
            .unwrap()
            .message
            .clone()
    };
    assert_eq!(said("istio-mtls"), "mutual TLS: strict; disable in shop");
    assert_eq!(
        said("istio-address"),
        "istio-ingressgateway is reached at 192.0.2.7"
    );
}

/// The cluster with a Gateway of the Gateway API for which istiod has made what it needs, reached by ports of the nodes.
fn with_made_gateway(file: &str, revision: &str) -> testkit::Cluster {
    let path = folder("clusters").join(format!("{file}.yaml"));
    let made = format!(
        r#"
- apiVersion: apps/v1
  kind: Deployment
  metadata:
    name: edge-istio
    namespace: shop
    labels: {{gateway.networking.k8s.io/gateway-name: edge, gateway.istio.io/managed: istio.io-gateway-controller}}
  spec:
    replicas: 1
    template:
      metadata: {{annotations: {{istio.io/rev: {revision}}}}}
      spec: {{containers: [{{name: istio-proxy, image: "registry.istio.io/release/proxyv2:1.30.2"}}]}}
  status: {{availableReplicas: 1, updatedReplicas: 1}}
- apiVersion: v1
  kind: Service
  metadata: {{name: edge-istio, namespace: shop, labels: {{gateway.networking.k8s.io/gateway-name: edge}}}}
  spec: {{type: NodePort, ports: [{{name: http, port: 80, nodePort: 30080}}, {{name: https, port: 443, nodePort: 30443}}]}}
"#
    );
    let text = std::fs::read_to_string(path).unwrap() + &made;
    testkit::Cluster::from_yaml(&text).unwrap()
}

#[test]
fn a_gateway_that_istiod_has_made_is_a_part_and_is_told_where_it_is_reached() {
    let parts = |found: &Installation| found.components.clone().into_iter();
    let gateway = |found: &Installation| parts(found).find(|part| part.object.name == "edge-istio");
    let found = with_made_gateway("installed", "default")
        .detect(&Istio)
        .unwrap()
        .remove(0);
    let part = gateway(&found).unwrap();
    assert_eq!((part.version.as_str(), part.health), ("1.30.2", Health::Healthy));
    let address = found.findings.iter().find(|f| f.code == "istio-address").unwrap();
    assert_eq!(
        address.message,
        "edge-istio is reached at each node, on ports 30080 (http), 30443 (https)"
    );
}

#[test]
fn a_gateway_that_istiod_has_made_is_of_the_revision_that_made_it() {
    let found = with_made_gateway("revisioned", "canary").detect(&Istio).unwrap();
    let owners: Vec<&str> = found
        .iter()
        .filter(|found| {
            found
                .components
                .iter()
                .any(|part| part.object.name == "edge-istio")
        })
        .map(|found| found.revision.as_str())
        .collect();
    assert_eq!(owners, ["canary"]);
}
