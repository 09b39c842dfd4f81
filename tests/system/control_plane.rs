//! That the control plane does what the other tests rely on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::cluster::{Cluster, Part, Programs};

use crate::namespace::{Namespace, deployment, eventually, succeeded};
use crate::{cluster, trial, trial_with_charts};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "control_plane::a_deployment_becomes_available",
            a_deployment_becomes_available,
        ),
        trial(
            "control_plane::a_pod_held_back_never_becomes_ready",
            a_pod_held_back_never_becomes_ready,
        ),
        trial(
            "control_plane::a_delayed_pod_becomes_ready_later",
            a_delayed_pod_becomes_ready_later,
        ),
        trial("control_plane::jobs_end_as_told", jobs_end_as_told),
        trial(
            "control_plane::a_load_balancer_gets_no_address",
            a_load_balancer_gets_no_address,
        ),
        trial(
            "control_plane::the_limited_user_is_forbidden",
            the_limited_user_is_forbidden,
        ),
        trial(
            "control_plane::a_namespace_is_deleted_with_its_content",
            a_namespace_is_deleted_with_its_content,
        ),
        trial(
            "control_plane::a_webhook_that_nobody_serves_is_refused_at_once",
            webhook_refused_at_once,
        ),
        trial(
            "control_plane::the_api_server_comes_back_where_it_was",
            the_api_server_comes_back_where_it_was,
        ),
        trial(
            "control_plane::a_frozen_api_server_answers_nothing",
            a_frozen_api_server_answers_nothing,
        ),
        trial(
            "control_plane::helm_renders_without_a_cluster",
            helm_renders_without_a_cluster,
        ),
        trial(
            "control_plane::helm_installs_and_uninstalls",
            helm_installs_and_uninstalls,
        ),
        trial(
            "control_plane::the_client_library_talks_to_it",
            the_client_library_talks_to_it,
        ),
        trial_with_charts(
            "control_plane::the_charts_of_a_real_mesh_install",
            the_charts_of_a_real_mesh_install,
        ),
    ]
}

fn a_deployment_becomes_available() -> anyhow::Result<()> {
    let space = Namespace::new("available")?;
    let pod = r#"{"spec": {"initContainers": [{"name": "first", "image": "test/init"}],
                           "containers": [{"name": "main", "image": "test/main"}]}}"#;
    space.apply(&deployment("web", 3, pod))?;
    space.kubectl(&[
        "wait",
        "--for=condition=Available",
        "deployment/web",
        "--timeout=30s",
    ])?;
    Ok(())
}

fn a_pod_held_back_never_becomes_ready() -> anyhow::Result<()> {
    let space = Namespace::new("held-back")?;
    let pod = r#"{"metadata": {"annotations": {"test.meshery.io/ready": "never"}},
                  "spec": {"containers": [{"name": "main", "image": "test/main"}]}}"#;
    space.apply(&deployment("web", 1, pod))?;
    let reason = "jsonpath={.items[*].status.containerStatuses[*].state.waiting.reason}";
    eventually(|| {
        let said = space.kubectl(&["get", "pods", "-o", reason])?;
        ensure!(said == "ImagePullBackOff", "the pod waits for {said:?}");
        Ok(())
    })?;
    let waited = space.kubectl(&[
        "wait",
        "--for=condition=Available",
        "deployment/web",
        "--timeout=2s",
    ]);
    ensure!(waited.is_err(), "it became available all the same");
    space.kubectl(&["annotate", "pods", "--all", "test.meshery.io/ready-"])?;
    space.kubectl(&[
        "wait",
        "--for=condition=Available",
        "deployment/web",
        "--timeout=30s",
    ])?;
    Ok(())
}

fn a_delayed_pod_becomes_ready_later() -> anyhow::Result<()> {
    let space = Namespace::new("delayed")?;
    let pod = r#"{"metadata": {"labels": {"test.meshery.io/ready": "after-3s"}},
                  "spec": {"containers": [{"name": "main", "image": "test/main"}]}}"#;
    let began = Instant::now();
    space.apply(&deployment("web", 1, pod))?;
    space.kubectl(&[
        "wait",
        "--for=condition=Available",
        "deployment/web",
        "--timeout=30s",
    ])?;
    let took = began.elapsed();
    ensure!(took >= Duration::from_secs(3), "it was available after {took:?}");
    Ok(())
}

fn jobs_end_as_told() -> anyhow::Result<()> {
    let space = Namespace::new("jobs")?;
    let job = |name: &str, exit: &str| {
        format!(
            r#"{{"apiVersion": "batch/v1", "kind": "Job", "metadata": {{"name": "{name}"}}, "spec": {{"backoffLimit": 0,
                "template": {{"metadata": {{"annotations": {{"test.meshery.io/exit": "{exit}"}}}},
                "spec": {{"restartPolicy": "Never", "containers": [{{"name": "main", "image": "test/main"}}]}}}}}}}}"#
        )
    };
    space.apply(&job("good", "0"))?;
    space.apply(&job("bad", "3"))?;
    space.kubectl(&["wait", "--for=condition=Complete", "job/good", "--timeout=30s"])?;
    space.kubectl(&["wait", "--for=condition=Failed", "job/bad", "--timeout=30s"])?;
    Ok(())
}

fn a_load_balancer_gets_no_address() -> anyhow::Result<()> {
    let space = Namespace::new("balancer")?;
    space.apply(
        r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "door"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}"#,
    )?;
    let fields = "jsonpath={.spec.clusterIP} {.status.loadBalancer}";
    let said = space.kubectl(&["get", "service", "door", "-o", fields])?;
    ensure!(
        said.starts_with("127.96.") && said.ends_with(" {}"),
        "it has {said}"
    );
    Ok(())
}

fn the_limited_user_is_forbidden() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let limited = cluster.limited_kubeconfig().to_string_lossy().into_owned();
    let output = cluster.kubectl(&["--kubeconfig", &limited, "get", "namespaces"]);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && said.contains("Forbidden"),
        "kubectl says {said}"
    );
    ensure!(
        said.contains(r#"User "limited" cannot list resource "namespaces""#),
        "kubectl says {said}"
    );
    Ok(())
}

fn a_namespace_is_deleted_with_its_content() -> anyhow::Result<()> {
    let space = Namespace::new("content")?;
    space.kubectl(&["create", "configmap", "inside"])?;
    space.kubectl(&["run", "pod", "--image=test/main", "--restart=Always"])?;
    space.kubectl(&["delete", "namespace", &space.name, "--timeout=30s"])?;
    Ok(())
}

fn webhook_refused_at_once() -> anyhow::Result<()> {
    let space = Namespace::new("webhook")?;
    let name = &space.name;
    let webhook = format!(
        r#"{{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {{"name": "{name}"}}, "webhooks": [{{"name": "guard.test.meshery.io",
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
            "clientConfig": {{"service": {{"namespace": "{name}", "name": "guard", "path": "/"}}}},
            "namespaceSelector": {{"matchLabels": {{"kubernetes.io/metadata.name": "{name}"}}}},
            "rules": [{{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
            "resources": ["configmaps"]}}]}}]}}"#
    );
    space.apply(
        r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "guard"}, "spec": {"ports": [{"port": 443}]}}"#,
    )?;
    space.apply(&webhook)?;
    let began = Instant::now();
    // The API server takes a moment to hear of a new webhook.
    let refused = eventually(
        || match space.kubectl(&["create", "configmap", "--dry-run=server", "a"]) {
            Ok(_) => Err(anyhow::anyhow!("it was let through")),
            Err(refused) => Ok(format!("{refused:?}")),
        },
    );
    space.kubectl(&["delete", "validatingwebhookconfiguration", name])?;
    let refused = refused?;
    ensure!(
        refused.contains("failed calling webhook") && refused.contains("connection refused"),
        "{refused}"
    );
    ensure!(
        began.elapsed() < Duration::from_secs(8),
        "it took {:?}",
        began.elapsed()
    );
    Ok(())
}

fn the_api_server_comes_back_where_it_was() -> anyhow::Result<()> {
    let space = Namespace::new("restart")?;
    let cluster = &space.cluster;
    space.kubectl(&["create", "configmap", "kept"])?;
    for end in [Cluster::kill_part, Cluster::stop_part] {
        end(cluster, Part::ApiServer)?;
        ensure!(cluster.pid(Part::ApiServer).is_none(), "it still has a process");
        ensure!(
            space.kubectl(&["get", "configmap", "kept"]).is_err(),
            "it still answers"
        );
        cluster.start_part(Part::ApiServer)?;
        space.kubectl(&["get", "configmap", "kept"])?;
    }
    cluster.kill_part(Part::Etcd)?;
    ensure!(cluster.ready().is_err(), "it is ready without etcd");
    cluster.start_part(Part::Etcd)?;
    space.kubectl(&["get", "configmap", "kept"])?;
    cluster.ready()
}

fn a_frozen_api_server_answers_nothing() -> anyhow::Result<()> {
    let cluster = cluster()?;
    cluster.freeze_part(Part::ApiServer)?;
    let output = cluster.kubectl(&["get", "--raw=/readyz", "--request-timeout=1s"]);
    cluster.thaw_part(Part::ApiServer)?;
    ensure!(!output.status.success(), "it answered");
    eventually(|| cluster.ready())
}

fn helm_renders_without_a_cluster() -> anyhow::Result<()> {
    let folder = chart()?;
    let output = Command::new(Programs::get()?.helm)
        .args(["template", "demo"])
        .arg(folder.path())
        .env("HOME", folder.path())
        .output()?;
    let said = succeeded(output)?;
    ensure!(said.contains("name: demo-settings"), "helm says {said}");
    Ok(())
}

fn helm_installs_and_uninstalls() -> anyhow::Result<()> {
    let space = Namespace::new("helm")?;
    let folder = chart()?;
    let chart = folder.path().to_string_lossy().into_owned();
    let helm = |args: &[&str]| {
        succeeded(
            space
                .cluster
                .run_helm(&[args, &["--namespace", &space.name]].concat()),
        )
    };
    helm(&["install", "demo", &chart, "--wait", "--timeout=60s"])?;
    ensure!(
        space.kubectl(&[
            "get",
            "configmap",
            "demo-settings",
            "-o",
            "jsonpath={.data.colour}"
        ])? == "green"
    );
    let listed = helm(&["list", "-o", "json"])?;
    ensure!(listed.contains(r#""status":"deployed""#), "helm says {listed}");
    helm(&["uninstall", "demo", "--wait"])?;
    ensure!(
        space.kubectl(&["get", "configmap", "demo-settings"]).is_err(),
        "its ConfigMap is still there"
    );
    Ok(())
}

fn the_charts_of_a_real_mesh_install(charts: &Path) -> anyhow::Result<()> {
    let space = Namespace::new("mesh")?;
    let istio = charts.join("istio");
    let chart = |name: &str| {
        let mut found: Vec<_> = fs::read_dir(&istio)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        found.retain(|path| {
            path.file_name()
                .is_some_and(|file| file.to_string_lossy().starts_with(name))
        });
        let newest = found
            .into_iter()
            .max()
            .with_context(|| format!("no {name}* in {}", istio.display()))?;
        anyhow::Ok(newest.to_string_lossy().into_owned())
    };
    let helm = |args: &[&str]| {
        succeeded(
            space
                .cluster
                .run_helm(&[args, &["--namespace", &space.name]].concat()),
        )
    };
    let global = format!("global.istioNamespace={}", space.name);
    let installed = helm(&["install", "base", &chart("base-")?, "--set", &global]).and_then(|_| {
        helm(&[
            "install",
            "istiod",
            &chart("istiod-")?,
            "--set",
            &global,
            "--wait",
            "--timeout=60s",
        ])
    });
    // Both leave objects outside their namespace, which would be in the way of other tests.
    let cleaned = helm(&["uninstall", "istiod", "base", "--ignore-not-found", "--wait"]);
    space.kubectl(&[
        "delete",
        "customresourcedefinitions",
        "--selector=app.kubernetes.io/part-of=istio",
        "--ignore-not-found",
    ])?;
    installed.and(cleaned).map(|_| ())
}

fn the_client_library_talks_to_it() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let version =
        runtime.block_on(async { anyhow::Ok(cluster.client().await?.apiserver_version().await?) })?;
    ensure!(
        version.git_version.starts_with("v1.") && version.minor == "36",
        "it says {version:?}"
    );
    Ok(())
}

/// A small chart with a Deployment and a ConfigMap.
fn chart() -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let templates = folder.path().join("templates");
    fs::create_dir(&templates)?;
    fs::write(
        folder.path().join("Chart.yaml"),
        "apiVersion: v2\nname: demo\nversion: 1.0.0\n",
    )?;
    fs::write(folder.path().join("values.yaml"), "colour: green\n")?;
    fs::write(
        templates.join("settings.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-settings\n\
         data:\n  colour: {{ .Values.colour }}\n",
    )?;
    let pod = r#"{"spec": {"containers": [{"name": "main", "image": "test/main"}]}}"#;
    fs::write(templates.join("web.yaml"), deployment("demo", 1, pod))?;
    Ok(folder)
}
