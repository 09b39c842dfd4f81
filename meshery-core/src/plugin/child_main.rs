//! The other side of a child process.
//!
//! Threads take turns: one reads a frame, and if it is a call, runs it itself while another goes on reading. So a
//! call needs no switch between threads, and there is always one that notices when the host has gone, which ends the
//! process at once, whatever the plugin is doing.

mod host_side;
mod waiting;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use abi_stable::sabi_trait::prelude::TD_Opaque;
use abi_stable::std_types::RArc;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::abi::{HostServices_TO, PluginModuleRef};
use meshery_plugin_api::export::CreateConfig;
use meshery_plugin_api::frame::{Decoder, Frame, Hello, PROTOCOL};
use meshery_plugin_api::message::descriptor::{Manifest, PluginKind};
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::fault::LoadFault;
use super::instance::{Instance, result};
use super::library;
use crate::core_dumps;
use host_side::{ChildHost, HostCalls};
use waiting::{Cancel, wait};

/// Loads the file; takes the manifest it must have, returns [`Loaded`].
pub(super) const LOAD: &str = "child.load";
/// Makes the instance; takes [`CreateConfig`], returns nothing.
pub(super) const CREATE: &str = "child.create";

/// The result of [`LOAD`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Loaded {
    pub fault: Option<LoadFault>,
}

/// More calls at a time than any host makes.
const MOST_THREADS: usize = 1024;
const READ_AT_ONCE: usize = 64 << 10;

/// What the hidden subcommand `plugin-child` runs: a plugin, called over the socket that is its standard input.
///
/// A host's `main` calls this with the arguments after the subcommand, before it starts anything else: threads,
/// a runtime, a log.
pub fn child_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Child::prepare(args) {
        Ok(child) => {
            Arc::new(child).work();
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _ = writeln!(
                io::stderr(),
                "this is how a host runs a plugin in a process of its own, it is not for people: {why}"
            );
            ExitCode::from(2)
        }
    }
}

struct Child {
    file: PathBuf,
    input: Mutex<Input>,
    output: Arc<Output>,
    /// Threads that wait for their turn to read.
    idle: AtomicUsize,
    threads: AtomicUsize,
    module: OnceLock<(PluginModuleRef, PluginKind)>,
    instance: OnceLock<Instance>,
    calls: Arc<Calls>,
    host_calls: Arc<HostCalls>,
}

struct Input {
    socket: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

/// The way to the host; frames are written whole.
struct Output(Mutex<UnixStream>);

impl Output {
    fn send(&self, frame: &Frame) {
        let bytes = frame.encode().or_else(|error| match frame {
            // The caller must learn that its result cannot be sent.
            Frame::Reply { id, .. } => Frame::Reply {
                id: *id,
                result: Err(PluginError::new(
                    "plugin-protocol",
                    format!("the result cannot be sent: {error}"),
                )),
            }
            .encode(),
            _ => Err(error),
        });
        if let Ok(bytes) = bytes {
            // When the host has gone, whoever reads notices.
            let _ = self.0.lock().write_all(&bytes);
        }
    }
}

/// Calls that are being carried out.
#[derive(Default)]
struct Calls(Mutex<HashMap<u64, Arc<Cancel>>>);

struct Call {
    id: u64,
    method: String,
    payload: Vec<u8>,
    cancel: Arc<Cancel>,
}

impl Child {
    fn prepare(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut args = args.into_iter();
        let memory = args.next().ok_or("it needs a limit and a file")?;
        let memory: u64 = memory
            .to_str()
            .and_then(|text| text.parse().ok())
            .ok_or("its first argument is not a number of bytes")?;
        let file = PathBuf::from(args.next().ok_or("it needs a file")?);
        let socket = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| e.to_string())?;
        let input = UnixStream::from(socket);
        let output = input.try_clone().map_err(|e| e.to_string())?;
        limit(Resource::As, memory).map_err(|e| format!("its memory cannot be limited: {e}"))?;
        core_dumps::switch_off().map_err(|e| format!("core dumps cannot be switched off: {e}"))?;
        let child = Self {
            file,
            input: Mutex::new(Input {
                socket: input,
                decoder: Decoder::of_host(),
                buffer: vec![0; READ_AT_ONCE],
            }),
            output: Arc::new(Output(Mutex::new(output))),
            idle: AtomicUsize::new(0),
            threads: AtomicUsize::new(1),
            module: OnceLock::new(),
            instance: OnceLock::new(),
            calls: Arc::default(),
            host_calls: Arc::default(),
        };
        child.greet()?;
        Ok(child)
    }

    fn greet(&self) -> Result<(), String> {
        let mut input = self.input.lock();
        match input
            .next()
            .map_err(|e| format!("its standard input is not a host's socket ({e})"))?
        {
            Some(Frame::Hello(theirs)) => {
                self.output.send(&Frame::Hello(Hello::ours()));
                if theirs.protocol == PROTOCOL {
                    Ok(())
                } else {
                    Err(format!(
                        "the host speaks protocol {}, this speaks {PROTOCOL}",
                        theirs.protocol
                    ))
                }
            }
            _ => Err("its standard input is not a host's socket".into()),
        }
    }

    /// Takes turns in reading, and carries out what was read.
    fn work(self: &Arc<Self>) {
        loop {
            self.idle.fetch_add(1, Ordering::SeqCst);
            let call = self.next_call();
            self.idle.fetch_sub(1, Ordering::SeqCst);
            let id = call.id;
            let result = if self.successor() {
                self.carry_out(call)
            } else {
                Err(PluginError::new("plugin-busy", "no thread can be made for the call").retryable())
            };
            self.calls.0.lock().remove(&id);
            self.output.send(&Frame::Reply { id, result });
        }
    }

    /// Makes sure that somebody reads while this thread is away.
    fn successor(self: &Arc<Self>) -> bool {
        if self.idle.load(Ordering::SeqCst) > 0 {
            return true;
        }
        if self.threads.fetch_add(1, Ordering::SeqCst) < MOST_THREADS {
            let child = self.clone();
            let spawned = std::thread::Builder::new().spawn(move || child.work());
            if spawned.is_ok() {
                return true;
            }
        }
        self.threads.fetch_sub(1, Ordering::SeqCst);
        false
    }

    /// Reads until there is a call. What needs no time is done on the way, in the order in which it came.
    fn next_call(&self) -> Call {
        let mut input = self.input.lock();
        loop {
            match input.next() {
                Ok(Some(Frame::Call { id, method, payload })) => {
                    let cancel = Arc::new(Cancel::default());
                    self.calls.0.lock().insert(id, cancel.clone());
                    return Call {
                        id,
                        method,
                        payload,
                        cancel,
                    };
                }
                Ok(Some(Frame::Cancel { id })) => {
                    if let Some(cancel) = self.calls.0.lock().get(&id) {
                        cancel.cancel();
                    }
                }
                Ok(Some(Frame::HostReply { id, result })) => self.host_calls.replied(id, result),
                Ok(Some(Frame::Ping(nonce))) => self.output.send(&Frame::Pong(nonce)),
                Ok(Some(Frame::Goodbye)) => {
                    if let Some(instance) = self.instance.get() {
                        instance.end();
                    }
                    exit(0);
                }
                Ok(Some(
                    Frame::Hello(_)
                    | Frame::Reply { .. }
                    | Frame::HostCall { .. }
                    | Frame::Log(_)
                    | Frame::Emit { .. }
                    | Frame::Pong(_)
                    | Frame::Unknown(_),
                )) => {}
                Ok(None) => exit(0),
                Err(error) => {
                    let _ = writeln!(io::stderr(), "the connection to the host is broken: {error}");
                    exit(3);
                }
            }
        }
    }

    fn carry_out(&self, call: Call) -> Result<Vec<u8>, PluginError> {
        match call.method.as_str() {
            LOAD => self.load(&call.payload),
            CREATE => self.create(&call.payload),
            method => {
                let instance = self.instance.get().ok_or_else(|| {
                    PluginError::new(
                        "plugin-protocol",
                        format!("{method} was called before the instance was made"),
                    )
                })?;
                if instance.kind() == PluginKind::Provider {
                    let future = instance.call_async(call.id, method, call.payload)?;
                    wait(&call.cancel, future).map_or_else(
                        || {
                            Err(PluginError::new(
                                "plugin-cancelled",
                                format!("{method} was cancelled"),
                            ))
                        },
                        result,
                    )
                } else {
                    instance.call(call.id, method, &call.payload)
                }
            }
        }
    }

    fn load(&self, payload: &[u8]) -> Result<Vec<u8>, PluginError> {
        let expected: Manifest = serde_json::from_slice(payload).map_err(|e| protocol(&e))?;
        let fault = match library::open(&self.file, &expected) {
            Ok(module) => {
                let _ = self.module.set((module, expected.kind));
                None
            }
            Err(fault) => Some(fault),
        };
        serde_json::to_vec(&Loaded { fault }).map_err(|e| protocol(&e))
    }

    fn create(&self, payload: &[u8]) -> Result<Vec<u8>, PluginError> {
        let config: CreateConfig = serde_json::from_slice(payload).map_err(|e| protocol(&e))?;
        let (module, kind) = *self
            .module
            .get()
            .ok_or_else(|| PluginError::new("plugin-protocol", "the file was not loaded"))?;
        let host = ChildHost::new(config.log_level, &self.output, &self.calls, &self.host_calls);
        let host = move || HostServices_TO::from_ptr(RArc::new(host.clone()), TD_Opaque);
        let _ = self
            .instance
            .set(Instance::create(module, kind, Box::new(host), &config)?);
        Ok(Vec::new())
    }
}

impl Input {
    /// The next frame; nothing at the end of the connection.
    fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.decoder.next().map_err(io::Error::other)? {
                return Ok(Some(frame));
            }
            match self.socket.read(&mut self.buffer) {
                Ok(0) => return Ok(None),
                Ok(read) => self.decoder.push(&self.buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

fn protocol(error: &serde_json::Error) -> PluginError {
    PluginError::new("plugin-protocol", error.to_string())
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = Some(most);
    Ok(setrlimit(
        resource,
        Rlimit {
            current: most,
            maximum: most,
        },
    )?)
}

/// Ends the process without running what the plugin may have left to be run at the end: that could hang.
fn exit(code: i32) -> ! {
    // SAFETY: it ends the process, whatever the state of memory is.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(code)
    }
}
