//! Damage of single rows, table by table: the row is counted and left out or told as a dead letter, and nothing else
//! suffers. What damage does to a backlog is in `damage`.

use crate::support::{ManualClock, Rows, START_MS, Site, dead, edit, event, open, settlement, webhook};
use fanfare_core::delivery::reason;
use fanfare_core::ports::{CatalogEntry, IngestEvent, IngestVerdict, Store, StoreError};
use fanfare_core::{Seq, WebhookNo};
use fanfare_store::OpenError;
use std::path::Path;
use std::sync::Arc;

fn flip(row: &mut [u8], at: usize) {
    row[at] ^= 0x10;
}

/// Damages the row of a table that is at this place.
fn damage(dir: &Path, table: &str, row_index: usize, at: impl Fn(usize) -> usize) {
    edit(dir, table, |rows: &mut Rows| {
        let row = &mut rows[row_index].1;
        let place = at(row.len());
        flip(row, place);
    });
}

/// What waited in memory is known from the event's own list alone; it is told as far as that can be read.
#[test]
fn a_header_damaged_in_the_tail_becomes_a_dead_letter_of_each_webhook_that_waited() {
    let mut site = Site::new(3);
    site.ingest((0..5).map(|n| event(&format!("e{n}"), &[(1, true), (2, true), (3, true)])).collect());
    let delivered = fanfare_core::delivery::Ending::Delivered;
    site.settle(vec![settlement(2, Seq(3), 1, delivered)]);
    // A byte of the time of acceptance.
    site.reopen_after(|dir| damage(dir, "events", 2, |_| 20));
    for (no, deaths) in [(1, 1), (2, 0), (3, 1)] {
        assert_eq!(site.parked_seqs(no), [Seq(1), Seq(2), Seq(4), Seq(5)]);
        // A read waits for what reading settled before it.
        site.due(0, 0);
        let dead = site.dead(no);
        assert_eq!(dead.len(), deaths, "webhook {no}");
        assert!(
            dead.iter().all(|dead| (dead.key.seq, dead.reason.as_deref()) == (Seq(3), Some(reason::DAMAGED)))
        );
    }
    assert_eq!(
        (site.rows().get("damaged"), site.rows().get("events"), site.backlog()),
        (Some(&1), Some(&4), 12)
    );
    assert_eq!(site.store().stats().damaged_records, 1);
    site.reopen();
    assert_eq!(site.store().stats().damaged_records, 0, "it is reported once");
    assert_eq!((site.parked_seqs(1).len(), site.backlog()), (4, 12));
}

#[test]
fn a_header_that_cannot_even_be_guessed_is_kept_as_found() {
    let mut site = Site::new(1);
    site.ingest((0..3).map(|n| event(&format!("e{n}"), &[(1, true)])).collect());
    site.reopen_after(|dir| {
        edit(dir, "events", |rows: &mut Rows| rows[1].1.truncate(30));
    });
    assert_eq!(site.parked_seqs(1), [Seq(1), Seq(3)]);
    assert_eq!((site.rows().get("damaged"), site.store().stats().damaged_records), (Some(&1), 1));
}

#[test]
fn a_damaged_dead_letter_tells_what_its_key_and_its_event_do_and_is_put_back() {
    let mut site = Site::new(1);
    site.ingest(vec![event("a", &[(1, true)]), event("b", &[(1, true)])]);
    site.settle((1..=2).map(|seq| settlement(1, Seq(seq), 0, dead())).collect());
    site.reopen_after(|dir| damage(dir, "dead", 0, |_| 9));
    for _ in 0..2 {
        let letters = site.dead(1);
        let told: Vec<_> = letters.iter().map(|dead| (dead.key.seq.0, dead.reason.as_deref())).collect();
        assert_eq!(told, [(2, Some("exhausted")), (1, Some(reason::DAMAGED))]);
        assert_eq!((letters[1].event_id.as_ref().unwrap().as_str(), letters[1].attempt_count), ("a", 0));
        assert_eq!(site.store().stats().damaged_records, 1, "reported once");
    }
    assert_eq!(site.redrive_one(1, "a", 0, START_MS + 9).count, 1);
    let (due, _) = site.due(1, u64::MAX);
    assert_eq!((due[0].event.seq, due[0].index, due[0].progress.attempt_number), (Seq(1), 0, 1));
}

#[test]
fn a_damaged_row_of_attempts_is_left_out_and_reported_once() {
    let mut site = Site::new(1);
    let skip =
        |seq| settlement(1, Seq(seq), 0, fanfare_core::delivery::Ending::Skipped { reason: "r".into() });
    site.ingest(vec![event("a", &[(1, true)]), event("b", &[(1, true)])]);
    site.settle(vec![skip(1)]);
    site.settle(vec![skip(2)]);
    site.reopen_after(|dir| damage(dir, "attempts", 0, |_| 20));
    for _ in 0..2 {
        let seqs: Vec<u64> = site.list(1, Default::default(), 9).iter().map(|item| item.key.seq.0).collect();
        assert_eq!((seqs, site.store().stats().damaged_records), (vec![2], 1));
    }
}

#[test]
fn damaged_ids_are_forgotten_and_the_others_known() {
    let mut site = Site::new(1);
    let named = |id: &str| IngestEvent { is_deduplicated: true, ..event(id, &[]) };
    site.ingest(vec![named("a")]);
    site.ingest(vec![named("b")]);
    site.reopen_after(|dir| damage(dir, "ids", 0, |bytes| bytes - 1));
    assert_eq!(site.store().stats().damaged_records, 1);
    let receipt = site.try_ingest(vec![named("a"), named("b")]).unwrap();
    assert!(matches!(receipt.verdicts[..], [IngestVerdict::Accepted(_), IngestVerdict::Duplicate]));
}

#[test]
fn damaged_configuration_is_left_out_and_counted() {
    let mut site = Site::new(3);
    site.reopen_after(|dir| {
        damage(dir, "webhooks", 0, |_| 9);
        damage(dir, "routes", 1, |_| 9);
    });
    let Err(StoreError::Other(text)) = site.store().webhook(WebhookNo(1)) else { panic!("it was readable") };
    assert_eq!(text, "webhook 1: damaged webhook record");
    assert_eq!(site.store().webhook(WebhookNo(2)).unwrap(), Some(webhook(2)));
    let mut found = Vec::new();
    let mut take = |entry| {
        if let CatalogEntry::Webhook(route) = entry {
            found.push(route.no.0);
        }
    };
    site.store().load(&mut take).unwrap();
    assert_eq!(found, [1, 3]);
    assert_eq!(site.store().stats().damaged_records, 1);
}

fn refusal(site: Site, change: impl FnOnce(&Path)) -> OpenError {
    let dir = site.close();
    change(dir.path());
    open(dir.path(), Arc::new(ManualClock::default()), |_| {}).unwrap_err()
}

#[test]
fn without_its_state_a_store_does_not_open() {
    let error = refusal(Site::new(1), |dir| damage(dir, "state", 0, |_| 9));
    assert!(matches!(error, OpenError::Damaged { what: "state", .. }), "{error}");
    let error = refusal(Site::new(1), |dir| edit(dir, "state", Vec::clear));
    assert!(matches!(error, OpenError::Damaged { what: "state", .. }), "{error}");
    let error = refusal(Site::new(1), |dir| edit(dir, "meta", |rows| flip(&mut rows[1].1, 30)));
    assert!(matches!(error, OpenError::Damaged { what: "api key hash key", .. }), "{error}");
    let error = refusal(Site::new(1), |dir| edit(dir, "meta", |rows| flip(&mut rows[0].1, 6)));
    assert!(matches!(error, OpenError::Damaged { what: "format", .. }), "{error}");
    let error = refusal(Site::new(1), |dir| edit(dir, "meta", Vec::clear));
    assert!(matches!(error, OpenError::Damaged { what: "format", .. }), "{error}");
}

#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let error = refusal(Site::new(1), |dir| {
        edit(dir, "meta", |rows| {
            // version, checksum over key, version and body, then the format's version.
            let body = 3_u32.to_le_bytes();
            let sum = crc32fast::hash(&[b"format".as_slice(), &[1], &body].concat());
            rows[0].1 = [&[1], sum.to_le_bytes().as_slice(), &body].concat();
        });
    });
    assert!(matches!(error, OpenError::NewerFormat { found: 3, known: 2, .. }), "{error}");
    assert!(error.to_string().contains("format version 3, newer than 2"), "{error}");
}
