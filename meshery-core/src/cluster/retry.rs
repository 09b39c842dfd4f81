//! When a request is sent again: after answers and faults that pass by themselves, and only if doing it twice is the
//! same as doing it once. Backoff doubles from 0.1 s to 5 s, with jitter.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use http::StatusCode;

use super::connection::{Answer, Broken, Connection};
use super::error::ClusterError;
use super::refusal::Refusal;
use super::request::Request;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// For so long after trouble, the server may not yet know users' rights and custom kinds.
const SETTLING: Duration = Duration::from_secs(3);
/// A changed definition's schema, and the addresses of a new one, take effect within this.
const TAKING_EFFECT: Duration = Duration::from_secs(2);
/// Something is wrong inside the server; if it stays so, repeating does not help.
const PASSING: Duration = Duration::from_secs(10);

/// For how long a request is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until when broken connections and an overloaded server are borne.
    pub(super) until: Instant,
    /// Until when webhooks that do not answer are.
    pub(super) webhooks: Option<Instant>,
    /// Whether the kind may have been defined a moment ago.
    pub(super) new_kind: bool,
}

/// What is to become of a request that was not done.
enum Verdict {
    Again { at_least: Duration },
    Renew,
    GiveUp,
}

impl Connection {
    pub(super) fn patience(&self) -> Patience {
        Patience {
            until: Instant::now() + self.settings.retry_for,
            webhooks: None,
            new_kind: false,
        }
    }

    /// Sends a request until it is done, is refused for a reason that stays, or patience ends.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, ClusterError> {
        self.send_until(request, self.patience())
            .await
            .map(|(answer, _)| answer)
    }

    /// As [`Connection::send`]; also whether an earlier attempt may have been carried out without our hearing of it.
    pub(super) async fn send_until(
        &self,
        request: &Request,
        patience: Patience,
    ) -> Result<(Answer, bool), ClusterError> {
        let began = Instant::now();
        let mut backoff = FIRST;
        let mut renewed = false;
        let mut unheard = false;
        loop {
            let client = self.client();
            let (verdict, error) = match self.attempt(&client, request).await {
                Ok(answer) if answer.status.is_success() => return Ok((answer, unheard)),
                Ok(answer) => {
                    let refusal = Refusal::read(answer.status, &answer.body);
                    let verdict = self.judge(request, &answer, &refusal, began, patience);
                    unheard |= answer.status == StatusCode::GATEWAY_TIMEOUT;
                    (verdict, refusal.into_error(&request.subject, &self.context))
                }
                Err(Broken { error, sent, passing }) => {
                    if passing {
                        self.note_broken();
                    }
                    unheard |= sent;
                    let verdict = match &error {
                        _ if sent && !request.repeatable => Verdict::GiveUp,
                        // Certificates have a successor before they end: it may be in the kubeconfig by now.
                        ClusterError::Tls { .. } => Verdict::Renew,
                        _ if passing => Verdict::Again {
                            at_least: Duration::ZERO,
                        },
                        _ => Verdict::GiveUp,
                    };
                    (verdict, error)
                }
            };
            match verdict {
                Verdict::GiveUp => return Err(error),
                Verdict::Renew if renewed => return Err(error),
                Verdict::Renew => {
                    renewed = true;
                    self.renew(client.number).await?;
                }
                Verdict::Again { at_least } => {
                    let pause = jittered(backoff).max(at_least);
                    let limit = match error {
                        ClusterError::WebhookFailed { .. } => patience.webhooks.unwrap_or(patience.until),
                        _ => patience.until,
                    };
                    if Instant::now() + pause >= limit {
                        return Err(error);
                    }
                    tracing::debug!(%error, ?pause, "asking the cluster again");
                    tokio::time::sleep(pause).await;
                    backoff = (backoff * 2).min(LONGEST);
                }
            }
        }
    }

    fn judge(
        &self,
        request: &Request,
        answer: &Answer,
        refusal: &Refusal,
        began: Instant,
        patience: Patience,
    ) -> Verdict {
        let again = Verdict::Again {
            at_least: Duration::ZERO,
        };
        let within = |limit: Duration| began.elapsed() < limit;
        let settling = self.last_trouble().is_some_and(|at| at.elapsed() < SETTLING);
        if refusal.is_broken_webhook() {
            // Whatever the status says, nothing was written.
            return match patience.webhooks {
                Some(until) if Instant::now() < until => again,
                _ => Verdict::GiveUp,
            };
        }
        match answer.status.as_u16() {
            401 if settling => again,
            401 => Verdict::Renew,
            403 if settling && refusal.reason == "Forbidden" => again,
            404 if refusal.is_unknown_address() && (settling || patience.new_kind && within(PASSING)) => {
                again
            }
            429 => {
                let asked = refusal
                    .retry_after()
                    .map(Duration::from_secs)
                    .or(answer.retry_after());
                // It says one second there, and needs some tens of milliseconds.
                let starting =
                    refusal.message.ends_with("storage is (re)initializing") && within(TAKING_EFFECT);
                Verdict::Again {
                    at_least: if starting {
                        Duration::ZERO
                    } else {
                        asked.unwrap_or_default()
                    },
                }
            }
            500 if patience.new_kind && refusal.is_undeclared_field() && within(TAKING_EFFECT) => again,
            _ if !request.repeatable => Verdict::GiveUp,
            500 if refusal.is_passing() && within(PASSING) => {
                self.note_trouble();
                again
            }
            // An aggregated API whose server is not there: it may stay so for ever.
            503 if refusal.plain && refusal.message == "service unavailable" && !within(TAKING_EFFECT) => {
                Verdict::GiveUp
            }
            502 | 503 => {
                self.note_trouble();
                Verdict::Again {
                    at_least: answer.retry_after().unwrap_or_default(),
                }
            }
            504 => {
                self.note_trouble();
                again
            }
            _ => Verdict::GiveUp,
        }
    }
}

/// Half of the time to one and a half of it, so that those who failed together do not come back together.
fn jittered(time: Duration) -> Duration {
    // A hasher with random keys is random enough for this.
    let random = RandomState::new().hash_one(0_u8) % 1000;
    time / 2 + time * u32::try_from(random).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_between_half_and_one_and_a_half_and_differs() {
        let times: Vec<Duration> = (0..50).map(|_| jittered(Duration::from_millis(100))).collect();
        assert!(
            times
                .iter()
                .all(|time| (Duration::from_millis(50)..Duration::from_millis(150)).contains(time))
        );
        assert!(times.iter().any(|time| *time != times[0]));
    }
}
