//! The stable boundary between a Meshery host and its plugins.
//!
//! An author implements [`MeshAdapter`] or [`Provider`] with ordinary Rust types and ends the file with one export
//! macro. This crate is all they depend on: no `unsafe`, no FFI type, no async runtime.
#![deny(missing_docs)]

#[doc(hidden)]
pub mod abi;
pub mod adapter;
mod const_manifest;
pub mod dispatch;
pub mod error;
pub mod export;
pub mod frame;
pub mod guard;
pub mod host;
mod log;
pub mod message;
pub mod plan_check;
pub mod provider;
pub mod rights;
pub mod testkit;

pub use adapter::MeshAdapter;
pub use error::PluginError;
pub use export::ProviderConfig;
pub use provider::Provider;
pub use serde_json;
pub use tracing;

/// What the export macros name, so that a plugin needs no dependency but this crate.
#[doc(hidden)]
pub mod __abi {
    pub use crate::abi::{AbiError, HostRef, InstanceBox, PluginModuleRef};
    pub use abi_stable::library::{
        __call_root_module_loader, CheckTypeLayout, LibHeader, ROOT_MODULE_LOADER_NAME, RootModuleResult,
    };
    pub use abi_stable::std_types::{RResult, RString};
}

/// Version of this API (semver).
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The guide for authors, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/writing-an-adapter.md")]
mod guide {}
