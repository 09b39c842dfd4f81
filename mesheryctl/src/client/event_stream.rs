//! An operation's events as the host sends them (server-sent events), through broken connections.
//!
//! Each event has a number. After a break the stream is asked for again from the last number on, so that nothing
//! is lost and nothing comes twice.

use std::time::Duration;

use reqwest::Response;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Client;
use crate::failure::{Failure, Problem};

/// The host sends a comment every 15 seconds; silence for longer means that the connection is dead.
const SILENCE: Duration = Duration::from_secs(50);
/// How long a host may be away: long enough to be started again.
const AWAY: Duration = Duration::from_secs(90);
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// Longest event.
const LONGEST: usize = 8 << 20;

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// Something happened.
    Event(Value),
    /// The connection broke and is being made again; told once a break.
    Reconnecting,
    /// The host has nothing more to tell. Whoever asks on is connected again.
    End,
}

#[derive(Debug)]
pub struct EventStream<'a> {
    client: &'a Client,
    operation: &'a str,
    last: u64,
    connection: Option<Connection>,
    /// Since when there was no event and no comment.
    away: Option<Instant>,
    pause: Duration,
}

#[derive(Debug)]
struct Connection {
    response: Response,
    parser: Parser,
}

impl<'a> EventStream<'a> {
    /// Events after a number; 0 for all.
    pub fn new(client: &'a Client, operation: &'a str, after: u64) -> Self {
        Self {
            client,
            operation,
            last: after,
            connection: None,
            away: None,
            pause: SHORTEST_PAUSE,
        }
    }

    pub async fn next(&mut self) -> Result<Next, Failure> {
        loop {
            let Some(connection) = &mut self.connection else {
                match self.connect().await {
                    // Whoever follows has just spoken with the host: it is away, not wrong.
                    Err(error) if self.away.is_none() && error.is_passing() => {
                        self.lose_connection();
                        return Ok(Next::Reconnecting);
                    }
                    connected => connected?,
                }
                continue;
            };
            if let Some(message) = connection.parser.message() {
                if let Some(next) = self.take(message)? {
                    return Ok(next);
                }
                continue;
            }
            if let Ok(Ok(Some(chunk))) = timeout(SILENCE, connection.response.chunk()).await {
                self.away = None;
                self.pause = SHORTEST_PAUSE;
                connection.parser.push(&chunk)?;
            } else {
                self.lose_connection();
                return Ok(Next::Reconnecting);
            }
        }
    }

    /// Connects; after a break again and again while the host is away.
    async fn connect(&mut self) -> Result<(), Failure> {
        let give_up = self.away.map(|since| since + AWAY);
        if give_up.is_some() {
            // A host that takes the request and ends the stream at once must not be asked in a tight loop.
            sleep(self.longer_pause()).await;
        }
        loop {
            let attempt = self.client.open_events(self.operation, self.last);
            let result = match give_up {
                Some(at) => match timeout_at(at, attempt).await {
                    Ok(result) => result,
                    Err(_) => return Err(self.lost()),
                },
                None => attempt.await,
            };
            match result {
                Ok(response) => {
                    self.connection = Some(Connection {
                        response,
                        parser: Parser::default(),
                    });
                    return Ok(());
                }
                Err(error) => match give_up {
                    // A host that starts may answer before it is ready.
                    Some(at) if error.is_passing() && Instant::now() < at => sleep(self.longer_pause()).await,
                    Some(_) if matches!(error, Failure::Unreachable(_)) => return Err(self.lost()),
                    _ => return Err(error),
                },
            }
        }
    }

    fn lost(&self) -> Failure {
        Failure::Unreachable(
            Problem::new(
                "host-lost",
                format!(
                    "the host at {} has not answered for {} s",
                    self.client.server(),
                    AWAY.as_secs()
                ),
            )
            .cause("it was stopped, or the network is down; it goes on with the operation when it is back")
            .remedy(format!("later: mesheryctl operation watch {}", self.operation)),
        )
    }

    fn longer_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(Duration::from_secs(3));
        pause
    }

    fn take(&mut self, message: Message) -> Result<Option<Next>, Failure> {
        match message.name.as_str() {
            "end" => {
                self.lose_connection();
                return Ok(Some(Next::End));
            }
            "problem" => return self.told(&message.data),
            _ => {}
        }
        if message.data.is_empty() {
            return Ok(None);
        }
        let event: Value =
            serde_json::from_str(&message.data).map_err(|e| bad_stream(&format!("{e} in an event")))?;
        let number = event["seq"].as_u64().or_else(|| message.id.parse().ok());
        if let Some(number) = number {
            // Several may share a number.
            if number < self.last {
                return Ok(None);
            }
            self.last = number;
        }
        Ok(Some(Next::Event(event)))
    }

    /// The host ends the stream with a problem. One that passes is a break like any other.
    fn told(&mut self, problem: &str) -> Result<Option<Next>, Failure> {
        let problem: Problem = serde_json::from_str(problem)
            .map_err(|e| bad_stream(&format!("{e} in the problem that ends them")))?;
        if !problem.retryable {
            return Err(Failure::Problem(problem));
        }
        self.lose_connection();
        Ok(Some(Next::Reconnecting))
    }

    fn lose_connection(&mut self) {
        self.connection = None;
        self.away.get_or_insert_with(Instant::now);
    }
}

fn bad_stream(what: &str) -> Failure {
    Failure::Problem(Problem::new(
        "bad-event",
        format!("the host's events cannot be read: {what}"),
    ))
}

/// Splits the bytes of a stream into messages.
#[derive(Debug, Default)]
struct Parser {
    bytes: Vec<u8>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    name: String,
    id: String,
    data: String,
}

impl Parser {
    fn push(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        // A carriage return ends a line only together with a line feed in what hosts and proxies send.
        self.bytes.extend(chunk.iter().filter(|byte| **byte != b'\r'));
        if self.bytes.len() > LONGEST && !self.bytes.windows(2).any(|w| w == b"\n\n") {
            return Err(bad_stream(&format!("one of them is longer than {LONGEST} bytes")));
        }
        Ok(())
    }

    fn message(&mut self) -> Option<Message> {
        let end = self.bytes.windows(2).position(|w| w == b"\n\n")?;
        let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
        let mut message = Message::default();
        for line in String::from_utf8_lossy(&block).lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut message.name),
                "id" => value.clone_into(&mut message.id),
                "data" => {
                    if !message.data.is_empty() {
                        message.data.push('\n');
                    }
                    message.data.push_str(value);
                }
                _ => {}
            }
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_the_bytes_were_cut() {
        let text = ": hello\n\nid: 1\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nevent: end\ndata:\n\n";
        for cut in 1..text.len() {
            let mut parser = Parser::default();
            let mut messages = Vec::new();
            for part in text.as_bytes().chunks(cut) {
                parser.push(part).unwrap();
                messages.extend(std::iter::from_fn(|| parser.message()));
            }
            assert_eq!(messages.len(), 3, "cut at {cut}");
            assert_eq!(messages[0], Message::default());
            assert_eq!(
                (messages[1].id.as_str(), messages[1].data.as_str()),
                ("1", "{\"a\":\n1}")
            );
            assert_eq!(messages[2].name, "end");
        }
    }

    #[test]
    fn an_event_without_end_is_refused_before_it_fills_the_memory() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; LONGEST / 2 + 1];
        parser.push(&chunk).unwrap();
        assert!(
            parser
                .push(&chunk)
                .unwrap_err()
                .to_string()
                .contains("longer than")
        );
    }
}
