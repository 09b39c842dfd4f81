//! What Linkerd's own CLI has made: no Helm release, but each object says for which control plane it is.

use meshery_mesh_kit::object::{label, name, namespace};
use meshery_mesh_kit::ownership::{is_ours, release_of};
use meshery_mesh_kit::{need, unreleased};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::object_ref::ObjectRef;

use crate::control_plane::{CONTROL_PLANE_NS, ISSUER, TRUST_ROOTS};

/// The installer, in words.
pub const INSTALLER: &str = "Linkerd's CLI";

/// What has to be seen to find it.
pub fn needs() -> impl Iterator<Item = Need> {
    let secrets = need::within("{namespace}", "", "Secret", CONTROL_PLANE_NS, Detail::Metadata);
    unreleased::needs(CONTROL_PLANE_NS).chain([secrets])
}

/// Its objects of a control plane in the order in which they go, the certificates of webhooks among them: the anchors and the
/// issuer stay, as they do in any removal.
pub fn made(facts: &Facts, in_namespace: &str) -> Vec<ObjectRef> {
    let is_of = |object: &_| label(object, CONTROL_PLANE_NS) == Some(in_namespace);
    let mut made: Vec<ObjectRef> = unreleased::by_part(facts, |object| is_of(object).then_some(()))
        .into_values()
        .flatten()
        .filter(|object| (object.kind.as_str(), object.name.as_str()) != ("ConfigMap", TRUST_ROOTS))
        .collect();
    let secrets = facts
        .objects("", "Secret")
        .filter(|secret| is_of(secret) && namespace(secret) == in_namespace && name(secret) != ISSUER)
        .filter(|secret| release_of(secret).is_none() && !is_ours(secret));
    for secret in secrets {
        let secret = ObjectRef::new("v1", "Secret", in_namespace, name(secret));
        if !made.contains(&secret) {
            made.push(secret);
        }
    }
    made
}
