//! Events for whoever listens: from memory while an operation is at work and the listener keeps up, else from its
//! journal. Listeners pull; a slow one loses nothing and slows nobody, and holds a few events at a time, however far it
//! is behind.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::BoxStream;

use super::entry::Timed;
use super::event::Event;
use crate::operation::engine::Engine;
use crate::operation::plan::stored::unreadable;
use crate::problem::Problem;

/// Events of an operation, from some point on; ends when nothing more will happen by itself. An error ends it too;
/// whoever wants more asks again, from the last number they saw.
pub type EventStream = BoxStream<'static, Result<Event, Problem>>;

/// How many events a listener takes at a time. One that is stalled holds so many, and nothing else.
pub(super) const TAKEN: usize = 128;
/// How many parts of journals are read for listeners at a time: what stood before a change is in them too, and is read to
/// be passed over.
pub(in crate::operation) const JOURNALS_READ: usize = 4;

struct Listener {
    engine: Arc<Engine>,
    id: String,
    /// Number of the last entry that was looked at.
    position: u64,
    ready: VecDeque<Event>,
    failed: bool,
}

impl Engine {
    /// What the journal holds after an entry: its events, and the number of its last entry.
    pub async fn journaled(&self, id: &str, after: u64) -> Result<(Vec<Event>, u64), Problem> {
        let mut last = after;
        let mut events = Vec::new();
        loop {
            let (part, to) = self.journaled_part(id, last).await?;
            if to == last {
                return Ok((events, last));
            }
            last = to;
            events.extend(part);
        }
    }

    /// The first of it, a few entries at a time; the number stays the same at the journal's end.
    async fn journaled_part(&self, id: &str, after: u64) -> Result<(Vec<Event>, u64), Problem> {
        let _one = self.journals_read.acquire().await;
        let limit = u32::try_from(TAKEN).unwrap_or(u32::MAX);
        let mut last = after;
        let mut events = Vec::new();
        for entry in self.store.read_page(id, after, limit).await? {
            let timed: Timed = serde_json::from_value(entry.entry).map_err(|error| unreadable(&error))?;
            last = entry.seq;
            events.extend(timed.event(id, entry.seq));
        }
        Ok((events, last))
    }

    /// Listens to an operation from some point on.
    pub fn listen(self: &Arc<Self>, id: &str, after: u64) -> EventStream {
        let listener = Listener {
            engine: self.clone(),
            id: id.to_owned(),
            position: after,
            ready: VecDeque::new(),
            failed: false,
        };
        Box::pin(futures::stream::unfold(listener, |mut listener| async move {
            match listener.next().await {
                Ok(event) => event.map(|event| (Ok(event), listener)),
                Err(_) if listener.failed => None,
                Err(problem) => {
                    listener.failed = true;
                    Some((Err(problem), listener))
                }
            }
        }))
    }
}

impl Listener {
    async fn next(&mut self) -> Result<Option<Event>, Problem> {
        if self.failed {
            return Ok(None);
        }
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            // Subscribed before looking: what happens in between is not missed.
            let mut taken = self.engine.taken();
            let Some(live) = self.engine.live(&self.id) else {
                if self.read_on().await? {
                    continue;
                }
                if self.engine.live(&self.id).is_some() {
                    continue;
                }
                if self.engine.record(&self.id).await?.state.is_ended() {
                    return Ok(None);
                }
                tokio::select! {
                    _ = taken.changed() => {}
                    () = self.engine.stop.cancelled() => return Ok(None),
                }
                continue;
            };
            let mut watch = live.watch();
            watch.mark_unchanged();
            match live.events_after(self.position, TAKEN) {
                None => {
                    drop(live);
                    self.read_on().await?;
                }
                Some(events) if events.is_empty() => {
                    drop(live);
                    tokio::select! {
                        _ = watch.changed() => {}
                        _ = taken.changed() => {}
                    }
                }
                Some(events) => {
                    self.position = events.last().map_or(self.position, |event| event.seq);
                    self.ready.extend(events);
                }
            }
        }
    }
    /// Reads on in the journal; whether there was anything.
    async fn read_on(&mut self) -> Result<bool, Problem> {
        let (events, last) = self.engine.journaled_part(&self.id, self.position).await?;
        let any = last != self.position;
        self.position = last;
        self.ready.extend(events);
        Ok(any)
    }
}
