//! The conformance kit, run on the local provider in both modes; and on a provider that breaks its promises, to show
//! that the kit sees it.
//!
//! A process that is to be killed is this program itself, started again for the one trial. `MESHERY_CONFORMANCE_ROUNDS`
//! says how often it is killed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_core::plugin::{Isolation, PluginHandle, PluginSettings, Plugins};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::testkit::conformance::{Kit, Report, Subject};
use meshery_tests::artifacts;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::trial;

const KILLED_IN_PROCESS: &str = "conformance::the_local_provider_survives_kill_nine_of_its_process";
const KILLED_CHILD: &str = "conformance::the_local_provider_in_a_child_survives_kill_nine_of_its_host";
const KILLED_HONEST: &str = "conformance::an_honest_provider_survives_kill_nine";
const KILLED_EARLY: &str = "conformance::the_kit_sees_that_it_acknowledges_before_it_is_durable";

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "conformance::the_local_provider_keeps_its_promises_in_process",
            || kept(local(Isolation::InProcess).check()),
        ),
        trial(
            "conformance::the_local_provider_keeps_its_promises_in_a_child",
            || kept(local(Isolation::Child).check()),
        ),
        trial(KILLED_IN_PROCESS, || {
            kept(local(Isolation::InProcess).survives_kill_nine(KILLED_IN_PROCESS))
        }),
        trial(KILLED_CHILD, || {
            kept(local(Isolation::Child).survives_kill_nine(KILLED_CHILD))
        }),
        trial("conformance::an_honest_provider_keeps_its_promises", || {
            kept(log(&json!({})).check())
        }),
        trial(KILLED_HONEST, || {
            kept(log(&json!({})).survives_kill_nine(KILLED_HONEST))
        }),
        trial(KILLED_EARLY, || {
            let report = log(&json!({"fault": "acknowledges-early"})).survives_kill_nine(KILLED_EARLY);
            broken(&report, "survives kill -9", "acknowledged")
        }),
        trial("conformance::the_kit_sees_that_it_forgets_revisions", || {
            let report = log(&json!({"fault": "forgets-revisions"})).check();
            broken(&report, "one wins", "succeeded")?;
            broken(&report, "no update is lost", "counter")?;
            broken(&report, "is a revision-conflict", "expected the error")
        }),
        trial("conformance::the_kit_sees_that_it_appends_twice", || {
            let report = log(&json!({"fault": "appends-twice"})).check();
            broken(&report, "asked for again", "expected 2, found 4")
        }),
        trial("conformance::the_kit_sees_that_it_skips_while_paging", || {
            let report = log(&json!({"fault": "skips-while-paging"})).check();
            broken(&report, "exactly once, in order", "ids in pages of 1")
        }),
    ]
}

fn kept(report: Report) -> anyhow::Result<()> {
    ensure!(report.broken().next().is_none(), "{report}");
    Ok(())
}

/// That the promise is reported as broken, in these words.
fn broken(report: &Report, promise: &str, how: &str) -> anyhow::Result<()> {
    let seen = report
        .broken()
        .any(|(claim, why)| claim.contains(promise) && why.contains(how));
    ensure!(seen, "not seen: {promise}, {how}: {report}");
    Ok(())
}

fn local(isolation: Isolation) -> Kit {
    Kit::new(move |folder| Loaded::open(folder, "meshery_local_provider", isolation, &Value::Null))
}

fn log(options: &Value) -> Kit {
    let options = options.clone();
    Kit::new(move |folder| Loaded::open(folder, "fixture_log_provider", Isolation::InProcess, &options))
}

/// A provider that was loaded as a host loads it.
struct Loaded {
    runtime: Runtime,
    plugins: Plugins,
    provider: Arc<PluginHandle>,
}

impl Loaded {
    fn open(
        folder: &Path,
        library: &str,
        isolation: Isolation,
        options: &Value,
    ) -> Result<Box<dyn Subject>, PluginError> {
        Self::load(folder, library, isolation, options)
            .map(|loaded| Box::new(loaded) as Box<dyn Subject>)
            .map_err(|error| PluginError::new("not-loaded", format!("{error:#}")))
    }

    fn load(folder: &Path, library: &str, isolation: Isolation, options: &Value) -> anyhow::Result<Self> {
        let plugin = folder.join("plugins");
        // A process that is started again finds what the first one copied.
        if !plugin.is_dir() {
            let file = artifacts::build()?.library(library)?;
            let copy = folder.join("plugins.new");
            std::fs::create_dir_all(&copy)?;
            std::fs::copy(file, copy.join("provider.so"))?;
            std::fs::rename(&copy, &plugin)?;
        }
        let mut settings = PluginSettings::new(folder.join("data"));
        settings.folders = vec![plugin];
        settings.isolation = isolation;
        settings.provider_name = if library == "fixture_log_provider" {
            "log".into()
        } else {
            "local".into()
        };
        settings.provider_config = options.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let plugins = runtime.block_on(Plugins::load(settings));
        let provider = plugins
            .provider()
            .with_context(|| format!("{:?}", plugins.list()))?;
        Ok(Self {
            runtime,
            plugins,
            provider,
        })
    }
}

impl Subject for Loaded {
    fn call(&self, method: &str, argument: &[u8]) -> Result<Vec<u8>, PluginError> {
        let call = self
            .provider
            .call(method, argument.to_vec(), Duration::from_secs(30));
        self.runtime.block_on(call)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.runtime.block_on(self.plugins.shutdown());
    }
}
