//! What can go wrong, how it is told, and the exit code that scripts see.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::{Value, json};

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
    /// Exit code 3: the operation came to another end than the one asked for. To people it was shown already.
    #[error("{0}")]
    Operation(Problem),
    /// Exit code 2, asked for by --exit-code: the plan changes something. No failure.
    #[error("the plan changes something")]
    Changes,
    /// Exit code 4.
    #[error("{0}")]
    Unreachable(Problem),
    /// Exit code 5.
    #[error("{0}")]
    Unauthorised(Problem),
    /// Exit code 130: Ctrl-C while following. The operation goes on.
    #[error("{0}")]
    Detached(Problem),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// A problem as the host tells it; also the shape of this program's own.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Problem {
    pub code: String,
    #[serde(alias = "detail")]
    pub message: String,
    pub cause: String,
    pub remedy: String,
    pub retryable: bool,
    /// All that the host said, members that this program does not know included.
    #[serde(skip)]
    pub said: Option<Value>,
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

    /// The host's problem document, if it is one.
    pub fn of_host(body: &[u8]) -> Option<Self> {
        let said: Value = serde_json::from_slice(body).ok()?;
        let problem = Self::deserialize(&said).ok()?;
        (!problem.code.is_empty() || !problem.message.is_empty()).then_some(Self {
            said: Some(said),
            ..problem
        })
    }

    /// For programs: as the host said it, or in the host's shape.
    pub fn document(&self) -> Value {
        self.said.clone().unwrap_or_else(|| {
            json!({
                "type": format!("urn:meshery:problem:{}", self.code),
                "title": "mesheryctl",
                "detail": self.message,
                "code": self.code,
                "cause": self.cause,
                "remedy": self.remedy,
                "retryable": self.retryable,
            })
        })
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

    /// What is told to people on standard error.
    pub fn lines(&self, paint: Paint) -> Option<String> {
        match self {
            Self::Operation(_) | Self::Changes => None,
            Self::Detached(problem) => {
                let Problem { message, remedy, .. } = problem;
                Some(format!("{}\n  {}", plain(message), plain(remedy)))
            }
            failure => failure.problem().map(|problem| problem.lines(paint)),
        }
    }

    /// What is told to programs; nothing when nobody is left who reads.
    pub fn problem(&self) -> Option<Problem> {
        match self {
            Self::Usage(p)
            | Self::Problem(p)
            | Self::Operation(p)
            | Self::Unreachable(p)
            | Self::Unauthorised(p)
            | Self::Detached(p) => Some(p.clone()),
            Self::Changes => None,
            Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Output(e) => Some(Problem::new("output", format!("cannot write the output: {e}"))),
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) | Self::Changes => 2,
            Self::Operation(_) => 3,
            Self::Unreachable(_) => 4,
            Self::Unauthorised(_) => 5,
            Self::Detached(_) => 130,
            // What the shell reports of a program that a closed pipe has ended.
            Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => 141,
            Self::Problem(_) | Self::Output(_) => 1,
        })
    }
}
