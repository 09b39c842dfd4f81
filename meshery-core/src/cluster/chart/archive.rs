//! Reads a chart's archive (a gzipped tar) without trusting it.
//!
//! Nothing is ever unpacked onto the disk: files are handed over one by one, in memory. What no tool that packages
//! charts writes is refused rather than skipped, so that what we see is what helm sees: a path that leaves the
//! folder, a link, a device, a name twice. Several gzip members behind each other are one stream, as for helm.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Read};
use std::ops::ControlFlow;

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::error::ChartError;

/// How much of an archive is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of the archive itself.
    pub(crate) packed: u64,
    /// Bytes of the tar stream inside it.
    pub(super) unpacked: u64,
    /// Bytes of one file; helm has the same limit.
    pub(super) file: u64,
    /// Number of entries.
    pub(super) entries: usize,
}

/// What any chart keeps within.
pub(crate) const LIMITS: Limits = Limits {
    packed: 20 << 20,
    unpacked: 100 << 20,
    file: 5 << 20,
    entries: 10_000,
};

/// Hands over each file of the archive in `bytes` with its path, until the visitor breaks off. `place` says in
/// errors which archive it is. Only an archive read to its end is known to be safe.
pub(super) fn walk(
    bytes: &[u8],
    place: &str,
    limits: Limits,
    mut visit: impl FnMut(&str, &mut dyn Read) -> io::Result<ControlFlow<()>>,
) -> Result<(), ChartError> {
    if bytes.len() as u64 > limits.packed {
        return Err(ChartError::TooLarge {
            what: place.into(),
            limit: limits.packed,
        });
    }
    let exceeded = Cell::new(false);
    let unpacked = Bounded {
        inner: MultiGzDecoder::new(bytes),
        left: limits.unpacked,
        exceeded: &exceeded,
    };
    let mut archive = tar::Archive::new(unpacked);
    let fault = |error: io::Error| {
        if exceeded.get() {
            let limit = limits.unpacked;
            return ChartError::TooLarge {
                what: format!("what {place} unpacks to"),
                limit,
            };
        }
        ChartError::NotAnArchive {
            place: place.into(),
            reason: innermost(&error),
        }
    };
    let mut seen = HashSet::new();
    for (index, entry) in archive.entries().map_err(fault)?.enumerate() {
        let mut entry = entry.map_err(fault)?;
        if index >= limits.entries {
            let what = format!("the number of entries in {place}");
            return Err(ChartError::TooMany {
                what,
                limit: limits.entries,
            });
        }
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        let raw = entry.path_bytes().into_owned();
        let unsafe_entry = |reason: &str| ChartError::Unsafe {
            place: place.into(),
            entry: shown(&raw),
            reason: reason.into(),
        };
        let path = safe_path(&raw).map_err(unsafe_entry)?;
        match kind {
            EntryType::Regular => {}
            EntryType::Directory => continue,
            EntryType::Symlink | EntryType::Link => return Err(unsafe_entry("is a link")),
            EntryType::Char | EntryType::Block | EntryType::Fifo => return Err(unsafe_entry("is a device")),
            _ => return Err(unsafe_entry("is neither a file nor a folder")),
        }
        if entry.size() > limits.file {
            let what = format!("the file {path} in {place}");
            return Err(ChartError::TooLarge {
                what,
                limit: limits.file,
            });
        }
        if !seen.insert(path.to_owned()) {
            return Err(unsafe_entry("is there twice"));
        }
        if visit(path, &mut entry).map_err(fault)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// The path as text, or the rule it breaks.
pub(crate) fn safe_path(raw: &[u8]) -> Result<&str, &'static str> {
    let path = std::str::from_utf8(raw).map_err(|_| "has a name that is no UTF-8")?;
    if path.is_empty() {
        return Err("has no name");
    }
    if path.starts_with('/') || path.as_bytes().get(1) == Some(&b':') {
        return Err("has an absolute path");
    }
    if path.chars().any(|c| c == '\\' || c.is_control()) {
        return Err("has a backslash or a control character in its path");
    }
    if path.split('/').any(|part| part == "..") {
        return Err("leaves the folder by \"..\"");
    }
    Ok(path)
}

fn shown(raw: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(raw).chars().take(200).collect();
    text.escape_debug().to_string()
}

/// The words of the error that the libraries wrapped.
fn innermost(error: &io::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.get_ref().and_then(|inner| inner.source());
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

/// A reader that fails, rather than ends, at its limit, and leaves word of it: the libraries on top of it wrap errors.
struct Bounded<'a, R> {
    inner: R,
    left: u64,
    exceeded: &'a Cell<bool>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let Some(left) = self.left.checked_sub(read as u64) else {
            self.exceeded.set(true);
            return Err(io::Error::other("the limit is reached"));
        };
        self.left = left;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::packer::{Packer, gzip};
    use super::*;

    fn paths(bytes: &[u8], limits: Limits) -> Result<Vec<String>, ChartError> {
        let mut paths = Vec::new();
        walk(bytes, "x.tgz", limits, |path, file| {
            io::copy(file, &mut io::sink())?;
            paths.push(path.to_owned());
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(paths)
    }

    fn refused(packer: Packer) -> String {
        match paths(&packer.finish(), LIMITS) {
            Err(error @ ChartError::Unsafe { .. }) => error.to_string(),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn files_are_handed_over_in_order_with_folders_left_out() {
        let bytes = Packer::new()
            .folder("demo/")
            .file("demo/Chart.yaml", "a")
            .file("demo/values.yaml", "b")
            .finish();
        assert_eq!(
            paths(&bytes, LIMITS).unwrap(),
            ["demo/Chart.yaml", "demo/values.yaml"]
        );
    }

    #[test]
    fn a_long_path_is_read_whole() {
        let long = format!("demo/{}/x.yaml", "deep/".repeat(60));
        let bytes = Packer::new().file(&long, "a").finish();
        assert_eq!(paths(&bytes, LIMITS).unwrap(), [long]);
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for (path, reason) in [
            ("/etc/passwd", "absolute"),
            ("C:/x", "absolute"),
            ("demo/../../x", "leaves the folder"),
            ("..", "leaves the folder"),
            ("demo\\..\\x", "backslash"),
            ("demo/a\nb", "control character"),
        ] {
            let error = refused(Packer::new().file("demo/Chart.yaml", "a").raw(
                path,
                EntryType::Regular,
                b"x",
            ));
            assert!(error.contains(reason), "{path}: {error}");
        }
        let folder = refused(Packer::new().raw("../x/", EntryType::Directory, b""));
        assert!(folder.contains("leaves the folder"), "{folder}");
    }

    #[test]
    fn links_and_devices_are_refused() {
        for (kind, reason) in [
            (EntryType::Symlink, "link"),
            (EntryType::Link, "link"),
            (EntryType::Char, "device"),
            (EntryType::Block, "device"),
            (EntryType::Fifo, "device"),
            (EntryType::Continuous, "neither"),
        ] {
            let error = refused(Packer::new().raw("demo/x", kind, b""));
            assert!(error.contains(reason), "{kind:?}: {error}");
        }
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        let error = refused(
            Packer::new()
                .file("demo/Chart.yaml", "a")
                .file("demo/Chart.yaml", "b"),
        );
        assert!(
            error.contains("demo/Chart.yaml") && error.contains("twice"),
            "{error}"
        );
    }

    #[test]
    fn a_second_gzip_member_does_not_hide_anything() {
        let tar = Packer::new()
            .file("demo/Chart.yaml", "a")
            .raw("../x", EntryType::Regular, b"x")
            .tar();
        let (first, second) = tar.split_at(1024);
        let bytes = [gzip(first), gzip(second)].concat();
        assert!(matches!(paths(&bytes, LIMITS), Err(ChartError::Unsafe { .. })));
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit_of_what_it_unpacks_to() {
        let limits = Limits {
            unpacked: 2 << 20,
            ..LIMITS
        };
        let nothing = vec![0; 1 << 20];
        let files = (0..3).fold(Packer::new(), |p, n| {
            p.raw(&format!("demo/{n}"), EntryType::Regular, &nothing)
        });
        // A long name is read into memory by the tar library before anybody sees it.
        let name = Packer::new().raw("././@LongLink", EntryType::GNULongName, &vec![b'a'; 3 << 20]);
        for bytes in [files.finish(), name.finish()] {
            assert!(bytes.len() < 10_000);
            let error = paths(&bytes, limits).unwrap_err();
            assert!(
                matches!(error, ChartError::TooLarge { limit, .. } if limit == limits.unpacked),
                "{error}"
            );
        }
    }

    #[test]
    fn sizes_and_counts_have_limits() {
        let small = Limits {
            packed: 10_000,
            unpacked: 10_000,
            file: 100,
            entries: 2,
        };
        let three = Packer::new()
            .file("a/1", "")
            .file("a/2", "")
            .file("a/3", "")
            .finish();
        let error = paths(&three, small).unwrap_err().to_string();
        assert!(error.contains("entries") && error.contains('2'), "{error}");

        let large_file = Packer::new().file("a/1", &"x".repeat(101)).finish();
        let error = paths(&large_file, small).unwrap_err().to_string();
        assert!(error.contains("a/1") && error.contains("100"), "{error}");

        let error = paths(&vec![0; 10_001], small).unwrap_err();
        assert!(
            matches!(error, ChartError::TooLarge { limit: 10_000, .. }),
            "{error}"
        );
    }

    #[test]
    fn bytes_that_are_no_archive_are_said_to_be_none() {
        let whole = Packer::new().file("demo/Chart.yaml", &"a".repeat(3000)).finish();
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0xff;
        let mut no_tar = Vec::new();
        no_tar.write_all(&gzip(b"<html>not found</html>")).unwrap();
        for bytes in [
            b"".as_slice(),
            b"<html>",
            &whole[..whole.len() / 2],
            &flipped,
            &no_tar,
        ] {
            match paths(bytes, LIMITS) {
                Err(ChartError::NotAnArchive { place, .. }) => assert_eq!(place, "x.tgz"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn any_cut_and_any_flipped_byte_ends_in_an_error_or_a_list_never_in_a_panic() {
        let whole = Packer::new()
            .folder("demo/")
            .file("demo/Chart.yaml", "name: demo")
            .file("demo/x", "y")
            .finish();
        for n in 0..whole.len() {
            let _ = paths(&whole[..n], LIMITS);
            let mut flipped = whole.clone();
            flipped[n] ^= 1 << (n % 8);
            let _ = paths(&flipped, LIMITS);
        }
    }
}
