//! A folder of chart archives, searched with its subfolders.
//!
//! It is read anew each time, because people add archives while the host runs; what stood in an archive is remembered
//! until the file changes. Links that lead out of the folder are not followed: whoever may write into it must not
//! thereby choose other files of this machine.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use meshery_plugin_api::message::facts::ChartFact;
use parking_lot::Mutex;

use super::archive::LIMITS;
use super::content;
use super::digest::sha256;
use super::error::ChartError;

const DEPTH: usize = 8;
const ARCHIVES: usize = 10_000;
const ENTRIES: usize = 100_000;

/// A chart in the mirror and where.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) fact: ChartFact,
    pub(super) path: PathBuf,
}

/// What stood in which file.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<PathBuf, (Stamp, Option<ChartFact>)>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp(u64, Option<SystemTime>);

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.len(), metadata.modified().ok())
    }
}

impl Memory {
    /// The charts in a folder, by name, then path. What is no chart is left out, with a warning when it is new.
    pub(super) fn scan(&self, root: &Path) -> Result<Vec<Entry>, ChartError> {
        let files = archives(root)?;
        let mut entries = Vec::new();
        let mut memory = HashMap::new();
        for (path, stamp) in files {
            let known = self
                .0
                .lock()
                .get(&path)
                .filter(|(then, _)| *then == stamp)
                .map(|(_, fact)| fact.clone());
            let fact = known.unwrap_or_else(|| match read_fact(&path) {
                Ok(fact) => Some(fact),
                Err(error) => {
                    tracing::warn!(%error, "an archive in the mirror is left out");
                    None
                }
            });
            memory.insert(path.clone(), (stamp, fact.clone()));
            if let Some(fact) = fact {
                entries.push(Entry { fact, path });
            }
        }
        *self.0.lock() = memory;
        entries.sort_by(|a, b| (&a.fact.name, &a.path).cmp(&(&b.fact.name, &b.path)));
        Ok(entries)
    }
}

fn read_fact(path: &Path) -> Result<ChartFact, ChartError> {
    let place = path.display().to_string();
    let bytes = read(path)?;
    let about = content::head(&bytes, &place)?;
    Ok(ChartFact {
        name: about.name,
        version: about.version,
        app_version: about.app_version,
        sha256: sha256(&bytes),
        kubernetes: about.kube_version.unwrap_or_default(),
        repository: String::new(),
    })
}

/// Reads an archive whole, within the limit of archives.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ChartError> {
    let fault = |source: io::Error| ChartError::Files {
        what: "cannot read".into(),
        path: path.into(),
        source,
    };
    let file = std::fs::File::open(path).map_err(fault)?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, LIMITS.packed + 1), &mut bytes).map_err(fault)?;
    if bytes.len() as u64 > LIMITS.packed {
        return Err(ChartError::TooLarge {
            what: path.display().to_string(),
            limit: LIMITS.packed,
        });
    }
    Ok(bytes)
}

/// The archives in a folder and its subfolders.
fn archives(root: &Path) -> Result<Vec<(PathBuf, Stamp)>, ChartError> {
    let fault = |source: io::Error| ChartError::Files {
        what: "cannot read the mirror".into(),
        path: root.into(),
        source,
    };
    let root_real = root.canonicalize().map_err(fault)?;
    let mut found = Vec::new();
    let mut seen = HashSet::from([root_real.clone()]);
    let mut folders = vec![(root_real.clone(), 0)];
    let mut count = 0;
    while let Some((folder, depth)) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(fault(error)),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "a folder of the mirror is left out");
                continue;
            }
        };
        for entry in entries.flatten() {
            count += 1;
            if count > ENTRIES || found.len() >= ARCHIVES {
                return Err(ChartError::TooMany {
                    what: format!("the number of files in the mirror {}", root.display()),
                    limit: if count > ENTRIES { ENTRIES } else { ARCHIVES },
                });
            }
            // Follows a link; one to nowhere is as good as nothing.
            let Ok(path) = entry.path().canonicalize() else {
                continue;
            };
            let Ok(metadata) = std::fs::metadata(&path) else {
                continue;
            };
            let wanted = if metadata.is_dir() {
                depth < DEPTH
            } else {
                metadata.is_file() && is_archive(&entry.path())
            };
            if !wanted {
                continue;
            }
            if !path.starts_with(&root_real) {
                tracing::warn!(link = %entry.path().display(), "a link in the mirror leads out of it and is left out");
            } else if seen.insert(path.clone()) {
                if metadata.is_dir() {
                    folders.push((path, depth + 1));
                } else {
                    found.push((path, Stamp::of(&metadata)));
                }
            }
        }
    }
    Ok(found)
}

fn is_archive(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    (name.ends_with(b".tgz") || name.ends_with(b".tar.gz")) && !name.starts_with(b".")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::packer::Packer;
    use super::*;

    fn chart(name: &str, version: &str) -> Vec<u8> {
        let about = format!("apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: \"9\"\n");
        Packer::new().file(&format!("{name}/Chart.yaml"), &about).finish()
    }

    fn found(memory: &Memory, root: &Path) -> Vec<String> {
        let entries = memory.scan(root).unwrap();
        entries
            .iter()
            .map(|e| format!("{} {}", e.fact.name, e.fact.version))
            .collect()
    }

    #[test]
    fn charts_are_found_in_subfolders_by_what_stands_inside_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/b/any-name.tgz"), chart("two", "1.0.0")).unwrap();
        fs::write(root.path().join("one-1.0.0.tar.gz"), chart("one", "1.0.0")).unwrap();
        fs::write(root.path().join("index.yaml"), "x").unwrap();
        let memory = Memory::default();
        assert_eq!(found(&memory, root.path()), ["one 1.0.0", "two 1.0.0"]);
        let entry = &memory.scan(root.path()).unwrap()[0];
        assert_eq!(entry.fact.sha256, sha256(&chart("one", "1.0.0")));
        assert_eq!(entry.fact.app_version, "9");
    }

    #[test]
    fn archives_that_cannot_be_read_do_not_hide_the_others() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("bad.tgz"), "not an archive").unwrap();
        fs::write(root.path().join("empty.tgz"), "").unwrap();
        fs::write(root.path().join("good.tgz"), chart("good", "1.0.0")).unwrap();
        assert_eq!(found(&Memory::default(), root.path()), ["good 1.0.0"]);
    }

    #[test]
    fn a_changed_archive_is_read_again_and_one_that_is_gone_is_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x.tgz");
        let memory = Memory::default();
        fs::write(&path, chart("x", "1.0.0")).unwrap();
        assert_eq!(found(&memory, root.path()), ["x 1.0.0"]);
        fs::write(&path, chart("x", "1.0.0-longer")).unwrap();
        assert_eq!(found(&memory, root.path()), ["x 1.0.0-longer"]);
        fs::remove_file(&path).unwrap();
        assert!(found(&memory, root.path()).is_empty());
    }

    #[test]
    fn links_are_followed_inside_the_mirror_only() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.tgz"), chart("secret", "1.0.0")).unwrap();
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("real")).unwrap();
        fs::write(root.path().join("real/in.tgz"), chart("in", "1.0.0")).unwrap();
        symlink(root.path().join("real/in.tgz"), root.path().join("same.tgz")).unwrap();
        symlink(root.path(), root.path().join("real/loop")).unwrap();
        symlink(outside.path(), root.path().join("folder")).unwrap();
        symlink(outside.path().join("secret.tgz"), root.path().join("file.tgz")).unwrap();
        symlink("/nowhere", root.path().join("nowhere.tgz")).unwrap();
        assert_eq!(found(&Memory::default(), root.path()), ["in 1.0.0"]);
    }

    #[test]
    fn folders_deeper_than_the_limit_are_not_entered() {
        let root = tempfile::tempdir().unwrap();
        let deep = (0..=DEPTH).fold(root.path().to_owned(), |path, n| path.join(n.to_string()));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("x.tgz"), chart("deep", "1.0.0")).unwrap();
        fs::write(deep.parent().unwrap().join("x.tgz"), chart("reached", "1.0.0")).unwrap();
        assert_eq!(found(&Memory::default(), root.path()), ["reached 1.0.0"]);
    }

    #[test]
    fn a_mirror_that_is_not_there_is_an_error_with_its_path() {
        let error = Memory::default().scan(Path::new("/nowhere/charts")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the mirror /nowhere/charts");
    }
}
