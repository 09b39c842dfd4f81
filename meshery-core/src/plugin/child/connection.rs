//! Calls over one child's socket: many at a time, each with its number.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meshery_plugin_api::PluginError;
use meshery_plugin_api::frame::{Decoder, Frame, FrameError, Hello, encode_call};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot};
use tracing::Span;

use super::outbox::Outbox;
use crate::plugin::backend::unavailable;
use crate::plugin::{log, services};

/// Requests of a plugin to the host that are served at the same time; more are refused.
const MOST_HOST_CALLS: usize = 256;
const READ_AT_ONCE: usize = 64 << 10;

pub(super) struct Connection {
    plugin: String,
    pid: Option<u32>,
    outbox: Outbox,
    pending: Mutex<Pending>,
    next: AtomicU64,
    grace: Duration,
    /// Rung when a call that was cancelled went on for longer than the grace period.
    overdue: Notify,
    host_calls: Semaphore,
    runtime: Handle,
}

#[derive(Default)]
struct Pending {
    calls: HashMap<u64, Call>,
    /// Why no call is taken any more.
    ended: Option<PluginError>,
}

struct Call {
    /// None once nobody waits for it.
    reply: Option<oneshot::Sender<Result<Vec<u8>, PluginError>>>,
    /// Its log events belong here.
    span: Span,
}

/// The end of a connection, as its reader saw it.
pub(super) enum End {
    Closed,
    Garbled(FrameError),
}

impl Connection {
    /// The connection, and the task that reads from it, whose result is how it ended.
    pub fn new(
        plugin: &str,
        pid: Option<u32>,
        socket: UnixStream,
        grace: Duration,
    ) -> (
        Arc<Self>,
        impl Future<Output = End> + Send + 'static,
        oneshot::Receiver<Hello>,
    ) {
        let (read, write) = socket.into_split();
        let connection = Arc::new(Self {
            plugin: plugin.to_owned(),
            pid,
            outbox: Outbox::new(write),
            pending: Mutex::default(),
            next: AtomicU64::new(1),
            grace,
            overdue: Notify::new(),
            host_calls: Semaphore::new(MOST_HOST_CALLS),
            runtime: Handle::current(),
        });
        let flusher = connection.clone();
        tokio::spawn(async move { flusher.outbox.flush().await });
        let (hello, greeted) = oneshot::channel();
        connection.send(&Frame::Hello(Hello::ours()));
        let reader = connection.clone();
        (connection, async move { reader.read(read, hello).await }, greeted)
    }

    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Sends a call. The future is its reply; dropping it cancels the call.
    pub fn call(
        self: &Arc<Self>,
        method: &str,
        payload: &[u8],
        span: Span,
    ) -> Result<impl Future<Output = Result<Vec<u8>, PluginError>> + Send + use<>, PluginError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let frame = encode_call(id, method, payload).map_err(|error| {
            let message = format!("{method} cannot be sent: {error}");
            match error {
                FrameError::TooLarge { .. } => PluginError::new("call-too-large", message)
                    .cause("what an adapter asks to be told of a cluster goes with the call, to a process of its own within bounds")
                    .remedy("run the plugin in the host's process (setting isolation), or as an identity that sees fewer namespaces"),
                FrameError::Garbled(_) => PluginError::new("plugin-protocol", message),
            }
        })?;
        let (reply, replied) = oneshot::channel();
        {
            let mut pending = self.pending.lock();
            if let Some(error) = &pending.ended {
                return Err(error.clone());
            }
            let reply = Some(reply);
            pending.calls.insert(id, Call { reply, span });
        }
        let waiting = Waiting {
            connection: self.clone(),
            id,
        };
        self.outbox.send(frame);
        Ok(async move {
            let result = replied.await;
            let connection = &waiting.connection;
            result.unwrap_or_else(|_| Err(unavailable(&connection.plugin, "its connection was closed")))
        })
    }

    fn send(&self, frame: &Frame) {
        match frame.encode() {
            Ok(bytes) => self.outbox.send(bytes),
            Err(error) => tracing::error!(plugin = self.plugin, %error, "a frame cannot be sent"),
        }
    }

    pub fn goodbye(&self) {
        self.send(&Frame::Goodbye);
    }

    /// Waits until a cancelled call has gone on for too long.
    pub async fn overdue(&self) {
        self.overdue.notified().await;
    }

    /// Fails all calls, those on their way and those to come.
    pub fn end(&self, why: PluginError) {
        let calls = {
            let mut pending = self.pending.lock();
            pending.ended.get_or_insert_with(|| why.clone());
            std::mem::take(&mut pending.calls)
        };
        for call in calls.into_values() {
            if let Some(reply) = call.reply {
                let _ = reply.send(Err(why.clone()));
            }
        }
        self.outbox.close();
    }

    async fn read(self: Arc<Self>, mut socket: OwnedReadHalf, hello: oneshot::Sender<Hello>) -> End {
        let mut decoder = Decoder::of_plugin();
        let mut buffer = vec![0; READ_AT_ONCE];
        let mut hello = Some(hello);
        loop {
            loop {
                match decoder.next() {
                    Ok(None) => break,
                    Ok(Some(Frame::Hello(theirs))) => {
                        if let Some(hello) = hello.take() {
                            let _ = hello.send(theirs);
                        }
                    }
                    Ok(Some(frame)) => self.received(frame),
                    Err(error) => return End::Garbled(error),
                }
            }
            match socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return End::Closed,
                Ok(read) => decoder.push(&buffer[..read]),
            }
        }
    }

    fn received(self: &Arc<Self>, frame: Frame) {
        match frame {
            Frame::Reply { id, result } => {
                let call = self.pending.lock().calls.remove(&id);
                if let Some(reply) = call.and_then(|call| call.reply) {
                    let _ = reply.send(result);
                }
            }
            Frame::HostCall { id, method, payload } => self.serve(id, method, payload),
            Frame::Log(event) => {
                let span = self
                    .pending
                    .lock()
                    .calls
                    .get(&event.op)
                    .map(|call| call.span.clone());
                span.unwrap_or_else(Span::none)
                    .in_scope(|| log::write(&self.plugin, &event));
            }
            Frame::Emit { op, payload } => services::emitted(&self.plugin, op, &payload),
            Frame::Ping(nonce) => self.send(&Frame::Pong(nonce)),
            Frame::Hello(_)
            | Frame::Call { .. }
            | Frame::HostReply { .. }
            | Frame::Cancel { .. }
            | Frame::Pong(_)
            | Frame::Goodbye
            | Frame::Unknown(_) => {}
        }
    }

    fn serve(self: &Arc<Self>, id: u64, method: String, payload: Vec<u8>) {
        let connection = self.clone();
        self.runtime.spawn(async move {
            let result = match connection.host_calls.try_acquire() {
                Ok(_permit) => services::call(&method, &payload).await,
                Err(_) => Err(PluginError::new(
                    "host-busy",
                    format!("more than {MOST_HOST_CALLS} requests to the host are on their way"),
                )
                .retryable()),
            };
            connection.send(&Frame::HostReply { id, result });
        });
    }

    /// Nobody waits for a call any more.
    fn cancel(self: &Arc<Self>, id: u64) {
        match self.pending.lock().calls.get_mut(&id) {
            Some(call) => call.reply = None,
            None => return,
        }
        self.send(&Frame::Cancel { id });
        let connection = self.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(connection.grace).await;
            if connection.pending.lock().calls.contains_key(&id) {
                connection.overdue.notify_one();
            }
        });
    }
}

/// Cancels the call when its caller has gone.
struct Waiting {
    connection: Arc<Connection>,
    id: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.connection.cancel(self.id);
    }
}
