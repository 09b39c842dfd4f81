//! The life of a host: take the data folder and the address, load plugins, serve, drain.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use meshery_core::problem::{Problem, ProblemKind};
use meshery_core::{Meshery, MesheryBuilder};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout, timeout_at};

use crate::access::Access;
use crate::app::App;
use crate::data_folder::DataFolder;
use crate::report::Started;
use crate::settings::{Effective, Settings};
use crate::token::Token;
use crate::{report, rest, server, signals};

/// Of the time to drain, what is left to the engine when answers take too long to end.
const FOR_THE_ENGINE: u32 = 2;

/// How long the helm program may take to say its version, before the host goes on without knowing.
const HELM: Duration = Duration::from_secs(5);
/// How long the start waits for the provider to say how it is.
const HEALTH: Duration = Duration::from_secs(2);

/// What is to be done about the host's key at the start.
#[derive(Debug, Clone, Copy)]
pub struct KeyChange {
    /// Take the present one for the right one.
    pub accept: bool,
    /// Make a new one.
    pub rotate: bool,
}

/// Until a signal says to stop.
pub fn run(effective: &Effective, key: KeyChange) -> anyhow::Result<()> {
    let settings = &effective.settings;
    let mut folder =
        DataFolder::open(&settings.data).map_err(|error| anyhow::anyhow!("{error}; {}", error.remedy()))?;
    let token = Token::open(folder.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system gives no threads")?;
    let ended = runtime.block_on(serve(effective, &mut folder, token, key));
    // What still runs has been told to stop and been given its time.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(
    effective: &Effective,
    folder: &mut DataFolder,
    token: Token,
    key: KeyChange,
) -> anyhow::Result<()> {
    let settings = &effective.settings;
    let stopping = signals::stop()?;
    let listener = bind(settings.listen).await?;
    let address = listener.local_addr().context("the address served on")?;
    folder
        .say_address(&format!("http://{address}"))
        .context("writing into the data folder's lock")?;
    let meshery = tokio::select! {
        built = builder(settings, folder).accept_key(key.accept).rotate_key(key.rotate).build() => {
            built.map_err(|problem| anyhow::anyhow!("{problem}; {}", problem.remedy))?
        }
        () = stopping.cancelled() => return Ok(()),
    };
    report::print(&Started {
        effective,
        address,
        plugins: meshery.plugins().list(),
        no_provider: meshery.store().err(),
        helm: helm(&meshery).await,
        contexts: meshery.clusters().contexts().map_err(Problem::from),
        notices: meshery.notices(),
        store: read_only(&meshery).await,
    });
    let access = Access::new(token, settings);
    let app = App::new(meshery.clone(), settings.clone(), access, stopping);
    let drain = settings.limits.drain();
    let served = server::serve(listener, rest::router(&app), &app, drain / FOR_THE_ENGINE);
    let end = async {
        app.stopping.cancelled().await;
        Instant::now() + drain
    };
    let ((), end) = tokio::join!(served, end);
    if timeout_at(end, meshery.shutdown()).await.is_err() {
        tracing::warn!(
            "operations were still busy when the time to drain was over; they go on at the next start"
        );
    }
    tracing::info!("stopped");
    Ok(())
}

async fn helm(meshery: &Meshery) -> Result<String, Problem> {
    if let Ok(asked) = timeout(HELM, meshery.charts().helm()).await {
        return asked.map_err(Problem::from);
    }
    let message = format!(
        "the helm program does not say its version within {} s",
        HELM.as_secs()
    );
    Err(Problem::new(ProblemKind::Timeout, "helm-timeout", message)
        .remedy("run `helm version`; name another program by `helm` in meshery.toml or by MESHERY_HELM"))
}

/// Why the store cannot be written to; nothing when it can, or when it does not say so in time.
async fn read_only(meshery: &Meshery) -> Option<String> {
    let store = meshery.store().ok()?;
    let health = timeout(HEALTH, store.health()).await.ok()?.ok()?;
    (!health.writable).then_some(health.message)
}

fn builder(settings: &Settings, folder: &DataFolder) -> MesheryBuilder {
    let mut builder = Meshery::builder(folder.path())
        .isolation(settings.isolation)
        .isolation_of(settings.isolation_of.clone())
        .provider(
            &settings.provider.name,
            serde_json::json!(settings.provider.config),
        )
        .offline(settings.offline)
        .lease((&settings.cluster).into())
        .retention((&settings.operations).into())
        .repositories(settings.repositories.clone())
        .images(settings.images.clone())
        .downloads((&settings.downloads).into());
    if let Some(own) = std::env::current_exe()
        .ok()
        .and_then(|program| program.parent().map(ToOwned::to_owned))
    {
        builder = builder.own_plugin_folder(own);
    }
    let dropped_in = folder.path().join("plugins");
    if dropped_in.is_dir() {
        builder = builder.plugin_folder(dropped_in);
    }
    for folder in &settings.plugins {
        builder = builder.plugin_folder(folder);
    }
    if !settings.applications.as_os_str().is_empty() {
        builder = builder.applications(&settings.applications);
    }
    if !settings.mirror.as_os_str().is_empty() {
        builder = builder.mirror(&settings.mirror);
    }
    if !settings.helm.as_os_str().is_empty() {
        builder = builder.helm(&settings.helm);
    }
    builder
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program serves there; stop it, or choose another address with --listen 127.0.0.1:PORT"
            }
            io::ErrorKind::AddrNotAvailable => "choose an address of this machine with --listen",
            io::ErrorKind::PermissionDenied => "choose a port above 1023 with --listen",
            _ => "choose another address with --listen",
        };
        anyhow::anyhow!("cannot serve on {address}: {error}; {remedy}")
    })
}
