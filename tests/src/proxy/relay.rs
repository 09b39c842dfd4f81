//! The way of one request through the proxy.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http::header::{AUTHORIZATION, CONNECTION, DATE, HOST, HeaderName, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use super::identity::Identity;
use super::{Action, Mutation, RequestInfo, State};

type Body = BoxBody<Bytes, Dropped>;

/// Into how many pieces a slow answer is broken.
const PIECES: usize = 4;

/// The connection to the client is to be closed without an answer, says this error; hyper does that.
#[derive(Debug, Clone)]
struct Dropped(String);

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Dropped {}

/// The API server, and how to reach it.
#[derive(Clone)]
pub(super) struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Incoming>,
    authority: Authority,
    scheme: Scheme,
    token: HeaderValue,
}

impl Upstream {
    pub fn new(server: &str, ca_file: &Path, token: &str) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca_file)? {
            roots.add(certificate?)?;
        }
        let tls =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(https);
        let uri: Uri = server.parse()?;
        Ok(Self {
            client,
            authority: uri
                .authority()
                .context("the API server's URL has no host")?
                .clone(),
            scheme: uri
                .scheme()
                .context("the API server's URL has no scheme")?
                .clone(),
            token: HeaderValue::try_from(format!("Bearer {token}"))?,
        })
    }

    async fn send(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>, Dropped> {
        let mut parts = request.uri().clone().into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        *request.uri_mut() = Uri::from_parts(parts).map_err(|e| Dropped(format!("an unusable URI: {e}")))?;
        let host = HeaderValue::from_str(self.authority.as_str()).expect("an authority is a header value");
        request.headers_mut().insert(HOST, host);
        request
            .headers_mut()
            .entry(AUTHORIZATION)
            .or_insert_with(|| self.token.clone());
        // What concerned the connection to us says nothing about the one to the API server.
        request.headers_mut().remove(CONNECTION);
        // A server that does not answer at all looks to the client as it would without a proxy: no connection.
        let mut response = self
            .client
            .request(request)
            .await
            .map_err(|e| Dropped(format!("the API server: {e:?}")))?;
        response.headers_mut().remove(CONNECTION);
        Ok(response)
    }
}

/// Binds at once, so that the address is good when this returns, and serves on the runtime.
pub(super) fn serve(
    runtime: &Runtime,
    upstream: Upstream,
    state: Arc<State>,
    cut: watch::Sender<()>,
) -> std::io::Result<SocketAddr> {
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    runtime.spawn(async move {
        loop {
            // Accepting fails when a client has gone meanwhile, which is its affair.
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            tokio::spawn(connection(
                stream,
                upstream.clone(),
                state.clone(),
                cut.subscribe(),
            ));
        }
    });
    Ok(address)
}

async fn connection(stream: TcpStream, upstream: Upstream, state: Arc<State>, mut cut: watch::Receiver<()>) {
    // Small messages in both directions: without this, they wait for each other.
    let _ = stream.set_nodelay(true);
    let acceptor = state.identity().as_ref().map(Identity::acceptor);
    let served = async {
        match acceptor {
            None => serve_connection(stream, None, &upstream, &state).await,
            Some(acceptor) => {
                // A client that does not like our certificate, or has one that we do not like, goes away.
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let shown = stream.get_ref().1.peer_certificates();
                let certificate = shown.and_then(|shown| Some(shown.first()?.clone().into_owned()));
                serve_connection(stream, certificate, &upstream, &state).await;
            }
        }
    };
    tokio::select! {
        () = served => {}
        _ = cut.changed() => {}
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    certificate: Option<CertificateDer<'static>>,
    upstream: &Upstream,
    state: &State,
) {
    let service = service_fn(|request| handle(request, certificate.clone(), upstream, state));
    // Its errors are the dropped requests, and clients that went away.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn handle(
    request: Request<Incoming>,
    certificate: Option<CertificateDer<'static>>,
    upstream: &Upstream,
    state: &State,
) -> Result<Response<Body>, Dropped> {
    let (info, noted) = note(&request, certificate, state);
    let rule = state.rule().clone();
    match rule(&info) {
        Action::Forward => forward(request, upstream, state, noted).await,
        Action::Run(job) => {
            run(job).await;
            forward(request, upstream, state, noted).await
        }
        Action::Reply(status, headers, body) => Ok(reply(status, headers, body)),
        Action::ReplyAfter(status, headers, body) => {
            finish(request, upstream, state, noted).await?;
            Ok(reply(status, headers, body))
        }
        Action::DropBefore => Err(Dropped("dropped before it was sent on".to_owned())),
        Action::Dated(ahead_s) => {
            let mut response = forward(request, upstream, state, noted).await?;
            let theirs = Timestamp::now() + SignedDuration::from_secs(ahead_s);
            let date = theirs.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            let date = HeaderValue::try_from(&date).unwrap_or_else(|e| panic!("date {date:?}: {e}"));
            response.headers_mut().insert(DATE, date);
            Ok(response)
        }
        Action::Stall => std::future::pending().await,
        Action::CutAnswer => Ok(cut_short(forward(request, upstream, state, noted).await?)),
        Action::Slow(pause) => {
            let (head, body) = finish(request, upstream, state, noted).await?.into_parts();
            let pieces: Vec<Bytes> = body
                .chunks(body.len().div_ceil(PIECES).max(1))
                .map(Bytes::copy_from_slice)
                .collect();
            let (sender, body) = channel_body();
            tokio::spawn(async move {
                for piece in pieces {
                    tokio::time::sleep(pause).await;
                    if sender.send(Ok(piece)).await.is_err() {
                        return;
                    }
                }
            });
            Ok(Response::from_parts(head, body))
        }
        Action::DropAfter => {
            finish(request, upstream, state, noted).await?;
            Err(Dropped("dropped after it was carried out".to_owned()))
        }
        Action::RunAfter(job) => {
            finish(request, upstream, state, noted).await?;
            run(job).await;
            Err(Dropped("dropped after it was carried out".to_owned()))
        }
    }
}

fn reply(status: StatusCode, headers: Vec<(String, String)>, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(never).boxed());
    *response.status_mut() = status;
    for (name, value) in headers {
        let name = HeaderName::try_from(&name).unwrap_or_else(|e| panic!("header {name:?}: {e}"));
        let value = HeaderValue::try_from(&value).unwrap_or_else(|e| panic!("header value {value:?}: {e}"));
        response.headers_mut().append(name, value);
    }
    response
}

/// Counts the request, so that a rule that is asked about two at the same time sees two different numbers.
fn note(
    request: &Request<Incoming>,
    certificate: Option<CertificateDer<'static>>,
    state: &State,
) -> (RequestInfo, Option<Instant>) {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let mutating = mutates(request.method(), &path, &query);
    let mut mutations = state.mutations();
    let noted = mutating.then(|| {
        let at = Instant::now();
        let (method, path, query) = (request.method().clone(), path.clone(), query.clone());
        mutations.push(Mutation {
            method,
            path,
            query,
            at,
            status: None,
            object: None,
        });
        at
    });
    let info = RequestInfo {
        method: request.method().clone(),
        path,
        query,
        headers: request.headers().clone(),
        certificate,
        mutating,
        mutations: mutations.len(),
    };
    (info, noted)
}

fn mutates(method: &Method, path: &str, query: &str) -> bool {
    let changes = [Method::PATCH, Method::POST, Method::PUT, Method::DELETE].contains(method);
    let dry_run = query
        .split('&')
        .any(|pair| pair.split('=').next() == Some("dryRun"));
    let question =
        path.starts_with("/apis/authorization.k8s.io/") || path.starts_with("/apis/authentication.k8s.io/");
    // Renewed whenever its time has come, whatever is being done.
    let lease = path.starts_with("/apis/coordination.k8s.io/");
    changes && !dry_run && !question && !lease
}

async fn forward(
    request: Request<Incoming>,
    upstream: &Upstream,
    state: &State,
    noted: Option<Instant>,
) -> Result<Response<Body>, Dropped> {
    if noted.is_some() {
        let answer = finish(request, upstream, state, noted).await?;
        return Ok(answer.map(|body| Full::new(body).map_err(never).boxed()));
    }
    let response = upstream.send(request).await?;
    Ok(response.map(|body| body.map_err(|e| Dropped(e.to_string())).boxed()))
}

/// Forwards, and keeps the answer: when its body has come to its end, the API server is done.
async fn finish(
    request: Request<Incoming>,
    upstream: &Upstream,
    state: &State,
    noted: Option<Instant>,
) -> Result<Response<Bytes>, Dropped> {
    let (head, body) = upstream.send(request).await?.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|e| Dropped(format!("the API server's answer: {e}")))?
        .to_bytes();
    answered(state, noted, head.status, &body);
    Ok(Response::from_parts(head, body))
}

fn answered(state: &State, noted: Option<Instant>, status: StatusCode, body: &[u8]) {
    // The list may have been begun anew meanwhile: then nobody wants to know.
    if let Some(at) = noted
        && let Some(mutation) = state
            .mutations()
            .iter_mut()
            .rev()
            .find(|mutation| mutation.at == at)
    {
        mutation.status = Some(status);
        let object: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |field: &str| Some(object["metadata"][field].as_str()?.to_owned());
        mutation.object = text("uid").zip(text("resourceVersion"));
    }
}

/// Half of the first piece of the body, and then nothing more.
fn cut_short(response: Response<Body>) -> Response<Body> {
    let (head, mut body) = response.into_parts();
    let (sender, cut) = channel_body();
    tokio::spawn(async move {
        if let Some(Ok(frame)) = body.frame().await
            && let Ok(data) = frame.into_data()
        {
            let _ = sender.send(Ok(data.slice(..data.len() / 2))).await;
            // So that the half is on its way before the connection closes.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = sender.send(Err(Dropped("cut short".to_owned()))).await;
    });
    Response::from_parts(head, cut)
}

/// A body that a task writes.
struct ChannelBody(mpsc::Receiver<Result<Bytes, Dropped>>);

impl hyper::body::Body for ChannelBody {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

fn channel_body() -> (mpsc::Sender<Result<Bytes, Dropped>>, Body) {
    let (sender, pieces) = mpsc::channel(1);
    (sender, ChannelBody(pieces).boxed())
}

/// A test's closure may block: it may kill a process, or ask the cluster something.
async fn run(job: Box<dyn FnOnce() + Send>) {
    if let Err(failed) = tokio::task::spawn_blocking(job).await {
        eprintln!("fault proxy: what the rule ran failed: {failed}");
    }
}

fn never(impossible: Infallible) -> Dropped {
    match impossible {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_the_cluster_counts_as_mutating() {
        let config_map = "/api/v1/namespaces/default/configmaps/a";
        assert!(mutates(
            &Method::PATCH,
            config_map,
            "fieldManager=meshery&force=true"
        ));
        assert!(mutates(&Method::DELETE, config_map, ""));
        assert!(!mutates(&Method::GET, config_map, ""));
        assert!(!mutates(
            &Method::PATCH,
            config_map,
            "fieldManager=meshery&dryRun=All"
        ));
        let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        assert!(!mutates(&Method::POST, review, ""));
        let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/meshery";
        assert!(!mutates(&Method::PUT, lease, ""));
    }
}
