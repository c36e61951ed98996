//! Damaged rows are set aside: what can still be told is told, what cannot becomes a dead letter, and the rest goes on.

use crate::support::{START_MS, Site, event, open, retry, settlement, settlement_of, wait, webhook};
use fanfare_core::Seq;
use fanfare_core::delivery::{Ending, reason};
use fanfare_core::ports::{CatalogChange, Store};
use fanfare_store::OpenError;
use std::path::Path;
use std::sync::Arc;

/// A webhook whose number occurs nowhere else in the file.
const MARKED: u32 = 0x0001_1171;

/// Bytes to look for; `None`: any byte.
type Pattern = Vec<Option<u8>>;

fn exactly(bytes: &[u8]) -> Pattern {
    bytes.iter().copied().map(Some).collect()
}

/// Flips one bit of the byte `at` bytes after the start of each place that fits: pages replaced since keep old copies.
fn flip(dir: &Path, pattern: &Pattern, at: usize) {
    let path = dir.join("data.mdb");
    let mut file = std::fs::read(&path).unwrap();
    let fits =
        |window: &[u8]| window.iter().zip(pattern).all(|(byte, want)| want.is_none_or(|want| want == *byte));
    let places: Vec<usize> = file
        .windows(pattern.len())
        .enumerate()
        .filter(|(_, window)| fits(window))
        .map(|(place, _)| place)
        .collect();
    assert!(!places.is_empty(), "nothing to damage");
    for place in places {
        file[place + at] ^= 1;
    }
    std::fs::write(path, file).unwrap();
}

/// One webhook with the marked number.
fn site() -> Site {
    let site = Site::new(0);
    wait(site.store().change(vec![CatalogChange::PutWebhook(Box::new(webhook(MARKED)))])).unwrap();
    site
}

fn damaged_records(site: &Site) -> u64 {
    site.store().stats().damaged_records
}

/// Reads the backlog and waits until what was found to be damaged is settled.
fn parked_and_fixed(site: &Site) -> Vec<Seq> {
    let seqs = site.parked_seqs(MARKED);
    site.due(0, 0);
    seqs
}

#[test]
fn a_damaged_envelope_is_a_dead_letter_and_the_rest_goes_on() {
    for in_memory in [true, false] {
        let mut site = site();
        let owed = [(MARKED, in_memory)];
        site.ingest(["before", "spoilt", "after"].map(|id| event(id, &owed)).into());
        site.reopen_after(|dir| flip(dir, &exactly(b"of spoilt"), 4));
        assert_eq!(parked_and_fixed(&site), [Seq(1), Seq(3)]);
        let dead = site.dead(MARKED);
        assert_eq!(dead.len(), 1);
        assert_eq!((dead[0].key.seq, dead[0].reason.as_deref()), (Seq(2), Some(reason::DAMAGED)));
        assert_eq!(dead[0].event_id.as_ref().unwrap().as_str(), "spoilt", "the header still tells");
        assert_eq!((site.backlog(), site.store().stats().dead_letters, damaged_records(&site)), (2, 1, 1));
        // It does not come back.
        assert_eq!(parked_and_fixed(&site), [Seq(1), Seq(3)]);
        assert_eq!(damaged_records(&site), 1);
    }
}

#[test]
fn a_damaged_header_is_set_aside_and_its_deliveries_are_dead_letters() {
    let mut site = site();
    site.ingest(["before", "spoilt", "retried"].map(|id| event(id, &[(MARKED, false)])).into());
    site.settle(vec![settlement(MARKED, Seq(3), 0, retry(START_MS + 5))]);
    // The length before an id stands in headers only.
    site.reopen_after(|dir| {
        flip(dir, &exactly(b"\x06\x00spoilt"), 4);
        flip(dir, &exactly(b"\x07\x00retried"), 4);
    });
    assert_eq!(parked_and_fixed(&site), [Seq(1)]);
    assert!(site.due(MARKED, u64::MAX).0.is_empty());
    site.due(0, 0);
    let dead = site.dead(MARKED);
    let mut seqs: Vec<Seq> = dead.iter().map(|dead| dead.key.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [Seq(2), Seq(3)]);
    assert!(
        dead.iter().all(|dead| dead.reason.as_deref() == Some(reason::DAMAGED) && dead.event_id.is_none())
    );
    assert_eq!((site.backlog(), site.rows()["damaged"], site.rows()["events"]), (1, 2, 1));
    site.reopen();
    assert_eq!(parked_and_fixed(&site), [Seq(1)]);
    assert_eq!((site.backlog(), site.store().stats().dead_letters), (1, 2));
    assert!(!site.rows().contains_key("retries"));
}

#[test]
fn a_damaged_backlog_row_is_rebuilt_from_the_events() {
    let mut site = site();
    let owed = |in_memory| [(MARKED, in_memory)];
    site.ingest(vec![event("a", &owed(false)), event("b", &owed(false)), event("c", &owed(false))]);
    site.ingest(vec![event("d", &owed(true)), event("e", &owed(false))]);
    site.settle(vec![
        settlement(MARKED, Seq(1), 0, Ending::Delivered),
        settlement(MARKED, Seq(2), 0, retry(START_MS + 1)),
    ]);
    let key: Vec<u8> = [&MARKED.to_be_bytes()[..], &1_u64.to_be_bytes()].concat();
    site.reopen_after(|dir| flip(dir, &exactly(&key), key.len() + 5));
    assert_eq!(parked_and_fixed(&site), [Seq(3), Seq(4), Seq(5)]);
    assert_eq!(damaged_records(&site), 1);
    assert_eq!(parked_and_fixed(&site), [Seq(3), Seq(4), Seq(5)]);
    assert_eq!(damaged_records(&site), 1, "mended on disk too");
    assert_eq!((site.backlog(), site.due(MARKED, u64::MAX).0.len()), (4, 1));
}

#[test]
fn a_damaged_retry_begins_its_schedule_anew() {
    let mut site = site();
    wait(site.store().change(vec![CatalogChange::PutWebhook(Box::new(webhook(2)))])).unwrap();
    site.ingest(vec![event("a", &[(2, true), (MARKED, true)])]);
    site.settle(vec![
        settlement(2, Seq(1), 0, Ending::Delivered),
        settlement(MARKED, Seq(1), 1, retry(START_MS + 5)),
    ]);
    let key: Vec<u8> = [&MARKED.to_be_bytes()[..], &(START_MS + 5).to_be_bytes()].concat();
    site.reopen_after(|dir| flip(dir, &exactly(&key), 22 + 5));
    let (due, _) = site.due(MARKED, u64::MAX);
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].index, due[0].part, due[0].progress.attempt_number), (1, Some(0), 1));
    assert_eq!(damaged_records(&site), 1);
    site.settle(vec![settlement_of(MARKED, &due[0], Ending::Delivered)]);
    assert_eq!((site.rows().len(), site.backlog()), (0, 0), "{:?}", site.rows());
}

/// Once the entry was left with neither a row nor an ending, because the damaged retry row was read for its place in
/// the event's list.
#[test]
fn a_damaged_retry_of_a_damaged_event_is_a_dead_letter() {
    let mut site = site();
    wait(site.store().change(vec![CatalogChange::PutWebhook(Box::new(webhook(2)))])).unwrap();
    site.ingest(vec![event("spoilt", &[(2, true), (MARKED, true)])]);
    site.settle(vec![
        settlement(2, Seq(1), 0, Ending::Delivered),
        settlement(MARKED, Seq(1), 1, retry(START_MS + 5)),
    ]);
    let key: Vec<u8> = [&MARKED.to_be_bytes()[..], &(START_MS + 5).to_be_bytes()].concat();
    site.reopen_after(|dir| {
        flip(dir, &exactly(&key), 22 + 5);
        flip(dir, &exactly(b"of spoilt"), 4);
    });
    assert!(site.due(MARKED, u64::MAX).0.is_empty());
    site.due(0, 0);
    assert_eq!(site.dead(MARKED).len(), 1);
    assert_eq!(site.backlog(), 0);
}

#[test]
fn a_damaged_progress_row_may_repeat_deliveries_but_loses_none() {
    let mut site = Site::new(3);
    // A place that is no other number in the file.
    site.ingest((0..290).map(|n| event(&format!("nobodys{n}"), &[])).collect());
    let seq = site.ingest(vec![event("a", &[(1, true), (2, true), (3, true)])])[0];
    site.settle(vec![settlement(1, seq, 0, Ending::Delivered)]);
    let mut pattern = exactly(&seq.0.to_be_bytes());
    pattern.push(Some(1));
    pattern.extend([None; 4]);
    pattern.extend(exactly(&3_u32.to_le_bytes()));
    let at = pattern.len();
    site.reopen_after(|dir| flip(dir, &pattern, at));
    assert!(damaged_records(&site) > 0);
    for webhook in 1..=3 {
        assert_eq!(site.parked_seqs(webhook), [seq], "webhook {webhook}");
        let owed = site.parked(webhook);
        site.settle_and_drop(vec![settlement_of(webhook, &owed[0], Ending::Delivered)], vec![(webhook, seq)]);
    }
    assert_eq!((site.rows().len(), site.backlog()), (0, 0), "{:?}", site.rows());
}

#[test]
fn a_store_that_cannot_tell_where_it_stands_refuses_to_open() {
    let site = Site::new(1);
    site.ingest(vec![event("a", &[(1, true)])]);
    wait(site.store().close());
    // The open map would hide the change: another directory gets it.
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(site.dir.path().join("data.mdb"), copy.path().join("data.mdb")).unwrap();
    flip(copy.path(), &exactly(b"state\x01"), 10);
    let refused = open(copy.path(), Arc::clone(&site.clock), |_| {}).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { what: "state", .. }), "{refused}");
}
