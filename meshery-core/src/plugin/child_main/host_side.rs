//! The host as a plugin in a child sees it: frames.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi_stable::std_types::{RSlice, RStr, RString, RVec};
use async_ffi::{FfiFuture, FutureExt as _};
use futures::channel::oneshot;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::abi::{AbiError, HostServices, LogLine, Reply};
use meshery_plugin_api::frame::Frame;
use parking_lot::Mutex;

use super::{Calls, Output};
use crate::plugin::services::owned;

type Answer = Result<Vec<u8>, PluginError>;

/// Requests to the host that have not been answered.
#[derive(Default)]
pub(super) struct HostCalls {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    next: AtomicU64,
}

impl HostCalls {
    pub fn replied(&self, id: u64, result: Result<Vec<u8>, PluginError>) {
        if let Some(waiting) = self.waiting.lock().remove(&id) {
            let _ = waiting.send(result);
        }
    }
}

#[derive(Clone)]
pub(super) struct ChildHost {
    level: u8,
    output: Arc<Output>,
    calls: Arc<Calls>,
    host_calls: Arc<HostCalls>,
}

impl ChildHost {
    pub fn new(level: u8, output: &Arc<Output>, calls: &Arc<Calls>, host_calls: &Arc<HostCalls>) -> Self {
        Self {
            level,
            output: output.clone(),
            calls: calls.clone(),
            host_calls: host_calls.clone(),
        }
    }
}

impl HostServices for ChildHost {
    fn log(&self, line: LogLine<'_>) {
        self.output.send(&Frame::Log(owned(line)));
    }

    fn log_enabled(&self, level: u8, _: RStr<'_>) -> bool {
        level <= self.level
    }

    fn emit(&self, op: u64, payload: RSlice<'_, u8>) {
        self.output.send(&Frame::Emit {
            op,
            payload: payload.to_vec(),
        });
    }

    fn is_cancelled(&self, op: u64) -> bool {
        self.calls
            .0
            .lock()
            .get(&op)
            .is_some_and(|call| call.is_cancelled())
    }

    fn call(&self, method: RString, payload: RVec<u8>) -> FfiFuture<Reply> {
        let id = self.host_calls.next.fetch_add(1, Ordering::Relaxed);
        let (reply, replied) = oneshot::channel();
        self.host_calls.waiting.lock().insert(id, reply);
        self.output.send(&Frame::HostCall {
            id,
            method: method.into(),
            payload: payload.into(),
        });
        async move {
            let result = replied
                .await
                .unwrap_or_else(|_| Err(PluginError::new("no-host", "the host does not answer")));
            result.map(RVec::from).map_err(AbiError::from).into()
        }
        .into_ffi()
    }
}
