//! Calls of an adapter that fails in every way, in both modes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use meshery_core::plugin::{Adapter, Isolation, PluginState, Plugins};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::frame::{MAX_CALL, MAX_FRAME};
use meshery_plugin_api::message::plan::{Action, Plan, PlanRequest};
use serde_json::json;

use super::{Place, line, run, until};
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("plugins::an_adapter_answers_and_its_errors_arrive_whole", answers),
        trial(
            "plugins::a_request_with_what_a_large_cluster_has_arrives_whole",
            large_request,
        ),
        trial(
            "plugins::a_request_beyond_the_bound_is_refused_and_the_child_goes_on",
            boundless_request,
        ),
        trial("plugins::a_panic_is_an_error_and_a_new_instance", panics),
        trial(
            "plugins::a_call_in_process_that_never_returns_stops_the_plugin_and_not_the_host",
            hangs_in_process,
        ),
        trial(
            "plugins::a_call_that_listens_to_its_cancellation_harms_nothing",
            patient,
        ),
        trial(
            "plugins::a_call_in_a_child_that_never_returns_is_killed_and_the_child_is_back",
            hangs_in_a_child,
        ),
        trial(
            "plugins::a_child_that_dies_is_named_by_its_signal_and_is_back",
            dies_in_a_child,
        ),
        trial("plugins::a_child_that_keeps_dying_is_left_alone", keeps_dying),
        trial(
            "plugins::a_child_killed_from_outside_is_back",
            killed_from_outside,
        ),
        trial(
            "plugins::many_calls_at_a_time_are_answered_each_with_its_own",
            many,
        ),
        trial(
            "plugins::a_shut_down_plugin_takes_no_calls_and_its_process_is_gone",
            shut_down,
        ),
    ]
}

pub fn request(operation: &str) -> PlanRequest {
    let parameters = json!({"say": "hello"});
    PlanRequest {
        operation: operation.into(),
        parameters: parameters.as_object().cloned().unwrap_or_default(),
        ..PlanRequest::default()
    }
}

async fn plan(adapter: &Adapter, operation: &str, deadline: Duration) -> Result<Plan, PluginError> {
    adapter
        .handle()
        .call_json("adapter.plan", &request(operation), deadline)
        .await
}

const LONG: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_millis(300);

fn each_mode(test: impl AsyncFn(Plugins) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for isolation in [Isolation::InProcess, Isolation::Child] {
        let place = Place::with(&["misbehaving"])?;
        run(async {
            let plugins = Plugins::load(place.settings(isolation)).await;
            test(plugins).await
        })?
        .with_context(|| format!("{isolation:?}"))?;
    }
    Ok(())
}

fn in_a_child(test: impl AsyncFn(Plugins) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let place = Place::with(&["misbehaving"])?;
    let mut settings = place.settings(Isolation::Child);
    settings.limits.child_memory = 1 << 30;
    run(async { test(Plugins::load(settings).await).await })?
}

fn answers() -> anyhow::Result<()> {
    each_mode(async |plugins| {
        let adapter = plugins.adapter("misbehaving")?;
        ensure!(adapter.operation("well").is_some() && adapter.descriptor().mesh == "Misbehaving");
        ensure!(adapter.plan(&request("well")).await?.summary == "hello");
        let expected = PluginError::new("no", "no")
            .cause("because")
            .remedy("ask nicely")
            .retryable();
        ensure!(adapter.plan(&request("refuse")).await == Err(expected));
        // What it returns is handed on as it is; whoever runs it checks it.
        ensure!(adapter.plan(&request("garbage")).await?.steps[0].action == Action::Unknown);
        let error = adapter
            .handle()
            .call("adapter.dance", Vec::new(), LONG)
            .await
            .err()
            .context("it dances")?;
        ensure!(error.code == "unknown-method", "{error:?}");
        let error = adapter
            .handle()
            .call("adapter.plan", b"{".to_vec(), LONG)
            .await
            .err()
            .context("it plans")?;
        ensure!(error.code == "plugin-protocol", "{error:?}");
        plugins.shutdown().await;
        Ok(())
    })
}

fn large_request() -> anyhow::Result<()> {
    each_mode(async |plugins| {
        let adapter = plugins.adapter("misbehaving")?;
        let mut large = request("well");
        // More than an answer may have.
        large
            .parameters
            .insert("ballast".into(), "x".repeat(MAX_FRAME + 1).into());
        ensure!(adapter.plan(&large).await?.summary == "hello");
        plugins.shutdown().await;
        Ok(())
    })
}

fn boundless_request() -> anyhow::Result<()> {
    in_a_child(async |plugins| {
        let adapter = plugins.adapter("misbehaving")?;
        let mut boundless = request("well");
        boundless.facts.now = "x".repeat(MAX_CALL);
        let error = adapter.plan(&boundless).await.err().context("it was sent")?;
        ensure!(
            error.code == "call-too-large" && error.remedy.contains("isolation"),
            "{error:?}"
        );
        ensure!(plan(&adapter, "well", LONG).await?.summary == "hello");
        ensure!(
            line(&plugins, "misbehaving.so")?.generation == 1,
            "it is the same process"
        );
        plugins.shutdown().await;
        Ok(())
    })
}

fn panics() -> anyhow::Result<()> {
    each_mode(async |plugins| {
        let adapter = plugins.adapter("misbehaving")?;
        let error = plan(&adapter, "panic", LONG)
            .await
            .err()
            .context("it did not panic")?;
        ensure!(
            error.code == "plugin-panicked" && error.message.contains("this adapter panics"),
            "{error:?}"
        );
        ensure!(
            error.message.contains("misbehaving/src/lib.rs:"),
            "the place is missing: {error:?}"
        );
        let error = plan(&adapter, "panic-in-drop", LONG)
            .await
            .err()
            .context("it did not panic")?;
        ensure!(error.message.contains("this destructor panics"), "{error:?}");
        ensure!(plan(&adapter, "well", LONG).await?.summary == "hello");
        let status = line(&plugins, "misbehaving.so")?;
        ensure!(status.state == PluginState::Loaded, "{status:?}");
        // Two new instances in this process; the same process if it is one of its own.
        ensure!(
            status.generation == if status.pid.is_some() { 1 } else { 3 },
            "{status:?}"
        );
        plugins.shutdown().await;
        Ok(())
    })
}

fn hangs_in_process() -> anyhow::Result<()> {
    let place = Place::with(&["misbehaving"])?;
    run(async {
        let plugins = Plugins::load(place.settings(Isolation::InProcess)).await;
        let adapter = plugins.adapter("misbehaving")?;
        let mut alive = adapter.handle().alive();
        let begin = Instant::now();
        let error = plan(&adapter, "hang", SHORT).await.err().context("it returned")?;
        ensure!(error.code == "plugin-timeout" && error.retryable, "{error:?}");
        ensure!(
            begin.elapsed() < SHORT * 4,
            "the deadline was missed by far: {:?}",
            begin.elapsed()
        );
        tokio::time::timeout(LONG, alive.wait_for(|alive| !alive)).await??;
        let error = plan(&adapter, "well", LONG)
            .await
            .err()
            .context("it was called")?;
        ensure!(
            error.code == "plugin-unavailable" && error.message.contains("never returned"),
            "{error:?}"
        );
        ensure!(line(&plugins, "misbehaving.so")?.state == PluginState::Stopped);
        plugins.shutdown().await;
        Ok(())
    })?
    // The runtime has ended although the thread has not.
}

fn patient() -> anyhow::Result<()> {
    each_mode(async |plugins| {
        let adapter = plugins.adapter("misbehaving")?;
        let error = plan(&adapter, "patient", SHORT)
            .await
            .err()
            .context("it returned")?;
        ensure!(error.code == "plugin-timeout", "{error:?}");
        // A caller that goes away is the same as a deadline.
        drop(tokio::time::timeout(SHORT, plan(&adapter, "patient", LONG)).await);
        tokio::time::sleep(SHORT * 3).await;
        ensure!(plan(&adapter, "well", LONG).await?.summary == "hello");
        let status = line(&plugins, "misbehaving.so")?;
        ensure!(
            status.state == PluginState::Loaded && status.generation == 1,
            "{status:?}"
        );
        plugins.shutdown().await;
        Ok(())
    })
}

fn hangs_in_a_child() -> anyhow::Result<()> {
    in_a_child(async |plugins| {
        let adapter = plugins.adapter("misbehaving")?;
        let mut alive = adapter.handle().alive();
        let first = line(&plugins, "misbehaving.so")?.pid;
        let error = plan(&adapter, "hang", SHORT).await.err().context("it returned")?;
        ensure!(error.code == "plugin-timeout", "{error:?}");
        tokio::time::timeout(LONG, alive.wait_for(|alive| !alive)).await??;
        tokio::time::timeout(LONG, alive.wait_for(|alive| *alive)).await??;
        ensure!(plan(&adapter, "well", LONG).await?.summary == "hello");
        let status = line(&plugins, "misbehaving.so")?;
        ensure!(status.generation == 2 && status.pid != first, "{status:?}");
        plugins.shutdown().await;
        Ok(())
    })
}

fn dies_in_a_child() -> anyhow::Result<()> {
    for (operation, how) in [
        ("exit", "ended with exit code 7"),
        ("abort", "signal 6 (abort)"),
        ("segfault", "signal 11 (segmentation fault)"),
        ("overflow-stack", "signal 6 (abort)"),
        ("eat-memory", "signal 6 (abort)"),
        ("impossible-allocation", "signal 6 (abort)"),
        ("panic-twice", "signal 6 (abort)"),
    ] {
        in_a_child(async |plugins| {
            let adapter = plugins.adapter("misbehaving")?;
            // Another call is on its way while the process dies.
            let other = adapter.clone();
            let other = tokio::spawn(async move { plan(&other, "patient", LONG).await });
            let error = plan(&adapter, operation, LONG)
                .await
                .err()
                .context("it survived")?;
            ensure!(error.code == "plugin-unavailable" && error.retryable, "{error:?}");
            ensure!(error.message.contains(how), "{how} is missing in {error:?}");
            let error = other.await?.err().context("the other call survived")?;
            ensure!(error.code == "plugin-unavailable", "{error:?}");
            // Its callers hear of its death a moment before the list does.
            until("the plugin is loaded again", || {
                line(&plugins, "misbehaving.so")
                    .is_ok_and(|status| status.state == PluginState::Loaded && status.generation == 2)
            })
            .await;
            ensure!(plan(&adapter, "well", LONG).await?.summary == "hello");
            plugins.shutdown().await;
            Ok(())
        })
        .context(operation)?;
    }
    Ok(())
}

fn keeps_dying() -> anyhow::Result<()> {
    in_a_child(async |plugins| {
        let adapter = plugins.adapter("misbehaving")?;
        for _ in 0..5 {
            until("the plugin can be called", || *adapter.handle().alive().borrow()).await;
            plan(&adapter, "exit", LONG).await.err().context("it survived")?;
            until("its death is known", || !*adapter.handle().alive().borrow()).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let error = plan(&adapter, "well", LONG)
            .await
            .err()
            .context("it was started a sixth time")?;
        ensure!(error.cause.contains("5 times") && !error.retryable, "{error:?}");
        let status = line(&plugins, "misbehaving.so")?;
        ensure!(
            status.state == PluginState::Stopped && status.pid.is_none(),
            "{status:?}"
        );
        plugins.shutdown().await;
        Ok(())
    })
}

fn killed_from_outside() -> anyhow::Result<()> {
    in_a_child(async |plugins| {
        let adapter = plugins.adapter("misbehaving")?;
        let pid = line(&plugins, "misbehaving.so")?
            .pid
            .context("it has no process")?;
        let waiting = adapter.clone();
        let waiting = tokio::spawn(async move { plan(&waiting, "patient", LONG).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        kill(pid)?;
        let error = waiting.await?.err().context("it survived")?;
        ensure!(error.message.contains("signal 9"), "{error:?}");
        until("it is back", || *adapter.handle().alive().borrow()).await;
        ensure!(plan(&adapter, "well", LONG).await?.summary == "hello");
        plugins.shutdown().await;
        Ok(())
    })
}

fn kill(pid: u32) -> anyhow::Result<()> {
    let pid = rustix::process::Pid::from_raw(pid.try_into()?).context("no process")?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
}

fn many() -> anyhow::Result<()> {
    each_mode(async |plugins| {
        let adapter = plugins.adapter("misbehaving")?;
        let calls = (0..500).map(|n| {
            let adapter = adapter.clone();
            tokio::spawn(async move {
                let mut request = request("well");
                let say = format!("{n} {}", "x".repeat(n * 100));
                request.parameters.insert("say".into(), say.clone().into());
                (adapter.plan(&request).await.map(|plan| plan.summary), say)
            })
        });
        for call in calls.collect::<Vec<_>>() {
            let (answer, expected) = call.await?;
            ensure!(answer? == expected, "an answer went to the wrong caller");
        }
        plugins.shutdown().await;
        Ok(())
    })
}

fn shut_down() -> anyhow::Result<()> {
    each_mode(async |plugins| {
        let adapter = plugins.adapter("misbehaving")?;
        let pid = line(&plugins, "misbehaving.so")?.pid;
        plugins.shutdown().await;
        if let Some(pid) = pid {
            ensure!(
                !std::path::Path::new(&format!("/proc/{pid}")).exists(),
                "process {pid} is still there"
            );
        }
        let error = plan(&adapter, "well", LONG)
            .await
            .err()
            .context("it was called")?;
        ensure!(
            error.code == "plugin-unavailable" && error.message.contains("shutting down"),
            "{error:?}"
        );
        Ok(())
    })
}
