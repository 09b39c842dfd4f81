//! What others have installed: by plain helm, with anchors in its values, left alone without a word and upgraded with all that
//! was set; and by Linkerd's CLI.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meshery_tests::linkerd::Linkerd;
use meshery_tests::owners::Owners;
use meshery_tests::snapshot::Snapshot;
use meshery_tests::trust::Trust;
use serde_json::{Value, json};

use super::{Bench, LIMIT, NEWER, SYSTEM, text};
use crate::namespace::{eventually, succeeded};

const OF_CHARTS: &str = "2025.10.7";

fn helm(bench: &Bench, arguments: &[&str]) -> anyhow::Result<String> {
    let arguments = [arguments, &["--namespace", SYSTEM]].concat();
    succeeded(bench.cluster.run_helm(&arguments)).with_context(|| format!("helm {}", arguments.join(" ")))
}

/// Plain helm, with anchors and issuer among the chart's values.
fn install_by_helm(bench: &Bench, charts: &Path) -> anyhow::Result<()> {
    let helm = |arguments: &[&str]| helm(bench, arguments);
    let file = tempfile::NamedTempFile::with_suffix(".json")?;
    let mut values = Trust::new()?.values();
    values["controllerLogLevel"] = "debug".into();
    std::fs::write(file.path(), values.to_string())?;
    let (values, charts) = (file.path().to_string_lossy(), charts.join("linkerd"));
    let archive = |chart: &str| charts.join(format!("{chart}-{OF_CHARTS}.tgz"));
    let (crds, plane) = (archive("linkerd-crds"), archive("linkerd-control-plane"));
    let crds = crds.to_string_lossy();
    helm(&[
        "install",
        "linkerd-crds",
        &crds,
        "--create-namespace",
        "--set=installGatewayAPI=true",
    ])?;
    let plane = plane.to_string_lossy();
    helm(&["install", "linkerd-control-plane", &plane, "--values", &values])?;
    eventually(|| {
        let found = bench.installation()?.context("an installation")?;
        ensure!(
            found["installed_by"] == "helm" && found["health"] == "healthy",
            "{found:#}"
        );
        Ok(())
    })
}

pub fn over_plain_helm(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let untouched = Snapshot::take(&bench.cluster)?;
    let linkerd = Linkerd::start(&bench.cluster, SYSTEM)?;
    install_by_helm(&bench, charts)?;

    let refused = |operation: &str, parameters: &Value, code: &str| -> anyhow::Result<()> {
        let request = json!({"adapter": "linkerd", "operation": operation, "parameters": parameters});
        let said = bench.host.post("/api/v1/operations", &request)?.text();
        ensure!(
            said.contains(code),
            "{operation} is not refused for {code}: {said}"
        );
        Ok(())
    };
    let older = format!("edge-{}", OF_CHARTS.trim_start_matches("20"));
    refused("upgrade", &json!({"version": NEWER}), "linkerd-of-others")?;
    refused(
        "install",
        &json!({"version": older, "adopt": true}),
        "linkerd-trust-in-chart",
    )?;
    refused("remove", &json!({}), "release-of-others")?;

    let before = Snapshot::take(&bench.cluster)?;
    let trust = || -> anyhow::Result<(Value, Value)> {
        let roots = bench.get(&["configmap", "linkerd-identity-trust-roots", "--namespace", SYSTEM])?;
        let issuer = bench.get(&["secret", "linkerd-identity-issuer", "--namespace", SYSTEM])?;
        Ok((roots["data"].clone(), issuer["data"].clone()))
    };
    let given = trust()?;
    let upgraded = bench.perform("linkerd", "upgrade", &json!({"version": NEWER, "adopt": true}))?;
    linkerd.trouble()?;
    let found = bench.installation()?.context("an installation")?;
    ensure!(
        found["installed_by"] == "meshery" && found["adopted_from"] == "helm",
        "{found:#}"
    );
    ensure!(trust()? == given, "anchors and issuer stay");
    let config = bench.get(&["configmap", "linkerd-config", "--namespace", SYSTEM])?;
    ensure!(
        text(&config["data"]["values"]).contains("controllerLogLevel: debug"),
        "what was set stays: {config:#}"
    );
    bench.host.take_back(text(&upgraded["id"]), "undone", LIMIT)?;
    eventually(|| {
        let mut differences = before.differences_of_remade(&Snapshot::take(&bench.cluster)?);
        differences.retain(|difference| !difference.starts_with("~ apps/v1/Deployment/"));
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
        Ok(())
    })?;
    bench.perform("linkerd", "remove", &json!({"of-others": true}))?;
    ensure!(bench.installation()?.is_none());
    let left = helm(&bench, &["list", "--short"])?;
    ensure!(left.trim().is_empty(), "{left}");
    bench.without_gateway_api()?;
    // Helm has made it.
    bench.kubectl(&["delete", "namespace", SYSTEM])?;
    untouched.await_same(&bench.cluster)
}

/// `linkerd install | kubectl apply`, in the way of applying that is asked for: the charts' objects, which the CLI renders as
/// well, with anchors and an issuer that it makes, and of no release.
fn install_by_cli(bench: &Bench, charts: &Path, apply: &[&str]) -> anyhow::Result<()> {
    bench.kubectl(&["create", "namespace", SYSTEM])?;
    let values = tempfile::NamedTempFile::with_suffix(".json")?;
    let mut given = Trust::new()?.values();
    given["cliVersion"] = "linkerd/cli edge-25.10.7".into();
    given["installGatewayAPI"] = true.into();
    std::fs::write(values.path(), given.to_string())?;
    let manifest = tempfile::NamedTempFile::with_suffix(".yaml")?;
    for chart in ["linkerd-crds", "linkerd-control-plane"] {
        let archive = charts.join(format!("linkerd/{chart}-{OF_CHARTS}.tgz"));
        let rendered = succeeded(bench.cluster.run_helm(&[
            "template",
            chart,
            &archive.to_string_lossy(),
            "--namespace",
            SYSTEM,
            "--no-hooks",
            "--values",
            &values.path().to_string_lossy(),
        ]))?;
        std::fs::write(manifest.path(), rendered)?;
        let file = format!("--filename={}", manifest.path().display());
        bench.kubectl(&[&["apply", &file], apply].concat())?;
    }
    eventually(|| {
        let found = bench.installation()?.context("an installation")?;
        ensure!(
            found["installed_by"] == "linkerd" && found["health"] == "healthy",
            "{found:#}"
        );
        Ok(())
    })
}

/// What the CLI has made goes on explicit word, by the labels that all of it has.
pub fn of_cli(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let _linkerd = Linkerd::start(&bench.cluster, SYSTEM)?;
    install_by_cli(&bench, charts, &["--server-side", "--field-manager=linkerd"])?;
    let request = json!({"adapter": "linkerd", "operation": "remove", "parameters": {}});
    let refused = bench.host.post("/api/v1/operations", &request)?.text();
    ensure!(refused.contains("linkerd-of-cli"), "{refused}");
    let all = json!({"of-others": true, "custom-resources": true});
    let removed = bench.perform("linkerd", "remove", &all)?;
    ensure!(bench.installation()?.is_none());
    // The anchors and the issuer are in it.
    bench.get(&["secret", "linkerd-identity-issuer", "--namespace", SYSTEM])?;
    bench.get(&["configmap", "linkerd-identity-trust-roots", "--namespace", SYSTEM])?;
    bench.kubectl(&["delete", "namespace", SYSTEM])?;
    bench.without_gateway_api()?;
    before
        .await_same(&bench.cluster)
        .with_context(|| format!("left: {}", removed["left"]))
}

/// Taken over, it is a release with the anchors and the issuer that it had, and is upgraded like any other; given back, it is
/// the CLI's again to the last field; and taken over for good it is removed but for them.
pub fn from_cli(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let before = Snapshot::take(&bench.cluster)?;
    let linkerd = Linkerd::start(&bench.cluster, SYSTEM)?;
    install_by_cli(&bench, charts, &[])?;
    let version = format!("edge-{}", OF_CHARTS.trim_start_matches("20"));
    let mut wish = json!({"adapter": "linkerd", "operation": "install", "parameters": {"version": version}});
    let refused = |wish: &Value, code: &str| -> anyhow::Result<()> {
        let said = bench.host.post("/api/v1/operations", wish)?.text();
        ensure!(said.contains(code), "it is not refused for {code}: {said}");
        Ok(())
    };
    refused(&wish, "linkerd-of-others")?;
    wish["parameters"]["adopt"] = true.into();
    let issuer = || bench.get(&["secret", "linkerd-identity-issuer", "--namespace", SYSTEM]);
    let roots = || bench.get(&["configmap", "linkerd-identity-trust-roots", "--namespace", SYSTEM]);
    let (given, trusted) = (issuer()?, roots()?);

    // Without its key the issuer is of no use to anybody.
    let patch = |patch: &Value| {
        let patch = format!("--patch={patch}");
        let secret = [
            "patch",
            "secret",
            "linkerd-identity-issuer",
            "--namespace",
            SYSTEM,
        ];
        let manager = "--field-manager=kubectl-client-side-apply";
        bench.kubectl(&[&secret[..], &[manager, "--type=merge", &patch]].concat())
    };
    patch(&json!({"data": {"key.pem": null}}))?;
    refused(&wish, "linkerd-issuer-key-missing")?;
    patch(&json!({"data": {"key.pem": given["data"]["key.pem"]}}))?;

    let now = || anyhow::Ok((Snapshot::take(&bench.cluster)?, Owners::take(&bench.cluster)?));
    let theirs = now()?;
    let deployments = || -> anyhow::Result<Vec<Value>> {
        let all = bench.get(&["deployments", "--namespace", SYSTEM])?;
        let told = |object: &Value| {
            json!([
                object["metadata"]["name"],
                object["metadata"]["labels"],
                object["spec"]
            ])
        };
        Ok(all["items"].as_array().into_iter().flatten().map(told).collect())
    };
    let deployed = deployments()?;
    wish["policy"] = json!({"accept": ["adopt"]});
    let same_trust = || -> anyhow::Result<()> {
        let (now, anchors) = (issuer()?, roots()?);
        for (named, of_cli) in [("tls.crt", "crt.pem"), ("tls.key", "key.pem")] {
            ensure!(
                now["data"][named] == given["data"][of_cli] && now["data"][of_cli] == given["data"][of_cli],
                "{named} is not what the CLI has made"
            );
        }
        ensure!(
            now["metadata"]["uid"] == given["metadata"]["uid"] && now["type"] == given["type"],
            "it is the same Secret"
        );
        ensure!(
            anchors["data"] == trusted["data"] && anchors["metadata"]["uid"] == trusted["metadata"]["uid"],
            "{anchors:#}"
        );
        Ok(())
    };
    let is_ours = || -> anyhow::Result<Value> {
        let found = bench.installation()?.context("an installation")?;
        ensure!(
            found["installed_by"] == "meshery"
                && found["adopted_from"] == "linkerd"
                && found["health"] == "healthy",
            "{found:#}"
        );
        Ok(found)
    };
    let taken_over = || -> anyhow::Result<Value> {
        let adopted = bench.host.perform(&wish, "succeeded", LIMIT)?;
        same_trust()?;
        is_ours()?;
        Ok(adopted)
    };
    let adopted = taken_over()?;
    let ours = now()?;
    let of_cli: Vec<&str> = ours.1.of("kubectl-client-side-apply").collect();
    // Of no release: definitions of the Gateway API, the anchors and the issuer.
    let trust = [
        "ConfigMap/linkerd/linkerd-identity-trust-roots",
        "Secret/linkerd/linkerd-identity-issuer",
    ];
    ensure!(
        of_cli
            .iter()
            .all(|name| name.ends_with(".gateway.networking.k8s.io")
                || trust.iter().any(|trust| name.ends_with(trust))),
        "{of_cli:?}"
    );
    // The proxies' container moves with this version.
    let upgraded = bench.perform("linkerd", "upgrade", &json!({"version": NEWER}))?;
    same_trust()?;
    let found = is_ours()?;
    ensure!(
        NEWER.ends_with(text(&found["version"]).trim_start_matches("20")),
        "{found:#}"
    );
    for (operation, before) in [(&upgraded, &ours), (&adopted, &theirs)] {
        bench.host.take_back(text(&operation["id"]), "undone", LIMIT)?;
        eventually(|| {
            let (objects, owners) = now()?;
            let mut differences = before.0.differences_of_remade(&objects);
            // Of the Deployments the number of their rollouts differs.
            differences.retain(|difference| !difference.starts_with("~ apps/v1/Deployment/"));
            differences.extend(before.1.differences(&owners));
            ensure!(differences.is_empty(), "given back: {}", differences.join("\n"));
            Ok(())
        })?;
    }
    ensure!(deployments()? == deployed, "their Deployments are as they were");
    let found = bench.installation()?.context("an installation")?;
    ensure!(
        found["installed_by"] == "linkerd" && found["adopted_from"].is_null(),
        "{found:#}"
    );

    taken_over()?;
    linkerd.trouble()?;
    let all = json!({"custom-resources": true});
    let removed = bench.perform("linkerd", "remove", &all)?;
    ensure!(bench.installation()?.is_none());
    same_trust().context("anchors and issuer stay")?;
    bench.kubectl(&["delete", "namespace", SYSTEM])?;
    bench.without_gateway_api()?;
    before
        .await_same(&bench.cluster)
        .with_context(|| format!("left: {}", removed["left"]))
}

/// Anchors and issuer of a chart are taken out of its hands by an upgrade with values, and stay what they are.
pub fn anchors_taken_out(charts: &Path) -> anyhow::Result<()> {
    let bench = Bench::new(charts)?;
    let untouched = Snapshot::take(&bench.cluster)?;
    let linkerd = Linkerd::start(&bench.cluster, SYSTEM)?;
    install_by_helm(&bench, charts)?;
    let object = |kind: &str, name: &str| bench.get(&[kind, name, "--namespace", SYSTEM]);
    let roots = object("configmap", "linkerd-identity-trust-roots")?;
    let issuer = object("secret", "linkerd-identity-issuer")?;
    let external = json!({"version": NEWER, "adopt": true,
        "values": {"linkerd-control-plane": {"identity": {"externalCA": true}}}});
    let request = json!({"adapter": "linkerd", "operation": "upgrade", "parameters": external});
    let said = bench.host.post("/api/v1/operations", &request)?.text();
    ensure!(said.contains("linkerd-trust-in-chart"), "{said}");

    bench.kubectl(&[
        "annotate",
        "--namespace",
        SYSTEM,
        "configmap/linkerd-identity-trust-roots",
        "secret/linkerd-identity-issuer",
        "helm.sh/resource-policy=keep",
    ])?;
    bench.perform("linkerd", "upgrade", &external)?;
    linkerd.trouble()?;
    let data = object("secret", "linkerd-identity-issuer")?["data"].clone();
    ensure!(
        object("configmap", "linkerd-identity-trust-roots")?["data"] == roots["data"],
        "the anchors stay"
    );
    ensure!(
        data["tls.crt"] == issuer["data"]["crt.pem"] && data["tls.key"] == issuer["data"]["key.pem"],
        "the issuer stays"
    );
    let values = helm(
        &bench,
        &["get", "values", "linkerd-control-plane", "--output=json"],
    )?;
    ensure!(
        !values.contains("PRIVATE KEY"),
        "no key is in the release's record"
    );
    rotated_outside(&bench, &linkerd)?;

    bench.perform("linkerd", "remove", &json!({"of-others": true}))?;
    object("configmap", "linkerd-identity-trust-roots")?;
    object("secret", "linkerd-identity-issuer")?;
    bench.without_gateway_api()?;
    // Helm has made it.
    bench.kubectl(&["delete", "namespace", SYSTEM])?;
    untouched.await_same(&bench.cluster)
}

/// Out of the chart's hands, they are rotated as any other, and back.
fn rotated_outside(bench: &Bench, linkerd: &Linkerd) -> anyhow::Result<()> {
    bench.kubectl(&["create", "namespace", "shop"])?;
    bench.kubectl(&["create", "deployment", "web", "--image=web", "--namespace=shop"])?;
    let shop = json!({"namespace": "shop", "restart": true});
    bench.perform("linkerd", "inject", &shop)?;
    bench.all_have("shop", &["linkerd-proxy"])?;
    let accept = |_: &str| bench.all_accept_each_other(linkerd, "shop");
    accept("before")?;
    let first = bench.newcomer(linkerd, "shop")?;
    let before = Snapshot::take(&bench.cluster)?;

    // Their content was written by Helm.
    let id = bench
        .host
        .plan(&json!({"adapter": "linkerd", "operation": "rotate-anchor",
        "policy": {"force_conflicts": true}}))?;
    let rotate = || bench.through_gates(&id, accept);
    let (gates, record) = bench.while_all_accept_each_other(linkerd, "shop", rotate)?;
    ensure!(
        record["state"] == "succeeded" && gates.len() == 4,
        "{gates:?}: {record:#}"
    );
    bench.believed(&[&bench.anchor("linkerd-trust-anchor-2")?])?;
    accept("the end")?;
    ensure!(first.accepts(&bench.newcomer(linkerd, "shop")?).is_err());

    let back = || bench.host.take_back(&id, "undone", LIMIT);
    bench.while_all_accept_each_other(linkerd, "shop", back)?;
    eventually(|| accept("the undo"))?;
    first.accepts(&bench.newcomer(linkerd, "shop")?)?;
    before.await_restarted(&bench.cluster)?;
    bench.kubectl(&["delete", "namespace", "shop"])?;
    Ok(())
}
