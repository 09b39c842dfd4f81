//! Contexts, discovery, facts, what is in a namespace.

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_core::cluster::{Clusters, KubeconfigSource};
use meshery_plugin_api::message::facts::{Detail, KindFacts, Need, Readability};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_tests::proxy::strike::{self, Strike};
use meshery_tests::proxy::{Action, FaultProxy, refusal};
use serde_json::{Value, json};

use super::{by, config_map, connect, run};
use crate::namespace::{Namespace, deployment, eventually, succeeded};
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "cluster::connecting_says_who_and_what_it_is",
            connecting_says_who_and_what_it_is,
        ),
        trial(
            "cluster::an_uploaded_kubeconfig_leads_to_the_cluster",
            an_uploaded_kubeconfig_leads_to_the_cluster,
        ),
        trial(
            "cluster::an_old_server_is_discovered_group_by_group",
            an_old_server_is_discovered_group_by_group,
        ),
        trial(
            "cluster::a_dead_api_service_does_not_stop_the_rest",
            a_dead_api_service_does_not_stop_the_rest,
        ),
        trial(
            "cluster::facts_say_how_sure_they_are",
            facts_say_how_sure_they_are,
        ),
        trial(
            "cluster::long_lists_are_read_page_by_page",
            long_lists_are_read_page_by_page,
        ),
        trial(
            "cluster::contents_are_what_somebody_put_there",
            contents_are_what_somebody_put_there,
        ),
    ]
}

fn connecting_says_who_and_what_it_is() -> anyhow::Result<()> {
    let plane = cluster()?;
    run(async {
        let clusters = Clusters::new(KubeconfigSource::Path(plane.kubeconfig().to_owned()));
        let contexts = clusters.contexts()?;
        ensure!(contexts.len() == 1 && contexts[0].current, "{contexts:?}");
        ensure!(
            contexts[0].server.trim_end_matches('/') == plane.server(),
            "{contexts:?}"
        );
        let cluster = clusters.connect(None).await?;
        let uid = succeeded(plane.kubectl(&[
            "get",
            "namespace",
            "kube-system",
            "-o",
            "jsonpath={.metadata.uid}",
        ]))?;
        ensure!(
            cluster.uid() == uid && cluster.version().starts_with("v1.36."),
            "{cluster:?}"
        );
        let apis = cluster.cluster_facts().apis;
        for api in ["v1", "v1/Pod", "apps/v1", "apps/v1/Deployment"] {
            ensure!(apis.iter().any(|known| known == api), "no {api} in {apis:?}");
        }
        let again = clusters.connect(Some(&contexts[0].context)).await?;
        ensure!(
            std::sync::Arc::ptr_eq(&cluster, &again),
            "a second connection was made"
        );
        Ok(())
    })
}

fn an_uploaded_kubeconfig_leads_to_the_cluster() -> anyhow::Result<()> {
    let plane = cluster()?;
    run(async {
        let folder = tempfile::tempdir()?;
        let nowhere = folder.path().join("config");
        std::fs::write(&nowhere, "apiVersion: v1\nkind: Config\n")?;
        let clusters = Clusters::new(KubeconfigSource::Path(nowhere));
        let text = std::fs::read_to_string(plane.kubeconfig())?;
        clusters.add_uploaded("test", &text).await?;
        let cluster = clusters.connect(Some("test")).await?;
        ensure!(
            cluster
                .get(&ObjectRef::new("v1", "Namespace", "", "default"))
                .await?
                .is_some()
        );
        // The address was checked under its name, and is used as a number: the name must still be verified.
        clusters
            .add_uploaded("named", &text.replace("127.0.0.1", "localhost"))
            .await?;
        clusters.connect(Some("named")).await?;
        Ok(())
    })
}

fn an_old_server_is_discovered_group_by_group() -> anyhow::Result<()> {
    let plane = cluster()?;
    let proxy = FaultProxy::start(&plane)?;
    let reply = |body: Value| {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Action::Reply(http::StatusCode::OK, headers, body.to_string().into_bytes())
    };
    proxy.on(move |request| match request.path.as_str() {
        "/api" => reply(json!({"kind": "APIVersions", "versions": ["v1"]})),
        "/apis" => reply(json!({"kind": "APIGroupList", "groups": [{"name": "apps",
            "versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}},
            {"name": "dead.example", "versions": [{"version": "v1"}]}]})),
        _ => Action::Forward,
    });
    run(async {
        let cluster = connect(&proxy.kubeconfig(plane.dir())).await?;
        let found = cluster.resolve("apps", "", "Deployment").await?;
        ensure!(
            found.plural == "deployments" && found.namespaced && found.version == "v1",
            "{found:?}"
        );
        ensure!(!cluster.resolve("", "v1", "Namespace").await?.namespaced);
        Ok(())
    })
}

fn a_dead_api_service_does_not_stop_the_rest() -> anyhow::Result<()> {
    let space = Namespace::new("dead-api")?;
    let name = "v1.dead.test.meshery.io";
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let service = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name},
            "spec": {"group": "dead.test.meshery.io", "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10,
                "insecureSkipTLSVerify": true, "service": {"namespace": space.name, "name": "nobody"}}});
        cluster.apply(&service, &by("eng")).await?;
        let result = async {
            let need = |group: &str, kind: &str| Need {
                group: group.into(),
                kind: kind.into(),
                ..Need::default()
            };
            let mut facts = Vec::new();
            for _ in 0..50 {
                cluster.rediscover().await?;
                facts = cluster
                    .facts(&[need("dead.test.meshery.io", "Ghost"), need("", "Namespace")])
                    .await?;
                if facts[0].state == Readability::Unknown {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            let states: Vec<Readability> = facts.iter().map(|kind| kind.state).collect();
            ensure!(
                states == [Readability::Unknown, Readability::Present],
                "{states:?}"
            );
            let found = cluster.contents_of_namespace(&space.name).await?;
            ensure!(
                found
                    .unreadable
                    .iter()
                    .any(|kind| kind.api_version == "dead.test.meshery.io/v1"),
                "{found:?}"
            );
            Ok(())
        }
        .await;
        // It would keep every namespace from being deleted.
        let _ = space.cluster.kubectl(&["delete", "apiservice", name]);
        result
    })
}

fn facts_say_how_sure_they_are() -> anyhow::Result<()> {
    use Readability::{Absent, NotServed, Present};

    let space = Namespace::new("facts")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": space.name},
            "stringData": {"password": "hunter2"}});
        cluster.apply(&secret, &by("eng")).await?;
        let need = |kind: &str, group: &str, name: &str, detail| Need {
            group: group.into(),
            kind: kind.into(),
            namespace: space.name.clone(),
            name: name.into(),
            selector: String::new(),
            detail,
        };
        let facts = cluster
            .facts(&[
                need("Secret", "", "", Detail::Full),
                need("Secret", "", "s", Detail::Full),
                need("Secret", "", "missing", Detail::Metadata),
                need("ConfigMap", "", "", Detail::Metadata),
                need("Deployment", "apps", "", Detail::Full),
                need("Gateway", "mesh.example", "", Detail::Full),
            ])
            .await?;
        let states: Vec<Readability> = facts.iter().map(|kind| kind.state).collect();
        ensure!(
            states == [Present, Present, Absent, Present, Absent, NotServed],
            "{states:?}"
        );
        let shown = serde_json::to_string(&facts)?;
        ensure!(
            !shown.contains("aHVudGVyMg") && !shown.contains("hunter2"),
            "the password is in it"
        );
        ensure!(facts[0].objects[0]["data"] == json!({"password": ""}), "{shown}");
        ensure!(facts[0].objects[0]["kind"] == "Secret" && facts[0].objects[0]["apiVersion"] == "v1");
        ensure!(!shown.contains("managedFields"));
        ensure!(
            facts[3].objects[0].get("data").is_none(),
            "only metadata was asked for"
        );
        Ok(())
    })
}

fn long_lists_are_read_page_by_page() -> anyhow::Result<()> {
    let space = Namespace::new("pages")?;
    let proxy = FaultProxy::start(&space.cluster)?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let objects: Vec<Value> = (0..520)
            .map(|n| config_map(&space.name, &format!("page-{n:04}"), &json!({})))
            .collect();
        let options = by("eng");
        let applies = objects.iter().map(|object| cluster.apply(object, &options));
        futures::future::try_join_all(applies).await?;
        let kind = cluster.resolve("", "v1", "ConfigMap").await?;
        let all = cluster
            .list(&kind, Some(&space.name), "", Detail::Metadata, 5000)
            .await?;
        ensure!(!all.truncated && all.items.len() == 521, "{}", all.items.len());
        let some = cluster
            .list(&kind, Some(&space.name), "", Detail::Metadata, 510)
            .await?;
        ensure!(some.truncated && some.items.len() == 510, "{}", some.items.len());
        // Read too slowly: the server has forgotten where the pages were, and they are read from the first one on.
        let forgotten = Strike::on(
            |request| request.query.contains("continue="),
            || refusal::status(410, "Expired", "The provided continue parameter is too old"),
        );
        proxy.on(strike::all(vec![forgotten.clone()]));
        let slow = connect(&proxy.kubeconfig(space.cluster.dir())).await?;
        let all = slow
            .list(&kind, Some(&space.name), "", Detail::Metadata, 5000)
            .await?;
        ensure!(
            forgotten.struck() == 1 && all.items.len() == 521,
            "{}",
            all.items.len()
        );
        Ok(())
    })
}

fn contents_are_what_somebody_put_there() -> anyhow::Result<()> {
    let space = Namespace::new("contents")?;
    let pod = r#"{"spec": {"containers": [{"name": "main", "image": "test/main"}]}}"#;
    let mut web: Value = serde_json::from_str(&deployment("web", 1, pod))?;
    web["metadata"]["namespace"] = json!(space.name);
    web["metadata"]["labels"] = json!({"test.meshery.io/mark": space.name});
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        cluster.apply(&web, &by("eng")).await?;
        cluster
            .apply(&config_map(&space.name, "mine", &json!({})), &by("eng"))
            .await?;
        eventually(|| {
            let pods = space.kubectl(&["get", "pods", "-o", "name"])?;
            ensure!(pods.contains("pod/web"), "{pods}");
            Ok(())
        })?;
        let found = cluster.contents_of_namespace(&space.name).await?;
        let names: Vec<String> = found
            .objects
            .iter()
            .map(|object| object.object.to_string())
            .collect();
        ensure!(
            names
                == [
                    format!("v1/ConfigMap/{}/mine", space.name),
                    format!("apps/v1/Deployment/{}/web", space.name)
                ],
            "{names:?}"
        );
        ensure!(found.unreadable.is_empty() && found.objects.iter().all(|object| !object.uid.is_empty()));
        let marked = cluster
            .marked(&format!("test.meshery.io/mark={}", space.name))
            .await?;
        ensure!(
            marked.objects.len() == 1 && marked.objects[0].object.kind == "Deployment",
            "{marked:?}"
        );
        let target = ObjectRef::of(&web).context("a reference")?;
        ensure!(marked.objects[0].object == target);
        let _: Vec<KindFacts> = cluster.facts(&[]).await?;
        Ok(())
    })
}
