//! What somebody else has installed: changed, or removed, on explicit word only.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::finding::{Finding, Installation, Prospect, Severity};
use meshery_plugin_api::message::plan::{Action, Plan, PlanRequest};
use serde_json::Value;

use crate::ownership::{self, HELM, OURS, ReleaseId};
use crate::prospect::Prospecting as _;
use crate::{parameter, schema};

const ADOPT: &str = "adopt";
const OF_OTHERS: &str = "of-others";
/// What is to be done before either.
pub(crate) const NOBODY_ELSE: &str =
    "make sure that nobody else manages it (a pipeline, Argo CD, Flux) and would put it back";

/// The parameter by which an installation is taken over.
pub fn parameter() -> (&'static str, Value) {
    let text = "Also when somebody else has installed what is there: from then on it is managed here";
    (ADOPT, schema::flag(text, false))
}

/// The parameter by which a removal takes what somebody else has installed.
pub fn removal_parameter() -> (&'static str, Value) {
    let text = "Also remove what somebody else has installed";
    (OF_OTHERS, schema::flag(text, false))
}

/// Whether a removal takes it.
pub fn takes_others(request: &PlanRequest) -> Result<bool, PluginError> {
    parameter::flag(request, OF_OTHERS, false)
}

/// Says in the releases of a plan that is to take over what is there from whom they do, so that it is known afterwards.
/// `maker` tells who has made the installation that the plan is about, as detection does; what a release is found for, Helm
/// has installed.
pub fn remembered(
    request: &PlanRequest,
    mut plan: Plan,
    maker: impl FnOnce(&PlanRequest) -> Result<String, PluginError>,
) -> Result<Plan, PluginError> {
    if !is_asked(request)? {
        return Ok(plan);
    }
    let maker = maker(request)?;
    let there = ownership::releases(&request.facts);
    for step in plan.steps.iter_mut().chain(&mut plan.verify) {
        let Action::Release(release) = &mut step.action else {
            continue;
        };
        release.adopted_from = match there.get(&ReleaseId::new(&release.namespace, &release.name)) {
            // Some of its objects may be ours, and not the one that tells whose the installation is.
            Some(seen) if seen.ours && maker == OURS => continue,
            Some(_) => HELM.into(),
            // What Helm has made of a release shows which one it is: this is not what Helm has made.
            None if maker == OURS || maker == HELM => continue,
            None => maker.clone(),
        };
    }
    Ok(plan)
}

fn is_asked(request: &PlanRequest) -> Result<bool, PluginError> {
    parameter::flag(request, ADOPT, false)
}

/// Whether an installation that is there, `described` in words, may be changed; nothing is to be said when it is ours. Codes
/// begin with the mesh's own word.
pub fn of_others(
    request: &PlanRequest,
    word: &str,
    found: &Installation,
    described: &str,
) -> Result<Option<Finding>, PluginError> {
    let agreed = is_asked(request)?;
    Ok(judged(agreed, word, found, described))
}

/// The same, with or without the word that it is to be taken over.
fn judged(agreed: bool, word: &str, found: &Installation, described: &str) -> Option<Finding> {
    if found.installed_by == OURS {
        return None;
    }
    let (code, severity, message, remedy) = if agreed {
        let message = format!("there is {described}: from now on it is managed here");
        ("adopted", Severity::Warning, message, NOBODY_ELSE)
    } else {
        let remedy =
            "go on managing it with what installed it, or say that it is to be taken over (parameter adopt)";
        (
            "of-others",
            Severity::Error,
            format!("there is {described}"),
            remedy,
        )
    };
    Some(Finding::new(severity, format!("{word}-{code}"), message).remedy(remedy))
}

/// An operation that changes an installation asks for the word first when somebody else has installed it.
pub fn asked_for(prospect: Prospect, word: &str, found: &Installation, described: &str) -> Prospect {
    match judged(true, word, found, described) {
        None => prospect,
        Some(finding) => prospect.with_consent(ADOPT, finding),
    }
}

/// Whether a release that an operation brings, or brings further, may be changed; nothing is to be said when it is ours, or not
/// there yet.
pub fn changed(request: &PlanRequest, release: &ReleaseId) -> Result<Option<Finding>, PluginError> {
    let there = ownership::releases(&request.facts);
    if there.get(release).is_none_or(|seen| seen.ours) {
        return Ok(None);
    }
    Ok(Some(change(is_asked(request)?, release)))
}

fn change(agreed: bool, release: &ReleaseId) -> Finding {
    let remedy = "leave it to what installed it, or say that it is to be taken over (parameter adopt)";
    of_release(agreed, release, remedy)
}

/// An operation that changes releases asks for the word first for each that is not ours.
pub fn change_asked_for<'a>(prospect: Prospect, others: impl Iterator<Item = &'a ReleaseId>) -> Prospect {
    others.fold(prospect, |prospect, id| {
        prospect.with_consent(ADOPT, change(true, id))
    })
}

/// What is to be said of removing a release that is not ours.
pub fn removed(request: &PlanRequest, release: &ReleaseId) -> Result<Finding, PluginError> {
    Ok(removal(takes_others(request)?, release))
}

fn removal(agreed: bool, release: &ReleaseId) -> Finding {
    let remedy = "remove it with what installed it, or say that it is to go (parameter of-others)";
    of_release(agreed, release, remedy)
}

/// Without the word it is an error, and the remedy says which word.
fn of_release(agreed: bool, release: &ReleaseId, remedy: &str) -> Finding {
    let (severity, remedy) = if agreed {
        (Severity::Warning, NOBODY_ELSE)
    } else {
        (Severity::Error, remedy)
    };
    Finding::new(
        severity,
        "release-of-others",
        format!(
            "release {}/{} was not installed by Meshery",
            release.namespace, release.name
        ),
    )
    .remedy(remedy)
}

/// A removal asks for the word first for each release that is not ours.
pub fn removal_asked_for<'a>(prospect: Prospect, others: impl Iterator<Item = &'a ReleaseId>) -> Prospect {
    others.fold(prospect, |prospect, id| {
        prospect.with_consent(OF_OTHERS, removal(true, id))
    })
}

/// A removal of what a mesh's own installer has made, which is of no release, asks for the same word.
pub fn unreleased_asked_for(prospect: Prospect, installer: &str) -> Prospect {
    let finding = Finding::warning(
        "installation-of-others",
        format!("what {installer} has made is of no release, and goes object by object"),
    )
    .remedy(NOBODY_ELSE);
    prospect.with_consent(OF_OTHERS, finding)
}

#[cfg(test)]
mod tests {
    use meshery_plugin_api::message::facts::KindFacts;
    use meshery_plugin_api::message::plan::ChartRef;
    use serde_json::json;

    use super::*;
    use crate::step;

    #[test]
    fn each_release_says_from_whom_it_takes_over_and_nothing_where_all_is_ours() {
        let object = |release: &str, more: Value| {
            let mut object = json!({"metadata": {"name": release, "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "mesh"}}});
            for (key, value) in more.as_object().into_iter().flatten() {
                object["metadata"]["annotations"][key] = value.clone();
            }
            object
        };
        let mut request = PlanRequest::default();
        request.facts.kinds.push(KindFacts {
            objects: vec![
                object("ours", json!({"meshery.io/operation": "01J"})),
                object("taken", json!({"meshery.io/adopted-from": "tool"})),
                object("helms", json!({})),
            ],
            ..KindFacts::default()
        });
        let names = ["ours", "taken", "helms", "new"];
        let said = |request: &PlanRequest, maker: &str| -> Vec<String> {
            let steps = names
                .iter()
                .map(|name| step::release(name, *name, ("mesh", name), ChartRef::default(), Value::Null));
            let plan = Plan {
                steps: steps.collect(),
                ..Plan::default()
            };
            let remembered = remembered(request, plan, |_| Ok(maker.to_owned())).unwrap();
            let from = |step: meshery_plugin_api::message::plan::Step| match step.action {
                Action::Release(release) => release.adopted_from,
                _ => String::new(),
            };
            remembered.steps.into_iter().map(from).collect()
        };
        assert_eq!(
            said(&request, "tool"),
            ["", "", "", ""],
            "nobody has asked for it"
        );
        request.parameters = json!({"adopt": true}).as_object().cloned().unwrap_or_default();
        assert_eq!(said(&request, "tool"), ["helm", "helm", "helm", "tool"]);
        assert_eq!(said(&request, "meshery"), ["", "", "helm", ""]);
        assert_eq!(said(&request, "helm"), ["helm", "helm", "helm", ""]);
    }
}
