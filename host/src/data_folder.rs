//! The data folder: made on first use, for its owner's eyes only, and used by one host at a time.
//!
//! `cache/` may be deleted at any time; `provider/` is the provider's; `token`, `host.key` and `meshery.toml` are
//! the host's. A lock on `lock`, which the system lifts when the process ends however it ends, keeps others out.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A data folder that belongs to this process as long as this value lives.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    lock: File,
}

/// A data folder that cannot be used.
#[derive(Debug, Error)]
pub enum DataFolderError {
    #[error("the data folder {} is used by another host{owner}", path.display())]
    InUse { path: PathBuf, owner: Owner },
    #[error("{} cannot be used: {source}", path.display())]
    Unusable { path: PathBuf, source: io::Error },
}

impl DataFolderError {
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::InUse { .. } => {
                "use that host, or stop it, or give this one another folder with --data DIR"
            }
            Self::Unusable { .. } => {
                "make it a folder that you can write to, or name another with --data DIR"
            }
        }
    }
}

/// Who holds the lock, as far as the file says.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Owner {
    pub pid: Option<u32>,
    pub address: Option<String>,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(pid) = self.pid {
            write!(f, ", process {pid}")?;
        }
        if let Some(address) = &self.address {
            write!(f, ", at {address}")?;
        }
        Ok(())
    }
}

impl DataFolder {
    /// Makes what is missing, closes it to others, and locks it.
    pub fn open(path: &Path) -> Result<Self, DataFolderError> {
        make_private(path)?;
        for inner in ["cache", "provider"] {
            make_private(&path.join(inner))?;
        }
        let lock_path = path.join("lock");
        let unusable = |source| DataFolderError::Unusable {
            path: lock_path.clone(),
            source,
        };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = lock.read_to_string(&mut text);
                return Err(DataFolderError::InUse {
                    path: path.to_owned(),
                    owner: serde_json::from_str(&text).unwrap_or_default(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let mut folder = Self {
            path: path.to_owned(),
            lock,
        };
        folder.write_owner(None).map_err(unusable)?;
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says to a second host where this one can be reached.
    pub fn say_address(&mut self, address: &str) -> io::Result<()> {
        self.write_owner(Some(address.to_owned()))
    }

    fn write_owner(&mut self, address: Option<String>) -> io::Result<()> {
        let owner = Owner {
            pid: Some(std::process::id()),
            address,
        };
        self.lock.set_len(0)?;
        self.lock.rewind()?;
        self.lock.write_all(&serde_json::to_vec(&owner)?)
    }
}

fn make_private(path: &Path) -> Result<(), DataFolderError> {
    let make = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mode = fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(0o700))?;
        }
        Ok(())
    };
    make().map_err(|source| DataFolderError::Unusable {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_host_is_refused_and_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = DataFolder::open(folder.path()).unwrap();
        first.say_address("http://127.0.0.1:9081").unwrap();
        let refusal = DataFolder::open(folder.path()).unwrap_err().to_string();
        assert!(
            refusal.contains(&format!("process {}", std::process::id())),
            "{refusal}"
        );
        assert!(refusal.contains("http://127.0.0.1:9081"), "{refusal}");
        drop(first);
        DataFolder::open(folder.path()).unwrap();
    }

    #[test]
    fn folder_is_closed_to_others() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let _folder = DataFolder::open(&path).unwrap();
        for inner in ["", "cache", "provider"] {
            let mode = fs::metadata(path.join(inner)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{inner}");
        }
    }

    #[test]
    fn a_file_in_its_place_is_a_clear_error() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        fs::write(&path, "").unwrap();
        let error = DataFolder::open(&path).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
