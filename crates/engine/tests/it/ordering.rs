//! `ordering: KEY` (D5).

use crate::bench::{Bench, SECOND, received, run};
use fanfare_core::webhook::{DeliverySettings, Ordering};
use fanfare_testkit::transport::{Answer, Sent};
use std::collections::HashMap;
use std::time::Duration;

fn ordered() -> DeliverySettings {
    DeliverySettings { ordering: Some(Ordering::Key), ..Default::default() }
}

/// An event of a key, told apart by its id.
fn keyed(key: &str, id: &str) -> String {
    let line = received(id);
    format!(r#"{{"key":"{key}","id":"{id}",{}"#, line.strip_prefix('{').expect("an object"))
}

fn id(sent: &Sent) -> String {
    let id = String::from_utf8(sent.request.delivery_id.to_vec()).expect("text");
    id.split('-').next().expect("id").to_owned()
}

fn ids(bench: &Bench) -> Vec<String> {
    bench.sent().iter().map(id).collect()
}

fn of_key(ids: &[String], key: char) -> Vec<&str> {
    ids.iter().filter(|id| id.starts_with(key)).map(String::as_str).collect()
}

#[test]
fn a_later_one_waits_for_a_failed_one_and_other_keys_flow() {
    run(async {
        let mut failures = 1;
        let bench = Bench::new(move |sent| {
            if id(sent) == "a1" && failures > 0 {
                failures -= 1;
                return Answer::Status(500, SECOND / 10);
            }
            Answer::Status(200, SECOND / 10)
        })
        .await;
        bench.webhook(ordered()).await;
        let lines = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")].map(|(key, id)| keyed(key, id));
        bench.push_lines(lines.to_vec()).await;
        bench.pass(2 * SECOND).await;
        assert_eq!(ids(&bench), ["a1", "b1"]);
        bench.push_lines(vec![keyed("a", "a4"), keyed("b", "b2")]).await;
        bench.pass(2 * SECOND).await;
        assert_eq!(ids(&bench), ["a1", "b1", "b2"], "a4 waits too");
        bench.pass(60 * SECOND).await;
        assert_eq!(of_key(&ids(&bench), 'a'), ["a1", "a1", "a2", "a3", "a4"]);
        assert_eq!((bench.store.event_count(), bench.store.retry_row_count()), (0, 0));
        let numbers: Vec<u32> = bench.sent().iter().map(|s| s.request.attempt_number).collect();
        assert_eq!(numbers, [1, 1, 1, 2, 1, 1, 1], "waiting uses up no attempt");
    });
}

#[test]
fn the_customer_is_the_key_when_none_is_given_and_no_more_than_one_is_in_flight() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(200, SECOND)).await;
        bench.webhook(ordered()).await;
        bench.push(5).await;
        bench.pass(10 * SECOND).await;
        assert_eq!((bench.sent().len(), bench.transport.in_flight_max()), (5, 1));
    });
}

#[test]
fn the_order_holds_across_a_crash() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(500, Duration::ZERO)).await;
        bench.webhook(ordered()).await;
        bench.push_lines(vec![keyed("a", "a1"), keyed("a", "a2")]).await;
        bench.pass(SECOND).await;
        bench.push_lines(vec![keyed("a", "a3")]).await;
        bench.pass(SECOND).await;
        assert_eq!(ids(&bench), ["a1"]);
        let again = Bench::open(bench.store.reopen(), |_| Answer::OK).await;
        again.clock.step_wall(2000);
        // Before anything else of its key: it must wait for what the actor does not know yet.
        again.push_lines(vec![keyed("a", "a4"), keyed("b", "b1")]).await;
        again.pass(SECOND).await;
        assert_eq!(ids(&again), ["b1"]);
        again.pass(20 * SECOND).await;
        assert_eq!(of_key(&ids(&again), 'a'), ["a1", "a2", "a3", "a4"]);
        assert_eq!(again.store.event_count(), 0);
    });
}

#[test]
fn a_key_with_very_much_to_deliver_leaves_room_for_others() {
    run(async {
        let bench = Bench::new(|_| Answer::Status(200, SECOND / 100)).await;
        bench.webhook(ordered()).await;
        let lines = (0..2000).map(|n| keyed("a", &format!("a{n}"))).collect();
        bench.push_lines(lines).await;
        bench.push_lines(vec![keyed("b", "b1")]).await;
        bench.pass(5 * SECOND).await;
        let seen = ids(&bench);
        assert_eq!(of_key(&seen, 'b').len(), 1, "after {} of the other key", seen.len());
        bench.pass(120 * SECOND).await;
        let seen = ids(&bench);
        let expected: Vec<String> = (0..2000).map(|n| format!("a{n}")).collect();
        assert_eq!(of_key(&seen, 'a'), expected);
        assert_eq!((bench.transport.in_flight_max(), bench.store.event_count()), (2, 0));
    });
}

#[test]
fn a_dead_one_lets_the_next_go() {
    run(async {
        let bench = Bench::new(|sent| match id(sent).as_str() {
            "a1" => Answer::Status(500, Duration::ZERO),
            _ => Answer::OK,
        })
        .await;
        let delivery = DeliverySettings { retry_schedule_seconds: Some(vec![1]), ..ordered() };
        bench.webhook(delivery).await;
        bench.push_lines(vec![keyed("a", "a1"), keyed("a", "a2")]).await;
        bench.pass(10 * SECOND).await;
        assert_eq!(ids(&bench), ["a1", "a1", "a2"]);
        assert_eq!(bench.store.dead().len(), 1);
    });
}

#[test]
fn each_key_of_many_keeps_its_order_while_the_receiver_fails_at_random() {
    run(async {
        let mut calls = 0_u32;
        let bench = Bench::new(move |_| {
            calls = calls.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            if (calls >> 16).is_multiple_of(4) {
                Answer::Status(500, SECOND / 50)
            } else {
                Answer::Status(200, SECOND / 50)
            }
        })
        .await;
        bench.webhook(ordered()).await;
        for round in 0..10 {
            let lines = (0..60).map(|n| {
                let key = ["a", "b", "c", "d", "e", "f"][n % 6];
                keyed(key, &format!("{key}{}", round * 10 + n / 6))
            });
            bench.push_lines(lines.collect()).await;
            bench.pass(3 * SECOND).await;
        }
        bench.pass(200_000 * SECOND).await;
        let mut last: HashMap<char, (u32, bool)> = HashMap::new();
        for sent in ids(&bench) {
            let key = sent.chars().next().expect("key");
            let number: u32 = sent.get(1..).expect("number").parse().expect("number");
            let (before, _) = *last.get(&key).unwrap_or(&(0, true));
            assert!(number == before || number == before + 1, "{sent} after {key}{before}");
            last.insert(key, (number, true));
        }
        assert!(last.values().all(|(number, _)| *number == 99), "{last:?}");
        assert_eq!(bench.store.event_count(), 0);
    });
}
