//! A store and a transport that answer at once and remember nothing of events, for measuring what stands between them.

use crate::store::MemoryStore;
use bytes::Bytes;
use fanfare_core::delivery::DeliveryKey;
use fanfare_core::outcome::{AttemptReport, Outcome};
use fanfare_core::ports::{
    AttemptRequest, CatalogChange, CatalogEntry, Connection, Destination, DueRetries, IngestEvent,
    IngestReceipt, IngestVerdict, LocalFuture, Page, PageRequest, Receiver, SendFuture, SettleBatch, Store,
    StoreError, StoreStats, Transport, WaitingKeys,
};
use fanfare_core::webhook::Webhook;
use fanfare_core::{ChannelNo, Secret, Seq, WebhookNo};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Knows the configuration (that of the memory store it is made of); events get a place and are forgotten.
#[derive(Debug)]
pub struct ForgetfulStore {
    catalog: Arc<MemoryStore>,
    last_seq: AtomicU64,
}

impl ForgetfulStore {
    /// One with the configuration of `catalog`.
    #[must_use]
    pub fn new(catalog: Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(ForgetfulStore { catalog, last_seq: AtomicU64::new(0) })
    }

    fn place(&self, item: &IngestEvent) -> IngestVerdict {
        assert!(
            item.owed.iter().all(|(_, is_direct)| *is_direct),
            "a delivery is to wait on disk, of which a forgetful store has none"
        );
        IngestVerdict::Accepted(Seq(self.last_seq.fetch_add(1, Ordering::Relaxed) + 1))
    }
}

impl Store for ForgetfulStore {
    fn load(&self, sink: &mut dyn FnMut(CatalogEntry)) -> Result<(), StoreError> {
        self.catalog.load(sink)
    }

    fn ingest(&self, batch: Vec<IngestEvent>) -> SendFuture<Result<IngestReceipt, StoreError>> {
        let verdicts = batch.iter().map(|item| self.place(item)).collect();
        Box::pin(async move { Ok(IngestReceipt { verdicts, also_parked: Vec::new() }) })
    }

    fn settle(&self, _batch: SettleBatch) -> Result<(), SettleBatch> {
        Ok(())
    }

    fn page(&self, _request: PageRequest) -> SendFuture<Result<Page, StoreError>> {
        Box::pin(async { Ok(Page::default()) })
    }

    fn due(
        &self,
        _webhook: WebhookNo,
        _until_ms: u64,
        _count_max: usize,
    ) -> SendFuture<Result<DueRetries, StoreError>> {
        Box::pin(async { Ok(DueRetries::default()) })
    }

    fn waiting_keys(
        &self,
        _webhook: WebhookNo,
        _from: Option<(u64, DeliveryKey)>,
        _count_max: usize,
    ) -> SendFuture<Result<WaitingKeys, StoreError>> {
        Box::pin(async { Ok(WaitingKeys::default()) })
    }

    fn park_all(&self, _webhook: WebhookNo) -> SendFuture<Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn change(&self, changes: Vec<CatalogChange>) -> SendFuture<Result<(), StoreError>> {
        self.catalog.change(changes)
    }

    fn next_channel_no(&self) -> ChannelNo {
        self.catalog.next_channel_no()
    }

    fn next_webhook_no(&self) -> WebhookNo {
        self.catalog.next_webhook_no()
    }

    fn webhook(&self, no: WebhookNo) -> Result<Option<Webhook>, StoreError> {
        self.catalog.webhook(no)
    }

    fn key_hash(&self, key: &Secret) -> [u8; 32] {
        self.catalog.key_hash(key)
    }

    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }

    fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn close(&self) -> SendFuture<()> {
        Box::pin(async {})
    }
}

/// How many requests were sent, and who waits for how many.
#[derive(Debug, Default)]
struct Tally {
    sent: AtomicU64,
    awaited: AtomicU64,
    reached: Notify,
}

/// Answers every request with 200 as soon as it is sent, and counts it.
#[derive(Debug, Default)]
pub struct ForgetfulTransport(Arc<Tally>);

impl ForgetfulTransport {
    /// One that has sent nothing.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(ForgetfulTransport::default())
    }

    /// Requests sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::SeqCst)
    }

    /// Completes when `count` requests were sent since the start. One waits at a time.
    pub async fn wait_until_sent(&self, count: u64) {
        self.0.awaited.store(count, Ordering::SeqCst);
        while self.sent() < count {
            self.0.reached.notified().await;
        }
    }
}

impl Transport for ForgetfulTransport {
    fn receiver(&self, _destination: &Destination) -> Result<Arc<dyn Receiver>, String> {
        Ok(Arc::new(ForgetfulReceiver(Arc::clone(&self.0))))
    }
}

struct ForgetfulReceiver(Arc<Tally>);

impl Receiver for ForgetfulReceiver {
    fn connect(&self) -> LocalFuture<Result<Box<dyn Connection>, AttemptReport>> {
        let connection: Box<dyn Connection> = Box::new(ForgetfulConnection(Arc::clone(&self.0)));
        Box::pin(async move { Ok(connection) })
    }
}

struct ForgetfulConnection(Arc<Tally>);

impl Connection for ForgetfulConnection {
    fn free_slots(&self) -> usize {
        1
    }

    fn is_open(&self) -> bool {
        true
    }

    fn send(&self, request: AttemptRequest) -> LocalFuture<AttemptReport> {
        let tally = Arc::clone(&self.0);
        Box::pin(async move {
            drop(request);
            let sent = tally.sent.fetch_add(1, Ordering::SeqCst) + 1;
            if sent == tally.awaited.load(Ordering::SeqCst) {
                tally.reached.notify_one();
            }
            AttemptReport {
                outcome: Outcome::Delivered,
                status: Some(200),
                snippet: Bytes::new(),
                detail: None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::webhook::Protocol;

    #[tokio::test]
    async fn whoever_waits_for_requests_hears_of_the_last_one() {
        let transport = ForgetfulTransport::new();
        let destination = Destination {
            url: "https://receiver.test/".into(),
            protocol: Protocol::Auto,
            headers: Vec::new(),
            hub_signature_name: None,
        };
        let receiver = transport.receiver(&destination).unwrap();
        let connection = receiver.connect().await.unwrap();
        let request = AttemptRequest {
            delivery_id: Bytes::new(),
            timestamp_s: 0,
            event_name: "BLOCK",
            attempt_number: 1,
            hub_signature: None,
            standard_signature: None,
            body: fanfare_core::delivery::Body::json(Bytes::new()),
        };
        let send_two = async {
            for _ in 0..2 {
                tokio::task::yield_now().await;
                let report = connection.send(request.clone()).await;
                assert_eq!(report.outcome, Outcome::Delivered);
            }
        };
        tokio::join!(transport.wait_until_sent(2), send_two);
        assert_eq!(transport.sent(), 2);
        transport.wait_until_sent(1).await;
    }
}
