//! What the store needs of whoever reaches the provider: one call with bytes, and whether it is there at all.

use std::time::Duration;

use futures::future::BoxFuture;
use meshery_plugin_api::PluginError;
use tokio::sync::watch;

/// A provider that can be called, wherever it runs.
///
/// An error with the code `plugin-timeout` or `plugin-unavailable` means that nobody knows whether the call was
/// carried out; any other error is the provider's own answer.
pub trait ProviderCall: Send + Sync {
    /// Calls a method with JSON and returns the JSON of its result.
    fn call<'a>(
        &'a self,
        method: &'a str,
        payload: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, PluginError>>;

    /// Whether the provider is there; changes when its process dies and when it is back.
    fn alive(&self) -> watch::Receiver<bool>;
}
