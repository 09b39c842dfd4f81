//! What befalls an operation.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;
use meshery_tests::cluster::Cluster;
use meshery_tests::proxy::{Action, FaultProxy, RequestInfo};
use rustix::process::{Pid, Signal, kill_process};

use super::script::pooled;
use super::{LEASE, NAMESPACE};
use crate::kills::{Point, Seeded, arm};
use crate::namespace::succeeded;

/// Writes among which a mishap happens; an operation that has fewer goes undisturbed.
const WRITES: u64 = 24;
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
    pub fn choose(seeded: &mut Seeded) -> anyhow::Result<Self> {
        let at = usize::try_from(1 + seeded.below(WRITES))?;
        Ok(match seeded.below(13) {
            0 => Self::Nothing,
            1 => Self::Kill(Point::Before(at)),
            2 => Self::Kill(Point::After(at)),
            3 => Self::Kill(Point::At(Duration::from_millis(seeded.below(600)))),
            4..=6 => {
                use Fault::{Busy, Cut, DropAfter, DropBefore, LostInError, Slow, Throttled};
                let faults = [DropBefore, DropAfter, Cut, Slow, Busy, Throttled, LostInError];
                let fault = faults[usize::try_from(seeded.below(faults.len() as u64))?];
                Self::Fault(at, fault)
            }
            7 | 8 => Self::Others(at, pooled(seeded), seeded.below(2) == 0),
            9 => Self::Freeze(at),
            10 | 11 => Self::Provider(TROUBLES[usize::try_from(seeded.below(TROUBLES.len() as u64))?]),
            _ => Self::Cancel(Duration::from_millis(seeded.below(600))),
        })
    }

    /// What somebody may have changed.
    pub fn disturbed(&self) -> BTreeSet<String> {
        match self {
            Self::Others(_, name, _) => [format!("v1/ConfigMap/{NAMESPACE}/{name}")].into(),
            _ => BTreeSet::new(),
        }
    }

    /// Whether an operation may end otherwise than undisturbed: one answer of the server that is late, lost or a refusal for
    /// the moment is to be outlasted, and so is what befalls the provider.
    pub fn may_fail(&self) -> bool {
        !matches!(self, Self::Nothing | Self::Fault(..) | Self::Provider(_))
    }

    /// What it is called in the count.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Kill(_) => "kill",
            Self::Fault(..) => "fault",
            Self::Others(..) => "others",
            Self::Cancel(_) => "cancel",
            Self::Freeze(_) => "freeze",
            Self::Provider(_) => "provider",
        }
    }

    /// Has it happen when its moment comes; a moment that is none of the cluster's is the caller's to await.
    pub fn arm(&self, proxy: &FaultProxy, cluster: &Arc<Cluster>, pid: u32) -> Armed {
        proxy.forget_mutations();
        let armed = Armed::default();
        match self.clone() {
            Self::Nothing | Self::Cancel(_) | Self::Provider(_) | Self::Kill(Point::At(_)) => {}
            Self::Kill(point) => arm(proxy, pid, point),
            Self::Freeze(at) => once(proxy, at, &armed, move || Action::run(move || freeze(pid))),
            Self::Fault(at, fault) => once(proxy, at, &armed, move || fault.action()),
            Self::Others(at, name, deletes) => {
                let cluster = cluster.clone();
                let seen = armed.theirs.clone();
                once(proxy, at, &armed, move || {
                    let (cluster, name, seen) = (cluster.clone(), name.clone(), seen.clone());
                    Action::run(move || {
                        if let Some(changed) = meddle(&cluster, &name, deletes) {
                            // It is armed once.
                            let _ = seen.set(changed);
                        }
                    })
                });
            }
        }
        armed
    }
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
    pub fn strike(&self) {
        self.struck.store(true, Ordering::SeqCst);
    }

    pub fn has_struck(&self) -> bool {
        self.struck.load(Ordering::SeqCst)
    }
}

fn once(proxy: &FaultProxy, at: usize, armed: &Armed, action: impl Fn() -> Action + Send + Sync + 'static) {
    let struck = armed.struck.clone();
    proxy.on(move |request: &RequestInfo| {
        let now = request.mutating && request.mutations == at;
        if now && !struck.swap(true, Ordering::SeqCst) {
            action()
        } else {
            Action::Forward
        }
    });
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
