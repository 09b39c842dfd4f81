//! What somebody else has installed, and what somebody has half removed.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::istiod::Istiod;
use meshery_tests::owners::Owners;
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Bench, DEFINITIONS, LIMIT, SYSTEM, VERSION, request, text};
use crate::namespace::{eventually, succeeded};

const NEWER: &str = "1.30.3";

impl Bench {
    fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        succeeded(
            self.cluster
                .run_helm(&[arguments, &["--namespace", SYSTEM]].concat()),
        )
        .with_context(|| format!("helm {}", arguments.join(" ")))
    }

    pub(super) fn refused(&self, operation: &str, parameters: &Value, code: &str) -> anyhow::Result<()> {
        let answer = self
            .host
            .post("/api/v1/operations", &request(operation, parameters))?;
        let said = answer.text();
        ensure!(
            said.contains(code),
            "{operation} is not refused for {code}: {said}"
        );
        Ok(())
    }

    fn is(&self, health: &str) -> anyhow::Result<Value> {
        eventually(|| {
            let found = self.installations()?;
            ensure!(found.len() == 1 && found[0]["health"] == health, "{found:#?}");
            Ok(found.into_iter().next().unwrap_or_default())
        })
    }
}

/// What plain helm has installed is left alone without a word; taken over, it is ours, with helm's own history going on.
pub fn over_plain_helm(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    // A name that is not the usual one stays.
    for (name, chart) in [("base", "base"), ("istiod", "istiod")] {
        let archive = charts.join(format!("istio/{chart}-{VERSION}.tgz"));
        bench.helm(&["install", name, &archive.to_string_lossy(), "--create-namespace"])?;
    }
    let found = bench.is("healthy")?;
    ensure!(found["installed_by"] == "helm", "{found:#}");

    let wish = json!({"version": VERSION, "profile": "minimal"});
    bench.refused("install", &wish, "istio-of-others")?;
    bench.refused("upgrade", &json!({"version": NEWER}), "istio-of-others")?;
    bench.refused("remove", &json!({}), "release-of-others")?;
    let adopted = json!({"version": VERSION, "profile": "minimal", "adopt": true});
    bench.perform("install", &adopted)?;
    let found = bench.is("healthy")?;
    ensure!(
        found["installed_by"] == "meshery" && found["adopted_from"] == "helm",
        "{found:#}"
    );
    istiod.trouble()?;
    let names = bench.helm(&["list", "--short"])?;
    ensure!(names.lines().eq(["base", "istiod"]), "{names}");
    let history = bench.helm(&["history", "istiod"])?;
    ensure!(
        history.contains("superseded") && history.contains("deployed"),
        "{found:#}\n{history}"
    );
    let removed = bench.perform("remove", &json!({"purge": true}))?;
    ensure!(bench.installations()?.is_empty());
    let left = bench.helm(&["list", "--short"])?;
    ensure!(left.trim().is_empty(), "{left}");
    // What helm has made beside the releases stays, and is listed: a definition by both steps that leave it.
    let left = removed["left"].as_array().into_iter().flatten();
    let kept: BTreeSet<&str> = left.map(|left| text(&left["ref"])).collect();
    ensure!(kept.len() == DEFINITIONS + 1, "{removed:#}");
    let definitions = "--selector=app.kubernetes.io/part-of=istio";
    bench.kubectl(&["delete", "customresourcedefinitions", definitions])?;
    bench.kubectl(&["delete", "namespace", SYSTEM])?;
    before
        .await_same(&bench.cluster)
        .with_context(|| format!("left: {}", removed["left"]))
}

/// A gateway is its own release: whoever has installed it, it is not ours to change or to take without a word.
pub fn gateway_of_plain_helm(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let archive = charts.join(format!("istio/gateway-{VERSION}.tgz"));
    bench.helm(&[
        "install",
        "edge",
        &archive.to_string_lossy(),
        "--create-namespace",
    ])?;
    let theirs = Snapshot::take(&bench.cluster)?;

    let gateway = json!({"gateway_namespace": SYSTEM, "name": "edge"});
    bench.refused("remove-gateway", &gateway, "release-of-others")?;
    bench.refused("add-gateway", &gateway, "release-of-others")?;
    theirs.await_same(&bench.cluster).context("refused")?;

    let agreed = json!({"gateway_namespace": SYSTEM, "name": "edge", "of-others": true});
    bench.perform("remove-gateway", &agreed)?;
    let left = bench.helm(&["list", "--short"])?;
    ensure!(left.trim().is_empty(), "{left}");
    // Helm has made it, so it stays.
    bench.kubectl(&["delete", "namespace", SYSTEM])?;
    before.await_same(&bench.cluster)
}

/// What istioctl has made is of no release. It is left alone without a word, and goes with one, by the labels that istioctl
/// gives: the charts' objects with these stand for it here.
pub fn of_istioctl(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    bench.kubectl(&["create", "namespace", SYSTEM])?;
    let _istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    let file = tempfile::NamedTempFile::with_suffix(".yaml")?;
    let path = file.path().to_string_lossy();
    for (chart, component) in [("base", "Base"), ("istiod", "Pilot")] {
        let archive = charts.join(format!("istio/{chart}-{VERSION}.tgz"));
        std::fs::write(
            file.path(),
            bench.helm(&["template", chart, &archive.to_string_lossy()])?,
        )?;
        let as_istioctl = "--field-manager=istio-operator";
        bench.kubectl(&["apply", "--server-side", as_istioctl, "--filename", &path])?;
        bench.kubectl(&[
            "label",
            as_istioctl,
            "--filename",
            &path,
            "operator.istio.io/managed=Reconcile",
            "install.operator.istio.io/owning-resource=unknown",
            &format!("operator.istio.io/component={component}"),
            &format!("install.operator.istio.io/owning-resource-namespace={SYSTEM}"),
        ])?;
    }
    let found = bench.is("healthy")?;
    ensure!(found["installed_by"] == "istioctl", "{found:#}");
    bench.refused("remove", &json!({}), "istio-of-istioctl")?;

    // What Argo CD minds is not taken over by that word alone.
    let mind = |mark: &str| bench.kubectl(&["annotate", "deployment/istiod", "--namespace", SYSTEM, mark]);
    mind("argocd.argoproj.io/tracking-id=mesh:apps/Deployment:istio-system/istiod")?;
    let mut wish = request(
        "install",
        &json!({"version": VERSION, "profile": "minimal", "adopt": true}),
    );
    wish["policy"] = json!({"accept": ["adopt"]});
    let planned = bench.host.plan(&wish)?;
    let preview = bench
        .host
        .post(&format!("/api/v1/operations/{planned}/preview"), &json!({}))?
        .expect(200)?;
    let objects = preview["objects"].as_array().into_iter().flatten();
    let refused: Vec<&Value> = objects.filter(|object| !object["error"].is_null()).collect();
    ensure!(
        refused.len() == 1
            && refused[0]["error"]["code"] == "consent-required"
            && refused[0]["error"]["message"]
                .to_string()
                .contains("Argo CD (Application mesh)"),
        "{refused:#?}"
    );
    mind("argocd.argoproj.io/tracking-id-")?;

    // Taken over, it is a release, which is upgraded like any other; given back, it is istioctl's again to the last field.
    let now = || anyhow::Ok((Snapshot::take(&bench.cluster)?, Owners::take(&bench.cluster)?));
    let theirs = now()?;
    let adopted = bench.host.perform(&wish, "succeeded", LIMIT)?;
    let is_ours = || {
        let found = bench.is("healthy")?;
        ensure!(
            found["installed_by"] == "meshery" && found["adopted_from"] == "istioctl",
            "{found:#}"
        );
        Ok(found)
    };
    is_ours()?;
    let releases = bench.helm(&["list", "--short"])?;
    ensure!(
        releases.contains("istiod") && releases.contains("istio-base"),
        "{releases}"
    );
    let ours = now()?;
    let of_istioctl: Vec<&str> = ours.1.of("istio-operator").collect();
    ensure!(of_istioctl.is_empty(), "{of_istioctl:?}");
    let upgraded = bench.perform("upgrade", &json!({"version": NEWER}))?;
    let found = is_ours()?;
    ensure!(found["version"] == NEWER, "{found:#}");
    let same = |before: &(Snapshot, Owners)| {
        eventually(|| {
            let (objects, owners) = now()?;
            // But for what the Deployment's controller has made and counted for it.
            let mut differences = before.0.differences_of_remade(&objects);
            differences.extend(before.1.differences(&owners));
            ensure!(differences.is_empty(), "given back: {}", differences.join("\n"));
            Ok(())
        })
    };
    for (operation, before) in [(&upgraded, &ours), (&adopted, &theirs)] {
        let id = operation["id"].as_str().context("an id")?;
        bench.host.take_back(id, "undone", LIMIT)?;
        same(before)?;
    }
    let found = bench.is("healthy")?;
    ensure!(
        found["installed_by"] == "istioctl" && found["adopted_from"].is_null(),
        "{found:#}"
    );

    let purge = json!({"of-others": true, "purge": true, "custom-resources": true});
    let removed = bench.perform("remove", &purge)?;
    ensure!(bench.installations()?.is_empty());
    bench.kubectl(&["delete", "namespace", SYSTEM])?;
    before
        .await_same(&bench.cluster)
        .with_context(|| format!("left: {}", removed["left"]))
}

/// Five ways in which an installation may be half there: each is seen, and mended by installing the same again, object by object.
pub fn half_removed(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let istiod = Istiod::start(&bench.cluster, SYSTEM)?;
    let wish = json!({"version": VERSION, "profile": "minimal"});
    bench.perform("install", &wish)?;
    bench.is("healthy")?;
    let whole = Snapshot::take(&bench.cluster)?;
    let in_system = format!("--namespace={SYSTEM}");
    for (what, gone, health) in [
        (
            "the control plane",
            vec!["deployment", "istiod", &in_system],
            "incomplete",
        ),
        (
            "the injector",
            vec!["mutatingwebhookconfiguration", "istio-sidecar-injector"],
            "incomplete",
        ),
        (
            "the rights",
            vec![
                "clusterrole,clusterrolebinding",
                "istiod-clusterrole-istio-system",
            ],
            "healthy",
        ),
        (
            "a definition",
            vec!["crd", "peerauthentications.security.istio.io"],
            "healthy",
        ),
        (
            "helm's record",
            vec!["secret", &in_system, "--selector=owner=helm,name=istiod"],
            "healthy",
        ),
    ] {
        bench.kubectl(&[&["delete"], &gone[..]].concat())?;
        bench.is(health).with_context(|| what.to_owned())?;
        let mut again = request("install", &wish);
        if what == "helm's record" {
            // To the chart it is a first installation then, whose validator lets everything pass; istiod has closed it
            // since, and whose field that is to be is for a person to say.
            let conflict = bench.host.perform(&again, "undone", LIMIT)?;
            ensure!(conflict["error"]["code"] == "apply-conflict", "{conflict:#}");
            again["policy"] = json!({"force_conflicts": true});
        }
        bench
            .host
            .perform(&again, "succeeded", LIMIT)
            .with_context(|| what.to_owned())?;
        bench.is("healthy").with_context(|| what.to_owned())?;
        bench
            .kubectl(&[&["get", "--output=name"], &gone[..]].concat())
            .and_then(|there| {
                ensure!(!there.trim().is_empty(), "it is not back");
                Ok(())
            })
            .with_context(|| what.to_owned())?;
        whole
            .await_mended(&bench.cluster)
            .with_context(|| what.to_owned())?;
    }
    istiod.trouble()?;
    bench.kubectl(&["delete", "deployment", "istiod", &in_system])?;
    let removed = bench.perform("remove", &json!({"purge": true}))?;
    ensure!(bench.installations()?.is_empty());
    before
        .await_same(&bench.cluster)
        .with_context(|| format!("left: {}", removed["left"]))
}
