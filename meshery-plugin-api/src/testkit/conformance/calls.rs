//! A provider's methods with their types, and words for what is not as it should be.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Subject, Verdict};
use crate::dispatch::{Forget, GetBlobs, GetDocument, PutBlobs, WriteBatch};
use crate::error::PluginError;
use crate::message::document::{Blob, Document, Expect, Page, Query, StoreHealth, User, Write};
use crate::message::journal::{Append, Entry, Read, Reserve};

pub(super) const ANY: Expect = Expect::Any;

type Answer<T> = Result<T, PluginError>;

pub(super) struct Calls<'a>(&'a dyn Subject);

impl<'a> Calls<'a> {
    pub fn of(subject: &'a dyn Subject) -> Self {
        Self(subject)
    }

    fn call<A: Serialize, R: DeserializeOwned>(&self, method: &str, argument: &A) -> Answer<R> {
        let odd = |error: serde_json::Error| PluginError::new("odd-answer", format!("{method}: {error}"));
        let argument = serde_json::to_vec(argument).map_err(odd)?;
        serde_json::from_slice(&self.0.call(method, &argument)?).map_err(odd)
    }

    pub fn user(&self) -> Answer<User> {
        self.call("provider.user", &json!({}))
    }

    pub fn health(&self) -> Answer<StoreHealth> {
        self.call("provider.health", &json!({}))
    }

    pub fn get(&self, kind: &str, id: &str) -> Answer<Option<Document>> {
        let (kind, id) = (kind.into(), id.into());
        self.call("provider.get", &GetDocument { kind, id })
    }

    pub fn write(&self, batch: Vec<Write>) -> Answer<Vec<u64>> {
        self.call("provider.write", &WriteBatch { batch })
    }

    /// Writes a document with a number in it, and returns its revision.
    pub fn put(&self, kind: &str, id: &str, n: u64, expect: Expect) -> Answer<u64> {
        let revisions = self.write(vec![put(kind, id, n, expect)])?;
        Ok(revisions.first().copied().unwrap_or_default())
    }

    pub fn list(&self, query: &Query) -> Answer<Page> {
        self.call("provider.list", query)
    }

    pub fn put_blobs(&self, owner: &str, blobs: Vec<Blob>) -> Answer<()> {
        let owner = owner.into();
        self.call("provider.put_blobs", &PutBlobs { owner, blobs })
    }

    pub fn get_blobs(&self, sha256: Vec<String>) -> Answer<Vec<Blob>> {
        self.call("provider.get_blobs", &GetBlobs { sha256 })
    }

    /// Appends numbers.
    pub fn append(&self, stream: &str, first: u64, numbers: &[u64]) -> Answer<u64> {
        let append = Append {
            stream: stream.into(),
            first,
            entries: numbers.iter().map(|n| number(*n)).collect(),
        };
        self.call("provider.append", &append)
    }

    pub fn read(&self, stream: &str, after: u64, limit: u32) -> Answer<Vec<Entry>> {
        let stream = stream.into();
        self.call("provider.read", &Read { stream, after, limit })
    }

    pub fn reserve(&self, stream: &str, bytes: u64) -> Answer<()> {
        let stream = stream.into();
        self.call("provider.reserve", &Reserve { stream, bytes })
    }

    pub fn forget(&self, stream: &str) -> Answer<()> {
        let stream = stream.into();
        self.call("provider.forget", &Forget { stream })
    }

    /// The numbers of a whole journal, whose entries must follow each other.
    pub fn numbers(&self, stream: &str) -> Result<Vec<u64>, String> {
        let mut numbers: Vec<u64> = Vec::new();
        loop {
            let page = self.ok("read", self.read(stream, numbers.len() as u64, 0))?;
            if page.is_empty() {
                return Ok(numbers);
            }
            for entry in page {
                let seq = numbers.len() as u64 + 1;
                same(&format!("the number of an entry of {stream}"), &entry.seq, &seq)?;
                let n = entry.entry["n"].as_u64();
                numbers.push(n.ok_or_else(|| format!("entry {seq} of {stream} is {}", entry.entry))?);
            }
        }
    }

    /// The answer to what must succeed.
    #[allow(clippy::unused_self)]
    pub fn ok<T>(&self, what: &str, answer: Answer<T>) -> Result<T, String> {
        answer.map_err(|error| format!("{what} failed with {}: {error}", error.code))
    }

    /// That something is refused with this code.
    #[allow(clippy::unused_self)]
    pub fn refused<T: Debug>(&self, what: &str, code: &str, answer: Answer<T>) -> Verdict {
        match answer {
            Err(error) if error.code == code => Ok(()),
            Err(error) => Err(format!(
                "{what}: expected the error {code}, got {}: {error}",
                error.code
            )),
            Ok(answer) => Err(format!(
                "{what}: expected the error {code}, it succeeded with {answer:?}"
            )),
        }
    }
}

pub(super) fn number(n: u64) -> Value {
    json!({ "n": n })
}

pub(super) fn put(kind: &str, id: &str, n: u64, expect: Expect) -> Write {
    let document = Document {
        kind: kind.into(),
        id: id.into(),
        body: number(n),
        ..Document::default()
    };
    Write::Put { document, expect }
}

pub(super) fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Verdict {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, found {found:?}"))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A future's output, waited for on this thread.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}
