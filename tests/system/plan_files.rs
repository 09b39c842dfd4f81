//! Plans written into files, reviewed, and applied later: just what was reviewed, or nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_tests::chart_archive::Packing;
use meshery_tests::cluster::Cluster;
use meshery_tests::host::Host;
use serde_json::Value;
use tempfile::TempDir;

use crate::invented::invented_host;
use crate::mesheryctl::{ctl, has};
use crate::namespace::succeeded;
use crate::{cluster, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "plan_files::what_was_reviewed_is_applied_by_its_own_operation_and_once",
            own_operation,
        ),
        trial(
            "plan_files::a_plan_whose_operation_is_gone_is_planned_anew_and_is_the_same",
            anew,
        ),
        trial(
            "plan_files::what_is_not_what_was_reviewed_is_refused_object_by_object",
            stale,
        ),
        trial(
            "plan_files::a_chart_that_makes_certificates_anew_gives_the_same_plan",
            certificates,
        ),
        trial("plan_files::files_that_are_no_plans_are_refused", wrong),
    ]
}

struct Bench {
    cluster: Arc<Cluster>,
    host: Host,
    folder: TempDir,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let cluster = cluster()?;
        let host = invented_host(&cluster, cluster.kubeconfig())?.start()?;
        let folder = TempDir::new()?;
        Ok(Self {
            cluster,
            host,
            folder,
        })
    }

    /// Plans into a new file.
    fn plan(&self, name: &str, line: &str) -> anyhow::Result<PathBuf> {
        let file = self.folder.path().join(name);
        ctl(&self.host, 0, &format!("{line} --out {}", file.display()))?;
        Ok(file)
    }

    fn apply(&self, code: i32, file: &Path) -> anyhow::Result<(String, String)> {
        ctl(&self.host, code, &format!("apply {} --yes", file.display()))
    }

    fn operation(&self, file: &Path) -> anyhow::Result<Value> {
        let id = read(file)?["operation"]
            .as_str()
            .context("an operation")?
            .to_owned();
        self.host.get(&format!("/api/v1/operations/{id}"))?.expect(200)
    }

    fn kubectl(&self, line: &str) -> anyhow::Result<String> {
        let words: Vec<&str> = line.split(' ').collect();
        succeeded(self.cluster.kubectl(&words)).with_context(|| line.to_owned())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.kubectl("delete namespace filed --ignore-not-found");
        let _ = self.kubectl("delete validatingwebhookconfigurations invented-filed --ignore-not-found");
        let _ = self.kubectl("delete crd routes.invented.example greetings.demo.example --ignore-not-found");
    }
}

fn read(file: &Path) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

fn own_operation() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let line = "mesh plan invented --set namespace=filed --set chart=false";
    let file = bench.folder.path().join("plan.json");
    let (_, hint) = ctl(
        &bench.host,
        2,
        &format!("{line} --exit-code --out {}", file.display()),
    )?;
    has(&hint, &[&format!("mesheryctl apply {}", file.display())])?;
    let plan = read(&file)?;
    ensure!(
        plan["digest"]
            .as_str()
            .is_some_and(|digest| digest.starts_with("sha256:")),
        "{plan}"
    );
    for part in [
        "/adapter/sha256",
        "/cluster",
        "/request/parameters/namespace",
        "/preview/counts/create",
    ] {
        ensure!(
            plan.pointer(part).is_some_and(|value| !value.is_null()),
            "no {part}: {plan}"
        );
    }
    // A name that is taken, and a command line that is wrong, are not "it changes something".
    has(
        &ctl(
            &bench.host,
            1,
            &format!("{line} --exit-code --out {}", file.display()),
        )?
        .1,
        &["file-exists"],
    )?;
    ctl(&bench.host, 1, "mesh plan invented --exit-code --set nonsense=1")?;
    ctl(&bench.host, 1, "mesh plan invented --exit-code --nonsense")?;
    ctl(&bench.host, 2, &format!("apply {}", file.display()))?;
    ensure!(bench.operation(&file)?["state"] == "previewed", "nobody said yes");

    has(&bench.apply(0, &file)?.0, &["succeeded"])?;
    ensure!(
        bench.operation(&file)?["state"] == "succeeded",
        "another operation ran"
    );
    ctl(&bench.host, 0, &format!("{line} --exit-code"))?;
    let (_, again) = bench.apply(1, &file)?;
    has(
        &again,
        &[
            "plan-stale",
            "v1/Namespace//filed is not part of it any more",
            "it was create, it is unchanged",
        ],
    )
}

fn anew() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let file = bench.plan("plan.json", "mesh plan invented --set namespace=filed")?;
    let id = bench.operation(&file)?["id"]
        .as_str()
        .context("an id")?
        .to_owned();
    ctl(&bench.host, 0, &format!("operation cancel {id} --yes"))?;
    has(&bench.apply(0, &file)?.0, &["succeeded"])?;
    ensure!(
        bench.operation(&file)?["state"] == "cancelled",
        "what was cancelled ran"
    );

    // So is one that the host never heard of.
    let mut plan = read(&bench.plan(
        "again.json",
        "mesh plan invented --set namespace=filed --set replicas=2",
    )?)?;
    plan["operation"] = "01ARZ3NDEKTSV4RRFFQ69G5FAV".into();
    let moved = bench.folder.path().join("moved.json");
    fs::write(&moved, plan.to_string())?;
    has(&bench.apply(0, &moved)?.0, &["succeeded"])?;
    let replicas =
        bench.kubectl("get deployment invented-controller -n filed -o jsonpath={.spec.replicas}")?;
    ensure!(replicas == "2", "{replicas}");
    ctl(&bench.host, 0, "mesh remove invented --set namespace=filed --yes").map(drop)
}

/// A template that comes out otherwise each time: a certificate, and its checksum on what uses it.
const CERTIFIED: &str = r#"{{- $ca := genCA "demo" 365 }}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: certified-{{ .Release.Namespace }}
webhooks:
  - name: certified.demo.example
    clientConfig:
      caBundle: {{ $ca.Cert | b64enc }}
      url: https://127.0.0.1:1/validate
    rules: [{apiGroups: [demo.example], apiVersions: ["*"], operations: [CREATE], resources: ["*"]}]
    namespaceSelector: {matchLabels: {demo.example/validate: certified}}
    failurePolicy: Ignore
    sideEffects: None
    admissionReviewVersions: [v1]
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: certified
  annotations: {checksum/ca: {{ $ca.Cert | sha256sum }}}
data: {greeting: {{ .Values.greeting }}}
"#;

fn certificates() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let folder = TempDir::new()?;
    let mirror = folder.path().join("mirror");
    fs::create_dir(&mirror)?;
    let pack = |text: &str| -> anyhow::Result<()> {
        let archive = Packing::of("demo")
            .with("templates/certified.yaml", text)
            .pack()?;
        Ok(fs::write(mirror.join("demo.tgz"), archive)?)
    };
    pack(CERTIFIED)?;
    let host = invented_host(&cluster, cluster.kubeconfig())?
        .mirror(&mirror)
        .start()?;
    let bench = Bench {
        cluster,
        host,
        folder,
    };
    let line = "mesh plan invented --set namespace=filed";
    let (one, two) = (bench.plan("one.json", line)?, bench.plan("two.json", line)?);
    let sum = |file: &Path| -> anyhow::Result<String> {
        let objects = read(file)?["preview"]["objects"].to_string();
        let at = objects.find("checksum/ca").context("a checksum in the preview")?;
        Ok(objects[at..].chars().take(200).collect())
    };
    ensure!(
        sum(&one)? != sum(&two)?,
        "the certificates are the same, so this shows nothing"
    );
    ensure!(
        read(&one)?["digest"] == read(&two)?["digest"],
        "the digest sees certificates"
    );
    for file in [&one, &two] {
        let id = bench.operation(file)?["id"].as_str().context("an id")?.to_owned();
        ctl(&bench.host, 0, &format!("operation cancel {id} --yes"))?;
    }
    // Another template is another plan.
    pack(&CERTIFIED.replace("failurePolicy: Ignore", "failurePolicy: Fail"))?;
    has(&bench.apply(1, &two)?.1, &["plan-stale", "digest"])?;
    pack(CERTIFIED)?;
    has(&bench.apply(0, &one)?.0, &["succeeded"])?;
    ctl(&bench.host, 0, "mesh remove invented --set namespace=filed --yes").map(drop)
}

fn stale() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.kubectl("create namespace filed")?;
    let line = "adapter run invented conflict --set namespace=filed --yes --set value=";
    ctl(&bench.host, 0, &format!("{line}one"))?;
    let plan = "adapter plan invented conflict --set namespace=filed --set value=two";
    let (own, other) = (bench.plan("own.json", plan)?, bench.plan("other.json", plan)?);
    let id = bench.operation(&other)?["id"]
        .as_str()
        .context("an id")?
        .to_owned();
    ctl(&bench.host, 0, &format!("operation cancel {id} --yes"))?;

    // An edited file is another request.
    let mut edited = read(&own)?;
    edited["request"]["parameters"]["value"] = "three".into();
    let file = bench.folder.path().join("edited.json");
    fs::write(&file, edited.to_string())?;
    has(
        &bench.apply(1, &file)?.1,
        &["plan-stale", "v1/ConfigMap/filed/contested: another change of"],
    )?;
    let mut edited = read(&own)?;
    edited["request"]["policy"]["force_conflicts"] = true.into();
    fs::write(&file, edited.to_string())?;
    has(&bench.apply(1, &file)?.1, &["plan-stale", "digest"])?;

    // And so is another cluster's state, whether the operation is still there or not.
    bench.kubectl("label configmap contested -n filed seen=no")?;
    bench.kubectl("delete configmap contested -n filed")?;
    for file in [&own, &other] {
        let (_, said) = bench.apply(1, file)?;
        has(
            &said,
            &[
                "plan-stale",
                "v1/ConfigMap/filed/contested: it was update, it is create",
                "plan again",
            ],
        )?;
    }
    let there = bench.kubectl("get configmap contested -n filed --ignore-not-found -o name")?;
    ensure!(there.is_empty(), "it ran: {there}");
    let mut elsewhere = read(&own)?;
    elsewhere["cluster"] = "another".into();
    fs::write(&file, elsewhere.to_string())?;
    has(&bench.apply(1, &file)?.1, &["other-cluster", "another"])
}

fn wrong() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let file = bench.folder.path().join("x.json");
    for (text, words) in [
        ("", ["plan-file", "not JSON"]),
        ("{}", ["plan-file", "no plan"]),
        ("{\"meshery_plan\": 1}", ["bad-field", "missing field"]),
    ] {
        fs::write(&file, text)?;
        has(&bench.apply(1, &file)?.1, &words)?;
    }
    let missing = bench.folder.path().join("nowhere.json");
    has(&bench.apply(1, &missing)?.1, &["plan-file", "nowhere.json"])?;
    let plan = bench.plan(
        "plan.json",
        "mesh plan invented --set namespace=filed --set chart=false",
    )?;
    let mut newer = read(&plan)?;
    newer["meshery_plan"] = 2.into();
    fs::write(&file, newer.to_string())?;
    has(&bench.apply(1, &file)?.1, &["plan-other-form", "form 2"])
}
