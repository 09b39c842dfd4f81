//! What every handler can reach.

use std::sync::Arc;

use meshery_core::Meshery;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::metrics::Metrics;
use crate::settings::Settings;

/// The running host. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

pub struct Inner {
    pub meshery: Meshery,
    pub settings: Settings,
    pub access: Access,
    pub metrics: Metrics,
    /// Cancelled when the host is to end: long answers end, new ones are not begun.
    pub stopping: CancellationToken,
    /// Listeners to events hold their connection for long; half of all connections stay free of them.
    pub listeners: Arc<Semaphore>,
}

impl App {
    pub fn new(meshery: Meshery, settings: Settings, access: Access, stopping: CancellationToken) -> Self {
        let listeners = settings.limits.connections.div_ceil(2);
        Self(Arc::new(Inner {
            meshery,
            settings,
            access,
            metrics: Metrics::new(),
            stopping,
            listeners: Arc::new(Semaphore::new(listeners)),
        }))
    }
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
