//! Whether a version of a mesh supports the cluster's version of Kubernetes.

use meshery_plugin_api::message::finding::Finding;
use semver::{BuildMetadata, Prerelease, Version, VersionReq};

/// A warning when the cluster's version lies outside the range, or nothing: also when either cannot be read.
///
/// Only major, minor and patch count. Vendors add to the version what semver takes for a candidate
/// (`v1.33.5-gke.1080000`), which no plain range would contain.
pub fn outside(mesh: &str, range: &str, kubernetes: &str) -> Option<Finding> {
    let wanted = VersionReq::parse(range).ok().filter(|_| !range.is_empty())?;
    let mut version = Version::parse(kubernetes.strip_prefix('v').unwrap_or(kubernetes)).ok()?;
    version.pre = Prerelease::EMPTY;
    version.build = BuildMetadata::EMPTY;
    if wanted.matches(&version) {
        return None;
    }
    Some(
        Finding::warning(
            "kubernetes-version",
            format!("{mesh} supports Kubernetes {range}, and the cluster has {kubernetes}"),
        )
        .remedy(
            "choose a version of the mesh that supports this cluster, or try it on a cluster that may break",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendors_version_is_compared_by_its_number() {
        assert_eq!(outside("X", ">=1.31", "v1.33.5-gke.1080000"), None);
        assert_eq!(outside("X", ">=1.31", "v1.36.3+k3s1"), None);
        let finding = outside("X 1.0", ">=1.31", "v1.27.1-eks-1").unwrap();
        assert!(finding.message.contains("v1.27.1-eks-1"), "{finding:?}");
    }

    #[test]
    fn nothing_is_said_about_what_cannot_be_read() {
        assert_eq!(outside("X", "", "v1.2.3"), None);
        assert_eq!(outside("X", ">=1.31", ""), None);
    }
}
