//! Certificates made for a test, a TLS server in front of a plain one, and ingest as a client sees it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status, Streaming};
use weighbridge_proto::uplink::uplink_client::UplinkClient;
use weighbridge_proto::v1::Receipt;

/// Everything on loopback answers in milliseconds; the machine may be building at the same time.
const LIMIT: Duration = Duration::from_secs(60);

/// An authority of its own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

/// A certificate and its key, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

impl Authority {
    /// Its certificate goes to `folder/<name>-ca.pem`.
    pub fn new(folder: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("{name} authority"));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let file = folder.join(format!("{name}-ca.pem"));
        std::fs::write(&file, certificate.pem()).expect("a file");
        Authority { issuer: Issuer::new(params, key), file }
    }

    /// The authority's certificate, PEM.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Certifies `subject`, for `localhost` and 127.0.0.1, until the year `until`.
    pub fn certify(&self, folder: &Path, subject: &str, until: i32) -> Identity {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, subject);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = |suffix| folder.join(format!("{subject}{suffix}"));
        let identity = Identity { certificate: file(".pem"), key: file("-key.pem") };
        std::fs::write(&identity.certificate, certificate.pem()).expect("a file");
        std::fs::write(&identity.key, key.serialize_pem()).expect("a file");
        identity
    }
}

impl Identity {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        let certificates = CertificateDer::pem_file_iter(&self.certificate).expect("certificates");
        certificates.collect::<Result<_, _>>().expect("certificates")
    }

    fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(&self.key).expect("a key")
    }
}

/// Ends TLS in front of the plain server at `upstream`, for as long as the runtime lives. Gives its port.
pub async fn tls_in_front_of(upstream: SocketAddr, identity: &Identity) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(identity.chain(), identity.private())
        .expect("a server's certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let (Ok(mut client), Ok(mut server)) =
                    (acceptor.accept(stream).await, TcpStream::connect(upstream).await)
                else {
                    return;
                };
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    port
}

/// How to reach an ingest, and as whom.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// Port of ingest, or of what stands before it.
    pub port: u16,
    /// Authority of its certificate; none: no TLS.
    pub ca: Option<PathBuf>,
    /// Client certificate.
    pub identity: Option<Identity>,
    /// Bearer token.
    pub token: Option<String>,
    /// Address to come from, another one than 127.0.0.1.
    pub from: Option<Ipv4Addr>,
}

/// An open stream.
#[derive(Debug)]
pub struct Uplink {
    reports: mpsc::Sender<Bytes>,
    receipts: Streaming<Receipt>,
}

impl Client {
    fn tls(&self) -> Option<TlsConnector> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.ca.as_ref()?).expect("an authority") {
            roots.add(certificate.expect("an authority")).expect("an authority");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain(), identity.private())
                .expect("a client's certificate"),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Some(TlsConnector::from(Arc::new(config)))
    }

    /// Opens a connection; TLS 1.3 tells a client only with the first answer that its certificate was refused.
    pub async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        let (tls, port) = (self.tls(), self.port);
        let from = SocketAddr::new(IpAddr::V4(self.from.unwrap_or(Ipv4Addr::LOCALHOST)), 0);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://localhost:{port}")).expect("a URL");
        let dial = move |_: Uri| {
            let tls = tls.clone();
            async move {
                let socket = TcpSocket::new_v4()?;
                socket.bind(from)?;
                let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
                let io: Box<dyn Io> = match tls {
                    None => Box::new(stream),
                    Some(tls) => {
                        let name = ServerName::try_from("localhost").expect("a name");
                        Box::new(tls.connect(name, stream).await?)
                    }
                };
                Ok::<_, std::io::Error>(TokioIo::new(io))
            }
        };
        endpoint.connect_timeout(LIMIT).connect_with_connector(tower::service_fn(dial)).await
    }

    /// Opens a stream.
    pub async fn open(&self) -> Result<Uplink, Status> {
        let channel = self.connect().await;
        let channel = channel.map_err(|error| Status::unavailable(format!("no connection: {error:?}")))?;
        let (reports, outgoing) = mpsc::channel(1_024);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().expect("a header");
            request.metadata_mut().insert("authorization", value);
        }
        let mut client = UplinkClient::new(channel);
        let opened = timeout(LIMIT, client.deliver(request)).await.expect("ingest answers");
        Ok(Uplink { reports, receipts: opened?.into_inner() })
    }
}

impl Uplink {
    /// Sends a report and waits for its receipt.
    pub async fn deliver(&mut self, report: &Bytes) -> Result<Receipt, Status> {
        self.send(report).await;
        self.receipt().await.map(|receipt| receipt.expect("a receipt"))
    }

    /// Sends a report; a stream that has ended takes none, which its receipts tell.
    pub async fn send(&self, report: &Bytes) {
        let _ = self.reports.send(report.clone()).await;
    }

    /// The next receipt; none: the stream has ended in order.
    pub async fn receipt(&mut self) -> Result<Option<Receipt>, Status> {
        timeout(LIMIT, self.receipts.message()).await.expect("a receipt or an end in time")
    }
}

trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Io for T {}
