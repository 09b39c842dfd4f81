//! What all operations of one process share, and who is at work on which of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meshery_plugin_api::message::document::Query;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::journal::Journal;
use super::journal::event_stream::JOURNALS_READ;
use super::journal::history::History;
use super::journal::room;
use super::live::Live;
use super::plan::stored::{StoredPlan, Work};
use super::record::{HeldUp, OperationRecord};
use super::retention::Retention;
use super::secret::seal::HostKey;
use super::state::OperationState;
use super::stored::{KIND, Stored, read_content};
use super::turn::queue::Queues;
use crate::applications::Applications;
use crate::cluster::chart::Charts;
use crate::cluster::lease::LeaseSettings;
use crate::cluster::{Cluster, Clusters};
use crate::host_identity::HostIdentity;
use crate::images::ImageSource;
use crate::plugin::Plugins;
use crate::problem::{Problem, ProblemKind};
use crate::provider::Store;

/// States that an operation has in its document when its host was killed; and those that wait to be taken up.
pub(super) const UNENDED: [OperationState; 6] = [
    OperationState::Queued,
    OperationState::Running,
    OperationState::Paused,
    OperationState::Verifying,
    OperationState::Undoing,
    OperationState::Interrupted,
];

/// How long an operation that has ended may take to be let go of: its document is written.
const LETTING_GO: Duration = Duration::from_secs(15);

/// What its owner has set.
#[derive(Debug, Clone)]
pub(crate) struct EngineSettings {
    /// What there is to deploy beside what adapters bring.
    pub applications: Applications,
    /// Where images come from unless an operation says otherwise.
    pub images: ImageSource,
    /// How hosts take turns at a cluster.
    pub lease: LeaseSettings,
    /// How long operations are kept.
    pub retention: Retention,
}

pub(super) struct Engine {
    pub store: Store,
    pub plugins: Arc<Plugins>,
    pub clusters: Clusters,
    pub charts: Charts,
    pub applications: Applications,
    pub key: Arc<HostKey>,
    /// Where images come from unless an operation says otherwise.
    pub images: ImageSource,
    pub host: HostIdentity,
    pub lease: LeaseSettings,
    pub retention: Retention,
    pub queues: Queues,
    /// Nothing new is begun, and what runs stops at the next safe point.
    pub stop: CancellationToken,
    /// Nobody waits for the provider any more.
    pub abandon: CancellationToken,
    pub tasks: TaskTracker,
    /// Operations that somebody has in hand: nothing while they are being read.
    in_hand: Mutex<HashMap<String, Option<InHand>>>,
    /// While the store is exchanged, nobody may take an operation in hand.
    exchanging: AtomicBool,
    /// Changes whenever an operation is taken in hand.
    taken: watch::Sender<u64>,
    /// Sets whose order somebody carries out.
    driven: Mutex<HashSet<String>>,
    /// For parts of journals that are read for listeners.
    pub journals_read: Semaphore,
}

/// An operation at work, and where what happens to it is written.
#[derive(Clone)]
pub(super) struct InHand {
    pub live: Arc<Live>,
    pub journal: Journal,
}

/// An operation in hand: nobody else may work on it until this is dropped.
pub(super) struct Claim {
    engine: Arc<Engine>,
    id: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.engine.in_hand.lock().remove(&self.id);
        self.engine.stir();
    }
}

/// The store may be exchanged: no operation is in anybody's hands until this is dropped.
pub(super) struct Idle(Arc<Engine>);

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.exchanging.store(false, Ordering::SeqCst);
    }
}

impl Claim {
    /// Makes the operation's progress visible to everybody.
    pub fn show(&self, in_hand: InHand) {
        self.engine.in_hand.lock().insert(self.id.clone(), Some(in_hand));
        self.engine.stir();
    }
}

impl Engine {
    pub fn new(
        store: Store,
        plugins: Arc<Plugins>,
        clusters: Clusters,
        charts: Charts,
        key: Arc<HostKey>,
        host: HostIdentity,
        settings: EngineSettings,
    ) -> Self {
        Self {
            store,
            plugins,
            clusters,
            charts,
            applications: settings.applications,
            key,
            images: settings.images,
            host,
            lease: settings.lease,
            retention: settings.retention,
            queues: Queues::default(),
            stop: CancellationToken::new(),
            abandon: CancellationToken::new(),
            tasks: TaskTracker::new(),
            in_hand: Mutex::new(HashMap::new()),
            exchanging: AtomicBool::new(false),
            taken: watch::Sender::new(0),
            driven: Mutex::default(),
            journals_read: Semaphore::new(JOURNALS_READ),
        }
    }

    /// Takes an operation in hand. One that has just ended is let go of in a moment; that is waited for.
    pub async fn claim(self: &Arc<Self>, id: &str) -> Result<Claim, Problem> {
        let end = tokio::time::Instant::now() + LETTING_GO;
        loop {
            let mut taken = self.taken();
            let ended = self.live(id).is_some_and(|live| live.state().is_ended());
            if !ended || tokio::time::timeout_at(end, taken.changed()).await.is_err() {
                return self.try_claim(id);
            }
        }
    }

    fn try_claim(self: &Arc<Self>, id: &str) -> Result<Claim, Problem> {
        if self.stop.is_cancelled() {
            return Err(super::journal::stopped());
        }
        let mut in_hand = self.in_hand.lock();
        if self.exchanging.load(Ordering::SeqCst) {
            return Err(restoring()
                .remedy("ask again when the restore has ended")
                .retryable(true));
        }
        if in_hand.contains_key(id) {
            return Err(Problem::new(
                ProblemKind::Conflict,
                "operation-active",
                format!("operation {id} is being worked on"),
            )
            .remedy("wait until it has ended, or cancel it"));
        }
        in_hand.insert(id.to_owned(), None);
        Ok(Claim {
            engine: self.clone(),
            id: id.to_owned(),
        })
    }

    /// Keeps all hands off operations; refused while there are any in hand. Those that have just ended are let go of in a
    /// moment; that is waited for.
    pub async fn idle(self: &Arc<Self>) -> Result<Idle, Problem> {
        let end = tokio::time::Instant::now() + LETTING_GO;
        loop {
            let mut taken = self.taken();
            if !self.is_letting_go() || tokio::time::timeout_at(end, taken.changed()).await.is_err() {
                return self.try_idle();
            }
        }
    }

    /// Whether operations are in hand, and each of them has ended.
    fn is_letting_go(&self) -> bool {
        let in_hand = self.in_hand.lock();
        let has_ended = |in_hand: &Option<InHand>| {
            in_hand
                .as_ref()
                .is_some_and(|in_hand| in_hand.live.state().is_ended())
        };
        !in_hand.is_empty() && in_hand.values().all(has_ended)
    }

    fn try_idle(self: &Arc<Self>) -> Result<Idle, Problem> {
        let in_hand = self.in_hand.lock();
        let mut active: Vec<&str> = in_hand.keys().map(String::as_str).collect();
        if !active.is_empty() {
            active.sort_unstable();
            return Err(Problem::new(
                ProblemKind::Conflict,
                "operations-active",
                format!("operations are being worked on: {}", active.join(", ")),
            )
            .remedy("wait until they have ended, or cancel them"));
        }
        if self.exchanging.swap(true, Ordering::SeqCst) {
            return Err(restoring().remedy("wait until it has ended"));
        }
        Ok(Idle(self.clone()))
    }

    /// An operation that is at work.
    pub fn live(&self, id: &str) -> Option<Arc<Live>> {
        self.in_hand(id).map(|in_hand| in_hand.live)
    }

    /// An operation that is at work, with its journal.
    pub fn in_hand(&self, id: &str) -> Option<InHand> {
        self.in_hand.lock().get(id).cloned().flatten()
    }

    /// An operation that is at work; one that waits at its gate is, as soon as a host that has just started has come
    /// to it.
    pub async fn taken_up(&self, id: &str) -> Result<Option<InHand>, Problem> {
        let end = tokio::time::Instant::now() + LETTING_GO;
        loop {
            let mut taken = self.taken();
            let in_hand = self.in_hand(id);
            if in_hand.is_some() || self.load(id).await?.record.state != OperationState::Paused {
                return Ok(in_hand);
            }
            if tokio::time::timeout_at(end, taken.changed()).await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Changes whenever an operation is taken in hand or let go.
    pub fn taken(&self) -> watch::Receiver<u64> {
        self.taken.subscribe()
    }

    /// Wakes whoever waits for something to change.
    pub fn stir(&self) {
        self.taken.send_modify(|count| *count += 1);
    }

    /// Whether nobody carries out the set's order yet; whoever asks does from now on.
    pub fn begin_driving(&self, set: &str) -> bool {
        self.driven.lock().insert(set.to_owned())
    }

    /// Nobody carries out the set's order any more.
    pub fn end_driving(&self, set: &str) {
        self.driven.lock().remove(set);
    }

    /// An operation and its record as it is now.
    pub async fn load(&self, id: &str) -> Result<Stored, Problem> {
        let mut stored = Stored::load(&self.store, id).await?;
        self.at_rest(&mut stored.record);
        Ok(stored)
    }

    /// The plan of an operation, with what was expanded so far.
    pub async fn whole_plan(&self, stored: &Stored) -> Result<StoredPlan, Problem> {
        let mut plan = stored.plan(&self.store).await?;
        let has_expansions = plan.steps.iter().any(|step| matches!(step.work, Work::Expand(_)));
        if !has_expansions {
            return Ok(plan);
        }
        for (step, content) in History::read(&self.store, &stored.record.id).await?.expansions {
            plan = plan.with_expansion(&step, read_content(&self.store, &content).await?)?;
        }
        Ok(plan)
    }

    /// The record as it is now.
    pub async fn record(&self, id: &str) -> Result<OperationRecord, Problem> {
        if let Some(live) = self.live(id) {
            return Ok(self.shown(&live));
        }
        Ok(self.load(id).await?.record)
    }

    /// The record as its journal has it: what an operation is shown as while the provider is away is no end of it.
    pub async fn journaled_record(&self, id: &str) -> Result<OperationRecord, Problem> {
        if let Some(live) = self.live(id) {
            return Ok(live.journaled_record());
        }
        Ok(self.load(id).await?.record)
    }

    /// The record of an operation that is at work, with what it waits for.
    pub fn shown(&self, live: &Live) -> OperationRecord {
        let mut record = live.record();
        let before = self.queues.before(&record.cluster.uid, &record.id);
        record.held_up = if let Some(first) = before.first() {
            Some(HeldUp {
                before: before.len(),
                reason: format!("operation {first} of this host comes first"),
            })
        } else {
            live.elsewhere().map(|reason| HeldUp { before: 0, reason })
        };
        record
    }

    /// What nobody works on any more, although its journal does not say that it ended, was interrupted.
    pub fn at_rest(&self, record: &mut OperationRecord) {
        // What waits at a gate changes nothing, and the cluster is not kept from others by it.
        if record.state.is_active()
            && record.state != OperationState::Paused
            && !self.in_hand.lock().contains_key(&record.id)
        {
            record.state = OperationState::Interrupted;
        }
    }

    /// The operation that was interrupted on a cluster and waits to be resumed or taken back: the cluster is half-way
    /// between two states, and nothing else begins there.
    pub async fn interrupted_on(&self, cluster: &str) -> Result<Option<OperationRecord>, Problem> {
        for state in UNENDED {
            let query = Query {
                kind: KIND.into(),
                labels: [
                    ("state".to_owned(), state.to_string()),
                    ("cluster".to_owned(), cluster.to_owned()),
                ]
                .into(),
                ..Query::default()
            };
            for document in self.store.list_all(query).await? {
                if self.in_hand.lock().contains_key(&document.id) {
                    continue;
                }
                // The document may be behind the journal.
                let record = self.load(&document.id).await?.record;
                if record.state == OperationState::Interrupted
                    && History::read(&self.store, &document.id).await?.has_written()
                {
                    return Ok(Some(record));
                }
            }
        }
        Ok(None)
    }

    /// Sets room aside for an operation's journal, as much as its plan can tell.
    pub async fn set_room_aside(&self, id: &str, plan: &StoredPlan) -> Result<(), Problem> {
        self.store.reserve(id, room::planned(plan)).await
    }

    /// The cluster of an operation, which must be the one it was planned for.
    pub async fn cluster(&self, record: &OperationRecord) -> Result<Arc<Cluster>, Problem> {
        let cluster = self.clusters.connect(Some(&record.cluster.context)).await?;
        if cluster.uid() == record.cluster.uid {
            return Ok(cluster);
        }
        Err(Problem::new(
            ProblemKind::Conflict,
            "other-cluster",
            format!(
                "context \"{}\" leads to another cluster than the one that operation {} was planned for",
                record.cluster.context, record.id
            ),
        )
        .cause("the kubeconfig was changed, or the cluster was made anew")
        .remedy("correct the kubeconfig, or plan again"))
    }
}

fn restoring() -> Problem {
    Problem::new(
        ProblemKind::Conflict,
        "restore-active",
        "a backup is being restored",
    )
}
