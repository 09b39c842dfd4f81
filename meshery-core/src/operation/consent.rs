//! What a run does only on explicit word, because it may cost somebody something that a preview cannot show.

use serde::{Deserialize, Serialize};

use crate::problem::{Problem, ProblemKind};

/// The code of the error for somebody who has not agreed.
pub(super) const CONSENT_REQUIRED: &str = "consent-required";

/// Something that has to be agreed to when an operation is planned, in [`Policy::accept`](super::Policy::accept).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// A chart asks the cluster while it is rendered; rendered here, it sees nothing and may come out otherwise than
    /// with Helm.
    Lookup,
    /// Objects that are there, and were not made by the release, become part of it, with the fields of whoever made them.
    Adopt,
    /// Objects that Argo CD, Flux or another Helm release minds are changed.
    Foreign,
    /// Objects whose fields cannot be changed are deleted and made again.
    Recreate,
    /// A release on which somebody was killed in mid-work is taken over.
    RecoverRelease,
    /// A secret that a parameter refers to comes to stand in the open, in an object that is no Secret.
    ExposedSecret,
}

impl Consent {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 6] = [
        Self::Lookup,
        Self::Adopt,
        Self::Foreign,
        Self::Recreate,
        Self::RecoverRelease,
        Self::ExposedSecret,
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Adopt => "adopt",
            Self::Foreign => "foreign",
            Self::Recreate => "recreate",
            Self::RecoverRelease => "recover-release",
            Self::ExposedSecret => "exposed-secret",
        }
    }

    /// Why something stays as it is when nobody has agreed.
    pub(super) fn stays_without(self, why: &str) -> String {
        format!("{why}; it goes on explicit word only (accept {})", self.as_str())
    }

    /// The error for somebody who has not agreed.
    pub(super) fn required(self, what: impl std::fmt::Display) -> Problem {
        Problem::new(ProblemKind::Conflict, CONSENT_REQUIRED, what.to_string())
            .cause("this is done on explicit word only")
            .remedy(format!(
                "plan it again with \"accept\": [\"{0}\"] in its policy (mesheryctl: --accept {0})",
                self.as_str()
            ))
    }
}

/// What was agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Consent>", into = "Vec<Consent>")]
pub struct Consents(u8);

impl Consents {
    /// Whether this was agreed to.
    pub fn has(self, consent: Consent) -> bool {
        self.0 & consent.bit() != 0
    }
}

impl From<Vec<Consent>> for Consents {
    fn from(given: Vec<Consent>) -> Self {
        Self(given.into_iter().fold(0, |bits, consent| bits | consent.bit()))
    }
}

impl From<Consents> for Vec<Consent> {
    fn from(consents: Consents) -> Self {
        Consent::ALL
            .into_iter()
            .filter(|consent| consents.has(*consent))
            .collect()
    }
}

/// Something that an operation does only on explicit word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededConsent {
    /// Which word.
    pub consent: Consent,
    /// What it is about.
    pub why: String,
}

impl NeededConsent {
    /// One for several reasons, if there are any; the first is told.
    pub(super) fn of_many(consent: Consent, reasons: Vec<String>) -> Option<Self> {
        let more = match reasons.len() {
            0 | 1 => String::new(),
            count => format!(" (and {} more like it)", count - 1),
        };
        let why = reasons.into_iter().next()? + &more;
        Some(Self { consent, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consents_are_words_on_the_wire_and_a_wrong_one_is_named_with_the_right_ones() {
        let consents: Consents = serde_json::from_str(r#"["recreate", "lookup", "recreate"]"#).unwrap();
        assert!(consents.has(Consent::Lookup) && consents.has(Consent::Recreate));
        assert!(!consents.has(Consent::Adopt));
        assert_eq!(
            serde_json::to_string(&consents).unwrap(),
            r#"["lookup","recreate"]"#
        );
        let error = serde_json::from_str::<Consents>(r#"["all"]"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("`all`") && error.contains("`adopt`"), "{error}");
        for consent in Consent::ALL {
            assert_eq!(serde_json::to_value(consent).unwrap(), consent.as_str());
        }
    }
}
