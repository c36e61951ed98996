//! The backlog index: paging, parking what waits in memory, the bounded tail.

use crate::support::{START_MS, Site, event, retry, settlement, settlement_of, sized_event, wait};
use fanfare_core::delivery::{Ending, Origin};
use fanfare_core::ports::{PageRequest, SettleBatch, Store};
use fanfare_core::{Seq, WebhookNo};

fn seqs(range: std::ops::RangeInclusive<u64>) -> Vec<Seq> {
    range.map(Seq).collect()
}

#[test]
fn a_backlog_is_paged_row_by_row() {
    let site = Site::new(2);
    // One row holds 256 events: three rows of the first commit, one of the second.
    site.ingest((0..600).map(|n| event(&format!("e{n}"), &[(1, false), (2, true)])).collect());
    site.ingest(vec![event("last", &[(1, false)])]);
    let mut from = Seq(0);
    let mut read = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let page = site.page(1, from, 1);
        assert_eq!(page.chunks.len(), 1);
        assert!(page.owed.iter().all(|owed| owed.origin == Origin::Parked { chunk: page.chunks[0] }));
        sizes.push(page.owed.len());
        read.extend(page.owed.iter().map(|owed| owed.event.seq));
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(sizes, [256, 256, 88, 1]);
    assert_eq!(read, seqs(1..=601));
    let page = site.page(1, Seq(0), 300);
    assert_eq!((page.owed.len(), page.chunks.len(), page.next), (512, 2, Some(Seq(513))));
    assert!(site.parked(2).is_empty(), "handed over in memory");
}

#[test]
fn a_page_is_bounded_by_bytes_too() {
    let site = Site::new(1);
    site.ingest((0..6).map(|n| sized_event(&format!("e{n}"), &[(1, false)], 400_000)).collect());
    let request =
        PageRequest { webhook: WebhookNo(1), from: Seq(0), deliveries_max: 100, bytes_max: 500_000 };
    let page = wait(site.store().page(request)).unwrap();
    // Rows list at most 1 MiB of events.
    assert_eq!((page.owed.len(), page.next), (2, Some(Seq(3))));
}

#[test]
fn a_page_leaves_out_what_has_ended_or_waits_for_a_retry() {
    let site = Site::new(1);
    site.ingest((0..4).map(|n| event(&format!("e{n}"), &[(1, false)])).collect());
    let owed = site.parked(1);
    site.settle(vec![
        settlement_of(1, &owed[0], Ending::Delivered),
        settlement_of(1, &owed[2], retry(START_MS + 1)),
    ]);
    assert_eq!(site.parked_seqs(1), [Seq(2), Seq(4)]);
    // A row dropped too early keeps what is owed; dropped again when all has ended, it goes.
    site.settle_and_drop(vec![settlement_of(1, &owed[1], Ending::Delivered)], vec![(1, Seq(1))]);
    assert_eq!(site.parked_seqs(1), [Seq(4)]);
    site.settle_and_drop(vec![settlement_of(1, &owed[3], Ending::Dropped)], vec![(1, Seq(1))]);
    assert_eq!(site.page(1, Seq(0), 10).chunks, []);
    assert_eq!((site.rows()["retries"], site.backlog()), (1, 1));
}

#[test]
fn rows_with_nothing_left_are_named_so_that_they_can_be_dropped() {
    let site = Site::new(1);
    site.ingest(vec![event("a", &[(1, false)])]);
    let owed = site.parked(1);
    site.settle(vec![settlement_of(1, &owed[0], Ending::Delivered)]);
    let page = site.page(1, Seq(0), 10);
    assert_eq!((page.owed.len(), page.chunks), (0, vec![Seq(1)]));
    assert!(site.rows().contains_key("parked"));
}

#[test]
fn park_all_lists_what_waits_in_memory_and_nothing_else() {
    let mut site = Site::new(2);
    site.ingest((0..5).map(|n| event(&format!("e{n}"), &[(1, n != 2), (2, true)])).collect());
    site.settle(vec![
        settlement(1, Seq(1), 0, Ending::Delivered),
        settlement(1, Seq(2), 0, retry(START_MS + 1)),
    ]);
    assert_eq!(site.parked_seqs(1), [Seq(3)]);
    wait(site.store().park_all(WebhookNo(1))).unwrap();
    assert_eq!(site.parked_seqs(1), seqs(3..=5));
    assert!(site.parked(2).is_empty(), "the other webhook keeps its own");
    wait(site.store().park_all(WebhookNo(1))).unwrap();
    assert_eq!(site.parked_seqs(1), seqs(3..=5), "listed once");
    site.reopen();
    assert_eq!(site.parked_seqs(1), seqs(3..=5));
    assert_eq!(site.parked_seqs(2), seqs(1..=5));
    assert_eq!(site.backlog(), 9);
}

/// From the second on they are found by what the first pass remembered, which may have ended or grown since.
#[test]
fn webhooks_that_let_go_one_after_the_other_are_each_listed_whole() {
    let mut site = Site::new(4);
    let owed_to_all = |name: &str| event(name, &[(1, true), (2, true), (3, true), (4, true)]);
    site.ingest((1..=4).map(|n| owed_to_all(&format!("e{n}"))).collect());
    let park_all = |site: &Site, no| wait(site.store().park_all(WebhookNo(no))).unwrap();
    park_all(&site, 1);
    park_all(&site, 2);
    site.settle(vec![
        settlement(3, Seq(2), 2, Ending::Delivered),
        settlement(3, Seq(3), 2, retry(START_MS + 1)),
    ]);
    site.ingest(vec![owed_to_all("e5"), event("e6", &[(2, true), (3, true)])]);
    park_all(&site, 3);
    park_all(&site, 2);
    park_all(&site, 2);
    assert_eq!(site.parked_seqs(1), seqs(1..=4), "what came later still waits");
    assert_eq!(site.parked_seqs(2), seqs(1..=6));
    assert_eq!(site.parked_seqs(3), [Seq(1), Seq(4), Seq(5), Seq(6)]);
    assert!(site.parked(4).is_empty());
    site.clock.advance_ms(60_000);
    site.ingest(vec![owed_to_all("e7")]);
    park_all(&site, 4);
    assert_eq!(site.parked_seqs(4), [1, 2, 3, 4, 5, 7].map(Seq), "long after the others");
    site.reopen();
    assert_eq!(site.backlog(), 4 * 6 + 2 - 1);
}

#[test]
fn a_full_tail_moves_its_older_half_and_tells_whose() {
    let mut site = Site::with(2, |options| options.tail_events_max = 4);
    for n in 0..5 {
        let receipt = site.try_ingest(vec![event(&format!("e{n}"), &[(1 + n % 2, true)])]).unwrap();
        assert!(receipt.also_parked.is_empty());
    }
    // Settled while it is in the tail: not moved.
    site.settle(vec![settlement(1, Seq(3), 0, Ending::Delivered)]);
    site.ingest(vec![event("e5", &[(2, true)])]);
    let receipt = site.try_ingest(vec![event("e6", &[(2, true)])]).unwrap();
    assert_eq!(receipt.also_parked, [WebhookNo(1), WebhookNo(2)]);
    assert_eq!(site.parked_seqs(1), [Seq(1)]);
    assert_eq!(site.parked_seqs(2), [Seq(2), Seq(4)]);
    // What was handed over in memory may still end as such.
    site.settle(vec![settlement(1, Seq(1), 0, Ending::Delivered)]);
    assert_eq!(site.parked_seqs(1), []);
    site.reopen();
    assert_eq!(site.parked_seqs(1), [Seq(5)]);
    assert_eq!(site.parked_seqs(2), [Seq(2), Seq(4), Seq(6), Seq(7)]);
}

/// A checkpoint and a parked event of one commit once shared a row, so that the row reached over what still waited in
/// memory, and the backlog was read out of order.
#[test]
fn rows_stay_in_order_when_a_checkpoint_and_parked_events_meet() {
    let mut site = Site::with(1, |options| options.tail_events_max = 4);
    for n in 0..5 {
        site.ingest(vec![event(&format!("e{n}"), &[(1, true)])]);
    }
    // This commit first moves 1..=3 out of the tail, 4 and 5 stay in it.
    let receipt = site.try_ingest(vec![event("parked", &[(1, false)])]).unwrap();
    assert_eq!(receipt.also_parked, [WebhookNo(1)]);
    assert_eq!(site.page(1, Seq(0), 1).owed.len(), 3, "a row never reaches over the tail's start");
    site.reopen();
    assert_eq!(site.parked_seqs(1), seqs(1..=6));
}

#[test]
fn parking_between_rows_keeps_the_order() {
    let mut site = Site::new(1);
    // One commit: parked, in memory, parked, in memory, parked.
    site.ingest((0..5).map(|n| event(&format!("e{n}"), &[(1, n % 2 == 1)])).collect());
    assert_eq!(site.parked_seqs(1), [Seq(1), Seq(3), Seq(5)]);
    site.reopen();
    assert_eq!(site.parked_seqs(1), seqs(1..=5));
}

#[test]
fn settlements_alone_are_committed_without_further_ado() {
    let mut site = Site::new(1);
    site.ingest(vec![event("a", &[(1, true)])]);
    let settlements = vec![settlement(1, Seq(1), 0, Ending::Delivered)];
    site.store().settle(SettleBatch { settlements, dropped_chunks: Vec::new() }).unwrap();
    site.reopen();
    assert_eq!((site.rows().len(), site.backlog()), (0, 0), "closing commits what is queued");
}
