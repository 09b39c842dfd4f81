//! What a handle needs of wherever its plugin runs.

use std::time::Duration;

use futures::future::BoxFuture;
use meshery_plugin_api::PluginError;
use tokio::sync::watch;

pub(super) trait Backend: Send + Sync {
    fn call<'a>(
        &'a self,
        method: &'a str,
        payload: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, PluginError>>;

    fn alive(&self) -> watch::Receiver<bool>;

    fn now(&self) -> Now;

    fn shutdown(&self) -> BoxFuture<'_, ()>;
}

/// How a plugin is at the moment.
pub(super) struct Now {
    pub generation: u32,
    pub pid: Option<u32>,
    /// Why it cannot be called.
    pub stopped: Option<PluginError>,
}

/// There was no answer in time.
pub(super) fn took_too_long(plugin: &str, method: &str, deadline: Duration) -> PluginError {
    PluginError::new(
        "plugin-timeout",
        format!(
            "the plugin \"{plugin}\" did not answer {method} within {} s",
            deadline.as_secs_f64()
        ),
    )
    .remedy("try again; if it happens again, report it to the plugin's author")
    .retryable()
}

/// The plugin is not there.
pub(super) fn unavailable(plugin: &str, why: &str) -> PluginError {
    PluginError::new(
        "plugin-unavailable",
        format!("the plugin \"{plugin}\" cannot be called: {why}"),
    )
}
