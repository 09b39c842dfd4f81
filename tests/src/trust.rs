//! Trust anchor and issuer for a mesh, as somebody would make them beforehand: ECDSA P-256, one signed by the other.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

/// The certificates, and the issuer's key.
pub struct Trust {
    anchor: String,
    issuer: String,
    key: String,
}

impl Trust {
    /// Makes both.
    pub fn new() -> Result<Self> {
        Self::until(4096)
    }

    /// Makes both so that they end when a year begins.
    pub fn until(year: i32) -> Result<Self> {
        let authority = |name: &str, length: BasicConstraints| {
            let mut params = CertificateParams::default();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            params.is_ca = IsCa::Ca(length);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let anchor_key = KeyPair::generate()?;
        let anchor = authority("root.linkerd.cluster.local", BasicConstraints::Unconstrained);
        let anchor_certificate = anchor.self_signed(&anchor_key)?;
        let key = KeyPair::generate()?;
        let issuer = authority("identity.linkerd.cluster.local", BasicConstraints::Constrained(0))
            .signed_by(&key, &Issuer::new(anchor, anchor_key))?;
        Ok(Self {
            anchor: anchor_certificate.pem(),
            issuer: issuer.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Both as the chart's values.
    pub fn values(&self) -> Value {
        json!({
            "identityTrustAnchorsPEM": self.anchor,
            "identity": {"issuer": {"tls": {"crtPEM": self.issuer, "keyPEM": self.key}}},
        })
    }

    /// The ConfigMap with the anchors and the Secret with the issuer.
    pub fn manifests(&self, namespace: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "List", "items": [
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "linkerd-identity-trust-roots", "namespace": namespace},
                "data": {"ca-bundle.crt": self.anchor},
            }),
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": {"name": "linkerd-identity-issuer", "namespace": namespace},
                "stringData": {"tls.crt": self.issuer, "tls.key": self.key, "ca.crt": self.anchor},
            }),
        ]})
    }
}
