//! How far versions of Istio may be apart: the project's rules for upgrades, and for proxies behind their control plane.

use meshery_plugin_api::message::finding::Finding;
use semver::Version;

use crate::MESH;

/// How many minor versions an upgrade in place may go up at once.
pub const IN_PLACE: u64 = 1;
/// How many it may go up by revision.
pub const BY_REVISION: u64 = 2;
/// How many minor versions a proxy may be behind its control plane.
const PROXIES: u64 = 1;
/// How many minor versions what is on the nodes may be away from a control plane.
const NODES: u64 = 1;

/// What is to be said about going from one version to another.
pub fn between(from: &Version, to: &Version, most: u64) -> Finding {
    let up = to.minor.checked_sub(from.minor);
    match up {
        _ if from.major != to.major => Finding::error(
            "upgrade-of-major",
            format!("from {MESH} {from} to {to} is another major version"),
        )
        .remedy("install the new one beside the old one and move to it by hand"),
        None => Finding::error(
            "downgrade",
            format!("{to} is older than {from}, by a minor version or more"),
        )
        .remedy("take back the operation that upgraded it (undo), or remove it and install the older one"),
        Some(up) if up > most => Finding::error(
            "upgrade-skips-versions",
            format!("from {from} to {to} are {up} minor versions at once, and {most} may be"),
        )
        .remedy(format!("upgrade to {}.{} first", from.major, from.minor + most)),
        Some(0) if from == to => Finding::info(
            "istio-installed",
            format!("{MESH} {to} is there already: only what differs is changed"),
        ),
        Some(0) if to < from => Finding::warning(
            "downgrade-of-patch",
            format!("{to} is older than {from}: what was mended since comes back"),
        )
        .remedy("go on if that is wanted"),
        Some(_) => Finding::info("upgrade", format!("from {from} to {to}")),
    }
}

/// Whether a proxy would be too far behind, or ahead of, a control plane.
pub fn unsupported(proxy: &Version, control_plane: &Version) -> bool {
    proxy.major != control_plane.major
        || proxy.minor > control_plane.minor
        || control_plane.minor - proxy.minor > PROXIES
}

/// Whether what is on the nodes may serve a control plane. The CNI plugin takes one minor version in either direction; in ambient
/// mode it and the nodes' proxies follow the control plane, and are never ahead.
pub fn serves(on_nodes: &Version, control_plane: &Version, is_ambient: bool) -> bool {
    on_nodes.major == control_plane.major
        && on_nodes.minor.abs_diff(control_plane.minor) <= NODES
        && !(is_ambient && on_nodes.minor > control_plane.minor)
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::finding::Severity;

    use super::*;

    #[test]
    fn an_upgrade_goes_one_minor_version_up_in_place_and_two_by_revision() {
        let said = |from: &str, to: &str, most| {
            let finding = between(&from.parse().unwrap(), &to.parse().unwrap(), most);
            assert!(finding.severity == Severity::Info || !finding.remedy.is_empty());
            (finding.code, finding.severity == Severity::Error)
        };
        let is = |code: &str, error| (code.to_owned(), error);
        assert_eq!(said("1.29.1", "1.30.3", IN_PLACE), is("upgrade", false));
        assert_eq!(
            said("1.28.0", "1.30.3", IN_PLACE),
            is("upgrade-skips-versions", true)
        );
        assert_eq!(said("1.28.0", "1.30.3", BY_REVISION), is("upgrade", false));
        assert_eq!(
            said("1.27.0", "1.30.3", BY_REVISION),
            is("upgrade-skips-versions", true)
        );
        assert_eq!(said("1.30.3", "1.29.1", IN_PLACE), is("downgrade", true));
        assert_eq!(
            said("1.30.3", "1.30.2", IN_PLACE),
            is("downgrade-of-patch", false)
        );
        assert_eq!(said("1.30.2", "1.30.2", IN_PLACE), is("istio-installed", false));
        assert_eq!(said("1.30.2", "2.0.0", IN_PLACE), is("upgrade-of-major", true));
    }

    #[test]
    fn a_proxy_may_be_one_minor_version_behind_and_none_ahead() {
        let unsupported =
            |proxy: &str, plane: &str| unsupported(&proxy.parse().unwrap(), &plane.parse().unwrap());
        assert!(!unsupported("1.29.1", "1.30.0") && !unsupported("1.30.9", "1.30.0"));
        assert!(unsupported("1.28.0", "1.30.0") && unsupported("1.31.0", "1.30.0"));
    }

    #[test]
    fn nodes_are_one_minor_version_away_at_most_and_in_ambient_mode_never_ahead() {
        let serves = |nodes: &str, plane: &str, is_ambient| {
            serves(&nodes.parse().unwrap(), &plane.parse().unwrap(), is_ambient)
        };
        for is_ambient in [false, true] {
            assert!(serves("1.30.9", "1.30.0", is_ambient) && serves("1.29.1", "1.30.0", is_ambient));
            assert!(!serves("1.28.9", "1.30.0", is_ambient) && !serves("1.32.0", "1.30.0", is_ambient));
            assert!(!serves("2.30.0", "1.30.0", is_ambient));
            assert_eq!(serves("1.31.0", "1.30.0", is_ambient), !is_ambient);
        }
    }
}
