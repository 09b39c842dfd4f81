//! A real Kubernetes control plane: etcd, API server, controller manager and scheduler, with nodes and pods
//! that only report a status (KWOK).
//!
//! Real are admission, server-side apply and its conflicts, watches, RBAC, finalizers, garbage collection,
//! CRDs, webhooks as far as something listens, Deployments, Jobs, and Helm releases. Not real is whatever a
//! container would do: none runs. A test that needs a mesh's own process to act plays that part itself.
//!
//! The levers that keep pods from becoming ready are described in `cluster/stages.yaml`: annotations or labels
//! such as `test.meshery.io/ready: never`. Services have addresses in 127.96.0.0/16, so a test may listen on
//! one of them and be the webhook behind it.

mod programs;
mod supervisor;

pub use programs::Programs;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tempfile::TempDir;

use supervisor::{Facts, Order, Supervisor};

/// The processes of a control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
    Kwok,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Etcd => "etcd",
            Part::ApiServer => "apiserver",
            Part::ControllerManager => "controller-manager",
            Part::Scheduler => "scheduler",
            Part::Kwok => "kwok",
        }
    }
}

/// A running control plane. There is one at a time for each user of the machine; dropping it stops it, and so
/// does the death of this process, however it comes.
pub struct Cluster {
    programs: Programs,
    facts: Facts,
    // Before the folder, so that the processes are gone when it is removed.
    supervisor: Supervisor,
    dir: TempDir,
}

impl Cluster {
    /// Builds the programs if this is the first time (minutes), waits until no other control plane runs, and
    /// returns when pods can be scheduled (seconds).
    pub fn start() -> anyhow::Result<Self> {
        let programs = Programs::get()?;
        let lock = programs.lock.clone();
        Self::start_with(programs, &lock)
    }

    /// The same beside one that runs, for what is about two clusters; waits until no other second one runs.
    pub fn start_second() -> anyhow::Result<Self> {
        let programs = Programs::get()?;
        let lock = programs.lock.with_extension("second.lock");
        Self::start_with(programs, &lock)
    }

    fn start_with(programs: Programs, lock: &Path) -> anyhow::Result<Self> {
        let mut dir = tempfile::Builder::new()
            .prefix("meshery-cluster-")
            .tempdir()
            .context("making a folder for the control plane")?;
        // Logs of every part stay there for whoever wants to know why a test failed.
        let keep = std::env::var_os("MESHERY_TEST_KEEP").is_some();
        dir.disable_cleanup(keep);
        let (supervisor, facts) = Supervisor::start(&programs, lock, dir.path(), keep)?;
        Ok(Self {
            programs,
            facts,
            supervisor,
            dir,
        })
    }

    /// The administrator's kubeconfig. It has no paths in it, so it may be sent to others as it is.
    pub fn kubeconfig(&self) -> &Path {
        &self.facts.kubeconfig
    }

    /// The kubeconfig of a user who can log in and may do nothing.
    pub fn limited_kubeconfig(&self) -> &Path {
        &self.facts.limited_kubeconfig
    }

    /// The API server's URL, `https://127.0.0.1:PORT`; it stays the same when the API server is restarted.
    pub fn server(&self) -> &str {
        &self.facts.server
    }

    /// The administrator's bearer token.
    pub fn token(&self) -> &str {
        &self.facts.token
    }

    /// The certificate authority that signed the API server's certificate, PEM.
    pub fn ca_file(&self) -> &Path {
        &self.facts.ca_file
    }

    /// State and logs (`apiserver.log` and so on); kept after the end if `MESHERY_TEST_KEEP` is set.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The program that all parts are made of.
    pub fn binary(&self) -> &Path {
        &self.programs.cluster
    }

    /// A program of the name `helm`.
    pub fn helm(&self) -> PathBuf {
        self.programs.helm.clone()
    }

    /// Runs kubectl as administrator and hands back whatever it said.
    pub fn kubectl(&self, args: &[&str]) -> Output {
        self.run(&self.programs.kubectl, args)
    }

    /// Runs helm as administrator, with its caches in this control plane's folder.
    pub fn run_helm(&self, args: &[&str]) -> Output {
        self.run(&self.programs.helm, args)
    }

    /// Runs helm 3 as administrator; builds it if this is the first time (minutes).
    pub fn run_helm3(&self, args: &[&str]) -> anyhow::Result<Output> {
        Ok(self.run(&self.helm3()?, args))
    }

    /// The helm 3 program.
    pub fn helm3(&self) -> anyhow::Result<PathBuf> {
        programs::helm3()
    }

    fn run(&self, program: &Path, args: &[&str]) -> Output {
        self.command(program)
            .args(args)
            .output()
            .unwrap_or_else(|e| panic!("{} could not be run: {e}", program.display()))
    }

    /// A program that finds the cluster, with its caches in this control plane's folder.
    pub fn command(&self, program: &Path) -> Command {
        let home = self.dir().join("home");
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", &home)
            .env("HELM_CACHE_HOME", home.join("helm/cache"))
            .env("HELM_CONFIG_HOME", home.join("helm/config"))
            .env("HELM_DATA_HOME", home.join("helm/data"));
        command
    }

    /// An administrator's client. It belongs to the async runtime it is first used in.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// Ends a part in an orderly way (SIGTERM) and waits for its exit.
    pub fn stop_part(&self, part: Part) -> anyhow::Result<()> {
        self.order(&Order {
            r#do: "stop",
            part: part.name(),
            signal: "TERM",
        })
    }

    /// Ends a part as a crash would (SIGKILL).
    pub fn kill_part(&self, part: Part) -> anyhow::Result<()> {
        self.order(&Order {
            r#do: "stop",
            part: part.name(),
            signal: "KILL",
        })
    }

    /// Starts a stopped part on its old port and returns when the API server is ready.
    pub fn start_part(&self, part: Part) -> anyhow::Result<()> {
        self.order(&Order {
            r#do: "start",
            part: part.name(),
            signal: "",
        })
    }

    /// Makes a part hang: its connections stay open and nothing answers (SIGSTOP).
    pub fn freeze_part(&self, part: Part) -> anyhow::Result<()> {
        self.order(&Order {
            r#do: "signal",
            part: part.name(),
            signal: "STOP",
        })
    }

    /// Lets a frozen part go on.
    pub fn thaw_part(&self, part: Part) -> anyhow::Result<()> {
        self.order(&Order {
            r#do: "signal",
            part: part.name(),
            signal: "CONT",
        })
    }

    /// Fails if a part has died by itself or the API server cannot read from etcd.
    pub fn ready(&self) -> anyhow::Result<()> {
        self.order(&Order {
            r#do: "ready",
            part: "",
            signal: "",
        })
    }

    /// The process id of a part; `None` while it is stopped.
    pub fn pid(&self, part: Part) -> Option<u32> {
        self.supervisor.pid(part.name())
    }

    fn order(&self, order: &Order<'_>) -> anyhow::Result<()> {
        // The supervisor gives up by itself well before this; the limit is for a supervisor that hangs.
        self.supervisor.order(order, Duration::from_secs(400))
    }
}
