//! Everything that touches a Kubernetes cluster, or prepares what will.

pub mod apply;
pub mod chart;
pub mod clusters;
mod connection;
pub mod contents;
pub mod diff;
pub mod discovery;
pub mod error;
pub mod facts;
pub mod fence;
mod gate;
mod gone;
pub mod handle;
pub mod kubeconfig;
pub mod lease;
pub mod list;
mod manifest;
pub mod object;
pub(crate) mod ownership;
pub mod readiness;
mod refusal;
pub mod release;
mod request;
mod retry;
pub mod server_clock;
mod settings;
pub(crate) mod take_over;
pub(crate) mod tenure;
pub mod wait;
mod watch;
pub mod wave;

pub use clusters::{Clusters, ContextInfo};
pub use error::ClusterError;
pub use handle::Cluster;
pub use kubeconfig::KubeconfigSource;
pub use settings::ClusterSettings;
