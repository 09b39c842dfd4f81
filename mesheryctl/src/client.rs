//! Speaks the host's REST interface: one request, one answer, each within a deadline and a size.

pub mod address;
pub mod event_stream;
mod token;

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::arguments::Global;
use crate::failure::{Failure, Problem};
use address::Address;
use token::Token;

/// Largest answer that is read; the largest real ones are previews of thousands of objects.
const LARGEST_ANSWER: usize = 64 << 20;
/// Bytes a second that an upload makes at least.
const SLOWEST: u64 = 1 << 20;
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How often what makes something is sent when its answer is lost, and the pause in between.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    Normal,
    /// For what reads a cluster or renders charts.
    Long,
}

#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    address: Address,
    token: Token,
    timeout: Duration,
}

impl Client {
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let address = Address::parse(&global.server)?;
        let token = Token::read(global.token_file.as_deref())?;
        // Fails when one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("mesheryctl/", env!("CARGO_PKG_VERSION")))
            // A redirect would carry the token to who knows whom.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WITHIN);
        if address.is_loopback() {
            http = http.no_proxy();
        }
        if !address.is_encrypted() {
            // Without this, a machine without root certificates could not even speak plain HTTP.
            http = http.tls_certs_only([]);
        }
        let http = http
            .build()
            .map_err(|e| Failure::Problem(Problem::new("http-client", chain(&e))))?;
        Ok(Self {
            http,
            address,
            token,
            timeout: Duration::from_secs(global.timeout),
        })
    }

    pub fn server(&self) -> &str {
        self.address.as_str()
    }

    /// What the user should know about the connection before the token goes over it.
    pub fn warning(&self) -> Option<Problem> {
        (self.token.is_there() && !self.address.is_encrypted() && !self.address.is_loopback()).then(|| {
            let message = format!(
                "the token goes to {} unencrypted; anybody on the way can use it",
                self.server()
            );
            Problem::new("token-unencrypted", message)
        })
    }

    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.call(Method::GET, path, query, None, Patience::Normal).await
    }

    pub async fn get_slowly(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.call(Method::GET, path, query, None, Patience::Long).await
    }

    pub async fn post(
        &self,
        path: &[&str],
        body: Option<&Value>,
        patience: Patience,
    ) -> Result<Value, Failure> {
        self.call(Method::POST, path, &[], body, patience).await
    }

    /// Posts what makes something, and waits long. The request has a key, so that it can be sent again when its answer
    /// was lost and still makes one thing.
    pub async fn make(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let key = random_key()?;
        let url = self.address.api(path, &[])?;
        let mut attempts = 1;
        loop {
            let request = self
                .http
                .post(url.clone())
                .header(ACCEPT, "application/json")
                .header("idempotency-key", &key)
                .json(body);
            let sent = self.authorised(request).timeout(self.timeout * 5).send().await;
            let response = match sent {
                Err(error) if is_lost(&error) && attempts < ATTEMPTS => {
                    attempts += 1;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                sent => sent.map_err(|error| self.not_sent(&error, self.timeout * 5))?,
            };
            let response = self.accept(response).await?;
            let bytes = self.read(response).await?;
            return serde_json::from_slice(&bytes)
                .map_err(|e| self.not_a_host(&format!("{url} answered what is not JSON: {e}")));
        }
    }

    /// Posts with a query, and waits long.
    pub async fn post_slowly(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: &Value,
    ) -> Result<Value, Failure> {
        self.call(Method::POST, path, query, Some(body), Patience::Long)
            .await
    }

    pub async fn delete(&self, path: &[&str]) -> Result<(), Failure> {
        let url = self.address.api(path, &[])?;
        let response = self.send(self.http.delete(url), self.timeout).await?;
        self.accept(response).await.map(drop)
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
        patience: Patience,
    ) -> Result<Value, Failure> {
        let url = self.address.api(path, query)?;
        let timeout = match patience {
            Patience::Normal => self.timeout,
            Patience::Long => self.timeout * 5,
        };
        let mut request = self
            .http
            .request(method, url.clone())
            .header(ACCEPT, "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = self.send(request, timeout).await?;
        let response = self.accept(response).await?;
        let bytes = self.read(response).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| self.not_a_host(&format!("{url} answered what is not JSON: {e}")))
    }

    /// Opens the stream of an operation's events after a place in it.
    pub(crate) async fn open_events(&self, id: &str, after: u64) -> Result<Response, Failure> {
        let url = self.address.api(&["operations", id, "events"], &[])?;
        let request = self
            .authorised(self.http.get(url))
            .header(ACCEPT, "text/event-stream")
            .header("last-event-id", after);
        // Until the stream begins; the deadline of what follows is the reader's.
        let opening = async {
            let response = request.send().await.map_err(|e| self.unreachable(&e))?;
            self.accept(response).await
        };
        let response = tokio::time::timeout(self.timeout, opening)
            .await
            .map_err(|_| self.no_answer(self.timeout))??;
        let kind = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("");
        if kind.starts_with("text/event-stream") {
            Ok(response)
        } else {
            Err(self.not_a_host(&format!("asked for events, and got \"{kind}\"")))
        }
    }

    /// Opens an answer of any size, to be read piece by piece.
    pub async fn download(&self, path: &[&str]) -> Result<Response, Failure> {
        let url = self.address.api(path, &[])?;
        self.open(self.http.get(url), self.timeout).await
    }

    /// The same for what has to be made first, from what is said here.
    pub async fn download_slowly(&self, path: &[&str], body: &Value) -> Result<Response, Failure> {
        let url = self.address.api(path, &[])?;
        self.open(self.http.post(url).json(body), self.timeout * 5).await
    }

    /// Until an answer begins; each piece has a deadline of its own.
    async fn open(&self, request: RequestBuilder, timeout: Duration) -> Result<Response, Failure> {
        let request = self.authorised(request);
        let opening = async {
            let response = request.send().await.map_err(|e| self.unreachable(&e))?;
            self.accept(response).await
        };
        tokio::time::timeout(timeout, opening)
            .await
            .map_err(|_| self.no_answer(timeout))?
    }

    /// The next piece of such an answer; nothing at its end.
    pub async fn piece(&self, answer: &mut Response) -> Result<Option<Bytes>, Failure> {
        let piece = tokio::time::timeout(self.timeout, answer.chunk())
            .await
            .map_err(|_| self.no_answer(self.timeout))?;
        piece.map_err(|e| self.broke_off(&e))
    }

    /// Sends a file piece by piece.
    pub async fn upload(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        media_type: &str,
        pieces: BoxStream<'static, std::io::Result<Vec<u8>>>,
        size: u64,
    ) -> Result<Value, Failure> {
        let url = self.address.api(path, query)?;
        let request = self
            .http
            .post(url.clone())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, media_type)
            .body(reqwest::Body::wrap_stream(pieces));
        let timeout = self.timeout * 5 + Duration::from_secs(size / SLOWEST);
        let response = self.send(request, timeout).await?;
        let response = self.accept(response).await?;
        let bytes = self.read(response).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| self.not_a_host(&format!("{url} answered what is not JSON: {e}")))
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        match self.token.header() {
            Some(token) => request.header(AUTHORIZATION, token.clone()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder, timeout: Duration) -> Result<Response, Failure> {
        self.authorised(request)
            .timeout(timeout)
            .send()
            .await
            .map_err(|error| self.not_sent(&error, timeout))
    }

    fn not_sent(&self, error: &reqwest::Error, timeout: Duration) -> Failure {
        if error.is_timeout() && !error.is_connect() {
            self.no_answer(timeout)
        } else {
            self.unreachable(error)
        }
    }

    /// The answer if it is a good one; else the host's problem.
    async fn accept(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.read(response).await?;
        let problem = Problem::of_host(&body);
        if status == StatusCode::UNAUTHORIZED {
            let problem = problem.unwrap_or_default();
            return Err(Failure::Unauthorised(self.token.problem(problem, self.server())));
        }
        Err(problem.map_or_else(
            || self.not_a_host(&format!("it answered {status}")),
            Failure::Problem,
        ))
    }

    async fn read(&self, response: Response) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| self.broke_off(&e))?;
            if bytes.len() + chunk.len() > LARGEST_ANSWER {
                let message = format!(
                    "the answer of {} is larger than {LARGEST_ANSWER} bytes",
                    self.server()
                );
                return Err(Failure::Problem(Problem::new("answer-too-large", message)));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn broke_off(&self, error: &reqwest::Error) -> Failure {
        let message = format!("the answer of {} broke off: {}", self.server(), chain(error));
        Failure::Unreachable(Problem::new("answer-broke-off", message).remedy("try again"))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::Unreachable(
            Problem::new(
                "host-unreachable",
                format!("cannot reach the host at {}", self.server()),
            )
            .cause(chain(error))
            .remedy("start the host (`meshery`), or name another one with --server or MESHERY_SERVER"),
        )
    }

    fn no_answer(&self, timeout: Duration) -> Failure {
        let message = format!("no answer from {} within {} s", self.server(), timeout.as_secs());
        Failure::Unreachable(
            Problem::new("host-timeout", message)
                .cause("the host, or a cluster that it asks, is slow or hangs")
                .remedy("see the host's log; give it longer with --timeout"),
        )
    }

    fn not_a_host(&self, what: &str) -> Failure {
        let message = format!("{} does not speak this program's language: {what}", self.server());
        Failure::Problem(
            Problem::new("unexpected-answer", message)
                .cause("something else listens there, or a proxy stands between")
                .remedy("check --server; compare `mesheryctl version`"),
        )
    }
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        next = error.source();
    }
    text
}

/// The token as a header that logs do not show.
fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The host was reached and the connection broke: whether it has heard the request, nobody knows.
fn is_lost(error: &reqwest::Error) -> bool {
    !error.is_connect() && !error.is_timeout() && error.is_request()
}

fn random_key() -> Result<String, Failure> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::Problem(Problem::new("no-randomness", "the system gives no random bytes")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
