//! What befalls an operation, while it runs and while it is taken back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;
use meshery_tests::cluster::Cluster;
use meshery_tests::proxy::{Action, FaultProxy, RequestInfo};
use rustix::process::{Pid, Signal, kill_process};

use super::script::pooled;
use super::turn::Order;
use super::{LEASE, NAMESPACE};
use crate::kills::{Point, Seeded, kill};
use crate::namespace::succeeded;

/// What a provider may do, by the words of the provider that does it.
const TROUBLES: [&str; 5] = ["lost", "repeated", "late", "slow", "refused"];

/// What happens in the midst of an operation.
#[derive(Debug, Clone)]
pub enum Mishap {
    Nothing,
    Kill(Point),
    /// The write with this number is answered so.
    Fault(usize, Fault),
    /// Somebody changes or deletes an object before the write with this number.
    Others(usize, String, bool),
    /// The host is killed, and somebody changes or deletes an object before it is back.
    KillAndOthers(Point, String, bool),
    Cancel(Duration),
    /// The host stands still, for longer than its lease lasts, from the write with this number on.
    Freeze(usize),
    /// The provider does this to every third append.
    Provider(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub enum Fault {
    DropBefore,
    DropAfter,
    Cut,
    Slow,
    Busy,
    Throttled,
    LostInError,
}

impl Mishap {
    /// One that strikes, if it is about a write, at one of the first so many.
    pub fn choose(seeded: &mut Seeded, order: Order, writes: u64) -> anyhow::Result<Self> {
        let at = usize::try_from(1 + seeded.below(writes))?;
        Ok(match seeded.below(26) {
            0..=3 => Self::Nothing,
            4 => Self::Kill(Point::Before(at)),
            5 => Self::KillAndOthers(Point::Before(at), pooled(seeded), seeded.below(2) == 0),
            6 => Self::Kill(Point::After(at)),
            7 => Self::KillAndOthers(Point::After(at), pooled(seeded), seeded.below(2) == 0),
            8 | 9 => Self::Kill(Point::At(Duration::from_millis(seeded.below(600)))),
            10..=15 => {
                use Fault::{Busy, Cut, DropAfter, DropBefore, LostInError, Slow, Throttled};
                let faults = [DropBefore, DropAfter, Cut, Slow, Busy, Throttled, LostInError];
                let fault = faults[usize::try_from(seeded.below(faults.len() as u64))?];
                Self::Fault(at, fault)
            }
            16..=19 => Self::Others(at, pooled(seeded), seeded.below(2) == 0),
            // It takes its time.
            20 => Self::Freeze(at),
            21..=23 => Self::Provider(TROUBLES[usize::try_from(seeded.below(TROUBLES.len() as u64))?]),
            _ if order == Order::Run => Self::Cancel(Duration::from_millis(seeded.below(600))),
            // An undo cannot be cancelled.
            _ => Self::Kill(Point::At(Duration::from_millis(seeded.below(600)))),
        })
    }

    /// What somebody may have changed.
    pub fn disturbed(&self) -> BTreeSet<String> {
        match self {
            Self::Others(_, name, _) | Self::KillAndOthers(_, name, _) => {
                [format!("v1/ConfigMap/{NAMESPACE}/{name}")].into()
            }
            _ => BTreeSet::new(),
        }
    }

    /// Whether an operation may end otherwise than undisturbed: one answer of the server that is late, lost or a refusal for
    /// the moment is to be outlasted, and so is what befalls the provider. One that was interrupted ends as its policy says.
    pub fn may_fail(&self, on_interruption: &str) -> bool {
        match self {
            Self::Nothing | Self::Fault(..) | Self::Provider(_) => false,
            Self::Kill(_) | Self::Freeze(_) => on_interruption == "undo",
            Self::Others(..) | Self::KillAndOthers(..) | Self::Cancel(_) => true,
        }
    }

    /// What it is called in the count.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Kill(_) => "kill",
            Self::Fault(..) => "fault",
            Self::Others(..) => "others",
            Self::KillAndOthers(..) => "kill and others",
            Self::Cancel(_) => "cancel",
            Self::Freeze(_) => "freeze",
            Self::Provider(_) => "provider",
        }
    }

    /// What strikes when its moment comes; a moment that is none of the cluster's is the caller's to await.
    pub fn strikes(&self, armed: &Armed, cluster: &Arc<Cluster>, pid: u32) -> Vec<Strike> {
        let at = |at: usize, action: Box<dyn Fn() -> Action + Send + Sync>| {
            vec![Strike {
                at,
                struck: armed.struck.clone(),
                action,
            }]
        };
        match self.clone() {
            Self::Nothing
            | Self::Cancel(_)
            | Self::Provider(_)
            | Self::Kill(Point::At(_))
            | Self::KillAndOthers(Point::At(_), ..) => Vec::new(),
            Self::Kill(Point::Before(write)) => at(
                write,
                Box::new(move || {
                    kill(pid);
                    Action::DropBefore
                }),
            ),
            Self::Kill(Point::After(write)) => {
                at(write, Box::new(move || Action::run_after(move || kill(pid))))
            }
            Self::Freeze(write) => at(write, Box::new(move || Action::run(move || freeze(pid)))),
            Self::Fault(write, fault) => at(write, Box::new(move || fault.action())),
            Self::Others(write, name, deletes) => {
                let hand = hand(armed, cluster, name, deletes);
                at(write, Box::new(move || Action::run(hand.clone())))
            }
            Self::KillAndOthers(Point::Before(write), name, deletes) => {
                let hand = hand(armed, cluster, name, deletes);
                let action = move || {
                    kill(pid);
                    std::thread::spawn(hand.clone());
                    Action::DropBefore
                };
                at(write, Box::new(action))
            }
            Self::KillAndOthers(Point::After(write), name, deletes) => {
                let hand = hand(armed, cluster, name, deletes);
                let action = move || {
                    let hand = hand.clone();
                    Action::run_after(move || {
                        kill(pid);
                        hand();
                    })
                };
                at(write, Box::new(action))
            }
        }
    }
}

/// Somebody's hand, which remembers what it has changed.
fn hand(
    armed: &Armed,
    cluster: &Arc<Cluster>,
    name: String,
    deletes: bool,
) -> impl Fn() + Clone + Send + Sync + 'static {
    let (cluster, seen) = (cluster.clone(), armed.theirs.clone());
    move || {
        if let Some(changed) = meddle(&cluster, &name, deletes) {
            // It strikes once.
            let _ = seen.set(changed);
        }
    }
}

/// Something that happens once, at the write with its number, or at the next if something else happens at that.
pub struct Strike {
    pub at: usize,
    pub struck: Arc<AtomicBool>,
    pub action: Box<dyn Fn() -> Action + Send + Sync>,
}

/// Has them strike; of two, each at a write of its own.
pub fn lie_in_wait(proxy: &FaultProxy, strikes: Vec<Strike>) {
    proxy.on(move |request: &RequestInfo| {
        if !request.mutating {
            return Action::Forward;
        }
        strikes
            .iter()
            .filter(|strike| request.mutations >= strike.at)
            .find(|strike| !strike.struck.swap(true, Ordering::SeqCst))
            .map_or(Action::Forward, |strike| (strike.action)())
    });
}

/// Stops the process, and has it go on when its lease has certainly ended.
fn freeze(pid: u32) {
    let signal = move |signal| {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // It may have been killed meanwhile.
            let _ = kill_process(pid, signal);
        }
    };
    signal(Signal::STOP);
    std::thread::spawn(move || {
        std::thread::sleep(LEASE + Duration::from_secs(2));
        signal(Signal::CONT);
    });
}

impl Fault {
    fn action(self) -> Action {
        match self {
            Self::DropBefore => Action::DropBefore,
            Self::DropAfter => Action::DropAfter,
            Self::Cut => Action::CutAnswer,
            Self::Slow => Action::Slow(Duration::from_millis(500)),
            Self::Busy => Action::refuse(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "by chance"),
            Self::Throttled => Action::refuse(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "by chance")
                .with_header("retry-after", "1"),
            Self::LostInError => {
                Action::refuse(StatusCode::GATEWAY_TIMEOUT, "Timeout", "by chance").after_all()
            }
        }
    }
}

/// What became of a mishap.
#[derive(Default)]
pub struct Armed {
    struck: Arc<AtomicBool>,
    /// The object that somebody has changed: its name and its uid then.
    pub theirs: Arc<OnceLock<(String, String)>>,
}

impl Armed {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn strike(&self) {
        self.struck.store(true, Ordering::SeqCst);
    }

    pub fn has_struck(&self) -> bool {
        self.struck.load(Ordering::SeqCst)
    }
}

/// Somebody's hand; the object need not be there. Its name and uid, if it was changed.
fn meddle(cluster: &Cluster, name: &str, deletes: bool) -> Option<(String, String)> {
    let here = ["--namespace", NAMESPACE];
    if deletes {
        cluster.kubectl(&[&["delete", "configmap", name, "--ignore-not-found"], &here[..]].concat());
        return None;
    }
    let patch = [
        "patch",
        "configmap",
        name,
        "--type=merge",
        "--field-manager=somebody",
        r#"--patch={"data":{"theirs":"yes"}}"#,
        "--output=jsonpath={.metadata.uid}",
    ];
    let uid = succeeded(cluster.kubectl(&[&patch[..], &here].concat())).ok()?;
    Some((format!("v1/ConfigMap/{NAMESPACE}/{name}"), uid))
}
