//! When an object counts as ready, kind by kind.

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ready,
    /// Not yet, and why.
    Waiting(String),
    /// Never, and why.
    Failed(String),
}
