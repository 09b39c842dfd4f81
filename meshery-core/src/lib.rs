//! The engine of Meshery, embeddable: plugins, clusters, operations.
#![deny(missing_docs)]

pub mod cluster;
pub mod plugin;
pub mod problem;
pub mod provider;
