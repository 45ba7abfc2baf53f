//! An ingest in the test's own process: takes reports over the real protocol, remembers each by its name, and answers as it is told.
//!
//! Guarantees: a report that comes twice counts once; a report that fails its check ends the test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use weighbridge_proto::cells::Counts;
use weighbridge_proto::report::{self, CheckedReport};
use weighbridge_proto::uplink::uplink_server::{Uplink, UplinkServer};
use weighbridge_proto::v1::{Receipt, ReceiptStatus, Refusal};

/// What it does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// Durable.
    #[default]
    Acknowledge,
    /// The contributor is not known: no stream.
    RefuseStreams,
    /// The report will never be taken.
    RefuseReports,
}

/// Collector, boot epoch, sequence.
type Name = ([u8; 16], u64, u64);

#[derive(Debug, Default)]
struct State {
    answer: Answer,
    reports: BTreeMap<Name, CheckedReport>,
    refused: u64,
}

/// See above. Clones share it.
#[derive(Debug, Clone)]
pub struct SimpleIngest {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl SimpleIngest {
    /// Listens on a free port of 127.0.0.1, as long as the runtime lives.
    pub async fn start() -> SimpleIngest {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for ingest");
        let address = listener.local_addr().expect("the port of ingest");
        let ingest = SimpleIngest { address, state: Arc::default() };
        let service = UplinkServer::new(ingest.clone());
        tokio::spawn(
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)),
        );
        ingest
    }

    /// Its address for a collector.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on it answers so. Open streams stay open.
    pub fn answer(&self, answer: Answer) {
        self.state().answer = answer;
    }

    /// What all reports that it acknowledged say together.
    pub fn counts(&self) -> Counts {
        let mut sums = Counts::default();
        let state = self.state();
        state.reports.values().flat_map(|report| &report.cells).for_each(|cell| sums.add(&cell.counts));
        sums
    }

    /// Requests in them.
    pub fn requests(&self) -> u64 {
        self.counts().requests
    }

    /// Reports that it acknowledged, each once.
    pub fn reports(&self) -> usize {
        self.state().reports.len()
    }

    /// Reports and streams that it refused.
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, bytes: &[u8]) -> Receipt {
        let report = report::check(bytes).expect("a report that passes its check");
        let (boot_epoch, sequence) = (report.identity.boot_epoch.0, report.identity.sequence.0);
        let mut receipt = Receipt { boot_epoch, sequence, ..Receipt::default() };
        let mut state = self.state();
        if state.answer == Answer::RefuseReports {
            receipt.set_status(ReceiptStatus::Refused);
            receipt.set_refusal(Refusal::Window);
            state.refused += 1;
        } else {
            receipt.set_status(ReceiptStatus::Ok);
            state.reports.insert((report.identity.collector.0, boot_epoch, sequence), report);
        }
        receipt
    }
}

#[tonic::async_trait]
impl Uplink for SimpleIngest {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<Receipt, Status>> + Send>>;

    async fn deliver(
        &self,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        {
            let mut state = self.state();
            if state.answer == Answer::RefuseStreams {
                state.refused += 1;
                return Err(Status::unauthenticated("this contributor is not known"));
            }
        }
        let ingest = self.clone();
        let receipts = request.into_inner().map(move |bytes| Ok(ingest.take(&bytes?)));
        Ok(Response::new(Box::pin(receipts)))
    }
}
