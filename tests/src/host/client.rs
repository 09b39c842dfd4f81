//! Who asks a host: requests that wait, with a deadline, from any thread.

use std::future::Future;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::events::Events;

/// Longer than any request may take by the host's own settings.
const PATIENCE: Duration = Duration::from_secs(150);

/// A client with the host's token.
#[derive(Clone)]
pub struct Client {
    url: String,
    token: Option<String>,
    http: Http<HttpConnector, Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    pub fn new(url: &str, token: &str) -> Self {
        Self {
            url: url.to_owned(),
            token: Some(token.to_owned()),
            http: Http::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// The same without a token.
    pub fn without_token(&self) -> Self {
        Self {
            token: None,
            ..self.clone()
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`, for sockets.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Sends a request, JSON if it has a body, and reads the answer.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let mut all = Vec::from(headers);
        let bytes = body.map(|body| {
            all.push(("content-type", "application/json"));
            Bytes::from(body.to_string())
        });
        self.send_bytes(method, path, &all, bytes.unwrap_or_default())
    }

    /// Sends a request as it is.
    pub fn send_bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let request = self.request(method, path, headers, body)?;
        let sending = self.http.request(request);
        let answer = wait(PATIENCE, async move {
            let response = sending.await?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body,
            })
        });
        answer
            .and_then(|answer| answer)
            .with_context(|| format!("{method} {path}"))
    }

    /// Listens to an operation's events after a number.
    pub fn events(&self, operation: &str, after: u64) -> anyhow::Result<Events> {
        let path = format!("/api/v1/operations/{operation}/events?after={after}");
        self.listen(&path, &[])
    }

    /// Listens to server-sent events.
    pub fn listen(&self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Events> {
        let request = self.request("GET", path, headers, Bytes::new())?;
        let sending = self.http.request(request);
        let response = wait(PATIENCE, sending)??;
        ensure!(
            response.status() == StatusCode::OK,
            "{path}: {}",
            response.status()
        );
        let body: Incoming = response.into_body();
        Ok(Events::of(body, runtime().handle()))
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.body(Full::new(body))?)
    }
}

impl Answer {
    /// The body as JSON; nothing when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, if the status is this one.
    pub fn expect(&self, status: u16) -> anyhow::Result<Value> {
        ensure!(
            self.status == status,
            "{status} was expected, not {}: {}",
            self.status,
            self.text()
        );
        Ok(self.json())
    }

    /// The problem document, if status and code are these.
    pub fn problem(&self, status: u16, code: &str) -> anyhow::Result<Value> {
        let problem = self.expect(status)?;
        let kind = self.headers.get("content-type").map(http::HeaderValue::as_bytes);
        ensure!(
            kind == Some(b"application/problem+json"),
            "no problem document: {self:?}"
        );
        ensure!(problem["code"] == code, "{code} was expected, not {problem:#}");
        Ok(problem)
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the system gives threads")
    })
}

/// Waits without a runtime of the caller's own, so that it works in and outside of one.
fn wait<T: Send + 'static>(
    limit: Duration,
    future: impl Future<Output = T> + Send + 'static,
) -> anyhow::Result<T> {
    let (done, result) = mpsc::sync_channel(1);
    let task = runtime().spawn(async move {
        let _ = done.send(future.await);
    });
    result.recv_timeout(limit).map_err(|_| {
        task.abort();
        anyhow::anyhow!("no answer within {limit:?}")
    })
}
