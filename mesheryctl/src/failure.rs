//! What can go wrong, how it is told, and the exit code that scripts see.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use serde::Deserialize;

use crate::console::{Paint, plain};

/// Why the command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Exit code 2: the command line asks for something that cannot be, or nobody said yes.
    #[error("{0}")]
    Usage(Problem),
    /// Exit code 1: the host, or something on this side, says no.
    #[error("{0}")]
    Problem(Problem),
    /// Exit code 3: the operation came to another end than the one asked for. It was shown already.
    #[error("the operation did not succeed")]
    Operation,
    /// Exit code 4.
    #[error("{0}")]
    Unreachable(Problem),
    /// Exit code 5.
    #[error("{0}")]
    Unauthorised(Problem),
    /// Exit code 130: Ctrl-C while following. It was said already that the operation goes on.
    #[error("detached")]
    Detached,
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// A problem as the host tells it; also the shape of this program's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    pub code: String,
    #[serde(alias = "detail")]
    pub message: String,
    pub cause: String,
    pub remedy: String,
    pub retryable: bool,
}

impl Problem {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            ..Self::default()
        }
    }

    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = cause.into();
        self
    }

    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Lines for people, each with its label.
    pub fn lines(&self, paint: Paint) -> String {
        let mut text = String::new();
        let label = if self.code.is_empty() {
            "error".to_owned()
        } else {
            format!("error[{}]", plain(&self.code))
        };
        let _ = write!(text, "{}: {}", paint.bad(&label), plain(&self.message));
        for (label, part) in [("cause", &self.cause), ("remedy", &self.remedy)] {
            if !part.is_empty() {
                let _ = write!(text, "\n  {}: {}", paint.dim(label), plain(part));
            }
        }
        text
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.lines(Paint::off()))
    }
}

impl Failure {
    pub fn usage(code: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Usage(Problem::new(code, message).remedy(remedy))
    }

    /// Whether the same request may succeed in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Problem(problem) => problem.retryable,
            _ => false,
        }
    }

    /// What is written to standard error.
    pub fn lines(&self, paint: Paint) -> Option<String> {
        match self {
            Self::Usage(p) | Self::Problem(p) | Self::Unreachable(p) | Self::Unauthorised(p) => {
                Some(p.lines(paint))
            }
            Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Output(e) => {
                Some(Problem::new("output", format!("cannot write the output: {e}")).lines(paint))
            }
            Self::Operation | Self::Detached => None,
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::Operation => 3,
            Self::Unreachable(_) => 4,
            Self::Unauthorised(_) => 5,
            Self::Detached => 130,
            // What the shell reports of a program that a closed pipe has ended.
            Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => 141,
            Self::Problem(_) | Self::Output(_) => 1,
        })
    }
}
