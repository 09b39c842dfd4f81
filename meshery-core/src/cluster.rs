//! Everything that touches a Kubernetes cluster, or prepares what will.

pub mod chart;
pub mod release_marks;
pub mod wave;
