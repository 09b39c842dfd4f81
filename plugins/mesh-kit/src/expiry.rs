//! Certificates that end soon or have ended, and what is said of them: warned of before, an error after.
//!
//! Of webhooks both sides count: the server refuses to call one whose bundle has ended, and one that serves what has ended.

use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use crate::certificate::{self, Certificate};
use crate::object::text;

/// From how many days before its end a certificate is warned of, as meshes' own checks do.
pub const WARNED_DAYS: i64 = 60;

/// The end of a certificate that is near, or over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The moment, as `2026-11-26T10:00:00Z`.
    until: String,
    /// Days until then; negative when it is over.
    days: i64,
}

/// What is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<'a> {
    /// How its codes begin: `-expires` and `-expired` follow.
    pub word: &'a str,
    /// Which certificate: "the certificate of the injector".
    pub what: &'a str,
    /// What is so when it has ended: "pods get no proxy".
    pub consequence: &'a str,
    /// How it is renewed.
    pub remedy: &'a str,
    /// The object that holds it.
    pub object: ObjectRef,
}

impl Expiry {
    /// Of a certificate, seen from a moment; nothing when it holds for long enough, or when that cannot be told.
    pub fn of(certificate: &Certificate, now: &str) -> Option<Self> {
        let days = certificate.days_left(now)?;
        (days < WARNED_DAYS).then(|| Self {
            until: certificate.not_after.clone(),
            days,
        })
    }

    /// Of what the server trusts when it calls the webhooks of a configuration: the first one to end. Of a bundle of several
    /// certificates the last one counts, because any of them does.
    pub fn of_webhooks(configuration: &Value, now: &str) -> Option<Self> {
        let webhooks = configuration.get("webhooks").and_then(Value::as_array);
        webhooks
            .into_iter()
            .flatten()
            .filter_map(|webhook| read(text(webhook, "/clientConfig/caBundle")))
            .filter_map(|bundle| bundle.into_iter().max_by(|a, b| a.not_after.cmp(&b.not_after)))
            .filter_map(|last| Self::of(&last, now))
            .min_by_key(|expiry| expiry.days)
    }

    /// Of the certificates that a Secret has under these names, the first one of each: the first one to end.
    pub fn of_secret(secret: &Value, names: &[&str], now: &str) -> Option<Self> {
        let data = secret.get("data")?;
        names
            .iter()
            .filter_map(|name| read(data.get(name)?.as_str()?))
            .filter_map(|found| Self::of(found.first()?, now))
            .min_by_key(|expiry| expiry.days)
    }

    /// The one that ends first.
    pub fn first(ends: impl IntoIterator<Item = Self>) -> Option<Self> {
        ends.into_iter().min_by_key(|expiry| expiry.days)
    }

    /// Whether it is over.
    pub fn has_ended(&self) -> bool {
        self.days < 0
    }

    /// It in words: a warning while it is near, an error when it is over.
    pub fn finding(&self, said: &Said<'_>) -> Finding {
        let (until, consequence) = (&self.until, said.consequence);
        let (code, severity, message) = if self.has_ended() {
            let message = format!("{} ended at {until}: {consequence}", said.what);
            ("expired", Severity::Error, message)
        } else {
            let days = self.days;
            let message = format!(
                "{} ends in {days} days, at {until}: from then on {consequence}",
                said.what
            );
            ("expires", Severity::Warning, message)
        };
        Finding::new(severity, format!("{}-{code}", said.word), message)
            .about(said.object.clone())
            .remedy(said.remedy)
    }
}

fn read(encoded: &str) -> Option<Vec<Certificate>> {
    certificate::read(&certificate::of_base64(encoded)?).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    /// Until 2027-01-01, and until 2026-12-01.
    const LATER: &str = include_str!("certificate/p256.pem");
    const SOONER: &str = include_str!("certificate/leaf.pem");

    fn said(expiry: &Expiry) -> Finding {
        expiry.finding(&Said {
            word: "lattice-webhook",
            what: "the certificate of weaver",
            consequence: "pods get no thread",
            remedy: "weave anew",
            object: ObjectRef::new("v1", "Secret", "mesh", "weaver"),
        })
    }

    #[test]
    fn an_end_is_warned_of_before_and_an_error_after() {
        let secret = json!({"data": {"tls.crt": STANDARD.encode(SOONER), "tls.key": ""}});
        let at = |now: &str| Expiry::of_secret(&secret, &["tls.crt"], now);
        assert_eq!(at("2026-10-01T00:00:00Z"), None);
        let near = said(&at("2026-10-05T00:00:00Z").unwrap());
        assert_eq!(
            (near.code.as_str(), near.severity),
            ("lattice-webhook-expires", Severity::Warning)
        );
        assert_eq!(
            near.message,
            "the certificate of weaver ends in 57 days, at 2026-12-01T00:00:00Z: from then on pods get no thread"
        );
        let over = at("2026-12-01T00:00:01Z").unwrap();
        assert!(over.has_ended());
        let over = said(&over);
        assert_eq!(
            (over.code.as_str(), over.severity),
            ("lattice-webhook-expired", Severity::Error)
        );
        assert_eq!(at("tomorrow"), None);
    }

    #[test]
    fn of_a_bundle_the_last_one_counts_and_of_webhooks_and_secrets_the_first_one_to_end() {
        let webhook = |pem: &str| json!({"clientConfig": {"caBundle": STANDARD.encode(pem)}});
        let now = "2026-12-02T00:00:00Z";
        let of = |webhooks: Value| Expiry::of_webhooks(&json!({"webhooks": webhooks}), now);
        let both = format!("{SOONER}\n{LATER}");
        assert!(!of(json!([webhook(&both)])).unwrap().has_ended());
        let mixed = of(json!([webhook(LATER), webhook(SOONER)])).unwrap();
        assert!(mixed.has_ended());
        assert_eq!(of(json!([{"clientConfig": {"caBundle": "Y2E="}}, {}])), None);

        let secret = json!({"data": {"ca": STANDARD.encode(LATER), "root": STANDARD.encode(SOONER)}});
        let names = ["ca", "root", "missing"];
        assert_eq!(Expiry::of_secret(&secret, &names, now), Some(mixed.clone()));
        let later = Expiry::of_secret(&secret, &names[..1], now);
        assert_eq!(
            Expiry::first(later.into_iter().chain([mixed.clone()])),
            Some(mixed)
        );
    }
}
