//! A store that is slow or cannot read: what is in force meanwhile.

use crate::bench::{Bench, SECOND, run};
use fanfare_core::ports::{CatalogChange, SettleBatch, StoreError};
use fanfare_core::webhook::{DeliverySettings, Ordering as KeyOrdering, Webhook, WebhookStatus};
use fanfare_engine::SigningChange;
use fanfare_testkit::store::MemoryStore;
use fanfare_testkit::store::faulty::{Call, CommitFate, Done, Faults, FaultyStore, Verdict};
use fanfare_testkit::transport::Answer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Commits and answers to reads take so many ms, and so many calls of a kind fail.
#[derive(Default)]
struct Slow {
    commit_ms: AtomicU64,
    bad_reads: AtomicU64,
    page_ms: AtomicU64,
    bad_changes: AtomicU64,
    bad_parkings: AtomicU64,
    /// Times that parking was asked for.
    parkings: AtomicU64,
    is_poisoned: AtomicBool,
}

impl Faults for Slow {
    fn at_call(&self, call: Call) -> Verdict {
        if call == Call::ParkAll {
            self.parkings.fetch_add(1, Ordering::SeqCst);
            if self.is_poisoned.load(Ordering::SeqCst) {
                return Verdict::Refuse(StoreError::Poisoned("simulated".into()));
            }
        }
        let left = match call {
            Call::Webhook => &self.bad_reads,
            Call::Change => &self.bad_changes,
            Call::ParkAll => &self.bad_parkings,
            _ => return Verdict::Take,
        };
        let takes_one = |left: u64| left.checked_sub(1);
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, takes_one) {
            Ok(_) => Verdict::Refuse(StoreError::Other("simulated".into())),
            Err(_) => Verdict::Take,
        }
    }

    fn commit_time(&self) -> Duration {
        Duration::from_millis(self.commit_ms.load(Ordering::SeqCst))
    }

    fn at_commit(&self) -> CommitFate {
        CommitFate::Go
    }

    fn answer_time(&self, call: Call) -> Duration {
        let ms = if call == Call::Page { self.page_ms.load(Ordering::SeqCst) } else { 0 };
        Duration::from_millis(ms)
    }

    fn handed(&self, _: &SettleBatch) {}
    fn committed(&self, _: &Done<'_>) {}
    fn change_answered(&self, _: &[CatalogChange]) {}
    fn crashed(&self) {}
}

async fn bench(faults: &Arc<Slow>) -> Bench {
    let bench = Bench::with_store(MemoryStore::new(), |memory| {
        let store = FaultyStore::start(Arc::clone(memory), Arc::clone(faults) as _);
        (Arc::clone(&store) as _, store as _)
    });
    bench.await
}

/// Changes a webhook; the answer is waited for in the background.
fn change(bench: &Bench, webhook: &Webhook, edit: impl FnOnce(&mut Webhook) + Send + 'static) {
    let (engine, hub, channel) = (bench.engine.clone(), bench.hub.clone(), bench.channel.clone());
    let id = webhook.id;
    tokio::task::spawn_local(async move {
        let change = Box::new(|webhook: &mut Webhook| {
            edit(webhook);
            Ok(())
        });
        let changed = engine.update_webhook(&hub, &channel, id, SigningChange::Keep, change).await;
        changed.expect("the change is stored");
    });
}

#[test]
fn a_change_that_cannot_be_read_stops_attempts_until_it_can() {
    run(async {
        let faults = Arc::new(Slow::default());
        let bench = bench(&faults).await;
        let webhook = bench.webhook(DeliverySettings::default()).await;
        bench.push(1).await;
        bench.pass(SECOND).await;
        faults.commit_ms.store(20, Ordering::SeqCst);
        change(&bench, &webhook, |webhook| webhook.url = "https://new.test/".into());
        bench.pass(Duration::from_millis(10)).await;
        // The change itself has read it; its actor will not, three times.
        faults.bad_reads.store(3, Ordering::SeqCst);
        bench.pass(Duration::from_millis(20)).await;
        bench.push(1).await;
        bench.pass(Duration::from_millis(2500)).await;
        assert_eq!(bench.sent().len(), 1, "nothing goes to where it was before");
        bench.pass(2 * SECOND).await;
        let urls: Vec<String> = bench.sent().into_iter().map(|sent| sent.url).collect();
        assert_eq!(urls, ["https://receiver.test/hook", "https://new.test/"]);
    });
}

#[test]
fn a_gone_receiver_gets_nothing_while_a_change_overtakes_its_disabling() {
    run(async {
        let faults = Arc::new(Slow::default());
        let bench = bench(&faults).await;
        bench.transport.set(|_| Answer::Status(410, Duration::from_millis(10)));
        let webhook =
            bench.webhook(DeliverySettings { max_in_flight: Some(1), ..DeliverySettings::default() }).await;
        bench.push(5).await;
        faults.commit_ms.store(30, Ordering::SeqCst);
        // Stored after the 410 came, before the webhook is disabled, which waits for it.
        change(&bench, &webhook, |webhook| webhook.description = Some("the shop's".into()));
        bench.pass(SECOND).await;
        assert_eq!(bench.sent().len(), 1);
        let stored = bench.engine.webhook(&bench.hub, &bench.channel, webhook.id).expect("webhook");
        assert_eq!((stored.status, stored.description.is_some()), (WebhookStatus::Disabled, true));
    });
}

#[test]
fn a_gone_receiver_is_disabled_as_soon_as_that_can_be_stored() {
    run(async {
        let faults = Arc::new(Slow::default());
        let bench = bench(&faults).await;
        bench.transport.set(|_| Answer::Status(410, Duration::ZERO));
        let webhook =
            bench.webhook(DeliverySettings { max_in_flight: Some(1), ..DeliverySettings::default() }).await;
        faults.bad_changes.store(3, Ordering::SeqCst);
        bench.push(5).await;
        bench.pass(10 * SECOND).await;
        assert_eq!(bench.sent().len(), 1, "nothing goes to it while that cannot be stored");
        let stored = bench.engine.webhook(&bench.hub, &bench.channel, webhook.id).expect("webhook");
        assert_eq!(stored.status, WebhookStatus::Disabled);
        assert_eq!(bench.store.dead().len(), 5);
    });
}

#[test]
fn parking_that_fails_is_tried_again_but_a_poisoned_store_is_asked_once() {
    for is_poisoned in [false, true] {
        run(async move {
            let faults = Arc::new(Slow::default());
            let bench = bench(&faults).await;
            bench.webhook(DeliverySettings::default()).await;
            faults.is_poisoned.store(is_poisoned, Ordering::SeqCst);
            faults.bad_parkings.store(3, Ordering::SeqCst);
            bench.transport.panic_next(1);
            bench.push(20).await;
            bench.pass(20 * SECOND).await;
            let expected = if is_poisoned { (1, 0) } else { (4, 20) };
            assert_eq!((faults.parkings.load(Ordering::SeqCst), bench.sent().len()), expected);
        });
    }
}

fn set_status(status: WebhookStatus) -> impl FnOnce(&mut Webhook) + Send {
    move |webhook| {
        webhook.status = status;
        webhook.disabled_reason = None;
    }
}

#[test]
fn what_was_routed_before_a_webhook_was_disabled_is_found_when_it_is_enabled() {
    run(async {
        let faults = Arc::new(Slow::default());
        let bench = bench(&faults).await;
        let ordered = DeliverySettings { ordering: Some(KeyOrdering::Key), ..DeliverySettings::default() };
        let webhook = bench.webhook(ordered).await;
        faults.page_ms.store(20, Ordering::SeqCst);
        bench.push(1).await;
        bench.pass(Duration::from_millis(2)).await;
        // The page with the first is on its way. The webhook is disabled before the second, which was routed to it
        // by then, is stored; meanwhile the page says that the index holds no more.
        faults.commit_ms.store(30, Ordering::SeqCst);
        change(&bench, &webhook, set_status(WebhookStatus::Disabled));
        bench.pass(Duration::from_millis(5)).await;
        bench.push(1).await;
        bench.pass(300 * SECOND).await;
        assert_eq!(bench.sent().len(), 1);
        change(&bench, &webhook, set_status(WebhookStatus::Enabled));
        bench.pass(SECOND).await;
        assert_eq!((bench.sent().len(), bench.store.event_count()), (2, 0));
    });
}

#[test]
fn a_webhook_that_went_while_it_was_probed_goes_on_when_it_is_enabled() {
    run(async {
        let faults = Arc::new(Slow::default());
        let bench = bench(&faults).await;
        let mut count = 0;
        bench.transport.set(move |_| {
            count += 1;
            Answer::Status(if count <= 5 { 500 } else { 410 }, Duration::ZERO)
        });
        let one = DeliverySettings { max_in_flight: Some(1), ..DeliverySettings::default() };
        let webhook = bench.webhook(one).await;
        bench.push(6).await;
        // Long enough for its actor to sleep, with a gate that waits for the end of the probe.
        bench.pass(300 * SECOND).await;
        bench.transport.set(|_| Answer::OK);
        change(&bench, &webhook, set_status(WebhookStatus::Enabled));
        bench.pass(SECOND).await;
        bench.push(1).await;
        bench.pass(SECOND).await;
        assert_eq!(bench.store.event_count(), 6, "the dead letters");
    });
}
