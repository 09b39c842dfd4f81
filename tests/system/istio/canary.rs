//! The canary upgrade, looked at where it waits, killed where it waits and where it works, and taken back from its end.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use meshery_tests::istiod::Istiod;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Bench, LIMIT, SYSTEM, VERSION, request, text};
use crate::namespace::{eventually, succeeded};

const NEWER: &str = "1.30.3";
const REVISION: &str = "1-30-3";
const GATEWAYS: &str = "istio-ingress";
const TAG: &str = "istio-revision-tag-prod";

impl Bench {
    fn with_revision(&self, namespace: &str, revision: &str) -> anyhow::Result<()> {
        eventually(|| {
            let there = self.revisions(namespace)?;
            ensure!(there == [revision], "{namespace}: {there:?}");
            Ok(())
        })
    }

    fn labels(&self, namespace: &str) -> anyhow::Result<Value> {
        Ok(self.get(&["namespace", namespace])?["metadata"]["labels"].clone())
    }

    /// Another name of a revision, made by somebody else.
    fn tag(&self, tag: &str, revision: &str) -> anyhow::Result<()> {
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": TAG, "labels": {"istio.io/tag": tag, "istio.io/rev": revision}},
        });
        let file = self.cluster.dir().join("tag.json");
        std::fs::write(&file, configuration.to_string())?;
        self.kubectl(&["create", "-f", &file.to_string_lossy()])?;
        Ok(())
    }

    fn access_log(&self, config: &str) -> anyhow::Result<bool> {
        let config = self.get(&["configmap", config, "--namespace", SYSTEM])?;
        Ok(text(&config["data"]["mesh"]).contains("/dev/fd/7"))
    }
}

pub fn whole_way(charts: &Path) -> anyhow::Result<()> {
    let mut bench = Bench::new(charts)?;
    let old = Istiod::start(&bench.cluster, SYSTEM)?;
    let new = Istiod::start_revision(&bench.cluster, SYSTEM, REVISION)?;
    bench.perform(
        "install",
        &json!({"version": VERSION, "values": {"istiod": {"meshConfig": {"accessLogFile": "/dev/fd/7"}}}}),
    )?;
    for (namespace, ours) in [("shop", true), ("store", false)] {
        bench.kubectl(&["create", "namespace", namespace])?;
        if ours {
            bench.perform("inject", &json!({"namespace": namespace}))?;
        } else {
            bench.kubectl(&["label", "namespace", namespace, "istio-injection=enabled"])?;
        }
        let of_namespace = format!("--namespace={namespace}");
        bench.kubectl(&["create", "deployment", "web", "--image=web", &of_namespace])?;
        bench.with_revision(namespace, "default")?;
    }
    let before = Snapshot::take(&bench.cluster)?;

    // A label of somebody else is not touched without a word, and then the old control plane stays.
    let careful = bench
        .host
        .plan(&request("upgrade-canary", &json!({"version": NEWER})))?;
    let record = bench.host.record(&careful)?;
    ensure!(
        record["notes"].to_string().contains("store") && !record["steps"].to_string().contains("\"old\""),
        "{record:#}"
    );

    let mut wish = request(
        "upgrade-canary",
        &json!({"version": NEWER, "replace-labels": true}),
    );
    wish["policy"] = json!({"force_conflicts": true});
    let id = bench.host.plan(&wish)?;
    let preview = bench.preview(&id)?;
    ensure!(
        preview.to_string().contains("kubectl-label"),
        "whose label is taken over is previewed: {preview:#}"
    );
    bench.kubectl(&["run", "lonely", "--image=lonely", "--namespace=shop"])?;
    bench.tag("prod", "default")?;
    bench.host.order(&id, "run")?;

    let mut gates = Vec::new();
    let record = loop {
        let gate = match bench.host.next_gate(&id, &gates, LIMIT)? {
            Ok(gate) => gate,
            Err(record) => break record,
        };
        at_gate(&mut bench, &id, &gate)?;
        bench.host.order(&id, "approve")?;
        if gate == "gate-store" {
            // In the midst of it, wherever that is.
            bench.host.kill()?;
            bench.host.restart()?;
        }
        gates.push(gate);
    };
    ensure!(
        record["state"] == "succeeded",
        "{record:#}\n{}",
        bench.host.story(&id)
    );
    let all = ["gate-shop", "gate-store", "gateways-gate", "asked-gate"];
    ensure!(gates == all, "{gates:?}");
    moved(&bench)?;
    old.trouble()?;
    new.trouble()?;

    bench.host.take_back(&id, "undone", LIMIT)?;
    for namespace in ["shop", "store", GATEWAYS] {
        bench.with_revision(namespace, "default")?;
    }
    let owner = bench.get(&["namespace", "store", "--show-managed-fields"])?;
    ensure!(
        owner["metadata"]["managedFields"]
            .to_string()
            .contains("kubectl-label"),
        "{owner:#}"
    );
    eventually(|| {
        let mut differences = before.differences_of_remade(&Snapshot::take(&bench.cluster)?);
        // When its pods were made anew is written into it.
        differences.retain(|difference| !difference.starts_with("~ apps/v1/Deployment/"));
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
        Ok(())
    })?;
    old.trouble()
}

/// What is there while it waits, and what somebody does meanwhile.
fn at_gate(bench: &mut Bench, id: &str, gate: &str) -> anyhow::Result<()> {
    bench.get(&["deployment", "istiod", "--namespace", SYSTEM])?;
    match gate {
        "gate-shop" => {
            ensure!(bench.installations()?.len() == 2);
            ensure!(
                bench.access_log(&format!("istio-{REVISION}"))?,
                "the values of the old one go on"
            );
            bench.host.kill()?;
            bench.host.restart()?;
            bench.host.await_state(id, &["paused"], LIMIT)?;
        }
        "gate-store" => {
            let revisions = bench.revisions("shop")?;
            ensure!(revisions == [REVISION, "default"], "lonely stays: {revisions:?}");
            let labels = bench.labels("shop")?;
            ensure!(
                labels["istio-injection"].is_null() && labels["istio.io/rev"] == REVISION,
                "{labels:#}"
            );
            ensure!(bench.revisions("store")? == ["default"]);
        }
        "gateways-gate" => {
            bench.with_revision("store", REVISION)?;
            let labels = bench.labels("store")?;
            ensure!(
                labels["istio-injection"].is_null() && labels["istio.io/rev"] == REVISION,
                "{labels:#}"
            );
        }
        "asked-gate" => {
            bench.with_revision(GATEWAYS, REVISION)?;
            let record = bench.host.record(id)?;
            let steps = record["steps"].as_array().context("steps")?;
            let asked = steps.iter().find(|step| step["id"] == gate).context("the gate")?;
            let asked = asked.to_string();
            ensure!(asked.contains("shop/lonely"), "{asked}");
            ensure!(asked.contains("istioctl tag set prod"), "{asked}");
            bench.kubectl(&["delete", "pod", "lonely", "--namespace=shop"])?;
            bench.kubectl(&["delete", "mutatingwebhookconfiguration", TAG])?;
        }
        other => bail!("there is no gate {other}"),
    }
    Ok(())
}

fn moved(bench: &Bench) -> anyhow::Result<()> {
    ensure!(
        bench
            .get(&["deployment", "istiod", "--namespace", SYSTEM])
            .is_err(),
        "the old control plane is left"
    );
    let found = bench.installations()?;
    ensure!(
        found.len() == 1 && found[0]["revision"] == REVISION && found[0]["version"] == NEWER,
        "{found:#?}"
    );
    ensure!(found[0]["health"] == "healthy", "{found:#?}");
    // Who names no revision gets the new one from now on.
    let later = "later";
    bench.kubectl(&["create", "namespace", later])?;
    bench.kubectl(&["label", "namespace", later, "istio-injection=enabled"])?;
    bench.kubectl(&["run", "pod", "--image=pod", "--namespace", later])?;
    bench.with_revision(later, REVISION)?;
    bench.kubectl(&["delete", "namespace", later])?;
    Ok(())
}

/// A tag of the chart's goes over with its control plane; one of `istioctl tag` ends the upgrade before that goes, unless somebody
/// has moved it.
pub fn with_tags(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let old = Istiod::start(&bench.cluster, SYSTEM)?;
    let new = Istiod::start_revision(&bench.cluster, SYSTEM, REVISION)?;
    bench.perform("install", &json!({"version": VERSION, "profile": "minimal"}))?;
    let archive = charts.join(format!("istio/istiod-{VERSION}.tgz"));
    let archive = archive.to_string_lossy();
    let upgrade = [
        "upgrade",
        "istiod",
        &archive,
        "--namespace",
        SYSTEM,
        "--reuse-values",
    ];
    succeeded(
        bench
            .cluster
            .run_helm(&[&upgrade[..], &["--set=revisionTags={prod}"]].concat()),
    )?;
    let tag = "mutatingwebhookconfigurations/istio-revision-tag-prod";
    eventually(|| {
        let webhooks = bench.get(&[tag])?;
        ensure!(!webhooks["webhooks"][0]["clientConfig"]["caBundle"].is_null());
        Ok(())
    })?;
    bench.kubectl(&["create", "namespace", "shop"])?;
    bench.perform("inject", &json!({"namespace": "shop", "revision": "prod"}))?;
    bench.kubectl(&["create", "deployment", "web", "--image=web", "--namespace=shop"])?;
    bench.with_revision("shop", "default")?;
    let stage = Stage::of_prod(&bench)?;
    bench.refused("remove", &json!({"of-others": true}), "istio-revision-tagged")?;
    let before = Snapshot::take(&bench.cluster)?;

    let run = |move_stage: bool, state: &str| -> anyhow::Result<String> {
        let id = bench.host.plan(&request(
            "upgrade-canary",
            &json!({"version": NEWER, "adopt": true}),
        ))?;
        let record = bench.host.record(&id)?;
        ensure!(
            record["findings"].to_string().contains("istio-tags-of-others"),
            "{record:#}"
        );
        bench.host.order(&id, "run")?;
        let mut gates = Vec::new();
        let record = loop {
            let gate = match bench.host.next_gate(&id, &gates, LIMIT)? {
                Ok(gate) => gate,
                Err(record) => break record,
            };
            if gate == "asked-gate" {
                let steps = bench.host.record(&id)?["steps"].to_string();
                ensure!(steps.contains("istioctl tag set stage"), "{steps}");
                if move_stage {
                    stage.set(REVISION, &format!("istiod-{REVISION}"))?;
                }
            }
            bench.host.order(&id, "approve")?;
            gates.push(gate);
        };
        ensure!(record["state"] == state, "{record:#}\n{}", bench.host.story(&id));
        if state == "undone" {
            ensure!(record["error"]["code"] == "istio-revision-tagged", "{record:#}");
        }
        Ok(id)
    };
    let same = |what: &str| {
        bench.with_revision("shop", "default")?;
        eventually(|| {
            let mut differences = before.differences_of_remade(&Snapshot::take(&bench.cluster)?);
            // When its pods were made anew is written into it.
            differences.retain(|difference| !difference.starts_with("~ apps/v1/Deployment/"));
            ensure!(differences.is_empty(), "{}", differences.join("\n"));
            Ok(())
        })
        .with_context(|| what.to_owned())
    };
    run(false, "undone")?;
    same("ended by a tag")?;

    let id = run(true, "succeeded")?;
    let found = bench.installations()?;
    ensure!(found.len() == 1 && found[0]["revision"] == REVISION, "{found:#?}");
    for tag in ["prod", "stage"] {
        let name = format!("istio-revision-tag-{tag}");
        let webhooks = bench.get(&["mutatingwebhookconfiguration", &name])?;
        let service = &webhooks["webhooks"][0]["clientConfig"]["service"]["name"];
        ensure!(service == &format!("istiod-{REVISION}"), "{tag}: {service}");
        // Who is labelled with it gets the new one.
        let label = format!("istio.io/rev={tag}");
        bench.kubectl(&["create", "namespace", "store"])?;
        bench.kubectl(&["label", "namespace", "store", &label])?;
        bench.kubectl(&["run", "pod", "--image=pod", "--namespace=store"])?;
        bench.with_revision("store", REVISION).context(tag)?;
        bench.kubectl(&["delete", "namespace", "store"])?;
    }
    stage.set("default", "istiod")?;
    bench.host.take_back(&id, "undone", LIMIT)?;
    same("taken back")?;
    old.trouble()?;
    new.trouble()
}

/// A tag as `istioctl tag set` makes it: the chart's webhooks under another name, and of no release.
struct Stage<'a>(&'a Bench);

impl<'a> Stage<'a> {
    fn of_prod(bench: &'a Bench) -> anyhow::Result<Self> {
        let mut webhooks = bench.get(&["mutatingwebhookconfiguration", "istio-revision-tag-prod"])?;
        webhooks["metadata"] = json!({"name": "istio-revision-tag-stage", "labels": {
            "istio.io/tag": "stage", "istio.io/rev": "default", "app": "sidecar-injector",
            "app.kubernetes.io/part-of": "istio"}});
        let text = webhooks.to_string().replace("\"prod\"", "\"stage\"");
        let file = tempfile::NamedTempFile::with_suffix(".json")?;
        std::fs::write(file.path(), text)?;
        bench.kubectl(&["create", "--filename", &file.path().to_string_lossy()])?;
        Ok(Self(bench))
    }

    fn set(&self, revision: &str, service: &str) -> anyhow::Result<()> {
        let name = "istio-revision-tag-stage";
        let webhooks = self.0.get(&["mutatingwebhookconfiguration", name])?;
        let count = webhooks["webhooks"].as_array().map_or(0, Vec::len);
        let path = |at: usize| format!("/webhooks/{at}/clientConfig/service/name");
        let mut patch: Vec<Value> = (0..count)
            .map(|at| json!({"op": "replace", "path": path(at), "value": service}))
            .collect();
        patch.push(json!({"op": "replace", "path": "/metadata/labels/istio.io~1rev", "value": revision}));
        let patch = format!("--patch={}", Value::from(patch));
        self.0.kubectl(&[
            "patch",
            "mutatingwebhookconfiguration",
            name,
            "--type=json",
            &patch,
        ])?;
        Ok(())
    }
}

const NAMESPACES: usize = 20;

/// A mesh of many namespaces goes over one by one, and back.
pub fn of_twenty_namespaces(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let old = Istiod::start(&bench.cluster, SYSTEM)?;
    let new = Istiod::start_revision(&bench.cluster, SYSTEM, REVISION)?;
    bench.perform("install", &json!({"version": VERSION, "profile": "minimal"}))?;
    let namespaces: Vec<String> = (1..=NAMESPACES)
        .map(|number| format!("team-{number:02}"))
        .collect();
    for namespace in &namespaces {
        bench.kubectl(&["create", "namespace", namespace])?;
        bench.perform("inject", &json!({"namespace": namespace}))?;
        let of_namespace = format!("--namespace={namespace}");
        bench.kubectl(&["create", "deployment", "web", "--image=web", &of_namespace])?;
        bench.with_revision(namespace, "default")?;
    }
    let found = bench.installations()?;
    ensure!(
        found[0]["namespaces"].as_array().map(Vec::len) == Some(NAMESPACES),
        "{found:#?}"
    );
    let before = Snapshot::take(&bench.cluster)?;
    let id = bench
        .host
        .plan(&request("upgrade-canary", &json!({"version": NEWER})))?;
    bench.host.order(&id, "run")?;
    let mut gates = Vec::new();
    let record = loop {
        match bench.host.next_gate(&id, &gates, LIMIT)? {
            Ok(gate) => {
                bench.host.order(&id, "approve")?;
                gates.push(gate);
            }
            Err(record) => break record,
        }
    };
    ensure!(
        record["state"] == "succeeded",
        "{record:#}\n{}",
        bench.host.story(&id)
    );
    ensure!(gates.len() == NAMESPACES + 1, "{gates:?}");
    for namespace in &namespaces {
        bench.with_revision(namespace, REVISION)?;
    }
    bench.host.take_back(&id, "undone", LIMIT)?;
    for namespace in &namespaces {
        bench.with_revision(namespace, "default")?;
    }
    before.await_restarted(&bench.cluster)?;
    let all: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    bench.kubectl(&[&["delete", "namespace", "--wait=false"], &all[..]].concat())?;
    old.trouble()?;
    new.trouble()
}
