//! The real program against a host that the tests play, on loopback.

#![expect(
    clippy::unwrap_used,
    reason = "the whole of it is tests; clippy only knows test functions"
)]

mod answers;
mod change;
mod dropped;
mod fake_host;
mod lists;
mod program;
mod refusals;
mod terminal;
mod watch;
