//! The same bytes over a socket: the protocol between a host and a plugin in a process of its own.
//!
//! A frame is `length: u32` (of all that follows, little endian, bounded), `tag: u8`, `header length: u32`, the
//! header in postcard, and the payload as it is. The payload stays outside of the header because it is large and
//! nobody here reads it. A frame with a tag that this side does not know is [`Frame::Unknown`], and what a newer side
//! adds at the end of a header is ignored, so that both sides may be older than the other; what they may expect of
//! each other is in the two [`Hello`]s that come first.
//!
//! Only encoding and decoding are here; who reads and writes, and when, is the core's business.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::abi::AbiError;
use crate::error::PluginError;

/// Version of the protocol: it changes only when an older side could not go on.
pub const PROTOCOL: u32 = 1;

/// The most a frame may have after its length, unless it is a call.
pub const MAX_FRAME: usize = 32 << 20;

/// The most a [`Frame::Call`] may have: a request has what was read of a whole cluster in it. Only a plugin's side reads
/// calls, so that no plugin can have its host take in as much.
pub const MAX_CALL: usize = 256 << 20;

/// The first frame, from both sides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the side that says it.
    pub protocol: u32,
    /// Versions for people and logs: of the plugin API, of the messages.
    pub versions: Vec<(String, String)>,
    /// What it can do beyond the protocol's first version.
    pub features: Vec<String>,
}

impl Hello {
    /// What this side says.
    pub fn ours() -> Self {
        Self {
            protocol: PROTOCOL,
            versions: vec![
                ("api".into(), env!("CARGO_PKG_VERSION").into()),
                ("schema".into(), crate::message::SCHEMA.into()),
            ],
            features: Vec::new(),
        }
    }
}

/// A log event, see [`crate::abi::LogLine`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Log {
    /// The call it belongs to, 0 for none.
    pub op: u64,
    /// 1 for an error to 5 for a trace.
    pub level: u8,
    /// Line in `file`.
    pub line: u32,
    /// Module it comes from.
    pub target: String,
    /// Source file.
    pub file: String,
    /// What it says.
    pub message: String,
    /// The other fields, a JSON object.
    pub fields: String,
    /// Names of the open spans, joined by `:`.
    pub spans: String,
}

/// What one side says to the other.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The first frame, from both sides.
    Hello(Hello),
    /// The host calls a method of the plugin.
    Call {
        /// Number of the call, from 1, also its operation id.
        id: u64,
        /// Name of the method.
        method: String,
        /// Its argument.
        payload: Vec<u8>,
    },
    /// The plugin's answer to a call.
    Reply {
        /// Number of the call.
        id: u64,
        /// Its result.
        result: Result<Vec<u8>, PluginError>,
    },
    /// The plugin asks the host for a service.
    HostCall {
        /// Number of the request, counted by the plugin's side.
        id: u64,
        /// Name of the service.
        method: String,
        /// Its argument.
        payload: Vec<u8>,
    },
    /// The host's answer.
    HostReply {
        /// Number of the request.
        id: u64,
        /// Its result.
        result: Result<Vec<u8>, PluginError>,
    },
    /// A log event of the plugin.
    Log(Log),
    /// An event of a call.
    Emit {
        /// Number of the call.
        op: u64,
        /// The event.
        payload: Vec<u8>,
    },
    /// Nobody waits for the call any more. It is answered nevertheless, and soon.
    Cancel {
        /// Number of the call.
        id: u64,
    },
    /// Are you there?
    Ping(u64),
    /// I am, with the number of the ping.
    Pong(u64),
    /// The plugin is to end by itself.
    Goodbye,
    /// A frame newer than this side, with its tag: to be ignored.
    Unknown(u8),
}

/// Why bytes are not a frame, or a frame cannot be sent. The connection is of no use after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// Larger than is allowed.
    TooLarge {
        /// How large it is.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
    /// The header cannot be read.
    Garbled(&'static str),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge { size, limit } => {
                write!(f, "a frame of {size} bytes is more than the {limit} allowed")
            }
            Self::Garbled(what) => write!(f, "a frame cannot be read: {what}"),
        }
    }
}

impl std::error::Error for FrameError {}

const HELLO: u8 = 1;
const CALL: u8 = 2;
const REPLY: u8 = 3;
const HOST_CALL: u8 = 4;
const HOST_REPLY: u8 = 5;
const LOG: u8 = 6;
const EMIT: u8 = 7;
const CANCEL: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const GOODBYE: u8 = 11;

/// Length, tag, header length.
const PREFIX: usize = 4 + 1 + 4;

#[derive(Serialize, Deserialize)]
struct CallHeader {
    id: u64,
    method: String,
}

#[derive(Serialize, Deserialize)]
struct ReplyHeader {
    id: u64,
    /// Code and message of an error, whose detail is then the payload.
    error: Option<(String, String)>,
}

impl Frame {
    /// The frame as bytes, its length included.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Hello(hello) => write(HELLO, hello, &[]),
            Self::Call { id, method, payload } => encode_call(*id, method, payload),
            Self::Reply { id, result } => write_reply(REPLY, *id, result),
            Self::HostCall { id, method, payload } => write(
                HOST_CALL,
                &CallHeader {
                    id: *id,
                    method: method.clone(),
                },
                payload,
            ),
            Self::HostReply { id, result } => write_reply(HOST_REPLY, *id, result),
            Self::Log(log) => write(LOG, log, &[]),
            Self::Emit { op, payload } => write(EMIT, op, payload),
            Self::Cancel { id } => write(CANCEL, id, &[]),
            Self::Ping(nonce) => write(PING, nonce, &[]),
            Self::Pong(nonce) => write(PONG, nonce, &[]),
            Self::Goodbye => write(GOODBYE, &(), &[]),
            Self::Unknown(tag) => write(*tag, &(), &[]),
        }
    }

    fn decode(tag: u8, header: &[u8], payload: &[u8]) -> Result<Self, FrameError> {
        Ok(match tag {
            HELLO => Self::Hello(read(header, "hello")?),
            CALL | HOST_CALL => {
                let CallHeader { id, method } = read(header, "call")?;
                let payload = payload.to_vec();
                if tag == CALL {
                    Self::Call { id, method, payload }
                } else {
                    Self::HostCall { id, method, payload }
                }
            }
            REPLY | HOST_REPLY => {
                let ReplyHeader { id, error } = read(header, "reply")?;
                let result = match error {
                    None => Ok(payload.to_vec()),
                    Some((code, message)) => Err(PluginError::from(AbiError {
                        code: code.into(),
                        message: message.into(),
                        detail: payload.to_vec().into(),
                    })),
                };
                if tag == REPLY {
                    Self::Reply { id, result }
                } else {
                    Self::HostReply { id, result }
                }
            }
            LOG => Self::Log(read(header, "log")?),
            EMIT => Self::Emit {
                op: read(header, "emit")?,
                payload: payload.to_vec(),
            },
            CANCEL => Self::Cancel {
                id: read(header, "cancel")?,
            },
            PING => Self::Ping(read(header, "ping")?),
            PONG => Self::Pong(read(header, "pong")?),
            GOODBYE => Self::Goodbye,
            unknown => Self::Unknown(unknown),
        })
    }
}

/// A [`Frame::Call`] without owning its parts: the hot path of a host.
pub fn encode_call(id: u64, method: &str, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    write(CALL, &(id, method), payload)
}

fn write_reply(tag: u8, id: u64, result: &Result<Vec<u8>, PluginError>) -> Result<Vec<u8>, FrameError> {
    match result {
        Ok(payload) => write(tag, &ReplyHeader { id, error: None }, payload),
        Err(error) => {
            let error = AbiError::from(error.clone());
            let header = ReplyHeader {
                id,
                error: Some((error.code.into(), error.message.into())),
            };
            write(tag, &header, &error.detail)
        }
    }
}

fn write(tag: u8, header: &impl Serialize, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::with_capacity(PREFIX + 64 + payload.len());
    bytes.extend_from_slice(&[0; PREFIX]);
    let mut bytes = postcard::to_extend(header, bytes).map_err(|_| FrameError::Garbled("its own header"))?;
    let header_length = bytes.len() - PREFIX;
    bytes.extend_from_slice(payload);
    let size = bytes.len() - 4;
    let limit = if tag == CALL { MAX_CALL } else { MAX_FRAME };
    let length = u32::try_from(size).ok().filter(|_| size <= limit);
    let (Some(length), Ok(header_length)) = (length, u32::try_from(header_length)) else {
        return Err(FrameError::TooLarge { size, limit });
    };
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4] = tag;
    bytes[5..PREFIX].copy_from_slice(&header_length.to_le_bytes());
    Ok(bytes)
}

fn read<T: DeserializeOwned>(header: &[u8], what: &'static str) -> Result<T, FrameError> {
    postcard::take_from_bytes(header)
        .map(|(value, _)| value)
        .map_err(|_| FrameError::Garbled(what))
}

/// Puts frames together from whatever pieces a socket returns.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    limit: usize,
}

impl Decoder {
    /// Of what a plugin says to its host.
    pub fn of_plugin() -> Self {
        Self::limited(MAX_FRAME)
    }

    /// Of what a host says to a plugin, calls among it.
    pub fn of_host() -> Self {
        Self::limited(MAX_CALL)
    }

    fn limited(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            limit,
        }
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > 64 << 10 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if it is there.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end, this waits for more bytes"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = &self.buffer[self.start..];
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let size = u32::from_le_bytes(*length) as usize;
        if size > self.limit {
            return Err(FrameError::TooLarge {
                size,
                limit: self.limit,
            });
        }
        let Some(frame) = rest.get(..size) else {
            return Ok(None);
        };
        self.start += 4 + size;
        let (&tag, frame) = frame.split_first().ok_or(FrameError::Garbled("it is empty"))?;
        let (header_length, frame) = frame
            .split_first_chunk::<4>()
            .ok_or(FrameError::Garbled("it has no header"))?;
        let header_length = u32::from_le_bytes(*header_length) as usize;
        let (header, payload) = frame
            .split_at_checked(header_length)
            .ok_or(FrameError::Garbled("its header is longer than the frame"))?;
        Frame::decode(tag, header, payload).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> Vec<Frame> {
        let error = PluginError::new("a", "b").cause("c").retryable();
        vec![
            Frame::Hello(Hello::ours()),
            Frame::Call {
                id: 1,
                method: "adapter.plan".into(),
                payload: b"{}".to_vec(),
            },
            Frame::Reply {
                id: 1,
                result: Ok(vec![0; 70_000]),
            },
            Frame::Reply {
                id: u64::MAX,
                result: Err(error.clone()),
            },
            Frame::HostCall {
                id: 3,
                method: "host.sleep".into(),
                payload: Vec::new(),
            },
            Frame::HostReply {
                id: 3,
                result: Err(error),
            },
            Frame::Log(Log {
                level: 3,
                message: "m".into(),
                ..Log::default()
            }),
            Frame::Emit {
                op: 7,
                payload: vec![1, 2, 3],
            },
            Frame::Cancel { id: 9 },
            Frame::Ping(1),
            Frame::Pong(1),
            Frame::Goodbye,
            Frame::Unknown(200),
        ]
    }

    fn drain(decoder: &mut Decoder) -> Result<Vec<Frame>, FrameError> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn every_frame_comes_back_however_the_bytes_are_cut() {
        let frames = one_of_each();
        let bytes: Vec<u8> = frames.iter().flat_map(|f| f.encode().unwrap()).collect();
        for piece in [1, 3, 1000, bytes.len()] {
            let mut decoder = Decoder::of_host();
            let mut read = Vec::new();
            for part in bytes.chunks(piece) {
                decoder.push(part);
                read.extend(drain(&mut decoder).unwrap());
            }
            assert_eq!(read, frames, "in pieces of {piece}");
            assert_eq!(decoder.start, decoder.buffer.len(), "in pieces of {piece}");
        }
    }

    #[test]
    fn a_newer_side_may_add_to_the_end_of_a_header() {
        let mut bytes = write(CANCEL, &(9_u64, "and why"), &[]).unwrap();
        let mut decoder = Decoder::of_host();
        decoder.push(&bytes);
        assert_eq!(decoder.next(), Ok(Some(Frame::Cancel { id: 9 })));
        bytes[4] = 99;
        decoder.push(&bytes);
        assert_eq!(decoder.next(), Ok(Some(Frame::Unknown(99))));
    }

    #[test]
    fn an_oversize_frame_is_refused_before_it_has_arrived_and_before_it_is_sent() {
        for (mut decoder, limit) in [(Decoder::of_plugin(), MAX_FRAME), (Decoder::of_host(), MAX_CALL)] {
            let size = limit + 1;
            decoder.push(&u32::try_from(size).unwrap().to_le_bytes());
            assert_eq!(decoder.next(), Err(FrameError::TooLarge { size, limit }));
        }
        assert!(encode_call(1, "m", &vec![0; MAX_FRAME]).is_ok());
        let reply = Frame::Reply {
            id: 1,
            result: Ok(vec![0; MAX_FRAME]),
        };
        for (sent, most) in [
            (reply.encode(), MAX_FRAME),
            (encode_call(1, "m", &vec![0; MAX_CALL]), MAX_CALL),
        ] {
            assert!(matches!(sent, Err(FrameError::TooLarge { limit, .. }) if limit == most));
        }
    }

    #[test]
    fn truncated_and_garbled_bytes_are_errors_or_patience_but_never_a_panic() {
        for frame in one_of_each() {
            let good = frame.encode().unwrap();
            for end in 0..good.len().min(200) {
                let mut decoder = Decoder::of_host();
                decoder.push(&good[..end]);
                assert_eq!(decoder.next(), Ok(None));
            }
        }
        // A small xorshift generator: repeatable, and no dependency.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for round in 0..20_000 {
            let mut bytes = if round % 2 == 0 {
                let frames = one_of_each();
                let mut bytes = frames[usize::try_from(random()).unwrap() % frames.len()]
                    .encode()
                    .unwrap();
                bytes.truncate(300);
                for _ in 0..=random() % 4 {
                    let at = usize::try_from(random()).unwrap() % bytes.len();
                    bytes[at] = random().to_le_bytes()[0];
                }
                bytes
            } else {
                (0..random() % 64).map(|_| random().to_le_bytes()[0]).collect()
            };
            if bytes.len() >= 4 {
                // Otherwise nearly all of them wait for bytes that never come.
                let length = u32::try_from(bytes.len() - 4).unwrap();
                bytes[..4].copy_from_slice(&length.to_le_bytes());
            }
            let mut decoder = Decoder::of_host();
            decoder.push(&bytes);
            let _ = drain(&mut decoder);
        }
    }
}
