//! Lost answers, refusals that pass, a server that dies or hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http::{Method, StatusCode};
use libtest_mimic::Trial;
use meshery_core::cluster::ClusterSettings;
use meshery_core::cluster::apply::{ApplyOptions, Guard};
use meshery_core::cluster::object::{Deletion, Preconditions};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_tests::cluster::Part;
use meshery_tests::proxy::{Action, FaultProxy, RequestInfo};
use serde_json::json;

use super::{by, config_map, connect, connect_with, refused, run, seconds, text};
use crate::namespace::Namespace;
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "cluster::lost_requests_and_answers_are_made_good",
            lost_requests_and_answers_are_made_good,
        ),
        trial(
            "cluster::refusals_that_pass_are_borne",
            refusals_that_pass_are_borne,
        ),
        trial("cluster::a_create_is_not_repeated", a_create_is_not_repeated),
        trial(
            "cluster::our_own_lost_write_is_not_taken_for_somebody_elses",
            our_own_lost_write,
        ),
        trial(
            "cluster::expired_credentials_are_read_again",
            expired_credentials_are_read_again,
        ),
        trial(
            "cluster::an_exec_plugin_is_run_again_when_its_token_is_refused",
            an_exec_plugin_is_run_again_when_its_token_is_refused,
        ),
        trial(
            "cluster::a_failing_webhook_is_borne_as_long_as_asked",
            a_failing_webhook_is_borne_as_long_as_asked,
        ),
        trial(
            "cluster::writes_survive_the_api_servers_death",
            writes_survive_the_api_servers_death,
        ),
        trial(
            "cluster::a_server_that_hangs_is_a_timeout",
            a_server_that_hangs_is_a_timeout,
        ),
    ]
}

/// Does something to the first requests of a method, and forwards the rest.
fn first(
    method: Method,
    count: usize,
    action: impl Fn() -> Action + Send + Sync + 'static,
) -> impl Fn(&RequestInfo) -> Action + Send + Sync + 'static {
    let met = AtomicUsize::new(0);
    move |request| {
        if request.method == method && met.fetch_add(1, Ordering::SeqCst) < count {
            action()
        } else {
            Action::Forward
        }
    }
}

fn lost_requests_and_answers_are_made_good() -> anyhow::Result<()> {
    let space = Namespace::new("lost")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    run(async {
        let cluster = connect(&proxy.kubeconfig(space.cluster.dir())).await?;
        for (name, lose) in [
            ("before", (|| Action::DropBefore) as fn() -> Action),
            ("after", || Action::DropAfter),
        ] {
            proxy.on(first(Method::PATCH, 2, lose));
            let object = config_map(&space.name, name, &json!({"x": "1"}));
            let applied = cluster.apply(&object, &by("eng")).await?;
            let target = ObjectRef::of(&object).context("a reference")?;
            let live = cluster.get(&target).await?.context("it is there")?;
            ensure!(live["metadata"]["uid"] == applied.object["metadata"]["uid"]);
            proxy.on(first(Method::GET, 2, lose));
            ensure!(cluster.get(&target).await?.is_some());
            proxy.on(first(Method::DELETE, 1, lose));
            let this = Preconditions {
                uid: Some(text(&live, "/metadata/uid")?.to_owned()),
                resource_version: None,
            };
            ensure!(cluster.delete(&target, &this, false).await? == Deletion::Gone);
            ensure!(cluster.get(&target).await?.is_none());
        }
        Ok(())
    })
}

fn refusals_that_pass_are_borne() -> anyhow::Result<()> {
    let space = Namespace::new("passing")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    run(async {
        let cluster = connect(&proxy.kubeconfig(space.cluster.dir())).await?;
        for (status, reason) in [
            (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            (StatusCode::BAD_GATEWAY, ""),
            (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            (StatusCode::GATEWAY_TIMEOUT, "Timeout"),
        ] {
            proxy.on(first(Method::PATCH, 3, move || {
                Action::refuse(status, reason, "not now")
            }));
            proxy.forget_mutations();
            let name = format!("a-{}", status.as_u16());
            cluster
                .apply(&config_map(&space.name, &name, &json!({})), &by("eng"))
                .await?;
            ensure!(proxy.mutations().len() == 4, "{status}: {:?}", proxy.mutations());
        }
        let asked = || {
            let headers = vec![("retry-after".to_owned(), "2".to_owned())];
            Action::Reply(
                StatusCode::TOO_MANY_REQUESTS,
                headers,
                b"Too many requests, please try again later.\n".to_vec(),
            )
        };
        proxy.on(first(Method::PATCH, 1, asked));
        let began = Instant::now();
        cluster
            .apply(&config_map(&space.name, "asked", &json!({})), &by("eng"))
            .await?;
        ensure!(
            began.elapsed() >= Duration::from_secs(2),
            "it came back after {:?}",
            began.elapsed()
        );
        // What will not pass is not repeated.
        proxy.forget_mutations();
        proxy.on(first(Method::PATCH, 9, || {
            Action::refuse(StatusCode::FORBIDDEN, "Forbidden", "the test says no")
        }));
        tokio::time::sleep(Duration::from_secs(3)).await;
        refused(
            cluster
                .apply(&config_map(&space.name, "no", &json!({})), &by("eng"))
                .await,
            "forbidden",
        )?;
        ensure!(proxy.mutations().len() == 1, "{:?}", proxy.mutations());
        Ok(())
    })
}

fn a_create_is_not_repeated() -> anyhow::Result<()> {
    let space = Namespace::new("once")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    run(async {
        let cluster = connect(&proxy.kubeconfig(space.cluster.dir())).await?;
        proxy.on(first(Method::POST, 1, || Action::DropAfter));
        proxy.forget_mutations();
        let made = cluster
            .create(&config_map(&space.name, "a", &json!({})), "eng")
            .await;
        refused(made, "cluster-unreachable")?;
        ensure!(proxy.mutations().len() == 1, "{:?}", proxy.mutations());
        Ok(())
    })
}

fn our_own_lost_write() -> anyhow::Result<()> {
    let space = Namespace::new("own")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    run(async {
        let cluster = connect(&proxy.kubeconfig(space.cluster.dir())).await?;
        let object = |value: &str| config_map(&space.name, "a", &json!({"x": value}));
        let made = cluster.apply(&object("1"), &by("eng")).await?.object;
        let guarded = |live: &serde_json::Value| -> anyhow::Result<ApplyOptions> {
            Ok(ApplyOptions {
                guard: Some(Guard {
                    uid: Some(text(live, "/metadata/uid")?.to_owned()),
                    resource_version: Some(text(live, "/metadata/resourceVersion")?.to_owned()),
                }),
                ..by("eng")
            })
        };
        proxy.on(first(Method::PATCH, 1, || Action::DropAfter));
        let applied = cluster.apply(&object("2"), &guarded(&made)?).await?;
        ensure!(applied.object["data"]["x"] == "2" && !applied.created);

        // The request is lost and somebody else writes: that is a change.
        let plane = space.cluster.clone();
        let namespace = space.name.clone();
        proxy.on(first(Method::PATCH, 1, move || {
            let patch = r#"{"data": {"y": "theirs"}}"#;
            plane.kubectl(&[
                "patch",
                "configmap",
                "a",
                "--type=merge",
                "-p",
                patch,
                "-n",
                &namespace,
            ]);
            Action::DropBefore
        }));
        let options = guarded(&applied.object)?;
        refused(cluster.apply(&object("3"), &options).await, "object-changed")?;
        Ok(())
    })
}

fn expired_credentials_are_read_again() -> anyhow::Result<()> {
    let space = Namespace::new("expired")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    run(async {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("config");
        let good = std::fs::read_to_string(space.cluster.kubeconfig())?;
        std::fs::write(&path, &good)?;
        let cluster = connect(&path).await?;
        let through = connect(&proxy.kubeconfig(space.cluster.dir())).await?;
        proxy.on(first(Method::GET, 1, || {
            Action::refuse(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
        }));
        let namespace = ObjectRef::new("v1", "Namespace", "", &space.name);
        ensure!(through.get(&namespace).await?.is_some(), "one refusal was enough");
        proxy.on(first(Method::GET, 9, || {
            Action::refuse(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
        }));
        refused(through.get(&namespace).await, "cluster-unauthorized")?;

        std::fs::write(&path, good.replace(space.cluster.token(), "wrong"))?;
        ensure!(
            cluster.get(&namespace).await?.is_some(),
            "the old token still works"
        );
        let error = refused(connect(&path).await, "cluster-unauthorized")?;
        ensure!(!format!("{error:?}").contains("wrong"));
        Ok(())
    })
}

fn an_exec_plugin_is_run_again_when_its_token_is_refused() -> anyhow::Result<()> {
    let space = Namespace::new("exec")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    let folder = tempfile::tempdir()?;
    let credential = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": space.cluster.token()}});
    std::fs::write(folder.path().join("credential"), credential.to_string())?;
    let plugin = folder.path().join("plugin");
    std::fs::write(
        &plugin,
        "#!/bin/sh\ncd \"$(dirname \"$0\")\" && echo run >>runs && cat credential\n",
    )?;
    std::fs::set_permissions(&plugin, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    // Relative, as it may be: to the file that it is named in.
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "c", "cluster": {"server": proxy.url()}}],
        "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1",
            "command": "./plugin", "interactiveMode": "IfAvailable"}}}],
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}]});
    let path = folder.path().join("config");
    std::fs::write(&path, config.to_string())?;
    let runs = || {
        anyhow::Ok(
            std::fs::read_to_string(folder.path().join("runs"))?
                .lines()
                .count(),
        )
    };
    run(async {
        let cluster = connect(&path).await?;
        let namespace = ObjectRef::new("v1", "Namespace", "", &space.name);
        ensure!(cluster.get(&namespace).await?.is_some());
        let before = runs()?;
        ensure!(cluster.get(&namespace).await?.is_some() && runs()? == before);
        proxy.on(first(Method::GET, 1, || {
            Action::refuse(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
        }));
        ensure!(cluster.get(&namespace).await?.is_some());
        ensure!(runs()? > before, "it was not asked again");
        Ok(())
    })
}

fn a_failing_webhook_is_borne_as_long_as_asked() -> anyhow::Result<()> {
    let space = Namespace::new("webhook-retry")?;
    let name = space.name.as_str();
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "guard", "namespace": name},
            "spec": {"ports": [{"port": 443}]}});
        cluster.apply(&service, &by("eng")).await?;
        let webhook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name}, "webhooks": [{"name": "guard.test.meshery.io",
                "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
                "clientConfig": {"service": {"namespace": name, "name": "guard"}},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]}]});
        let target =
            ObjectRef::of(&cluster.apply(&webhook, &by("eng")).await?.object).context("a reference")?;
        let result = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let object = config_map(name, "a", &json!({}));
            let began = Instant::now();
            let error = refused(cluster.apply(&object, &by("eng")).await, "webhook-failed")?;
            ensure!(error.to_string().contains("guard.test.meshery.io"), "{error}");
            ensure!(
                began.elapsed() < Duration::from_secs(2),
                "nobody asked for patience"
            );
            let patient = ApplyOptions {
                retry_webhooks_until: Some(seconds(3)),
                ..by("eng")
            };
            let began = Instant::now();
            refused(cluster.apply(&object, &patient).await, "webhook-failed")?;
            ensure!(
                (1..=4).contains(&began.elapsed().as_secs()),
                "{:?}",
                began.elapsed()
            );
            let patient = ApplyOptions {
                retry_webhooks_until: Some(seconds(15)),
                ..by("eng")
            };
            let remove = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                cluster.delete(&target, &Preconditions::default(), false).await
            };
            let (applied, removed) = tokio::join!(cluster.apply(&object, &patient), remove);
            removed?;
            ensure!(applied?.created);
            Ok(())
        }
        .await;
        let _ = space.cluster.kubectl(&[
            "delete",
            "validatingwebhookconfiguration",
            name,
            "--ignore-not-found",
        ]);
        result
    })
}

fn writes_survive_the_api_servers_death() -> anyhow::Result<()> {
    let space = Namespace::new("survive")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let mut writes = tokio::task::JoinSet::new();
        let began = Arc::new(AtomicUsize::new(0));
        for n in 0..8 {
            let (cluster, namespace, began) = (cluster.clone(), space.name.clone(), began.clone());
            writes.spawn(async move {
                for m in 0..40 {
                    began.fetch_add(1, Ordering::SeqCst);
                    let object = config_map(&namespace, &format!("w-{n}-{m}"), &json!({"x": "1"}));
                    cluster.apply(&object, &by("eng")).await?;
                }
                anyhow::Ok(())
            });
        }
        let plane = space.cluster.clone();
        let kill = tokio::task::spawn_blocking(move || {
            while began.load(Ordering::SeqCst) < 60 {
                std::thread::sleep(Duration::from_millis(5));
            }
            plane.kill_part(Part::ApiServer)?;
            plane.start_part(Part::ApiServer)
        });
        while let Some(written) = writes.join_next().await {
            written??;
        }
        kill.await??;
        let names = space.kubectl(&["get", "configmaps", "-o", "name"])?;
        let written = names.lines().filter(|line| line.contains("/w-")).count();
        ensure!(written == 320, "{written} of 320 are there");
        Ok(())
    })
}

fn a_server_that_hangs_is_a_timeout() -> anyhow::Result<()> {
    let space = Namespace::new("hangs")?;
    run(async {
        let settings = ClusterSettings {
            request: Duration::from_secs(1),
            retry_for: Duration::from_secs(3),
            ..ClusterSettings::default()
        };
        let cluster = connect_with(space.cluster.kubeconfig(), settings).await?;
        space.cluster.freeze_part(Part::ApiServer)?;
        let began = Instant::now();
        let answer = cluster
            .apply(&config_map(&space.name, "a", &json!({})), &by("eng"))
            .await;
        let took = began.elapsed();
        space.cluster.thaw_part(Part::ApiServer)?;
        refused(answer, "cluster-timeout")?;
        ensure!((2..=5).contains(&took.as_secs()), "it took {took:?}");
        cluster
            .apply(&config_map(&space.name, "a", &json!({})), &by("eng"))
            .await?;
        Ok(())
    })
}
