//! The way of one request through the proxy.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::{Action, Mutation, RequestInfo, State};

type Body = BoxBody<Bytes, hyper::Error>;

/// The connection to the client is to be closed without an answer, says this error; hyper does that.
#[derive(Debug)]
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
    let service = service_fn(|request| handle(request, &upstream, &state));
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Its errors are the dropped requests, and clients that went away.
        _ = served => {}
        _ = cut.changed() => {}
    }
}

async fn handle(
    request: Request<Incoming>,
    upstream: &Upstream,
    state: &State,
) -> Result<Response<Body>, Dropped> {
    let (info, noted) = note(&request, state);
    let rule = state.rule().clone();
    match rule(&info) {
        Action::Forward => forward(request, upstream, state, noted).await,
        Action::Run(job) => {
            run(job).await;
            forward(request, upstream, state, noted).await
        }
        Action::Reply(status, headers, body) => {
            let mut response = Response::new(Full::new(Bytes::from(body)).map_err(never).boxed());
            *response.status_mut() = status;
            for (name, value) in headers {
                let name = HeaderName::try_from(&name).unwrap_or_else(|e| panic!("header {name:?}: {e}"));
                let value =
                    HeaderValue::try_from(&value).unwrap_or_else(|e| panic!("header value {value:?}: {e}"));
                response.headers_mut().append(name, value);
            }
            Ok(response)
        }
        Action::DropBefore => Err(Dropped("dropped before it was sent on".to_owned())),
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

/// Counts the request, so that a rule that is asked about two at the same time sees two different numbers.
fn note(request: &Request<Incoming>, state: &State) -> (RequestInfo, Option<Instant>) {
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
        });
        at
    });
    let info = RequestInfo {
        method: request.method().clone(),
        path,
        query,
        headers: request.headers().clone(),
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
    let response = upstream.send(request).await?;
    answered(state, noted, &response);
    Ok(response.map(BodyExt::boxed))
}

/// Forwards, and keeps the answer: when its body has come to its end, the API server is done.
async fn finish(
    request: Request<Incoming>,
    upstream: &Upstream,
    state: &State,
    noted: Option<Instant>,
) -> Result<(), Dropped> {
    let response = upstream.send(request).await?;
    answered(state, noted, &response);
    response
        .into_body()
        .collect()
        .await
        .map_err(|e| Dropped(format!("the API server's answer: {e}")))?;
    Ok(())
}

fn answered(state: &State, noted: Option<Instant>, response: &Response<Incoming>) {
    // The list may have been begun anew meanwhile: then nobody wants to know.
    if let Some(at) = noted
        && let Some(mutation) = state
            .mutations()
            .iter_mut()
            .rev()
            .find(|mutation| mutation.at == at)
    {
        mutation.status = Some(response.status());
    }
}

/// A test's closure may block: it may kill a process, or ask the cluster something.
async fn run(job: Box<dyn FnOnce() + Send>) {
    if let Err(failed) = tokio::task::spawn_blocking(job).await {
        eprintln!("fault proxy: what the rule ran failed: {failed}");
    }
}

fn never(impossible: Infallible) -> hyper::Error {
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
