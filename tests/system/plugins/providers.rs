//! Calls of a provider, which wait instead of computing, in both modes; and the ways in which opening one fails.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_core::plugin::{Isolation, PluginHandle, Plugins};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::document::{Document, User};
use serde_json::json;

use super::{Place, line, refusal, run, until};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "plugins::a_provider_gets_its_folder_and_waits_through_the_host",
            waits,
        ),
        trial(
            "plugins::a_provider_that_never_answers_is_given_up_and_goes_on",
            hangs,
        ),
        trial("plugins::a_provider_that_panics_goes_on", panics),
        trial(
            "plugins::a_provider_whose_process_dies_is_seen_to_be_away_and_back",
            dies,
        ),
        trial("plugins::a_provider_that_blocks_in_a_child_is_killed", blocks),
        trial(
            "plugins::a_result_larger_than_a_frame_is_an_error_and_not_a_death",
            too_large,
        ),
        trial(
            "plugins::a_provider_that_cannot_be_opened_says_why",
            cannot_be_opened,
        ),
        trial(
            "plugins::another_provider_than_the_configured_one_is_not_opened",
            other_provider,
        ),
    ]
}

const LONG: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_millis(300);

async fn get(
    provider: &PluginHandle,
    kind: &str,
    id: &str,
    deadline: Duration,
) -> Result<Document, PluginError> {
    provider
        .call_json("provider.get", &json!({"kind": kind, "id": id}), deadline)
        .await
}

fn each_mode(test: impl AsyncFn(&Place, Plugins) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for isolation in [Isolation::InProcess, Isolation::Child] {
        let place = Place::with(&["provider"])?;
        run(async {
            let plugins = Plugins::load(place.settings(isolation)).await;
            test(&place, plugins).await
        })?
        .with_context(|| format!("{isolation:?}"))?;
    }
    Ok(())
}

fn waits() -> anyhow::Result<()> {
    each_mode(async |place, plugins| {
        let provider = plugins
            .provider()
            .with_context(|| format!("{:#?}", plugins.list()))?;
        let user: User = provider.call_json("provider.user", &json!({}), LONG).await?;
        let folder = place.root.path().join("data/provider");
        ensure!(
            user.display_name == folder.display().to_string() && folder.is_dir(),
            "{user:?}"
        );
        let begin = Instant::now();
        let sleeps = (0..50).map(|_| get(&provider, "sleep", "200", LONG));
        for answer in futures::future::join_all(sleeps).await {
            ensure!(answer?.kind == "sleep");
        }
        let took = begin.elapsed();
        ensure!(took >= Duration::from_millis(200), "it did not wait: {took:?}");
        ensure!(
            took < Duration::from_secs(5),
            "the calls waited for each other: {took:?}"
        );
        plugins.shutdown().await;
        Ok(())
    })
}

fn hangs() -> anyhow::Result<()> {
    each_mode(async |_, plugins| {
        let provider = plugins.provider().context("no provider")?;
        let error = get(&provider, "hang", "", SHORT)
            .await
            .err()
            .context("it answered")?;
        ensure!(error.code == "plugin-timeout", "{error:?}");
        tokio::time::sleep(SHORT * 3).await;
        ensure!(get(&provider, "well", "1", LONG).await?.id == "1");
        // A future can be dropped: nothing had to be killed.
        ensure!(line(&plugins, "provider.so")?.generation == 1);
        plugins.shutdown().await;
        Ok(())
    })
}

fn panics() -> anyhow::Result<()> {
    each_mode(async |_, plugins| {
        let provider = plugins.provider().context("no provider")?;
        let error = get(&provider, "panic", "", LONG)
            .await
            .err()
            .context("it answered")?;
        ensure!(
            error.code == "plugin-panicked" && error.message.contains("this provider panics"),
            "{error:?}"
        );
        ensure!(get(&provider, "well", "1", LONG).await?.id == "1");
        ensure!(line(&plugins, "provider.so")?.generation == 1);
        plugins.shutdown().await;
        Ok(())
    })
}

fn dies() -> anyhow::Result<()> {
    let place = Place::with(&["provider"])?;
    run(async {
        let plugins = Plugins::load(place.settings(Isolation::Child)).await;
        let provider = plugins.provider().context("no provider")?;
        let mut alive = provider.alive();
        let error = get(&provider, "exit", "", LONG)
            .await
            .err()
            .context("it answered")?;
        ensure!(
            error.code == "plugin-unavailable" && error.message.contains("exit code 3"),
            "{error:?}"
        );
        tokio::time::timeout(LONG, alive.wait_for(|alive| !alive)).await??;
        tokio::time::timeout(LONG, alive.wait_for(|alive| *alive)).await??;
        ensure!(get(&provider, "well", "1", LONG).await?.id == "1");
        plugins.shutdown().await;
        Ok(())
    })?
}

fn blocks() -> anyhow::Result<()> {
    let place = Place::with(&["provider"])?;
    run(async {
        let plugins = Plugins::load(place.settings(Isolation::Child)).await;
        let provider = plugins.provider().context("no provider")?;
        let error = get(&provider, "block", "", SHORT)
            .await
            .err()
            .context("it answered")?;
        ensure!(error.code == "plugin-timeout", "{error:?}");
        until("it is back", || {
            line(&plugins, "provider.so").is_ok_and(|s| s.generation == 2 && s.pid.is_some())
        })
        .await;
        ensure!(get(&provider, "well", "1", LONG).await?.id == "1");
        plugins.shutdown().await;
        Ok(())
    })?
}

fn too_large() -> anyhow::Result<()> {
    let place = Place::with(&["provider"])?;
    run(async {
        let plugins = Plugins::load(place.settings(Isolation::Child)).await;
        let provider = plugins.provider().context("no provider")?;
        ensure!(get(&provider, "large", "20000000", LONG).await?.id.len() == 20_000_000);
        let error = get(&provider, "large", "40000000", LONG)
            .await
            .err()
            .context("it answered")?;
        ensure!(
            error.code == "plugin-protocol" && error.message.contains("33554432"),
            "{error:?}"
        );
        let error = get(&provider, &"x".repeat(40_000_000), "", LONG)
            .await
            .err()
            .context("it answered")?;
        ensure!(
            error.code == "plugin-protocol" && error.message.contains("33554432"),
            "{error:?}"
        );
        ensure!(get(&provider, "well", "1", LONG).await?.id == "1");
        ensure!(line(&plugins, "provider.so")?.generation == 1);
        plugins.shutdown().await;
        Ok(())
    })?
}

fn cannot_be_opened() -> anyhow::Result<()> {
    let place = Place::with(&["provider"])?;
    for (isolation, how, code, words) in [
        (Isolation::InProcess, "fail", "plugin-start-failed", "no door"),
        (Isolation::Child, "fail", "plugin-start-failed", "no door"),
        (
            Isolation::InProcess,
            "panic",
            "plugin-panicked-at-start",
            "cannot be opened",
        ),
        (
            Isolation::Child,
            "panic",
            "plugin-panicked-at-start",
            "cannot be opened",
        ),
        (Isolation::InProcess, "hang", "plugin-start-timeout", "within 3 s"),
        (Isolation::Child, "hang", "plugin-start-timeout", "within 3 s"),
        (
            Isolation::Child,
            "exit",
            "plugin-killed-its-loader",
            "exit code 9",
        ),
    ] {
        let mut settings = place.settings(isolation);
        settings.provider_config = json!({ "open": how });
        settings.limits.start = Duration::from_secs(3);
        let problem = run(async {
            let plugins = Plugins::load(settings).await;
            assert!(plugins.provider().is_none());
            refusal(&plugins, "provider.so")
        })??;
        ensure!(
            problem.code == code && problem.message.contains(words),
            "{isolation:?} {how}: {problem:?}"
        );
        ensure!(
            how != "fail" || problem.remedy == "build a door into the store",
            "{problem:?}"
        );
    }
    Ok(())
}

fn other_provider() -> anyhow::Result<()> {
    let place = Place::with(&["provider"])?;
    let mut settings = place.settings(Isolation::InProcess);
    settings.provider_name = "local".into();
    settings.provider_config = json!({"open": "exit"});
    let problem = run(async { refusal(&Plugins::load(settings).await, "provider.so") })??;
    ensure!(
        problem.code == "plugin-other-provider" && problem.message.contains("\"local\""),
        "{problem:?}"
    );
    Ok(())
}
