//! The validator that comes with the definitions. It checks all configuration of Istio in the cluster by one control plane, and
//! refuses it when nobody answers there: it has to call another one before that goes.

use meshery_mesh_kit::object::{name, namespace};
use meshery_mesh_kit::ownership::{ReleaseId, chart_of, release_of};
use meshery_mesh_kit::step::wait;
use meshery_mesh_kit::values::Values;
use meshery_mesh_kit::webhook;
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::plan::{Action, PlanRequest, Step};
use serde_json::Value;

use crate::control_plane::{
    DEFAULT_REVISION, DEFAULT_VALIDATOR, Plane, WEBHOOKS, default_validator, is_istiod, revision, shown,
};
use crate::install::DEADLINE_S;
use crate::parts::{Parts, validates};
use crate::plane_values::Webhooks;
use crate::profile::Profile;
use crate::releases::{Part, of_istio};
use crate::{tag, versions};

/// It, where it calls a control plane.
fn calling<'a>(facts: &'a Facts, plane: Plane<'_>) -> Option<&'a Value> {
    let service = (plane.namespace.to_owned(), plane.istiod());
    let mut all = facts.objects(WEBHOOKS, "ValidatingWebhookConfiguration");
    all.find(|object| name(object) == DEFAULT_VALIDATOR && webhook::read(object).services.contains(&service))
}

/// Whether it calls a control plane.
pub fn calls(facts: &Facts, plane: Plane<'_>) -> bool {
    calling(facts, plane).is_some()
}

/// The revisions of the other control planes in the namespace, as objects show them.
pub fn others<'a>(facts: &'a Facts, plane: Plane<'_>) -> Vec<&'a str> {
    let mut revisions: Vec<&str> = facts
        .objects("apps", "Deployment")
        .filter(|object| is_istiod(object) && namespace(object) == plane.namespace)
        .map(revision)
        .filter(|revision| *revision != shown(plane.revision))
        .collect();
    revisions.sort_unstable();
    revisions.dedup();
    revisions
}

/// What is to be done about it when a control plane goes and others stay.
pub enum Handover {
    /// It does not call that one.
    NotNeeded,
    /// It calls the only one that stays before anything goes.
    Steps(Vec<Step>),
    /// It would call nobody.
    Impossible(Finding),
}

/// Of a control plane that goes.
pub fn handover(request: &PlanRequest, plane: Plane<'_>) -> Result<Handover, PluginError> {
    let facts = &request.facts;
    let Some(validator) = calling(facts, plane) else {
        return Ok(Handover::NotNeeded);
    };
    let others = others(facts, plane);
    let release = release_of(validator).filter(|id| id.namespace == plane.namespace);
    let is_ours = |id: &ReleaseId| {
        let mut releases = of_istio(facts).into_iter();
        releases.any(|release| release.part == Part::Base && release.ours && release.id == *id)
    };
    let version = chart_of(validator).map(|(_, version)| version.to_string());
    let chosen = version.and_then(|version| versions::CATALOGUE.choose(&version, &["base"], facts).ok());
    match (&others[..], release, chosen) {
        ([only], Some(id), Some(chosen)) if is_ours(&id) => {
            let revision = if *only == DEFAULT_REVISION { "" } else { only };
            let parts = Parts {
                facts,
                chosen,
                profile: Profile::of("default"),
                plane: Plane { revision, ..plane },
                is_default: true,
                webhooks: Webhooks::of(facts, &Values::default(), &[]),
                platform: None,
                values: Values::default(),
                images: &request.images,
                deadline_s: u32::try_from(DEADLINE_S).unwrap_or(u32::MAX),
                keep_values: true,
            };
            moved(&parts, only).map(Handover::Steps)
        }
        (others, release, _) => Ok(Handover::Impossible(impossible(plane, others, release.as_ref()))),
    }
}

fn moved(parts: &Parts<'_>, revision: &str) -> Result<Vec<Step>, PluginError> {
    let mut base = parts.base()?;
    base.id = "default-validator".into();
    base.title = format!("configuration is checked by revision {revision}");
    if let Action::Release(release) = &mut base.action {
        release.values.insert("defaultRevision".into(), revision.into());
    }
    let ready = wait(
        "default-validator-ready",
        format!("revision {revision} validates"),
        parts.deadline_s,
        validates(default_validator()).into(),
    );
    Ok(vec![base, ready])
}

fn impossible(plane: Plane<'_>, others: &[&str], release: Option<&ReleaseId>) -> Finding {
    let heir = others.first().copied().unwrap_or("REVISION");
    let which = if others.len() > 1 {
        format!(" (there are {})", others.join(", "))
    } else {
        String::new()
    };
    let by = match release {
        Some(id) => format!(
            "`helm upgrade {} istio/base --version VERSION --namespace {} --reuse-values --set defaultRevision={heir}`, with the \
             version it has",
            id.name, id.namespace
        ),
        None => format!("`{}`", tag::command(DEFAULT_REVISION, heir)),
    };
    Finding::error(
        "istio-default-validator",
        format!(
            "{DEFAULT_VALIDATOR} calls revision {}: without it all configuration of Istio in the cluster is refused",
            shown(plane.revision)
        ),
    )
    .about(default_validator())
    .remedy(format!("have it call one that stays first{which}: {by}"))
}

/// How it comes to call a control plane that is there, when that which it called has gone.
pub fn remedy(staying: &[&str]) -> String {
    match staying {
        [only] => format!(
            "install revision {only} again in its version (operation install): it is called from then on"
        ),
        others => {
            let first = others.first().copied().unwrap_or_default();
            format!(
                "have it call one that is there ({}): `{}`",
                others.join(", "),
                tag::command(DEFAULT_REVISION, first)
            )
        }
    }
}
