//! Watches: what is there, and then every change to it.
//!
//! A watch can end at any moment and for many reasons, and some of them show only as silence. So each one is short
//! (the server ends it after half a minute, and we end it if the server does not), goes on from the state that was
//! seen last, and starts again from a list when the server has forgotten that state, or when another request has found
//! no server: one that is being stopped keeps watches open, and says nothing more in them. A server that has not come as
//! far as that state (its store was restored, or the address leads to another one) accepts the watch and says nothing:
//! so a watch that has told nothing at all is not gone on with either. Where watching is not allowed, lists every two
//! seconds take its place.

use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt as _;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Collected, Limited};
use meshery_plugin_api::message::facts::Detail;
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::connection::{Broken, Connection};
use super::discovery::ResourceType;
use super::error::ClusterError;
use super::handle::Cluster;
use super::list::{Choice, tidy};
use super::refusal::Refusal;
use super::request::{JSON, METADATA, Request};

/// How long the server keeps a watch open.
const SECONDS: u64 = 30;
/// When we give up on a watch that the server should have ended.
const SILENCE: Duration = Duration::from_secs(SECONDS + 5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// No object is larger.
const LONGEST_LINE: usize = 8 << 20;
/// More objects than this are not watched at a time.
const MOST: usize = 20_000;

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    /// Empty for all.
    pub(super) namespace: String,
    /// Empty for all.
    pub(super) name: String,
    /// A label selector; empty for all.
    pub(super) labels: String,
    /// Names, labels and owners will do.
    pub(super) metadata: bool,
}

impl Target {
    pub(super) fn of(object: &ObjectRef) -> Self {
        Self {
            group: object.group.clone(),
            version: object.version.clone(),
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            labels: String::new(),
            metadata: false,
        }
    }

    fn choice(&self) -> Choice<'_> {
        Choice {
            namespace: &self.namespace,
            labels: &self.labels,
            name: &self.name,
        }
    }

    /// The only object this can be about.
    fn object(&self) -> Option<ObjectRef> {
        (!self.name.is_empty()).then(|| ObjectRef {
            group: self.group.clone(),
            version: self.version.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        })
    }
}

/// What a watch has seen.
#[derive(Debug)]
pub(super) enum Seen {
    /// These are all.
    All(Vec<Value>),
    /// This one is new or has changed.
    Now(Value),
    /// This one is gone.
    Gone(Value),
    /// Nothing can be seen, and why.
    Trouble(ClusterError),
}

/// Why one watch ended.
enum End {
    /// It may go on from where it was.
    InTime,
    /// It told nothing, which is also what a state of the future looks like.
    Silent,
    /// A new list is needed.
    Lost,
    /// Nobody listens any more.
    Unheard,
}

impl Cluster {
    /// Watches until nobody listens any more; never ends by itself. Events carry the number of the target.
    pub(super) async fn watch(&self, number: usize, target: &Target, events: &Sender<(usize, Seen)>) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.watch_from_list(number, target, events).await {
                Ok(End::Unheard) => return,
                Ok(_) => pause = FIRST_PAUSE,
                Err(error) => {
                    let waits = matches!(error, ClusterError::Forbidden { .. });
                    if events.send((number, Seen::Trouble(error))).await.is_err() {
                        return;
                    }
                    pause = if waits {
                        LONGEST_PAUSE
                    } else {
                        (pause * 2).min(LONGEST_PAUSE)
                    };
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn watch_from_list(
        &self,
        number: usize,
        target: &Target,
        events: &Sender<(usize, Seen)>,
    ) -> Result<End, ClusterError> {
        let kind = self.resolve(&target.group, &target.version, &target.kind).await?;
        let detail = if target.metadata {
            Detail::Metadata
        } else {
            Detail::Full
        };
        let listed = match self.list_chosen(&kind, target.choice(), detail, MOST).await {
            Ok(listed) => listed,
            // A role may allow one name and no list.
            Err(error @ ClusterError::Forbidden { .. }) => {
                let Some(object) = target.object() else {
                    return Err(error);
                };
                let items = self.get(&object).await?.into_iter().collect();
                return Ok(match events.send((number, Seen::All(items))).await {
                    Ok(()) => {
                        tokio::time::sleep(LONGEST_PAUSE).await;
                        End::Lost
                    }
                    Err(_) => End::Unheard,
                });
            }
            Err(error) => return Err(error),
        };
        let mut version = listed.resource_version;
        if events.send((number, Seen::All(listed.items))).await.is_err() {
            return Ok(End::Unheard);
        }
        loop {
            let began = tokio::time::Instant::now();
            let end = match self.watch_once(number, target, &kind, &mut version, events).await {
                Ok(end) => end,
                // The list worked, and the next one will say if something is wrong.
                Err(error) => {
                    tracing::debug!(%error, kind = target.kind, "a watch could not be opened");
                    tokio::time::sleep(LONGEST_PAUSE).await;
                    return Ok(End::Lost);
                }
            };
            // Whatever ends watches at once does not make us ask all the time.
            if matches!(end, End::InTime | End::Silent) && began.elapsed() < Duration::from_secs(1) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            if !matches!(end, End::InTime) {
                return Ok(end);
            }
        }
    }

    async fn watch_once(
        &self,
        number: usize,
        target: &Target,
        kind: &ResourceType,
        version: &mut String,
        events: &Sender<(usize, Seen)>,
    ) -> Result<End, ClusterError> {
        let query = format!(
            "watch=1&allowWatchBookmarks=true&timeoutSeconds={SECONDS}&resourceVersion={version}{}",
            target.choice().query()
        );
        let accept = if target.metadata { METADATA } else { JSON };
        let request =
            Request::collection(Method::GET, "watch", kind, &target.namespace, &query).accept(accept);
        let client = self.connection.client();
        let limit = self.connection.settings.request;
        let mut breaks = self.connection.breaks();
        let opening = timeout(limit, self.connection.open(&client, &request));
        let opened = tokio::select! {
            opened = opening => opened.unwrap_or_else(|_| Err(Connection::too_slow(&request, limit))),
            _ = breaks.changed() => return Ok(End::Lost),
        };
        let answer = opened.map_err(|Broken { error, passing, .. }| {
            if passing {
                self.connection.note_trouble();
            }
            error
        })?;
        if answer.status() == StatusCode::GONE {
            return Ok(End::Lost);
        }
        if !answer.status().is_success() {
            let status = answer.status();
            let body = Limited::new(answer.into_body(), 1 << 16).collect();
            let body = timeout(limit, body)
                .await
                .ok()
                .and_then(Result::ok)
                .map(Collected::to_bytes);
            return Err(Refusal::read(status, &body.unwrap_or_default())
                .into_error(&request.subject, &self.connection.context));
        }
        let mut frames = answer.into_body().into_data_stream();
        let mut line = BytesMut::new();
        let mut heard = false;
        let give_up = tokio::time::Instant::now() + SILENCE;
        loop {
            let frame = tokio::select! {
                frame = frames.next() => frame,
                _ = breaks.changed() => return Ok(End::Lost),
                () = tokio::time::sleep_until(give_up) => None,
            };
            match frame {
                None if heard => return Ok(End::InTime),
                None => return Ok(End::Silent),
                Some(Err(error)) => {
                    tracing::debug!(%error, kind = target.kind, "a watch broke");
                    self.connection.note_trouble();
                    return Ok(End::Lost);
                }
                Some(Ok(frame)) => line.extend_from_slice(&frame),
            }
            while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                let event = line.split_to(end + 1);
                heard = true;
                match read_event(kind, &event, version) {
                    Some(Event::Seen(seen)) => {
                        if events.send((number, seen)).await.is_err() {
                            return Ok(End::Unheard);
                        }
                    }
                    Some(Event::Nothing) => {}
                    None => return Ok(End::Lost),
                }
            }
            if line.len() > LONGEST_LINE {
                return Ok(End::Lost);
            }
        }
    }
}

enum Event {
    Seen(Seen),
    Nothing,
}

/// One line of a watch; nothing when the watch is of no more use.
fn read_event(kind: &ResourceType, line: &[u8], version: &mut String) -> Option<Event> {
    let mut event: Value = serde_json::from_slice(line).ok()?;
    let object = event["object"].take();
    let make = match event["type"].as_str()? {
        "ADDED" | "MODIFIED" => Seen::Now,
        "DELETED" => Seen::Gone,
        "BOOKMARK" => {
            object["metadata"]["resourceVersion"]
                .as_str()?
                .clone_into(version);
            return Some(Event::Nothing);
        }
        // The state to go on from is forgotten, mostly.
        _ => return None,
    };
    object["metadata"]["resourceVersion"]
        .as_str()?
        .clone_into(version);
    Some(Event::Seen(make(tidy(kind, object))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind() -> ResourceType {
        ResourceType {
            group: String::new(),
            version: "v1".into(),
            kind: "Pod".into(),
            plural: "pods".into(),
            namespaced: true,
            verbs: vec![],
        }
    }

    #[test]
    fn events_move_the_state_on_and_an_error_ends_it() {
        let mut version = "1".to_owned();
        let line = br#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"5"}}}"#;
        let Some(Event::Seen(Seen::Now(object))) = read_event(&kind(), line, &mut version) else {
            panic!("not seen");
        };
        assert_eq!((object["kind"].as_str(), version.as_str()), (Some("Pod"), "5"));
        let bookmark = br#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9"}}}"#;
        assert!(matches!(
            read_event(&kind(), bookmark, &mut version),
            Some(Event::Nothing)
        ));
        assert_eq!(version, "9");
        let expired = br#"{"type":"ERROR","object":{"kind":"Status","reason":"Expired","code":410}}"#;
        assert!(read_event(&kind(), expired, &mut version).is_none());
        assert!(read_event(&kind(), b"garbage", &mut version).is_none());
    }
}
