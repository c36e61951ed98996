//! What is held in memory stays bounded, whatever the backlog (D9).

use crate::bench::{Bench, SECOND, run};
use fanfare_core::webhook::DeliverySettings;
use fanfare_testkit::transport::{Answer, Sent};
use std::collections::HashSet;

/// What a page may bring beyond what was asked for: it ends with a whole row of the index.
const ROW_BYTES: u64 = 256 * 1024;

fn few_at_once() -> DeliverySettings {
    DeliverySettings { max_in_flight: Some(2), ..Default::default() }
}

#[test]
fn what_is_read_back_from_disk_keeps_to_the_budget() {
    for (limit, webhooks) in [(1 << 20, 1), (1 << 20, 8), (1024, 2)] {
        run(async move {
            let bench =
                Bench::with(|_| Answer::Status(200, SECOND / 10), |options| options.window_bytes_max = limit)
                    .await;
            for _ in 0..webhooks {
                bench.webhook(few_at_once()).await;
            }
            for _ in 0..5 {
                bench.push(200).await;
            }
            let mut used_max = 0;
            for _ in 0..300 {
                bench.pass(SECOND).await;
                used_max = used_max.max(bench.window_bytes());
            }
            let bound = limit + ROW_BYTES;
            assert!(used_max <= bound, "{used_max} of {bound} with {webhooks} webhooks");
            let ids: HashSet<_> = bench.sent().iter().map(|s| s.request.delivery_id.clone()).collect();
            assert_eq!((bench.sent().len(), ids.len()), (1000 * webhooks, 1000 * webhooks));
            assert_eq!((bench.window_bytes(), bench.store.event_count()), (0, 0));
        });
    }
}

#[test]
fn while_its_gate_stays_shut_a_webhook_holds_nothing_and_gets_all_of_it_later() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(500, SECOND / 100)).await;
        bench.webhook(few_at_once()).await;
        bench.push(400).await;
        bench.pass(60 * SECOND).await;
        assert_eq!(bench.window_bytes(), 0);
        bench.push(100).await;
        bench.pass(SECOND).await;
        assert_eq!(bench.window_bytes(), 0, "new ones wait on disk too");
        bench.transport.set(|_| Answer::OK);
        bench.pass(400_000 * SECOND).await;
        let delivered = bench
            .store
            .settled()
            .iter()
            .filter(|s| s.ending == fanfare_core::delivery::Ending::Delivered)
            .count();
        assert_eq!((delivered, bench.store.event_count()), (500, 0));
        let first: HashSet<_> =
            bench.sent().iter().map(|s| (s.request.delivery_id.clone(), s.request.attempt_number)).collect();
        assert_eq!(first.len(), bench.sent().len(), "no attempt was made twice");
    });
}

#[test]
fn a_probe_is_made_when_the_gate_may_open_and_not_later() {
    run(async {
        let bench = Bench::with(
            |_| Answer::Status(500, SECOND / 100),
            |options| {
                options.gate.failures_max = 3;
                options.gate.shut_first = 2 * SECOND;
                options.gate.shut_max = 2 * SECOND;
            },
        )
        .await;
        let delivery = DeliverySettings {
            max_in_flight: Some(1),
            retry_schedule_seconds: Some(vec![600]),
            ..Default::default()
        };
        bench.webhook(delivery).await;
        bench.push(10).await;
        for (second, sent) in [(1, 3), (3, 4), (5, 5)] {
            bench.pass(if second == 1 { SECOND } else { 2 * SECOND }).await;
            assert_eq!(bench.sent().len(), sent, "after {second} s");
        }
        bench.transport.set(|_| Answer::OK);
        bench.pass(3 * SECOND).await;
        assert_eq!(bench.sent().len(), 10);
    });
}

/// What hangs since before the gate shut is no probe, and holds none up.
#[test]
fn attempts_that_hang_do_not_hold_up_the_probe() {
    run(async {
        let mut count = 0;
        let script = move |_: &Sent| {
            count += 1;
            match count {
                1..=5 => Answer::Status(500, SECOND / 10),
                6 | 7 => Answer::Status(200, 14 * SECOND),
                _ => Answer::OK,
            }
        };
        let bench = Bench::new(script).await;
        let retries = DeliverySettings { retry_schedule_seconds: Some(vec![3, 3]), ..Default::default() };
        bench.webhook(retries).await;
        bench.push(7).await;
        bench.pass(SECOND).await;
        assert_eq!(bench.sent().len(), 7, "five failed and shut the gate, two hang");
        bench.pass(6 * SECOND).await;
        assert_eq!(bench.sent().len(), 12, "the five were retried, the first of them as the probe");
        bench.pass(20 * SECOND).await;
        assert_eq!((bench.sent().len(), bench.store.event_count()), (12, 0));
    });
}
