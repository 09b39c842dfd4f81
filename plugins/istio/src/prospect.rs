//! What operations of ours would refuse, ask for or change on an installation that is there.

use std::collections::BTreeMap;

use meshery_mesh_kit::adoption;
use meshery_mesh_kit::prospect::{Prospecting as _, as_finding, possible, refused};
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Health, Installation, Prospect, Severity};
use semver::Version;

use crate::canary::{self, CANARY};
use crate::check::there;
use crate::control_plane::{DEFAULT_REVISION, Plane};
use crate::maker::{OLD_OPERATOR, of_operator};
use crate::releases::{Part, PartRelease};
use crate::remove::Scope;
use crate::skew::{BY_REVISION, IN_PLACE};
use crate::upgrade::{charts, goes_along, of_release, releases, too_old};
use crate::{MESH, nodes, proxies, remove, skew, versions};

/// Of one installation among all that there are.
pub fn of(facts: &Facts, found: &Installation, all: &[Installation]) -> Vec<Prospect> {
    let plane = Plane {
        namespace: &found.namespace,
        revision: if found.revision == DEFAULT_REVISION {
            ""
        } else {
            &found.revision
        },
    };
    let releases = releases(facts, plane);
    vec![
        install(facts, found, &releases),
        upgrade(("upgrade", IN_PLACE), facts, (found, all), plane, &releases),
        upgrade((CANARY, BY_REVISION), facts, (found, all), plane, &releases),
        removal(facts, found, all),
    ]
}

/// To install what is there again mends it, and takes it over from others.
fn install(facts: &Facts, found: &Installation, releases: &[PartRelease]) -> Prospect {
    let known = versions::CATALOGUE.known(&["base", "istiod"], facts);
    let version = Version::parse(&found.version).ok();
    let (to, changes) = match version {
        Some(version) if found.health != Health::Incomplete => (
            known.into_iter().filter(|known| *known == version).collect(),
            if releases.iter().any(|release| release.part == Part::Istiod) {
                "what differs from its charts"
            } else {
                "its objects become those of releases istio-base and istiod, with the fields of whoever made them; \
                 the preview lists them"
            },
        ),
        _ => (
            known.into_iter().filter(|known| known.pre.is_empty()).collect(),
            "what is missing is put back",
        ),
    };
    let prospect = possible("install", changes).to(to, || {
        Finding::error(
            "istio-version-unavailable",
            format!(
                "no charts of version {} are known, and no other is installed over it",
                found.version
            ),
        )
        .remedy("put the charts of that version into the mirror")
    });
    asked_for(prospect, found)
}

/// Others are asked first, and an operator would put everything back.
fn asked_for(prospect: Prospect, found: &Installation) -> Prospect {
    let prospect = adoption::asked_for(prospect, "istio", found, &there(found));
    match of_operator(found) {
        Some(warning) => prospect.knowing(warning),
        None => prospect,
    }
}

fn upgrade(
    (operation, most): (&str, u64),
    facts: &Facts,
    (found, all): (&Installation, &[Installation]),
    plane: Plane<'_>,
    releases: &[PartRelease],
) -> Prospect {
    if let Err(error) = of_release(found, releases, plane) {
        return refused(operation, as_finding(error));
    }
    if operation == CANARY && releases.iter().any(|release| release.part == Part::Ztunnel) {
        let message = format!("{MESH} is in ambient mode: no node can have two proxies");
        let why =
            Finding::error("istio-canary-ambient", message).remedy("upgrade in place (operation upgrade)");
        return refused(operation, why);
    }
    let Ok(from) = Version::parse(&found.version) else {
        let message = "which version is there cannot be told".to_owned();
        let remedy = "install the version that is wanted (operation install)";
        return refused(
            operation,
            Finding::error("istio-version-unknown", message).remedy(remedy),
        );
    };
    let newer: Vec<Version> = versions::CATALOGUE
        .known(&charts(releases, true), facts)
        .into_iter()
        .filter(|to| *to > from && (to.pre.is_empty() || !from.pre.is_empty()))
        .collect();
    let proxies = if operation == CANARY {
        BTreeMap::new()
    } else {
        proxies::versions(facts, &found.revision)
    };
    let seen = nodes::Seen::new(facts, all, releases);
    let mut why = None;
    let mut to = Vec::new();
    for version in &newer {
        let mut said = vec![skew::between(&from, version, most)];
        said.extend(too_old(&proxies, &found.revision, version));
        said.extend(match operation {
            CANARY => seen.beside(plane, &canary::dashed(version), version),
            _ => seen.in_place(plane, version),
        });
        match said.into_iter().find(|said| said.severity == Severity::Error) {
            Some(error) => why = why.or(Some(error)),
            None => to.push(version.clone()),
        }
    }
    let changes = match operation {
        CANARY => "a control plane beside it, then its namespaces one by one; it goes when they have",
        _ => "the control plane and its gateways; values that were set stay",
    };
    let prospect = possible(operation, changes).to(to, || {
        why.unwrap_or_else(|| {
            let message = format!("no version newer than {from} is known");
            Finding::error("istio-no-newer-version", message)
                .remedy("put newer charts into the mirror, when there are any")
        })
    });
    let others = goes_along(releases).filter(|release| !release.ours);
    let prospect = adoption::change_asked_for(prospect, others.map(|release| &release.id));
    asked_for(prospect, found)
}

fn removal(facts: &Facts, found: &Installation, all: &[Installation]) -> Prospect {
    let going = remove::going_beside(facts, all, &Scope::whole(&found.namespace));
    if going.is_empty() {
        let prospect = match found.installed_by.as_str() {
            "istioctl" | OLD_OPERATOR => adoption::unreleased_asked_for(
                possible(
                    "remove",
                    format!(
                        "what {} has made, but for definitions and keys",
                        found.installed_by
                    ),
                ),
                &found.installed_by,
            ),
            _ => refused(
                "remove",
                as_finding(remove::nothing_to_remove(all, &found.namespace)),
            ),
        };
        return match of_operator(found) {
            Some(warning) => prospect.knowing(warning),
            None => prospect,
        };
    }
    let names: Vec<String> = going
        .iter()
        .map(|release| format!("{}/{}", release.id.namespace, release.id.name))
        .collect();
    let mut changes = format!("releases {}", names.join(", "));
    if !found.namespaces.is_empty() {
        changes.push_str("; namespaces lose their control plane: ");
        changes.push_str(&found.namespaces.join(", "));
    }
    let others = going.iter().filter(|release| !release.ours);
    let prospect =
        adoption::removal_asked_for(possible("remove", changes), others.map(|release| &release.id));
    match of_operator(found) {
        Some(warning) => prospect.knowing(warning),
        None => prospect,
    }
}
