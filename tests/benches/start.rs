//! From the start of the host's process until it answers, and what it holds when nobody asks anything.
//!
//! The first start of a data folder looks at every plugin in a child first; it is shown by itself. The others find
//! a warm cache. `cargo bench --bench start`.

use std::process::ExitCode;
use std::time::Duration;

use meshery_tests::host::Host;
use meshery_tests::reach::{Reach, ended, mebibytes};

const STARTS: usize = 11;
/// What the project asks of itself: milliseconds, MiB.
const REACH: (f64, f64) = (150.0, 40.0);

fn main() -> ExitCode {
    ended(bench())
}

fn bench() -> anyhow::Result<()> {
    let mut host = Host::builder().start()?;
    println!("first start {:>5} ms", host.started_in().as_millis());
    let mut starts = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..STARTS {
        host.terminate()?;
        host.restart()?;
        starts.push(host.started_in());
        std::thread::sleep(Duration::from_secs(1));
        resident.push(host.resident()?);
    }
    starts.sort();
    resident.sort_unstable();
    println!(
        "warm start  {} to {} ms",
        starts[0].as_millis(),
        starts[STARTS - 1].as_millis()
    );
    let mut reach = Reach::default();
    let warm = starts[STARTS / 2].as_secs_f64() * 1000.0;
    reach.at_most("ms of a warm start", warm, REACH.0);
    reach.at_most("resident MiB when idle", mebibytes(resident[STARTS / 2]), REACH.1);
    reach.end()
}
