//! All plugins of a host: what was found, what is loaded, and who is asked for what.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::adapter::Adapter;
use super::handle::PluginHandle;
use super::load::{Loaded, load};
use super::settings::PluginSettings;
use super::status::PluginStatus;
use crate::problem::{Problem, ProblemKind};

/// The plugins of a host.
#[derive(Debug, Default)]
pub struct Plugins {
    adapters: BTreeMap<String, Arc<Adapter>>,
    provider: Option<Arc<PluginHandle>>,
    refused: Vec<PluginStatus>,
}

/// A plugin that is not there was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PluginLookupError {
    /// No adapter of this name is loaded.
    #[error("there is no adapter \"{name}\"")]
    NoAdapter {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
        /// Why the file that would have had this name was refused.
        refused: Option<Problem>,
    },
}

impl From<PluginLookupError> for Problem {
    fn from(error: PluginLookupError) -> Self {
        let message = error.to_string();
        let PluginLookupError::NoAdapter { known, refused, .. } = error;
        let problem = Problem::new(ProblemKind::NotFound, "unknown-adapter", message);
        match refused {
            Some(why) => problem
                .cause(format!("its file was refused: {}", why.message))
                .remedy(why.remedy),
            None if known.is_empty() => problem
                .cause("no adapter is loaded")
                .remedy("put adapters into the host's folder, or name their folder with --plugins"),
            None => problem.remedy(format!("use one of: {}", known.join(", "))),
        }
    }
}

impl Plugins {
    /// Finds, checks and loads plugins. Never fails as a whole; see [`Plugins::list`] for what was refused.
    pub async fn load(settings: PluginSettings) -> Self {
        let Loaded {
            adapters,
            provider,
            refused,
        } = load(settings).await;
        Self {
            adapters,
            provider,
            refused,
        }
    }

    /// Every file that was looked at, loaded or not: adapters, providers, then the rest, each by name.
    pub fn list(&self) -> Vec<PluginStatus> {
        let mut list: Vec<PluginStatus> = self
            .adapters
            .values()
            .map(|adapter| adapter.handle())
            .chain(&self.provider)
            .map(|handle| handle.status())
            .collect();
        list.extend(self.refused.iter().cloned());
        list
    }

    /// An adapter by name.
    pub fn adapter(&self, name: &str) -> Result<Arc<Adapter>, PluginLookupError> {
        self.adapters
            .get(name)
            .cloned()
            .ok_or_else(|| PluginLookupError::NoAdapter {
                name: name.to_owned(),
                known: self.adapters.keys().cloned().collect(),
                refused: self
                    .refused
                    .iter()
                    .find(|r| r.name == name)
                    .and_then(|r| r.error.clone()),
            })
    }

    /// All adapters, by name.
    pub fn adapters(&self) -> impl Iterator<Item = &Arc<Adapter>> {
        self.adapters.values()
    }

    /// The provider, if it could be loaded.
    pub fn provider(&self) -> Option<Arc<PluginHandle>> {
        self.provider.clone()
    }

    /// Ends all plugins: children say goodbye and are reaped, instances are dropped.
    pub async fn shutdown(&self) {
        let handles = self
            .adapters
            .values()
            .map(|adapter| adapter.handle())
            .chain(&self.provider);
        futures::future::join_all(handles.map(|handle| handle.shutdown())).await;
    }
}
