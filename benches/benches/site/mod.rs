//! An engine between a store and receivers that cost next to nothing, with webhooks that all get the same event.

use fanfare_benches::MachineClock;
use fanfare_benches::samples::{DEMO, demo_event};
use fanfare_core::event::Subscription;
use fanfare_core::policy::gate::GatePolicy;
use fanfare_core::ports::NoFormats;
use fanfare_core::webhook::{Account, Auth, DeliveryPolicy, DeliverySettings, FormatName, Scopes};
use fanfare_core::{AccountId, WebhookId};
use fanfare_engine::{Engine, EngineOptions, NewWebhook, Principal, Successes};
use fanfare_render::ParsedEvent;
use fanfare_testkit::forgetful::{ForgetfulStore, ForgetfulTransport};
use fanfare_testkit::store::MemoryStore;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

/// Longer than any bench: actors stay awake.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// A text of 1.2 KB.
const EVENT: &str = "19AA";

/// What differs between sites.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SiteOptions {
    pub(crate) webhooks: usize,
    pub(crate) format: &'static str,
    pub(crate) is_signed: bool,
    /// An actor with nothing to do sleeps after this.
    pub(crate) idle_sleep: Duration,
    /// Webhooks have a thread of their own; else everything is on the caller's.
    pub(crate) is_threaded: bool,
}

impl SiteOptions {
    /// Both signatures, Z_API, awake, one thread.
    pub(crate) fn new(webhooks: usize) -> Self {
        SiteOptions {
            webhooks,
            format: FormatName::Z_API,
            is_signed: true,
            idle_sleep: NEVER,
            is_threaded: false,
        }
    }
}

/// See the module. The tasks go before the runtime they are on.
pub(crate) struct Site {
    tasks: LocalSet,
    runtime: Runtime,
    pub(crate) engine: Engine,
    pub(crate) hub: Principal,
    pub(crate) event: ParsedEvent,
    pub(crate) webhooks: Vec<WebhookId>,
    transport: Arc<ForgetfulTransport>,
}

impl Site {
    pub(crate) fn new(options: SiteOptions) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let tasks = LocalSet::new();
        let transport = ForgetfulTransport::new();
        let account = AccountId::parse("acme").expect("an id");
        let hub = Principal { account: Some(account.clone()), scopes: Scopes::ALL };
        // No id of its own: each time it is another event.
        let event = ParsedEvent { id: None, ..demo_event(EVENT) };
        let (engine, webhooks) = tasks.block_on(&runtime, async {
            let started = engine_options(&transport, &options);
            let engine = if options.is_threaded {
                Engine::start(started).await.expect("the engine starts")
            } else {
                Engine::start_here(started).await.expect("the engine starts")
            };
            let put = Account { id: account.clone(), role: Account::ENTERPRISE.into() };
            engine.put_account(put).await.expect("an account");
            engine.put_channel(event.channel.clone(), account, None).await.expect("a channel");
            let mut webhooks = Vec::with_capacity(options.webhooks);
            for _ in 0..options.webhooks {
                let new = new_webhook(&options);
                webhooks
                    .push(engine.create_webhook(&hub, &event.channel, new).await.expect("a webhook").0.id);
            }
            (engine, webhooks)
        });
        let site = Site { tasks, runtime, engine, hub, event, webhooks, transport };
        // Buffers and connections are made.
        site.run(async { site.deliver(3).await });
        site
    }

    /// Does some work on the site's thread.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.tasks.block_on(&self.runtime, work)
    }

    /// Events, one after the other, each when the one before was sent to every webhook.
    pub(crate) async fn deliver(&self, events: u64) {
        for _ in 0..events {
            let goal = self.transport.sent() + self.webhooks.len() as u64;
            let answer = self.engine.ingest(&self.hub, vec![Ok(self.event.clone())]).await;
            assert_eq!(answer.expect("it is taken").accepted, 1);
            self.transport.wait_until_sent(goal).await;
        }
    }

    /// Waits until so many actors run: what ended last is taken in by then.
    pub(crate) fn wait_until_awake(&self, count: usize) {
        self.run(async {
            // A minute, so that a bench that hangs says why.
            for _ in 0..60_000 {
                if self.awake() == count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            panic!("{} actors run, not {count}", self.awake());
        });
    }

    /// Webhooks whose actor runs.
    fn awake(&self) -> usize {
        let text = self.engine.metrics_text();
        let line = text.lines().find_map(|line| line.strip_prefix("fanfare_webhooks_awake "));
        line.and_then(|number| number.parse().ok()).expect("the metric is there")
    }
}

fn engine_options(transport: &Arc<ForgetfulTransport>, options: &SiteOptions) -> EngineOptions {
    let catalog = MemoryStore::new();
    EngineOptions {
        clock: Arc::new(MachineClock::default()),
        store: ForgetfulStore::new(Arc::clone(&catalog)),
        history: catalog,
        samples: DEMO,
        transport: Arc::clone(transport) as _,
        formatter: Arc::new(NoFormats),
        formats: Arc::new(NoFormats),
        workers: 1,
        seed: [7; 32],
        bootstrap_key: None,
        makes_channels: false,
        defaults: DeliveryPolicy::default(),
        gate: GatePolicy::default(),
        successes: Successes::All,
        window_bytes_max: 256 << 20,
        idle_sleep: options.idle_sleep,
        hub_signature_name: "x-hub-signature-256".into(),
    }
}

fn new_webhook(options: &SiteOptions) -> NewWebhook {
    NewWebhook {
        url: "https://receiver.test/hook".into(),
        events: vec![Subscription::parse("MESSAGE_RECEIVED").expect("a name")],
        description: None,
        signing: options.is_signed,
        auth: Auth::None,
        payload_format: FormatName::parse(options.format).expect("a format"),
        custom_attributes: "{}".into(),
        delivery: DeliverySettings::default(),
    }
}
