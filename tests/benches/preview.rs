//! How long a person waits before they see what installing Istio would change: planning, which renders the charts,
//! and the preview, which asks the API server about every object.
//!
//! `MESHERY_CHARTS=FOLDER cargo bench -p meshery-tests --bench preview`; needs the test control plane and Istio's
//! packaged charts.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use meshery_core::Meshery;
use meshery_core::cluster::KubeconfigSource;
use meshery_core::operation::NewOperation;
use meshery_core::plugin::{Isolation, child_main};
use meshery_tests::cluster::Cluster as ControlPlane;
use meshery_tests::{artifacts, charts};
use serde_json::json;

const ROUNDS: usize = 7;
/// What the project asks of itself.
const LIMIT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    // A plugin's process is this program itself, as the host's own is in the field.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "plugin-child") {
        return child_main(arguments);
    }
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> anyhow::Result<()> {
    let Some(charts) = charts() else {
        println!("MESHERY_CHARTS does not name a folder of charts: nothing is measured");
        return Ok(());
    };
    let plugins = artifacts::build_packages(&["meshery-istio", "meshery-local-provider"])?;
    let folder = tempfile::tempdir()?;
    let libraries = folder.path().join("plugins");
    std::fs::create_dir(&libraries)?;
    for name in ["meshery_istio", "meshery_local_provider"] {
        let library = plugins.library(name)?;
        let file = library.file_name().context("a library has a name")?;
        std::fs::copy(library, libraries.join(file))?;
    }
    let plane = ControlPlane::start()?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let meshery = Meshery::builder(folder.path().join("data"))
            .plugin_folder(libraries)
            .isolation(Isolation::InProcess)
            .kubeconfig(KubeconfigSource::Path(plane.kubeconfig().to_owned()))
            .mirror(charts)
            .helm(plane.helm())
            .offline(true)
            .build()
            .await?;
        let measured = measure(&meshery).await;
        meshery.shutdown().await;
        measured
    })
}

async fn measure(meshery: &Meshery) -> anyhow::Result<()> {
    let operations = meshery.operations()?;
    let (mut plans, mut previews) = (Vec::new(), Vec::new());
    println!("Istio, profile default; seconds for the plan / for the preview\n");
    for round in 1..=ROUNDS {
        let began = Instant::now();
        let planned = operations
            .plan(NewOperation {
                adapter: "istio".into(),
                operation: "install".into(),
                parameters: json!({"version": "1.30.2"})
                    .as_object()
                    .cloned()
                    .unwrap_or_default(),
                ..NewOperation::default()
            })
            .await?;
        let plan = began.elapsed();
        let began = Instant::now();
        let preview = operations.preview(&planned.id).await?;
        let time = began.elapsed();
        ensure!(preview.counts.create == 42, "{:?}", preview.counts);
        println!("{round}  {:>6.3} / {:.3}", plan.as_secs_f64(), time.as_secs_f64());
        plans.push(plan);
        previews.push(time);
    }
    let (plan, preview) = (median(&mut plans), median(&mut previews));
    println!(
        "\nmedian  {:.3} / {:.3}, the preview to stay below {LIMIT:?}",
        plan.as_secs_f64(),
        preview.as_secs_f64()
    );
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
