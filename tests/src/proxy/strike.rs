//! Rules by which faults strike: which requests, from which one on, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;

use super::{Action, RequestInfo};

type Matches = dyn Fn(&RequestInfo) -> bool + Send + Sync;
type Make = dyn Fn() -> Action + Send + Sync;

/// One fault. Clones are the same one, so that a test can ask afterwards how often it has struck.
#[derive(Clone)]
pub struct Strike {
    matches: Arc<Matches>,
    make: Arc<Make>,
    spared: usize,
    times: usize,
    met: Arc<AtomicUsize>,
}

impl Strike {
    /// Strikes the first request for which this holds.
    pub fn on(
        matches: impl Fn(&RequestInfo) -> bool + Send + Sync + 'static,
        make: impl Fn() -> Action + Send + Sync + 'static,
    ) -> Self {
        Self {
            matches: Arc::new(matches),
            make: Arc::new(make),
            spared: 0,
            times: 1,
            met: Arc::default(),
        }
    }

    /// Strikes the first request of a method to a path that ends so; dry runs are spared.
    pub fn at(
        method: Method,
        path: impl Into<String>,
        make: impl Fn() -> Action + Send + Sync + 'static,
    ) -> Self {
        let path = path.into();
        let matches = move |request: &RequestInfo| {
            request.method == method && request.path.ends_with(&path) && !request.query.contains("dryRun=")
        };
        Self::on(matches, make)
    }

    /// The n-th that matches is the first to be struck, counted from 1.
    #[must_use]
    pub fn from_the(mut self, nth: usize) -> Self {
        self.spared = nth.saturating_sub(1);
        self
    }

    /// So many are struck.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// All that come are.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// How often it has struck.
    pub fn struck(&self) -> usize {
        self.met
            .load(Ordering::SeqCst)
            .saturating_sub(self.spared)
            .min(self.times)
    }

    fn meet(&self, request: &RequestInfo) -> Option<Action> {
        if !(self.matches)(request) {
            return None;
        }
        let number = self.met.fetch_add(1, Ordering::SeqCst);
        let due = number >= self.spared && number - self.spared < self.times;
        due.then(|| (self.make)())
    }
}

/// The rule that lets the first of these strike that has to, and forwards what none of them is for.
pub fn all(strikes: Vec<Strike>) -> impl Fn(&RequestInfo) -> Action + Send + Sync + 'static {
    move |request| {
        let struck = strikes.iter().find_map(|strike| strike.meet(request));
        struck.unwrap_or(Action::Forward)
    }
}
