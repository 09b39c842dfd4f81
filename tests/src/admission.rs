//! A server of admission webhooks, for tests that play a control plane: the API server asks, a function decides.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// No review is anywhere near as large.
const LARGEST: usize = 16 << 20;

/// The response to a request of a review, by the path it came to; nothing when that is not known.
pub(crate) type Decide = dyn Fn(&str, &Value) -> Decision + Send + Sync;
/// What is decided, perhaps after a look at the cluster.
pub(crate) type Decision = Pin<Box<dyn Future<Output = Option<Value>> + Send>>;

/// Where the Services of webhooks are called.
const PORT: u16 = 443;

/// Serves until it is stopped or dropped, and every connection with it.
pub(crate) struct Server {
    address: IpAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(
        address: IpAddr,
        acceptor: TlsAcceptor,
        decide: Arc<Decide>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(address, PORT))
            .await
            .with_context(|| {
                format!(
                    "listening on {address}:{PORT}; ports below 1024 need root, or \
                     `sysctl net.ipv4.ip_unprivileged_port_start={PORT}`"
                )
            })?;
        Ok(Self {
            address,
            task: tokio::spawn(serve(listener, acceptor, decide)),
        })
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns when the address is free again, which it is not yet when a server has been dropped.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        // It was aborted, and says so.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, decide: Arc<Decide>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, decide) = (acceptor.clone(), decide.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(|request| {
                let decide = decide.clone();
                async move { Ok::<_, Infallible>(answer(request, &*decide).await) }
            });
            // A connection that breaks is the API server's to report.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(request: Request<Incoming>, decide: &Decide) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let review = match Limited::new(request.into_body(), LARGEST).collect().await {
        Ok(body) => serde_json::from_slice::<Value>(&body.to_bytes()).ok(),
        Err(_) => None,
    };
    let response = match review {
        Some(review) => decide(&path, &review["request"]).await,
        None => None,
    };
    let (status, body) = match response {
        None => (StatusCode::BAD_REQUEST, String::new()),
        Some(response) => {
            let review = json!({
                "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
            });
            (StatusCode::OK, review.to_string())
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

/// Puts a JSON patch into a response.
pub(crate) fn patched(response: &mut Value, patch: Vec<Value>) {
    response["patchType"] = "JSONPatch".into();
    response["patch"] = STANDARD.encode(Value::Array(patch).to_string()).into();
}

/// Pods of a ReplicaSet have no name yet.
pub(crate) fn named(request: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &request["object"]["metadata"];
    let name = [&request["name"], &metadata["name"], &metadata["generateName"]]
        .into_iter()
        .map(text)
        .find(|name| !name.is_empty());
    format!("{}/{}", text(&request["namespace"]), name.unwrap_or_default())
}
