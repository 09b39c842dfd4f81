//! Copies of plugins' files, named by what is in them.
//!
//! A library that is loaded must never change under its mapping, and a path that is loaded already gives the old code
//! again. A copy under its hash settles both, and the race between checking a file and loading it. Beside a copy lies
//! a mark once a process has survived loading it.

use std::collections::HashSet;
use std::fs::{DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::fault::LoadFault;

pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in the folder for caches; it is made when the first copy is.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.join("plugins"),
        }
    }

    /// A file with these bytes.
    pub fn copy(&self, sha256: &str, bytes: &[u8]) -> Result<PathBuf, LoadFault> {
        let path = self.file(sha256, "so");
        let make = || -> io::Result<()> {
            if std::fs::read(&path).is_ok_and(|there| there == bytes) {
                return Ok(());
            }
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.folder)?;
            let mut copy = tempfile::Builder::new()
                .prefix("new-")
                .tempfile_in(&self.folder)?;
            copy.write_all(bytes)?;
            copy.as_file().set_permissions(Permissions::from_mode(0o400))?;
            copy.persist(&path)?;
            Ok(())
        };
        make().map(|()| path.clone()).map_err(|error| LoadFault::Cache {
            why: format!("{}: {error}", path.display()),
        })
    }

    /// Whether a process has survived loading it.
    pub fn is_proven(&self, sha256: &str) -> bool {
        self.file(sha256, "loaded").exists()
    }

    pub fn set_proven(&self, sha256: &str) {
        // Without the mark it is proven again next time.
        let _ = std::fs::write(self.file(sha256, "loaded"), "");
    }

    /// Removes what is not in use: each build of a plugin leaves a copy.
    pub fn sweep(&self, in_use: &HashSet<String>) {
        let Ok(entries) = self.folder.read_dir() else {
            return;
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let in_use = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .is_some_and(|stem| in_use.contains(stem));
            if !in_use {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn file(&self, sha256: &str, extension: &str) -> PathBuf {
        self.folder.join(sha256).with_extension(extension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_was_changed_is_made_again_and_what_is_not_used_goes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let a = cache.copy("aa", b"one").unwrap();
        let b = cache.copy("bb", b"two").unwrap();
        cache.set_proven("aa");
        cache.set_proven("bb");
        std::fs::remove_file(&a).unwrap();
        std::fs::write(&a, "other").unwrap();
        assert_eq!(std::fs::read(cache.copy("aa", b"one").unwrap()).unwrap(), b"one");

        cache.sweep(&HashSet::from(["aa".to_owned()]));
        assert!(a.exists() && cache.is_proven("aa"));
        assert!(!b.exists() && !cache.is_proven("bb"));
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let fault = Cache::new(&file).copy("aa", b"one").unwrap_err();
        assert!(fault.to_string().contains("aa.so"), "{fault}");
    }
}
