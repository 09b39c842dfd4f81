//! As whom a proxy shows itself in TLS, and which clients it lets in: certificates that a test makes, and replaces
//! when their time has come.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// An authority that signs certificates of servers and of clients.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
pub struct Certified {
    pub certificate: String,
    pub key: String,
}

/// A server's certificate, who signed it, and whom it lets in.
pub struct Identity {
    authority: String,
    acceptor: TlsAcceptor,
}

impl Authority {
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// A certificate for this machine's loopback as a server.
    fn server(&self) -> Result<Certified> {
        self.sign(
            CertificateParams::new(["127.0.0.1".to_owned()])?,
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// A certificate for a client.
    pub fn client(&self) -> Result<Certified> {
        self.sign(CertificateParams::default(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Result<Certified> {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        Ok(Certified {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes())?)?;
        Ok(roots)
    }
}

impl Certified {
    /// Writes both where a kubeconfig names them.
    pub fn write(&self, certificate: &Path, key: &Path) -> Result<()> {
        fs::write(certificate, &self.certificate)?;
        Ok(fs::write(key, &self.key)?)
    }

    /// The certificate as it is shown in TLS.
    pub fn der(&self) -> Result<CertificateDer<'static>> {
        Ok(CertificateDer::from_pem_slice(self.certificate.as_bytes())?)
    }
}

impl Identity {
    /// One that lets in whoever comes.
    pub fn new(authority: &Authority) -> Result<Self> {
        Self::make(authority, None)
    }

    /// One that closes the door to whoever has a certificate of another authority than `clients`, or none.
    pub fn for_clients_of(authority: &Authority, clients: &Authority) -> Result<Self> {
        Self::make(authority, Some(clients))
    }

    fn make(authority: &Authority, clients: Option<&Authority>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(clients) => config.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots()?), provider).build()?,
            ),
        };
        let Certified { certificate, key } = authority.server()?;
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes())?];
        let config = config.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
        Ok(Self {
            authority: authority.certificate.clone(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Who signed it, PEM: what a client must trust.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }
}
