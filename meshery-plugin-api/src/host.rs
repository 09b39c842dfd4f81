//! The host as a plugin's code sees it: cancellation, events, and services by name.
//!
//! Works without a host too (in an author's own tests): nothing is cancelled, events go nowhere, and a service is
//! an error. Everything refers to the call that the current thread works on; a thread of the plugin's own works on
//! none.

use std::cell::Cell;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use abi_stable::std_types::RSlice;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::abi::HostRef;
use crate::error::PluginError;

static HOST: RwLock<Option<Arc<HostRef>>> = RwLock::new(None);

thread_local! {
    static CALL: Cell<u64> = const { Cell::new(0) };
}

/// The host to talk to from now on.
pub(crate) fn connect(host: HostRef) {
    if let Ok(mut slot) = HOST.write() {
        *slot = Some(Arc::new(host));
    }
}

pub(crate) fn connected() -> Option<Arc<HostRef>> {
    HOST.read().ok()?.clone()
}

/// Runs `f` as part of a call.
pub(crate) fn within<T>(op: u64, f: impl FnOnce() -> T) -> T {
    struct Restore(u64);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = CALL.try_with(|call| call.set(self.0));
        }
    }
    let _restore = Restore(CALL.try_with(|call| call.replace(op)).unwrap_or(0));
    f()
}

pub(crate) fn current_call() -> u64 {
    CALL.try_with(Cell::get).unwrap_or(0)
}

/// Whether nobody waits for the current call any more. A method that computes for long asks from time to time.
pub fn is_cancelled() -> bool {
    let op = current_call();
    op != 0 && connected().is_some_and(|host| host.is_cancelled(op))
}

/// Tells the host about the progress of the current call. Never blocks; may be dropped.
pub fn emit(event: &impl Serialize) {
    if let (Some(host), Ok(bytes)) = (connected(), serde_json::to_vec(event)) {
        host.emit(current_call(), RSlice::from_slice(&bytes));
    }
}

/// Asks the host for a service.
///
/// There is one so far: `host.sleep`, see [`sleep`].
pub async fn call<R: DeserializeOwned>(method: &str, argument: &impl Serialize) -> Result<R, PluginError> {
    let protocol =
        |error: serde_json::Error| PluginError::new("plugin-protocol", format!("{method}: {error}"));
    let host = connected()
        .ok_or_else(|| PluginError::new("no-host", format!("there is no host to ask for \"{method}\"")))?;
    let argument = serde_json::to_vec(argument).map_err(protocol)?;
    let reply = host.call(method.into(), argument.into()).await;
    let bytes = reply.into_result().map_err(PluginError::from)?;
    serde_json::from_slice(&bytes).map_err(protocol)
}

/// Waits without a runtime of one's own.
pub async fn sleep(duration: Duration) -> Result<(), PluginError> {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    call("host.sleep", &serde_json::json!({ "ms": ms })).await
}
