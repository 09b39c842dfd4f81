//! What the plugin boundary costs: 1 KiB of JSON to an adapter and back.
//!
//! Through a Rust trait object, through the boundary alone (the price of plugins as such: to be at most 1.15 times
//! that), as a whole call with deadline and span, and in a child process. `cargo bench -p meshery-tests --bench
//! boundary`. Writing and reading JSON on both sides is part of all of them. The ratio is taken in rounds in which
//! the two take turns, because a virtual machine's speed changes from second to second.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use abi_stable::library::lib_header_from_path;
use abi_stable::sabi_trait::prelude::TD_Opaque;
use abi_stable::std_types::{RArc, RSlice, RStr, RString, RVec};
use async_ffi::{FfiFuture, FutureExt as _};
use criterion::{Criterion, Throughput};
use meshery_core::plugin::{Adapter, Isolation, PluginSettings, Plugins, child_main};
use meshery_plugin_api::abi::{
    AbiError, HostServices, HostServices_TO, InstanceBox, LogLine, PluginModuleRef, Reply,
};
use meshery_plugin_api::message::descriptor::AdapterDescriptor;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::Installation;
use meshery_plugin_api::message::plan::{Plan, PlanRequest};
use meshery_plugin_api::{MeshAdapter, PluginError, dispatch};
use meshery_tests::artifacts;
use meshery_tests::reach::Reach;
use serde_json::json;
use tempfile::TempDir;

const FIXTURE: &str = "fixture_misbehaving";
/// What the project asks of itself.
const MOST: f64 = 1.15;
const ROUNDS: usize = 60;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "plugin-child") {
        return child_main(arguments);
    }
    let library = artifacts::build_packages(&["fixture-misbehaving"]).expect("the fixture can be built");
    let library = library
        .library(FIXTURE)
        .expect("the fixture was built")
        .to_owned();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("1 KiB of JSON");
    let local: Box<dyn Callee> = Box::new(Local(Echo));
    let plugin: Box<dyn Callee> = Box::new(Loaded(load(&library)));
    group.throughput(Throughput::Bytes(
        serde_json::to_vec(&request()).expect("it is JSON").len() as u64,
    ));
    group.bench_function("trait object", |b| b.iter(|| round_trip(&*local)));
    group.bench_function("boundary alone", |b| b.iter(|| round_trip(&*plugin)));

    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    for (name, isolation) in [
        ("whole call in process", Isolation::InProcess),
        ("whole call in a child", Isolation::Child),
    ] {
        let (place, plugins) = runtime.block_on(plugins(&library, isolation));
        let adapter = plugins.adapter("misbehaving").expect("the fixture is loaded");
        for at_once in [1, 32] {
            group.bench_function(format!("{name}, {at_once} at a time"), |b| {
                b.iter_custom(|times| runtime.block_on(whole_calls(&adapter, times, at_once)));
            });
        }
        runtime.block_on(plugins.shutdown());
        drop(place);
    }
    group.finish();
    criterion.final_summary();

    let ratio = ratio(&*local, &*plugin);
    let mut reach = Reach::default();
    reach.at_most(
        &format!("boundary alone / trait object, median of {ROUNDS} rounds,"),
        ratio,
        MOST,
    );
    reach.exit_code()
}

/// What the fixture's operation `well` does.
struct Echo;

impl MeshAdapter for Echo {
    fn describe(&self) -> AdapterDescriptor {
        AdapterDescriptor::default()
    }

    fn plan(&self, request: PlanRequest) -> Result<Plan, PluginError> {
        Ok(Plan {
            summary: request.text("say").to_owned(),
            ..Plan::default()
        })
    }

    fn detect(&self, _: Facts) -> Result<Vec<Installation>, PluginError> {
        Ok(Vec::new())
    }
}

fn request() -> PlanRequest {
    let parameters = json!({"say": "0123456789abcdef".repeat(60)});
    PlanRequest {
        operation: "well".into(),
        parameters: parameters.as_object().cloned().unwrap_or_default(),
        ..PlanRequest::default()
    }
}

trait Callee {
    fn call(&self, method: &str, payload: &[u8]) -> Result<Vec<u8>, PluginError>;
}

struct Local<A>(A);

impl<A: MeshAdapter> Callee for Local<A> {
    fn call(&self, method: &str, payload: &[u8]) -> Result<Vec<u8>, PluginError> {
        dispatch::adapter(&self.0, method, payload)
    }
}

struct Loaded(InstanceBox);

impl Callee for Loaded {
    fn call(&self, method: &str, payload: &[u8]) -> Result<Vec<u8>, PluginError> {
        let reply = self.0.call(1, method.into(), payload.into());
        reply.into_result().map(Vec::from).map_err(PluginError::from)
    }
}

fn round_trip(callee: &dyn Callee) -> Plan {
    let argument = serde_json::to_vec(black_box(&request())).expect("it is JSON");
    let result = callee.call("adapter.plan", &argument).expect("it answers");
    serde_json::from_slice(&result).expect("it is a plan")
}

fn ratio(local: &dyn Callee, plugin: &dyn Callee) -> f64 {
    let time = |callee: &dyn Callee| {
        let begin = Instant::now();
        for _ in 0..5000 {
            black_box(round_trip(callee));
        }
        begin.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let through_the_trait = time(local);
            time(plugin) / through_the_trait
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ROUNDS / 2]
}

/// The fixture without anything of the host's around it.
fn load(library: &std::path::Path) -> InstanceBox {
    let header = lib_header_from_path(library).expect("the fixture can be loaded");
    let module = header
        .init_root_module::<PluginModuleRef>()
        .expect("the fixture fits");
    let host = HostServices_TO::from_ptr(RArc::new(Nobody), TD_Opaque);
    let instance = module.create()(host, RString::from(r#"{"log_level":3}"#)).into_result();
    instance.unwrap_or_else(|error| panic!("the fixture starts: {error:?}"))
}

/// A host that takes nothing and gives nothing.
struct Nobody;

impl HostServices for Nobody {
    fn log(&self, _: LogLine<'_>) {}

    fn log_enabled(&self, _: u8, _: RStr<'_>) -> bool {
        false
    }

    fn emit(&self, _: u64, _: RSlice<'_, u8>) {}

    fn is_cancelled(&self, _: u64) -> bool {
        false
    }

    fn call(&self, _: RString, _: RVec<u8>) -> FfiFuture<Reply> {
        async { Reply::RErr(AbiError::from(PluginError::new("nobody", "nobody is there"))) }.into_ffi()
    }
}

async fn plugins(library: &std::path::Path, isolation: Isolation) -> (TempDir, Plugins) {
    let place = TempDir::new().expect("a temporary folder can be made");
    let folder = place.path().join("plugins");
    std::fs::create_dir(&folder).expect("a folder can be made");
    std::fs::copy(library, folder.join("misbehaving.so")).expect("the fixture can be copied");
    let mut settings = PluginSettings::new(place.path().join("data"));
    settings.folders = vec![folder];
    settings.isolation = isolation;
    let plugins = Plugins::load(settings).await;
    assert!(
        plugins.list().iter().all(|status| status.error.is_none()),
        "{:#?}",
        plugins.list()
    );
    (place, plugins)
}

async fn whole_calls(adapter: &std::sync::Arc<Adapter>, times: u64, at_once: u64) -> Duration {
    let begin = Instant::now();
    let tasks: Vec<_> = (0..at_once)
        .map(|task| {
            let adapter = adapter.clone();
            tokio::spawn(async move {
                let mut left = times / at_once + u64::from(task < times % at_once);
                while left > 0 {
                    black_box(adapter.plan(&request()).await.expect("it answers"));
                    left -= 1;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the calls do not panic");
    }
    begin.elapsed()
}
