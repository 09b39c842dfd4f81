//! What the mesh adapters cost: each operation's plan, and detection and analysis over many objects, in process and in a
//! child, from a request to an answer that the core has read. `cargo bench -p meshery-tests --bench adapters`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use meshery_core::plugin::{Adapter, Isolation, PluginSettings, Plugins, child_main};
use meshery_plugin_api::message::descriptor::AdapterDescriptor;
use meshery_plugin_api::message::facts::{Detail, Facts, KindFacts, Need, Readability};
use meshery_plugin_api::message::finding::Installation;
use meshery_plugin_api::message::plan::{Plan, PlanRequest};
use meshery_plugin_api::{MeshAdapter, PluginError, testkit};
use meshery_tests::artifacts;
use meshery_tests::reach::Reach;
use serde_json::{Value, json};
use tempfile::TempDir;

const MESHES: [&str; 2] = ["istio", "linkerd"];
/// What the project asks of a plan.
const MOST: Duration = Duration::from_millis(2);
const TIMES: usize = 200;
const OBJECTS: [usize; 3] = [1_000, 10_000, 100_000];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "plugin-child") {
        return child_main(arguments);
    }
    let packages = MESHES.map(|mesh| format!("meshery-{mesh}"));
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let built = artifacts::build_packages(&packages).expect("the adapters can be built");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
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
                runtime.block_on(plans(mesh, &adapter, &mut reach));
            }
            let descriptor = adapter.descriptor().clone();
            let mut group = criterion.benchmark_group(format!("{mesh} {place}"));
            for objects in OBJECTS {
                let cluster = many(objects);
                group.throughput(Throughput::Elements(objects as u64));
                let facts = read(&cluster, &descriptor.detect_needs);
                group.bench_with_input(BenchmarkId::new("detection", objects), &facts, |b, facts| {
                    b.iter(|| black_box(runtime.block_on(adapter.detect(facts)).expect("it answers")));
                });
                if descriptor.analyze_needs.is_empty() {
                    continue;
                }
                let facts = read(&cluster, &descriptor.analyze_needs);
                group.bench_with_input(BenchmarkId::new("analysis", objects), &facts, |b, facts| {
                    b.iter(|| black_box(runtime.block_on(adapter.analyze(facts)).expect("it answers")));
                });
            }
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
    Plugins::load(settings).await
}

/// A loaded adapter's words, for the kit that makes requests.
struct Described(AdapterDescriptor);

impl MeshAdapter for Described {
    fn describe(&self) -> AdapterDescriptor {
        self.0.clone()
    }

    fn plan(&self, _: PlanRequest) -> Result<Plan, PluginError> {
        Ok(Plan::default())
    }

    fn detect(&self, _: Facts) -> Result<Vec<Installation>, PluginError> {
        Ok(Vec::new())
    }
}

/// The median time of each operation's plan, against whichever of the adapter's own test clusters it is for.
async fn plans(mesh: &str, adapter: &Arc<Adapter>, reach: &mut Reach) {
    let clusters: Vec<testkit::Cluster> = ["installed", "empty", "given", "bookinfo"]
        .iter()
        .filter_map(|name| {
            std::fs::read_to_string(format!(
                "{}/../plugins/{mesh}/tests/clusters/{name}.yaml",
                env!("CARGO_MANIFEST_DIR")
            ))
            .ok()
        })
        .map(|text| testkit::Cluster::from_yaml(&text).expect("a cluster"))
        .collect();
    let described = Described(adapter.descriptor().clone());
    let mut medians = BTreeMap::new();
    let mut refused = Vec::new();
    for operation in &described.0.operations {
        let required = operation.parameters["required"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let parameters: serde_json::Map<String, Value> = required
            .iter()
            .filter_map(Value::as_str)
            .map(|name| (name.to_owned(), example(mesh, name)))
            .collect();
        let mut planned = None;
        for cluster in &clusters {
            let request = cluster.request(&described, &operation.name, Value::Object(parameters.clone()));
            let Ok(request) = request else { continue };
            if adapter.plan(&request).await.is_ok() {
                planned = Some(request);
                break;
            }
        }
        let Some(request) = planned else {
            refused.push(operation.name.clone());
            continue;
        };
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let begin = Instant::now();
            black_box(adapter.plan(&request).await.expect("it answers"));
            times.push(begin.elapsed());
        }
        times.sort();
        medians.insert(operation.name.clone(), times[TIMES / 2]);
    }
    let slowest = medians.iter().max_by_key(|(_, median)| **median);
    if let Some((name, median)) = slowest {
        println!(
            "{mesh}: {} plans, medians of {TIMES}; not planned on these clusters: {}",
            medians.len(),
            refused.join(", ")
        );
        let what = format!("ms of the slowest plan of {mesh}, {name},");
        reach.at_most(&what, median.as_secs_f64() * 1000.0, MOST.as_secs_f64() * 1000.0);
    }
}

fn example(mesh: &str, parameter: &str) -> Value {
    match parameter {
        "release" if mesh == "linkerd" => "linkerd-control-plane".into(),
        "release" => "istiod".into(),
        "yaml" => "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}".into(),
        "gateway_namespace" => "istio-ingress".into(),
        _ => "shop".into(),
    }
}

/// A cluster with a mesh's namespaces, workloads, Services and pods, half of them with proxies.
fn many(objects: usize) -> Vec<Value> {
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
