//! Finding the files that may be plugins.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::fault::{LoadError, LoadFault};
use super::settings::PluginSettings;

/// More files than this in one folder are not plugins but a mistake in the settings.
const MOST_FILES: usize = 1000;

/// A file that may be a plugin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub file: PathBuf,
    /// It lies in the folder of the host's own binary.
    pub own: bool,
}

/// All candidates, the own folder's first, by name within a folder; and the folders that could not be read.
pub(super) fn candidates(settings: &PluginSettings) -> (Vec<Candidate>, Vec<LoadError>) {
    let folders = settings
        .own_folder
        .iter()
        .map(|folder| (folder, true))
        .chain(settings.folders.iter().map(|folder| (folder, false)));
    let mut seen = HashSet::new();
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (folder, own) in folders {
        match files(folder, own) {
            Ok(files) => {
                // The same folder, or the same file by a link, is looked at once.
                let new = files
                    .into_iter()
                    .filter(|file| seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())));
                found.extend(new.map(|file| Candidate { file, own }));
            }
            Err(fault) => errors.push(LoadError {
                file: folder.clone(),
                fault,
            }),
        }
    }
    (found, errors)
}

fn files(folder: &Path, own: bool) -> Result<Vec<PathBuf>, LoadFault> {
    if !folder.is_absolute() {
        return Err(LoadFault::NotAbsolute);
    }
    let unreadable = |error: std::io::Error| LoadFault::Unreadable {
        why: error.to_string(),
    };
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(text) = name.to_str() else { continue };
        if Path::new(text).extension().is_some_and(|e| e == "so") && (!own || text.starts_with("libmeshery_"))
        {
            files.push(folder.join(name));
        }
        if files.len() > MOST_FILES {
            return Err(LoadFault::Unreadable {
                why: format!("it has more than {MOST_FILES} libraries"),
            });
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_of_a_folder_is_found_once_but_only_our_own_beside_the_binary() {
        let (data, own, other) = (
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
        );
        for name in [
            "libmeshery_b.so",
            "libmeshery_a.so",
            "libserde_derive.so",
            "notes.txt",
        ] {
            std::fs::write(own.path().join(name), "").unwrap();
        }
        std::fs::write(other.path().join("mine.so"), "").unwrap();
        std::os::unix::fs::symlink(own.path().join("libmeshery_a.so"), other.path().join("again.so"))
            .unwrap();
        let mut settings = PluginSettings::new(data.path());
        settings.own_folder = Some(own.path().to_owned());
        settings.folders = vec![
            other.path().to_owned(),
            other.path().to_owned(),
            data.path().join("missing"),
            "relative".into(),
        ];

        let (found, errors) = candidates(&settings);
        let names: Vec<_> = found
            .iter()
            .map(|c| (c.file.file_name().unwrap().to_str().unwrap(), c.own))
            .collect();
        assert_eq!(
            names,
            [
                ("libmeshery_a.so", true),
                ("libmeshery_b.so", true),
                ("mine.so", false)
            ]
        );
        assert!(matches!(errors[0].fault, LoadFault::Unreadable { .. }));
        assert_eq!(errors[1].fault, LoadFault::NotAbsolute);
    }
}
