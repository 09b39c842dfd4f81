//! What operations of ours would refuse, ask for or change on an installation that is there.

use meshery_mesh_kit::adoption;
use meshery_mesh_kit::prospect::{Prospecting as _, as_finding, possible, refused};
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::{Finding, Health, Installation, Prospect, Severity};
use semver::Version;

use crate::check::{described, over};
use crate::control_plane::{CONTROL_PLANE, CRDS};
use crate::{MESH, cli, install, recovery, remove, rotation, trust, trust_owner, versions};

pub fn of(facts: &Facts, found: &Installation) -> Vec<Prospect> {
    let mut prospects = vec![
        install(facts, found),
        upgrade(facts, found),
        removal(facts, found),
    ];
    prospects.extend(anchors(facts, found));
    prospects
}

fn known(facts: &Facts) -> Vec<Version> {
    [versions::EDGE, versions::STABLE]
        .iter()
        .flat_map(|line| line.known(&[CRDS, CONTROL_PLANE], facts))
        .collect()
}

/// To install what is there again mends it, and takes it over from others.
fn install(facts: &Facts, found: &Installation) -> Prospect {
    let version = Version::parse(&found.version).ok();
    let mut to = known(facts);
    let changes = match version {
        Some(version) => {
            to.retain(|known| *known == version);
            if found.health == Health::Incomplete {
                "what is missing is put back"
            } else if is_of_release(found) {
                "what differs from its charts"
            } else {
                "its objects become those of releases linkerd-crds and linkerd-control-plane, with the fields of whoever made \
                 them; the preview lists them"
            }
        }
        None => "what is missing is put back",
    };
    let mut prospect = possible("install", changes).to(to, || {
        Finding::error(
            "linkerd-version-unavailable",
            format!(
                "no charts of {} are known, and no other version is installed over it",
                described(found)
            ),
        )
        .remedy("put the charts of that version into the mirror")
    });
    prospect = knowing_trust(prospect, facts, found, false);
    adoption::asked_for(prospect, "linkerd", found, &described(found))
}

fn is_of_release(found: &Installation) -> bool {
    !["linkerd", "unknown"].contains(&found.installed_by.as_str())
}

fn upgrade(facts: &Facts, found: &Installation) -> Prospect {
    let from = Version::parse(&found.version).ok();
    let mut why = None;
    let mut farther = None;
    let mut to = Vec::new();
    for version in known(facts) {
        // What is there already is no upgrade.
        if from.as_ref() == Some(&version) {
            continue;
        }
        let wish = install::Wish::of(&version, &found.namespace);
        match over(found, &wish, None) {
            Some(error) if error.severity == Severity::Error => why = why.or(Some(error)),
            warning => {
                farther = farther.or(warning);
                to.push(version);
            }
        }
    }
    let why_none = || {
        why.filter(|why| why.code != "linkerd-downgrade")
            .unwrap_or_else(|| {
                Finding::error(
                    "linkerd-no-newer-version",
                    format!("no version newer than {} is known", described(found)),
                )
                .remedy("put newer charts into the mirror, when there are any")
            })
    };
    let changes = "definitions, then the control plane; options and values that were set stay, and so do anchors and issuer";
    let mut prospect = possible("upgrade", changes).to(to, why_none);
    if let Some(farther) = farther {
        prospect = prospect.knowing(farther);
    }
    prospect = knowing_trust(prospect, facts, found, true);
    adoption::asked_for(prospect, "linkerd", found, &described(found))
}

/// With what speaks against it of the anchors and the issuer, left in whose hands they are or not.
fn knowing_trust(prospect: Prospect, facts: &Facts, found: &Installation, leaves: bool) -> Prospect {
    trust::before(facts, &found.namespace, leaves)
        .into_iter()
        .filter(|found| found.severity == Severity::Error)
        .fold(prospect, Prospect::knowing)
}

fn removal(facts: &Facts, found: &Installation) -> Prospect {
    let going = remove::going(facts, &found.namespace);
    if !going
        .iter()
        .any(|release| release.id.namespace == found.namespace)
    {
        if found.installed_by == "linkerd" {
            let changes = format!(
                "what {} has made, but for definitions, anchors and issuer",
                cli::INSTALLER
            );
            return adoption::unreleased_asked_for(possible("remove", changes), cli::INSTALLER);
        }
        let why = remove::nothing_to_remove(facts, &found.namespace).unwrap_or_else(|error| error);
        return refused("remove", as_finding(why));
    }
    let names: Vec<String> = going
        .iter()
        .map(|release| format!("{}/{}", release.id.namespace, release.id.name))
        .collect();
    let mut changes = format!("releases {}; anchors and issuer stay", names.join(", "));
    if !found.namespaces.is_empty() {
        changes.push_str("; namespaces lose their control plane: ");
        changes.push_str(&found.namespaces.join(", "));
    }
    let others = going.iter().filter(|release| !release.ours);
    adoption::removal_asked_for(possible("remove", changes), others.map(|release| &release.id))
}

/// Another anchor: in the safe order while there is one, at once when there is none any more.
fn anchors(facts: &Facts, found: &Installation) -> [Prospect; 2] {
    if let Err(error) = rotation::demand_bundle(facts, &found.namespace) {
        let why = as_finding(error);
        return [
            refused(rotation::ROTATE, why.clone()),
            refused(recovery::REPLACE, why),
        ];
    }
    let restarted = if found.namespaces.is_empty() {
        String::new()
    } else {
        format!(", and pods of {}", found.namespaces.join(", "))
    };
    // Each controller that keeps one of them, and what somebody agrees to who goes on all the same.
    let of_others = |prospect: Prospect| {
        let kept = trust_owner::of(facts, &found.namespace, true).into_iter();
        kept.fold(prospect, |prospect, kept| {
            prospect.with_consent(trust_owner::OF_OTHERS, kept)
        })
    };
    let once = of_others(possible(
        recovery::REPLACE,
        format!("anchor and issuer at once; the control plane is restarted{restarted}"),
    ));
    if trust::is_past_rotation(facts, &found.namespace) {
        let why = Finding::error(
            "linkerd-past-rotation",
            format!("{MESH} has no anchor and issuer that work: identity would not come back from a restart"),
        )
        .remedy("replace them at once: operation replace-anchor");
        return [refused(rotation::ROTATE, why), once];
    }
    let rotated = of_others(possible(
        rotation::ROTATE,
        format!("anchor and issuer in the safe order; the control plane is restarted{restarted}, twice"),
    ));
    [
        rotated,
        once.with_consent(recovery::CUT_OFF, recovery::cuts_off()),
    ]
}
