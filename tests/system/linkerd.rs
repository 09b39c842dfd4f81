//! Linkerd, installed from its real charts on the real control plane by the real host; its webhooks are played.

mod bench;
mod mutual_trust;
mod others;
mod policies;
mod recovery;
mod repairs;
mod rollbacks;
mod rotation;
mod variants;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Trial;
use meshery_tests::artifacts;
use meshery_tests::istiod::Istiod;
use meshery_tests::linkerd::Linkerd;
use meshery_tests::proxy::{Action, FaultProxy};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

pub use bench::Bench;

use crate::namespace::eventually;
use crate::{cluster, is_long, trial_with_charts};

pub const OLDER: &str = "edge-25.10.7";
pub const NEWER: &str = "edge-26.8.3";
pub const SYSTEM: &str = "linkerd";
const LIMIT: Duration = Duration::from_mins(4);
/// What Linkerd's chart brings of the Gateway API, and wants to be kept.
const KEPT: usize = 4;

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial_with_charts(
            "linkerd::is_installed_upgraded_used_and_removed_but_for_what_is_kept",
            whole_life,
        ),
        trial_with_charts(
            "linkerd::without_anchors_is_refused_and_that_nobody_serves_is_undone",
            refused_and_undone,
        ),
        trial_with_charts("linkerd::trust_is_made_once_and_its_issuer_renewed", trust),
        trial_with_charts(
            "linkerd::the_anchor_is_rotated_and_what_would_be_cut_off_stops_that",
            rotation::rotated,
        ),
        trial_with_charts(
            "linkerd::a_mesh_whose_anchor_has_ended_gets_a_new_one_and_everybody_is_restarted",
            recovery::recovered,
        ),
        trial_with_charts(
            "linkerd::installed_by_plain_helm_is_upgraded_and_removed_on_explicit_word_only",
            others::over_plain_helm,
        ),
        trial_with_charts(
            "linkerd::anchors_of_a_chart_are_taken_out_of_its_hands_and_stay",
            others::anchors_taken_out,
        ),
        trial_with_charts(
            "linkerd::installed_by_its_cli_is_removed_on_explicit_word_only",
            others::of_cli,
        ),
        trial_with_charts(
            "linkerd::installed_by_its_cli_is_taken_over_with_its_anchors_and_issuer_and_given_back",
            others::from_cli,
        ),
        trial_with_charts(
            "linkerd::samples_and_what_is_brought_come_and_go_without_a_trace",
            variants::come_and_go,
        ),
        trial_with_charts(
            "linkerd::highly_available_and_with_each_wish_about_the_gateway_api_is_taken_back",
            variants::options,
        ),
        trial_with_charts(
            "linkerd::what_has_no_chart_here_or_is_gone_is_told_before_anything_is_written",
            variants::told,
        ),
        trial_with_charts("linkerd::and_istio_inject_each_their_own_namespace", beside_istio),
        trial_with_charts(
            "linkerd::and_istio_tell_a_server_whose_clock_is_off_before_they_are_installed",
            clock_is_off,
        ),
    ];
    // Minutes, and of each the like is tried each time.
    if is_long() {
        trials.push(trial_with_charts(
            "linkerd::half_there_in_five_ways_is_seen_and_mended",
            repairs::half_removed,
        ));
        trials.push(trial_with_charts(
            "linkerd::each_sample_and_its_removal_is_taken_back",
            variants::taken_back,
        ));
        trials.push(trial_with_charts(
            "linkerd::the_anchor_of_twenty_namespaces_is_rotated_one_by_one_and_back",
            rotation::of_twenty_namespaces,
        ));
    }
    trials
}

fn trust(charts: &Path) -> anyhow::Result<()> {
    let plugins = tempfile::tempdir()?;
    let scripted = artifacts::build()?.library("fixture_scripted_mesh")?;
    std::fs::copy(scripted, plugins.path().join("libfixture_scripted_mesh.so"))?;
    let bench = Bench::with(charts, |host| host.plugins(plugins.path()))?;
    let before = Snapshot::take(&bench.cluster)?;
    let parameters = json!({"namespace": "trusted", "keep_anchor_key": true});
    let made = bench.perform("linkerd", "make-trust", &parameters)?;
    let secret = |name: &str| bench.get(&["secret", name, "--namespace", "trusted"]);
    let anchor = secret("linkerd-trust-anchor")?;
    let issuer = secret("linkerd-identity-issuer")?;
    ensure!(issuer["type"] == "kubernetes.io/tls" && issuer["data"]["ca.crt"] == anchor["data"]["tls.crt"]);
    let roots = bench.get(&[
        "configmap",
        "linkerd-identity-trust-roots",
        "--namespace",
        "trusted",
    ])?;
    let bundle = roots["data"]["ca-bundle.crt"].as_str().context("the anchors")?;
    ensure!(bundle.starts_with("-----BEGIN CERTIFICATE-----"), "{bundle}");

    // What is there is never replaced, and what Linkerd would be installed with is believed.
    bench.perform("linkerd", "make-trust", &parameters)?;
    ensure!(secret("linkerd-identity-issuer")?["data"] == issuer["data"]);
    let install =
        json!({"adapter": "linkerd", "operation": "install", "parameters": {"namespace": "trusted"}});
    bench.host.plan(&install)?;

    let renewed = bench.perform("linkerd", "renew-issuer", &json!({"namespace": "trusted"}))?;
    let now = secret("linkerd-identity-issuer")?;
    ensure!(now["data"]["tls.crt"] != issuer["data"]["tls.crt"]);
    ensure!(now["data"]["ca.crt"] == anchor["data"]["tls.crt"]);
    ensure!(secret("linkerd-trust-anchor")?["data"] == anchor["data"]);

    // No key is where it should not be: neither in what is told nor in what is stored.
    let told = bench
        .host
        .get(&format!("/api/v1/operations/{}/record", text(&renewed["id"])))?
        .text();
    let mut stored = Vec::new();
    for file in std::fs::read_dir(bench.host.provider_folder()?)? {
        let file = file?.path();
        if file.is_file() {
            stored.extend(std::fs::read(file)?);
        }
    }
    for key in [&anchor, &issuer, &now] {
        let key = text(&key["data"]["tls.key"]);
        ensure!(key.len() > 100, "a key");
        // From its middle: the beginning is the same for all keys.
        let marker = &key[100..160];
        ensure!(!told.contains(marker), "a key was told");
        let found = stored
            .windows(marker.len())
            .any(|window| window == marker.as_bytes());
        ensure!(!found, "a key is in the store");
    }

    bench.host.take_back(text(&renewed["id"]), "undone", LIMIT)?;
    ensure!(secret("linkerd-identity-issuer")?["data"] == issuer["data"]);

    // A second anchor beside the first, as a rotation begins; and the first one alone again.
    let second = "v1/Secret/trusted/second-anchor";
    let anchors = "v1/ConfigMap/trusted/linkerd-identity-trust-roots";
    let both = bench.perform(
        "scripted",
        "script",
        &json!({"steps": [{"id": "both", "kind": "material", "items": [
            {"ref": second, "certificate": {"common_name": "second.example", "authority": true, "lifetime_h": 48}},
            {"ref": anchors, "replace": true,
             "entries": {"ca-bundle.crt": {"make": "bundle", "of": [anchors, second]}}},
        ]}]}),
    )?;
    let roots = |wanted: &[&Value]| -> anyhow::Result<()> {
        let there = bench.get(&[
            "configmap",
            "linkerd-identity-trust-roots",
            "--namespace",
            "trusted",
        ])?;
        let mut expected = Vec::new();
        for secret in wanted {
            expected.extend(STANDARD.decode(text(&secret["data"]["tls.crt"]))?);
        }
        ensure!(
            text(&there["data"]["ca-bundle.crt"]).as_bytes() == expected,
            "{there:#}"
        );
        Ok(())
    };
    roots(&[&anchor, &secret("second-anchor")?])?;
    bench.host.take_back(text(&both["id"]), "undone", LIMIT)?;
    roots(&[&anchor])?;
    bench.host.take_back(text(&made["id"]), "undone", LIMIT)?;
    before.await_same(&bench.cluster)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn codes(findings: &Value) -> Vec<&str> {
    let findings = findings.as_array().map(Vec::as_slice).unwrap_or_default();
    findings.iter().map(|finding| text(&finding["code"])).collect()
}

fn whole_life(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = bench.with_trust()?;
    let linkerd = Linkerd::start(&bench.cluster, SYSTEM)?;
    bench.perform("linkerd", "install", &json!({"version": OLDER}))?;
    linkerd.trouble()?;
    let found = bench.installation()?.context("an installation")?;
    for (field, value) in [
        ("version", "2025.10.7"),
        ("health", "healthy"),
        ("installed_by", "meshery"),
    ] {
        ensure!(found[field] == value, "{field}: {found:#}");
    }
    nobody_answers(&bench)?;
    // The validators fail open: nothing waits for them.
    let policy = json!({"apiVersion": "policy.linkerd.io/v1beta3", "kind": "Server",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "port": 80}});
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), policy.to_string())?;
    let path = file.path().to_string_lossy().into_owned();
    eventually(|| {
        bench.kubectl(&["create", "--dry-run=server", "--filename", &path])?;
        ensure!(linkerd.validated().contains(&"Server default/web".to_owned()));
        Ok(())
    })?;

    bench.perform(
        "linkerd",
        "deploy-emojivoto",
        &json!({"namespace": "shop", "inject": true}),
    )?;
    bench.all_have("shop", &["linkerd-proxy"])?;
    let found = bench.installation()?.context("an installation")?;
    let first = &found["members"]["namespaces"][0];
    let told = |list: &str| {
        first[list]["names"]
            .as_array()
            .map(|names| names.contains(&json!("Deployment/web")))
    };
    ensure!(
        first["namespace"] == "shop" && first["joined"] == "by-namespace",
        "{found:#}"
    );
    ensure!(
        (told("in"), told("out")) == (Some(true), Some(false)),
        "{found:#}"
    );
    in_and_out(&bench)?;

    let issuer = bench.get(&["secret", "linkerd-identity-issuer", "--namespace", SYSTEM])?;
    repairs::ended_certificate(&bench, || {
        bench
            .perform("linkerd", "upgrade", &json!({"version": NEWER}))
            .map(drop)
    })?;
    linkerd.trouble()?;
    ensure!(
        issuer == bench.get(&["secret", "linkerd-identity-issuer", "--namespace", SYSTEM])?,
        "the issuer is not touched"
    );
    let found = bench.installation()?.context("an installation")?;
    ensure!(found["version"] == "2026.8.3", "{found:#}");
    ensure!(
        codes(&found["findings"]).contains(&"linkerd-proxies-behind"),
        "{found:#}"
    );
    rollbacks::back_and_forth(&bench, ("2025.10.7", "2026.8.3"))?;
    linkerd.trouble()?;
    namespace_by_namespace(&bench)?;
    restarted(&bench)?;
    eventually(|| {
        let found = bench.installation()?.context("an installation")?;
        ensure!(
            !codes(&found["findings"]).contains(&"linkerd-proxies-behind"),
            "{found:#}"
        );
        Ok(())
    })?;

    bench.perform("linkerd", "remove-emojivoto", &json!({"namespace": "shop"}))?;
    // Somebody's own policy keeps its definition, unless it is to go with it.
    let networks = json!({"apiVersion": "policy.linkerd.io/v1alpha1", "kind": "NetworkAuthentication",
        "metadata": {"name": "theirs", "namespace": "default"}, "spec": {"networks": [{"cidr": "10.0.0.0/8"}]}});
    let file = bench.cluster.dir().join("networks.json");
    std::fs::write(&file, networks.to_string())?;
    bench.kubectl(&["apply", "--server-side", "-f", &file.to_string_lossy()])?;
    let removed = bench.perform("linkerd", "remove", &json!({"custom-resources": true}))?;
    ensure!(
        removed["notes"]
            .to_string()
            .contains("NetworkAuthentication/default/theirs"),
        "{removed:#}"
    );
    let left = removed["left"].as_array().cloned().unwrap_or_default();
    let definitions = |left: &&Value| text(&left["ref"]).contains("CustomResourceDefinition//");
    ensure!(left.iter().filter(definitions).count() == KEPT, "{removed:#}");
    drop(linkerd);
    ensure!(bench.installation()?.is_none());
    eventually(|| {
        let more: Vec<String> = before
            .differences(&Snapshot::take(&bench.cluster)?)
            .into_iter()
            .filter(|name| !name.contains("gateway.networking.k8s.io"))
            .collect();
        ensure!(more.is_empty(), "{}", more.join("\n"));
        Ok(())
    })
}

/// While the injector's Service selects nobody, pods come without a proxy, and that is told.
fn nobody_answers(bench: &Bench) -> anyhow::Result<()> {
    let select = |component: &str| {
        let patch = json!({"spec": {"selector": {"linkerd.io/control-plane-component": component}}});
        let patch = format!("--patch={patch}");
        let service = [
            "patch",
            "service",
            "linkerd-proxy-injector",
            "--namespace",
            SYSTEM,
        ];
        bench.kubectl(&[&service[..], &["--type=merge", &patch]].concat())
    };
    let is = |health: &str, told: bool| {
        eventually(|| {
            let found = bench.installation()?.context("an installation")?;
            let has = codes(&found["findings"]).contains(&"linkerd-webhook-without-endpoints");
            ensure!(found["health"] == health && has == told, "{found:#}");
            Ok(())
        })
    };
    select("nobody")?;
    is("degraded", true)?;
    let inject = json!({"adapter": "linkerd", "operation": "inject", "parameters": {"namespace": "default"}});
    let refused = bench.host.post("/api/v1/operations", &inject)?.expect(409)?;
    ensure!(
        refused["code"] == "linkerd-webhook-without-endpoints"
            && text(&refused["detail"]).contains("new pods in default get no proxy"),
        "{refused:#}"
    );
    select("proxy-injector")?;
    is("healthy", false)
}

/// Nothing of a namespace is restarted before somebody has said yes.
fn namespace_by_namespace(bench: &Bench) -> anyhow::Result<()> {
    let pods = || -> anyhow::Result<Vec<String>> {
        let pods = bench.get(&["pods", "--namespace", "shop"])?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        Ok(pods
            .iter()
            .map(|pod| text(&pod["metadata"]["uid"]).to_owned())
            .collect())
    };
    let before = pods()?;
    let whole = Snapshot::take(&bench.cluster)?;
    let request = json!({"adapter": "linkerd", "operation": "restart-all"});
    let id = bench.host.plan(&request)?;
    bench.host.order(&id, "run")?;
    bench.host.await_state(&id, &["paused"], LIMIT)?;
    ensure!(before == pods()?, "the gate is shut");
    bench.host.order(&id, "approve")?;
    let record = bench.host.await_end(&id, LIMIT)?;
    ensure!(record["state"] == "succeeded", "{record:#}");
    ensure!(pods()?.iter().any(|pod| !before.contains(pod)), "made again");
    bench.host.take_back(&id, "undone", LIMIT)?;
    whole.await_restarted(&bench.cluster)
}

/// The control plane, and the workloads of a namespace; and that all of it is taken back, which restarts nothing.
fn restarted(bench: &Bench) -> anyhow::Result<()> {
    for namespace in [SYSTEM, "shop"] {
        let named = json!({"namespace": namespace});
        let before = bench.uids(namespace)?;
        bench.and_back("restart", &named)?;
        let after = bench.uids(namespace)?;
        ensure!(
            !after.is_empty() && after.iter().all(|pod| !before.contains(pod)),
            "{namespace}: {before:?} {after:?}"
        );
    }
    Ok(())
}

/// By annotation of a namespace, and of one workload in it.
fn in_and_out(bench: &Bench) -> anyhow::Result<()> {
    bench.kubectl(&["create", "namespace", "bazaar"])?;
    bench.kubectl(&["create", "deployment", "web", "--image=web", "--namespace=bazaar"])?;
    bench.all_have("bazaar", &[])?;
    let bazaar = json!({"namespace": "bazaar", "restart": true, "mode": "ingress"});
    bench.and_back("inject", &bazaar)?;
    bench.all_have("bazaar", &[])?;
    bench.perform("linkerd", "inject", &bazaar)?;
    bench.all_have("bazaar", &["linkerd-proxy"])?;
    let pods = bench.get(&["pods", "--namespace", "bazaar"])?;
    ensure!(
        pods.to_string().contains("LINKERD2_PROXY_INGRESS_MODE"),
        "{pods:#}"
    );
    let web = json!({"namespace": "bazaar", "workload": "Deployment/web"});
    let without = json!({"namespace": "bazaar", "workload": "Deployment/web", "mode": "disabled"});
    bench.and_back("inject", &without)?;
    bench.all_have("bazaar", &["linkerd-proxy"])?;
    bench.perform("linkerd", "inject", &without)?;
    bench.all_have("bazaar", &[])?;
    bench.and_back("uninject", &web)?;
    bench.all_have("bazaar", &[])?;
    bench.perform("linkerd", "uninject", &web)?;
    bench.all_have("bazaar", &["linkerd-proxy"])?;
    let all = json!({"namespace": "bazaar", "restart": true});
    bench.and_back("uninject", &all)?;
    bench.all_have("bazaar", &["linkerd-proxy"])?;
    bench.perform("linkerd", "uninject", &all)?;
    bench.all_have("bazaar", &[])?;
    let namespace = bench.get(&["namespace", "bazaar"])?;
    ensure!(
        namespace["metadata"]["annotations"]["linkerd.io/inject"].is_null(),
        "{namespace:#}"
    );
    bench.kubectl(&["delete", "namespace", "bazaar"])?;
    Ok(())
}

fn refused_and_undone(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let install = json!({"adapter": "linkerd", "operation": "install",
        "parameters": {"version": NEWER, "deadline": 5}});
    let refusal = bench.host.post("/api/v1/operations", &install)?.expect(409)?;
    ensure!(refusal["code"] == "linkerd-trust-missing", "{refusal:#}");
    ensure!(
        text(&refusal["detail"]).contains("linkerd-identity-issuer"),
        "{refusal:#}"
    );

    let before = bench.with_trust()?;
    policies::refused_at_first(&bench, &install)?;
    let record = bench.host.perform(&install, "undone", LIMIT)?;
    let said = record["error"].to_string();
    ensure!(
        said.contains("without the mark of a proxy"),
        "the webhook is there, and nobody answers: {record:#}"
    );
    before.await_same(&bench.cluster)?;
    ensure!(bench.installation()?.is_none());
    Ok(())
}

fn beside_istio(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    bench.give_trust()?;
    let istiod = Istiod::start(&bench.cluster, "istio-system")?;
    let linkerd = Linkerd::start(&bench.cluster, SYSTEM)?;
    bench.perform(
        "istio",
        "install",
        &json!({"version": "1.30.2", "profile": "minimal"}),
    )?;
    bench.perform("linkerd", "install", &json!({"version": NEWER}))?;
    istiod.trouble()?;
    linkerd.trouble()?;
    let authority = bench.webhook_calls("istio-sidecar-injector")?;

    for namespace in ["shop", "bazaar"] {
        bench.kubectl(&["create", "namespace", namespace])?;
        bench.kubectl(&[
            "create",
            "deployment",
            "web",
            "--image=web",
            "--namespace",
            namespace,
        ])?;
    }
    bench.perform("istio", "inject", &json!({"namespace": "shop", "restart": true}))?;
    bench.perform(
        "linkerd",
        "inject",
        &json!({"namespace": "bazaar", "restart": true}),
    )?;
    bench.all_have("shop", &["istio-proxy"])?;
    bench.all_have("bazaar", &["linkerd-proxy"])?;

    let both = json!({"adapter": "linkerd", "operation": "inject", "parameters": {"namespace": "shop"}});
    let id = bench.host.plan(&both)?;
    let record = bench.host.get(&format!("/api/v1/operations/{id}"))?.expect(200)?;
    ensure!(codes(&record["findings"]).contains(&"two-meshes"), "{record:#}");

    // So does what is dropped beside the host, taken in by either.
    let front = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "front"}, "spec": {
        "selector": {"matchLabels": {"app": "front"}}, "template": {"metadata": {"labels": {"app": "front"}},
            "spec": {"containers": [{"name": "front", "image": "front"}]}}}});
    let folder = bench.host.data().join("applications/front");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("front.yaml"), front.to_string())?;
    for (mesh, namespace, proxy) in [
        ("istio", "gallery", "istio-proxy"),
        ("linkerd", "museum", "linkerd-proxy"),
    ] {
        let place = json!({"application": "front", "namespace": namespace});
        let mut taken_in = place.clone();
        taken_in["inject"] = true.into();
        bench.perform(mesh, "deploy-application", &taken_in)?;
        bench.all_have(namespace, &[proxy])?;
        bench.perform(mesh, "remove-application", &place)?;
        let left = bench.kubectl(&[
            "get",
            "namespace",
            namespace,
            "--ignore-not-found",
            "--output=name",
        ])?;
        ensure!(left.is_empty(), "{left}");
    }

    bench.perform("linkerd", "remove", &json!({}))?;
    ensure!(
        authority == bench.webhook_calls("istio-sidecar-injector")?,
        "the other mesh is left alone"
    );
    bench.kubectl(&["rollout", "restart", "deployment/web", "--namespace=shop"])?;
    bench.all_have("shop", &["istio-proxy"])
}

fn clock_is_off(charts: &Path) -> anyhow::Result<()> {
    let cluster = cluster()?;
    let proxy = FaultProxy::start(&cluster)?;
    let bench = Bench::with(charts, |host| host.kubeconfig(proxy.kubeconfig(cluster.dir())))?;
    let untouched = Snapshot::take(&bench.cluster)?;
    bench.give_trust()?;
    let told = |adapter: &str, version: &str| -> anyhow::Result<Vec<String>> {
        let request = json!({"adapter": adapter, "operation": "install", "parameters": {"version": version}});
        let id = bench.host.plan(&request)?;
        let record = bench.host.get(&format!("/api/v1/operations/{id}"))?.expect(200)?;
        let findings = record["findings"].as_array().cloned().unwrap_or_default();
        let clocks = findings.iter().filter(|found| found["code"] == "clock-skew");
        Ok(clocks.map(|found| text(&found["message"]).to_owned()).collect())
    };
    for (ahead_s, which) in [(3600, "ahead of"), (-3600, "behind"), (5, "")] {
        proxy.on(move |_| Action::Dated(ahead_s));
        for (adapter, version) in [("istio", "1.30.2"), ("linkerd", NEWER)] {
            let said = told(adapter, version)?;
            let right = match which {
                "" => said.is_empty(),
                which => said.len() == 1 && said[0].ends_with(&format!(" s {which} this host's")),
            };
            ensure!(right, "{adapter}, {ahead_s} s: {said:?}");
        }
    }
    bench.kubectl(&["delete", "namespace", SYSTEM])?;
    untouched.await_same(&bench.cluster)
}
