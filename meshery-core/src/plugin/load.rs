//! From files to plugins: every step of [`super::Plugins::load`], and what becomes of a file that fails one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt as _;
use meshery_plugin_api::export::{CreateConfig, ProviderConfig};
use meshery_plugin_api::message::descriptor::{Manifest, PluginKind};
use tracing::{info, warn};

use super::adapter::Adapter;
use super::backend::Backend;
use super::cache::Cache;
use super::child::{self, Child};
use super::fault::{LoadError, LoadFault};
use super::find::candidates;
use super::handle::PluginHandle;
use super::in_process::InProcess;
use super::inspect::{Refused, inspect};
use super::log;
use super::settings::PluginSettings;
use super::status::{Mode, PluginState, PluginStatus};

/// Plugins that are started at the same time.
const AT_ONCE: usize = 4;

#[derive(Default)]
pub(super) struct Loaded {
    pub adapters: BTreeMap<String, Arc<Adapter>>,
    pub provider: Option<Arc<PluginHandle>>,
    pub refused: Vec<PluginStatus>,
}

/// A file that passed all checks and has a copy.
struct Checked {
    file: PathBuf,
    copy: PathBuf,
    sha256: String,
    manifest: Manifest,
    mode: Mode,
}

pub(super) async fn load(settings: PluginSettings) -> Loaded {
    let settings = Arc::new(settings);
    let mut loaded = Loaded::default();
    let checking = settings.clone();
    let (checked, refused) = match tokio::task::spawn_blocking(move || check(&checking)).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "the check of the plugins' files failed");
            return loaded;
        }
    };
    loaded.refused = refused;
    let in_use: HashSet<String> = checked.iter().map(|plugin| plugin.sha256.clone()).collect();
    let started: Vec<_> = futures::stream::iter(checked)
        .map(|plugin| start(plugin, &settings))
        .buffered(AT_ONCE)
        .collect()
        .await;
    for result in started {
        match result {
            Ok(Started::Adapter(adapter)) => {
                loaded.adapters.insert(adapter.name().to_owned(), adapter);
            }
            Ok(Started::Provider(handle)) => loaded.provider = Some(handle),
            Err(status) => loaded.refused.push(status),
        }
    }
    loaded
        .refused
        .sort_by(|a, b| (a.kind as u8, &a.name, &a.file).cmp(&(b.kind as u8, &b.name, &b.file)));
    let cache = settings.cache.clone();
    let _ = tokio::task::spawn_blocking(move || Cache::new(&cache).sweep(&in_use)).await;
    loaded
}

/// Everything that does not run the files.
fn check(settings: &PluginSettings) -> (Vec<Checked>, Vec<PluginStatus>) {
    let (candidates, errors) = candidates(settings);
    let mut refused: Vec<PluginStatus> = errors
        .into_iter()
        .map(|error| refusal(error, Refused::default(), Mode::Child))
        .collect();
    let cache = Cache::new(&settings.cache);
    let mut names: HashMap<(PluginKind, String), PathBuf> = HashMap::new();
    let mut checked = Vec::new();
    for candidate in candidates {
        let inspected = match inspect(&candidate, &settings.child.path) {
            Ok(inspected) => inspected,
            Err(refused_because) => {
                let (fault, known) = *refused_because;
                let file = candidate.file;
                let isolation = settings.isolation_for(&known.manifest.name);
                refused.push(refusal(LoadError { file, fault }, known, isolation.mode(false)));
                continue;
            }
        };
        let manifest = inspected.manifest;
        let mode = settings.isolation_for(&manifest.name).mode(inspected.trusted);
        let is_other = manifest.kind == PluginKind::Provider && manifest.name != settings.provider_name;
        let key = (manifest.kind, manifest.name.clone());
        let copy = if is_other {
            Err(LoadFault::OtherProvider {
                name: manifest.name.clone(),
                configured: settings.provider_name.clone(),
            })
        } else if let Some(first) = names.get(&key) {
            Err(LoadFault::DuplicateName {
                name: manifest.name.clone(),
                first: first.clone(),
            })
        } else {
            names.insert(key, candidate.file.clone());
            cache.copy(&inspected.sha256, &inspected.bytes)
        };
        match copy {
            Ok(copy) => checked.push(Checked {
                file: candidate.file,
                copy,
                sha256: inspected.sha256,
                manifest,
                mode,
            }),
            Err(fault) => {
                let known = Refused {
                    sha256: inspected.sha256,
                    manifest,
                };
                let file = candidate.file;
                refused.push(refusal(LoadError { file, fault }, known, mode));
            }
        }
    }
    (checked, refused)
}

enum Started {
    Adapter(Arc<Adapter>),
    Provider(Arc<PluginHandle>),
}

/// Everything that runs a file.
async fn start(plugin: Checked, settings: &PluginSettings) -> Result<Started, PluginStatus> {
    let (file, mode) = (plugin.file.clone(), plugin.mode);
    let known = Refused {
        sha256: plugin.sha256.clone(),
        manifest: plugin.manifest.clone(),
    };
    run(plugin, settings)
        .await
        .map_err(|fault| refusal(LoadError { file, fault }, known, mode))
}

async fn run(plugin: Checked, settings: &PluginSettings) -> Result<Started, LoadFault> {
    let Checked {
        file,
        copy,
        sha256,
        manifest,
        mode,
    } = plugin;
    let mut config = CreateConfig {
        log_level: log::level(),
        ..CreateConfig::default()
    };
    if manifest.kind == PluginKind::Provider {
        config.provider = provider_config(settings)?;
    }
    let start = child::Start {
        program: settings.child.clone(),
        file: copy.clone(),
        manifest: manifest.clone(),
        config: config.clone(),
        limits: settings.limits.clone(),
    };
    let backend: Arc<dyn Backend> = match mode {
        Mode::Child => Arc::new(Child::start(start).await?),
        Mode::InProcess => {
            let cache = Cache::new(&settings.cache);
            if !cache.is_proven(&sha256) {
                child::probe(&start).await?;
                cache.set_proven(&sha256);
            }
            Arc::new(InProcess::start(copy, &manifest, config, &settings.limits).await?)
        }
    };
    info!(plugin = manifest.name, version = manifest.version, file = %file.display(), %mode, "loaded a plugin");
    let kind = manifest.kind;
    let handle = Arc::new(PluginHandle::new(manifest, file, sha256, mode, backend));
    if kind == PluginKind::Provider {
        return Ok(Started::Provider(handle));
    }
    match Adapter::new(handle.clone(), settings.limits.call).await {
        Ok(adapter) => Ok(Started::Adapter(Arc::new(adapter))),
        Err(error) => {
            handle.shutdown().await;
            Err(LoadFault::BadDescriptor { error })
        }
    }
}

fn provider_config(settings: &PluginSettings) -> Result<ProviderConfig, LoadFault> {
    let data = settings.data.join("provider");
    std::fs::create_dir_all(&data).map_err(|error| LoadFault::StartFailed {
        error: meshery_plugin_api::PluginError::new(
            "bad-data-folder",
            format!("the folder {} cannot be made: {error}", data.display()),
        )
        .remedy("name another data folder, or let the host's user write to this one"),
    })?;
    Ok(ProviderConfig {
        data,
        options: settings.provider_config.clone(),
    })
}

fn refusal(error: LoadError, known: Refused, mode: Mode) -> PluginStatus {
    // Another provider lying there is nothing to worry about.
    if matches!(error.fault, LoadFault::OtherProvider { .. }) {
        info!(file = %error.file.display(), "{}", error.fault);
    } else {
        warn!(file = %error.file.display(), code = error.fault.code(), "refused a plugin: {}", error.fault);
    }
    let Refused { sha256, manifest } = known;
    PluginStatus {
        kind: manifest.kind,
        name: manifest.name,
        version: manifest.version,
        file: error.file.clone(),
        sha256,
        mode,
        state: PluginState::Refused,
        generation: 0,
        pid: None,
        error: Some(error.into()),
        description: manifest.description,
    }
}
