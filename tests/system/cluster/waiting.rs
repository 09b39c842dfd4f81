//! Readiness, by watching.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_core::cluster::wait::Waiting;
use meshery_core::cluster::{Cluster, ClusterError};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Readiness, Rule};
use meshery_tests::cluster::Part;
use meshery_tests::proxy::FaultProxy;
use serde_json::{Value, json};

use super::{by, connect, refused, run, seconds};
use crate::namespace::{Namespace, deployment};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "cluster::a_deployment_is_awaited_with_its_reasons",
            a_deployment_is_awaited_with_its_reasons,
        ),
        trial(
            "cluster::a_pod_that_cannot_start_is_the_reason_at_the_deadline",
            a_pod_that_cannot_start_is_the_reason,
        ),
        trial(
            "cluster::a_job_that_has_failed_is_not_waited_for",
            a_job_that_has_failed_is_not_waited_for,
        ),
        trial(
            "cluster::a_webhook_is_awaited_up_to_its_endpoints",
            a_webhook_is_awaited_up_to_its_endpoints,
        ),
        trial(
            "cluster::an_address_is_awaited_only_where_one_can_come",
            an_address_is_awaited_only_where_one_can_come,
        ),
        trial(
            "cluster::many_of_a_kind_are_awaited_together",
            many_of_a_kind_are_awaited_together,
        ),
        trial(
            "cluster::a_wait_survives_cut_connections",
            a_wait_survives_cut_connections,
        ),
        trial(
            "cluster::a_wait_survives_the_api_servers_death",
            a_wait_survives_the_api_servers_death,
        ),
    ]
}

fn workload(space: &Namespace, name: &str, annotations: &Value) -> anyhow::Result<Value> {
    let template = json!({"metadata": {"annotations": annotations},
        "spec": {"containers": [{"name": "main", "image": "test/main"}]}});
    let mut object: Value = serde_json::from_str(&deployment(name, 1, &template.to_string()))?;
    object["metadata"]["namespace"] = json!(space.name);
    Ok(object)
}

fn condition(api_version: &str, kind: &str, namespace: &str, name: &str, rule: Rule) -> Readiness {
    Readiness {
        object: ObjectRef::new(api_version, kind, namespace, name),
        rule,
    }
}

fn ready(space: &Namespace, name: &str) -> Readiness {
    condition("apps/v1", "Deployment", &space.name, name, Rule::Ready)
}

/// Waits, and hands back what was said meanwhile.
async fn wait(
    cluster: &Arc<Cluster>,
    conditions: &[Readiness],
    deadline: Instant,
) -> (Result<(), ClusterError>, Vec<Waiting>) {
    let mut said = Vec::new();
    let result = cluster
        .wait_ready(conditions, deadline, &mut |waiting| said.push(waiting))
        .await;
    (result, said)
}

fn a_deployment_is_awaited_with_its_reasons() -> anyhow::Result<()> {
    let space = Namespace::new("await")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let object = workload(&space, "slow", &json!({"test.meshery.io/ready": "after-2s"}))?;
        cluster.apply(&object, &by("eng")).await?;
        let conditions = [
            ready(&space, "slow"),
            condition("v1", "Namespace", "", &space.name, Rule::Exists),
        ];
        let (result, said) = wait(&cluster, &conditions, seconds(30)).await;
        result?;
        ensure!(
            said.iter()
                .any(|w| w.reason.contains("Available: 0/1") && w.total == 2),
            "{said:?}"
        );
        // Changed when ready: the old status must not pass for the new one.
        let mut object = object;
        object["spec"]["template"]["metadata"]["annotations"]["test.meshery.io/ready"] = json!("after-1s");
        cluster.apply(&object, &by("eng")).await?;
        wait(&cluster, &conditions, seconds(30)).await.0?;
        let live = cluster.get(&conditions[0].object).await?.context("it is there")?;
        let number = |pointer| live.pointer(pointer).and_then(Value::as_i64);
        ensure!(
            number("/status/observedGeneration") == Some(2)
                && number("/status/updatedReplicas") == Some(1)
                && number("/status/availableReplicas") == Some(1),
            "{live}"
        );
        Ok(())
    })
}

fn a_pod_that_cannot_start_is_the_reason() -> anyhow::Result<()> {
    let space = Namespace::new("never")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let stuck = json!({"test.meshery.io/ready": "never", "test.meshery.io/waiting": "ImagePullBackOff"});
        cluster
            .apply(&workload(&space, "stuck", &stuck)?, &by("eng"))
            .await?;
        let conditions = [ready(&space, "stuck"), ready(&space, "missing")];
        let (result, _) = wait(&cluster, &conditions, seconds(4)).await;
        let error = refused(result, "not-ready")?;
        let ClusterError::NotReady { waiting } = &error else {
            anyhow::bail!("{error:?}");
        };
        ensure!(
            waiting.len() == 2
                && waiting[0].reason.contains("0/1")
                && waiting[0].reason.contains("ImagePullBackOff")
                && waiting[1].reason == "it does not exist",
            "{waiting:?}"
        );
        Ok(())
    })
}

fn a_job_that_has_failed_is_not_waited_for() -> anyhow::Result<()> {
    let space = Namespace::new("job")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let job = |name: &str, exit: &str| {
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": space.name},
                "spec": {"backoffLimit": 0, "template": {"metadata": {"annotations": {"test.meshery.io/exit": exit}},
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "test/main"}]}}}})
        };
        for (name, exit) in [("good", "0"), ("bad", "1")] {
            cluster.apply(&job(name, exit), &by("eng")).await?;
        }
        let done = |name| condition("batch/v1", "Job", &space.name, name, Rule::Ready);
        wait(&cluster, &[done("good")], seconds(30)).await.0?;
        let began = Instant::now();
        let error = refused(
            wait(&cluster, &[done("bad")], seconds(60)).await.0,
            "object-failed",
        )?;
        ensure!(error.to_string().contains("BackoffLimitExceeded"), "{error}");
        ensure!(began.elapsed() < Duration::from_secs(30), "it was waited for");
        Ok(())
    })
}

fn a_webhook_is_awaited_up_to_its_endpoints() -> anyhow::Result<()> {
    let space = Namespace::new("serving")?;
    let name = space.name.as_str();
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let webhook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name}, "webhooks": [{"name": "guard.test.meshery.io",
                "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Ignore",
                "clientConfig": {"service": {"namespace": name, "name": "guard"}},
                "namespaceSelector": {"matchLabels": {"nothing": "has-this"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]}]});
        cluster.apply(&webhook, &by("eng")).await?;
        let rule = |rule| {
            [condition(
                "admissionregistration.k8s.io/v1",
                "ValidatingWebhookConfiguration",
                "",
                name,
                rule,
            )]
        };
        let result = async {
            let reason = async |rules: &[Readiness]| -> anyhow::Result<String> {
                let (result, _) = wait(&cluster, rules, seconds(1)).await;
                Ok(refused(result, "not-ready")?.to_string())
            };
            let said = reason(&rule(Rule::CaBundle)).await?;
            ensure!(said.contains("no CA bundle in guard.test.meshery.io"), "{said}");
            let said = reason(&rule(Rule::FailsClosed)).await?;
            ensure!(said.contains("lets everything pass"), "{said}");
            let target = ObjectRef::of(&webhook).context("a reference")?;
            let patch = meshery_core::cluster::object::Patch::Json(json!([
                {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ca_bundle(&space)?},
                {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"}]));
            cluster.patch(&target, &patch, "the-mesh", false).await?;
            wait(&cluster, &rule(Rule::CaBundle), seconds(5)).await.0?;
            wait(&cluster, &rule(Rule::FailsClosed), seconds(5)).await.0?;
            let said = reason(&rule(Rule::Serving)).await?;
            ensure!(said.contains("Service") && said.contains("does not exist"), "{said}");
            let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "guard", "namespace": name},
                "spec": {"selector": {"app": "guard"}, "ports": [{"port": 443}]}});
            cluster.apply(&service, &by("eng")).await?;
            let said = reason(&rule(Rule::Serving)).await?;
            ensure!(said.contains("it has no endpoints"), "{said}");
            let object = workload(&space, "guard", &json!({"test.meshery.io/ready": "after-1s"}))?;
            cluster.apply(&object, &by("eng")).await?;
            let endpoints = condition("v1", "Service", name, "guard", Rule::Endpoints);
            let [serving] = rule(Rule::Serving);
            wait(&cluster, &[serving, endpoints], seconds(15)).await.0?;
            Ok(())
        }
        .await;
        let _ = space
            .cluster
            .kubectl(&["delete", "validatingwebhookconfiguration", name]);
        result
    })
}

/// Some certificate authority, as a webhook configuration has it.
fn ca_bundle(space: &Namespace) -> anyhow::Result<String> {
    let config = std::fs::read_to_string(space.cluster.kubeconfig())?;
    let (_, rest) = config
        .split_once("certificate-authority-data")
        .context("the kubeconfig has a certificate authority inside")?;
    let bundle = rest
        .split(|c: char| c.is_whitespace() || c == '"' || c == ',')
        .find(|word| word.len() > 20);
    bundle.map(str::to_owned).context("it is empty")
}

fn an_address_is_awaited_only_where_one_can_come() -> anyhow::Result<()> {
    let space = Namespace::new("address")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let service = |name: &str, kind: &str| {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": space.name},
                "spec": {"type": kind, "ports": [{"port": 80}]}})
        };
        cluster
            .apply(&service("door", "LoadBalancer"), &by("eng"))
            .await?;
        cluster.apply(&service("inner", "ClusterIP"), &by("eng")).await?;
        let of = |name, rule| [condition("v1", "Service", &space.name, name, rule)];
        wait(&cluster, &of("door", Rule::Ready), seconds(5)).await.0?;
        refused(
            wait(&cluster, &of("door", Rule::Address), seconds(1)).await.0,
            "not-ready",
        )?;
        refused(
            wait(&cluster, &of("inner", Rule::Address), seconds(5)).await.0,
            "object-failed",
        )?;
        Ok(())
    })
}

fn many_of_a_kind_are_awaited_together() -> anyhow::Result<()> {
    let space = Namespace::new("together")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let mut conditions = Vec::new();
        for n in 0..5 {
            let name = format!("web-{n}");
            let after = format!("after-{n}00ms");
            let object = workload(&space, &name, &json!({"test.meshery.io/ready": after}))?;
            cluster.apply(&object, &by("eng")).await?;
            conditions.push(ready(&space, &name));
        }
        wait(&cluster, &conditions, seconds(20)).await.0?;
        Ok(())
    })
}

fn a_wait_survives_cut_connections() -> anyhow::Result<()> {
    let space = Namespace::new("cut")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    run(async {
        let cluster = connect(&proxy.kubeconfig(space.cluster.dir())).await?;
        let object = workload(&space, "web", &json!({"test.meshery.io/ready": "after-3s"}))?;
        cluster.apply(&object, &by("eng")).await?;
        let cut = async {
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_millis(600)).await;
                proxy.drop_connections();
            }
        };
        let conditions = [ready(&space, "web")];
        let ((result, _), ()) = tokio::join!(wait(&cluster, &conditions, seconds(20)), cut);
        result?;
        Ok(())
    })
}

fn a_wait_survives_the_api_servers_death() -> anyhow::Result<()> {
    let space = Namespace::new("death")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let object = workload(&space, "web", &json!({"test.meshery.io/ready": "after-2s"}))?;
        cluster.apply(&object, &by("eng")).await?;
        let plane = space.cluster.clone();
        let kill = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(500));
            plane.kill_part(Part::ApiServer)?;
            plane.start_part(Part::ApiServer)
        });
        let (result, _) = wait(&cluster, &[ready(&space, "web")], seconds(60)).await;
        kill.await??;
        result?;
        Ok(())
    })
}
