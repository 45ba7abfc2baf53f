//! The server's side of TLS, from files: TLS 1.2 and 1.3, HTTP/2 only, no resumption, no early data.
//!
//! A client need not show a certificate; if it does, its chain and dates must hold against `client_ca_file`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};

use super::roster::KeyDigest;
use super::{DoorError, sha256};
use crate::config;

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// None without a certificate: connections are plain.
    pub(super) fn new(door: &config::Door) -> Option<TlsFiles> {
        Some(TlsFiles {
            certificate: door.certificate_file.clone()?,
            key: door.key_file.clone()?,
            client_ca: door.client_ca_file.clone(),
        })
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca).map(PathBuf::as_path)
    }

    /// Reads all of them.
    pub(super) fn load(&self) -> Result<Arc<ServerConfig>, DoorError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let wrong = |error: &dyn std::fmt::Display| DoorError::Tls(error.to_string());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots =
                    Arc::new(crate::tls::roots(path).map_err(|problem| DoorError::content(path, problem))?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| wrong(&error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = crate::tls::certificates(&self.certificate)
            .map_err(|problem| DoorError::content(&self.certificate, problem))?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|_| DoorError::content(&self.key, "no private key in PEM"))?;
        let mut config = builder.with_single_cert(chain, key).map_err(|error| wrong(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would keep a client certificate beyond its expiry, and a recorded ticket would be worth something.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }
}

/// Names the key of a certificate: a renewed certificate with the same key is the same contributor's.
pub(super) fn key_digest(certificate: &CertificateDer<'_>) -> Option<KeyDigest> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    Some(sha256(parsed.subject_public_key_info().as_ref()))
}

/// Names the key of the first certificate of a PEM file.
pub(super) fn key_digest_of_file(path: &Path) -> Result<KeyDigest, DoorError> {
    let certificates = crate::tls::certificates(path).map_err(|problem| DoorError::content(path, problem))?;
    let digest = certificates.first().and_then(key_digest);
    digest.ok_or_else(|| DoorError::content(path, "no certificate that can be read"))
}
