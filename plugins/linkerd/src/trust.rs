//! The trust anchors and the issuer: apart from each other, in the cluster, and never in a chart's values.
//!
//! The chart is told that both come from outside (`identity.externalCA`, `identity.issuer.scheme`), so an upgrade or a
//! second install never replaces them, and no key passes through a plan or a release's record. Who makes them (a person,
//! cert-manager) also decides where the anchor's key lives; it need not be in the cluster at all.

use meshery_mesh_kit::certificate::{self, Certificate};
use meshery_mesh_kit::expiry::WARNED_DAYS;
use meshery_mesh_kit::object::{annotation, name, namespace};
use meshery_mesh_kit::{need, readable};
use meshery_plugin_api::message::facts::{Detail, Facts, Need};
use meshery_plugin_api::message::finding::{Finding, Severity};
use meshery_plugin_api::message::object_ref::ObjectRef;
use serde_json::Value;

use crate::bundle::digest;
use crate::control_plane::{BUNDLE, ISSUER, TRUST_ROOT, TRUST_ROOTS};
use crate::{config, detect, issuer_secret};

/// How many pods a finding names.
const NAMED: usize = 5;

/// Both, in the namespace of a parameter, and what the chart says of them.
pub fn needs() -> [Need; 3] {
    [
        config::need("{namespace}"),
        need::one("{namespace}", "", "ConfigMap", TRUST_ROOTS, Detail::Full),
        need::one("{namespace}", "", "Secret", ISSUER, Detail::Full),
    ]
}

pub fn find<'a>(facts: &'a Facts, kind: &'a str, in_namespace: &str, wanted: &str) -> Option<&'a Value> {
    facts
        .objects("", kind)
        .find(|object| name(object) == wanted && namespace(object) == in_namespace)
}

/// Whether a chart has made the anchors, from its values: they belong to its release, unless it has been told since that they
/// come from outside, and they were kept.
pub fn is_of_chart(facts: &Facts, in_namespace: &str) -> bool {
    find(facts, "ConfigMap", in_namespace, TRUST_ROOTS).is_some_and(is_marked)
        && !config::has(facts, in_namespace, "  externalCA: true")
}

fn is_marked(object: &Value) -> bool {
    annotation(object, "meta.helm.sh/release-name").is_some()
}

/// Whether the release would leave both where they are, would its chart not bring them any more.
fn is_kept(facts: &Facts, in_namespace: &str) -> bool {
    let both = [
        find(facts, "ConfigMap", in_namespace, TRUST_ROOTS),
        find(facts, "Secret", in_namespace, ISSUER),
    ];
    both.into_iter()
        .flatten()
        .all(|object| !is_marked(object) || issuer_secret::is_kept(object))
}

/// How both are taken out of a chart's hands, by the command that comes first.
pub fn keeping(in_namespace: &str) -> String {
    format!(
        "`kubectl annotate --namespace {in_namespace} configmap/{TRUST_ROOTS} secret/{ISSUER} \
         helm.sh/resource-policy=keep`"
    )
}

/// What speaks against an installation with the anchors and the issuer that are there, or against an upgrade that leaves them
/// in whose hands they are.
pub fn before(facts: &Facts, in_namespace: &str, leaves: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let of_chart = is_of_chart(facts, in_namespace);
    if of_chart && (leaves || !is_kept(facts, in_namespace)) {
        if !leaves {
            findings.push(
                Finding::error(
                    "linkerd-trust-in-chart",
                    format!(
                        "ConfigMap {in_namespace}/{TRUST_ROOTS} is part of a Helm release: a control \
                         plane with anchors from outside would delete it"
                    ),
                )
                .remedy(format!(
                    "have it and the issuer kept first: {}; or upgrade what is there (operation \
                     upgrade) without identity.externalCA, which leaves its anchors as they are",
                    keeping(in_namespace)
                )),
            );
        }
        // What the chart has made of the issuer is as the chart wants it.
        findings.extend(anchors(facts, in_namespace));
        findings.extend(issuer(facts, in_namespace));
        return findings;
    }
    let missing = |kind: &str, wanted: &str, what: &str| {
        Finding::error(
            "linkerd-trust-missing",
            format!("there is no {kind} {in_namespace}/{wanted} with {what}"),
        )
        .about(ObjectRef::new("v1", kind, in_namespace, wanted))
        .remedy(
            "make both before: operation make-trust does it; README of the plugin, \"Trust\", has other ways",
        )
    };
    if find(facts, "ConfigMap", in_namespace, TRUST_ROOTS).is_none()
        && readable::kind_is_whole(facts, "", "ConfigMap")
    {
        let what = format!("the trust anchors (key {BUNDLE})");
        findings.push(missing("ConfigMap", TRUST_ROOTS, &what));
    }
    match find(facts, "Secret", in_namespace, ISSUER) {
        None if readable::kind_is_whole(facts, "", "Secret") => findings.push(missing(
            "Secret",
            ISSUER,
            "the issuer's certificate and key (type kubernetes.io/tls)",
        )),
        _ => findings.extend(issuer_secret::unfit(facts, in_namespace)),
    }
    findings.extend(anchors(facts, in_namespace));
    findings.extend(issuer(facts, in_namespace));
    findings
}

/// The issuer's certificates, its own first; nothing when there is none, an error when it cannot be read. They are public;
/// charts have another name for them.
fn issuers(facts: &Facts, in_namespace: &str) -> Option<Result<Vec<Certificate>, String>> {
    let data = find(facts, "Secret", in_namespace, ISSUER)?.get("data")?;
    let encoded = ["tls.crt", "crt.pem"]
        .iter()
        .find_map(|key| data.get(key)?.as_str())?;
    let pem = certificate::of_base64(encoded).unwrap_or_default();
    Some(certificate::read(&pem))
}

fn bundle(facts: &Facts, in_namespace: &str) -> Option<Result<Vec<Certificate>, String>> {
    let object = find(facts, "ConfigMap", in_namespace, TRUST_ROOTS)?;
    let bundle = object.get("data").and_then(|data| data.get(BUNDLE));
    Some(certificate::read(bundle.and_then(Value::as_str).unwrap_or("")))
}

/// The anchor among those that are believed that the issuer goes back to, perhaps by others that come with it.
fn anchor_of<'a>(issuers: &[Certificate], anchors: &'a [Certificate]) -> Option<&'a Certificate> {
    let mut at = issuers.first()?;
    for _ in issuers {
        let signers = anchors.iter().filter(|anchor| at.is_signed_by(anchor));
        if let Some(anchor) = signers.max_by_key(|anchor| &anchor.not_after) {
            return Some(anchor);
        }
        at = issuers
            .iter()
            .skip(1)
            .find(|other| at.is_signed_by(other) && *other != at)?;
    }
    None
}

/// When the anchor ends under which an issuer would be made anew; the last one of the bundle where that cannot be told.
pub fn anchor_ends(facts: &Facts, in_namespace: &str) -> Option<Certificate> {
    let anchors = bundle(facts, in_namespace)?.ok()?;
    let issuers = issuers(facts, in_namespace)
        .and_then(Result::ok)
        .unwrap_or_default();
    anchor_of(&issuers, &anchors)
        .or_else(|| anchors.iter().max_by_key(|anchor| &anchor.not_after))
        .cloned()
}

/// Whether the mesh is past a rotation: no anchor holds, or identity gets nowhere with the issuer.
pub fn is_past_rotation(facts: &Facts, in_namespace: &str) -> bool {
    let anchors = bundle(facts, in_namespace)
        .and_then(Result::ok)
        .unwrap_or_default();
    !anchors.iter().any(|anchor| holds(anchor, &facts.now))
        || issuer(facts, in_namespace)
            .iter()
            .any(|found| found.severity == Severity::Error)
}

/// What is wrong with the issuer that is there, or will be soon, whoever has made it.
pub fn issuer(facts: &Facts, in_namespace: &str) -> Vec<Finding> {
    let remedy = "make it anew with whoever has made it: operation renew-issuer, where the anchor's key is in the cluster";
    let secret = ObjectRef::new("v1", "Secret", in_namespace, ISSUER);
    let issuers = match issuers(facts, in_namespace) {
        None => return Vec::new(),
        Some(Ok(issuers)) => issuers,
        Some(Err(why)) => {
            let message = format!("the issuer's certificate cannot be read: {why}");
            let found = Finding::warning("linkerd-issuer-unreadable", message);
            return vec![found.about(secret).remedy(remedy)];
        }
    };
    let mut findings = Vec::new();
    let mut say = |code: &str, severity, message: String, remedy: &str| {
        let found = Finding::new(severity, code, message);
        findings.push(found.about(secret.clone()).remedy(remedy));
    };
    let (first, now) = (&issuers[0], facts.now.as_str());
    let until = &first.not_after;
    match first.days_left(now) {
        Some(days) if days < 0 => {
            let message = format!("the issuer ended at {until}: proxies get no certificates any more");
            let remedy = format!("{remedy}; else replace the anchor with it (operation replace-anchor)");
            say("linkerd-issuer-expired", Severity::Error, message, &remedy);
        }
        Some(days) if days < WARNED_DAYS => {
            let message = format!("the issuer ends in {days} days, at {until}");
            say("linkerd-issuer-expires", Severity::Warning, message, remedy);
        }
        _ => {}
    }
    if now < first.not_before.as_str() && !now.is_empty() {
        let message = format!(
            "the issuer is valid from {} on, and it is {now}",
            first.not_before
        );
        let remedy = "wait, or compare this machine's clock with that of whoever made it";
        say("linkerd-issuer-not-yet", Severity::Error, message, remedy);
    }
    if !first.p256 {
        let message =
            "the issuer has no ECDSA key on the curve P-256, and identity takes no other".to_owned();
        say("linkerd-issuer-algorithm", Severity::Error, message, remedy);
    }
    if !first.authority {
        let message = "the issuer's certificate is none that may sign others".to_owned();
        say("linkerd-issuer-no-authority", Severity::Error, message, remedy);
    }
    if let Some(Ok(anchors)) = bundle(facts, in_namespace) {
        match anchor_of(&issuers, &anchors) {
            None => {
                let message =
                    "none of the trust anchors has signed the issuer: identity does not start with it"
                        .to_owned();
                let remedy = "put the anchor that has signed it into the bundle, or make the issuer anew under one that is there";
                say("linkerd-issuer-unchained", Severity::Error, message, remedy);
            }
            Some(anchor) if *until > anchor.not_after => {
                let message = format!(
                    "the issuer ends at {until}, after its anchor, which ends at {}: what it signs is refused from then on",
                    anchor.not_after
                );
                let remedy = "rotate the anchor before it ends: operation rotate-anchor";
                say("linkerd-issuer-outlives", Severity::Warning, message, remedy);
            }
            Some(_) => {}
        }
    }
    findings
}

/// What is wrong with the anchors that are there, or will be soon.
pub fn anchors(facts: &Facts, in_namespace: &str) -> Vec<Finding> {
    let Some(anchors) = bundle(facts, in_namespace) else {
        return Vec::new();
    };
    // In a rotation that came too late the old one has ended, and the new one holds the mesh.
    let held = anchors
        .as_ref()
        .is_ok_and(|all| all.iter().any(|anchor| holds(anchor, &facts.now)));
    let mut findings = match anchors {
        Ok(certificates) => certificates
            .iter()
            .enumerate()
            .filter_map(|(at, anchor)| about(anchor, at + 1, &facts.now))
            .collect(),
        Err(why) => vec![
            Finding::error(
                "linkerd-anchor-unreadable",
                format!("the trust anchors cannot be read: {why}"),
            )
            .remedy(format!("put PEM certificates under the key {BUNDLE}")),
        ],
    };
    for found in &mut findings {
        if held && found.code == "linkerd-anchor-expired" {
            found.severity = Severity::Warning;
            found.remedy = "take it out of the bundle: another one there is valid".into();
        }
        found.object = Some(ObjectRef::new("v1", "ConfigMap", in_namespace, TRUST_ROOTS));
    }
    findings
}

/// The anchors of today, in PEM.
pub fn text_of<'a>(facts: &'a Facts, in_namespace: &str) -> Option<&'a str> {
    let object = find(facts, "ConfigMap", in_namespace, TRUST_ROOTS)?;
    object.get("data")?.get(BUNDLE)?.as_str()
}

/// Whether a pod says that its proxy was given other anchors than these.
pub fn was_given_others(pod: &Value, bundle: &str) -> bool {
    // Not every version takes the space around it into account.
    annotation(pod, TRUST_ROOT)
        .is_some_and(|theirs| theirs != digest(bundle) && theirs != digest(bundle.trim()))
}

/// Pods whose proxies were given other anchors than those of today: they refuse whoever has a certificate under a newer one,
/// or still believe one that was taken out.
pub fn behind(facts: &Facts, in_namespace: &str) -> Option<Finding> {
    let bundle = text_of(facts, in_namespace)?;
    let mut pods: Vec<String> = detect::proxies(facts, in_namespace)
        .filter(|pod| was_given_others(pod, bundle))
        .map(|pod| format!("{}/{}", namespace(pod), name(pod)))
        .collect();
    if pods.is_empty() {
        return None;
    }
    pods.sort_unstable();
    let count = pods.len();
    pods.truncate(NAMED);
    let more = if count > NAMED { ", ..." } else { "" };
    Some(
        Finding::warning(
            "linkerd-anchor-behind",
            format!(
                "{count} pods have proxies with other trust anchors than those of today: {}{more}",
                pods.join(", ")
            ),
        )
        .remedy(
            "restart them, one namespace after the other (operation restart), before an anchor is taken out \
             of the bundle",
        ),
    )
}

fn holds(anchor: &Certificate, now: &str) -> bool {
    anchor.p256 && anchor.not_before.as_str() <= now && anchor.days_left(now).is_some_and(|days| days >= 0)
}

fn about(anchor: &Certificate, number: usize, now: &str) -> Option<Finding> {
    if !anchor.p256 {
        return Some(
            Finding::error(
                "linkerd-anchor-algorithm",
                format!("trust anchor {number} has no ECDSA key on the curve P-256"),
            )
            .remedy("make an anchor that has one: Linkerd's proxies refuse all others"),
        );
    }
    if now < anchor.not_before.as_str() && !now.is_empty() {
        return Some(
            Finding::error(
                "linkerd-anchor-not-yet",
                format!(
                    "trust anchor {number} is valid from {} on, and it is {now}",
                    anchor.not_before
                ),
            )
            .remedy("wait, or compare this machine's clock with that of whoever made it"),
        );
    }
    let days = anchor.days_left(now)?;
    let until = &anchor.not_after;
    if days < 0 {
        Some(
            Finding::error(
                "linkerd-anchor-expired",
                format!("trust anchor {number} ended at {until}: proxies trust nobody under it"),
            )
            .remedy(
                "replace it, and the issuer, and restart everybody: operation replace-anchor; where nothing \
                 is installed yet, delete both and make them again (operation make-trust)",
            ),
        )
    } else if days < WARNED_DAYS {
        Some(
            Finding::warning(
                "linkerd-anchor-expires",
                format!("trust anchor {number} ends in {days} days, at {until}"),
            )
            .remedy("rotate it in time: operation rotate-anchor"),
        )
    } else {
        None
    }
}
