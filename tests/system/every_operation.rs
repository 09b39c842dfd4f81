//! That no operation of a mesh's adapter is without a trial: each was performed by one of those before this, and taken back.
//!
//! What is taken back by trials that take minutes only is asked for where those run.

use std::path::Path;

use anyhow::{Context as _, ensure};
use libtest_mimic::{Arguments, Trial};
use meshery_tests::host::Host;
use meshery_tests::proven;

use crate::{is_long, trial_with_charts};

/// Operations that cannot be performed here, and why.
const NOT_HERE: [(&str, &str, &str); 8] = [
    ("linkerd", "install-viz", "its chart is not in the mirror"),
    ("linkerd", "remove-viz", "its chart is not in the mirror"),
    (
        "linkerd",
        "install-multicluster",
        "its chart is not in the mirror",
    ),
    ("linkerd", "remove-multicluster", "its chart is not in the mirror"),
    ("linkerd", "install-smi", "its chart is not in the mirror"),
    ("linkerd", "remove-smi", "its chart is not in the mirror"),
    ("linkerd", "test", "none of its charts here brings tests"),
    ("linkerd", "jaeger-addon", "it says that the extension is gone"),
];

/// The trial goes by what those before it have done: it is there when all of them run, one after the other.
pub fn trials(arguments: &Arguments) -> Vec<Trial> {
    let all = arguments.filter.is_none() && arguments.skip.is_empty();
    if !all || arguments.test_threads != Some(1) {
        return Vec::new();
    }
    vec![trial_with_charts(
        "every_operation::was_performed_and_taken_back",
        no_holes,
    )]
}

fn no_holes(_: &Path) -> anyhow::Result<()> {
    let host = Host::builder().start()?;
    let adapters = host.get("/api/v1/adapters")?.expect(200)?;
    let mut holes = Vec::new();
    let mut known = Vec::new();
    for adapter in adapters["items"].as_array().context("adapters")? {
        let name = adapter["name"].as_str().context("a name")?;
        for operation in adapter["operations"].as_array().context("operations")? {
            let operation = operation["name"].as_str().context("a name")?;
            known.push((name.to_owned(), operation.to_owned()));
            let seen = proven::seen(name, operation);
            let mut not_here = NOT_HERE.iter();
            let not_here = not_here.find(|(of, named, _)| (*of, *named) == (name, operation));
            let hole = match not_here {
                Some((.., why)) => seen.performed.then(|| format!("was performed, although {why}")),
                None if !seen.performed => Some("is performed by no trial".to_owned()),
                None => (is_long() && !seen.taken_back).then(|| "is taken back by no trial".to_owned()),
            };
            holes.extend(hole.map(|hole| format!("{name} {operation} {hole}")));
        }
    }
    for (adapter, operation, _) in NOT_HERE {
        let is_known = known
            .iter()
            .any(|(of, named)| (of.as_str(), named.as_str()) == (adapter, operation));
        ensure!(is_known, "{adapter} has no operation {operation}");
    }
    ensure!(!known.is_empty(), "no adapter: {adapters:#}");
    ensure!(holes.is_empty(), "{}", holes.join("\n"));
    Ok(())
}
