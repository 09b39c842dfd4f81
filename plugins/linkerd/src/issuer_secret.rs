//! The form of the Secret with the issuer: under which names its certificate and key are in it, and of which type it is.
//!
//! The control plane is told to take `tls.crt` and `tls.key`, which is what everybody but Linkerd's own CLI and chart writes.
//! These write `crt.pem` and `key.pem`, into a Secret whose type cannot be changed. It gets both under the other names beside
//! those, so that it stays the same issuer and nobody who trusts it has to learn of another.

use meshery_mesh_kit::object::{annotation, name, namespace, text};
use meshery_mesh_kit::ownership::release_of;
use meshery_mesh_kit::step::material;
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::finding::Finding;
use meshery_plugin_api::message::material::{MaterialEntry, MaterialItem};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::Step;
use serde_json::Value;

use crate::control_plane::ISSUER;

/// The type of most.
pub const TLS: &str = "kubernetes.io/tls";
/// What the control plane is told to take, and what the CLI and the chart call the same.
const NAMES: [(&str, &str); 2] = [("tls.crt", "crt.pem"), ("tls.key", "key.pem")];

fn find<'a>(facts: &'a Facts, in_namespace: &str) -> Option<&'a Value> {
    facts
        .objects("", "Secret")
        .find(|secret| name(secret) == ISSUER && namespace(secret) == in_namespace)
}

fn has(secret: &Value, key: &str) -> bool {
    secret.get("data").and_then(|data| data.get(key)).is_some()
}

/// Whether a release leaves it where it is.
pub fn is_kept(object: &Value) -> bool {
    annotation(object, "helm.sh/resource-policy") == Some("keep")
}

/// Whether certificate and key are there under the CLI's names only, by nobody's release that would take others away again.
fn is_of_cli(secret: &Value) -> bool {
    let named = NAMES.iter().all(|(wanted, _)| has(secret, wanted));
    !named
        && text(secret, "/type") != TLS
        && (release_of(secret).is_none() || is_kept(secret))
        && NAMES.iter().all(|(_, of_cli)| has(secret, of_cli))
}

/// The type that an issuer in the place of the one that is there has to have: a Secret keeps the one it was made with.
pub fn type_of(facts: &Facts, in_namespace: &str) -> String {
    let there = find(facts, in_namespace).map_or("", |secret| text(secret, "/type"));
    if there.is_empty() { TLS } else { there }.into()
}

/// What is in the way of a control plane that is to take it.
pub fn unfit(facts: &Facts, in_namespace: &str) -> Option<Finding> {
    let secret = find(facts, in_namespace)?;
    let named = NAMES.iter().all(|(wanted, _)| has(secret, wanted));
    if text(secret, "/type") == TLS || named || is_of_cli(secret) {
        return None;
    }
    let missing = NAMES
        .iter()
        .find(|(wanted, of_cli)| !has(secret, wanted) && !has(secret, of_cli));
    let certificate = NAMES[0];
    let found = match missing {
        Some((wanted, of_cli)) if has(secret, certificate.0) || has(secret, certificate.1) => Finding::error(
            "linkerd-issuer-key-missing",
            format!(
                "Secret {in_namespace}/{ISSUER} has the issuer's certificate, and no key ({wanted} \
                 or {of_cli})"
            ),
        )
        .remedy(format!(
            "put the key into it under {of_cli}, as the CLI does; where it is lost, delete the \
             Secret and make another issuer that the anchors there have signed"
        )),
        _ => Finding::error(
            "linkerd-issuer-type",
            format!(
                "Secret {in_namespace}/{ISSUER} is of type \"{}\", and {TLS} is needed",
                text(secret, "/type")
            ),
        )
        .remedy(
            "make it anew with `kubectl create secret tls`; a chart that has made it with its \
             own values would fight over it",
        ),
    };
    Some(found.about(ObjectRef::new("v1", "Secret", in_namespace, ISSUER)))
}

/// The step that gives what the CLI has made, or a chart that it is taken from, the names that the control plane is told to take.
pub fn named(facts: &Facts, in_namespace: &str, taken_out: bool) -> Option<Step> {
    let is_meant = |secret: &&Value| is_of_cli(secret) && (taken_out || release_of(secret).is_none());
    let secret = find(facts, in_namespace).filter(is_meant)?;
    let same = |(wanted, of_cli): &(&str, &str)| {
        let key = (*of_cli).to_owned();
        ((*wanted).to_owned(), MaterialEntry::SameAs { key })
    };
    let item = MaterialItem {
        object: ObjectRef::new("v1", "Secret", in_namespace, ISSUER),
        secret_type: text(secret, "/type").into(),
        labels: [].into(),
        annotations: [].into(),
        replace: true,
        certificate: None,
        entries: NAMES.iter().map(same).collect(),
    };
    let title = "the issuer that is there, under the names that are taken here too";
    Some(material("issuer-names", title, vec![item]))
}
