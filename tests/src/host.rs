//! A running host: the real binary with the real plugins, a data folder of its own, and a client that asks it.
//!
//! ```no_run
//! use meshery_tests::host::Host;
//!
//! let mut host = Host::builder().start()?;
//! let version = host.get("/api/v1/version")?.expect(200)?;
//! host.kill()?;
//! host.restart()?;
//! # anyhow::Ok(())
//! ```

mod client;
mod events;
mod world;

pub use client::{Answer, Client};
pub use events::{Events, Frame};
pub use world::Filler;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::artifacts;
use world::Mount;

/// A debug build on a busy machine, with plugins that are looked at for the first time.
const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_mins(1);

/// What a host is started with. The environment is empty but for what is said here.
#[derive(Debug, Clone)]
#[must_use]
pub struct HostBuilder {
    plugins: Vec<PathBuf>,
    own_plugins: Vec<String>,
    kubeconfig: Option<PathBuf>,
    settings: String,
    listen: String,
    environment: BTreeMap<String, OsString>,
    arguments: Vec<OsString>,
    data: Option<PathBuf>,
    log: Option<Arc<OwnedFd>>,
    provider_disk: Option<u32>,
    mounts: Vec<Mount>,
}

impl HostBuilder {
    /// Which of the workspace's plugins lie beside the binary, by crate with underscores. All real ones by default.
    pub fn own_plugins(mut self, crates: &[&str]) -> Self {
        self.own_plugins = crates.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// A further folder of plugins (`--plugins`).
    pub fn plugins(mut self, folder: impl Into<PathBuf>) -> Self {
        self.plugins.push(folder.into());
        self
    }

    /// The host owner's kubeconfig. There is none by default.
    pub fn kubeconfig(mut self, file: impl Into<PathBuf>) -> Self {
        self.kubeconfig = Some(file.into());
        self
    }

    /// A folder of charts.
    pub fn mirror(self, folder: impl Into<PathBuf>) -> Self {
        let folder: PathBuf = folder.into();
        self.env("MESHERY_MIRROR", folder)
    }

    /// The helm program.
    pub fn helm(self, program: impl Into<PathBuf>) -> Self {
        let program: PathBuf = program.into();
        self.env("MESHERY_HELM", program)
    }

    /// A variable of the environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Further tables of `meshery.toml`.
    pub fn settings(mut self, toml: &str) -> Self {
        self.settings.push_str(toml);
        self
    }

    /// A further argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The address to serve on; any free port of the loopback by default.
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// A data folder that stays when the host is dropped.
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data = Some(folder.into());
        self
    }

    /// Gives the provider a disk of its own, of so many mebibytes. It is empty at each start.
    pub fn provider_disk(mut self, mebibytes: u32) -> Self {
        self.provider_disk = Some(mebibytes);
        self
    }

    /// Shows the host another file in the place of one of the machine's.
    pub fn file_over(mut self, file: impl Into<PathBuf>, over: impl Into<PathBuf>) -> Self {
        self.mounts.push(Mount::File {
            file: file.into(),
            over: over.into(),
        });
        self
    }

    /// Where the log goes instead of into a file.
    pub fn log_to(mut self, log: impl Into<OwnedFd>) -> Self {
        self.log = Some(Arc::new(log.into()));
        self
    }

    /// Builds what is needed, starts the host and waits until it answers.
    pub fn start(self) -> anyhow::Result<Host> {
        let mut host = self.prepare()?;
        host.restart()?;
        Ok(host)
    }

    /// Starts the host expecting it to end by itself; its exit status and what it said on standard error.
    pub fn refused(self) -> anyhow::Result<(ExitStatus, String)> {
        let mut host = self.prepare()?;
        let mut child = host.command()?.spawn()?;
        let status = wait(&mut child, START);
        if status.is_err() {
            child.kill()?;
            child.wait()?;
        }
        host.child = None;
        Ok((status?, host.log()))
    }

    fn prepare(self) -> anyhow::Result<Host> {
        let artifacts = artifacts::build()?;
        let program = artifacts.program("meshery")?;
        let beside = program.parent().context("the program is in a folder")?;
        let mut folder = tempfile::Builder::new()
            .prefix("meshery-host-")
            // Beside the program, so that hard links work.
            .tempdir_in(beside)?;
        folder.disable_cleanup(std::env::var_os("MESHERY_TEST_KEEP").is_some());
        let bin = folder.path().join("bin");
        for inner in [&bin, &folder.path().join("home")] {
            fs::create_dir(inner)?;
        }
        let link = |file: &Path| -> anyhow::Result<()> {
            let name = file.file_name().context("a file has a name")?;
            fs::hard_link(file, bin.join(name)).with_context(|| format!("linking {}", file.display()))
        };
        link(program)?;
        for name in &self.own_plugins {
            link(artifacts.library(name)?)?;
        }
        let data = self.data.clone().unwrap_or_else(|| folder.path().join("data"));
        Ok(Host {
            builder: self,
            data,
            folder,
            child: None,
            client: None,
            started_in: Duration::ZERO,
        })
    }
}

/// A host. Dropping it ends its process.
pub struct Host {
    builder: HostBuilder,
    data: PathBuf,
    child: Option<Child>,
    client: Option<Client>,
    started_in: Duration,
    // Last, so that the process is gone when it is removed.
    folder: TempDir,
}

impl Host {
    /// A host with all of the workspace's real plugins, without a kubeconfig.
    pub fn builder() -> HostBuilder {
        HostBuilder {
            plugins: Vec::new(),
            own_plugins: ["meshery_istio", "meshery_linkerd", "meshery_local_provider"]
                .map(str::to_owned)
                .to_vec(),
            kubeconfig: None,
            settings: String::new(),
            listen: "127.0.0.1:0".to_owned(),
            environment: BTreeMap::new(),
            arguments: Vec::new(),
            data: None,
            log: None,
            provider_disk: None,
            mounts: Vec::new(),
        }
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The provider's part of the data folder, as the host sees it.
    pub fn provider_folder(&self) -> anyhow::Result<PathBuf> {
        Ok(world::seen_by(self.pid()?, &self.data.join("provider")))
    }

    /// The folder with the binary and the plugins beside it.
    pub fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// The token's file.
    pub fn token_file(&self) -> PathBuf {
        self.data.join("token")
    }

    /// Who asks this host. It stays of use until the host is restarted.
    pub fn client(&self) -> anyhow::Result<&Client> {
        self.client.as_ref().context("the host does not run")
    }

    /// The address, `http://127.0.0.1:PORT`; another one after each start.
    pub fn url(&self) -> anyhow::Result<&str> {
        Ok(self.client()?.url())
    }

    /// From the start of the process until it answered.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The process.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.child.as_ref().context("the host does not run")?.id())
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        Ok(kilobytes.context("no VmRSS")?.parse::<u64>()? * 1024)
    }

    /// What it said on standard output, all starts.
    pub fn report(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    /// What it logged, all starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.client()?.send("GET", path, &[], None)
    }

    pub fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.client()?.send("DELETE", path, &[], None)
    }

    /// Sends JSON.
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.client()?.send("POST", path, &[], Some(body))
    }

    /// Sends JSON.
    pub fn put(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.client()?.send("PUT", path, &[], Some(body))
    }

    /// Ends the process as a crash would, and waits for it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the host does not run")?;
        self.client = None;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Asks the process to end, and waits for it.
    pub fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_ended()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()?)?).context("a pid is not 0")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until the process has ended by itself.
    pub fn wait_ended(&mut self) -> anyhow::Result<ExitStatus> {
        let child = self.child.as_mut().context("the host does not run")?;
        let status = wait(child, STOP).with_context(|| format!("the log:\n{}", self.log()))?;
        self.child = None;
        self.client = None;
        Ok(status)
    }

    /// Starts a process on the same data folder, when the one before has ended.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.is_none(), "the host runs");
        let began = Instant::now();
        let mut command = self.command()?;
        let child = self.child.insert(command.spawn().context("the host's binary")?);
        let pid = child.id();
        loop {
            if let Some(client) = self.answering(pid) {
                self.started_in = began.elapsed();
                self.client = Some(client);
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                self.child = None;
                bail!("the host ended at once, {status}: {}", self.log());
            }
            ensure!(
                began.elapsed() < START,
                "the host does not answer: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The lock says where this very process serves.
    fn answering(&self, pid: u32) -> Option<Client> {
        let lock = fs::read(self.data.join("lock")).ok()?;
        let lock: Value = serde_json::from_slice(&lock).ok()?;
        if lock["pid"] != pid {
            return None;
        }
        let url = lock["address"].as_str()?;
        let token = fs::read_to_string(self.token_file()).ok()?;
        let client = Client::new(url, token.trim());
        (client.send("GET", "/healthz", &[], None).ok()?.status == 200).then_some(client)
    }

    fn command(&self) -> anyhow::Result<Command> {
        let folder = self.folder.path();
        let append = |name: &str| -> anyhow::Result<File> {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(folder.join(name))?;
            Ok(file)
        };
        let builder = &self.builder;
        let config = folder.join("settings.toml");
        fs::write(&config, &builder.settings)?;
        let mut mounts = builder.mounts.clone();
        mounts.extend(builder.provider_disk.map(|mebibytes| Mount::Disk {
            mebibytes,
            folder: self.data.join("provider"),
        }));
        let mut command = world::command(&mounts, &self.bin().join("meshery"))?;
        command
            .args(["--listen", &builder.listen])
            .arg("--data")
            .arg(&self.data)
            .arg("--config")
            .arg(config);
        for folder in &builder.plugins {
            command.arg("--plugins").arg(folder);
        }
        command
            .args(&builder.arguments)
            .env_clear()
            .env("HOME", folder.join("home"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RUST_BACKTRACE", "1");
        if let Some(kubeconfig) = &builder.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        command
            .envs(&builder.environment)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(append("out")?)
            .stderr(match &builder.log {
                Some(log) => File::from(log.try_clone()?),
                None => append("log")?,
            });
        Ok(command)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the host's log:\n{}", self.log());
        }
    }
}

fn wait(child: &mut Child, limit: Duration) -> anyhow::Result<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        ensure!(
            Instant::now() < end,
            "process {} has not ended within {limit:?}",
            child.id()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
