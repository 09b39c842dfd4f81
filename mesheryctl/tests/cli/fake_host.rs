//! A host that answers what a test tells it to, and remembers what it was asked.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub const TOKEN: &str = "mt-secret-of-the-tests";

/// One answer.
#[derive(Debug, Clone)]
pub enum Answer {
    Json(u16, Value),
    Raw(u16, &'static str, Vec<u8>),
    /// A stream of events that ends after these; kept open after them if so said.
    Events {
        parts: Vec<String>,
        stays_open: bool,
    },
    /// No answer at all.
    Silence,
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET /api/v1/adapters?x=y`.
    pub line: String,
    pub last_event_id: Option<String>,
    pub body: Value,
}

#[derive(Default)]
struct Script {
    answers: HashMap<String, VecDeque<Answer>>,
    asked: Vec<Asked>,
}

pub struct FakeHost {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    _runtime: Runtime,
}

impl FakeHost {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, script.clone()));
        Self {
            address,
            script,
            _runtime: runtime,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers `GET /operations/x` (without the API's prefix) so from now on.
    pub fn on(&self, line: &str, answer: Value) -> &Self {
        self.then(line, Answer::Json(200, answer))
    }

    /// Adds an answer: each is given once, the last one again and again.
    pub fn then(&self, line: &str, answer: Answer) -> &Self {
        let mut script = self.script.lock().unwrap();
        script
            .answers
            .entry(line.to_owned())
            .or_default()
            .push_back(answer);
        self
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }

    /// The lines asked for, in order.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// The body of the first request with this line.
    pub fn body_of(&self, line: &str) -> Value {
        let asked = self.asked();
        let found = asked.iter().find(|asked| asked.line == line);
        found
            .unwrap_or_else(|| panic!("{line} was not asked: {asked:#?}"))
            .body
            .clone()
    }
}

/// An event as the stream has it.
pub fn event(seq: u64, rest: Value) -> String {
    let mut event = json!({"operation": "op1", "seq": seq, "time": "2026-11-24T10:00:00.000Z"});
    let fields = event.as_object_mut().unwrap();
    fields.extend(rest.as_object().unwrap().clone());
    format!("id: {seq}\ndata: {event}\n\n")
}

pub fn end() -> String {
    "event: end\ndata: {}\n\n".to_owned()
}

pub fn problem(code: &str, detail: &str, remedy: &str) -> Value {
    json!({"type": "about:blank", "title": "x", "status": 409, "detail": detail, "code": code,
        "cause": "because of the test", "remedy": remedy, "retryable": false})
}

async fn serve(listener: TcpListener, script: Arc<Mutex<Script>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let script = script.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, script.clone()));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    script: Arc<Mutex<Script>>,
) -> Result<Response<Body>, hyper::Error> {
    let path = request.uri().path_and_query().unwrap().as_str();
    let line = format!("{} {}", request.method(), path.trim_start_matches("/api/v1"));
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.and_then(|v| v.to_str().ok()).map(str::to_owned)
    };
    let authorised = header("authorization") == Some(format!("Bearer {TOKEN}"));
    let last_event_id = header("last-event-id");
    let body = request.into_body().collect().await?.to_bytes();
    let answer = {
        let mut script = script.lock().unwrap();
        script.asked.push(Asked {
            line: line.clone(),
            last_event_id,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        });
        match script.answers.get_mut(&line) {
            _ if !authorised => Answer::Json(
                401,
                problem("unauthorized", "the request carries no valid token", "send it"),
            ),
            Some(answers) if answers.len() > 1 => answers.pop_front().unwrap(),
            Some(answers) => answers[0].clone(),
            None => Answer::Json(
                404,
                problem("unknown-route", &format!("the test has no answer to {line}"), ""),
            ),
        }
    };
    let whole = |status: u16, kind: &str, bytes: Vec<u8>| {
        let body = Full::new(Bytes::from(bytes)).boxed();
        Response::builder()
            .status(status)
            .header(CONTENT_TYPE, kind)
            .body(body)
            .unwrap()
    };
    Ok(match answer {
        Answer::Json(status, value) => {
            let kind = if status < 400 {
                "application/json"
            } else {
                "application/problem+json"
            };
            whole(status, kind, value.to_string().into_bytes())
        }
        Answer::Raw(status, kind, bytes) => whole(status, kind, bytes),
        Answer::Events { parts, stays_open } => {
            let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(parts.len().max(1));
            for part in parts {
                sender.try_send(part.into()).unwrap();
            }
            if stays_open {
                tokio::spawn(async move { sender.closed().await });
            }
            let frames = futures::stream::unfold(receiver, |mut receiver| async {
                let bytes = receiver.recv().await?;
                Some((Ok::<_, Infallible>(Frame::data(bytes)), receiver))
            });
            let body = StreamBody::new(frames).boxed();
            Response::builder()
                .header(CONTENT_TYPE, "text/event-stream")
                .body(body)
                .unwrap()
        }
        Answer::Silence => std::future::pending().await,
    })
}
