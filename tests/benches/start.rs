//! From the start of the host's process until it answers, and what it holds when nobody asks anything.
//!
//! The first start of a data folder looks at every plugin in a child first; it is shown by itself. The others find
//! a warm cache. `cargo bench --bench start`.

use std::time::Duration;

use meshery_tests::host::Host;

const STARTS: usize = 11;
/// What the project asks of itself: milliseconds, MiB.
const REACH: (u128, u64) = (150, 40);

fn main() -> anyhow::Result<()> {
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
        "warm start  {:>5} ms median, {} to {} ms; to reach {} ms",
        starts[STARTS / 2].as_millis(),
        starts[0].as_millis(),
        starts[STARTS - 1].as_millis(),
        REACH.0
    );
    println!(
        "resident    {:>5} MiB when idle; to reach {} MiB",
        resident[STARTS / 2] >> 20,
        REACH.1
    );
    Ok(())
}
