//! The stable boundary between a Meshery host and its plugins.
//!
//! An author implements [`MeshAdapter`] or [`Provider`] with ordinary Rust types and ends the file with one export
//! macro. This crate is all they depend on: no `unsafe`, no FFI type, no async runtime.
#![deny(missing_docs)]

pub mod adapter;
pub mod error;
pub mod message;
pub mod provider;

pub use adapter::MeshAdapter;
pub use error::PluginError;
pub use provider::Provider;
pub use serde_json;
