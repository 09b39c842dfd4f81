//! Helm releases that the engine writes, held against the real helm, 3 and 4, in both directions: what we install is
//! Helm's, and what Helm has installed we upgrade, take back and remove. And what is done on explicit word only.

mod begun;
mod bounds;
mod copies;
mod explicit;
mod for_good;
mod forced;
mod gone_back;
mod helms;
mod hook_places;
mod hooks;
mod installed_anew;
mod killed;
mod taken_over;
mod tested_late;

use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::chart_archive::Packing;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use serde_json::{Value, json};

use crate::invented::{LIMIT, invented_host, request};
use crate::namespace::succeeded;
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("releases::what_we_install_is_helms", helms::ours_is_helms),
        trial(
            "releases::what_helm_has_installed_is_upgraded_taken_back_and_removed",
            helms::theirs_is_ours,
        ),
        trial(
            "releases::an_undo_keeps_its_hands_off_what_helm_has_upgraded_since",
            helms::overtaken,
        ),
        trial(
            "releases::the_undo_of_a_removal_keeps_its_hands_off_what_helm_has_installed_anew",
            installed_anew::stays,
        ),
        trial(
            "releases::objects_that_are_there_become_part_of_a_release_on_explicit_word_only",
            explicit::adopted,
        ),
        trial(
            "releases::what_a_release_has_kept_and_holds_no_more_is_changed_without_a_word",
            explicit::left,
        ),
        trial(
            "releases::what_others_mind_is_deleted_on_explicit_word_only",
            explicit::deleted,
        ),
        trial(
            "releases::one_on_which_helm_was_killed_is_recovered_on_explicit_word_only",
            killed::recovered,
        ),
        trial(
            "releases::one_whose_rollback_was_killed_is_recovered_on_explicit_word_only",
            killed::rollback,
        ),
        trial(
            "releases::one_whose_removal_was_killed_is_recovered_on_explicit_word_only",
            killed::removal,
        ),
        trial(
            "releases::one_that_is_only_history_is_installed_gone_back_to_and_removed",
            killed::history,
        ),
        trial(
            "releases::a_chart_that_looks_into_the_cluster_is_installed_on_explicit_word_only",
            explicit::lookup,
        ),
        trial(
            "releases::what_cannot_be_changed_is_made_again_on_explicit_word_only",
            explicit::recreated,
        ),
        trial(
            "releases::hooks_run_by_weight_are_awaited_and_go_as_their_policy_says",
            hooks::in_order,
        ),
        trial(
            "releases::what_is_in_the_place_of_a_hook_makes_room_on_explicit_word_only",
            hook_places::of_others,
        ),
        trial(
            "releases::an_earlier_run_of_a_hook_makes_room_without_a_word",
            hook_places::of_earlier_runs,
        ),
        trial(
            "releases::a_hook_that_fails_is_told_with_its_pods_reason_and_taken_back",
            hooks::failing,
        ),
        trial(
            "releases::a_hook_that_fails_goes_or_stays_as_its_policy_says_where_all_is_kept",
            hooks::failing_and_kept,
        ),
        trial(
            "releases::hooks_of_a_rollback_run_with_one_and_with_no_undo",
            hooks::of_rollback,
        ),
        trial(
            "releases::programs_that_run_and_volumes_that_go_are_told_before",
            for_good::told,
        ),
        trial(
            "releases::what_only_has_the_marks_of_a_release_is_left_by_its_removal",
            copies::left,
        ),
        trial(
            "releases::fields_taken_by_force_go_back_to_their_owner",
            forced::given_back,
        ),
        trial(
            "releases::what_was_made_otherwise_is_taken_over_with_its_fields_and_given_back",
            taken_over::for_good,
        ),
        trial(
            "releases::of_what_is_taken_over_what_is_there_goes_on_and_what_is_not_is_begun",
            begun::or_goes_on,
        ),
        trial(
            "releases::one_that_has_gone_back_awaits_what_its_revision_has_and_nothing_that_it_lacks",
            gone_back::awaited,
        ),
        trial("releases::tests_run_on_demand", hooks::tests),
        trial(
            "releases::tests_say_when_they_ran_and_nothing_else_of_a_release_that_helm_has_brought_further",
            tested_late::nothing_else_is_said,
        ),
        trial(
            "releases::a_record_that_no_secret_takes_is_refused_when_planned_and_history_is_bounded",
            bounds::of_records,
        ),
        trial(
            "releases::one_with_more_records_than_a_page_is_read_to_its_newest",
            bounds::of_long_history,
        ),
        trial(
            "releases::one_that_helm_keeps_in_config_maps_is_refused",
            bounds::of_other_drivers,
        ),
        trial("releases::mistyped_and_wrong_values_are_named", bounds::of_values),
        trial(
            "releases::one_that_failed_and_was_kept_says_so_and_is_installed_again",
            bounds::failed_and_kept,
        ),
        trial(
            "releases::definitions_of_a_chart_are_made_and_neither_changed_nor_removed",
            bounds::definitions,
        ),
    ]
}

/// Which helm.
#[derive(Debug, Clone, Copy)]
enum Helm {
    Three,
    Four,
}

/// A namespace of a trial's own, and a host with the charts that the trials need.
struct Ground {
    cluster: Arc<Cluster>,
    host: Host,
    space: String,
}

impl Ground {
    fn new(space: &str) -> anyhow::Result<Self> {
        let cluster = cluster()?;
        let host = invented_host(&cluster, cluster.kubeconfig())?
            .mirror(mirror(&cluster)?)
            .start()?;
        let ground = Self {
            cluster,
            host,
            space: space.to_owned(),
        };
        ground.make_space()?;
        Ok(ground)
    }

    fn make_space(&self) -> anyhow::Result<()> {
        succeeded(self.cluster.kubectl(&["create", "namespace", &self.space]))?;
        // What comes with a namespace is there before anything is compared.
        crate::namespace::eventually(|| {
            self.kubectl(&["get", "serviceaccount/default", "configmap/kube-root-ca.crt"])
        })?;
        Ok(())
    }

    fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        succeeded(
            self.cluster
                .kubectl(&[args, &["--namespace", &self.space]].concat()),
        )
        .with_context(|| format!("kubectl {}", args.join(" ")))
    }

    /// An object, if it is there.
    fn get(&self, kind: &str, name: &str) -> anyhow::Result<Option<Value>> {
        let text = self.kubectl(&["get", kind, name, "--ignore-not-found", "--output=json"])?;
        Ok((!text.trim().is_empty())
            .then(|| serde_json::from_str(&text))
            .transpose()?)
    }

    /// The data of a ConfigMap; null when it is not there.
    fn data(&self, name: &str) -> anyhow::Result<Value> {
        Ok(self
            .get("configmap", name)?
            .map_or(Value::Null, |object| object["data"].clone()))
    }

    fn apply(&self, object: &Value) -> anyhow::Result<()> {
        let file = self.cluster.dir().join(format!("{}.json", self.space));
        std::fs::write(&file, object.to_string())?;
        // Under Helm's name, as another release's objects are.
        self.kubectl(&[
            "apply",
            "--server-side",
            "--field-manager=helm",
            "-f",
            &file.to_string_lossy(),
        ])?;
        Ok(())
    }

    fn run_helm(&self, helm: Helm, args: &[&str]) -> anyhow::Result<Output> {
        let args = [args, &["--namespace", &self.space]].concat();
        match helm {
            Helm::Four => Ok(self.cluster.run_helm(&args)),
            Helm::Three => self.cluster.run_helm3(&args),
        }
    }

    fn helm(&self, helm: Helm, args: &[&str]) -> anyhow::Result<String> {
        succeeded(self.run_helm(helm, args)?).with_context(|| format!("helm {helm:?} {}", args.join(" ")))
    }

    /// The archive of a chart of the mirror.
    fn chart(&self, file: &str) -> anyhow::Result<String> {
        Ok(mirror(&self.cluster)?.join(file).to_string_lossy().into_owned())
    }

    /// A file of values, for helm.
    fn values(&self, values: &Value) -> anyhow::Result<String> {
        let file = self.cluster.dir().join(format!("{}-values.json", self.space));
        std::fs::write(&file, values.to_string())?;
        Ok(file.to_string_lossy().into_owned())
    }

    /// The statuses of a release's revisions, the oldest first, as helm has them.
    fn statuses(&self, helm: Helm) -> anyhow::Result<Vec<String>> {
        let text = self.helm(helm, &["history", "demo", "--output=json"])?;
        let revisions: Vec<Value> = serde_json::from_str(&text)?;
        Ok(revisions
            .iter()
            .map(|revision| revision["status"].as_str().unwrap_or_default().to_owned())
            .collect())
    }

    fn expect_statuses(&self, helm: Helm, expected: &[&str]) -> anyhow::Result<()> {
        let statuses = self.statuses(helm)?;
        ensure!(statuses == expected, "{statuses:?}, not {expected:?}");
        Ok(())
    }

    /// The releases of the namespace with what helm says of each, whatever became of them.
    fn list(&self, helm: Helm) -> anyhow::Result<Vec<Value>> {
        let all: &[&str] = match helm {
            Helm::Three => &["list", "--all", "--output=json"],
            Helm::Four => &["list", "--output=json"],
        };
        Ok(serde_json::from_str(&self.helm(helm, all)?)?)
    }

    /// That helm finds the release by the labels that somebody has given it.
    fn expect_labelled(&self, helm: Helm, labels: &str) -> anyhow::Result<()> {
        let found = self.helm(helm, &["list", "--short", "--selector", labels])?;
        ensure!(found.trim() == "demo", "with {labels}: {found}");
        Ok(())
    }

    /// A request for the release `demo` of the chart `pieces` with these objects.
    fn pieces(&self, objects: &[Value]) -> Value {
        pieces(&self.space, objects)
    }

    /// The same, to an operation on the release as it is.
    fn on_release(&self, operation: &str) -> Value {
        request(operation, json!({"namespace": self.space}))
    }

    fn perform(&self, request: &Value, state: &str) -> anyhow::Result<Value> {
        self.host.perform(request, state, LIMIT)
    }

    fn preview(&self, id: &str) -> anyhow::Result<Value> {
        self.host
            .post(&format!("/api/v1/operations/{id}/preview"), &json!({}))?
            .expect(200)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.cluster.kubectl(&[
            "delete",
            "namespace",
            &self.space,
            "--wait=false",
            "--ignore-not-found",
        ]);
    }
}

/// A request for the release `demo` of the chart `pieces` with these objects.
pub fn pieces(space: &str, objects: &[Value]) -> Value {
    request(
        "release-install",
        json!({"namespace": space, "chart": "pieces", "values": {"objects": objects}}),
    )
}

/// The tests' charts, and others made of them.
pub fn mirror(cluster: &Cluster) -> anyhow::Result<PathBuf> {
    let folder = cluster.dir().join("release-charts");
    if folder.exists() {
        return Ok(folder);
    }
    let draft = tempfile::tempdir_in(cluster.dir())?;
    let version = |to| ("Chart.yaml", "version: 0.1.0", to);
    let pieces = |to| {
        let (file, from, to) = version(to);
        Packing::of("pieces").replacing(file, from, to)
    };
    let (file, from, to) = version("version: 0.2.0");
    let charts = [
        ("demo.tgz", Packing::of("demo")),
        (
            "demo-2.tgz",
            Packing::of("demo")
                .replacing(file, from, to)
                .replacing("crds/greetings.yaml", "type: integer", "type: number"),
        ),
        ("pieces.tgz", Packing::of("pieces")),
        (
            "pieces-lookup.tgz",
            pieces("version: 0.1.0-lookup").with(
                "templates/found.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: found\ndata:\n  found: {{ (lookup \"v1\" \
                 \"Namespace\" \"\" \"default\").metadata | default dict | len | quote }}\n",
            ),
        ),
        (
            // It encodes what it is given, and refuses what it does not like, loudly.
            "pieces-judging.tgz",
            pieces("version: 0.1.0-judging").with(
                "templates/judging.yaml",
                "{{- if hasPrefix \"mArKeR\" .Values.token }}{{ fail .Values.token }}{{ end }}\n\
                 apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: judged\ndata:\n  \
                 token: {{ printf \"a:%s\" .Values.token | b64enc }}\n",
            ),
        ),
        (
            // As charts of meshes do: a validator lets everything pass until somebody serves it.
            "pieces-beginning.tgz",
            pieces("version: 0.1.0-beginning").with(
                "templates/beginning.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: moment\ndata:\n  \
                 begins: {{ .Release.IsInstall | quote }}\n---\n\
                 apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\n\
                 metadata:\n  name: begun-validator\nwebhooks: []\n",
            ),
        ),
        (
            "pieces-large.tgz",
            pieces("version: 0.1.0-large").with("noise.bin", noise(900_000)),
        ),
    ];
    for (name, packing) in charts {
        std::fs::write(draft.path().join(name), packing.pack()?)?;
    }
    std::fs::rename(draft.keep(), &folder)?;
    Ok(folder)
}

/// Bytes that do not pack.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

pub fn config(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// A Job whose pods end so; `never` lets them wait for ever.
pub fn job(name: &str, exit: &str) -> Value {
    let lever = if exit == "never" {
        json!({"test.meshery.io/ready": "never"})
    } else {
        json!({"test.meshery.io/exit": exit})
    };
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {
            "metadata": {"annotations": lever},
            "spec": {"restartPolicy": "Never",
                "containers": [{"name": "job", "image": "registry.example/job:1"}]}}}})
}

fn annotated(mut object: Value, annotations: &[(&str, &str)]) -> Value {
    for (key, value) in annotations {
        object["metadata"]["annotations"][*key] = (*value).into();
    }
    object
}

pub fn hook(object: Value, events: &str, weight: &str, policy: &str) -> Value {
    let object = annotated(
        object,
        &[("helm.sh/hook", events), ("helm.sh/hook-weight", weight)],
    );
    if policy.is_empty() {
        return object;
    }
    annotated(object, &[("helm.sh/hook-delete-policy", policy)])
}

fn id(record: &Value) -> anyhow::Result<&str> {
    record["id"].as_str().context("a record has an id")
}

/// The entry of an object in a preview.
fn previewed<'a>(preview: &'a Value, end: &str) -> anyhow::Result<&'a Value> {
    preview["objects"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|object| object["ref"].as_str().is_some_and(|name| name.ends_with(end)))
        .with_context(|| format!("{end} is not in {preview:#}"))
}

/// Plans a request that needs a word: its preview says so, and it does not run without it. Returns what it says.
fn needs_word(ground: &Ground, request: &Value, word: &str) -> anyhow::Result<String> {
    let planned = ground.host.plan(request)?;
    let preview = ground.preview(&planned)?;
    let needed = &preview["needs_consent"][0];
    ensure!(needed["consent"] == word, "{preview:#}");
    let problem = ground
        .host
        .post(&format!("/api/v1/operations/{planned}/run"), &json!({}))?
        .problem(409, "consent-required")?;
    ensure!(
        problem["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.contains(word)),
        "{problem:#}"
    );
    Ok(needed["why"].as_str().unwrap_or_default().to_owned())
}

pub fn accepting(mut request: Value, words: &[&str]) -> Value {
    request["policy"]["accept"] = json!(words);
    request
}
