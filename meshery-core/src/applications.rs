//! Applications that the host's owner has put down: a folder of YAML files for each, read when a plan is made.
//!
//! Nothing is kept of them, so that a folder that appears later is there at once. What the files mean is for adapters
//! to say; here is only what may be read: within bounds, and nothing that lies outside of the folder, wherever links
//! in it lead.

mod fault;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use meshery_plugin_api::message::plan::{APPLICATION, TextFile};
use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use serde::Serialize;
use serde_json::{Map, Value};

use self::fault::ApplicationError;
use crate::problem::Problem;

/// Folders beside each other.
const APPLICATIONS: usize = 200;
/// YAML files in one folder, and whatever else lies beside them.
const FILES: usize = 100;
const ENTRIES: usize = 1_000;
/// Bytes of one file, and of all files of a folder.
const FILE_BYTES: u64 = 1 << 20;
const BYTES: u64 = 4 << 20;
/// Longest name of a folder.
const NAME_LENGTH: usize = 63;

const ENDINGS: [&str; 2] = [".yaml", ".yml"];

/// The folder that has applications in it.
#[derive(Debug, Clone)]
pub struct Applications {
    folder: PathBuf,
}

/// An application as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Application {
    /// Name of its folder.
    pub name: String,
    /// How many YAML files it has.
    pub files: usize,
    /// Why it cannot be used, if it cannot; what the files say is not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl Applications {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where they are looked for.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Those that are there now, by name.
    pub async fn list(&self) -> Result<Vec<Application>, Problem> {
        let this = self.clone();
        aside(move || this.list_now()).await
    }

    /// The YAML files of one, by name.
    pub(crate) async fn files(&self, name: &str) -> Result<Vec<TextFile>, Problem> {
        let (this, name) = (self.clone(), name.to_owned());
        aside(move || this.files_now(&name)).await
    }

    fn list_now(&self) -> Result<Vec<Application>, ApplicationError> {
        let Some(root) = self.open()? else {
            return Ok(Vec::new());
        };
        let listed = self.names(&root)?.into_iter().map(|name| {
            let survey = self
                .open_one(&root, &name)
                .and_then(|folder| self.survey(&name, &folder));
            let (files, problem) = match survey {
                Ok(files) => (files.len(), None),
                Err(error) => (0, Some(error.into())),
            };
            Application { name, files, problem }
        });
        Ok(listed.collect())
    }

    fn files_now(&self, name: &str) -> Result<Vec<TextFile>, ApplicationError> {
        check_name(name)?;
        let unknown = |known| ApplicationError::Unknown {
            name: name.to_owned(),
            folder: self.folder.clone(),
            known,
        };
        let Some(root) = self.open()? else {
            return Err(unknown(Vec::new()));
        };
        let folder = match self.open_one(&root, name) {
            Err(ApplicationError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(unknown(self.names(&root)?));
            }
            opened => opened?,
        };
        let mut files = Vec::new();
        let mut room = BYTES;
        for file in self.survey(name, &folder)? {
            let text = self.read(name, &folder, &file)?;
            room = room
                .checked_sub(text.len() as u64)
                .ok_or_else(|| ApplicationError::Heavy {
                    place: self.folder.join(name),
                    limit: BYTES,
                })?;
            files.push(TextFile { name: file, text });
        }
        Ok(files)
    }

    /// The folder with all of them; nothing when it is not there.
    fn open(&self) -> Result<Option<OwnedFd>, ApplicationError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(CWD, &self.folder, flags, Mode::empty()) {
            Ok(root) => Ok(Some(root)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(unreadable(self.folder.clone(), error.into())),
        }
    }

    /// Names of the folders, in their order; what is no folder, or hidden, is left out.
    fn names(&self, root: &OwnedFd) -> Result<Vec<String>, ApplicationError> {
        let mut names = Vec::new();
        for entry in entries(root, &self.folder, APPLICATIONS + ENTRIES)? {
            if is_folder(root, &entry) {
                names.push(entry);
            }
        }
        if names.len() > APPLICATIONS {
            return Err(ApplicationError::Many {
                place: self.folder.clone(),
                what: "applications",
                limit: APPLICATIONS,
            });
        }
        Ok(names)
    }

    fn open_one(&self, root: &OwnedFd, name: &str) -> Result<OwnedFd, ApplicationError> {
        check_name(name)?;
        let place = self.folder.join(name);
        beneath(root, name, OFlags::DIRECTORY).map_err(|error| refused(place, error))
    }

    /// Names of an application's YAML files, in their order.
    fn survey(&self, name: &str, folder: &OwnedFd) -> Result<Vec<String>, ApplicationError> {
        let place = self.folder.join(name);
        let mut files = entries(folder, &place, ENTRIES)?;
        files.retain(|file| ENDINGS.iter().any(|ending| file.ends_with(ending)));
        if files.is_empty() {
            return Err(ApplicationError::Empty { place });
        }
        if files.len() > FILES {
            return Err(ApplicationError::Many {
                place,
                what: "YAML files",
                limit: FILES,
            });
        }
        Ok(files)
    }

    fn read(&self, name: &str, folder: &OwnedFd, file: &str) -> Result<String, ApplicationError> {
        let place = self.folder.join(name).join(file);
        // A pipe must not keep us waiting for somebody who writes into it.
        let opened =
            beneath(folder, file, OFlags::NONBLOCK).map_err(|error| refused(place.clone(), error))?;
        let opened = File::from(opened);
        let failed = |error| unreadable(place.clone(), error);
        if !opened.metadata().map_err(failed)?.is_file() {
            return Err(ApplicationError::NoFile { place });
        }
        let mut bytes = Vec::new();
        // It may grow while it is read.
        opened
            .take(FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > FILE_BYTES {
            return Err(ApplicationError::Heavy {
                place,
                limit: FILE_BYTES,
            });
        }
        String::from_utf8(bytes).map_err(|error| ApplicationError::NoText {
            place,
            at: error.utf8_error().valid_up_to(),
        })
    }
}

/// The application that the parameters of an operation name, when it takes one.
pub(crate) fn named<'a>(schema: &Value, parameters: &'a Map<String, Value>) -> Option<&'a str> {
    let properties = schema.get("properties")?.as_object()?;
    let (name, _) = properties
        .iter()
        .find(|(_, property)| property["format"] == APPLICATION)?;
    parameters.get(name)?.as_str()
}

/// What is in a folder, hidden files left out.
fn entries(folder: &OwnedFd, place: &Path, limit: usize) -> Result<Vec<String>, ApplicationError> {
    let mut entries = Vec::new();
    let all = Dir::read_from(folder).map_err(|error| unreadable(place.to_owned(), error.into()))?;
    for entry in all {
        let entry = entry.map_err(|error| unreadable(place.to_owned(), error.into()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        entries.push(name);
        if entries.len() > limit {
            return Err(ApplicationError::Many {
                place: place.to_owned(),
                what: "files",
                limit,
            });
        }
    }
    entries.sort_unstable();
    Ok(entries)
}

/// Opens what is in a folder, and nothing that a link leads to outside of it.
fn beneath(folder: impl AsFd, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
    openat2(folder, name, flags, Mode::empty(), resolve)
}

/// Whether it is a folder, or a link that is to be one.
fn is_folder(root: &OwnedFd, name: &str) -> bool {
    match beneath(root, name, OFlags::DIRECTORY | OFlags::PATH) {
        Ok(_) => true,
        // A link that leads out: listed, with what is wrong with it.
        Err(error) => error == Errno::XDEV || error == Errno::LOOP,
    }
}

fn check_name(name: &str) -> Result<(), ApplicationError> {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let fits = bytes.len() <= NAME_LENGTH
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-');
    if fits {
        return Ok(());
    }
    Err(ApplicationError::Name {
        name: name.escape_debug().take(NAME_LENGTH + 1).collect(),
    })
}

fn refused(place: PathBuf, error: Errno) -> ApplicationError {
    match error {
        Errno::XDEV | Errno::LOOP => ApplicationError::Outside { place },
        error => unreadable(place, error.into()),
    }
}

fn unreadable(place: PathBuf, source: io::Error) -> ApplicationError {
    ApplicationError::Unreadable { place, source }
}

/// Files may lie on a slow disk; nobody else waits for it.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApplicationError> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| fault::interrupted(&error))??)
}

#[cfg(test)]
mod tests;
