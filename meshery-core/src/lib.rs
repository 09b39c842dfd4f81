//! The engine of Meshery, embeddable: plugins, clusters, operations.
#![deny(missing_docs)]

pub mod applications;
pub mod bundle;
pub mod cluster;
mod confidential;
pub mod core_dumps;
mod host_identity;
pub mod images;
mod meshery;
pub mod operation;
pub mod plugin;
pub mod problem;
pub mod provider;
pub mod versions;

pub use meshery::{Meshery, MesheryBuilder, Restored, Supplies, Wanted};
