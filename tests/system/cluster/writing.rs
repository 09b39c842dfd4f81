//! Apply, conflicts, guards, deletion.

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_core::cluster::ClusterError;
use meshery_core::cluster::apply::{ApplyOptions, Guard};
use meshery_core::cluster::object::{Deletion, Patch, Preconditions};
use meshery_core::problem::Problem;
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Readiness, Rule};
use serde_json::json;

use super::{by, config_map, connect, refused, run, seconds, text};
use crate::namespace::{Namespace, deployment};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "cluster::apply_creates_changes_and_leaves_alone",
            apply_creates_changes_and_leaves_alone,
        ),
        trial(
            "cluster::a_conflict_names_field_and_manager",
            a_conflict_names_field_and_manager,
        ),
        trial(
            "cluster::a_user_without_rights_is_told_which",
            a_user_without_rights_is_told_which,
        ),
        trial("cluster::mistakes_are_told_apart", mistakes_are_told_apart),
        trial("cluster::guards_hold", guards_hold),
        trial(
            "cluster::a_kind_can_be_used_as_soon_as_it_is_defined",
            a_kind_can_be_used_as_soon_as_it_is_defined,
        ),
        trial(
            "cluster::a_finalizer_that_holds_an_object_is_named",
            a_finalizer_that_holds_an_object_is_named,
        ),
        trial(
            "cluster::a_namespace_that_hangs_says_what_is_left",
            a_namespace_that_hangs_says_what_is_left,
        ),
    ]
}

fn apply_creates_changes_and_leaves_alone() -> anyhow::Result<()> {
    let space = Namespace::new("apply")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let object = config_map(&space.name, "a", &json!({"x": "1", "gone": null}));
        let dry = ApplyOptions {
            dry_run: true,
            ..by("eng")
        };
        ensure!(cluster.apply(&object, &dry).await?.created);
        let target = ObjectRef::of(&object).context("a reference")?;
        ensure!(cluster.get(&target).await?.is_none(), "a dry run stored it");

        let first = cluster.apply(&object, &by("eng")).await?;
        ensure!(
            first.created && first.object["data"] == json!({"x": "1"}),
            "{first:?}"
        );
        let second = cluster.apply(&object, &by("eng")).await?;
        ensure!(!second.created);
        let version = |object| text(object, "/metadata/resourceVersion").map(str::to_owned);
        ensure!(
            version(&first.object)? == version(&second.object)?,
            "nothing was to change"
        );
        let third = cluster
            .apply(&config_map(&space.name, "a", &json!({"x": "2"})), &by("eng"))
            .await?;
        ensure!(!third.created && version(&third.object)? != version(&second.object)?);

        // Read back and applied as it is, with all that only the server writes.
        let live = cluster.get(&target).await?.context("it is there")?;
        cluster.apply(&live, &by("eng")).await?;

        let old = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "a", "namespace": space.name}});
        let warned = cluster.apply(&old, &by("eng")).await?.warnings;
        ensure!(
            warned.iter().any(|warning| warning.contains("deprecated")),
            "{warned:?}"
        );
        Ok(())
    })
}

fn a_conflict_names_field_and_manager() -> anyhow::Result<()> {
    let space = Namespace::new("conflict")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        cluster
            .apply(
                &config_map(&space.name, "a", &json!({"x": "1", "y": "1"})),
                &by("one"),
            )
            .await?;
        let mine = config_map(&space.name, "a", &json!({"x": "2", "y": "1"}));
        let error = refused(cluster.apply(&mine, &by("two")).await, "apply-conflict")?;
        let ClusterError::ApplyConflict { conflicts, .. } = &error else {
            anyhow::bail!("{error:?}");
        };
        ensure!(
            conflicts.len() == 1 && conflicts[0].manager == "one" && conflicts[0].field == ".data.x",
            "{conflicts:?}"
        );
        let force = ApplyOptions {
            force: true,
            ..by("two")
        };
        ensure!(cluster.apply(&mine, &force).await?.object["data"]["x"] == "2");
        Ok(())
    })
}

fn a_user_without_rights_is_told_which() -> anyhow::Result<()> {
    let space = Namespace::new("rights")?;
    run(async {
        let limited = space.cluster.limited_kubeconfig();
        let error = refused(connect(limited).await, "forbidden")?;
        ensure!(
            error.to_string().contains("get namespaces \"kube-system\""),
            "{error}"
        );
        let admin = connect(space.cluster.kubeconfig()).await?;
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": space.name}, "rules": [
                {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]}]});
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": space.name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": space.name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited"}]});
        for object in [&role, &binding] {
            admin.apply(object, &by("test")).await?;
        }
        let result = async {
            let user = connect(limited).await?;
            let object = config_map(&space.name, "a", &json!({}));
            let error = refused(user.apply(&object, &by("eng")).await, "forbidden")?;
            let said = format!(
                "not allowed to patch configmaps \"a\" in namespace {}",
                space.name
            );
            ensure!(error.to_string() == said, "{error}");
            ensure!(
                Problem::from(error)
                    .remedy
                    .contains("the verb patch on configmaps")
            );
            let found = user.contents_of_namespace(&space.name).await?;
            ensure!(
                found.objects.is_empty() && found.unreadable.iter().any(|kind| kind.kind == "ConfigMap"),
                "what may not be listed must not look empty: {found:?}"
            );
            Ok(())
        }
        .await;
        for object in [&binding, &role] {
            let target = ObjectRef::of(object).context("a reference")?;
            admin.delete(&target, &Preconditions::default(), false).await?;
        }
        result
    })
}

fn mistakes_are_told_apart() -> anyhow::Result<()> {
    let space = Namespace::new("mistakes")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let apply = async |object| cluster.apply(&object, &by("eng")).await;
        let mut object = config_map(&space.name, "a", &json!({"x": 5}));
        refused(apply(object.clone()).await, "object-invalid")?;
        object["data"] = json!({});
        object["unknown"] = json!(1);
        let error = refused(apply(object).await, "object-invalid")?;
        ensure!(error.to_string().contains("unknown"), "{error}");
        let error = refused(
            apply(config_map("nowhere", "a", &json!({}))).await,
            "object-not-found",
        )?;
        ensure!(error.to_string() == "namespace nowhere is not there", "{error}");
        refused(
            apply(json!({"apiVersion": "mesh.example/v1", "kind": "Nope", "metadata": {"name": "a"}})).await,
            "kind-not-served",
        )?;
        refused(
            apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})).await,
            "object-invalid",
        )?;
        let big = "x".repeat(1_100_000);
        refused(
            apply(config_map(&space.name, "big", &json!({"x": big}))).await,
            "object-invalid",
        )?;
        let huge = "x".repeat(4_000_000);
        refused(
            apply(config_map(&space.name, "huge", &json!({"x": huge}))).await,
            "object-too-large",
        )?;

        let mut web: serde_json::Value = serde_json::from_str(&deployment(
            "web",
            0,
            r#"{"spec": {"containers": [{"name": "main", "image": "a"}]}}"#,
        ))?;
        web["metadata"]["namespace"] = json!(space.name);
        apply(web.clone()).await?;
        web["spec"]["selector"]["matchLabels"] = json!({"app": "other"});
        web["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
        let force = ApplyOptions {
            force: true,
            ..by("eng")
        };
        let error = refused(cluster.apply(&web, &force).await, "object-invalid")?;
        ensure!(error.is_immutable(), "{error:?}");

        let probe = config_map(&space.name, "probe", &json!({}));
        cluster.create(&probe, "eng").await?;
        refused(cluster.create(&probe, "eng").await, "object-exists")?;
        Ok(())
    })
}

fn guards_hold() -> anyhow::Result<()> {
    let space = Namespace::new("guards")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let object = config_map(&space.name, "a", &json!({"x": "1"}));
        let target = ObjectRef::of(&object).context("a reference")?;
        let guarded = |uid: &str, version: Option<&str>| ApplyOptions {
            guard: Some(Guard {
                uid: Some(uid.to_owned()),
                resource_version: version.map(str::to_owned),
            }),
            ..by("eng")
        };
        let nobody = "11111111-1111-1111-1111-111111111111";
        refused(
            cluster.apply(&object, &guarded(nobody, None)).await,
            "object-changed",
        )?;
        ensure!(
            cluster.get(&target).await?.is_none(),
            "an apply with a uid created it"
        );
        let creating = || ApplyOptions {
            guard: Some(Guard::absent()),
            ..by("eng")
        };
        let made = cluster.apply(&object, &creating()).await?;
        ensure!(made.created, "an apply that must create creates");
        let made = made.object;
        // Not even when nothing would change, nor by force.
        let forced = ApplyOptions {
            force: true,
            ..creating()
        };
        for options in [creating(), forced] {
            refused(cluster.apply(&object, &options).await, "object-changed")?;
        }
        let (uid, version) = (
            text(&made, "/metadata/uid")?,
            text(&made, "/metadata/resourceVersion")?,
        );
        refused(
            cluster.apply(&object, &guarded(nobody, None)).await,
            "object-changed",
        )?;
        cluster.apply(&object, &guarded(uid, Some(version))).await?;
        let touched = Patch::Merge(json!({"data": {"y": "2"}}));
        cluster.patch(&target, &touched, "other", false).await?;
        refused(
            cluster.apply(&object, &guarded(uid, Some(version))).await,
            "object-changed",
        )?;

        let tested = Patch::Json(json!([{"op": "test", "path": "/data/y", "value": "3"}]));
        refused(
            cluster.patch(&target, &tested, "other", false).await,
            "object-changed",
        )?;
        let stale = Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: Some(version.to_owned()),
        };
        refused(cluster.delete(&target, &stale, false).await, "object-changed")?;
        let other = Preconditions {
            uid: Some(nobody.to_owned()),
            resource_version: None,
        };
        refused(cluster.delete(&target, &other, false).await, "object-changed")?;
        let this = Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        };
        ensure!(cluster.delete(&target, &this, true).await? == Deletion::Gone);
        ensure!(cluster.get(&target).await?.is_some(), "a dry run deleted it");
        ensure!(cluster.delete(&target, &this, false).await? == Deletion::Gone);
        ensure!(cluster.delete(&target, &this, false).await? == Deletion::Absent);
        Ok(())
    })
}

fn a_kind_can_be_used_as_soon_as_it_is_defined() -> anyhow::Result<()> {
    let space = Namespace::new("define")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.define.test.meshery.io"},
            "spec": {"group": "define.test.meshery.io", "scope": "Namespaced",
                "names": {"kind": "Thing", "plural": "things"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object",
                        "x-kubernetes-preserve-unknown-fields": true}}}}}]}});
        let definition = ObjectRef::of(&crd).context("a reference")?;
        cluster.apply(&crd, &by("eng")).await?;
        let established = Readiness {
            object: definition.clone(),
            rule: Rule::Ready,
        };
        cluster
            .wait_ready(&[established], seconds(10), &mut |_| {})
            .await?;
        let thing = json!({"apiVersion": "define.test.meshery.io/v1", "kind": "Thing",
            "metadata": {"name": "a", "namespace": space.name, "finalizers": ["test.meshery.io/hold"]},
            "spec": {"value": null}});
        let creating = ApplyOptions {
            guard: Some(Guard::absent()),
            ..by("eng")
        };
        let made = cluster.apply(&thing, &creating).await?;
        ensure!(made.created);
        refused(cluster.apply(&thing, &creating).await, "object-changed")?;
        ensure!(
            made.object["spec"] == json!({"value": null}),
            "null is a value there: {}",
            made.object
        );
        let target = ObjectRef::of(&thing).context("a reference")?;
        let inside = cluster.custom_resources_of(&definition).await?;
        ensure!(inside.len() == 1 && inside[0].object == target, "{inside:?}");

        ensure!(
            cluster
                .delete(&definition, &Preconditions::default(), false)
                .await?
                == Deletion::Pending
        );
        let error = refused(
            cluster.wait_gone(&definition, None, seconds(2), |_| {}).await,
            "not-gone",
        )?;
        ensure!(error.to_string().contains("customresourcecleanup"), "{error}");
        let late = json!({"apiVersion": "define.test.meshery.io/v1", "kind": "Thing",
            "metadata": {"name": "late", "namespace": space.name}});
        refused(cluster.apply(&late, &by("eng")).await, "being-deleted")?;
        let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        cluster.patch(&target, &release, "eng", false).await?;
        cluster.wait_gone(&definition, None, seconds(10), |_| {}).await?;
        cluster.wait_gone(&target, None, seconds(5), |_| {}).await?;
        ensure!(cluster.custom_resources_of(&definition).await?.is_empty());
        Ok(())
    })
}

fn a_finalizer_that_holds_an_object_is_named() -> anyhow::Result<()> {
    let space = Namespace::new("finalizer")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let mut object = config_map(&space.name, "held", &json!({}));
        object["metadata"]["finalizers"] = json!(["test.meshery.io/hold"]);
        let target = ObjectRef::of(&object).context("a reference")?;
        let made = cluster.apply(&object, &by("eng")).await?.object;
        let uid = text(&made, "/metadata/uid")?;
        let this = Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        };
        ensure!(cluster.delete(&target, &this, false).await? == Deletion::Pending);
        let mut said = Vec::new();
        let waited = cluster
            .wait_gone(&target, Some(uid), seconds(1), |reason| {
                said.push(reason.to_owned());
            })
            .await;
        let error = refused(waited, "not-gone")?;
        ensure!(
            error.to_string().contains("held by test.meshery.io/hold"),
            "{error}"
        );
        ensure!(said == ["it is held by test.meshery.io/hold"], "{said:?}");

        let release = async {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            cluster.patch(&target, &patch, "eng", false).await
        };
        let (gone, released) = tokio::join!(
            cluster.wait_gone(&target, Some(uid), seconds(10), |_| {}),
            release
        );
        released?;
        gone?;
        cluster
            .apply(&config_map(&space.name, "held", &json!({})), &by("eng"))
            .await?;
        cluster.wait_gone(&target, Some(uid), seconds(5), |_| {}).await?;
        Ok(())
    })
}

fn a_namespace_that_hangs_says_what_is_left() -> anyhow::Result<()> {
    let space = Namespace::new("hanging")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        let mut object = config_map(&space.name, "held", &json!({}));
        object["metadata"]["finalizers"] = json!(["test.meshery.io/hold"]);
        cluster.apply(&object, &by("eng")).await?;
        let namespace = ObjectRef::new("v1", "Namespace", "", &space.name);
        ensure!(
            cluster
                .delete(&namespace, &Preconditions::default(), false)
                .await?
                == Deletion::Pending
        );
        let error = refused(
            cluster.wait_gone(&namespace, None, seconds(8), |_| {}).await,
            "not-gone",
        )?;
        let said = error.to_string();
        ensure!(
            said.contains("configmaps. has 1 resource instances")
                && said.contains("/held is held by test.meshery.io/hold"),
            "{said}"
        );
        refused(
            cluster
                .apply(&config_map(&space.name, "late", &json!({})), &by("eng"))
                .await,
            "being-deleted",
        )?;
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        cluster
            .patch(
                &ObjectRef::of(&object).context("a reference")?,
                &patch,
                "eng",
                false,
            )
            .await?;
        cluster.wait_gone(&namespace, None, seconds(20), |_| {}).await?;
        Ok(())
    })
}
