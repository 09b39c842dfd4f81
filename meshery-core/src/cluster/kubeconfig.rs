//! Kubeconfigs: where they come from, and what may be in them.

use std::path::PathBuf;

/// Where contexts come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KubeconfigSource {
    /// As kubectl does it: the files of `KUBECONFIG`, else `~/.kube/config`, else the service account of the pod we
    /// run in.
    #[default]
    Default,
    /// This file.
    Path(PathBuf),
}
