//! TLS of what the collector asks as a client: ingest, targets that are scraped, the server that the tap stands before.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Why the certificates cannot be used; the text names the file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// Trusts the certificates of the PEM file `ca_file`, else, if `url` is `https:`, the system's.
///
/// # Errors
/// The file cannot be read or holds something else.
pub(crate) fn client_config(ca_file: Option<&Path>, url: &str) -> Result<ClientConfig, TlsError> {
    client_config_with(ca_file, url, None)
}

/// What the collector shows of itself, PEM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    /// Certificate chain.
    pub(crate) certificate: &'a Path,
    /// Its private key.
    pub(crate) key: &'a Path,
}

/// As `client_config`, and shows `identity` to a server that asks.
///
/// # Errors
/// A file cannot be read, holds something else, or key and certificate do not belong together.
pub(crate) fn client_config_with(
    ca_file: Option<&Path>,
    url: &str,
    identity: Option<Identity<'_>>,
) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        let wrong = |error: &dyn std::fmt::Display| TlsError(format!("{}: {error}", path.display()));
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
    } else if url.starts_with("https:") {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?;
    let config = config.with_root_certificates(roots);
    let Some(Identity { certificate, key }) = identity else { return Ok(config.with_no_client_auth()) };
    let wrong = |path: &Path, error: &dyn std::fmt::Display| TlsError(format!("{}: {error}", path.display()));
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(|certificates| certificates.collect());
    let chain = chain.map_err(|error| wrong(certificate, &error))?;
    // Without the library's words, which may quote the file.
    let private = PrivateKeyDer::from_pem_file(key).map_err(|_| wrong(key, &"no private key in PEM"))?;
    config.with_client_auth_cert(chain, private).map_err(|error| wrong(certificate, &error))
}
