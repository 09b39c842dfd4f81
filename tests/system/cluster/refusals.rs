//! That a no is told with its code, place, cause and remedy, whoever has said it or was to have a say: webhooks that
//! fail in every way, policies, and definitions that are on their way out. The words are the real server's.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Trial;
use meshery_core::cluster::{Cluster, ClusterError};
use meshery_core::problem::Problem;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_tests::proxy::identity::{Authority, Identity};
use meshery_tests::proxy::{Action, FaultProxy, refusal};
use serde_json::{Value, json};

use super::{by, config_map, connect, run};
use crate::namespace::{Namespace, eventually, succeeded};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "cluster::refusals::a_webhook_that_fails_is_told_by_what_is_wrong_with_it",
            webhooks,
        ),
        trial(
            "cluster::refusals::a_conversion_that_fails_is_told_as_one",
            conversion,
        ),
        trial(
            "cluster::refusals::policies_are_named_with_what_they_want",
            policies,
        ),
        trial(
            "cluster::refusals::a_definition_that_is_going_is_named",
            definition_going,
        ),
    ]
}

const GROUP: &str = "refusals.test.meshery.io";

/// What must be in the message, in the cause and in the remedy.
type Told = (&'static str, &'static str, &'static str);

fn told(
    error: ClusterError,
    code: &str,
    about: &[&str],
    (message, cause, remedy): Told,
) -> anyhow::Result<()> {
    let problem = Problem::from(error);
    ensure!(problem.code == code, "{code} was expected: {problem:#?}");
    for words in [about, &[message]].concat() {
        ensure!(
            problem.message.contains(words),
            "no \"{words}\" in the message: {problem:#?}"
        );
    }
    ensure!(
        problem.cause.contains(cause),
        "no \"{cause}\" in the cause: {problem:#?}"
    );
    ensure!(
        problem.remedy.contains(remedy),
        "no \"{remedy}\" in the remedy: {problem:#?}"
    );
    Ok(())
}

/// What is said when it is to be written.
async fn refused(cluster: &Cluster, manifest: &Value) -> anyhow::Result<ClusterError> {
    match cluster.apply(manifest, &by("eng")).await {
        Ok(_) => anyhow::bail!("it was written: {manifest}"),
        Err(error) => Ok(error),
    }
}

/// A server that answers as webhooks should not, each path in its own way.
fn ill(cluster: &meshery_tests::cluster::Cluster) -> anyhow::Result<(FaultProxy, String)> {
    let identity = Identity::new(&Authority::new()?)?;
    let authority = STANDARD.encode(identity.authority());
    let server = FaultProxy::start_tls(cluster, identity)?;
    server.on(|request| match request.path.as_str() {
        "/slow" => Action::Stall,
        "/garbage" => Action::reply(http::StatusCode::OK, "application/json", "this is no review"),
        "/another" => {
            let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "response": {"uid": "zz", "allowed": true}});
            Action::reply(http::StatusCode::OK, "application/json", review.to_string())
        }
        _ => refusal::text(500, "broken"),
    });
    Ok((server, authority))
}

/// For new ConfigMaps of its own name in the namespace.
fn webhook(space: &Namespace, name: &str, client: &Value) -> Value {
    json!({
        "name": format!("{name}.{GROUP}"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "failurePolicy": "Fail", "timeoutSeconds": 1, "clientConfig": client,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        "matchConditions": [{"name": "name", "expression": format!("object.metadata.name == '{name}'")}],
    })
}

fn webhooks() -> anyhow::Result<()> {
    let space = Namespace::new("ill-webhooks")?;
    space.kubectl(&["create", "service", "clusterip", "there", "--tcp=443:443"])?;
    let (server, authority) = ill(&space.cluster)?;
    let at = |path: &str| json!({"url": format!("{}/{path}", server.url()), "caBundle": authority});
    let service =
        |name: &str, port: u16| json!({"service": {"namespace": space.name, "name": name, "port": port}});
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let cases: [(&str, Value, Told); 8] = [
        (
            "refused",
            json!({"url": format!("https://{closed}/")}),
            ("connection refused", "not running", "make the program run"),
        ),
        (
            "no-service",
            service("nowhere", 443),
            ("service \"nowhere\" not found", "Service", "install"),
        ),
        (
            "no-port",
            service("there", 444),
            (
                "no service port 444 found for service \"there\"",
                "that port",
                "install",
            ),
        ),
        (
            "untrusted",
            json!({"url": format!("{}/", server.url())}),
            (
                "x509: certificate signed by unknown authority",
                "caBundle",
                "renew the certificate",
            ),
        ),
        (
            "slow",
            at("slow"),
            ("context deadline exceeded", "timeoutSeconds", "in time"),
        ),
        (
            "fails",
            at("fails"),
            ("an error on the server", "answers with an error", "log"),
        ),
        (
            "garbage",
            at("garbage"),
            ("json parse error", "another version", "which program"),
        ),
        (
            "another",
            at("another"),
            (
                "invalid webhook response: expected response.uid=",
                "another version",
                "which program",
            ),
        ),
    ];
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": space.name},
        "webhooks": cases.iter().map(|(name, client, _)| webhook(&space, name, client)).collect::<Vec<_>>(),
    });
    let result = (|| {
        space.apply(&configuration.to_string())?;
        eventually(|| {
            let asked = space.kubectl(&["create", "configmap", "fails", "--dry-run=server"]);
            ensure!(asked.is_err(), "the webhooks are not asked yet");
            Ok(())
        })?;
        run(async {
            let cluster = connect(space.cluster.kubeconfig()).await?;
            for (name, _, words) in &cases {
                let began = Instant::now();
                let manifest = config_map(&space.name, name, &json!({}));
                let error = refused(&cluster, &manifest).await.context(*name)?;
                let webhook = format!("{name}.{GROUP}");
                let object = format!("v1/ConfigMap/{}/{name}", space.name);
                told(error, "webhook-failed", &[&object, &webhook], *words).context(*name)?;
                ensure!(
                    began.elapsed() < Duration::from_secs(5),
                    "{name}: asked again and again"
                );
                let target = ObjectRef::of(&manifest).context("a reference")?;
                ensure!(cluster.get(&target).await?.is_none(), "{name} was written");
            }
            Ok(())
        })
    })();
    succeeded(
        space
            .cluster
            .kubectl(&["delete", "validatingwebhookconfiguration", &space.name]),
    )?;
    result
}

/// A definition with these versions; the first is the one that is stored.
fn definition(plural: &str, kind: &str, versions: &[&str], conversion: &Value) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            json!({"name": name, "served": true, "storage": number == 0, "schema": {"openAPIV3Schema": schema}})
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": versions, "conversion": conversion},
    })
}

fn thing(space: &Namespace, kind: &str, version: &str, name: &str) -> Value {
    json!({"apiVersion": format!("{GROUP}/{version}"), "kind": kind,
        "metadata": {"name": name, "namespace": space.name}})
}

/// Makes a definition and, after the test, removes it.
fn with_definition(
    space: &Namespace,
    definition: &Value,
    test: impl FnOnce(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let name = definition["metadata"]["name"].as_str().context("a name")?;
    space.apply(&definition.to_string())?;
    let result =
        succeeded(
            space
                .cluster
                .kubectl(&["wait", &format!("crd/{name}"), "--for=condition=Established"]),
        )
        .and_then(|_| test(name));
    succeeded(
        space
            .cluster
            .kubectl(&["delete", "crd", name, "--ignore-not-found"]),
    )?;
    result
}

fn conversion() -> anyhow::Result<()> {
    let space = Namespace::new("ill-conversion")?;
    let (server, authority) = ill(&space.cluster)?;
    let conversion = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"url": format!("{}/convert", server.url()), "caBundle": authority}}});
    let definition = definition("convertibles", "Convertible", &["v1", "v2"], &conversion);
    with_definition(&space, &definition, |_| {
        run(async {
            let cluster = connect(space.cluster.kubeconfig()).await?;
            let error = refused(&cluster, &thing(&space, "Convertible", "v2", "a")).await?;
            let about = format!("{GROUP}/v2/Convertible/{}/a", space.name);
            let converts = format!("the webhook that converts {GROUP}/v2, Kind=Convertible");
            told(
                error,
                "webhook-failed",
                &[&about, &converts],
                (
                    "an error on the server",
                    "answers with an error",
                    "spec.conversion",
                ),
            )
        })
    })
}

fn policies() -> anyhow::Result<()> {
    let space = Namespace::new("policies")?;
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": space.name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
                "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                    "resources": ["configmaps"]}],
            },
            "validations": [{"expression": "object.metadata.name != 'unwanted'", "message": "nothing is called so here"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": space.name}, "spec": {"policyName": space.name, "validationActions": ["Deny"]},
    });
    let result = (|| {
        space.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [policy, binding]}).to_string())?;
        succeeded(space.cluster.kubectl(&[
            "label",
            "namespace",
            &space.name,
            "pod-security.kubernetes.io/enforce=restricted",
        ]))?;
        let image = "--image=example.org/none:1";
        eventually(|| {
            let map = space.kubectl(&["create", "configmap", "unwanted", "--dry-run=server"]);
            let pod = space.kubectl(&["run", "open", image, "--dry-run=server"]);
            ensure!(map.is_err() && pod.is_err(), "they are not asked yet");
            Ok(())
        })?;
        run(async {
            let cluster = connect(space.cluster.kubeconfig()).await?;
            let error = refused(&cluster, &config_map(&space.name, "unwanted", &json!({}))).await?;
            let by = format!("refused by the ValidatingAdmissionPolicy {}: ", space.name);
            told(
                error,
                "webhook-denied",
                &[&format!("v1/ConfigMap/{}/unwanted", space.name), &by],
                (
                    "nothing is called so here",
                    "look at such objects",
                    "or change the ValidatingAdmissionPolicy",
                ),
            )?;
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "open", "namespace": space.name},
                "spec": {"containers": [{"name": "open", "image": "example.org/none:1"}]}});
            let error = refused(&cluster, &pod).await?;
            told(
                error,
                "webhook-denied",
                &[
                    &format!("v1/Pod/{}/open", space.name),
                    "refused by PodSecurity: \"restricted:latest\"",
                ],
                (
                    "allowPrivilegeEscalation",
                    "look at such objects",
                    "pod-security.kubernetes.io/enforce",
                ),
            )
        })
    })();
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        succeeded(
            space
                .cluster
                .kubectl(&["delete", kind, &space.name, "--ignore-not-found"]),
        )?;
    }
    result
}

fn definition_going() -> anyhow::Result<()> {
    let space = Namespace::new("definition-going")?;
    let definition = definition("held", "Held", &["v1"], &json!({"strategy": "None"}));
    with_definition(&space, &definition, |name| {
        let mut held = thing(&space, "Held", "v1", "held");
        held["metadata"]["finalizers"] = json!(["test.meshery.io/hold"]);
        space.apply(&held.to_string())?;
        let result = (|| {
            succeeded(space.cluster.kubectl(&["delete", "crd", name, "--wait=false"]))?;
            succeeded(space.cluster.kubectl(&[
                "wait",
                &format!("crd/{name}"),
                "--for=condition=Terminating",
            ]))?;
            run(async {
                let cluster = connect(space.cluster.kubeconfig()).await?;
                let error = refused(&cluster, &thing(&space, "Held", "v1", "late")).await?;
                told(
                    error,
                    "being-deleted",
                    &[&format!("{GROUP}/v1/Held/{}/late", space.name)],
                    (
                        "the definition of Held is being deleted",
                        "deleted it",
                        "wait until the definition of Held is gone",
                    ),
                )
            })
        })();
        let let_go = r#"{"metadata": {"finalizers": null}}"#;
        space.kubectl(&["patch", name, "held", "--type=merge", "-p", let_go])?;
        result
    })
}
