//! Server-sent events as they come in.

use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::runtime::Handle;

/// A stream of events. Dropping it hangs up.
pub struct Events {
    frames: mpsc::Receiver<Frame>,
    task: tokio::task::JoinHandle<()>,
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    pub id: String,
    /// Its name; empty for ordinary ones.
    pub event: String,
    pub data: Value,
}

impl Events {
    pub(super) fn of(mut body: Incoming, runtime: &Handle) -> Self {
        let (sender, frames) = mpsc::channel();
        let task = runtime.spawn(async move {
            let mut text = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                let Ok(data) = frame.into_data() else { continue };
                text.extend_from_slice(&data);
                while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                    let block: Vec<u8> = text.drain(..end + 2).collect();
                    let parsed = parse(&String::from_utf8_lossy(&block));
                    if parsed.is_some_and(|frame| sender.send(frame).is_err()) {
                        return;
                    }
                }
            }
        });
        Self { frames, task }
    }

    /// The next event; nothing when the stream has ended.
    pub fn next(&self, limit: Duration) -> anyhow::Result<Option<Frame>> {
        match self.frames.recv_timeout(limit) {
            Ok(frame) => Ok(Some(frame)),
            Err(mpsc::RecvTimeoutError::Disconnected) => Ok(None),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(anyhow::anyhow!("no event within {limit:?}")),
        }
    }

    /// All events until the one that says that the operation is at rest, and that one's data.
    pub fn until_end(&self, limit: Duration) -> anyhow::Result<(Vec<Frame>, Value)> {
        let end = std::time::Instant::now() + limit;
        let mut frames = Vec::new();
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            let frame = self
                .next(left)?
                .with_context(|| format!("the stream was cut after {frames:?}"))?;
            ensure!(frame.event != "problem", "{frame:?}");
            if frame.event == "end" {
                return Ok((frames, frame.data));
            }
            frames.push(frame);
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Comments, which keep the connection alive, are no events.
fn parse(block: &str) -> Option<Frame> {
    let mut frame = Frame::default();
    let mut data = None;
    for line in block.trim_end().lines() {
        let (field, value) = line.split_once(':')?;
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut frame.id),
            "event" => value.clone_into(&mut frame.event),
            "data" => data = Some(serde_json::from_str(value).unwrap_or_else(|_| value.into())),
            _ => {}
        }
    }
    frame.data = data?;
    Some(frame)
}
