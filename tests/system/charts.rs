//! Charts rendered by a real helm: what comes out, and each way it can fail.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use libtest_mimic::Trial;
use meshery_core::cluster::chart::{Chart, ChartSettings, Charts, RenderRequest, Rendered, RenderedObject};
use meshery_core::cluster::wave;
use meshery_core::problem::{Problem, ProblemKind};
use meshery_plugin_api::message::plan::ChartRef;
use meshery_tests::chart_archive;
use meshery_tests::cluster::Programs;
use serde_json::{Value, json};

use crate::{trial, trial_with_charts};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "charts::a_chart_renders_to_its_objects_hooks_and_tests_apart",
            objects_hooks_and_tests,
        ),
        trial("charts::values_arrive_as_they_were_given", values_arrive),
        trial(
            "charts::a_chart_sees_the_cluster_and_whether_it_is_an_upgrade",
            the_cluster_is_seen,
        ),
        trial(
            "charts::each_way_a_chart_can_fail_has_its_code_and_place",
            failures,
        ),
        trial("charts::a_chart_that_wants_all_memory_fails_alone", memory),
        trial("charts::nothing_of_a_rendering_is_left_behind", nothing_left),
        trial("charts::rendering_twice_gives_the_same", twice_the_same),
        trial_with_charts(
            "charts::istios_charts_render_to_the_known_number_of_objects",
            istio,
        ),
        trial_with_charts("charts::linkerds_charts_render_and_ask_for_certificates", linkerd),
    ]
}

/// A mirror with the repository's own charts, an empty cache and a real helm.
struct Bench {
    settings: ChartSettings,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mirror = folder.path().join("mirror");
        chart_archive::mirror(&mirror, &["demo", "broken"])?;
        let settings = ChartSettings {
            mirror: Some(mirror),
            cache: folder.path().join("cache"),
            helm: Some(Programs::get()?.helm),
            offline: true,
            ..ChartSettings::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        Ok(Self {
            settings,
            runtime,
            folder,
        })
    }

    fn chart(&self, charts: &Charts, name: &str, version: &str) -> Result<Chart, Problem> {
        let wanted = ChartRef {
            name: name.into(),
            version: version.into(),
            ..ChartRef::default()
        };
        Ok(self.runtime.block_on(charts.fetch(&wanted))?)
    }

    /// The same over the charts of others.
    fn over(mirror: &Path) -> anyhow::Result<Self> {
        let mut bench = Self::new()?;
        bench.settings.mirror = Some(mirror.into());
        Ok(bench)
    }

    fn render(&self, name: &str, version: &str, values: Value) -> Result<Rendered, Problem> {
        let charts = Charts::new(self.settings.clone());
        let chart = self.chart(&charts, name, version)?;
        Ok(self.runtime.block_on(charts.render(&chart, &request(values)))?)
    }
}

fn request(values: Value) -> RenderRequest {
    RenderRequest {
        release: "demo".into(),
        namespace: "demo-system".into(),
        values: values.as_object().cloned().unwrap_or_default(),
        kube_version: "v1.36.3".into(),
        ..RenderRequest::default()
    }
}

/// How many objects of each kind.
fn kinds(objects: &[RenderedObject]) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for object in objects {
        *kinds
            .entry(object.value["kind"].as_str().unwrap_or_default())
            .or_default() += 1;
    }
    kinds
}

fn one<'a>(rendered: &'a Rendered, kind: &str) -> anyhow::Result<&'a RenderedObject> {
    rendered
        .objects
        .iter()
        .find(|o| o.value["kind"] == kind)
        .with_context(|| format!("no {kind}"))
}

fn objects_hooks_and_tests() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let rendered = bench.render("demo", "0.1.0", json!({}))?;
    let expected = BTreeMap::from([
        ("ConfigMap", 2),
        ("CustomResourceDefinition", 1),
        ("Deployment", 1),
        ("Greeting", 1),
        ("Role", 1),
        ("RoleBinding", 1),
        ("Service", 1),
        ("ServiceAccount", 1),
        ("ValidatingWebhookConfiguration", 1),
    ]);
    assert_eq!(kinds(&rendered.objects), expected);

    let crd = one(&rendered, "CustomResourceDefinition")?;
    assert!(crd.crd && crd.source == "demo/crds/greetings.yaml", "{crd:?}");
    let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/y";
    assert!(
        crd.value.pointer(properties).is_some(),
        "the quoted key y is text"
    );
    assert!(one(&rendered, "Role")?.needs_namespace && !one(&rendered, "RoleBinding")?.needs_namespace);
    let mode = one(&rendered, "Deployment")?
        .value
        .pointer("/spec/template/spec/volumes/0/configMap/defaultMode");
    assert_eq!(mode, Some(&json!(420)), "0644 is octal");

    let hooks: Vec<(&str, i64, &[String])> = rendered
        .hooks
        .iter()
        .map(|hook| {
            (
                hook.value["metadata"]["name"].as_str().unwrap_or_default(),
                hook.weight,
                &hook.events[..],
            )
        })
        .collect();
    assert_eq!(
        hooks[0],
        (
            "demo-pre",
            -5,
            &["pre-install".to_owned(), "pre-upgrade".into()][..]
        )
    );
    assert_eq!(
        hooks[1],
        (
            "demo-post",
            5,
            &["post-install".to_owned(), "post-upgrade".into()][..]
        )
    );
    assert_eq!((hooks.len(), rendered.tests.len()), (2, 1));

    let waves = wave::order(rendered.objects, |object| &object.value);
    assert_eq!(
        kinds(&waves[0]),
        BTreeMap::from([("CustomResourceDefinition", 1)])
    );
    assert_eq!(
        kinds(&waves[waves.len() - 1]),
        BTreeMap::from([("ValidatingWebhookConfiguration", 1)])
    );
    Ok(())
}

fn values_arrive() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    for greeting in [
        "on",
        "0644",
        "a: b",
        "two\nlines",
        "\u{2028}\u{85}\u{7f}\u{1f600}\u{feff}",
        "{{ .Values }}",
        "'\"\\",
    ] {
        let rendered = bench.render("demo", "0.1.0", json!({"greeting": greeting, "replicas": 3}))?;
        let config = rendered
            .objects
            .iter()
            .find(|o| o.value["metadata"]["name"] == "demo" && o.value["kind"] == "ConfigMap");
        assert_eq!(
            config.context("no ConfigMap")?.value["data"]["greeting"],
            greeting,
            "{greeting:?}"
        );
        assert_eq!(one(&rendered, "Deployment")?.value["spec"]["replicas"], 3);
    }
    Ok(())
}

fn the_cluster_is_seen() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let charts = Charts::new(bench.settings.clone());
    let chart = bench.chart(&charts, "demo", "0.1.0")?;
    let upgrade = RenderRequest {
        api_versions: vec!["policy/v1".into(), "policy/v1/PodDisruptionBudget".into()],
        is_upgrade: true,
        ..request(json!({}))
    };
    let rendered = bench
        .runtime
        .block_on(charts.render(&chart, &upgrade))
        .map_err(Problem::from)?;
    one(&rendered, "PodDisruptionBudget")?;
    let policy = |rendered: &Rendered| -> anyhow::Result<Option<Value>> {
        let webhook = one(rendered, "ValidatingWebhookConfiguration")?;
        Ok(webhook.value.pointer("/webhooks/0/failurePolicy").cloned())
    };
    assert_eq!(policy(&rendered)?, None);
    assert_eq!(
        policy(&bench.render("demo", "0.1.0", json!({}))?)?,
        Some(json!("Ignore"))
    );

    let old = RenderRequest {
        kube_version: "v1.20.0".into(),
        ..request(json!({}))
    };
    let problem = Problem::from(
        bench
            .runtime
            .block_on(charts.render(&chart, &old))
            .err()
            .context("it rendered")?,
    );
    assert_eq!(problem.code, "chart-kube-version");
    assert!(
        problem.message.contains(">=1.25.0-0") && problem.message.contains("1.20.0"),
        "{problem}"
    );
    Ok(())
}

fn failures() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let file = "broken/templates/broken.yaml";
    for (how, code, parts) in [
        (
            "nil",
            "chart-template-error",
            &[file, ":2:", ".Values.there.is.nothing"][..],
        ),
        ("index", "chart-template-error", &[file, ":4:", "out of range"]),
        (
            "include",
            "chart-template-error",
            &["broken/templates/_inner.tpl:2:", "nil pointer"],
        ),
        (
            "fail",
            "chart-declined",
            &["this chart cannot be installed:\nchoose another"],
        ),
        (
            "required",
            "chart-declined",
            &["the value \"trustDomain\" is required"],
        ),
        ("yaml", "chart-rendered-invalid", &[file, ":5:", "mapping values"]),
        ("scalar", "chart-rendered-invalid", &[file, "metadata"]),
        (
            "nothing-named",
            "chart-rendered-invalid",
            &[file, "metadata.name"],
        ),
    ] {
        let problem = bench
            .render("broken", "0.1.0", json!({"how": how}))
            .err()
            .with_context(|| format!("{how} rendered"))?;
        assert_eq!(
            (problem.code.as_str(), problem.kind),
            (code, ProblemKind::Invalid),
            "{how}: {problem}"
        );
        for part in parts {
            assert!(problem.message.contains(part), "{how}: {problem}");
        }
    }
    let problem = bench
        .render("demo", "0.1.0", json!({"replicas": "many", "colour": "red"}))
        .err()
        .context("it rendered")?;
    assert_eq!(problem.code, "chart-values-invalid");
    assert!(
        problem.message.contains("/replicas") && problem.message.contains("colour"),
        "{problem}"
    );
    bench.render("broken", "0.1.0", json!({"how": "fine"}))?;
    Ok(())
}

fn memory() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let problem = bench
        .render("broken", "0.1.0", json!({"how": "memory"}))
        .err()
        .context("it rendered")?;
    assert_eq!(problem.code, "chart-too-large", "{problem}");
    Ok(())
}

fn nothing_left() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.render("demo", "0.1.0", json!({"greeting": "a-marker-that-is-secret"}))?;
    let charts = Charts::new(bench.settings.clone());
    let chart = bench.chart(&charts, "demo", "0.1.0")?;
    // Asked for its version before the time counts.
    bench.runtime.block_on(charts.helm()).map_err(Problem::from)?;
    let abandoned = async {
        let request = request(json!({"greeting": "a-marker-that-is-secret"}));
        tokio::time::timeout(Duration::from_millis(20), charts.render(&chart, &request)).await
    };
    assert!(
        bench.runtime.block_on(abandoned).is_err(),
        "abandoned before it was done"
    );
    let render = bench.folder.path().join("cache/render");
    let start = Instant::now();
    while std::fs::read_dir(&render)?.count() > 0 {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "something is left in {}",
            render.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn twice_the_same() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let text = |rendered: Rendered| {
        rendered
            .objects
            .iter()
            .map(|o| o.value.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        text(bench.render("demo", "0.1.0", json!({}))?),
        text(bench.render("demo", "0.1.0", json!({}))?)
    );
    Ok(())
}

fn istio(mirror: &Path) -> anyhow::Result<()> {
    let bench = Bench::over(mirror)?;
    for (name, objects, crds) in [
        ("base", 17, 15),
        ("istiod", 17, 0),
        ("cni", 7, 0),
        ("gateway", 6, 0),
        ("ztunnel", 2, 0),
    ] {
        let rendered = bench.render(name, "1.30.2", json!({}))?;
        let definitions = kinds(&rendered.objects)
            .get("CustomResourceDefinition")
            .copied()
            .unwrap_or(0);
        assert_eq!((rendered.objects.len(), definitions), (objects, crds), "{name}");
        assert!(rendered.hooks.is_empty() && rendered.objects.iter().all(|object| !object.crd));
    }
    let problem = bench
        .render("istiod", "1.30.2", json!({"profile": "minimal"}))
        .err()
        .context("it rendered")?;
    assert_eq!(problem.code, "chart-declined", "{problem}");
    let problem = bench
        .render("istiod", "1.30.9", json!({}))
        .err()
        .context("it was found")?;
    assert!(problem.remedy.contains("(1.30.3, 1.30.2)"), "{}", problem.remedy);
    Ok(())
}

fn linkerd(mirror: &Path) -> anyhow::Result<()> {
    let bench = Bench::over(mirror)?;
    let rendered = bench.render("linkerd-crds", "2026.8.3", json!({"installGatewayAPI": true}))?;
    assert_eq!(rendered.objects.len(), 14);
    let problem = bench
        .render("linkerd-control-plane", "2026.8.3", json!({}))
        .err()
        .context("it rendered")?;
    assert_eq!(problem.code, "chart-declined");
    assert!(problem.message.contains("issuer certificate"), "{problem}");
    Ok(())
}
