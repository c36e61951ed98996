//! A hub, an engine and a scripted receiver, ready to use.

use bytes::Bytes;
use fanfare_core::event::Subscription;
use fanfare_core::policy::gate::GatePolicy;
use fanfare_core::ports::history::History;
use fanfare_core::ports::{NoFormats, Store};
use fanfare_core::webhook::{Account, Auth, DeliveryPolicy, DeliverySettings, FormatName, Scopes, Webhook};
use fanfare_core::{AccountId, ChannelId, Secret};
use fanfare_engine::{Engine, EngineOptions, IngestAnswer, NewWebhook, Principal, Successes};
use fanfare_testkit::clock::TestClock;
use fanfare_testkit::store::MemoryStore;
use fanfare_testkit::transport::{Answer, ScriptedTransport, Sent, SharedTransport};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) transport: Arc<ScriptedTransport>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) hub: Principal,
    pub(crate) channel: ChannelId,
}

/// Runs a test on one thread with time paused.
pub(crate) fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime can be built");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// One sample event, for tests of webhooks.
const SAMPLES: &str = r#"{"type":"MESSAGE_RECEIVED","channelId":"SAMPLE","payload":{"message":{"_id":"M1","channel_id":"SAMPLE","contents":[]}}}"#;

fn options(
    store: &Arc<MemoryStore>,
    transport: &Arc<ScriptedTransport>,
    clock: &Arc<TestClock>,
) -> EngineOptions {
    EngineOptions {
        clock: Arc::clone(clock) as _,
        store: Arc::clone(store) as _,
        history: Arc::clone(store) as _,
        samples: SAMPLES,
        transport: Arc::new(SharedTransport(Arc::clone(transport))),
        formatter: Arc::new(NoFormats),
        formats: Arc::new(NoFormats),
        workers: 2,
        seed: [7; 32],
        bootstrap_key: Some(Secret::new("boot")),
        makes_channels: false,
        defaults: DeliveryPolicy::default(),
        gate: GatePolicy::default(),
        successes: Successes::All,
        window_bytes_max: 64 << 20,
        idle_sleep: Duration::from_secs(60),
        hub_signature_name: "x-hub-signature-256".into(),
    }
}

impl Bench {
    pub(crate) async fn new(script: impl FnMut(&Sent) -> Answer + Send + 'static) -> Bench {
        Self::with(script, |_| ()).await
    }

    /// A new engine with other options.
    pub(crate) async fn with(
        script: impl FnMut(&Sent) -> Answer + Send + 'static,
        edit: impl FnOnce(&mut EngineOptions),
    ) -> Bench {
        let bench = Self::open_with(MemoryStore::new(), script, edit).await;
        bench.put_channel().await;
        bench
    }

    /// An engine over a store that may hold something already.
    pub(crate) async fn open(
        store: Arc<MemoryStore>,
        script: impl FnMut(&Sent) -> Answer + Send + 'static,
    ) -> Bench {
        Self::open_with(store, script, |_| ()).await
    }

    /// The same with other options.
    pub(crate) async fn open_with(
        store: Arc<MemoryStore>,
        script: impl FnMut(&Sent) -> Answer + Send + 'static,
        edit: impl FnOnce(&mut EngineOptions),
    ) -> Bench {
        let transport = ScriptedTransport::new(script);
        let clock = TestClock::start();
        let mut options = options(&store, &transport, &clock);
        edit(&mut options);
        let engine = Engine::start_here(options).await.expect("engine starts");
        let hub = Principal { account: Some(AccountId::parse("acme").expect("id")), scopes: Scopes::ALL };
        Bench { engine, store, transport, clock, hub, channel: ChannelId::parse("C1").expect("id") }
    }

    /// A new engine, answered by receivers that are well, with other faces of the same store.
    pub(crate) async fn with_store(
        memory: Arc<MemoryStore>,
        faces: impl FnOnce(&Arc<MemoryStore>) -> (Arc<dyn Store>, Arc<dyn History>),
    ) -> Bench {
        let (store, history) = faces(&memory);
        let put_faces = |options: &mut EngineOptions| (options.store, options.history) = (store, history);
        let bench = Self::open_with(memory, |_| Answer::OK, put_faces).await;
        bench.put_channel().await;
        bench
    }

    async fn put_channel(&self) {
        let account = AccountId::parse("acme").expect("id");
        let put = Account { id: account.clone(), role: Account::ENTERPRISE.into() };
        self.engine.put_account(put).await.expect("account");
        self.engine.put_channel(self.channel.clone(), account, None).await.expect("channel");
    }

    pub(crate) async fn webhook(&self, delivery: DeliverySettings) -> Webhook {
        self.webhook_with(|new| new.delivery = delivery).await
    }

    pub(crate) async fn webhook_with(&self, edit: impl FnOnce(&mut NewWebhook)) -> Webhook {
        let mut new = NewWebhook {
            url: "https://receiver.test/hook".into(),
            events: vec![Subscription::parse("MESSAGE_RECEIVED").expect("name")],
            description: None,
            signing: false,
            auth: Auth::None,
            payload_format: FormatName::default(),
            custom_attributes: "{}".into(),
            delivery: DeliverySettings::default(),
        };
        edit(&mut new);
        self.engine.create_webhook(&self.hub, &self.channel, new).await.expect("webhook").0
    }

    pub(crate) async fn push(&self, count: usize) -> IngestAnswer {
        self.push_lines((0..count).map(|n| received(&format!("text {n}"))).collect()).await
    }

    pub(crate) async fn push_lines(&self, lines: Vec<String>) -> IngestAnswer {
        let events = lines.into_iter().map(|line| fanfare_render::parse_event(Bytes::from(line))).collect();
        self.engine.ingest(&self.hub, events).await.expect("ingest")
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.transport.sent()
    }

    /// Bytes of events in memory.
    pub(crate) fn window_bytes(&self) -> u64 {
        let text = self.engine.metrics_text();
        let line = text.lines().find_map(|line| line.strip_prefix("fanfare_window_bytes ")).expect("metric");
        line.parse().expect("a number")
    }

    /// Lets everything happen that can happen within `wait`.
    pub(crate) async fn pass(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }
}

/// A received message with the given text on channel C1.
pub(crate) fn received(text: &str) -> String {
    let item = format!(r#"{{"@class":".TextContent","type":"TEXT","message":"{text}"}}"#);
    message("MESSAGE_RECEIVED", &item)
}

pub(crate) fn message(kind: &str, items: &str) -> String {
    format!(
        r#"{{"type":"{kind}","channelId":"C1","payload":{{"message":{{"_id":"M1","channel_id":"C1","created":1790000000000,"metadata":{{"forwarded":false,"from_api":false,"from_me":false,"moment":1790000000000}},"sender":{{"identifier":"5531977110099","name":"Ana"}},"recipient":{{"identifier":"5521988110022"}},"contents":[{items}],"attachments":[]}}}}}}"#
    )
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
