//! The one shape of an error that people see, on the wire and in a terminal.
//!
//! Each area has its own error enum, close to where it is raised; each of them becomes a [`Problem`] when it
//! leaves the engine. The host maps [`ProblemKind`] to status codes in one place.

use std::fmt;

use meshery_plugin_api::PluginError;
use serde::{Deserialize, Serialize};

/// What happened, with a stable code, probably why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The class of the problem; decides the status code over REST.
    pub kind: ProblemKind,
    /// Stable code: lower-case words joined by dashes.
    pub code: String,
    /// What happened, with the value and the place.
    pub message: String,
    /// Probable cause.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// Whether the same request may succeed later without anybody doing anything.
    pub retryable: bool,
}

/// The class of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The request says something that cannot be.
    Invalid,
    /// What the request names is not there.
    NotFound,
    /// The request does not fit the present state.
    Conflict,
    /// The cluster, or this host, does not allow it.
    Forbidden,
    /// The request, or what it leads to, is larger than the limit.
    TooLarge,
    /// Something this needs cannot be reached or does not work at the moment.
    Unavailable,
    /// It took longer than its deadline.
    Timeout,
    /// There is no room to store it.
    Full,
    /// A fault of ours or of a plugin.
    #[default]
    #[serde(other)]
    Internal,
}

impl Problem {
    /// A problem with its class, code and what happened.
    pub fn new(kind: ProblemKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.into(),
            message: message.into(),
            ..Self::default()
        }
    }

    /// Adds the probable cause.
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = cause.into();
        self
    }

    /// Adds what to do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Says that the same request may succeed later.
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.cause.is_empty() {
            write!(f, " ({})", self.cause)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl From<PluginError> for Problem {
    fn from(error: PluginError) -> Self {
        let kind = match error.code.as_str() {
            "store-full" => ProblemKind::Full,
            "call-too-large" => ProblemKind::TooLarge,
            "revision-conflict" | "journal-conflict" | "store-locked" | "store-newer" | "store-not-empty"
            | "no-such-session" => ProblemKind::Conflict,
            "beyond-rights" => ProblemKind::Forbidden,
            "plugin-timeout" => ProblemKind::Timeout,
            "plugin-unavailable" | "plugin-busy" | "store-failed" | "store-busy" => ProblemKind::Unavailable,
            "plugin-panicked" | "plugin-protocol" | "store-corrupt" | "no-such-blob" => ProblemKind::Internal,
            _ => ProblemKind::Invalid,
        };
        Self {
            kind,
            code: error.code,
            message: error.message,
            cause: error.cause,
            remedy: error.remedy,
            retryable: error.retryable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_of_its_plugin_is_not_the_fault_of_who_asked() {
        let kind = |code: &str| Problem::from(PluginError::new(code, "")).kind;
        for (code, expected) in [
            ("plugin-busy", ProblemKind::Unavailable),
            ("plugin-unavailable", ProblemKind::Unavailable),
            ("plugin-timeout", ProblemKind::Timeout),
            ("plugin-panicked", ProblemKind::Internal),
            ("plugin-protocol", ProblemKind::Internal),
            ("call-too-large", ProblemKind::TooLarge),
            ("bad-parameter", ProblemKind::Invalid),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
    }
}
