//! What operations would come to on an installation that is there: told with it, before anybody asks for them.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::finding::{Finding, Prospect, Severity, Verdict};
use semver::Version;

/// An operation that may go on, and what it would change.
pub fn possible(operation: &str, changes: impl Into<String>) -> Prospect {
    Prospect {
        operation: operation.into(),
        verdict: Verdict::Possible,
        changes: changes.into(),
        ..Prospect::default()
    }
}

/// An operation that would be refused as things are.
pub fn refused(operation: &str, why: Finding) -> Prospect {
    Prospect {
        operation: operation.into(),
        verdict: Verdict::Refused,
        findings: vec![why],
        ..Prospect::default()
    }
}

/// An error as a finding.
pub fn as_finding(error: PluginError) -> Finding {
    let message = if error.cause.is_empty() {
        error.message
    } else {
        format!("{} ({})", error.message, error.cause)
    };
    Finding::error(error.code, message).remedy(error.remedy)
}

/// What becomes of a prospect by what is found out.
pub trait Prospecting: Sized {
    /// Somebody has to agree, by a parameter.
    #[must_use]
    fn with_consent(self, parameter: &str, finding: Finding) -> Self;
    /// It may bring the installation to these versions, and is refused for the reason when there are none.
    #[must_use]
    fn to(self, versions: Vec<Version>, why_none: impl FnOnce() -> Finding) -> Self;
    /// Something that should be known; an error refuses it.
    #[must_use]
    fn knowing(self, finding: Finding) -> Self;
}

impl Prospecting for Prospect {
    fn with_consent(mut self, parameter: &str, finding: Finding) -> Self {
        if self.verdict == Verdict::Possible {
            self.verdict = Verdict::WithConsent;
        }
        if self.verdict == Verdict::WithConsent && !self.consent.iter().any(|word| word == parameter) {
            self.consent.push(parameter.into());
        }
        self.knowing(finding)
    }

    fn to(mut self, mut versions: Vec<Version>, why_none: impl FnOnce() -> Finding) -> Self {
        if versions.is_empty() {
            let mut why = why_none();
            why.severity = Severity::Error;
            return self.knowing(why);
        }
        versions.sort_by(|a, b| b.cmp(a));
        // Two lines of a mesh may know the same one.
        versions.dedup();
        self.versions = versions.iter().map(Version::to_string).collect();
        self
    }

    fn knowing(mut self, finding: Finding) -> Self {
        if finding.severity == Severity::Error {
            self.verdict = Verdict::Refused;
            self.consent.clear();
        }
        self.findings.push(finding);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(severity: Severity) -> Finding {
        Finding::new(severity, "x", "")
    }

    #[test]
    fn consent_is_asked_for_once_a_word_and_not_where_nothing_helps() {
        let asked = possible("remove", "all")
            .with_consent("of-others", said(Severity::Warning))
            .with_consent("of-others", said(Severity::Warning));
        assert_eq!(
            (asked.verdict, asked.consent.len(), asked.findings.len()),
            (Verdict::WithConsent, 1, 2)
        );
        let refused = asked.knowing(said(Severity::Error));
        assert_eq!(
            (refused.verdict, refused.consent.is_empty()),
            (Verdict::Refused, true)
        );
        let refused = refused.with_consent("adopt", said(Severity::Warning));
        assert_eq!(
            (refused.verdict, refused.consent.is_empty()),
            (Verdict::Refused, true)
        );
    }

    #[test]
    fn versions_are_the_newest_first_and_none_at_all_is_a_refusal() {
        let versions = ["1.2.3", "1.10.0", "1.2.3"].map(|version| version.parse().unwrap());
        let to = possible("upgrade", "").to(versions.to_vec(), || said(Severity::Info));
        assert_eq!(to.versions, ["1.10.0", "1.2.3"]);
        let none = possible("upgrade", "").to(Vec::new(), || said(Severity::Info));
        assert_eq!(
            (none.verdict, none.findings[0].severity),
            (Verdict::Refused, Severity::Error)
        );
    }
}
