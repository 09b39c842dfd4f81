//! 1,000 and 5,000 small ConfigMaps (or `BENCH_OBJECTS`) applied, server-side: by kubectl, by raw requests from 16 plain connections, by
//! `Cluster::apply` with 16 in flight, and by an operation of the tests' own adapter that applies the same objects and
//! is journaled, from its run to its end. New objects, then the same again (nothing changes).
//!
//! The API server works on the same cores, so absolute times say little; the contenders take turns, and the medians
//! of the rounds are compared. `cargo bench -p meshery-tests --bench apply`; needs the test control plane.

mod engine;

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use meshery_core::Meshery;
use meshery_core::cluster::apply::ApplyOptions;
use meshery_core::cluster::{Cluster, Clusters, KubeconfigSource};
use meshery_core::operation::{NewOperation, OperationState, Operations};
use meshery_tests::cluster::{Cluster as ControlPlane, Programs};
use meshery_tests::reach::Reach;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

const OBJECTS: usize = 1_000;
/// From this many on, the beginning and the end of a run weigh less, and the server's own work more.
const MANY: usize = 5_000;
const IN_FLIGHT: usize = 16;
const ROUNDS: usize = 3;
/// What the project asks of itself.
const FASTER_THAN_KUBECTL: f64 = 3.0;
const OVER_RAW: f64 = 1.3;
const JOURNALED_OVER_RAW: f64 = 2.0;
const JOURNALED_OVER_RAW_OF_MANY: f64 = 1.5;

/// One way to apply the objects of a namespace.
struct Contender {
    name: &'static str,
    #[expect(clippy::type_complexity, reason = "a table of closures")]
    apply: Box<dyn Fn(&str, &[Value]) -> anyhow::Result<Duration>>,
    new: Vec<f64>,
    unchanged: Vec<f64>,
}

fn main() -> ExitCode {
    engine::main(bench)
}

fn bench() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plane = Arc::new(ControlPlane::start()?);
    let runtime = Arc::new(tokio::runtime::Runtime::new()?);
    let packages = ["fixture-invented-mesh", "meshery-local-provider"];
    let engine = engine::engine(&packages, &plane, folder.path(), |builder| builder);
    let meshery = runtime.block_on(engine)?;
    let measured = measure(&plane, &runtime, &meshery);
    runtime.block_on(meshery.shutdown());
    measured
}

fn measure(
    plane: &Arc<ControlPlane>,
    runtime: &Arc<tokio::runtime::Runtime>,
    meshery: &Meshery,
) -> anyhow::Result<()> {
    let counts = match std::env::var("BENCH_OBJECTS") {
        Ok(count) => vec![count.parse().context("BENCH_OBJECTS is a number")?],
        Err(_) => vec![OBJECTS, MANY],
    };
    let mut reach = Reach::default();
    for count in counts {
        of(count, (plane, runtime, meshery), &mut reach)?;
    }
    reach.end()
}

fn of(
    count: usize,
    (plane, runtime, meshery): (&Arc<ControlPlane>, &Arc<tokio::runtime::Runtime>, &Meshery),
    reach: &mut Reach,
) -> anyhow::Result<()> {
    let mut contenders = [
        contender("kubectl apply --server-side", kubectl(plane)?),
        contender("raw requests", raw(plane, runtime)?),
        contender("Cluster::apply", bare(plane, runtime)?),
        contender("journaled operation", journaled(meshery, runtime)?),
    ];
    println!(
        "{count} ConfigMaps, {IN_FLIGHT} requests in flight; seconds for new objects / for the same again\n"
    );
    for round in 1..=ROUNDS {
        for (number, contender) in contenders.iter_mut().enumerate() {
            let namespace = format!("bench-{count}-{round}-{number}");
            let made = plane.kubectl(&["create", "namespace", &namespace]);
            ensure!(made.status.success(), "the namespace could not be made");
            let objects: Vec<Value> = (0..count).map(|n| config_map(&namespace, n)).collect();
            let new = (contender.apply)(&namespace, &objects)?.as_secs_f64();
            let unchanged = (contender.apply)(&namespace, &objects)?.as_secs_f64();
            println!("{round}  {:<28} {new:>6.2} / {unchanged:.2}", contender.name);
            contender.new.push(new);
            contender.unchanged.push(unchanged);
        }
    }
    println!();
    for contender in &mut contenders {
        let (new, unchanged) = (median(&mut contender.new), median(&mut contender.unchanged));
        println!("median  {:<28} {new:>6.2} / {unchanged:.2}", contender.name);
    }
    let [kubectl, raw, bare, journaled] = contenders.each_mut().map(|contender| median(&mut contender.new));
    println!();
    if count < MANY {
        reach.at_least("kubectl / Cluster::apply", kubectl / bare, FASTER_THAN_KUBECTL);
        reach.at_most("Cluster::apply / raw", bare / raw, OVER_RAW);
    }
    let limit = if count < MANY {
        JOURNALED_OVER_RAW
    } else {
        JOURNALED_OVER_RAW_OF_MANY
    };
    let what = format!("{count} objects, journaled operation / raw");
    reach.at_most(&what, journaled / raw, limit);
    Ok(())
}

fn contender(
    name: &'static str,
    apply: impl Fn(&str, &[Value]) -> anyhow::Result<Duration> + 'static,
) -> Contender {
    Contender {
        name,
        apply: Box::new(apply),
        new: Vec::new(),
        unchanged: Vec::new(),
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// As the tests' own adapter makes them.
fn config_map(namespace: &str, n: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("object-{n:05}"), "namespace": namespace},
        "data": {"value": n.to_string()}})
}

fn kubectl(
    plane: &Arc<ControlPlane>,
) -> anyhow::Result<impl Fn(&str, &[Value]) -> anyhow::Result<Duration> + 'static> {
    let program = Programs::get()?.kubectl;
    let plane = plane.clone();
    Ok(move |namespace: &str, objects: &[Value]| {
        let file: PathBuf = plane.dir().join(format!("{namespace}.json"));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        std::fs::write(&file, list.to_string())?;
        let began = Instant::now();
        let output = Command::new(&program)
            .args(["apply", "--server-side", "-f"])
            .arg(&file)
            .env("KUBECONFIG", plane.kubeconfig())
            .env("HOME", plane.dir())
            .output()?;
        let took = began.elapsed();
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(took)
    })
}

/// What the machine can do: bodies written beforehand, answers read and not looked at.
fn raw(
    plane: &Arc<ControlPlane>,
    runtime: &Arc<tokio::runtime::Runtime>,
) -> anyhow::Result<impl Fn(&str, &[Value]) -> anyhow::Result<Duration> + 'static> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(plane.ca_file())? {
        roots.add(certificate?)?;
    }
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let (server, token) = (plane.server().to_owned(), plane.token().to_owned());
    let runtime = runtime.clone();
    Ok(move |namespace: &str, objects: &[Value]| {
        let bodies: Arc<Vec<(String, Bytes)>> = Arc::new(
            objects
                .iter()
                .map(|object| {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    let path = format!(
                        "{server}/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager=bench"
                    );
                    (path, Bytes::from(object.to_string()))
                })
                .collect(),
        );
        let next = Arc::new(AtomicUsize::new(0));
        let began = Instant::now();
        runtime.block_on(async {
            let mut workers = tokio::task::JoinSet::new();
            for _ in 0..IN_FLIGHT {
                let (client, token) = (client.clone(), format!("Bearer {token}"));
                let (bodies, next) = (bodies.clone(), next.clone());
                workers.spawn(async move {
                    while let Some((path, body)) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let request = http::Request::patch(path)
                            .header("authorization", &token)
                            .header("content-type", "application/apply-patch+yaml")
                            .header("accept", "application/json")
                            .body(Full::new(body.clone()))?;
                        let answer = client.request(request).await?;
                        ensure!(answer.status().is_success(), "{}", answer.status());
                        answer.into_body().collect().await?;
                    }
                    anyhow::Ok(())
                });
            }
            while let Some(worker) = workers.join_next().await {
                worker??;
            }
            anyhow::Ok(())
        })?;
        Ok(began.elapsed())
    })
}

fn bare(
    plane: &Arc<ControlPlane>,
    runtime: &Arc<tokio::runtime::Runtime>,
) -> anyhow::Result<impl Fn(&str, &[Value]) -> anyhow::Result<Duration> + 'static> {
    let clusters = Clusters::new(KubeconfigSource::Path(plane.kubeconfig().to_owned()));
    let cluster: Arc<Cluster> = runtime.block_on(clusters.connect(None)).context("connecting")?;
    let runtime = runtime.clone();
    Ok(move |_: &str, objects: &[Value]| {
        let objects = Arc::new(objects.to_vec());
        let next = Arc::new(AtomicUsize::new(0));
        let began = Instant::now();
        runtime.block_on(async {
            let mut workers = tokio::task::JoinSet::new();
            for _ in 0..IN_FLIGHT {
                let (cluster, objects, next) = (cluster.clone(), objects.clone(), next.clone());
                workers.spawn(async move {
                    let options = ApplyOptions {
                        manager: "bench".to_owned(),
                        ..ApplyOptions::default()
                    };
                    while let Some(object) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
                        cluster.apply(object, &options).await?;
                    }
                    anyhow::Ok(())
                });
            }
            while let Some(worker) = workers.join_next().await {
                worker??;
            }
            anyhow::Ok(())
        })?;
        Ok(began.elapsed())
    })
}

/// Planned beforehand and not previewed; undone before the next round.
fn journaled(
    meshery: &Meshery,
    runtime: &Arc<tokio::runtime::Runtime>,
) -> anyhow::Result<impl Fn(&str, &[Value]) -> anyhow::Result<Duration> + 'static> {
    let operations: Operations = meshery.operations()?.clone();
    let runtime = runtime.clone();
    let done: RefCell<Option<(String, Vec<String>)>> = RefCell::default();
    Ok(move |namespace: &str, objects: &[Value]| {
        let mut done = done.borrow_mut();
        if let Some((_, ids)) = done.take_if(|(before, _)| before != namespace) {
            for id in ids.iter().rev() {
                runtime.block_on(undo(&operations, id))?;
            }
        }
        let (id, took) = runtime.block_on(operation(&operations, namespace, objects.len()))?;
        let (_, ids) = done.get_or_insert_with(|| (namespace.to_owned(), Vec::new()));
        ids.push(id);
        Ok(took)
    })
}

async fn operation(
    operations: &Operations,
    namespace: &str,
    objects: usize,
) -> anyhow::Result<(String, Duration)> {
    let parameters = json!({"namespace": namespace, "objects": objects, "steps": 1});
    let planned = operations
        .plan(NewOperation {
            adapter: "invented".into(),
            operation: "many".into(),
            parameters: parameters.as_object().cloned().unwrap_or_default(),
            ..NewOperation::default()
        })
        .await?;
    let began = Instant::now();
    operations.run(&planned.id).await?;
    let ended = operations.wait_ended(&planned.id).await?;
    let took = began.elapsed();
    ensure!(ended.state == OperationState::Succeeded, "{ended:?}");
    Ok((planned.id, took))
}

async fn undo(operations: &Operations, id: &str) -> anyhow::Result<()> {
    operations.undo(id).await?;
    let ended = operations.wait_ended(id).await?;
    ensure!(ended.state == OperationState::Undone, "{ended:?}");
    Ok(())
}
