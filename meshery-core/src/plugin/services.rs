//! What a plugin may ask of the host.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use abi_stable::sabi_trait::prelude::TD_Opaque;
use abi_stable::std_types::{RArc, RSlice, RStr, RString, RVec};
use async_ffi::{FfiFuture, FutureExt as _};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::abi::{AbiError, HostRef, HostServices, HostServices_TO, LogLine, Reply};
use meshery_plugin_api::frame::Log;
use serde::Deserialize;
use tokio::runtime::Handle;

use super::in_process::Cancelled;
use super::log;
use crate::confidential::untold;

/// A service by its name. The one place that decides what a plugin may ask for, wherever it runs.
pub(super) async fn call(method: &str, payload: &[u8]) -> Result<Vec<u8>, PluginError> {
    match method {
        "host.sleep" => {
            let Sleep { ms } = serde_json::from_slice(payload)
                .map_err(|error| PluginError::new("plugin-protocol", format!("{method}: {error}")))?;
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(b"null".to_vec())
        }
        other => Err(
            PluginError::new("unknown-service", format!("this host has no service \"{other}\""))
                .cause("the plugin is newer than the host"),
        ),
    }
}

#[derive(Deserialize)]
struct Sleep {
    ms: u64,
}

/// The host as a plugin in the same process sees it.
#[derive(Clone)]
pub(super) struct InProcessHost {
    plugin: String,
    cancelled: Arc<Cancelled>,
    runtime: Handle,
}

impl InProcessHost {
    pub fn new(plugin: &str, cancelled: Arc<Cancelled>) -> Self {
        Self {
            plugin: plugin.to_owned(),
            cancelled,
            runtime: Handle::current(),
        }
    }

    pub fn handle(&self) -> HostRef {
        HostServices_TO::from_ptr(RArc::new(self.clone()), TD_Opaque)
    }
}

/// A panic of the host's own, in whatever writes the log, say, must not cross the boundary either.
fn harmless<T>(otherwise: T, f: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or(otherwise)
}

impl HostServices for InProcessHost {
    fn log(&self, line: LogLine<'_>) {
        harmless((), || log::write(&self.plugin, &owned(line)));
    }

    fn log_enabled(&self, level: u8, _: RStr<'_>) -> bool {
        harmless(false, || log::is_enabled(level))
    }

    fn emit(&self, op: u64, payload: RSlice<'_, u8>) {
        harmless((), || emitted(&self.plugin, op, &payload));
    }

    fn is_cancelled(&self, op: u64) -> bool {
        self.cancelled.contains(op)
    }

    fn call(&self, method: RString, payload: RVec<u8>) -> FfiFuture<Reply> {
        let runtime = self.runtime.clone();
        // The plugin may poll it on a thread of its own, which knows no runtime.
        let mut service = Box::pin(async move { call(&method, &payload).await });
        std::future::poll_fn(move |context| {
            let _runtime = runtime.enter();
            service
                .as_mut()
                .poll(context)
                .map(|result| result.map(RVec::from).map_err(AbiError::from).into())
        })
        .into_ffi()
    }
}

/// A log line in types of its own.
pub(super) fn owned(line: LogLine<'_>) -> Log {
    Log {
        op: line.op,
        level: line.level,
        line: line.line,
        target: line.target.into(),
        file: line.file.into(),
        message: line.message.into(),
        fields: line.fields.into(),
        spans: line.spans.into(),
    }
}

/// Progress of a call: it goes to the log, and no further yet.
pub(super) fn emitted(plugin: &str, op: u64, payload: &[u8]) {
    tracing::trace!(plugin, op, event = %untold(&String::from_utf8_lossy(payload)), "an event of a plugin");
}
