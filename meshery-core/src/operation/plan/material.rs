//! Keys, certificates and random values, made when a plan is made.
//!
//! They are sealed in the plan like every Secret, so that what was previewed is what runs and a run that was cut off
//! goes on with the same keys. Who signs may be in the cluster: its key is read for as long as it takes to sign.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::Timestamp;
use meshery_plugin_api::message::material::{Certificate, Material, MaterialEntry, MaterialItem};
use meshery_plugin_api::message::object_ref::ObjectRef;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rcgen::{KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};
use ring::rand::SecureRandom as _;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::resolve::Resolver;
use crate::operation::object::mark::text;
use crate::problem::{Problem, ProblemKind};

/// A certificate is valid from a little earlier, for machines whose clocks are behind.
const SKEW_S: i64 = 300;

/// Certificates and keys that a plan has made, or found, by the Secret that holds them.
#[derive(Default)]
pub(in crate::operation) struct Made(HashMap<ObjectRef, Pair>);

/// PEM.
#[derive(Clone)]
struct Pair {
    certificate: String,
    /// Nothing when it is not kept anywhere.
    key: Option<String>,
}

/// What a step of material becomes.
pub(in crate::operation) struct MaterialObjects {
    pub objects: Vec<Value>,
    /// What stays as it is, for people.
    pub notes: Vec<String>,
}

impl Resolver<'_> {
    /// Makes what a step wants. Nothing is written.
    pub async fn make(
        &self,
        step: &str,
        material: &Material,
        made: &mut Made,
    ) -> Result<MaterialObjects, Problem> {
        let mut result = MaterialObjects {
            objects: Vec::new(),
            notes: Vec::new(),
        };
        for item in &material.items {
            if !item.replace && self.cluster.get(&item.object).await?.is_some() {
                result
                    .notes
                    .push(format!("{} is there and stays as it is", item.object));
                continue;
            }
            let mut data: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            if let Some(wanted) = &item.certificate {
                let issuer = match &wanted.issuer {
                    None => None,
                    Some(issuer) => Some(self.pair(step, issuer, made).await?),
                };
                let pair =
                    certificate(wanted, issuer.as_ref()).map_err(|why| cannot_make(step, item, &why))?;
                if let Some(issuer) = issuer {
                    data.insert("ca.crt".into(), issuer.certificate.into_bytes());
                }
                data.insert("tls.crt".into(), pair.certificate.clone().into_bytes());
                if let Some(key) = pair.key.as_ref().filter(|_| !wanted.forget_key) {
                    data.insert("tls.key".into(), key.clone().into_bytes());
                }
                made.0.insert(item.object.clone(), pair);
            }
            for (name, entry) in &item.entries {
                let value = match entry {
                    MaterialEntry::Random { bytes } => random(*bytes)
                        .map(|random| STANDARD.encode(random).into_bytes())
                        .map_err(|why| cannot_make(step, item, &why))?,
                    MaterialEntry::Bundle { of } => {
                        let mut texts = Vec::new();
                        for source in of {
                            texts.push(if source.kind == "ConfigMap" {
                                self.certificates_in(step, source, name).await?
                            } else {
                                self.pair(step, source, made).await?.certificate
                            });
                        }
                        bundle(&texts).into_bytes()
                    }
                    MaterialEntry::SameAs { key } => self.value_in(step, &item.object, key).await?,
                    MaterialEntry::Unknown => continue,
                };
                data.insert(name.clone(), value);
            }
            result.objects.push(object(item, data));
        }
        Ok(result)
    }

    /// What a `ConfigMap` of the cluster has under a name, with a certificate in it.
    async fn certificates_in(&self, step: &str, source: &ObjectRef, key: &str) -> Result<String, Problem> {
        let found = self
            .cluster
            .get(source)
            .await?
            .ok_or_else(|| no_such(step, source, "it is not there"))?;
        found
            .get("data")
            .and_then(|data| data.get(key))
            .and_then(Value::as_str)
            .filter(|text| !bundle(&[*text]).is_empty())
            .map(str::to_owned)
            .ok_or_else(|| no_such(step, source, &format!("it has no certificate under {key}")))
    }

    /// What a Secret of the cluster has under a key.
    async fn value_in(&self, step: &str, secret: &ObjectRef, key: &str) -> Result<Vec<u8>, Problem> {
        let found = self
            .cluster
            .get(secret)
            .await?
            .ok_or_else(|| no_such(step, secret, "it is not there"))?;
        let value = found.get("data").and_then(|data| data.get(key)?.as_str());
        value
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .filter(|bytes| !bytes.is_empty())
            .ok_or_else(|| no_such(step, secret, &format!("it has nothing under {key}")))
    }

    /// The certificate and key in a Secret: one that this plan makes, or one of the cluster.
    async fn pair(&self, step: &str, secret: &ObjectRef, made: &Made) -> Result<Pair, Problem> {
        if let Some(pair) = made.0.get(secret) {
            return Ok(pair.clone());
        }
        let missing = |what: &str| no_such(step, secret, what);
        let found = self
            .cluster
            .get(secret)
            .await?
            .ok_or_else(|| missing("it is not there"))?;
        let entry = |pointer: &str| {
            let bytes = STANDARD.decode(text(&found, pointer)).ok()?;
            String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
        };
        Ok(Pair {
            certificate: entry("/data/tls.crt").ok_or_else(|| missing("it has no tls.crt"))?,
            key: entry("/data/tls.key"),
        })
    }
}

fn no_such(step: &str, source: &ObjectRef, what: &str) -> Problem {
    Problem::new(
        ProblemKind::Conflict,
        "no-such-material",
        format!("step {step} needs what is in {source}: {what}"),
    )
    .remedy(format!("make it first, or name the {} that has it", source.kind))
}

/// The certificates in texts, each once, and nothing else of them: what lies beside a certificate may be its key.
fn bundle(texts: &[impl AsRef<str>]) -> String {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut certificates: Vec<String> = Vec::new();
    for text in texts {
        for rest in text.as_ref().split(BEGIN).skip(1) {
            let Some((body, _)) = rest.split_once(END) else {
                continue;
            };
            let certificate = with_newline(format!("{BEGIN}\n{}\n{END}", body.trim()));
            if !certificates.contains(&certificate) {
                certificates.push(certificate);
            }
        }
    }
    certificates.concat()
}

fn certificate(wanted: &Certificate, issuer: Option<&Pair>) -> Result<Pair, String> {
    let now = Timestamp::now().as_second();
    let moment =
        |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| error.to_string());
    let fault = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fault)?;
    let mut params = CertificateParams::new(wanted.dns_names.clone()).map_err(fault)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, wanted.common_name.as_str());
    params.not_before = moment(now - SKEW_S)?;
    params.not_after = moment(now + i64::from(wanted.lifetime_h) * 3600)?;
    params.use_authority_key_identifier_extension = issuer.is_some();
    if wanted.authority {
        params.is_ca = IsCa::Ca(match wanted.path_length {
            Some(length) => BasicConstraints::Constrained(length),
            None => BasicConstraints::Unconstrained,
        });
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    } else {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
    }
    let signed = match issuer {
        None => params.self_signed(&key).map_err(fault)?,
        Some(issuer) => {
            let signing = issuer
                .key
                .as_deref()
                .ok_or("the key of who is to sign it is not there")?;
            // Other programs write keys in a form of their own, which the library does not read.
            let signing = KeyPair::from_pem(signing).map_err(|_| {
                "the key of who is to sign it is no PKCS#8 key (BEGIN PRIVATE KEY)".to_owned()
            })?;
            let issuer = Issuer::from_ca_cert_pem(&issuer.certificate, signing).map_err(fault)?;
            params.signed_by(&key, &issuer).map_err(fault)?
        }
    };
    Ok(Pair {
        certificate: with_newline(signed.pem()),
        key: Some(with_newline(key.serialize_pem())),
    })
}

fn with_newline(pem: String) -> String {
    let pem = pem.replace("\r\n", "\n");
    if pem.ends_with('\n') { pem } else { pem + "\n" }
}

fn random(bytes: u16) -> Result<Vec<u8>, String> {
    let mut random = vec![0; bytes.into()];
    ring::rand::SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| "the system gives no random bytes".to_owned())?;
    Ok(random)
}

fn object(item: &MaterialItem, data: BTreeMap<String, Vec<u8>>) -> Value {
    let is_secret = item.object.kind == "Secret";
    let values: Map<String, Value> = data
        .into_iter()
        .map(|(name, value)| {
            let value = if is_secret {
                STANDARD.encode(value)
            } else {
                String::from_utf8_lossy(&value).into_owned()
            };
            (name, value.into())
        })
        .collect();
    let mut object = json!({
        "apiVersion": item.object.api_version(),
        "kind": item.object.kind,
        "metadata": {
            "name": item.object.name,
            "namespace": item.object.namespace,
            "labels": item.labels,
            "annotations": item.annotations,
        },
        "data": values,
    });
    if is_secret {
        object["type"] = match item.secret_type.as_str() {
            "" => "Opaque".into(),
            other => other.into(),
        };
    }
    object
}

fn cannot_make(step: &str, item: &MaterialItem, why: &str) -> Problem {
    Problem::new(
        ProblemKind::Conflict,
        "material-not-made",
        format!(
            "step {step}: what is to be in {} cannot be made: {why}",
            item.object
        ),
    )
    .remedy("correct what is named; nothing was changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, authority: bool) -> Certificate {
        Certificate {
            common_name: name.into(),
            dns_names: vec![name.into()],
            authority,
            lifetime_h: 48,
            ..Certificate::default()
        }
    }

    #[test]
    fn a_chain_of_three_is_what_another_library_believes() {
        use rustls::pki_types::pem::PemObject as _;
        use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
        let anchor = certificate(&wanted("root.example", true), None).unwrap();
        let issuer = certificate(&wanted("issuer.example", true), Some(&anchor)).unwrap();
        let leaf = certificate(&wanted("leaf.example", false), Some(&issuer)).unwrap();
        let der = |pair: &Pair| CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(der(&anchor)).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .unwrap();
        let check = |leaf: &Pair, between: &[CertificateDer<'_>]| {
            let name = ServerName::try_from("leaf.example").unwrap();
            rustls::client::danger::ServerCertVerifier::verify_server_cert(
                &*verifier,
                &der(leaf),
                between,
                &name,
                &[],
                UnixTime::now(),
            )
        };
        check(&leaf, &[der(&issuer)]).unwrap();
        check(&leaf, &[]).unwrap_err();
        let other = certificate(&wanted("leaf.example", false), None).unwrap();
        check(&other, &[der(&issuer)]).unwrap_err();
    }

    #[test]
    fn a_bundle_has_each_certificate_once_and_no_key() {
        let old = certificate(&wanted("old.example", true), None).unwrap();
        let new = certificate(&wanted("new.example", true), None).unwrap();
        let found = format!(
            "# by hand\r\n{}{}",
            old.certificate.trim_end().replace('\n', "\r\n"),
            old.key.as_ref().unwrap()
        );
        let both = bundle(&[found, new.certificate.clone()]);
        assert_eq!(both, format!("{}{}", old.certificate, new.certificate));
        assert_eq!(bundle(&[both.as_str(), new.certificate.as_str()]), both);
        assert_eq!(
            bundle(&["no certificate", "-----BEGIN CERTIFICATE-----\nAAAA"]),
            ""
        );
    }

    #[test]
    fn who_has_no_key_signs_nothing() {
        let anchor = Pair {
            key: None,
            ..certificate(&wanted("root.example", true), None).unwrap()
        };
        let refused = certificate(&wanted("x.example", false), Some(&anchor))
            .err()
            .unwrap();
        assert!(refused.contains("is not there"), "{refused}");
    }
}
