//! The whole-system tests: one program, so that they share one control plane.
//!
//! `cargo test -p meshery-tests --test system -- control_plane` runs the trials whose names contain that.
//! Each file has a function `trials` and is listed in [`main`]. Trials run one after the other unless
//! `--test-threads` says otherwise: they share the control plane, and some of them take it down for a moment.

mod air_gapped;
mod api_faults;
mod applications;
mod charts;
mod cluster;
mod conformance;
mod control_plane;
mod downloads;
mod embedding;
mod every_operation;
mod expansion;
mod faults;
mod gates;
mod host;
mod invented;
mod istio;
mod keeping;
mod kills;
mod leases;
mod linkerd;
mod mesheryctl;
mod namespace;
mod object_sets;
mod operations;
mod plan_files;
mod plugins;
mod proxy;
mod random;
mod releases;
mod secret_refs;
mod secrets;
mod sets;
mod versions;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use meshery_tests::charts;
use meshery_tests::cluster::Cluster;

fn main() -> ExitCode {
    // A plugin's process is the program itself, as the host's own is in the field.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "plugin-child") {
        return meshery_core::plugin::child_main(arguments);
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    let trials = [
        air_gapped::trials(),
        api_faults::trials(),
        applications::trials(),
        charts::trials(),
        cluster::trials(),
        conformance::trials(),
        control_plane::trials(),
        downloads::trials(),
        embedding::trials(),
        expansion::trials(),
        faults::trials(),
        gates::trials(),
        host::trials(),
        plan_files::trials(),
        plugins::trials(),
        istio::trials(),
        keeping::trials(),
        mesheryctl::trials(),
        kills::trials(),
        leases::trials(),
        linkerd::trials(),
        object_sets::trials(),
        operations::trials(),
        proxy::trials(),
        random::trials(),
        releases::trials(),
        secret_refs::trials(),
        secrets::trials(),
        sets::trials(),
        versions::trials(),
        // Of all of the others.
        every_operation::trials(&arguments),
    ]
    .into_iter()
    .flatten()
    .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    stop_cluster();
    sets::stop_cluster();
    conclusion.exit_code()
}

/// The control plane that all trials share, once one of them has asked for it.
static CLUSTER: Mutex<Option<Result<Arc<Cluster>, String>>> = Mutex::new(None);

/// The shared control plane. The first call starts it (and builds it, the first time ever); after a failure,
/// the others fail at once for the same reason.
fn cluster() -> anyhow::Result<Arc<Cluster>> {
    CLUSTER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_with(|| Cluster::start().map(Arc::new).map_err(|e| format!("{e:#}")))
        .clone()
        .map_err(|e| anyhow!(e))
}

/// Statics are never dropped, and the control plane would only notice that this process has ended.
fn stop_cluster() {
    drop(CLUSTER.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Whether all that takes minutes is asked for too, as `just long` does.
fn is_long() -> bool {
    std::env::var_os("MESHERY_TEST_KILLS").is_some()
}

fn trial(name: &str, test: fn() -> anyhow::Result<()>) -> Trial {
    Trial::test(name, move || test().map_err(failed))
}

/// A trial that needs the packaged charts of real meshes; without them it is reported as ignored, and why.
fn trial_with_charts(name: &str, test: fn(&Path) -> anyhow::Result<()>) -> Trial {
    Trial::ignorable_test(name, move || match charts() {
        Some(charts) => test(&charts).map(|()| Completion::Completed).map_err(failed),
        None => Ok(Completion::ignored_with(
            "MESHERY_CHARTS does not name a folder of charts",
        )),
    })
}

/// With all causes: `{error}` alone would show the outermost context and hide why.
fn failed(error: anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}
