//! A new file that is whole or not there: written under another name, which becomes its own at the end.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Problem};

/// A file that is removed again unless it is finished.
pub struct Partial {
    goal: PathBuf,
    path: PathBuf,
    file: File,
    code: &'static str,
}

impl Partial {
    /// Begins a file that nobody has; `code` is the problem's when it cannot be written. Only its owner reads it,
    /// unless `mode` says otherwise.
    pub fn make(goal: &Path, mode: u32, code: &'static str) -> Result<Self, Failure> {
        if goal.exists() {
            let message = format!("{} is there already", goal.display());
            let remedy = "choose another name, or remove the file";
            return Err(Failure::usage("file-exists", message, remedy));
        }
        let mut name = goal.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let path = goal.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(|error| unwritable(code, &path, &error))?;
        Ok(Self {
            goal: goal.to_owned(),
            path,
            file,
            code,
        })
    }

    /// Where it is until it is finished.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&self, piece: &[u8]) -> Result<(), Failure> {
        (&self.file)
            .write_all(piece)
            .map_err(|error| unwritable(self.code, &self.path, &error))
    }

    pub fn finish(&self) -> Result<(), Failure> {
        self.file
            .sync_all()
            // A link, because a name that somebody else took meanwhile is not ours to replace.
            .and_then(|()| std::fs::hard_link(&self.path, &self.goal))
            .map_err(|error| unwritable(self.code, &self.goal, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn unwritable(code: &str, file: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", file.display());
    Failure::Problem(Problem::new(code, message))
}
