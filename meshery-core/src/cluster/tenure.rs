//! Holding the cluster's Lease: waiting for it, renewing it for as long as something is to be done, giving it back.
//!
//! Writes are allowed for two thirds of the term after the last renewal was sent, and others take the Lease when they
//! have not seen it change for a whole term: the third in between is for what was on its way.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::error::ClusterError;
use super::fence::{Fence, Moment};
use super::handle::Cluster;
use super::lease::{Holder, Lease};
use crate::host_identity::HostIdentity;

/// How often who waits looks.
const LOOK: Duration = Duration::from_secs(1);
/// After somebody else was faster.
const AGAIN: Duration = Duration::from_millis(50);
/// How long giving it back may take; after a term it is free in any case.
const RELEASE: Duration = Duration::from_secs(5);

/// The Lease, held until this is dropped or the fence says that it is lost.
pub(crate) struct Tenure {
    fence: Option<Fence>,
    _keeper: Option<DropGuard>,
}

impl Tenure {
    /// Holds nothing, where the cluster does not let us.
    pub fn without_lease() -> Self {
        Self {
            fence: None,
            _keeper: None,
        }
    }

    /// Waits until the Lease can be had, and takes it. A cluster that does not answer, or not well, is asked again
    /// for as long as `patience` says. `waiting` is told who holds the Lease, whenever that changes.
    pub async fn take(
        cluster: Arc<Cluster>,
        us: &HostIdentity,
        term: Duration,
        patience: Duration,
        tasks: &TaskTracker,
        mut waiting: impl FnMut(Holder) + Send,
    ) -> Result<Self, ClusterError> {
        let mut seen: Option<(String, Instant)> = None;
        let mut told: Option<Holder> = None;
        let mut trouble: Option<Instant> = None;
        let (lease, sent) = loop {
            let error = match attempt(&cluster, us, term, &mut seen).await {
                Ok(Attempt::Taken(lease, sent)) => break (lease, sent),
                Ok(Attempt::Held(holder, left)) => {
                    trouble = None;
                    if told.as_ref() != Some(&holder) {
                        waiting(holder.clone());
                        told = Some(holder);
                    }
                    sleep(left.min(LOOK)).await;
                    continue;
                }
                Err(
                    ClusterError::ObjectChanged { .. }
                    | ClusterError::AlreadyExists { .. }
                    | ClusterError::NotFound { .. },
                ) => {
                    sleep(AGAIN).await;
                    continue;
                }
                Err(error) => error,
            };
            // If it was written all the same, reading it will show that.
            let since = *trouble.get_or_insert_with(Instant::now);
            if !error.is_passing() || since.elapsed() >= patience {
                return Err(error);
            }
            tracing::debug!(%error, "taking the lease again");
            sleep(LOOK).await;
        };
        let fence = Fence::new(sent.after(valid(term)));
        let ended = CancellationToken::new();
        let keeper = Keeper {
            holder: us.holder().to_owned(),
            transitions: lease.transitions(),
            cluster,
            lease,
            term,
            fence: fence.clone(),
            ended: ended.clone(),
        };
        tasks.spawn(keeper.keep());
        Ok(Self {
            fence: Some(fence),
            _keeper: Some(ended.drop_guard()),
        })
    }

    /// What writes have to pass; nothing where there is no Lease.
    pub fn fence(&self) -> Option<&Fence> {
        self.fence.as_ref()
    }

    /// Why it was lost; nothing as long as it is held.
    pub fn lost(&self) -> Option<ClusterError> {
        let fence = self.fence.as_ref()?;
        fence.check().err().filter(|_| fence.is_lost())
    }

    /// Waits until it is lost.
    pub async fn over(&self) {
        match &self.fence {
            Some(fence) => drop(fence.over().await),
            None => std::future::pending().await,
        }
    }
}

/// What came of trying to take the Lease.
enum Attempt {
    /// It is ours, and we asked for it at this moment.
    Taken(Lease, Moment),
    /// Somebody has it, and it must stay so for this long until it may be taken.
    Held(Holder, Duration),
}

async fn attempt(
    cluster: &Cluster,
    us: &HostIdentity,
    term: Duration,
    seen: &mut Option<(String, Instant)>,
) -> Result<Attempt, ClusterError> {
    let wanted = match cluster.read_lease().await? {
        None => Lease::new(us.holder(), term),
        Some(lease) => {
            let left = left(&lease, us, seen, Instant::now());
            if !left.is_zero() {
                return Ok(Attempt::Held(lease.holder(), left));
            }
            lease.taken(us.holder(), term)
        }
    };
    let sent = Moment::now();
    Ok(Attempt::Taken(cluster.write_lease(&wanted).await?, sent))
}

/// For how long writes are allowed after a renewal.
fn valid(term: Duration) -> Duration {
    term * 2 / 3
}

/// How long a Lease must stay as it is until it may be taken; by our own clock, from when we first saw it so.
fn left(lease: &Lease, us: &HostIdentity, seen: &mut Option<(String, Instant)>, now: Instant) -> Duration {
    let holder = lease.holder_name();
    if holder.is_empty() || holder == us.holder() || us.succeeds(holder) {
        return Duration::ZERO;
    }
    match seen {
        Some((version, since)) if version == lease.version() => lease.term().saturating_sub(now - *since),
        _ => {
            *seen = Some((lease.version().to_owned(), now));
            lease.term()
        }
    }
}

/// Renews a Lease until nobody needs it any more or it is lost.
struct Keeper {
    cluster: Arc<Cluster>,
    holder: String,
    transitions: i64,
    lease: Lease,
    term: Duration,
    fence: Fence,
    ended: CancellationToken,
}

impl Keeper {
    async fn keep(mut self) {
        let ended = self.ended.clone();
        let lost = tokio::select! {
            biased;
            () = ended.cancelled() => None,
            lost = self.renew() => Some(lost),
        };
        match lost {
            Some(lost) => {
                tracing::warn!(cluster = %self.cluster.uid(), %lost, "nothing more is written to the cluster");
                // Who had it stops first.
                self.ended.cancelled().await;
            }
            None => self.fence.end(),
        }
        if timeout(RELEASE, self.release()).await.is_err() {
            tracing::debug!(cluster = %self.cluster.uid(), "the lease was not given back in time");
        }
    }

    async fn renew(&mut self) -> ClusterError {
        loop {
            let began = Instant::now();
            // Bounded by the fence: when that is over, nothing is renewed any more.
            let fence = self.fence.clone();
            if let Err(lost) = fence.guard(self.renew_once()).await {
                return lost;
            }
            let pause = (self.term / 3).saturating_sub(began.elapsed());
            if let Ok(lost) = timeout(pause, fence.over()).await {
                return lost;
            }
        }
    }

    /// Asks until it is renewed.
    async fn renew_once(&mut self) {
        loop {
            let sent = Moment::now();
            let limit = self.term / 3;
            let trouble = match timeout(limit, self.cluster.write_lease(&self.lease.clone().renewed())).await
            {
                Ok(Ok(lease)) => {
                    self.lease = lease;
                    self.fence.extend(sent.after(valid(self.term)));
                    return;
                }
                Ok(Err(ClusterError::ObjectChanged { .. } | ClusterError::NotFound { .. })) => {
                    match timeout(limit, self.cluster.read_lease()).await {
                        Ok(Ok(Some(lease))) if lease.is_tenure(&self.holder, self.transitions) => {
                            self.lease = lease;
                            sleep(AGAIN).await;
                            continue;
                        }
                        Ok(Ok(now)) => return self.fence.lose(taken(now.as_ref())),
                        Ok(Err(error)) => error.to_string(),
                        Err(_) => no_answer(limit),
                    }
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => no_answer(limit),
            };
            tracing::debug!(cluster = %self.cluster.uid(), %trouble, "the lease is not renewed yet");
            self.fence
                .note_trouble(format!("it could not be renewed: {trouble}"));
            sleep(self.term / 15).await;
        }
    }

    /// Gives it back, if it is still ours.
    async fn release(&self) {
        let released = async {
            let Some(lease) = self.cluster.read_lease().await? else {
                return Ok(());
            };
            if !lease.is_tenure(&self.holder, self.transitions) {
                return Ok(());
            }
            self.cluster.write_lease(&lease.released()).await.map(drop)
        };
        if let Err(error) = released.await {
            tracing::debug!(cluster = %self.cluster.uid(), %error, "the lease was not given back");
        }
    }
}

fn no_answer(limit: Duration) -> String {
    format!("no answer within {} s", limit.as_secs())
}

/// What became of a Lease that is not ours any more.
fn taken(now: Option<&Lease>) -> String {
    match now {
        None => format!("{} was deleted", Cluster::lease_ref()),
        Some(lease) if lease.holder_name().is_empty() => "somebody took it from this host".into(),
        Some(lease) => {
            let Holder { name, .. } = lease.holder();
            format!("host {name} has taken it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(holder: &str) -> Lease {
        Lease::new(holder, Duration::from_secs(10))
    }

    #[test]
    fn a_lease_of_others_must_stay_unchanged_for_its_term_by_our_own_clock() {
        let folder = tempfile::tempdir().unwrap();
        let us = HostIdentity::open(folder.path());
        let (mut seen, began) = (None, Instant::now());
        let mut left_after = |seconds| {
            left(
                &held("them"),
                &us,
                &mut seen,
                began + Duration::from_secs(seconds),
            )
            .as_secs()
        };
        assert_eq!(left_after(0), 10);
        assert_eq!(left_after(4), 6);
        assert_eq!(left_after(10), 0);
        assert_eq!(left_after(100), 0);
    }

    #[test]
    fn what_nobody_holds_or_a_process_before_us_did_is_free_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let before = HostIdentity::open(folder.path()).holder().to_owned();
        let us = HostIdentity::open(folder.path());
        let left = |holder: &str| left(&held(holder), &us, &mut None, Instant::now());
        for holder in ["", &before, us.holder()] {
            assert!(left(holder).is_zero(), "{holder}");
        }
        assert!(!left("us/3").is_zero());
    }
}
