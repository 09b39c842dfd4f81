//! A file system of a host's own: a small disk, another file in the place of one of the machine's.
//!
//! Mounting needs a mount namespace, so the host is started under `unshare`: as root, or with a user namespace. The
//! tests look into it through `/proc`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, ensure};

/// What is mounted before the host begins.
#[derive(Debug, Clone)]
pub(super) enum Mount {
    /// An empty file system in memory, of so many mebibytes, over a folder.
    Disk { mebibytes: u32, folder: PathBuf },
    /// A file in the place of another.
    File { file: PathBuf, over: PathBuf },
}

impl Mount {
    fn command(&self) -> String {
        let quoted = |path: &Path| format!("'{}'", path.display());
        match self {
            Self::Disk { mebibytes, folder } => {
                let folder = quoted(folder);
                format!("mkdir -p {folder} && mount -t tmpfs -o size={mebibytes}m,mode=0700 tmpfs {folder}")
            }
            Self::File { file, over } => format!("mount --bind {} {}", quoted(file), quoted(over)),
        }
    }
}

/// A command that makes the mounts and then becomes the program, with the process id it has from the start.
pub(super) fn command(mounts: &[Mount], program: &Path) -> anyhow::Result<Command> {
    if mounts.is_empty() {
        return Ok(Command::new(program));
    }
    let mut lines: Vec<String> = mounts.iter().map(Mount::command).collect();
    lines.push("exec \"$0\" \"$@\"".to_owned());
    let mut command = Command::new("unshare");
    command
        .args(namespaces()?)
        .args(["sh", "-c", &lines.join(" && ")])
        .arg(program);
    Ok(command)
}

/// A path as the process sees it.
pub(super) fn seen_by(pid: u32, path: &Path) -> PathBuf {
    let inside = path.strip_prefix("/").unwrap_or(path);
    Path::new("/proc").join(pid.to_string()).join("root").join(inside)
}

/// The arguments of `unshare` that this machine allows.
fn namespaces() -> anyhow::Result<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    static WAY: OnceLock<Option<&'static [&'static str]>> = OnceLock::new();
    let try_it = |way: &&&[&str]| {
        let status = Command::new("unshare")
            .args(**way)
            .args(["sh", "-c", "mount -t tmpfs tmpfs /mnt"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    let way = WAY.get_or_init(|| WAYS.iter().find(try_it).copied());
    way.context("this test mounts a small file system: run it as root, or allow user namespaces (and install util-linux)")
}

/// Takes all the room that is left on a disk; given back when it is dropped.
#[derive(Debug)]
pub struct Filler(PathBuf);

impl Filler {
    pub fn fill(folder: &Path) -> anyhow::Result<Self> {
        let filler = Self(folder.join("filler"));
        filler.again()?;
        Ok(filler)
    }

    /// Takes what has become free since.
    pub fn again(&self) -> anyhow::Result<()> {
        use std::io::Write as _;
        let mut file = std::fs::File::options().append(true).create(true).open(&self.0)?;
        let before = file.metadata()?.len();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {
                ensure!(file.metadata()?.len() - before < 1 << 30, "this is no small disk");
            }
        }
        Ok(())
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
