//! Tags: other names of a revision, which namespaces and pods may use in its place. Each is a webhook configuration of
//! its own that calls the control plane of the revision; the chart of istiod makes them (`revisionTags`), and so does
//! `istioctl tag set`.

use std::collections::BTreeMap;

use meshery_mesh_kit::object::{label, name};
use meshery_mesh_kit::ownership::{ReleaseId, release_of};
use meshery_mesh_kit::{adoption, need, webhook};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::{Finding, Installation};
use meshery_plugin_api::message::plan::PlanRequest;

use crate::control_plane::{REVISION_LABEL, WEBHOOKS};
use crate::releases::PartRelease;
use crate::remove::{self, Scope};
use crate::{detect, istioctl};

/// Label of a webhook configuration that is a tag, with the tag.
pub const LABEL: &str = "istio.io/tag";

/// A tag.
#[derive(Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    pub name: &'a str,
    pub revision: &'a str,
    /// The release that it is part of; nothing when it was made otherwise.
    pub release: Option<ReleaseId>,
    /// Name of the webhook configuration.
    pub configuration: &'a str,
    /// Namespace and name of each Service that it calls.
    pub services: Vec<(String, String)>,
}

/// What has to be read to know them.
pub fn need() -> Need {
    need::everywhere(
        WEBHOOKS,
        "MutatingWebhookConfiguration",
        REVISION_LABEL,
        Detail::Full,
    )
}

/// All of them.
pub fn all(facts: &Facts) -> impl Iterator<Item = Tag<'_>> {
    detect::unique(facts, WEBHOOKS, "MutatingWebhookConfiguration")
        .into_iter()
        .filter_map(|object| {
            Some(Tag {
                name: label(object, LABEL)?,
                revision: label(object, REVISION_LABEL)?,
                release: release_of(object),
                configuration: name(object),
                services: webhook::read(object).services,
            })
        })
}

/// Those of a revision that its release does not take along when it goes.
pub fn of_others<'a>(facts: &'a Facts, revision: &str, release: &str) -> Vec<&'a str> {
    all(facts)
        .filter(|tag| tag.revision == revision)
        .filter(|tag| tag.release.as_ref().is_none_or(|made_by| made_by.name != release))
        .map(|tag| tag.name)
        .collect()
}

/// Tags that call a control plane that goes, and do not go with it: they refuse every pod that they are asked about then.
pub fn outliving(
    request: &PlanRequest,
    installations: &[Installation],
    scope: &Scope<'_>,
    going: &[PartRelease],
) -> Result<Vec<Finding>, PluginError> {
    let facts = &request.facts;
    let of_istioctl = if adoption::takes_others(request)? {
        istioctl::made(facts, scope)
    } else {
        BTreeMap::new()
    };
    let planes = installations.iter().filter(|found| scope.takes_plane(found));
    let revisions: Vec<&str> = planes.map(|found| found.revision.as_str()).collect();
    let heir = remove::staying(installations, scope).first().copied();
    let left = all(facts).filter(|tag| {
        let mut services = tag.services.iter();
        let mut made = of_istioctl.values().flatten();
        let of_release = tag.release.as_ref();
        let goes = of_release.is_some_and(|of| going.iter().any(|release| release.id == *of))
            || made.any(|object| object.name == tag.configuration);
        !goes && revisions.contains(&tag.revision) && services.any(|(of, _)| of == scope.namespace)
    });
    let told = left.map(|tag| {
        let away = format!("`istioctl tag remove {}`", tag.name);
        Finding::error(
            "istio-revision-tagged",
            format!(
                "the tag {} means revision {} and does not go with it: new pods that ask for the tag would be refused",
                tag.name, tag.revision
            ),
        )
        .remedy(match heir {
            Some(heir) => format!("{} first, or {away}", moving(tag.name, heir)),
            None => format!("{away} first"),
        })
    });
    Ok(told.collect())
}

/// How a tag gets another meaning.
pub fn moving(tag: &str, revision: &str) -> String {
    format!("`{}`", command(tag, revision))
}

/// The command for that.
pub fn command(tag: &str, revision: &str) -> String {
    format!("istioctl tag set {tag} --revision {revision} --overwrite")
}
