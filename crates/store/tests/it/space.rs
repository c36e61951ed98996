//! A full disk refuses events and nothing else.

use crate::support::{Site, dead, event, retry, settlement, sized_event};
use fanfare_core::Seq;
use fanfare_core::delivery::Ending;
use fanfare_core::ports::{IngestEvent, IngestVerdict, StoreError};

#[test]
fn at_the_disk_limit_events_are_refused_and_endings_make_room() {
    const LIMIT: u64 = 1 << 20;
    let mut site = Site::with(1, |options| options.disk_bytes_max = Some(LIMIT));
    let numbered = |n: usize| IngestEvent {
        is_deduplicated: true,
        ..sized_event(&format!("e{n}"), &[(1, true)], 20_000)
    };
    let mut count = 0;
    let refused = loop {
        match site.try_ingest(vec![numbered(count)]) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
        assert!(count < 1000, "the limit is never reached");
    };
    assert!(matches!(&refused, StoreError::Full(text) if text.contains("bytes")), "{refused}");
    assert!(count > 30, "refused after {count} events of 20 KB");
    assert!(site.rows()["events"] == count as u64 && site.backlog() == count as u64);
    // The limit is about bytes in use, not about the file, and it counts after a restart too.
    site.reopen();
    assert!(matches!(site.try_ingest(vec![numbered(count)]), Err(StoreError::Full(_))));
    // Endings of every kind go on; each that frees an event makes room for another.
    let seqs: Vec<Seq> = site.parked_seqs(1);
    assert_eq!(seqs.len(), count);
    site.settle(vec![settlement(1, seqs[0], 0, retry(1)), settlement(1, seqs[1], 0, dead())]);
    assert!(site.try_ingest(vec![numbered(count)]).is_err());
    site.settle(seqs[2..].iter().map(|seq| settlement(1, *seq, 0, Ending::Delivered)).collect());
    let receipt = site.try_ingest(vec![numbered(count), numbered(0)]).unwrap();
    assert!(matches!(receipt.verdicts[0], IngestVerdict::Accepted(_)), "a refused id was not remembered");
    assert_eq!(receipt.verdicts[1], IngestVerdict::Duplicate);
}

#[test]
fn a_file_system_without_its_reserve_refuses_events_and_names_the_reserve() {
    let site = Site::with(1, |options| options.disk_reserve_bytes = u64::MAX);
    let refused = site.try_ingest(vec![event("a", &[(1, true)])]).unwrap_err();
    assert!(matches!(&refused, StoreError::Full(text) if text.contains("reserve")), "{refused}");
    assert_eq!((site.rows().len(), site.backlog()), (0, 0));
}

/// Fills the map, delivers everything in small commits (each of which needs pages to free others) with a restart in
/// between, and finds room again.
#[test]
fn at_the_end_of_the_map_endings_still_find_room() {
    let mut site = Site::with(1, |options| options.map_bytes = 2 << 20);
    let batch = |round: usize| {
        (0..16).map(|n| sized_event(&format!("e{round}-{n}"), &[(1, true)], 1200)).collect::<Vec<_>>()
    };
    let mut count = 0;
    let refused = loop {
        match site.try_ingest(batch(count)) {
            Ok(receipt) => count += receipt.verdicts.len(),
            Err(error) => break error,
        }
        assert!(count < 10_000, "the map is never full");
    };
    assert!(matches!(&refused, StoreError::Full(text) if text.contains("map of 2097152")), "{refused}");
    let settle = |site: &Site, seqs: &[Seq]| {
        for some in seqs.chunks(16) {
            site.settle(some.iter().map(|seq| settlement(1, *seq, 0, Ending::Delivered)).collect());
        }
    };
    let seqs: Vec<Seq> = (1..=count as u64).map(Seq).collect();
    let (now, later) = seqs.split_at(count / 2);
    settle(&site, now);
    site.reopen();
    assert_eq!(site.parked_seqs(1), later);
    settle(&site, later);
    let chunks = site.page(1, Seq(0), usize::MAX).chunks;
    site.settle_and_drop(Vec::new(), chunks.into_iter().map(|chunk| (1, chunk)).collect());
    assert_eq!((site.backlog(), site.rows().len()), (0, 0));
    assert_eq!(site.ingest(batch(count)).len(), 16);
}
