//! What a proxy has of the mesh's trust: the anchors it was given when its pod was made, and a certificate such as the
//! identity controller signs. Whether two proxies would speak with each other is tried as they try it, signature by signature.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};

/// As the real injector calls it.
const ANCHORS: &str = "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS";
/// A real proxy asks for it when it starts, and has it in memory only.
const CERTIFICATE: &str = "PLAYED_IDENTITY_CERTIFICATE";
/// Everybody's, since it is the chain that is looked at.
const NAME: &str = "proxy.serviceaccount.identity.linkerd.cluster.local";

/// The anchors and the certificate of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// In PEM.
    anchors: String,
    /// Its own certificate and the issuer's, in PEM.
    chain: String,
}

impl Identity {
    /// What a proxy gets that is made now; nothing while anchors or issuer are missing.
    pub(crate) async fn now(client: &Client, namespace: &str) -> anyhow::Result<Option<Self>> {
        let roots = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let roots = roots.get_opt("linkerd-identity-trust-roots").await?;
        let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
        let issuer = secrets.get_opt("linkerd-identity-issuer").await?;
        let anchors = roots.and_then(|roots| roots.data?.remove("ca-bundle.crt"));
        let data = issuer.and_then(|issuer| issuer.data).unwrap_or_default();
        // As Secrets for certificates have it, and as the chart has it.
        let either = |names: [&str; 2]| names.iter().find_map(|name| data.get(*name));
        let issuer = (either(["tls.crt", "crt.pem"]), either(["tls.key", "key.pem"]));
        let (Some(anchors), (Some(certificate), Some(key))) = (anchors, issuer) else {
            return Ok(None);
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
        Self::signed(anchors, &text(&certificate.0)?, &text(&key.0)?).map(Some)
    }

    /// With a certificate that this issuer has signed.
    fn signed(anchors: String, issuer: &str, key: &str) -> anyhow::Result<Self> {
        let signer = Issuer::from_ca_cert_pem(issuer, KeyPair::from_pem(key)?)?;
        let own = CertificateParams::new([NAME.to_owned()])?.signed_by(&KeyPair::generate()?, &signer)?;
        Ok(Self {
            anchors,
            chain: format!("{}{issuer}", own.pem()),
        })
    }

    /// The same certificate, and the anchors of another one.
    pub(crate) fn with_anchors_of(&self, other: &Self) -> Self {
        Self {
            anchors: other.anchors.clone(),
            chain: self.chain.clone(),
        }
    }

    /// That of a pod which was given a proxy.
    pub fn of_pod(pod: &Value) -> anyhow::Result<Self> {
        let containers = pod["spec"]["initContainers"].as_array();
        let proxy = containers
            .into_iter()
            .flatten()
            .find(|container| container["name"] == "linkerd-proxy")
            .context("a proxy")?;
        let variable = |wanted: &str| -> anyhow::Result<String> {
            let mut variables = proxy["env"].as_array().into_iter().flatten();
            let found = variables.find(|variable| variable["name"] == wanted);
            let value = found.and_then(|variable| variable["value"].as_str());
            value.map(str::to_owned).with_context(|| wanted.to_owned())
        };
        Ok(Self {
            anchors: variable(ANCHORS)?,
            chain: variable(CERTIFICATE)?,
        })
    }

    /// The same as variables of a proxy's container.
    pub(crate) fn variables(&self) -> [Value; 2] {
        [
            json!({"name": ANCHORS, "value": self.anchors}),
            json!({"name": CERTIFICATE, "value": self.chain}),
        ]
    }

    /// By which the anchors are told from others.
    pub(crate) fn digest(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.anchors.trim().as_bytes());
        digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Fails where a proxy with these anchors would refuse another one's certificate.
    pub fn accepts(&self, other: &Self) -> anyhow::Result<()> {
        let mut anchors = RootCertStore::empty();
        for anchor in CertificateDer::pem_slice_iter(self.anchors.as_bytes()) {
            anchors.add(anchor?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), provider).build()?;
        let chain: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(other.chain.as_bytes()).collect::<Result<_, _>>()?;
        let (own, issuers) = chain.split_first().context("a certificate")?;
        let name = ServerName::try_from(NAME)?;
        let verified = verifier.verify_server_cert(own, issuers, &name, &[], UnixTime::now());
        verified
            .map(drop)
            .map_err(|refusal| anyhow!("refused: {refusal}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Trust;

    fn with(trusts: &[&Trust], signed_by: &Trust) -> Identity {
        let values = signed_by.values();
        let text = |pointer: &str| {
            values
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap()
                .to_owned()
        };
        let anchor = |trust: &&Trust| {
            trust.values()["identityTrustAnchorsPEM"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let anchors: Vec<String> = trusts.iter().map(anchor).collect();
        let (issuer, key) = ("/identity/issuer/tls/crtPEM", "/identity/issuer/tls/keyPEM");
        Identity::signed(anchors.concat(), &text(issuer), &text(key)).unwrap()
    }

    #[test]
    fn proxies_accept_each_other_only_under_an_anchor_that_both_have() {
        let (old, new) = (Trust::new().unwrap(), Trust::new().unwrap());
        let before = with(&[&old], &old);
        let spread = with(&[&old, &new], &old);
        let renewed = with(&[&old, &new], &new);
        let after = with(&[&new], &new);
        for (one, other) in [(&before, &spread), (&spread, &renewed), (&renewed, &after)] {
            one.accepts(other).unwrap();
            other.accepts(one).unwrap();
        }
        before.accepts(&renewed).unwrap_err();
        after.accepts(&spread).unwrap_err();
    }

    #[test]
    fn a_certificate_under_an_issuer_that_has_ended_is_refused() {
        let ended = Trust::until(2020).unwrap();
        let proxy = with(&[&ended], &ended);
        proxy.accepts(&proxy).unwrap_err();
    }

    #[test]
    fn what_a_pod_was_given_is_read_from_it() {
        let trust = Trust::new().unwrap();
        let given = with(&[&trust], &trust);
        let proxy = json!({"name": "linkerd-proxy", "env": given.variables()});
        let pod = json!({"spec": {"initContainers": [{"name": "other"}, proxy]}});
        assert_eq!(Identity::of_pod(&pod).unwrap(), given);
    }
}
