//! Making the trust anchor and the issuer in the cluster, and making the issuer anew before it ends.
//!
//! The anchor's key is used once, for the issuer, and lost, unless it is asked to be kept: who keeps it can renew the
//! issuer, and so can everybody who gets to read Secrets.

use std::collections::BTreeMap;

use meshery_mesh_kit::object::{annotation, name, namespace as namespace_of};
use meshery_mesh_kit::step::{apply, material};
use meshery_mesh_kit::{namespace, need, parameter, schema};
use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::Facts;
use meshery_plugin_api::message::material::{Certificate, MaterialEntry, MaterialItem};
use meshery_plugin_api::message::object_ref::ObjectRef;
use meshery_plugin_api::message::plan::{Plan, PlanRequest};
use serde_json::Value;

use crate::control_plane::{BUNDLE, ISSUER, NAMESPACE, TRUST_ROOTS};
use crate::{config, issuer_secret, trust};

/// Secret with the trust anchor.
pub const ANCHOR: &str = "linkerd-trust-anchor";
/// Annotation by which an issuer says which Secret has its anchor; nothing for the first one.
const SIGNED_BY: &str = "meshery.io/trust-anchor";
/// Parameter with the domain that identities end in.
const DOMAIN: &str = "domain";
const ANCHOR_DAYS: u64 = 3650;
const ISSUER_DAYS: u64 = 365;
const LONGEST_DAYS: u64 = 36_500;

fn system() -> (&'static str, Value) {
    (
        "namespace",
        schema::namespace("Namespace of the control plane", NAMESPACE),
    )
}

pub fn issuer_days() -> (&'static str, Value) {
    (
        "issuer_days",
        schema::count("Days that the issuer is valid", ISSUER_DAYS, LONGEST_DAYS),
    )
}

pub fn anchor_days() -> (&'static str, Value) {
    (
        "anchor_days",
        schema::count("Days that the trust anchor is valid", ANCHOR_DAYS, LONGEST_DAYS),
    )
}

/// The domain that identities end in: as asked for where nothing is installed yet, else as the control plane has it.
fn domain<'a>(request: &'a PlanRequest, target: &str) -> Result<&'a str, PluginError> {
    parameter::text(request, DOMAIN, config::trust_domain(&request.facts, target))
}

/// An error when the issuer would end after the anchor that signs it: what it signs then is refused.
pub fn demand_lifetimes(request: &PlanRequest) -> Result<(), PluginError> {
    let anchor = parameter::count(request, "anchor_days", ANCHOR_DAYS, LONGEST_DAYS)?;
    let issuer = parameter::count(request, "issuer_days", ISSUER_DAYS, LONGEST_DAYS)?;
    if issuer <= anchor {
        return Ok(());
    }
    Err(PluginError::new(
        "linkerd-issuer-outlives",
        format!(
            "an issuer of {issuer} days (issuer_days) would outlive its anchor of {anchor} days (anchor_days)"
        ),
    )
    .cause("when an anchor ends, nobody accepts what an issuer under it signs")
    .remedy(format!(
        "ask for {anchor} days of the issuer at most, or for an anchor of {issuer} days"
    )))
}

/// The same when the anchor is there already.
fn demand_within_anchor(request: &PlanRequest, target: &str) -> Result<(), PluginError> {
    let issuer = parameter::count(request, "issuer_days", ISSUER_DAYS, LONGEST_DAYS)?;
    let Some(anchor) = trust::anchor_ends(&request.facts, target) else {
        return Ok(());
    };
    // As far as the moment can be told; days are counted down, and an issuer of as many ends before.
    let Some(left) = anchor.days_left(&request.facts.now) else {
        return Ok(());
    };
    if left >= 0 && issuer <= left.unsigned_abs() {
        return Ok(());
    }
    let error = PluginError::new(
        "linkerd-issuer-outlives",
        format!(
            "an issuer of {issuer} days (issuer_days) would outlive its anchor, which ends at {}",
            anchor.not_after
        ),
    )
    .cause("when an anchor ends, nobody accepts what an issuer under it signs");
    Err(match left {
        ..0 => error.remedy("replace the anchor: operation replace-anchor"),
        0 => error.remedy("rotate the anchor: operation rotate-anchor"),
        left => error.remedy(format!(
            "ask for {left} days at most, or rotate the anchor: operation rotate-anchor"
        )),
    })
}

pub fn keep_anchor_key() -> (&'static str, Value) {
    (
        "keep_anchor_key",
        schema::flag(
            "Whether the anchor's key stays in the cluster, so that the issuer can be renewed with it",
            false,
        ),
    )
}

pub fn make_operation() -> Operation {
    Operation {
        name: "make-trust".into(),
        category: Category::Configure,
        description: "Makes a trust anchor and an issuer (ECDSA P-256) where there are none, for an installation to come".into(),
        parameters: schema::object(
            [
                system(),
                anchor_days(),
                issuer_days(),
                keep_anchor_key(),
                (
                    DOMAIN,
                    schema::text(
                        "Domain of the cluster (clusterDomain, or identityTrustDomain where that is set); that of the \
                         control plane that is there, else cluster.local, when empty",
                    ),
                ),
            ],
            &[],
        ),
        needs: vec![need::namespace("{namespace}"), config::need("{namespace}")],
    }
}

pub fn make(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    let keep = request.flag("keep_anchor_key");
    demand_lifetimes(request)?;
    let anchor = anchor(request, target, ANCHOR)?;
    let items = vec![
        anchor,
        issuer(request, target, ANCHOR, false)?,
        MaterialItem {
            replace: false,
            ..roots(target, ANCHOR, false)
        },
    ];
    let mut steps = Vec::new();
    let missing = namespace::missing(&request.facts, &[target]);
    if !missing.is_empty() {
        steps.push(apply("namespace", format!("namespace {target}"), missing));
    }
    steps.push(material(
        "trust",
        "trust anchor, issuer and the anchors to believe",
        items,
    ));
    let note = if keep {
        format!(
            "the anchor's key stays in Secret {target}/{ANCHOR}: who may read it can be anybody in the mesh"
        )
    } else {
        "the anchor's key is lost when the issuer is signed: when that ends, a new anchor is needed".into()
    };
    let summary = format!("Make Linkerd's trust anchor and issuer in {target}");
    Ok(crate::plan(summary, steps, Vec::new(), vec![note]))
}

/// An anchor, whose key is lost when it has signed unless it is asked to be kept.
pub fn anchor(request: &PlanRequest, target: &str, secret: &str) -> Result<MaterialItem, PluginError> {
    let days = parameter::count(request, "anchor_days", ANCHOR_DAYS, LONGEST_DAYS)?;
    let keep = request.flag("keep_anchor_key");
    Ok(MaterialItem {
        secret_type: if keep {
            "kubernetes.io/tls".into()
        } else {
            String::new()
        },
        certificate: Some(Certificate {
            common_name: format!("root.{target}.{}", domain(request, target)?),
            authority: true,
            lifetime_h: hours(days),
            forget_key: !keep,
            ..Certificate::default()
        }),
        ..item("Secret", target, secret)
    })
}

/// The anchors to believe: that of a Secret, and those that are believed already if `beside` them.
pub fn roots(target: &str, secret: &str, beside: bool) -> MaterialItem {
    let roots = item("ConfigMap", target, TRUST_ROOTS);
    let new = ObjectRef::new("v1", "Secret", target, secret);
    let there = beside.then(|| roots.object.clone());
    MaterialItem {
        replace: true,
        entries: [(
            BUNDLE.to_owned(),
            MaterialEntry::Bundle {
                of: there.into_iter().chain([new]).collect(),
            },
        )]
        .into(),
        ..roots
    }
}

/// The Secret with the anchor that has signed the issuer.
pub fn anchor_of(facts: &Facts, target: &str) -> String {
    facts
        .objects("", "Secret")
        .find(|secret| name(secret) == ISSUER && namespace_of(secret) == target)
        .and_then(|secret| annotation(secret, SIGNED_BY))
        .unwrap_or(ANCHOR)
        .to_owned()
}

pub fn renew_operation() -> Operation {
    Operation {
        name: "renew-issuer".into(),
        category: Category::Configure,
        description: "Makes the issuer anew, signed by the anchor whose key is in the cluster; Linkerd takes it up by itself".into(),
        parameters: schema::object([system(), issuer_days()], &[]),
        needs: [need::namespace("{namespace}")]
            .into_iter()
            .chain(trust::needs())
            .collect(),
    }
}

pub fn renew(request: &PlanRequest) -> Result<Plan, PluginError> {
    let target = parameter::namespace(request, "namespace", NAMESPACE)?;
    demand_within_anchor(request, target)?;
    let anchor = anchor_of(&request.facts, target);
    let items = vec![issuer(request, target, &anchor, true)?];
    let steps = vec![material("issuer", "the issuer's certificate and key", items)];
    let summary = format!("Renew Linkerd's issuer in {target}");
    Ok(crate::plan(summary, steps, Vec::new(), Vec::new()))
}

/// An issuer, signed by the anchor in a Secret.
pub fn issuer(
    request: &PlanRequest,
    target: &str,
    anchor: &str,
    replace: bool,
) -> Result<MaterialItem, PluginError> {
    let days = parameter::count(request, "issuer_days", ISSUER_DAYS, LONGEST_DAYS)?;
    let host = format!("identity.{target}.{}", domain(request, target)?);
    Ok(MaterialItem {
        secret_type: issuer_secret::type_of(&request.facts, target),
        replace,
        annotations: (anchor != ANCHOR)
            .then(|| (SIGNED_BY.to_owned(), anchor.to_owned()))
            .into_iter()
            .collect(),
        certificate: Some(Certificate {
            common_name: host.clone(),
            dns_names: vec![host],
            authority: true,
            path_length: Some(0),
            lifetime_h: hours(days),
            issuer: Some(ObjectRef::new("v1", "Secret", target, anchor)),
            forget_key: false,
        }),
        ..item("Secret", target, ISSUER)
    })
}

fn item(kind: &str, namespace: &str, name: &str) -> MaterialItem {
    MaterialItem {
        object: ObjectRef::new("v1", kind, namespace, name),
        secret_type: String::new(),
        labels: BTreeMap::default(),
        annotations: BTreeMap::default(),
        replace: false,
        certificate: None,
        entries: BTreeMap::default(),
    }
}

fn hours(days: u64) -> u32 {
    u32::try_from(days.max(1) * 24).unwrap_or(u32::MAX)
}
