//! Archives that were fetched or brought, each under its own digest.
//!
//! Whatever is read here is checked against the name it has, so a damaged file is as good as none, and the cache's
//! folder may be deleted at any time.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::digest::sha256;
use super::error::ChartError;
use super::mirror;

/// Where they lie in a folder.
pub(super) const CHARTS: &str = "charts";

fn path(cache: &Path, digest: &str) -> PathBuf {
    cache.join(CHARTS).join(format!("{digest}.tgz"))
}

/// The archive with that digest.
pub(super) fn get(cache: &Path, digest: &str) -> Option<(Vec<u8>, PathBuf)> {
    let path = path(cache, digest);
    let bytes = mirror::read(&path).ok()?;
    if sha256(&bytes) != digest {
        tracing::warn!(path = %path.display(), "an archive in the cache is damaged and is fetched again");
        let _ = std::fs::remove_file(&path);
        return None;
    }
    Some((bytes, path))
}

/// Keeps an archive; whoever reads meanwhile sees either all of it or nothing.
pub(super) fn put(cache: &Path, digest: &str, bytes: &[u8]) -> Result<PathBuf, ChartError> {
    let path = path(cache, digest);
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(cache);
        std::fs::create_dir_all(folder)?;
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.write_all(bytes)?;
        draft.as_file().sync_all()?;
        draft.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    match write() {
        Ok(()) => Ok(path),
        Err(source) => Err(ChartError::Files {
            what: "cannot keep the chart in".into(),
            path,
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_by_its_digest() {
        let cache = tempfile::tempdir().unwrap();
        let digest = sha256(b"archive");
        assert!(get(cache.path(), &digest).is_none());
        let path = put(cache.path(), &digest, b"archive").unwrap();
        assert_eq!(get(cache.path(), &digest), Some((b"archive".to_vec(), path)));
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let cache = tempfile::tempdir().unwrap();
        let digest = sha256(b"archive");
        let path = put(cache.path(), &digest, b"archive").unwrap();
        std::fs::write(&path, b"something else").unwrap();
        assert!(get(cache.path(), &digest).is_none());
        assert!(!path.exists());
    }
}
