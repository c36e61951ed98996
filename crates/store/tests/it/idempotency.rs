//! Duplicates: an id counts once within its window, whatever batch, commit or run of the store it comes in.

use crate::support::{Site, event};
use fanfare_core::ports::{IngestEvent, IngestVerdict};
use fanfare_core::{ChannelNo, Seq};

fn given(id: &str) -> IngestEvent {
    IngestEvent { is_deduplicated: true, ..event(id, &[(1, true)]) }
}

fn verdicts(site: &Site, ids: &[&str]) -> Vec<IngestVerdict> {
    site.try_ingest(ids.iter().map(|id| given(id)).collect()).unwrap().verdicts
}

use IngestVerdict::{Accepted, Duplicate};

#[test]
fn an_id_counts_once_in_a_batch_over_commits_and_after_a_restart() {
    let mut site = Site::new(1);
    assert_eq!(verdicts(&site, &["a", "b", "a"]), [Accepted(Seq(1)), Accepted(Seq(2)), Duplicate]);
    assert_eq!(verdicts(&site, &["b", "c"]), [Duplicate, Accepted(Seq(3))]);
    assert_eq!((site.rows()["events"], site.backlog()), (3, 3), "nothing stored, nothing owed");
    site.reopen();
    assert_eq!(verdicts(&site, &["a", "b", "c", "d"]), [Duplicate, Duplicate, Duplicate, Accepted(Seq(4))]);
}

#[test]
fn an_id_that_nobody_was_owed_is_remembered_too() {
    let mut site = Site::new(1);
    let nobodys = IngestEvent { owed: Vec::new(), ..given("a") };
    assert_eq!(site.try_ingest(vec![nobodys]).unwrap().verdicts, [Accepted(Seq(1))]);
    site.reopen();
    assert_eq!(verdicts(&site, &["a"]), [Duplicate]);
}

#[test]
fn ids_we_made_and_ids_of_other_channels_do_not_collide() {
    let site = Site::new(1);
    verdicts(&site, &["a"]);
    let other_channel = IngestEvent { channel_no: ChannelNo(2), ..given("a") };
    let made = event("a", &[(1, true)]);
    let receipt = site.try_ingest(vec![other_channel, made]).unwrap();
    assert_eq!(receipt.verdicts, [Accepted(Seq(2)), Accepted(Seq(3))]);
}

#[test]
fn the_window_ends_by_count_the_same_after_a_restart() {
    let mut site = Site::with(1, |options| options.idempotency_ids_max = 3);
    verdicts(&site, &["a", "b"]);
    verdicts(&site, &["c", "d"]);
    site.reopen();
    assert_eq!(verdicts(&site, &["b", "c", "d"]), [Duplicate; 3]);
    assert_eq!(verdicts(&site, &["a"]), [Accepted(Seq(5))], "the oldest of four has left");
    site.reopen();
    assert_eq!(verdicts(&site, &["c", "d", "a"]), [Duplicate; 3]);
    assert_eq!(verdicts(&site, &["b"]), [Accepted(Seq(6))]);
}

#[test]
fn the_window_ends_by_age_the_same_after_a_restart() {
    let mut site = Site::with(1, |options| options.idempotency_age_ms = 1000);
    verdicts(&site, &["old"]);
    site.clock.advance_ms(600);
    verdicts(&site, &["young"]);
    site.clock.advance_ms(399);
    assert_eq!(verdicts(&site, &["old", "young"]), [Duplicate; 2], "repeats do not prolong it");
    site.clock.advance_ms(1);
    site.reopen();
    assert_eq!(verdicts(&site, &["young", "old"]), [Duplicate, Accepted(Seq(3))]);
    site.clock.advance_ms(600);
    assert_eq!(verdicts(&site, &["old", "young"]), [Duplicate, Accepted(Seq(4))]);
    // What left the window left the disk.
    let ids = |site: &Site| site.store().row_counts().unwrap().into_iter().find(|(name, _)| *name == "ids");
    assert_eq!(ids(&site), Some(("ids", 2)));
}
