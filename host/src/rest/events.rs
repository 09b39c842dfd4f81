//! `/api/v1/operations/{id}/events`: what happens to an operation, as server-sent events.
//!
//! Each event's id is its number in the journal. A client that was cut off names the last one it saw
//! (`Last-Event-ID`, or `?after=`) and misses nothing. The end is an event of its own, `end`: without it the stream
//! was cut, by a network or by a host that was told to stop, and the client asks again.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderMap, header};
use meshery_core::operation::{EventKind, EventStream, Operations};
use meshery_core::problem::{Problem, ProblemKind};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::body::{Asked, bad_field};
use crate::failure::Result;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct From {
    after: Option<u64>,
}

pub async fn listen(
    State(app): State<App>,
    Path(id): Path<String>,
    Asked(from): Asked<From>,
    headers: HeaderMap,
) -> Result<Response> {
    let operations = app.meshery.operations()?;
    // A browser that reconnects repeats the address and adds the header, so that the header is the newer one.
    let after = match headers.get("last-event-id") {
        None => from.after.unwrap_or_default(),
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
            number.ok_or_else(|| bad_field("Last-Event-ID", "is not the number of an event"))?
        }
    };
    if accepts_json(&headers) {
        let events = operations.events_so_far(&id, after).await?;
        return Ok(Json(json!({ "items": events })).into_response());
    }
    let place = app.listeners.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            ProblemKind::Unavailable,
            "too-many-listeners",
            "as many clients listen to events as the host takes",
        )
        .remedy("ask with `Accept: application/json`, or raise `connections` under [limits] in the settings")
        .retryable(true)
    })?;
    let events = operations.events(&id, after).await?;
    let listener = Listener::new(app.clone(), place);
    let stopping = app.stopping.clone().cancelled_owned();
    let events = wire(events, operations.clone(), id)
        .take_until(stopping)
        .map(move |event| {
            let _ = &listener;
            Ok::<_, Infallible>(event)
        });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json") && !accept.contains("text/event-stream"))
}

/// The events, then how it ended: as the last of them says, so that not all who listen read the record at once.
fn wire(events: EventStream, operations: Operations, id: String) -> impl Stream<Item = Event> {
    stream::unfold(Some((events, None)), move |on| {
        let operations = operations.clone();
        let id = id.clone();
        async move {
            let (mut events, state) = on?;
            match events.next().await {
                Some(Ok(event)) => {
                    // All of it has a JSON form.
                    let data = serde_json::to_string(&event).unwrap_or_default();
                    let sent = Event::default().id(event.seq.to_string()).data(data);
                    let state = if event.kind == EventKind::State {
                        event.state
                    } else {
                        state
                    };
                    Some((sent, Some((events, state))))
                }
                Some(Err(problem)) => Some((problem_event(&problem), None)),
                None => {
                    let end = |state: Value| json!({ "operation": id, "state": state }).to_string();
                    let last = match state {
                        Some(state) => Event::default().event("end").data(end(state.into())),
                        None => match operations.get(&id).await {
                            Ok(record) => Event::default().event("end").data(end(json!(record.state))),
                            Err(problem) => problem_event(&problem),
                        },
                    };
                    Some((last, None))
                }
            }
        }
    })
}

fn problem_event(problem: &Problem) -> Event {
    Event::default().event("problem").data(json!(problem).to_string())
}

/// Counted as long as it lives.
struct Listener {
    app: App,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    fn new(app: App, place: OwnedSemaphorePermit) -> Self {
        app.metrics.listeners.inc();
        Self { app, _place: place }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.app.metrics.listeners.dec();
    }
}
