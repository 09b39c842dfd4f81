//! A chart repository over TLS, with a name that only the proxy in front of it can resolve: all of it on this machine's
//! loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::istiod::Identity;

/// A repository and its proxy; both end with it.
pub struct Repository {
    /// The authority that signed the repository's certificate.
    pub ca_pem: String,
    proxy: SocketAddr,
    tunnels: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<Answers>>,
    _runtime: Runtime,
}

/// What is answered by path; nothing when the answer is withheld.
type Answers = HashMap<String, Option<Arc<Vec<u8>>>>;

fn answered(files: HashMap<String, Vec<u8>>) -> Answers {
    let files = files.into_iter();
    files.map(|(path, body)| (path, Some(Arc::new(body)))).collect()
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Repository {
    /// Serves files by their path under a host's name.
    pub fn start(host: &str, files: HashMap<String, Vec<u8>>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let identity = Identity::new(host)?;
        let ca_pem = identity.ca_pem.clone();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let repository = listener.local_addr()?;
        let answers = Arc::new(Mutex::new(answered(files)));
        let files = answers.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, files) = (identity.acceptor.clone(), files.clone());
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    let head = head(&mut stream).await?;
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    let answer = held(&files).get(path).cloned();
                    let (status, body) = match answer {
                        Some(Some(body)) => ("200 OK", body),
                        Some(None) => std::future::pending().await,
                        None => ("404 Not Found", Arc::default()),
                    };
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await?;
                    stream.write_all(&body).await?;
                    stream.shutdown().await
                });
            }
        });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let proxy = listener.local_addr()?;
        let tunnels = Arc::new(Mutex::new(Vec::new()));
        let asked = tunnels.clone();
        let known = format!("{host}:443");
        runtime.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (asked, known) = (asked.clone(), known.clone());
                tokio::spawn(async move {
                    let head = head(&mut stream).await?;
                    let line = head.lines().next().unwrap_or_default().to_owned();
                    let to = line.split(' ').nth(1).unwrap_or_default().to_owned();
                    held(&asked).push(line);
                    if to != known {
                        return stream
                            .write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
                            .await;
                    }
                    let mut other = TcpStream::connect(repository).await?;
                    stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
                    copy_bidirectional(&mut stream, &mut other).await.map(drop)
                });
            }
        });
        Ok(Self {
            ca_pem,
            proxy,
            tunnels,
            answers,
            _runtime: runtime,
        })
    }

    /// The proxy's address.
    pub fn proxy(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// The first lines of what the proxy was asked.
    pub fn tunnels(&self) -> Vec<String> {
        held(&self.tunnels).clone()
    }

    /// Serves other files from now on.
    pub fn serve(&self, files: HashMap<String, Vec<u8>>) {
        *held(&self.answers) = answered(files);
    }

    /// Answers requests for a path no more.
    pub fn withhold(&self, path: &str) {
        held(&self.answers).insert(path.to_owned(), None);
    }
}

async fn head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await? > 0 {}
    Ok(String::from_utf8_lossy(&head).into_owned())
}
