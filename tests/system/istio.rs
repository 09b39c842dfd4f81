//! Istio, installed from its real charts on the real control plane by the real host; istiod's part is played.

mod applications;
mod bench;
mod canary;
mod checks;
mod configuring;
mod others;
mod platforms;
mod proof;
mod rollbacks;
mod upgrades;
mod with_helm;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::istiod::Istiod;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

pub use bench::Bench;
use bench::{request, text};

use crate::namespace::eventually;
use crate::{is_long, trial_with_charts};

pub const VERSION: &str = "1.30.2";
pub const SYSTEM: &str = "istio-system";
const LIMIT: Duration = Duration::from_mins(4);
/// What Istio's charts want to be kept.
const DEFINITIONS: usize = 15;

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial_with_charts(
            "istio::is_previewed_installed_used_and_removed_but_for_what_it_keeps",
            whole_life,
        ),
        trial_with_charts(
            "istio::that_nobody_serves_ends_at_its_deadline_with_the_reason_and_is_undone",
            nobody_serves,
        ),
        trial_with_charts(
            "istio::waits_for_an_address_only_when_asked_to",
            address_only_when_asked,
        ),
        trial_with_charts(
            "istio::minimal_is_taken_back_but_for_what_others_have_put_inside",
            taken_back,
        ),
        trial_with_charts(
            "istio::definitions_that_were_kept_are_given_back_as_they_were",
            kept_definitions,
        ),
        trial_with_charts(
            "istio::a_namespace_is_taken_in_and_out_and_a_purge_leaves_nothing",
            in_and_out,
        ),
        trial_with_charts(
            "istio::bookinfo_goes_and_what_was_there_before_stays",
            bookinfo_beside_others,
        ),
        trial_with_charts(
            "istio::is_upgraded_in_place_with_its_values_and_taken_back",
            upgrades::in_place,
        ),
        trial_with_charts(
            "istio::a_release_goes_back_to_an_earlier_revision_and_its_tests_are_run",
            rollbacks::back_and_forth,
        ),
        trial_with_charts(
            "istio::samples_and_addons_come_and_go_without_a_trace",
            applications::come_and_go,
        ),
        trial_with_charts(
            "istio::moves_a_namespace_to_a_revision_beside_the_other_and_back",
            upgrades::by_revision,
        ),
        trial_with_charts(
            "istio::canary_moves_namespace_by_namespace_is_killed_on_its_way_and_taken_back",
            canary::whole_way,
        ),
        trial_with_charts(
            "istio::canary_takes_tags_along_and_ends_before_one_of_others_would_be_left",
            canary::with_tags,
        ),
        trial_with_charts(
            "istio::ambient_prepares_every_node_and_is_taken_back",
            upgrades::ambient,
        ),
        trial_with_charts(
            "istio::values_that_a_chart_does_not_know_are_named_with_the_nearest",
            upgrades::mistyped_values,
        ),
        trial_with_charts(
            "istio::installed_by_us_is_upgraded_rolled_back_and_removed_by_helm",
            with_helm::goes_on,
        ),
        trial_with_charts(
            "istio::installed_by_plain_helm_is_taken_over_and_removed_on_explicit_word_only",
            others::over_plain_helm,
        ),
        trial_with_charts(
            "istio::a_gateway_of_plain_helm_is_removed_on_explicit_word_only",
            others::gateway_of_plain_helm,
        ),
        trial_with_charts(
            "istio::installed_by_istioctl_is_taken_over_and_removed_on_explicit_word_only",
            others::of_istioctl,
        ),
        trial_with_charts(
            "istio::half_there_in_five_ways_is_seen_and_mended",
            others::half_removed,
        ),
        trial_with_charts(
            "istio::what_is_on_the_nodes_goes_with_the_control_planes_that_it_serves",
            checks::far_nodes,
        ),
        trial_with_charts(
            "istio::whose_webhooks_nobody_answers_is_told_with_the_pods_that_are_refused",
            checks::nobody_answers,
        ),
        trial_with_charts(
            "istio::that_refuses_its_sidecars_in_its_own_namespace_is_proved_elsewhere_or_not_begun",
            proof::beside_what_refuses_it,
        ),
        trial_with_charts(
            "istio::on_openshift_gke_and_k3s_gets_what_their_nodes_need",
            platforms::get_what_their_nodes_need,
        ),
        trial_with_charts(
            "istio::gateways_policies_and_filters_come_and_go",
            configuring::come_and_go,
        ),
    ];
    // Minutes, and nothing of which not one or two are tried each time.
    if is_long() {
        trials.push(trial_with_charts(
            "istio::twenty_namespaces_go_over_one_by_one_and_back",
            canary::of_twenty_namespaces,
        ));
        trials.push(trial_with_charts(
            "istio::each_sample_and_addon_and_its_removal_is_taken_back",
            applications::taken_back,
        ));
    }
    trials
}

fn whole_life(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    ensure!(bench.installations()?.is_empty());

    let id = bench
        .host
        .plan(&request("install", &json!({"version": VERSION})))?;
    previewed(&bench.preview(&id)?)?;
    before
        .await_same(&bench.cluster)
        .context("a preview writes nothing")?;

    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    bench.host.order(&id, "run")?;
    let record = bench.host.await_end(&id, LIMIT)?;
    istiod.trouble()?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    installed(&bench)?;
    used(&bench, &istiod)?;

    bench.perform("remove-bookinfo", &json!({"namespace": "shop"}))?;
    let removed = bench.perform("remove", &json!({}))?;
    let kept = removed["left"].as_array().cloned().unwrap_or_default();
    ensure!(kept.len() == DEFINITIONS, "what is kept is listed: {removed:#}");
    ensure!(
        kept.iter()
            .all(|left| text(&left["ref"]).contains("CustomResourceDefinition")
                && !text(&left["why"]).is_empty()),
        "{kept:#?}"
    );
    only_definitions_are_new(&bench, &before)?;
    ensure!(
        bench.installations()?.is_empty(),
        "definitions are no installation"
    );
    Ok(())
}

/// Every object by name, each with how sure its fate is.
fn previewed(preview: &Value) -> anyhow::Result<()> {
    let objects = preview["objects"].as_array().context("a preview has objects")?;
    let created: Vec<&Value> = objects
        .iter()
        .filter(|object| object["change"] == "create")
        .collect();
    // Two namespaces, what the charts hold (17, 17 and 6), and Helm's record of each.
    ensure!(created.len() == 45, "{} objects: {preview:#}", created.len());
    for (reference, certainty) in [
        ("v1/Namespace//istio-system", "verified"),
        (
            "apiextensions.k8s.io/v1/CustomResourceDefinition//gateways.networking.istio.io",
            "verified",
        ),
        (
            "rbac.authorization.k8s.io/v1/ClusterRole//istiod-clusterrole-istio-system",
            "verified",
        ),
        // Their namespaces come with the plan.
        ("apps/v1/Deployment/istio-system/istiod", "local"),
        ("v1/Service/istio-ingress/istio-ingressgateway", "local"),
    ] {
        let found = created.iter().find(|object| object["ref"] == reference);
        let found = found.with_context(|| format!("{reference} is not previewed: {preview:#}"))?;
        ensure!(found["certainty"] == certainty, "{found:#}");
    }
    ensure!(
        objects.iter().all(|object| object["error"].is_null()
            && ["verified", "local", "decided-later"].contains(&text(&object["certainty"]))),
        "{preview:#}"
    );
    let risks = preview["risks"].as_array().map_or(0, Vec::len);
    ensure!(risks > 0, "webhooks and cluster roles are risks");
    Ok(())
}

fn installed(bench: &Bench) -> anyhow::Result<()> {
    let found = bench.installations()?;
    let [installation] = &found[..] else {
        anyhow::bail!("one installation: {found:#?}");
    };
    for (field, value) in [
        ("version", VERSION),
        ("namespace", SYSTEM),
        ("revision", "default"),
        ("health", "healthy"),
        ("installed_by", "meshery"),
    ] {
        ensure!(installation[field] == value, "{field}: {installation:#}");
    }
    ensure!(
        installation["components"].as_array().map(Vec::len) == Some(2),
        "{installation:#}"
    );
    let gateway = bench.containers("istio-ingress")?;
    ensure!(
        !gateway.is_empty()
            && gateway
                .values()
                .flatten()
                .all(|container| !container.ends_with("=auto")),
        "the gateway's pods were made when the injector served: {gateway:?}"
    );
    Ok(())
}

/// Bookinfo in a namespace of the mesh: every pod gets a sidecar, every route passes the validator.
fn used(bench: &Bench, istiod: &Istiod) -> anyhow::Result<()> {
    bench.perform(
        "deploy-bookinfo",
        &json!({"namespace": "shop", "inject": true, "expose": true}),
    )?;
    let pods = bench.containers("shop")?;
    ensure!(pods.len() == 6, "{pods:?}");
    for (pod, containers) in &pods {
        ensure!(
            containers.len() == 2
                && containers
                    .iter()
                    .any(|container| container.starts_with("istio-proxy=")),
            "{pod}: {containers:?}"
        );
    }
    let injected = istiod.injected();
    ensure!(
        injected.iter().any(|pod| pod.starts_with("shop/")),
        "{injected:?}"
    );
    let validated = istiod.validated();
    ensure!(
        validated.contains(&"VirtualService shop/bookinfo".to_owned()),
        "{validated:?}"
    );
    let found = bench.installations()?;
    ensure!(found[0]["namespaces"] == json!(["shop"]), "{found:#?}");
    let analysis = bench
        .host
        .get("/api/v1/clusters/-/analyze?adapter=istio")?
        .expect(200)?;
    let items = analysis["items"].as_array().context("items")?;
    let said: Vec<&str> = items.iter().map(|finding| text(&finding["code"])).collect();
    ensure!(
        said.contains(&"podsinmesh") && said.contains(&"conflictingvirtualservicehost"),
        "every vetter says something: {analysis:#}"
    );
    ensure!(
        items.iter().all(|finding| finding["severity"] != "error"),
        "{analysis:#}"
    );
    Ok(())
}

fn only_definitions_are_new(bench: &Bench, before: &Snapshot) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let differences = before.differences(&Snapshot::take(&bench.cluster)?);
        let istios = |name: &&String, kind: &str| {
            name.starts_with(&format!("+ {kind}//")) && name.ends_with(".istio.io")
        };
        let (kept, more): (Vec<String>, Vec<String>) = differences
            .into_iter()
            // The API server makes these for groups that definitions serve.
            .filter(|name| !istios(&name, "apiregistration.k8s.io/v1/APIService"))
            .partition(|name| istios(&name, "apiextensions.k8s.io/v1/CustomResourceDefinition"));
        if more.is_empty() {
            ensure!(kept.len() == DEFINITIONS, "{kept:#?}");
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "more is left than what Istio keeps:\n{}",
            more.join("\n")
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn nobody_serves(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let wish = json!({"version": VERSION, "deadline": 5});
    let record = bench.host.perform(&request("install", &wish), "undone", LIMIT)?;
    let error = &record["error"];
    let said = format!("{} {}", text(&error["message"]), text(&error["cause"]));
    ensure!(
        said.contains("istio-sidecar-injector")
            || said.contains("istio-validator")
            || said.contains("istiod-default"),
        "the reason names what was waited for: {record:#}"
    );
    ensure!(!text(&error["remedy"]).is_empty(), "{error:#}");
    let step = step(&record, "istiod-ready")?;
    ensure!(step["state"] == "failed", "{record:#}");
    ensure!(step_state(&record, "gateway")? != "done", "{record:#}");
    before.await_same(&bench.cluster)?;
    ensure!(bench.installations()?.is_empty());
    Ok(())
}

fn step<'a>(record: &'a Value, id: &str) -> anyhow::Result<&'a Value> {
    let steps = record["steps"].as_array().context("a record has steps")?;
    steps
        .iter()
        .find(|step| step["id"] == id)
        .with_context(|| format!("no step {id}: {record:#}"))
}

fn step_state<'a>(record: &'a Value, id: &str) -> anyhow::Result<&'a str> {
    Ok(text(&step(record, id)?["state"]))
}

fn address_only_when_asked(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    // Nobody gives addresses to load balancers here.
    let wish = json!({"version": VERSION, "deadline": 20, "wait_for_address": true});
    let record = bench.host.perform(&request("install", &wish), "undone", LIMIT)?;
    istiod.trouble()?;
    let said = format!("{:#}", record["error"]);
    ensure!(
        said.contains("v1/Service/istio-ingress/istio-ingressgateway"),
        "the reason names the Service: {record:#}"
    );
    before.await_same(&bench.cluster)
}

fn taken_back(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    let wish = json!({"version": VERSION, "profile": "minimal"});
    let record = bench
        .host
        .perform(&request("install", &wish), "succeeded", LIMIT)?;
    istiod.trouble()?;

    bench.kubectl(&["create", "configmap", "of-somebody", "--namespace", SYSTEM])?;
    let id = text(&record["id"]);
    let record = bench.host.take_back(id, "undo-incomplete", LIMIT)?;
    let left = format!("{:#}", record["left"]);
    ensure!(left.contains("v1/Namespace//istio-system"), "{record:#}");
    ensure!(
        left.contains("of-somebody"),
        "what is inside is named: {record:#}"
    );
    bench.get(&["configmap", "of-somebody", "--namespace", SYSTEM])?;

    bench.kubectl(&["delete", "namespace", SYSTEM])?;
    before.await_same(&bench.cluster)
}

/// What another installation left is changed by the next one, and changed back when that one fails.
fn kept_definitions(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    bench.perform("install", &json!({"version": VERSION, "profile": "minimal"}))?;
    istiod.trouble()?;
    bench.perform("remove", &json!({}))?;
    drop(istiod);

    let kept = Snapshot::take(&bench.cluster)?;
    let wish = json!({"version": "1.30.3", "profile": "minimal", "deadline": 5});
    let id = bench.host.plan(&request("install", &wish))?;
    let preview = bench.preview(&id)?;
    ensure!(preview["counts"]["update"] == DEFINITIONS, "{preview:#}");
    bench.host.order(&id, "run")?;
    let record = bench.host.await_end(&id, LIMIT)?;
    ensure!(record["state"] == "undone", "{record:#}");
    kept.await_same(&bench.cluster)
}

fn in_and_out(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let istiod = Istiod::start_with_household(&bench.cluster, SYSTEM)?;
    bench.perform("install", &json!({"version": VERSION, "profile": "minimal"}))?;
    istiod.trouble()?;
    bench.kubectl(&["create", "namespace", "shop"])?;
    bench.kubectl(&["create", "deployment", "web", "--image=web", "--namespace=shop"])?;
    // Pods that are going have not gone yet.
    let sidecar = |wanted: bool| {
        eventually(|| {
            let pods = bench.containers("shop")?;
            let has = |containers: &Vec<String>| containers.iter().any(|c| c.starts_with("istio-proxy="));
            ensure!(
                pods.len() == 1 && pods.values().all(|containers| has(containers) == wanted),
                "{pods:?}"
            );
            Ok(())
        })
    };
    sidecar(false)?;
    let shop = json!({"namespace": "shop", "restart": true});
    bench.and_back("inject", &shop)?;
    sidecar(false)?;
    bench.perform("inject", &shop)?;
    sidecar(true)?;
    bench.and_back("uninject", &shop)?;
    sidecar(true)?;
    bench.perform("uninject", &shop)?;
    sidecar(false)?;
    let namespace = bench.get(&["namespace", "shop"])?;
    ensure!(
        namespace["metadata"]["labels"]["istio-injection"].is_null(),
        "{namespace:#}"
    );

    let secret = ["secret", "istio-ca-secret", "--namespace", SYSTEM];
    bench.get(&secret).context("the household was kept")?;
    // Somebody's own policy goes with its definition, and comes back with an undo.
    let policy = json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "theirs", "namespace": "shop"}, "spec": {"action": "DENY", "rules": [{}]}});
    let file = bench.cluster.dir().join("theirs.json");
    std::fs::write(&file, policy.to_string())?;
    bench.kubectl(&["apply", "--server-side", "-f", &file.to_string_lossy()])?;
    let theirs = ["authorizationpolicy", "theirs", "--namespace=shop"];
    let spec = bench.get(&theirs)?["spec"].clone();
    let whole = Snapshot::take(&bench.cluster)?;
    let purge = json!({"purge": true, "custom-resources": true});
    let removed = bench.perform("remove", &purge)?;
    ensure!(
        removed["notes"]
            .to_string()
            .contains("AuthorizationPolicy/shop/theirs"),
        "{removed:#}"
    );
    ensure!(bench.get(&theirs).is_err(), "it is still there");
    let id = removed["id"].as_str().context("an id")?;
    bench.host.take_back(id, "undone", LIMIT)?;
    ensure!(bench.get(&theirs)?["spec"] == spec);
    whole.await_remade(&bench.cluster).context("given back")?;
    bench.perform("remove", &purge)?;
    bench.kubectl(&["delete", "namespace", "shop"])?;
    before.await_same(&bench.cluster)
}

fn bookinfo_beside_others(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let shop = ["--namespace", "shop"];
    bench.kubectl(&["create", "namespace", "shop"])?;
    bench.kubectl(&[&["create", "serviceaccount", "bookinfo-ratings"], &shop[..]].concat())?;
    let before = eventually(|| {
        let before = Snapshot::take(&bench.cluster)?;
        // Kubernetes puts these into every namespace, a moment later.
        let has = |name: &str| before.names().any(|known| known == name);
        ensure!(has("v1/ServiceAccount/shop/default") && has("v1/ConfigMap/shop/kube-root-ca.crt"));
        Ok(before)
    })?;

    let wish = request("deploy-bookinfo", &json!({"namespace": "shop"}));
    let record = bench.host.perform(&wish, "succeeded", LIMIT)?;
    let findings = format!("{:#}", record["findings"]);
    ensure!(
        findings.contains("v1/ServiceAccount/shop/bookinfo-ratings"),
        "{findings}"
    );
    let removed = bench.perform("remove-bookinfo", &json!({"namespace": "shop"}))?;
    let left = format!("{:#}", removed["left"]);
    ensure!(
        left.contains("v1/ServiceAccount/shop/bookinfo-ratings") && left.contains("v1/Namespace//shop"),
        "what stays is listed: {removed:#}"
    );

    // The label that says what it is part of is all that was added to it.
    let unlabel = [
        "label",
        "serviceaccount",
        "bookinfo-ratings",
        "account-",
        "app.kubernetes.io/part-of-",
    ];
    bench.kubectl(&[&unlabel[..], &shop].concat())?;
    let same = |difference: &String| {
        difference.starts_with("~ v1/ServiceAccount/shop/bookinfo-ratings")
            && difference.contains("\"labels\":{}")
    };
    let differences = before.differences(&Snapshot::take(&bench.cluster)?);
    ensure!(differences.iter().all(same), "{}", differences.join("\n"));
    Ok(())
}
