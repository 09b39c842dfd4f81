//! Tags: other names of a revision, which namespaces and pods may use in its place. Each is a webhook configuration of
//! its own that calls the control plane of the revision; the chart of istiod makes them (`revisionTags`), and so does
//! `istioctl tag set`.

use meshery_mesh_kit::need;
use meshery_mesh_kit::object::label;
use meshery_mesh_kit::ownership::{ReleaseId, release_of};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};

use crate::control_plane::{REVISION_LABEL, WEBHOOKS};
use crate::detect;

/// Label of a webhook configuration that is a tag, with the tag.
pub const LABEL: &str = "istio.io/tag";

/// A tag.
#[derive(Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    pub name: &'a str,
    pub revision: &'a str,
    /// The release that it is part of; nothing when it was made otherwise.
    pub release: Option<ReleaseId>,
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

/// How a tag gets another meaning.
pub fn moving(tag: &str, revision: &str) -> String {
    format!("`istioctl tag set {tag} --revision {revision} --overwrite`")
}
