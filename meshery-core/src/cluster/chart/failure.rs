//! What helm's words mean when it fails.
//!
//! Helm ends with status 1 whatever went wrong and has no other form of error than text; the class of a failure is
//! only in the wording, which differs between its major versions. This is the one place that knows the wording.

use std::fmt;

use super::error::ChartError;

/// A place in a chart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Path of the file, beginning with the chart's name.
    pub file: String,
    /// Line, counted from 1; none when helm does not say.
    pub line: Option<u32>,
    /// Column; none when helm does not say.
    pub column: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        Ok(())
    }
}

/// One way in which values do not fit a chart's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The chart whose schema it is: the chart itself or one inside it.
    pub chart: String,
    /// Where in the values, as a JSON pointer; empty for the whole.
    pub path: String,
    /// The rule.
    pub rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        write!(f, "{path}: {}", self.rule)
    }
}

/// The error behind what helm wrote to its standard error. `chart` is the name and version to speak of.
pub(super) fn classify(chart: &str, stderr: &str) -> ChartError {
    ChartError::Helm {
        chart: chart.into(),
        text: stderr.into(),
    }
}
