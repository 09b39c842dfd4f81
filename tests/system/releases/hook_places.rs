//! What is there already where a hook is to be made: whose it is, and which word it takes.

use anyhow::{Context as _, ensure};
use meshery_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use super::{Ground, Helm, accepting, annotated, config, hook, id, job, previewed};
use crate::invented::LIMIT;

const MOMENTS: &str = "pre-install,pre-upgrade";

pub fn of_others() -> anyhow::Result<()> {
    let ground = Ground::new("hook-others")?;
    let wanted = ground.pieces(&[hook(config("there", json!({"a": "ours"})), MOMENTS, "0", "")]);
    let theirs = || config("there", json!({"b": "theirs"}));
    let mut of_release = annotated(
        theirs(),
        &[
            ("meta.helm.sh/release-name", "other"),
            ("meta.helm.sh/release-namespace", "elsewhere"),
        ],
    );
    of_release["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
    let tracked = [(
        "argocd.argoproj.io/tracking-id",
        "shop:/ConfigMap:hook-others/there",
    )];
    let cases = [
        (theirs(), &["adopt"][..], "no hook of release demo"),
        (
            of_release,
            &["foreign"][..],
            "Helm release other in namespace elsewhere",
        ),
        (
            annotated(theirs(), &tracked),
            &["foreign", "adopt"][..],
            "Argo CD (Application shop)",
        ),
        // As Argo CD makes the hooks of a chart.
        (
            annotated(hook(theirs(), MOMENTS, "0", ""), &tracked),
            &["foreign"][..],
            "Argo CD (Application shop)",
        ),
    ];
    for (object, given, words) in cases {
        ground.apply(&object)?;
        refused(&ground, &wanted, "ConfigMap/hook-others/there", (given[0], words))?;
        let before = Snapshot::take(&ground.cluster)?;
        let done = ground.perform(&accepting(wanted.clone(), given), "succeeded")?;
        ensure!(ground.data("there")? == json!({"a": "ours"}));
        ground.host.take_back(id(&done)?, "undone", LIMIT)?;
        before.await_remade(&ground.cluster)?;
        ground.kubectl(&["delete", "configmap", "there"])?;
    }

    // A program that somebody else runs would be lost for good.
    ground.apply(&job("there", "0"))?;
    ground.kubectl(&["wait", "--for=condition=complete", "job/there", "--timeout=60s"])?;
    let wanted = ground.pieces(&[hook(job("there", "0"), MOMENTS, "0", "")]);
    refused(
        &ground,
        &wanted,
        "Job/hook-others/there",
        ("adopt", "no hook of release demo"),
    )?;
    ground.kubectl(&["delete", "job", "there", "--cascade=foreground"])?;

    // Helm marks hooks in no way: the records of the other release say that it is that one's.
    let archive = ground.chart("pieces.tgz")?;
    let file = ground.values(&json!({"objects": [hook(job("there", "0"), MOMENTS, "0", "")]}))?;
    ground.helm(Helm::Four, &["install", "other", &archive, "-f", &file])?;
    refused(
        &ground,
        &wanted,
        "Job/hook-others/there",
        ("foreign", "Helm release other in namespace hook-others"),
    )?;
    ground.perform(&accepting(wanted, &["foreign"]), "succeeded")?;
    Ok(())
}

/// That neither a preview nor a run lets something go without this word, and that nothing is changed.
fn refused(ground: &Ground, wanted: &Value, object: &str, (word, words): (&str, &str)) -> anyhow::Result<()> {
    let before = Snapshot::take(&ground.cluster)?;
    let preview = ground.preview(&ground.host.plan(wanted)?)?;
    let shown = previewed(&preview, object)?;
    let told = |error: &Value| {
        error["code"] == "consent-required"
            && error["message"].as_str().is_some_and(|text| text.contains(words))
            && error["remedy"].as_str().is_some_and(|text| text.contains(word))
    };
    ensure!(shown["change"] == "error" && told(&shown["error"]), "{shown:#}");
    let failed = ground.perform(wanted, "undone")?;
    ensure!(told(&failed["error"]), "{failed:#}");
    before.await_same(&ground.cluster)
}

pub fn of_earlier_runs() -> anyhow::Result<()> {
    let ground = Ground::new("hook-earlier")?;
    let objects = [hook(job("there", "0"), MOMENTS, "0", "")];
    let wanted = ground.pieces(&objects);
    let archive = ground.chart("pieces.tgz")?;
    let file = ground.values(&json!({"objects": objects}))?;
    let uid = || -> anyhow::Result<Value> {
        let there = ground.get("job", "there")?.context("the hook is there")?;
        Ok(there["metadata"]["uid"].clone())
    };
    // One that helm's revision before has left, one of ours, and one of ours of a release that is gone.
    ground.helm(Helm::Three, &["install", "demo", &archive, "-f", &file])?;
    for _ in 0..2 {
        let before = uid()?;
        remade_without_a_word(&ground, &wanted)?;
        ensure!(uid()? != before);
    }
    ground.helm(Helm::Three, &["uninstall", "demo"])?;
    remade_without_a_word(&ground, &wanted)?;
    ground.perform(&ground.on_release("release-remove"), "succeeded")?;
    // One that helm has left of a release that is gone: nothing says any more whose it was.
    ground.helm(Helm::Four, &["install", "demo", &archive, "-f", &file])?;
    ground.helm(Helm::Four, &["uninstall", "demo"])?;
    let left_by_helm = uid()?;
    remade_without_a_word(&ground, &wanted)?;
    ensure!(uid()? != left_by_helm);
    Ok(())
}

fn remade_without_a_word(ground: &Ground, wanted: &Value) -> anyhow::Result<()> {
    let preview = ground.preview(&ground.host.plan(wanted)?)?;
    let shown = previewed(&preview, "Job/hook-earlier/there")?;
    ensure!(
        shown["change"] == "recreate" && shown["error"].is_null(),
        "{shown:#}"
    );
    ground.perform(wanted, "succeeded")?;
    Ok(())
}
