//! Everything that touches a Kubernetes cluster, or prepares what will.

pub mod apply;
pub mod chart;
pub mod clusters;
pub mod contents;
pub mod diff;
pub mod discovery;
pub mod error;
pub mod facts;
pub mod handle;
pub mod kubeconfig;
pub mod list;
pub mod object;
pub mod readiness;
pub mod release_marks;
pub mod wait;
pub mod wave;

pub use clusters::{Clusters, ContextInfo};
pub use error::ClusterError;
pub use handle::Cluster;
pub use kubeconfig::KubeconfigSource;
