//! How long a person waits before they see what installing Istio would change: planning, which renders the charts,
//! and the preview, which asks the API server about every object.
//!
//! `MESHERY_CHARTS=FOLDER cargo bench -p meshery-tests --bench preview`; needs the test control plane and Istio's
//! packaged charts.

mod engine;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use meshery_core::operation::{Counts, NewOperation};
use meshery_core::{Meshery, MesheryBuilder};
use meshery_tests::charts;
use meshery_tests::cluster::Cluster as ControlPlane;
use meshery_tests::reach::Reach;
use serde_json::json;

const ROUNDS: usize = 7;
/// What the project asks of itself.
const LIMIT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    engine::main(bench)
}

fn bench() -> anyhow::Result<()> {
    let Some(charts) = charts() else {
        println!("MESHERY_CHARTS does not name a folder of charts: nothing is measured");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let plane = ControlPlane::start()?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let packages = ["meshery-istio", "meshery-local-provider"];
        let with_charts = |builder: MesheryBuilder| builder.mirror(charts);
        let meshery = engine::engine(&packages, &plane, folder.path(), with_charts).await?;
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
        // Everything is new: the server is asked about each of the objects.
        let create = preview.counts.create;
        let all_new = Counts {
            create,
            ..Counts::default()
        };
        ensure!(create > 0 && preview.counts == all_new, "{:?}", preview.counts);
        println!("{round}  {:>6.3} / {:.3}", plan.as_secs_f64(), time.as_secs_f64());
        plans.push(plan);
        previews.push(time);
    }
    let (plan, preview) = (median(&mut plans), median(&mut previews));
    println!(
        "\nmedian  {:.3} / {:.3}",
        plan.as_secs_f64(),
        preview.as_secs_f64()
    );
    let mut reach = Reach::default();
    reach.at_most(
        "seconds for the preview",
        preview.as_secs_f64(),
        LIMIT.as_secs_f64(),
    );
    reach.end()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
