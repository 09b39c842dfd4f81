use meshery_mesh_kit::review::{assert_snapshot, plan_text};
use meshery_plugin_api::MeshAdapter;
use meshery_plugin_api::message::plan::{Action, Images, Plan, PlanRequest, Step};
use serde_json::{Value, json};

use super::cluster::{Cluster, folder};
use crate::Linkerd;

fn matches(snapshot: &str, cluster: &Cluster, operation: &str, given: Value) -> Plan {
    let plan = cluster.plan(operation, given).unwrap();
    assert_snapshot(
        &folder("snapshots").join(format!("{snapshot}.txt")),
        &plan_text(&plan),
    );
    plan
}

#[test]
fn install_with_what_somebody_has_made() {
    let given = json!({"version": "edge-26.8.3"});
    let plan = matches("install", &Cluster::of("given"), "install", given);
    let text = plan_text(&plan);
    assert!(
        !text.contains("crtPEM") && !text.contains("keyPEM") && !text.contains("BEGIN"),
        "{text}"
    );
}

#[test]
fn install_into_a_new_namespace_with_high_availability_and_the_cni_plugin() {
    let given = json!({"version": "edge-26.8.3", "namespace": "mesh", "ha": true, "cni": true,
        "init_as_root": true, "deadline": 20});
    matches("install-ha-cni", &Cluster::of("empty"), "install", given);
}

#[test]
fn each_platform_has_its_own_places_for_the_cni_plugin() {
    for platform in ["gke", "k3s", "openshift"] {
        let cluster = Cluster::of("given").on(platform);
        let given = json!({"version": "edge-26.8.3", "cni": true});
        let plan = matches(&format!("install-on-{platform}"), &cluster, "install", given);
        assert!(
            plan.notes.iter().any(|note| note.contains(platform)),
            "{:?}",
            plan.notes
        );
    }
}

#[test]
fn upgrade_keeps_the_options_that_the_control_plane_has() {
    let plan = matches("upgrade", &Cluster::of("installed"), "upgrade", json!({}));
    assert!(plan.summary.contains("high availability"), "{}", plan.summary);
    let error = Cluster::of("empty").plan("upgrade", json!({})).unwrap_err();
    assert_eq!(error.code, "linkerd-not-installed");
}

#[test]
fn remove_with_custom_resources_takes_them_before_the_release_of_the_definitions() {
    let plan = Cluster::of("installed")
        .plan("remove", json!({"custom-resources": true}))
        .unwrap();
    let place = |id: &str| plan.steps.iter().position(|step| step.id == id);
    let resources = place("custom-resources").unwrap();
    assert!(place("control-plane").unwrap() < resources && resources < place("crds").unwrap());
}

#[test]
fn remove_takes_extensions_then_control_plane_then_definitions() {
    let plan = matches("remove", &Cluster::of("installed"), "remove", json!({}));
    assert!(
        plan.notes[0].contains("shop"),
        "what is cut off comes first: {:?}",
        plan.notes
    );
    let error = Cluster::of("given").plan("remove", json!({})).unwrap_err();
    assert_eq!(error.code, "linkerd-not-installed");
    let error = Cluster::of("installed")
        .plan("remove", json!({"namespace": "mesh"}))
        .unwrap_err();
    assert!(error.remedy.contains("linkerd"), "{error:?}");
}

#[test]
fn what_the_cli_has_made_is_left_to_the_cli() {
    let error = of_cli().plan("remove", json!({})).unwrap_err();
    assert_eq!(error.code, "linkerd-of-cli");
    assert!(error.remedy.contains("linkerd uninstall"), "{error:?}");
}

#[test]
fn the_issuer_of_the_cli_gets_the_names_that_are_taken_here_and_stays_what_it_is() {
    let with = |keys: &'static [&str]| {
        Cluster::of("given").change("linkerd-identity-issuer", |secret| {
            secret["type"] = "Opaque".into();
            secret["data"] = keys.iter().map(|key| ((*key).to_owned(), json!(""))).collect();
        })
    };
    let version = || json!({"version": "edge-26.8.3"});
    let plan = with(&["crt.pem", "key.pem"]).plan("install", version()).unwrap();
    let place = |id: &str| plan.steps.iter().position(|step| step.id == id);
    assert!(place("issuer-names").unwrap() < place("control-plane").unwrap());
    let text = plan_text(&plan);
    assert!(
        text.contains("make: same-as") && text.contains("key: key.pem") && text.contains("type: Opaque"),
        "{text}"
    );
    // Whoever makes it anew keeps its type, which cannot be changed.
    let renewed = with(&["crt.pem", "key.pem", "tls.crt", "tls.key"]);
    assert!(
        !plan_text(&renewed.plan("install", version()).unwrap()).contains("issuer-names"),
        "it has them"
    );
    let text = plan_text(&renewed.plan("renew-issuer", json!({})).unwrap());
    assert!(text.contains("type: Opaque"), "{text}");
    let of = |cluster: Cluster| {
        let findings = cluster.check("install", version());
        findings
            .into_iter()
            .map(|finding| finding.code)
            .collect::<Vec<_>>()
    };
    assert!(of(with(&["crt.pem"])).contains(&"linkerd-issuer-key-missing".to_owned()));
    assert!(of(with(&["tls.crt"])).contains(&"linkerd-issuer-key-missing".to_owned()));
    assert!(of(with(&["key.pem"])).contains(&"linkerd-issuer-type".to_owned()));
}

#[test]
fn what_is_of_no_release_keeps_the_options_that_it_has() {
    let plan = of_cli()
        .plan("install", json!({"version": "edge-25.10.7", "adopt": true}))
        .unwrap();
    assert!(plan.summary.contains("high availability"), "{}", plan.summary);
    assert!(plan_text(&plan).contains("controllerReplicas: 3"));
}

fn of_cli() -> Cluster {
    Cluster::of("installed")
        .maker(by_cli)
        .change("httproutes.gateway.networking.k8s.io", by_cli)
}

fn by_cli(object: &mut Value) {
    object["metadata"]["annotations"] = json!({"linkerd.io/created-by": "linkerd/cli edge-25.10.7"});
}

#[test]
fn inject_a_namespace() {
    matches(
        "inject",
        &Cluster::of("given"),
        "inject",
        json!({"namespace": "shop", "restart": true}),
    );
    let ingress = Cluster::of("given")
        .plan("inject", json!({"namespace": "shop", "mode": "ingress"}))
        .unwrap();
    assert!(plan_text(&ingress).contains("linkerd.io/inject: ingress"));
    assert!(ingress.notes[0].contains("1 workloads"), "{:?}", ingress.notes);
}

#[test]
fn inject_a_workload() {
    let given = json!({"namespace": "shop", "workload": "deployment/web", "mode": "disabled"});
    matches("inject-workload", &Cluster::of("given"), "inject", given);
    let error = Cluster::of("given")
        .plan(
            "inject",
            json!({"namespace": "shop", "workload": "Deployment/wbe"}),
        )
        .unwrap_err();
    assert_eq!(error.code, "workload-unknown");
    assert!(error.remedy.contains("Deployment/web"), "{error:?}");
}

#[test]
fn an_annotation_of_others_is_not_taken_back() {
    let error = Cluster::of("installed")
        .plan("uninject", json!({"namespace": "shop"}))
        .unwrap_err();
    assert_eq!(error.code, "annotation-of-others");
    let ours = Cluster::of("installed").change("shop", |namespace| {
        namespace["metadata"]["annotations"]["linkerd.meshery.io/injection"] = "enabled".into();
    });
    matches("uninject", &ours, "uninject", json!({"namespace": "shop"}));
}

#[test]
fn restart_of_the_control_plane_and_of_a_namespace() {
    matches(
        "restart",
        &Cluster::of("installed"),
        "restart",
        json!({"namespace": "linkerd"}),
    );
    let plan = Cluster::of("installed")
        .plan("restart", json!({"namespace": "shop"}))
        .unwrap();
    assert!(plan_text(&plan).contains("restart apps/v1/Deployment/shop/web"));
    let error = Cluster::of("empty")
        .plan("restart", json!({"namespace": "going"}))
        .unwrap_err();
    assert_eq!(error.code, "nothing-to-restart");
}

#[test]
fn restart_of_everything_asks_before_each_namespace() {
    let plan = matches("restart-all", &Cluster::of("installed"), "restart-all", json!({}));
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "pod-taken",
            "control-plane",
            "control-plane-ready",
            "gate-shop",
            "restart-shop",
            "ready-shop"
        ]
    );
    let error = Cluster::of("given").plan("restart-all", json!({})).unwrap_err();
    assert_eq!(error.code, "linkerd-not-installed");
}

#[test]
fn samples_in_and_out_of_the_mesh() {
    let given = json!({"namespace": "shop", "inject": true});
    matches(
        "deploy-emojivoto",
        &Cluster::of("empty"),
        "deploy-emojivoto",
        given,
    );
    for sample in ["bookinfo", "httpbin", "imagehub"] {
        let plan = Cluster::of("empty")
            .plan(&format!("deploy-{sample}"), json!({}))
            .unwrap();
        assert!(!plan_text(&plan).contains("linkerd.io/inject"), "{sample}");
    }
}

#[test]
fn extensions_are_releases_and_nothing_of_them_is_made_public() {
    let plan = matches("install-viz", &Cluster::of("installed"), "install-viz", json!({}));
    assert!(!plan_text(&plan).contains("LoadBalancer"));
    let multicluster = |given| {
        plan_text(
            &Cluster::of("installed")
                .plan("install-multicluster", given)
                .unwrap(),
        )
    };
    let inside = multicluster(json!({}));
    assert!(
        inside.contains("serviceType: ClusterIP") && inside.contains("stay inside"),
        "{inside}"
    );
    let public = multicluster(json!({"service_type": "LoadBalancer"}));
    assert!(
        public.contains("serviceType: LoadBalancer") && public.contains("reached from outside"),
        "{public}"
    );
    assert!(!public.contains("stay inside"), "{public}");
    let error = Cluster::of("installed")
        .plan("install-smi", json!({}))
        .unwrap_err();
    assert_eq!(error.code, "unknown-version");
    let mirrored = Cluster::of("installed").mirror("1.0.0", "v0.2.3", &["linkerd-smi"]);
    let plan = mirrored.plan("install-smi", json!({})).unwrap();
    assert!(plan_text(&plan).contains("chart linkerd-smi 1.0.0"));
    let error = Cluster::of("installed")
        .plan("remove-viz", json!({}))
        .unwrap_err();
    assert_eq!(error.code, "extension-not-installed");
}

#[test]
fn the_extension_that_is_gone_says_so() {
    let error = Cluster::of("installed")
        .plan("jaeger-addon", json!({}))
        .unwrap_err();
    assert_eq!(error.code, "extension-gone");
    assert!(
        error.cause.contains("2025-10-01") && error.remedy.contains("collector"),
        "{error:?}"
    );
}

#[test]
fn definitions_of_the_gateway_api_are_brought_only_where_nobody_else_has() {
    let values = |cluster: &Cluster, wish: &str| {
        plan_text(&cluster.plan("install", json!({"gateway_api": wish})).unwrap())
    };
    assert!(values(&Cluster::of("given"), "missing").contains("installGatewayAPI: true"));
    // Its own release brought them before.
    assert!(values(&Cluster::of("installed"), "missing").contains("installGatewayAPI: true"));
    let of_others = Cluster::of("installed").change("httproutes.gateway.networking.k8s.io", |object| {
        object["metadata"]["annotations"] = json!({});
    });
    let text = values(&of_others, "missing");
    assert!(
        text.contains("enableHttpRoutes: false") && text.contains("enableTlsRoutes: true"),
        "{text}"
    );
    assert!(values(&Cluster::of("given"), "none").contains("installGatewayAPI: false"));
    let blind = Cluster::of("given").forbid(&[("apiextensions.k8s.io", "CustomResourceDefinition")]);
    let error = blind.plan("install", json!({})).unwrap_err();
    assert_eq!(
        error.code, "facts-incomplete",
        "what may not be read is not taken to be absent"
    );
}

#[test]
fn proxies_come_from_where_images_come_from() {
    let request = PlanRequest {
        images: Images {
            registry: "registry.corp/mirror".into(),
            pull_secrets: vec!["regcred".into()],
        },
        ..Cluster::of("given").request("install", json!({}))
    };
    let text = plan_text(&Linkerd.plan(request).unwrap());
    for wanted in [
        "name: registry.corp/mirror/linkerd/proxy",
        "controllerImage: registry.corp/mirror/linkerd/controller",
        "name: regcred",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn a_rotation_has_its_order() {
    let plan = matches(
        "rotate-anchor",
        &Cluster::of("installed"),
        "rotate-anchor",
        json!({}),
    );
    let place = |id: &str| plan.steps.iter().position(|step| step.id == id).unwrap();
    let order = [
        "anchor",
        "both",
        "control-plane-ready",
        "trust-shop",
        "all-trust-both",
        "issuer-gate",
        "back-shop",
        "control-plane-renewed-again",
        "identity-again",
        "issuer",
        "renew-shop",
        "all-renewed",
        "new-alone-gate",
        "control-plane-again",
        "new-alone",
        "old-anchor",
    ]
    .map(place);
    assert!(order.is_sorted(), "{order:?}");
    let error = Cluster::of("empty").plan("rotate-anchor", json!({})).unwrap_err();
    assert_eq!(error.code, "linkerd-not-installed");
}

#[test]
fn an_anchor_that_has_ended_is_replaced_before_anybody_is_restarted() {
    let cluster = Cluster::of("installed").now("2027-01-02T00:00:00Z");
    let plan = matches("replace-anchor", &cluster, "replace-anchor", json!({}));
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "pod-taken",
            "anchor",
            "trust",
            "control-plane",
            "control-plane-ready",
            "restart-shop",
            "old-anchor"
        ]
    );
}

#[test]
fn an_anchor_that_holds_still_comes_back_with_everybody_made_anew() {
    let cluster = Cluster::of("installed").now("2026-06-01T00:00:00Z");
    let plan = cluster.plan("replace-anchor", json!({"cut_off": true})).unwrap();
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(
        ids[1..5],
        ["anchor", "again-shop", "control-plane-again", "trust"]
    );
    let is_of_undo = |step: &&Step| matches!(&step.action, Action::Restart(restart) if restart.in_undo);
    assert_eq!(plan.steps.iter().filter(is_of_undo).count(), 2);
}

#[test]
fn a_pod_that_is_not_newer_than_the_rollout_ends_a_rotation() {
    let plan = Cluster::of("installed").plan("rotate-anchor", json!({})).unwrap();
    let step = plan
        .steps
        .iter()
        .find(|step| step.id == "all-trust-both")
        .unwrap();
    let Action::Expand(expand) = &step.action else {
        panic!("{step:?}")
    };
    let rolled_out = json!([
        {"type": "Available", "lastUpdateTime": "2026-01-01T00:00:00Z"},
        {"type": "Progressing", "lastUpdateTime": "2026-11-26T10:00:07Z"},
    ]);
    let asked = |moment: &'static str, outputs: &Value| {
        let outputs = [("control-plane-ready.rolled-out".to_owned(), outputs.clone())];
        let cluster = Cluster::in_rotation().change("web-1", move |pod| {
            pod["metadata"]["creationTimestamp"] = moment.into();
        });
        cluster.expand("rotate-anchor", expand, outputs.into())
    };
    assert!(
        asked("2026-11-26T10:00:08Z", &rolled_out)
            .unwrap()
            .steps
            .is_empty()
    );
    for moment in ["2026-11-26T10:00:07Z", "2026-11-26T10:00:06Z"] {
        let error = asked(moment, &rolled_out).unwrap_err();
        assert_eq!(error.code, "linkerd-pods-behind");
        assert!(error.message.contains("shop/web-1"), "{}", error.message);
    }
    let error = asked("2026-11-26T10:00:08Z", &json!([])).unwrap_err();
    assert_eq!(error.code, "linkerd-rollout-unknown");
}

#[test]
fn a_list_of_pods_that_could_not_be_read_ends_a_rotation() {
    let cluster = Cluster::of("installed");
    let plan = cluster.plan("rotate-anchor", json!({})).unwrap();
    let step = plan.steps.iter().find(|step| step.id == "all-trust-both");
    let Some(Action::Expand(expand)) = step.map(|step| &step.action) else {
        panic!("{step:?}")
    };
    let rolled_out = json!([{"type": "Progressing", "lastUpdateTime": "2026-11-26T10:00:07Z"}]);
    let outputs = [("control-plane-ready.rolled-out".to_owned(), rolled_out)];
    let error = cluster
        .forbid(&[("", "Pod")])
        .expand("rotate-anchor", expand, outputs.into())
        .unwrap_err();
    assert_eq!(error.code, "facts-incomplete");
}
