//! An instance of a plugin in this process, whether that is the host or a child: what both modes have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_ffi::FfiFuture;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::abi::{HostRef, InstanceBox, PluginModuleRef, Reply};
use meshery_plugin_api::export::CreateConfig;
use meshery_plugin_api::guard::PANICKED;
use meshery_plugin_api::message::descriptor::PluginKind;
use parking_lot::RwLock;

/// Makes the host as an instance sees it.
pub(super) type MakeHost = Box<dyn Fn() -> HostRef + Send + Sync>;

/// Makes the instance of a plugin, and makes it again after a panic.
pub(super) struct Instance {
    module: PluginModuleRef,
    kind: PluginKind,
    host: MakeHost,
    config: String,
    current: RwLock<Option<Arc<InstanceBox>>>,
    generation: AtomicU32,
}

impl Instance {
    /// Runs the plugin's own code to make the instance; it may take its time.
    pub fn create(
        module: PluginModuleRef,
        kind: PluginKind,
        host: MakeHost,
        config: &CreateConfig,
    ) -> Result<Self, PluginError> {
        let config = serde_json::to_string(config).map_err(|error| {
            PluginError::new(
                "plugin-protocol",
                format!("the plugin's configuration cannot be written: {error}"),
            )
        })?;
        let first = make(module, &host, &config)?;
        Ok(Self {
            module,
            kind,
            host,
            config,
            current: RwLock::new(Some(Arc::new(first))),
            generation: AtomicU32::new(1),
        })
    }

    pub fn kind(&self) -> PluginKind {
        self.kind
    }

    /// How many instances there have been.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Ends the instance as soon as no call uses it any more.
    pub fn end(&self) {
        drop(self.current.write().take());
    }

    fn current(&self) -> Result<Arc<InstanceBox>, PluginError> {
        self.current.read().clone().ok_or_else(|| {
            PluginError::new("plugin-unavailable", "the plugin was ended").cause("the host is shutting down")
        })
    }

    /// A method that computes.
    pub fn call(&self, op: u64, method: &str, payload: &[u8]) -> Result<Vec<u8>, PluginError> {
        let instance = self.current()?;
        let result = result(instance.call(op, method.into(), payload.into()));
        if result.as_ref().is_err_and(|error| error.code == PANICKED) {
            self.renew(&instance);
        }
        result
    }

    /// A method that waits.
    pub fn call_async(
        &self,
        op: u64,
        method: &str,
        payload: Vec<u8>,
    ) -> Result<FfiFuture<Reply>, PluginError> {
        Ok(self.current()?.call_async(op, method.into(), payload.into()))
    }

    /// An adapter is stateless, so that a new one costs nothing and is better than one left half-way. A provider
    /// holds locks and files: its promises do not depend on a new instance, and it keeps the one it has.
    fn renew(&self, broken: &Arc<InstanceBox>) {
        if self.kind != PluginKind::Adapter {
            return;
        }
        let Ok(new) = make(self.module, &self.host, &self.config) else {
            return;
        };
        let mut current = self.current.write();
        if current.as_ref().is_some_and(|c| Arc::ptr_eq(c, broken)) {
            *current = Some(Arc::new(new));
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn make(module: PluginModuleRef, host: &MakeHost, config: &str) -> Result<InstanceBox, PluginError> {
    module.create()(host(), config.into())
        .into_result()
        .map_err(PluginError::from)
}

/// The result of a call in the host's own types.
pub(super) fn result(reply: Reply) -> Result<Vec<u8>, PluginError> {
    reply.into_result().map(Vec::from).map_err(PluginError::from)
}
