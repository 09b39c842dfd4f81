//! Runs a program that is to see nothing of this machine but its arguments.
//!
//! Its environment holds a search path, an empty home and proxies that lead nowhere; it has a process group of its
//! own, which is killed whole when the deadline is over or nobody waits any more. What it prints has a limit.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// How much of the standard error is kept, counted from its end: the last lines say why it failed.
const STDERR_LIMIT: usize = 256 << 10;

pub(super) struct Invocation<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: Vec<OsString>,
    /// What it reads from its standard input; secrets go this way, not through arguments or files.
    pub(super) input: Vec<u8>,
    /// An empty folder of its own.
    pub(super) home: &'a Path,
    pub(super) deadline: Duration,
    /// Bytes of standard output.
    pub(super) limit: usize,
}

pub(super) struct Output {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("it cannot be started: {0}")]
    Start(io::Error),
    #[error("it did not finish in time")]
    Deadline,
    #[error("it printed too much")]
    TooMuch,
    #[error("its output cannot be read: {0}")]
    Read(io::Error),
}

pub(super) async fn run(invocation: Invocation<'_>) -> Result<Output, RunError> {
    let home = invocation.home;
    let mut command = Command::new(invocation.program);
    command
        .args(&invocation.arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"))
        .env("HELM_NO_PLUGINS", "1")
        .env("KUBECONFIG", "/dev/null")
        .env("NO_COLOR", "1")
        // Nothing listens on port 1 of this machine; whatever should try the network fails at once.
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .current_dir(home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(RunError::Start)?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    group.limit_memory();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());

    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that ends without reading all of it says why by its status.
            let _ = stdin.write_all(&invocation.input).await;
        }
        Ok(())
    };
    let limit = invocation.limit;
    let read = async {
        // The group is killed before anybody waits for the child, so its number cannot be somebody else's by then.
        let ((), stdout, stderr) =
            tokio::try_join!(feed, whole(stdout, limit), async { Ok(tail(stderr).await) })?;
        let status = child.wait().await.map_err(RunError::Read)?;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    };
    let output = tokio::time::timeout(invocation.deadline, read)
        .await
        .map_err(|_| RunError::Deadline)??;
    group.disarm();
    Ok(output)
}

/// All of a stream, or an error at the limit.
async fn whole(stream: Option<impl AsyncRead + Unpin>, limit: usize) -> Result<Vec<u8>, RunError> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream
            .take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .await
            .map_err(RunError::Read)?;
    }
    if bytes.len() > limit {
        Err(RunError::TooMuch)
    } else {
        Ok(bytes)
    }
}

/// The end of a stream.
async fn tail(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        while let Ok(1..) = stream.read_buf(&mut bytes).await {
            if bytes.len() > 2 * STDERR_LIMIT {
                bytes.drain(..bytes.len() - STDERR_LIMIT);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a program may have of memory: charts can ask for any amount with a few characters.
pub(super) const MEMORY: u64 = 2 << 30;

/// A process group that does not outlive this value.
struct Group(Option<Pid>);

impl Group {
    /// Where the system can do it; a program that is over the limit fails by itself.
    fn limit_memory(&self) {
        #[cfg(target_os = "linux")]
        if let Some(pid) = self.0 {
            use rustix::process::{Resource, Rlimit, prlimit};
            let limit = Rlimit {
                current: Some(MEMORY),
                maximum: Some(MEMORY),
            };
            let _ = prlimit(Some(pid), Resource::Data, limit);
        }
    }

    /// Its leader was waited for: the number may mean another group from now on.
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    async fn sh(
        script: &str,
        deadline: Duration,
        limit: usize,
    ) -> (tempfile::TempDir, Result<Output, RunError>) {
        let home = tempfile::tempdir().unwrap();
        let invocation = Invocation {
            program: Path::new("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
            input: b"values".to_vec(),
            home: home.path(),
            deadline,
            limit,
        };
        let output = run(invocation).await;
        (home, output)
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn the_program_sees_its_input_its_home_and_nothing_of_our_environment() {
        let (home, output) = sh("cat; echo; pwd; env", MINUTE, 100_000).await;
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let home = home.path().canonicalize().unwrap();
        assert!(
            text.starts_with(&format!("values\n{}\n", home.display())),
            "{text}"
        );
        let allowed = [
            "PATH",
            "HOME",
            "TMPDIR",
            "HELM_",
            "KUBECONFIG=/dev/null",
            "NO_COLOR",
            "HTTP",
            "PWD",
            "OLDPWD",
            "SHLVL",
            "_=",
        ];
        for line in text.lines().skip(2) {
            assert!(allowed.iter().any(|name| line.starts_with(name)), "{line}");
        }
    }

    #[tokio::test]
    async fn at_the_deadline_the_whole_group_dies() {
        let start = Instant::now();
        let (home, output) = sh("sleep 600 & echo $! > child; wait", Duration::from_secs(2), 1000).await;
        assert!(matches!(output, Err(RunError::Deadline)));
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_gone(home.path()).await;
    }

    #[tokio::test]
    async fn the_whole_group_dies_when_nobody_waits_any_more() {
        let home = tempfile::tempdir().unwrap();
        let invocation = Invocation {
            program: Path::new("/bin/sh"),
            arguments: vec!["-c".into(), "sleep 600 & echo $! > child; wait".into()],
            input: Vec::new(),
            home: home.path(),
            deadline: MINUTE,
            limit: 1000,
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(2), run(invocation))
                .await
                .is_err()
        );
        assert_gone(home.path()).await;
    }

    /// Waits until the process whose number is in the file `child` is gone or waits to be reaped by init.
    async fn assert_gone(home: &Path) {
        let child = std::fs::read_to_string(home.join("child")).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        for _ in 0..100 {
            match std::fs::read_to_string(&stat) {
                Ok(stat) if !stat.contains(") Z ") => tokio::time::sleep(Duration::from_millis(50)).await,
                _ => return,
            }
        }
        panic!("process {child} lives on");
    }

    #[tokio::test]
    async fn output_without_end_is_stopped_at_the_limit() {
        let (_home, output) = sh(
            "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done",
            MINUTE,
            10_000,
        )
        .await;
        assert!(matches!(output, Err(RunError::TooMuch)));
    }

    #[tokio::test]
    async fn of_a_long_standard_error_the_end_is_kept() {
        let script = "head -c 2000000 /dev/zero | tr '\\0' x >&2; echo END >&2; exit 3";
        let (_home, output) = sh(script, MINUTE, 10_000).await;
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stderr.ends_with("END\n") && output.stderr.len() <= 2 * STDERR_LIMIT);
    }
}
