//! One child process: its start, its death, its end.

use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use meshery_plugin_api::PluginError;
use meshery_plugin_api::frame::{Hello, PROTOCOL};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child as OsChild, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Span;
use tracing::instrument::WithSubscriber as _;

use super::Start;
use super::connection::{Connection, End};
use crate::confidential::untold;
use crate::plugin::backend::unavailable;
use crate::plugin::child_main::{CREATE, LOAD, Loaded};
use crate::plugin::fault::LoadFault;
use crate::plugin::in_process::start_fault;

/// Between the end of the connection and the end of the process.
const TO_DIE: Duration = Duration::from_secs(1);
/// The most of a line on standard error that is logged.
const LINE: u64 = 8 << 10;

/// A process and what watches it.
pub(super) struct Process {
    connection: Arc<Connection>,
    pid: Option<u32>,
    hello: Mutex<Option<oneshot::Receiver<Hello>>>,
    /// How it died, once it has.
    died: watch::Receiver<Option<String>>,
    kill: watch::Sender<bool>,
    watcher: JoinHandle<()>,
}

impl Process {
    pub fn spawn(start: &Start) -> Result<Self, LoadFault> {
        let failed = |error: &dyn Display| LoadFault::ChildFailed {
            why: format!("{} cannot be started: {error}", start.program.path.display()),
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(|e| failed(&e))?;
        ours.set_nonblocking(true).map_err(|e| failed(&e))?;
        let ours = UnixStream::from_std(ours).map_err(|e| failed(&e))?;
        let mut child = Command::new(&start.program.path)
            .args(&start.program.args)
            .arg(start.limits.child_memory.to_string())
            .arg(&start.file)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A Ctrl-C at the terminal is the host's, which then ends its children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(&e))?;
        let pid = child.id();
        let name = start.manifest.name.clone();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log_lines(name.clone(), stderr).with_current_subscriber());
        }
        let (connection, reader, hello) = Connection::new(&name, pid, ours, start.limits.grace);
        let (kill, killed) = watch::channel(false);
        let (dying, died) = watch::channel(None);
        let watching = watch_over(name, child, connection.clone(), reader, killed, dying);
        let watcher = tokio::spawn(watching.with_current_subscriber());
        Ok(Self {
            connection,
            pid,
            hello: Mutex::new(Some(hello)),
            died,
            kill,
            watcher,
        })
    }

    pub fn connection(&self) -> Arc<Connection> {
        self.connection.clone()
    }

    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Has the process load the file and, if asked, make the instance.
    pub async fn load(&self, start: &Start, until: Instant, create: bool) -> Result<(), LoadFault> {
        self.greet(until).await?;
        let expected = serde_json::to_vec(&start.manifest).map_err(|e| protocol(&e))?;
        let reply = self
            .call(LOAD, &expected, start, until)
            .await?
            .map_err(|e| protocol(&e))?;
        let loaded: Loaded = serde_json::from_slice(&reply).map_err(|e| protocol(&e))?;
        if let Some(fault) = loaded.fault {
            return Err(fault);
        }
        if !create {
            return Ok(());
        }
        let config = serde_json::to_vec(&start.config).map_err(|e| protocol(&e))?;
        self.call(CREATE, &config, start, until)
            .await?
            .map(drop)
            .map_err(start_fault)
    }

    async fn greet(&self, until: Instant) -> Result<(), LoadFault> {
        let Some(hello) = self.hello.lock().take() else {
            return Ok(());
        };
        let why = match timeout_at(until, hello).await {
            Ok(Ok(theirs)) if theirs.protocol == PROTOCOL => return Ok(()),
            Ok(Ok(theirs)) => format!("it speaks protocol {}, this host {PROTOCOL}", theirs.protocol),
            Ok(Err(_)) => format!("it {} before it said hello", self.died().await),
            Err(_) => "it did not say hello in time".to_owned(),
        };
        Err(LoadFault::ChildFailed { why })
    }

    /// A call of the start: the error outside is the process's, the one inside the plugin's.
    async fn call(
        &self,
        method: &str,
        payload: &[u8],
        start: &Start,
        until: Instant,
    ) -> Result<Result<Vec<u8>, PluginError>, LoadFault> {
        let call = self
            .connection
            .call(method, payload, Span::current())
            .map_err(|e| protocol(&e))?;
        let Ok(result) = timeout_at(until, call).await else {
            return Err(LoadFault::StartTimedOut {
                seconds: start.limits.start.as_secs(),
            });
        };
        match result {
            Err(error) if error.code == "plugin-unavailable" => Err(LoadFault::KilledItsLoader {
                how: self.how().unwrap_or(error.message),
            }),
            result => Ok(result),
        }
    }

    fn how(&self) -> Option<String> {
        self.died.borrow().clone()
    }

    /// Waits for its death and says how it died.
    pub async fn died(&self) -> String {
        let mut died = self.died.clone();
        let how = died.wait_for(Option::is_some).await;
        how.ok()
            .and_then(|how| how.clone())
            .unwrap_or_else(|| "ended".to_owned())
    }

    /// Asks it to end by itself, and kills it when it does not within the grace period.
    pub async fn end(self, grace: Duration) {
        self.connection.goodbye();
        if timeout(grace, self.died()).await.is_err() {
            self.kill().await;
        } else {
            let _ = self.watcher.await;
        }
    }

    pub async fn kill(self) {
        self.kill.send_replace(true);
        let _ = self.watcher.await;
    }
}

fn protocol(error: &dyn Display) -> LoadFault {
    LoadFault::ChildFailed {
        why: error.to_string(),
    }
}

/// Reads what the process says until it ends, reaps it, and fails the calls that were on their way.
async fn watch_over(
    name: String,
    mut child: OsChild,
    connection: Arc<Connection>,
    reader: impl Future<Output = End> + Send,
    mut killed: watch::Receiver<bool>,
    dying: watch::Sender<Option<String>>,
) {
    let mut why = None;
    tokio::select! {
        end = reader => if let End::Garbled(error) = end {
            why = Some(format!("was killed because it does not keep to the protocol: {error}"));
        },
        () = connection.overdue() => why = Some("was killed because a call went on after it was cancelled".to_owned()),
        _ = killed.wait_for(|killed| *killed) => why = Some("was killed by the host".to_owned()),
    }
    if why.is_some() {
        let _ = child.start_kill();
    }
    let status = if let Ok(status) = timeout(TO_DIE, child.wait()).await {
        status
    } else {
        why.get_or_insert_with(|| "was killed because it closed its connection and went on".to_owned());
        let _ = child.start_kill();
        child.wait().await
    };
    let how = why.unwrap_or_else(|| status.map_or_else(|e| format!("ended ({e})"), ended));
    dying.send_replace(Some(how.clone()));
    connection.end(unavailable(&name, &format!("its process {how}")).retryable());
}

fn ended(status: ExitStatus) -> String {
    let name = |signal| match signal {
        4 => " (illegal instruction)",
        6 => " (abort)",
        7 => " (bus error)",
        9 => " (kill)",
        11 => " (segmentation fault)",
        _ => "",
    };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}{}", name(signal)),
        (None, None) => "ended".to_owned(),
    }
}

/// What a process says on standard error: the last words of a crash, mostly.
async fn log_lines(plugin: String, stderr: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                tracing::warn!(target: "plugin", plugin, "{}", untold(text.trim_end()));
            }
        }
    }
}
