//! What there is of the kind that a definition defines, whichever of its versions are served.

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_core::cluster::object::{Patch, Preconditions};
use meshery_core::cluster::{Cluster, ClusterError};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Readiness, Rule};
use serde_json::{Value, json};

use super::{by, connect, refused, run, seconds};
use crate::namespace::Namespace;
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![trial(
        "cluster::objects_are_found_whichever_version_they_were_kept_in_first",
        objects_are_found_whichever_version_they_were_kept_in_first,
    )]
}

/// A version of it, and whether it is served; objects are kept in the last one.
fn versions(served: &[(&str, bool)]) -> Value {
    let last = served.len().saturating_sub(1);
    let versions = served.iter().enumerate().map(|(at, (name, served))| {
        json!({"name": name, "served": served, "storage": at == last,
            "schema": {"openAPIV3Schema": {"type": "object"}}})
    });
    versions.collect()
}

async fn serves(
    cluster: &Cluster,
    definition: &ObjectRef,
    served: &[(&str, bool)],
) -> Result<Value, ClusterError> {
    let patch = Patch::Merge(json!({"spec": {"versions": versions(served)}}));
    cluster.patch(definition, &patch, "eng", false).await
}

fn objects_are_found_whichever_version_they_were_kept_in_first() -> anyhow::Result<()> {
    let space = Namespace::new("old-versions")?;
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "olds.versions.test.meshery.io"},
        "spec": {"group": "versions.test.meshery.io", "scope": "Namespaced",
            "names": {"kind": "Old", "plural": "olds"},
            "versions": versions(&[("v1alpha1", true)])}});
    let definition = ObjectRef::of(&crd).context("a reference")?;
    run(async {
        let cluster = connect(space.cluster.kubeconfig()).await?;
        cluster.apply(&crd, &by("eng")).await?;
        let established = Readiness {
            object: definition.clone(),
            rule: Rule::Ready,
        };
        cluster
            .wait_ready(&[established], seconds(10), &mut |_| {})
            .await?;
        ensure!(cluster.custom_resources_of(&definition).await?.is_empty());
        let old = json!({"apiVersion": "versions.test.meshery.io/v1alpha1", "kind": "Old",
            "metadata": {"name": "a", "namespace": space.name}});
        cluster.apply(&old, &by("eng")).await?;

        // The ordinary end of a version: nothing is kept in it any more that is written, and it is served no more.
        let migrated = serves(&cluster, &definition, &[("v1alpha1", false), ("v1", true)]).await?;
        let stored = &migrated["status"]["storedVersions"];
        ensure!(stored == &json!(["v1alpha1", "v1"]), "{stored}");
        let inside = cluster.custom_resources_of(&definition).await?;
        ensure!(inside.len() == 1 && inside[0].object.name == "a", "{inside:?}");

        serves(&cluster, &definition, &[("v1alpha1", false), ("v1", false)]).await?;
        let error = refused(
            cluster.custom_resources_of(&definition).await,
            "instances-unknown",
        )?;
        ensure!(
            error.to_string().contains("olds.versions.test.meshery.io"),
            "{error}"
        );
        serves(&cluster, &definition, &[("v1alpha1", false), ("v1", true)]).await?;
        cluster
            .delete(&definition, &Preconditions::default(), false)
            .await?;
        cluster.wait_gone(&definition, None, seconds(10), |_| {}).await?;
        ensure!(cluster.custom_resources_of(&definition).await?.is_empty());
        Ok(())
    })
}
