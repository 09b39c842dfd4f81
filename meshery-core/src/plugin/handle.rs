//! A loaded plugin, wherever it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::Manifest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::backend::Backend;
use super::status::{Mode, PluginState, PluginStatus};
use crate::provider::ProviderCall;

/// A plugin that was loaded. It may have stopped since.
pub struct PluginHandle {
    manifest: Manifest,
    file: PathBuf,
    sha256: String,
    mode: Mode,
    backend: Arc<dyn Backend>,
}

impl PluginHandle {
    pub(super) fn new(
        manifest: Manifest,
        file: PathBuf,
        sha256: String,
        mode: Mode,
        backend: Arc<dyn Backend>,
    ) -> Self {
        Self {
            manifest,
            file,
            sha256,
            mode,
            backend,
        }
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The file it was loaded from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// SHA-256 of the file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Where it runs.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether it can be called. Changes when its process dies and when it is back.
    pub fn alive(&self) -> watch::Receiver<bool> {
        self.backend.alive()
    }

    /// Calls a method with bytes and returns the bytes of its result.
    ///
    /// Besides what the plugin itself returns, an error may have the code `plugin-timeout` (no answer within the
    /// deadline), `plugin-unavailable` (its process died, or is not there), `plugin-panicked`, `plugin-protocol`,
    /// `plugin-busy` (its process can make no thread for the call) or `call-too-large`. After the first two nobody
    /// knows whether the call was carried out; after the last two it was not. Dropping the future cancels the call.
    pub async fn call(
        &self,
        method: &str,
        payload: Vec<u8>,
        deadline: Duration,
    ) -> Result<Vec<u8>, PluginError> {
        self.backend.call(method, payload, deadline).await
    }

    /// Calls a method with JSON.
    pub async fn call_json<A: Serialize + ?Sized, R: DeserializeOwned>(
        &self,
        method: &str,
        argument: &A,
        deadline: Duration,
    ) -> Result<R, PluginError> {
        let argument = serde_json::to_vec(argument).map_err(|error| {
            PluginError::new(
                "plugin-protocol",
                format!("{method}: the argument cannot be written: {error}"),
            )
        })?;
        let result = self.call(method, argument, deadline).await?;
        serde_json::from_slice(&result).map_err(|error| {
            PluginError::new(
                "plugin-protocol",
                format!(
                    "{} {}: the result of {method} cannot be read: {error}",
                    self.manifest.name, self.manifest.version
                ),
            )
            .cause("a fault in the plugin, or it speaks another version of the messages")
            .remedy("use a version of the plugin that was made for this host")
        })
    }

    /// The line of the plugin list.
    pub fn status(&self) -> PluginStatus {
        let now = self.backend.now();
        PluginStatus {
            kind: self.manifest.kind,
            name: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            file: self.file.clone(),
            sha256: self.sha256.clone(),
            mode: self.mode,
            state: if now.stopped.is_some() {
                PluginState::Stopped
            } else {
                PluginState::Loaded
            },
            generation: now.generation,
            pid: now.pid,
            error: now.stopped.map(Into::into),
            description: self.manifest.description.clone(),
        }
    }

    pub(super) async fn shutdown(&self) {
        self.backend.shutdown().await;
    }
}

impl std::fmt::Debug for PluginHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginHandle")
            .field("name", &self.manifest.name)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl ProviderCall for PluginHandle {
    fn call<'a>(
        &'a self,
        method: &'a str,
        payload: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, PluginError>> {
        self.call(method, payload, deadline).boxed()
    }

    fn alive(&self) -> watch::Receiver<bool> {
        self.alive()
    }
}
