//! What waits to be written to a child.
//!
//! A caller writes its own frame at once if the socket takes it, which saves a switch to another task; the rest is
//! written by a task. A caller that gives up cannot leave half a frame behind, because frames are queued whole.

use std::collections::VecDeque;
use std::io;

use parking_lot::Mutex;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::Notify;

pub(super) struct Outbox {
    socket: OwnedWriteHalf,
    queue: Mutex<Queue>,
    more: Notify,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    /// How much of the first frame is written.
    written: usize,
    closed: bool,
}

impl Outbox {
    pub fn new(socket: OwnedWriteHalf) -> Self {
        Self {
            socket,
            queue: Mutex::default(),
            more: Notify::new(),
        }
    }

    /// Writes a frame, or queues it. Whether it arrives is not known here: a reader sees the end of the connection.
    pub fn send(&self, frame: Vec<u8>) {
        let mut queue = self.queue.lock();
        if queue.closed {
            return;
        }
        queue.frames.push_back(frame);
        if !self.write(&mut queue) {
            self.more.notify_one();
        }
    }

    /// Drops what is queued and takes no more.
    pub fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.frames.clear();
        self.more.notify_one();
    }

    /// Writes what the socket did not take at once, until the connection ends.
    pub async fn flush(&self) {
        loop {
            self.more.notified().await;
            loop {
                {
                    let mut queue = self.queue.lock();
                    if queue.closed {
                        return;
                    }
                    if self.write(&mut queue) {
                        break;
                    }
                }
                if self.socket.writable().await.is_err() {
                    self.close();
                }
            }
        }
    }

    /// Writes as much as the socket takes; whether that is all.
    fn write(&self, queue: &mut Queue) -> bool {
        while let Some(frame) = queue.frames.front() {
            match self.socket.try_write(&frame[queue.written..]) {
                Ok(written) => {
                    queue.written += written;
                    if queue.written == frame.len() {
                        queue.frames.pop_front();
                        queue.written = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => {
                    queue.closed = true;
                    queue.frames.clear();
                }
            }
        }
        true
    }
}
