//! The conversation with `cluster run`: one JSON object a line in each direction.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::Programs;

/// What the supervisor tells once everything is up.
#[derive(Debug, Deserialize)]
pub(super) struct Facts {
    pub kubeconfig: PathBuf,
    pub limited_kubeconfig: PathBuf,
    pub server: String,
    pub ca_file: PathBuf,
    pub token: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Order<'a> {
    pub r#do: &'a str,
    pub part: &'a str,
    pub signal: &'a str,
}

#[derive(Debug, Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    pids: HashMap<String, u32>,
}

pub(super) struct Supervisor {
    process: Child,
    line: Mutex<Line>,
}

struct Line {
    // Its end is what stops the supervisor.
    orders: Option<ChildStdin>,
    replies: Receiver<String>,
    pids: HashMap<String, u32>,
}

impl Supervisor {
    pub fn start(programs: &Programs, lock: &Path, dir: &Path, keep: bool) -> anyhow::Result<(Self, Facts)> {
        let mut command = Command::new(&programs.cluster);
        command.arg("run").arg("--dir").arg(dir).arg("--lock").arg(lock);
        if !keep {
            command.arg("--remove");
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", programs.cluster.display()))?;
        let orders = process.stdin.take();
        let output = process.stdout.take().expect("stdout was asked to be a pipe");
        let (sender, replies) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let line = Line {
            orders,
            replies,
            pids: HashMap::new(),
        };
        let this = Self {
            process,
            line: Mutex::new(line),
        };
        // No deadline: another control plane may run for long, and the supervisor has deadlines of its own.
        let text = {
            let mut line = this.line();
            let text = line
                .replies
                .recv()
                .context("the supervisor of the control plane ended before it was up")?;
            line.take_in(&text)?;
            text
        };
        let facts =
            serde_json::from_str(&text).with_context(|| format!("the supervisor's first line: {text}"))?;
        Ok((this, facts))
    }

    pub fn order(&self, order: &Order<'_>, timeout: Duration) -> anyhow::Result<()> {
        let mut line = self.line();
        let mut text = serde_json::to_string(order)?;
        text.push('\n');
        let orders = line.orders.as_mut().expect("orders are only closed by drop");
        orders
            .write_all(text.as_bytes())
            .context("the supervisor of the control plane is gone")?;
        let reply = line
            .replies
            .recv_timeout(timeout)
            .map_err(|e| anyhow!("no answer from the supervisor of the control plane to {order:?}: {e}"))?;
        line.take_in(&reply).with_context(|| format!("{order:?}"))
    }

    pub fn pid(&self, part: &str) -> Option<u32> {
        self.line().pids.get(part).copied().filter(|pid| *pid != 0)
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Line> {
        // A test that panicked in between has left no half-written line: both directions are whole lines.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn take_in(&mut self, text: &str) -> anyhow::Result<()> {
        let reply: Reply =
            serde_json::from_str(text).with_context(|| format!("not an answer of the supervisor: {text}"))?;
        if !reply.pids.is_empty() {
            self.pids = reply.pids;
        }
        if !reply.ok {
            bail!("{}", reply.error);
        }
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.line.get_mut().unwrap_or_else(PoisonError::into_inner).orders = None;
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // The kernel then takes the parts with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
