//! Versions of charts: the same one, and which is nearest to one that is not there.

use std::cmp::Reverse;

use semver::Version;

pub(super) fn parse(text: &str) -> Option<Version> {
    Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}

/// Whether two versions are the same but for a `v` before one of them.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.strip_prefix('v').unwrap_or(a) == b.strip_prefix('v').unwrap_or(b)
}

/// The versions, those nearest to the wanted one first: of the same major, then minor number, then the newest.
pub(super) fn nearest(wanted: &str, mut versions: Vec<String>) -> Vec<String> {
    let wanted = parse(wanted);
    versions.sort_by_cached_key(|text| {
        let version = parse(text);
        let distance = match (&wanted, &version) {
            (Some(wanted), Some(version)) => {
                let major = wanted.major.abs_diff(version.major);
                let minor = wanted.minor.abs_diff(version.minor);
                // Between other major versions the minor one says nothing.
                (major, if major == 0 { minor } else { 0 })
            }
            _ => (u64::MAX, 0),
        };
        (distance, Reverse(version))
    });
    versions.dedup();
    versions.truncate(20);
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_versions_come_first() {
        let versions = ["1.29.1", "x", "2.0.0", "1.30.1", "1.31.0", "1.30.3", "1.30.3"]
            .map(String::from)
            .to_vec();
        let expected = ["1.30.3", "1.30.1", "1.31.0", "1.29.1", "2.0.0", "x"];
        assert_eq!(nearest("1.30.2", versions.clone()), expected);
        assert_eq!(nearest("latest", versions).len(), 6);
    }

    #[test]
    fn a_v_before_the_version_makes_no_difference() {
        assert!(same("v1.2.3", "1.2.3") && !same("1.2.3", "1.2.4"));
    }
}
