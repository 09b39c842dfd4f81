//! Who this host is to others that work on the same clusters: a name that stays with the data folder, and which of
//! its processes this is.
//!
//! A process knows the one before it by that name and need not wait until that one's time is over, for a crash must
//! not cost more than a restart. So it must be sure that the other is gone: the name is bound to the very file that
//! it is in, so that a copy of the folder is another host; the file is locked for as long as the process lives; and
//! the machine must not have been started since, for a copy of a whole machine has the same file.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use ulid::Ulid;

/// The file in the data folder.
const FILE: &str = "host.id";
/// Of the machine's name, so much.
const NAME: usize = 40;

/// Who this host is, and which of its processes.
pub(crate) struct HostIdentity {
    holder: String,
    /// What processes of this host have in common until the machine is started again.
    own: Option<String>,
    /// Locked until this is dropped.
    _file: Option<File>,
}

impl HostIdentity {
    /// The identity that goes with a data folder. Where there can be none, it is one that no other process knows.
    pub fn open(data: &Path) -> Self {
        let boot = boot();
        let (host, file) = match stable(&data.join(FILE)) {
            Ok((host, file)) => (host, Some(file)),
            Err(error) => {
                tracing::warn!(%error, folder = %data.display(), "the host's name cannot be kept; it has a new one until it ends");
                (new_name(), None)
            }
        };
        let own = file
            .as_ref()
            .filter(|_| !boot.is_empty())
            .map(|_| format!("{host}/{boot}."));
        Self {
            holder: format!("{host}/{boot}.{}.{:08x}", std::process::id(), random()),
            own,
            _file: file,
        }
    }

    /// As it is written into Leases and records: `laptop-3f9a2c1d/5e6f7a8b.4711.9c2e11d0`.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Whether a holder was a process of this host, which is gone then.
    pub fn succeeds(&self, holder: &str) -> bool {
        let own = self.own.as_deref();
        holder != self.holder && own.is_some_and(|own| holder.starts_with(own))
    }
}

impl fmt::Debug for HostIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.holder)
    }
}

/// Reads the name, or makes one, and keeps the file locked.
fn stable(path: &Path) -> io::Result<(String, File)> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.try_lock()?;
    let metadata = file.metadata()?;
    let place = format!("{}:{}", metadata.dev(), metadata.ino());
    let mut text = String::new();
    // What is no text was not written by us.
    let _ = file.read_to_string(&mut text);
    if let Some((name, there)) = text.trim().split_once(' ')
        && there == place
        && is_name(name)
    {
        return Ok((name.to_owned(), file));
    }
    let name = new_name();
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{name} {place}")?;
    file.sync_all()?;
    Ok((name, file))
}

fn is_name(name: &str) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    !name.is_empty() && name.len() <= NAME + 9 && name.chars().all(fit)
}

/// The machine's name, for people, and something that makes it the only one.
fn new_name() -> String {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let machine: String = machine
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        .take(NAME)
        .collect();
    format!("{}-{:08x}", machine.trim_matches(['-', '.']), random())
}

fn random() -> u32 {
    u32::try_from(Ulid::generate().random() & u128::from(u32::MAX)).unwrap_or_default()
}

/// Another one after each start of the machine; empty where the system does not say.
fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_the_one_before_it_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let first = HostIdentity::open(folder.path());
        let before = first.holder().to_owned();
        assert!(!first.succeeds(&before), "that is itself");
        drop(first);
        let second = HostIdentity::open(folder.path());
        assert_ne!(second.holder(), before);
        assert!(second.succeeds(&before), "{before} {second:?}");
        assert!(!second.succeeds("laptop-3f9a2c1d/5e6f7a8b.4711.9c2e11d0"));
        assert!(!second.succeeds(""));
    }

    #[test]
    fn a_process_that_still_runs_is_not_taken_for_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = HostIdentity::open(folder.path());
        let second = HostIdentity::open(folder.path());
        assert!(!second.succeeds(first.holder()));
        assert!(!first.succeeds(second.holder()));
    }

    #[test]
    fn a_copy_of_the_folder_is_another_host() {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = HostIdentity::open(folder.path());
        std::fs::copy(folder.path().join(FILE), copy.path().join(FILE)).unwrap();
        let other = HostIdentity::open(copy.path());
        assert!(!other.succeeds(first.holder()), "{first:?} {other:?}");
    }

    #[test]
    fn what_somebody_wrote_into_the_file_is_no_name() {
        for nonsense in [&b""[..], b"x", b"a/b 1:2", b"\xff\xfe \n", b"  "] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(FILE), nonsense).unwrap();
            let name = HostIdentity::open(folder.path()).holder().to_owned();
            assert_eq!(name.matches('/').count(), 1, "{name}");
        }
    }
}
