//! The way to one API server: a client that is made anew when its credentials expire, a bound on what is under way,
//! and a deadline for each attempt.

use std::error::Error;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper_util::client::legacy;
use k8s_openapi::jiff::Timestamp;
use kube::client::{AuthError, Body};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::error::ClusterError;
use super::fence::Fence;
use super::gate::Gate;
use super::request::Request;
use super::server_clock::ahead_s;
use super::settings::ClusterSettings;
use crate::confidential::Confidential;

/// Reads the kubeconfig again and makes a client of what it says now.
pub(super) type MakeClient = Box<dyn Fn() -> BoxFuture<'static, Result<Made, ClusterError>> + Send + Sync>;

/// A client, and what it was made of that no error repeats.
pub(super) struct Made {
    pub(super) client: kube::Client,
    pub(super) hidden: Confidential,
}

/// The way to one API server. Cheap to clone; what is written through it may depend on a fence.
#[derive(Clone)]
pub(super) struct Connection {
    line: Arc<Line>,
    fence: Option<Fence>,
}

/// What all handles of one connection share.
pub(super) struct Line {
    pub(super) context: String,
    pub(super) server: String,
    pub(super) settings: ClusterSettings,
    client: RwLock<Arc<Generation>>,
    make: MakeClient,
    /// Where the connections that clients make end with the fence.
    gate: Gate,
    renewing: tokio::sync::Mutex<()>,
    permits: Semaphore,
    trouble: Mutex<Option<Instant>>,
    /// By how many seconds the server's clock was ahead of ours at its last answer.
    ahead_s: Mutex<Option<i64>>,
    /// Counts the requests to which no answer came.
    broken: watch::Sender<u64>,
}

/// A client, and the how manyth it is.
pub(super) struct Generation {
    pub(super) number: u64,
    client: kube::Client,
    hidden: Confidential,
}

impl Generation {
    fn new(number: u64, made: Made) -> Arc<Self> {
        Arc::new(Self {
            number,
            client: made.client,
            hidden: made.hidden,
        })
    }
}

/// What the server said.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// No answer.
pub(super) struct Broken {
    pub(super) error: ClusterError,
    /// Whether the server may have got the request.
    pub(super) sent: bool,
    /// Whether another attempt could fare better.
    pub(super) passing: bool,
}

impl Answer {
    pub(super) fn json(&self, what: impl FnOnce() -> String) -> Result<serde_json::Value, ClusterError> {
        serde_json::from_slice(&self.body).map_err(|error| ClusterError::Server {
            what: what(),
            status: self.status.as_u16(),
            // The place only: the text itself may be a Secret.
            message: format!(
                "the answer is not JSON (line {}, column {})",
                error.line(),
                error.column()
            ),
        })
    }

    /// `Warning: 299 - "be careful"`, one header each.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.headers
            .get_all(WARNING)
            .iter()
            .filter_map(|header| {
                let (_, text) = header.to_str().ok()?.split_once('"')?;
                let (text, _) = text.rsplit_once('"')?;
                Some(text.replace("\\\"", "\""))
            })
            .collect()
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

impl Deref for Connection {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.line
    }
}

impl Connection {
    pub(super) async fn new(
        context: String,
        server: String,
        settings: ClusterSettings,
        gate: Gate,
        make: MakeClient,
    ) -> Result<Self, ClusterError> {
        let first = make().await?;
        Ok(Self {
            line: Arc::new(Line {
                context,
                server,
                client: RwLock::new(Generation::new(0, first)),
                make,
                gate,
                renewing: tokio::sync::Mutex::default(),
                permits: Semaphore::new(settings.in_flight),
                settings,
                trouble: Mutex::default(),
                ahead_s: Mutex::default(),
                broken: watch::Sender::default(),
            }),
            fence: None,
        })
    }

    /// The same way, on which nothing is written any more once the fence is lost.
    pub(super) fn fenced(&self, fence: Fence) -> Self {
        self.gate.put(fence.clone());
        Self {
            line: self.line.clone(),
            fence: Some(fence),
        }
    }

    pub(super) fn client(&self) -> Arc<Generation> {
        self.client.read().clone()
    }

    /// Makes a new client because the credentials of that generation were not accepted. Of several that ask at
    /// once, one does it.
    pub(super) async fn renew(&self, refused: u64) -> Result<(), ClusterError> {
        let _one = self.renewing.lock().await;
        if self.client().number == refused {
            let next = (self.make)().await?;
            *self.client.write() = Generation::new(refused + 1, next);
        }
        Ok(())
    }

    /// When the server was last seen not to work. After a restart it refuses for a moment what it will allow.
    pub(super) fn last_trouble(&self) -> Option<Instant> {
        *self.trouble.lock()
    }

    pub(super) fn note_trouble(&self) {
        *self.trouble.lock() = Some(Instant::now());
    }

    /// A request got no answer. Who listens on another connection should look whether that one still leads anywhere.
    pub(super) fn note_broken(&self) {
        self.note_trouble();
        self.broken.send_modify(|count| *count += 1);
    }

    /// Changes whenever a request gets no answer.
    pub(super) fn breaks(&self) -> watch::Receiver<u64> {
        self.broken.subscribe()
    }

    /// One attempt, read to its end. A write is dropped, wherever it is, as soon as its fence is lost.
    pub(super) async fn attempt(&self, client: &Generation, request: &Request) -> Result<Answer, Broken> {
        let Some(fence) = self.fence.as_ref().filter(|_| request.writes()) else {
            return self.attempt_freely(client, request).await;
        };
        let answer = fence.guard(Box::pin(self.attempt_freely(client, request))).await;
        answer.unwrap_or_else(|lost| {
            Err(Broken {
                error: lost,
                sent: true,
                passing: false,
            })
        })
    }

    /// By how many seconds the server's clock was ahead of ours at its last answer, if one has said.
    pub(super) fn ahead_s(&self) -> Option<i64> {
        *self.ahead_s.lock()
    }

    async fn attempt_freely(&self, client: &Generation, request: &Request) -> Result<Answer, Broken> {
        let _permit = if request.urgent {
            None
        } else {
            let permit = self.permits.acquire().await;
            Some(permit.map_err(|_| self.unreachable("the connection was closed".into(), false))?)
        };
        let limit = self.settings.request;
        let read = async {
            let (head, body) = self.open(client, request).await?.into_parts();
            if let Some(ahead_s) = ahead_s(&head.headers, Timestamp::now()) {
                *self.ahead_s.lock() = Some(ahead_s);
            }
            let body = Limited::new(body, self.settings.largest_answer).collect().await;
            match body {
                Ok(body) => Ok(Answer {
                    status: head.status,
                    headers: head.headers,
                    body: body.to_bytes(),
                }),
                Err(error) if error.is::<LengthLimitError>() => Err(Broken {
                    error: ClusterError::TooLarge {
                        what: format!("the answer about {}", request.subject.what()),
                        message: format!("it has more than {} bytes", self.settings.largest_answer),
                    },
                    sent: true,
                    passing: false,
                }),
                Err(error) => Err(self.broken(error.as_ref())),
            }
        };
        timeout(limit, read)
            .await
            .unwrap_or_else(|_| Err(Self::too_slow(request, limit)))
    }

    /// Sends a request and hands back the answer as soon as it begins; for watches.
    pub(super) async fn open(
        &self,
        client: &Generation,
        request: &Request,
    ) -> Result<Response<Body>, Broken> {
        let mut message = http::Request::builder()
            .method(request.method.clone())
            .uri(&request.path)
            .header(ACCEPT, request.accept);
        if !request.body.is_empty() {
            message = message.header(CONTENT_TYPE, request.content_type);
        }
        let message = message
            .body(Body::from(request.body.clone()))
            .map_err(|error| Broken {
                error: ClusterError::Server {
                    what: request.subject.what(),
                    status: 0,
                    message: format!("the request cannot be written: {error}"),
                },
                sent: false,
                passing: false,
            })?;
        client
            .client
            .send(message)
            .await
            .map_err(|error| self.broken(&error))
    }

    pub(super) fn too_slow(request: &Request, after: Duration) -> Broken {
        Broken {
            error: ClusterError::Timeout {
                what: format!("{} {}", request.subject.verb, request.subject.what()),
                after,
            },
            sent: true,
            passing: true,
        }
    }

    fn unreachable(&self, reason: String, sent: bool) -> Broken {
        Broken {
            error: ClusterError::Unreachable {
                server: self.server.clone(),
                reason,
            },
            sent,
            passing: true,
        }
    }

    /// What kept the answer away. The innermost cause says it best: the outer ones are names of layers.
    pub(super) fn broken(&self, error: &(dyn Error + 'static)) -> Broken {
        let broken = self.kept_away(error);
        Broken {
            error: broken.error.without(&self.client.read().hidden),
            ..broken
        }
    }

    fn kept_away(&self, error: &(dyn Error + 'static)) -> Broken {
        let mut sent = true;
        let mut innermost = String::new();
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(auth) = error.downcast_ref::<AuthError>() {
                return self.credentials(auth);
            }
            if error
                .downcast_ref::<legacy::Error>()
                .is_some_and(legacy::Error::is_connect)
            {
                sent = false;
            }
            // An I/O error hides what it wraps from `source`.
            let wrapped = error
                .downcast_ref::<std::io::Error>()
                .and_then(|io| io.get_ref())
                .map(|inner| inner as &(dyn Error + 'static));
            let tls = [Some(error), wrapped]
                .into_iter()
                .flatten()
                .find_map(<dyn Error>::downcast_ref::<rustls::Error>);
            if let Some(tls) = tls {
                return Broken {
                    error: ClusterError::Tls {
                        server: self.server.clone(),
                        reason: tls.to_string(),
                    },
                    sent,
                    passing: false,
                };
            }
            innermost = error.to_string();
            next = wrapped.or_else(|| error.source());
        }
        self.unreachable(innermost, sent)
    }

    fn credentials(&self, error: &AuthError) -> Broken {
        Broken {
            error: ClusterError::Credentials {
                context: self.context.clone(),
                reason: reason_of(error),
            },
            sent: false,
            passing: false,
        }
    }
}

/// Why credentials could not be made ready. What a plugin wrote to its standard output may be a token; what it says on
/// standard error may repeat what it was given, and is not told before that is hidden.
pub(super) fn reason_of(error: &AuthError) -> String {
    match error {
        // The command's arguments and environment may be secret too.
        AuthError::AuthExecRun { out, .. } => {
            let said: String = String::from_utf8_lossy(&out.stderr)
                .trim()
                .chars()
                .take(500)
                .collect();
            format!("the exec plugin ended with {}: {said}", out.status)
        }
        AuthError::AuthExecParse(_) => "what the plugin wrote is not an ExecCredential".into(),
        AuthError::InvalidBasicAuth(_) | AuthError::InvalidBearerToken(_) => {
            "the password or token has characters that a header cannot have".into()
        }
        AuthError::ParseTokenKey(_) => "the token's key cannot be parsed".into(),
        other => other.to_string(),
    }
}
