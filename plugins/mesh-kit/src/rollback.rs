//! Rolling a release of a mesh back to an earlier revision, as `helm rollback` does it.
//!
//! The engine goes by the record of that revision; facts have the labels of the records only, which tell the numbers and
//! not what is in them.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::{Detail, Facts};
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::{Action, Plan, PlanRequest, RollbackRelease};

use crate::application::{deadline, deadline_parameter};
use crate::mesh_releases::{MeshReleases, namespace_parameter, release_parameter};
use crate::object::{label, name, namespace};
use crate::ownership::ReleaseId;
use crate::step::{plan as in_order, step, wait_for_revision};
use crate::{adoption, need, parameter, readable, schema};

/// Helm counts revisions in 32 bits.
const LAST_REVISION: u64 = i32::MAX as u64;
/// The step that does it.
const ROLLBACK: &str = "rollback";
/// What names of Helm's records begin with.
const RECORD: &str = "sh.helm.release.v1.";

/// A revision as the labels of its record have it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Revision<'a> {
    number: u32,
    status: &'a str,
}

/// The operation.
pub fn operation(releases: &MeshReleases) -> Operation {
    let mut needs = (releases.needs)();
    needs.push(need::within(
        "{namespace}",
        "",
        "Secret",
        "owner=helm",
        Detail::Metadata,
    ));
    Operation {
        name: "rollback".into(),
        category: Category::Configure,
        description: "Takes one of the mesh's Helm releases back to an earlier revision, as `helm rollback`"
            .into(),
        parameters: schema::object(
            [
                release_parameter("Name of the release"),
                namespace_parameter(),
                (
                    "revision",
                    schema::count(
                        "The revision to go back to; the one deployed before the present one when 0",
                        0,
                        LAST_REVISION,
                    ),
                ),
                adoption::parameter(),
                deadline_parameter(),
            ],
            &["release"],
        ),
        needs,
    }
}

fn wanted(request: &PlanRequest) -> Result<u32, PluginError> {
    let revision = parameter::count(request, "revision", 0, LAST_REVISION)?;
    Ok(u32::try_from(revision).unwrap_or(u32::MAX))
}

/// The plan of one.
pub fn plan(releases: &MeshReleases, request: &PlanRequest) -> Result<Plan, PluginError> {
    let id = releases.asked_for(request)?;
    let revision = wanted(request)?;
    let to = match revision {
        0 => "the revision before".to_owned(),
        revision => format!("revision {revision}"),
    };
    let action = Action::RollbackRelease(RollbackRelease {
        name: id.name.clone(),
        namespace: id.namespace.clone(),
        revision,
    });
    let title = format!("release {} in {}, back to {to}", id.name, id.namespace);
    let ready = (ROLLBACK, (releases.ready)(&request.facts, &id));
    let verify = vec![wait_for_revision(
        "ready",
        "what it has made works",
        deadline(request)?,
        ready,
    )];
    Ok(in_order(
        format!(
            "Roll back release {} of {} in namespace {} to {to}",
            id.name, releases.mesh, id.namespace
        ),
        vec![step(ROLLBACK, title, action)],
        verify,
        vec![
            "The values that were set since go with the revisions that had them; the other releases of the mesh stay as they are."
                .into(),
        ],
    ))
}

/// What speaks against it.
pub fn check(releases: &MeshReleases, request: &PlanRequest) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let id = releases.asked_for(request)?;
    let wanted = wanted(request)?;
    let mut findings = readable::gaps(facts);
    // Where the records could not be read, the engine still says what there is.
    if readable::kind_is_whole(facts, "", "Secret") {
        findings.extend(to_revision(&id, wanted, &revisions(facts, &id))?);
    }
    findings.extend(adoption::changed(request, &id)?);
    findings.extend((releases.minds)(facts, &id));
    Ok(findings)
}

/// The revisions of a release, the oldest first.
fn revisions<'a>(facts: &'a Facts, id: &ReleaseId) -> Vec<Revision<'a>> {
    let mut revisions: Vec<Revision<'_>> = facts
        .objects("", "Secret")
        .filter(|secret| name(secret).starts_with(RECORD) && namespace(secret) == id.namespace)
        .filter(|secret| label(secret, "name") == Some(&id.name))
        .filter_map(|secret| {
            Some(Revision {
                number: label(secret, "version")?.parse().ok()?,
                status: label(secret, "status")?,
            })
        })
        .collect();
    revisions.sort();
    revisions.dedup();
    revisions
}

/// What is to be said of the revision that is wanted, or the error that there is no such one.
fn to_revision(
    id: &ReleaseId,
    wanted: u32,
    revisions: &[Revision<'_>],
) -> Result<Option<Finding>, PluginError> {
    let (latest, before) = match revisions.split_last() {
        Some((latest, before)) => (Some(latest), before),
        None => (None, revisions),
    };
    let found = match wanted {
        0 => before
            .iter()
            .rev()
            .find(|revision| ["superseded", "deployed"].contains(&revision.status)),
        number => revisions.iter().find(|revision| revision.number == number),
    };
    let Some(found) = found else {
        return Err(no_revision(id, wanted, revisions));
    };
    if latest != Some(found) || found.status != "deployed" {
        return Ok(None);
    }
    Ok(Some(Finding::info(
        "rollback-to-present",
        format!(
            "revision {} of release {} is the one that is deployed: only what somebody has changed since goes back",
            found.number, id.name
        ),
    )))
}

fn no_revision(id: &ReleaseId, wanted: u32, revisions: &[Revision<'_>]) -> PluginError {
    let what = match wanted {
        0 => "no revision before the present one to go back to".to_owned(),
        number => format!("no revision {number}"),
    };
    let error = PluginError::new(
        "unknown-revision",
        format!("release {} in namespace {} has {what}", id.name, id.namespace),
    );
    if revisions.is_empty() {
        return error
            .cause("Helm's records of it, Secrets in its namespace, are not there")
            .remedy("upgrade it to the version that is wanted, which makes a new one");
    }
    let known: Vec<String> = revisions
        .iter()
        .map(|revision| format!("{} ({})", revision.number, revision.status))
        .collect();
    error.remedy(format!("its revisions are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::finding::Severity;

    use super::*;

    fn id() -> ReleaseId {
        ReleaseId::new("mesh-system", "plane")
    }

    fn of(revisions: &[(u32, &'static str)]) -> Vec<Revision<'static>> {
        revisions
            .iter()
            .map(|&(number, status)| Revision { number, status })
            .collect()
    }

    #[test]
    fn without_a_number_it_is_the_revision_deployed_before_the_present_one() {
        let kept = of(&[(1, "superseded"), (2, "failed"), (3, "deployed")]);
        assert_eq!(to_revision(&id(), 0, &kept).unwrap(), None);
        for revisions in [of(&[(1, "deployed")]), of(&[(1, "failed"), (2, "deployed")])] {
            let error = to_revision(&id(), 0, &revisions).unwrap_err();
            assert_eq!(error.code, "unknown-revision", "{revisions:?}");
        }
    }

    #[test]
    fn an_unknown_revision_is_answered_with_those_there_are() {
        let kept = of(&[(4, "superseded"), (5, "deployed")]);
        let error = to_revision(&id(), 3, &kept).unwrap_err();
        assert!(error.message.contains("no revision 3"), "{error:?}");
        assert!(error.remedy.contains("4 (superseded), 5 (deployed)"), "{error:?}");
        assert_eq!(to_revision(&id(), 3, &[]).unwrap_err().code, "unknown-revision");
    }

    #[test]
    fn going_back_to_what_is_deployed_is_said_to_change_little() {
        let kept = of(&[(4, "superseded"), (5, "deployed")]);
        let said = to_revision(&id(), 5, &kept).unwrap().unwrap();
        assert_eq!(
            (said.code.as_str(), said.severity),
            ("rollback-to-present", Severity::Info)
        );
        assert_eq!(to_revision(&id(), 4, &kept).unwrap(), None);
    }
}
