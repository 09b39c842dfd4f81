//! Why an application cannot be had, and what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::problem::{Problem, ProblemKind};

/// Why an application cannot be had.
#[derive(Debug, Error)]
pub(super) enum ApplicationError {
    #[error("there is no application \"{name}\" in {}", folder.display())]
    Unknown {
        name: String,
        folder: PathBuf,
        known: Vec<String>,
    },
    #[error("\"{name}\" is not the name of an application")]
    Name { name: String },
    #[error("{} has no YAML file in it", place.display())]
    Empty { place: PathBuf },
    #[error("{} has more than {limit} {what}", place.display())]
    Many {
        place: PathBuf,
        what: &'static str,
        limit: usize,
    },
    #[error("{} has more than {limit} bytes", place.display())]
    Heavy { place: PathBuf, limit: u64 },
    #[error("{} leads out of its folder", place.display())]
    Outside { place: PathBuf },
    #[error("{} is no file", place.display())]
    NoFile { place: PathBuf },
    #[error("{} is no text: byte {at} is not UTF-8", place.display())]
    NoText { place: PathBuf, at: usize },
    #[error("{} cannot be read: {source}", place.display())]
    Unreadable { place: PathBuf, source: io::Error },
}

impl From<ApplicationError> for Problem {
    fn from(error: ApplicationError) -> Self {
        let message = error.to_string();
        let problem = |kind, code: &str| Problem::new(kind, code, message.clone());
        match error {
            ApplicationError::Unknown { name, folder, known } => {
                let remedy = if known.is_empty() {
                    format!("there is none at all: put YAML files into {}", folder.join(name).display())
                } else {
                    format!("there are: {}", known.join(", "))
                };
                problem(ProblemKind::NotFound, "unknown-application")
                    .cause("an application is a folder of YAML files of that name")
                    .remedy(remedy)
            }
            ApplicationError::Name { .. } => problem(ProblemKind::Invalid, "bad-application-name")
                .cause(
                    "a name has 1 to 63 lower-case letters, digits and dashes, and begins and ends with a letter or \
                     digit",
                )
                .remedy("rename the folder"),
            ApplicationError::Empty { .. } => problem(ProblemKind::Invalid, "application-empty")
                .cause("only *.yaml and *.yml are read, those of folders inside and hidden ones are not")
                .remedy("put the application's objects there as YAML"),
            ApplicationError::Many { what, .. } => {
                let code = if what == "applications" {
                    "too-many-applications"
                } else {
                    "application-too-large"
                };
                problem(ProblemKind::TooLarge, code)
                    .cause("what is read at once has a bound")
                    .remedy("take some away, or join files")
            }
            ApplicationError::Heavy { .. } => problem(ProblemKind::TooLarge, "application-too-large")
                .cause("what is read at once has a bound")
                .remedy("split it; large content belongs into an image or a volume"),
            ApplicationError::Outside { .. } => problem(ProblemKind::Forbidden, "application-leads-outside")
                .cause("it is a link, or lies behind one, that does not stay in the folder")
                .remedy("put a copy in the link's place"),
            ApplicationError::NoFile { .. } => problem(ProblemKind::Invalid, "application-unreadable")
                .cause("it is called like a YAML file, but is a folder, a pipe or a device")
                .remedy("take it away, or give it another name"),
            ApplicationError::NoText { .. } => problem(ProblemKind::Invalid, "application-unreadable")
                .cause("YAML is text in UTF-8")
                .remedy("save it as UTF-8, or take it away"),
            ApplicationError::Unreadable { .. } => {
                problem(ProblemKind::Invalid, "application-unreadable")
                    .cause("the system does not let the host read it")
                    .remedy("let the user that the host runs as read it")
            }
        }
    }
}

/// The thread that reads has ended without an answer.
pub(super) fn interrupted(error: &tokio::task::JoinError) -> Problem {
    let message = format!("reading applications was given up: {error}");
    Problem::new(ProblemKind::Internal, "application-unreadable", message).remedy("ask again")
}
