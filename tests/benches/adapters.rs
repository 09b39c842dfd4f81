//! What the mesh adapters cost: each operation's plan, and detection and analysis over many objects, in process and in a
//! child, from a request to an answer that the core has read. `cargo bench -p meshery-tests --bench adapters`.

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use meshery_core::plugin::{Adapter, Isolation, PluginSettings, Plugins, child_main};
use meshery_mesh_kit::example::Examples;
use meshery_plugin_api::message::descriptor::AdapterDescriptor;
use meshery_plugin_api::message::facts::{Detail, Facts, KindFacts, Need, Readability};
use meshery_plugin_api::message::finding::Installation;
use meshery_plugin_api::message::plan::{Plan, PlanRequest};
use meshery_plugin_api::{MeshAdapter, PluginError};
use meshery_tests::artifacts;
use meshery_tests::reach::Reach;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};

const MESHES: [&str; 2] = ["istio", "linkerd"];
/// What the project asks of a plan.
const MOST: Duration = Duration::from_millis(2);
const TIMES: usize = 200;
/// Their answer is always a refusal.
const REFUSED: [(&str, &str); 1] = [("linkerd", "jaeger-addon")];
const OBJECTS: [u32; 3] = [1_000, 10_000, 100_000];
/// What is called linear: so many times the time for an object, among the most objects against ten times fewer.
const LINEAR: f64 = 2.0;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "plugin-child") {
        return child_main(arguments);
    }
    let packages = MESHES.map(|mesh| format!("meshery-{mesh}"));
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let built = artifacts::build_packages(&packages).expect("the adapters can be built");
    let runtime = Runtime::new().expect("a runtime can be made");
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut reach = Reach::default();
    for (place, isolation) in [
        ("in process", Isolation::InProcess),
        ("in a child", Isolation::Child),
    ] {
        let folder = TempDir::new().expect("a temporary folder can be made");
        for mesh in MESHES {
            let library = built
                .library(&format!("meshery_{mesh}"))
                .expect("the adapter was built");
            std::fs::copy(library, folder.path().join(format!("{mesh}.so"))).expect("it can be copied");
        }
        let plugins = runtime.block_on(load(folder.path(), isolation));
        for mesh in MESHES {
            let adapter = plugins.adapter(mesh).expect("the adapter is loaded");
            if isolation == Isolation::InProcess {
                plans(mesh, &runtime, &adapter, &mut reach);
            }
            let mut group = criterion.benchmark_group(format!("{mesh} {place}"));
            looks(
                &mut group,
                &format!("{mesh} {place}"),
                &runtime,
                &adapter,
                &mut reach,
            );
            group.finish();
        }
        runtime.block_on(plugins.shutdown());
    }
    criterion.final_summary();
    reach.exit_code()
}

async fn load(folder: &Path, isolation: Isolation) -> Plugins {
    let mut settings = PluginSettings::new(folder.join("data"));
    settings.folders = vec![folder.to_owned()];
    settings.isolation = isolation;
    // What is measured may take its time, in a debug build above all.
    settings.limits.call = Duration::from_mins(2);
    Plugins::load(settings).await
}

/// What an adapter is asked over many objects.
type Ask = fn(&Runtime, &Adapter, &Facts);

/// Detection, and analysis where there is one, over more and more objects.
fn looks(
    group: &mut BenchmarkGroup<'_, WallTime>,
    place: &str,
    runtime: &Runtime,
    adapter: &Adapter,
    reach: &mut Reach,
) {
    let descriptor = adapter.descriptor();
    let detect: Ask = |runtime, adapter, facts| {
        black_box(runtime.block_on(adapter.detect(facts)).expect("it answers"));
    };
    let analyze: Ask = |runtime, adapter, facts| {
        black_box(runtime.block_on(adapter.analyze(facts)).expect("it answers"));
    };
    for (what, needs, ask) in [
        ("detection", &descriptor.detect_needs, detect),
        ("analysis", &descriptor.analyze_needs, analyze),
    ] {
        if needs.is_empty() {
            continue;
        }
        let mut of_one = Vec::new();
        for objects in OBJECTS {
            let facts = read(&many(objects), needs);
            group.throughput(Throughput::Elements(objects.into()));
            let mut taken = Vec::new();
            group.bench_with_input(BenchmarkId::new(what, objects), &facts, |b, facts| {
                b.iter_custom(|times| {
                    let begin = Instant::now();
                    for _ in 0..times {
                        ask(runtime, adapter, facts);
                    }
                    let elapsed = begin.elapsed();
                    taken.push(elapsed / u32::try_from(times).unwrap_or(u32::MAX));
                    elapsed
                });
            });
            // None where only others were asked for by their names.
            if let Some(median) = median(&mut taken) {
                of_one.push(median.as_secs_f64() / f64::from(objects));
            }
        }
        if let [.., fewer, most] = of_one[..] {
            let what = format!("times as long for one of {} objects, {what} {place},", OBJECTS[2]);
            reach.at_most(&what, most / fewer, LINEAR);
        }
    }
}

/// A loaded adapter, for what reads the examples of its operations.
struct Loaded {
    runtime: Handle,
    adapter: Arc<Adapter>,
}

impl MeshAdapter for Loaded {
    fn describe(&self) -> AdapterDescriptor {
        self.adapter.descriptor().clone()
    }

    fn plan(&self, request: PlanRequest) -> Result<Plan, PluginError> {
        self.runtime.block_on(self.adapter.plan(&request))
    }

    fn detect(&self, facts: Facts) -> Result<Vec<Installation>, PluginError> {
        self.runtime.block_on(self.adapter.detect(&facts))
    }
}

/// The median time of each operation's plan, as the adapter's own examples ask for it.
fn plans(mesh: &str, runtime: &Runtime, adapter: &Arc<Adapter>, reach: &mut Reach) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../plugins/{mesh}/tests"));
    let examples = Examples::read(&folder);
    let loaded = Loaded {
        runtime: runtime.handle().clone(),
        adapter: adapter.clone(),
    };
    let mut medians = Vec::new();
    for operation in &adapter.descriptor().operations {
        let request = examples.request(&loaded, examples.of(&operation.name));
        let is_planned = runtime.block_on(adapter.plan(&request));
        let is_refused = REFUSED.contains(&(mesh, &operation.name));
        assert_eq!(
            is_planned.is_err(),
            is_refused,
            "{mesh} {}: {is_planned:?}",
            operation.name
        );
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let begin = Instant::now();
            let _ = black_box(runtime.block_on(adapter.plan(&request)));
            times.push(begin.elapsed());
        }
        medians.extend(median(&mut times).map(|median| (median, &operation.name)));
    }
    if let Some((slowest, name)) = medians.iter().max() {
        println!("{mesh}: {} operations, medians of {TIMES}", medians.len());
        let what = format!("ms of the slowest plan of {mesh}, {name},");
        reach.at_most(&what, slowest.as_secs_f64() * 1000.0, MOST.as_secs_f64() * 1000.0);
    }
}

fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// A cluster with a mesh's namespaces, workloads, Services and pods, half of them with proxies.
fn many(objects: u32) -> Vec<Value> {
    let objects = usize::try_from(objects).expect("it fits");
    let mut all: Vec<Value> = Vec::with_capacity(objects);
    let mut number = 0;
    while all.len() < objects {
        let namespace = format!("team-{}", number % 50);
        if number < 50 {
            all.push(
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace,
                "labels": {"istio-injection": "enabled"}, "annotations": {"linkerd.io/inject": "enabled"}}}),
            );
        }
        let app = format!("web-{number}");
        let metadata = |name: String, labels: Value| {
            json!({"name": name, "namespace": namespace, "labels": labels,
            "annotations": {"sidecar.istio.io/status": "{\"revision\":\"default\"}", "linkerd.io/proxy-version": "edge-26.8.3"}})
        };
        let labels = json!({"app": app, "service.istio.io/canonical-name": "web", "linkerd.io/control-plane-ns": "linkerd"});
        let containers = json!([{"name": "web", "image": "web:1"},
            {"name": "istio-proxy", "image": "registry.istio.io/release/proxyv2:1.30.2"},
            {"name": "linkerd-proxy", "image": "cr.l5d.io/linkerd/proxy:edge-26.8.3"}]);
        all.push(
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata(format!("with-{number}"), labels),
            "spec": {"containers": containers}, "status": {"phase": "Running"}}),
        );
        all.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata(format!("without-{number}"), json!({"app": app})),
            "spec": {"containers": [{"name": "web", "image": "web:1"}]}, "status": {"phase": "Running"}}));
        all.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(format!("web-{number}"), json!({})),
            "spec": {"selector": {"app": app}, "ports": [{"name": "http", "port": 80}]}}));
        all.push(json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": metadata(format!("web-{number}"), json!({})),
            "spec": {"hosts": [format!("web-{number}")], "http": [{"route": [{"destination": {"host": format!("web-{number}")}}]}]}}));
        number += 1;
    }
    all.truncate(objects);
    all
}

/// What a host would read of it: nothing is cut, whatever a host's bounds are.
fn read(cluster: &[Value], needs: &[Need]) -> Facts {
    let kinds = needs.iter().map(|need| {
        let wanted = |object: &&Value| {
            let version = object["apiVersion"].as_str().unwrap_or_default();
            let group = version.split_once('/').map_or("", |(group, _)| group);
            object["kind"] == need.kind.as_str()
                && group == need.group
                && selected(object, &need.selector)
                && (need.name.is_empty() || object["metadata"]["name"] == need.name.as_str())
        };
        let mut objects: Vec<Value> = cluster.iter().filter(wanted).cloned().collect();
        if need.detail != Detail::Full {
            for object in &mut objects {
                *object = json!({"metadata": object["metadata"].clone()});
            }
        }
        KindFacts {
            need: need.clone(),
            state: if objects.is_empty() {
                Readability::Absent
            } else {
                Readability::Present
            },
            objects,
            ..KindFacts::default()
        }
    });
    Facts {
        now: "2026-01-01T00:00:00Z".into(),
        kinds: kinds.collect(),
        ..Facts::default()
    }
}

/// Label selectors as far as the adapters use them.
fn selected(object: &Value, selector: &str) -> bool {
    let labels = &object["metadata"]["labels"];
    match (selector.strip_prefix('!'), selector.split_once('=')) {
        _ if selector.is_empty() => true,
        (Some(key), _) => labels[key].is_null(),
        (None, Some((key, value))) => labels[key] == value,
        (None, None) => !labels[selector].is_null(),
    }
}
