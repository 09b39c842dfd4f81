//! What is wrong with a webhook that does not work, by the words in which the API server says what it met.

/// What probably lies behind it.
pub(super) fn cause(reason: &str) -> &'static str {
    Fault::read(reason).explained().0
}

/// What to do about it.
pub(super) fn remedy(webhook: &str, reason: &str) -> String {
    let first = Fault::read(reason).explained().1;
    // As it is named when it is one of a definition.
    let other = if webhook.starts_with("that converts ") {
        "; the definition says where it is called (`spec.conversion`)"
    } else {
        ", or remove its webhook configuration if nothing needs it"
    };
    format!("{first} the webhook {webhook}{other}")
}

enum Fault {
    NotRunning,
    NoService,
    Untrusted,
    TooSlow,
    Fails,
    Garbled,
}

impl Fault {
    fn read(reason: &str) -> Self {
        let has = |signs: &[&str]| signs.iter().any(|sign| reason.contains(sign));
        if has(&["x509: ", "tls: "]) {
            Self::Untrusted
        } else if has(&["no service port "]) || has(&["service \""]) && has(&["not found"]) {
            Self::NoService
        } else if has(&[
            "context deadline exceeded",
            "Client.Timeout",
            "i/o timeout",
            "TLS handshake timeout",
        ]) {
            Self::TooSlow
        } else if has(&[
            "couldn't get version/kind",
            "invalid webhook response",
            "invalid character",
            "returned ",
        ]) {
            Self::Garbled
        } else if has(&[
            "an error on the server",
            "the server rejected",
            "the server could not find",
            "the server is currently unable",
        ]) {
            Self::Fails
        } else {
            Self::NotRunning
        }
    }

    /// Cause, and the beginning of the remedy.
    fn explained(&self) -> (&'static str, &'static str) {
        match self {
            Self::NotRunning => (
                "the program behind the webhook is not running, or not yet",
                "make the program run that is behind",
            ),
            Self::NoService => (
                "the Service that the webhook is called by is not there, or does not have that port, or not yet",
                "install what belongs to",
            ),
            Self::Untrusted => (
                "the certificate of the program behind the webhook is not of the authority that is written down with \
                 the webhook (`caBundle`), or not yet, or it has ended",
                "renew the certificate, or put its authority into `caBundle`, of",
            ),
            Self::TooSlow => (
                "the program behind the webhook does not answer in the time it has (`timeoutSeconds`), or nothing leads \
                 from the API server to it",
                "see why there is no answer in time from",
            ),
            Self::Fails => (
                "the program behind the webhook answers with an error",
                "look at the log of the program behind",
            ),
            Self::Garbled => (
                "what answers is not the program that belongs to the webhook, or is one of another version",
                "see which program, and of which version, answers for",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_met_tells_what_is_wrong() {
        for (reason, cause_says, remedy_says) in [
            (
                "dial tcp 127.96.68.163:443: connect: connection refused",
                "not running",
                "run",
            ),
            ("service \"nosvc\" not found", "Service", "install"),
            (
                "no service port 444 found for service \"s\"",
                "Service",
                "install",
            ),
            (
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                "authority",
                "caBundle",
            ),
            (
                "Post \"https://s.wht.svc:443/?timeout=3s\": context deadline exceeded",
                "timeoutSeconds",
                "in time",
            ),
            (
                "an error on the server (\"unknown\") has prevented the request from succeeding",
                "answers with an error",
                "log",
            ),
            (
                "couldn't get version/kind; json parse error: invalid character 'x'",
                "another version",
                "which program",
            ),
            (
                "received invalid webhook response: expected response.uid=\"a\", got \"zz\"",
                "another version",
                "which program",
            ),
        ] {
            assert!(cause(reason).contains(cause_says), "{reason}: {}", cause(reason));
            let remedy = remedy("guard.acme.io", reason);
            assert!(
                remedy.contains(remedy_says) && remedy.contains("the webhook guard.acme.io, or remove"),
                "{remedy}"
            );
        }
    }

    #[test]
    fn a_conversion_has_no_configuration_that_could_be_removed() {
        let remedy = remedy("that converts cv.io/v1, Kind=Cv", "connect: connection refused");
        assert_eq!(
            remedy,
            "make the program run that is behind the webhook that converts cv.io/v1, Kind=Cv; the definition says where \
             it is called (`spec.conversion`)"
        );
    }
}
