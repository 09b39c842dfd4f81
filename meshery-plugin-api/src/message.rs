//! The messages that cross the plugin boundary, as ordinary serde types.
//!
//! They travel as JSON, because JSON can grow: unknown fields are ignored, new ones have defaults, and every
//! enum has an arm for what an older side does not know. The same bytes cross a function call and a socket.
//! Their version is [`SCHEMA`], apart from the version of the ABI that carries them.

pub mod backup;
pub mod descriptor;
pub mod document;
pub mod expansion;
pub mod facts;
pub mod finding;
pub mod journal;
pub mod material;
pub mod member;
pub mod object_ref;
pub mod plan;
pub mod withheld;

/// Version of the message schemas that this crate writes (semver). Fields come with minor versions and have defaults; what
/// means something else than before is a major one.
pub const SCHEMA: &str = "1.1.0";
