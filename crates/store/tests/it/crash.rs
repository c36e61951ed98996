//! Copies of the data file taken while the store works, as a crash would leave it: everything acknowledged is owed or
//! was settled, and what was committed as settled does not come back.

use crate::support::{
    ManualClock, START_MS, Site, dead, event, open, retry, settlement, settlement_of, wait,
};
use fanfare_core::delivery::{Ending, Settlement};
use fanfare_core::ports::{IngestVerdict, PageRequest, Store};
use fanfare_core::{Seq, WebhookNo};
use fanfare_store::LmdbStore;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const WEBHOOKS: u32 = 3;
const COPIES: usize = 40;

type Delivery = (Seq, u32);

/// What the worker knows at one moment.
#[derive(Clone, Default)]
struct Known {
    /// Its ingest was answered.
    acknowledged: BTreeSet<Delivery>,
    /// An ending was handed over, perhaps not committed.
    settling: BTreeSet<Delivery>,
    /// Its success was committed.
    delivered: BTreeSet<Delivery>,
    /// Its retry was committed.
    retried: BTreeSet<Delivery>,
}

/// Numbers without a source of randomness, so that a run is like the one before but for its timing.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Ingests and settles until told to stop.
fn work(site: &Site, known: &Mutex<Known>, stop: &AtomicBool) {
    let mut numbers = Numbers(1);
    let mut open: Vec<(Delivery, u32)> = Vec::new();
    for round in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let owed: Vec<Vec<(u32, bool)>> = (0..=numbers.next(6))
            .map(|_| {
                let mut owed = Vec::new();
                for no in 1..=WEBHOOKS {
                    if numbers.next(3) > 0 {
                        owed.push((no, numbers.next(4) > 0));
                    }
                }
                owed
            })
            .collect();
        let batch = (0..).zip(&owed).map(|(n, owed)| event(&format!("e{round}-{n}"), owed)).collect();
        let receipt = site.try_ingest(batch).unwrap();
        {
            let mut known = known.lock().unwrap();
            for (verdict, owed) in receipt.verdicts.iter().zip(&owed) {
                let IngestVerdict::Accepted(seq) = verdict else { panic!("taken for a duplicate") };
                for (index, (webhook, _)) in (0..).zip(owed) {
                    known.acknowledged.insert((*seq, *webhook));
                    open.push(((*seq, *webhook), index));
                }
            }
        }
        let mut settlements = Vec::new();
        let (mut delivered, mut retried) = (Vec::new(), Vec::new());
        // Keeps about a hundred open, so that the file stays small and rows of every kind come and go.
        while open.len() > 100 || (!open.is_empty() && numbers.next(3) == 0) {
            let at = usize::try_from(numbers.next(open.len() as u64)).unwrap();
            let ((seq, webhook), index) = open.swap_remove(at);
            let ending = if numbers.next(8) == 0 {
                retried.push((seq, webhook));
                retry(START_MS + numbers.next(1000))
            } else {
                delivered.push((seq, webhook));
                Ending::Delivered
            };
            settlements.push(settlement(webhook, seq, index, ending));
        }
        known.lock().unwrap().settling.extend(delivered.iter().chain(&retried));
        site.settle(settlements);
        let mut known = known.lock().unwrap();
        known.delivered.extend(delivered);
        known.retried.extend(retried);
    }
}

/// Number of the newest transaction that the file's two meta pages name.
fn newest_transaction(file: &File) -> u64 {
    // Page header, magic, version, address, map size, two tables of 48 bytes, last page.
    const PLACE: u64 = 16 + 4 + 4 + 8 + 8 + 2 * 48 + 8;
    let mut number = [0; 8];
    let mut read = |at: u64| {
        file.read_exact_at(&mut number, at).unwrap();
        u64::from_ne_bytes(number)
    };
    read(PLACE).max(read(4096 + PLACE))
}

/// The file as a crash might leave it: with the newest transaction whole and any part of the next one.
pub(crate) fn crashed(path: &Path) -> Vec<u8> {
    for _ in 0..100_000 {
        let file = File::open(path).unwrap();
        let before = newest_transaction(&file);
        let bytes = std::fs::read(path).unwrap();
        if newest_transaction(&file) == before {
            return bytes;
        }
    }
    panic!("the file never stood still for the time of a copy");
}

fn owed(store: &LmdbStore) -> (Vec<Delivery>, Vec<Delivery>) {
    let (mut parked, mut retries) = (Vec::new(), Vec::new());
    for no in 1..=WEBHOOKS {
        let webhook = WebhookNo(no);
        let page = PageRequest { webhook, from: Seq(0), deliveries_max: usize::MAX, bytes_max: usize::MAX };
        parked.extend(wait(store.page(page)).unwrap().owed.iter().map(|owed| (owed.event.seq, no)));
        let (due, _) = wait(store.due(webhook, u64::MAX, usize::MAX)).unwrap();
        retries.extend(due.iter().map(|owed| (owed.event.seq, no)));
    }
    (parked, retries)
}

fn check_copy(file: &[u8], clock: Arc<ManualClock>, before: &Known, after: &Known) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data.mdb"), file).unwrap();
    let store = open(dir.path(), clock, |_| {}).unwrap();
    let (parked, retries) = owed(&store);
    let all: BTreeSet<Delivery> = parked.iter().chain(&retries).copied().collect();
    assert_eq!(all.len(), parked.len() + retries.len(), "a delivery is owed twice");
    for delivery in before.acknowledged.difference(&after.settling) {
        assert!(parked.contains(delivery), "{delivery:?} was acknowledged and is lost");
    }
    for delivery in &before.retried {
        assert!(retries.contains(delivery), "the retry of {delivery:?} is lost");
    }
    if let Some(back) = all.intersection(&before.delivered).next() {
        panic!("{back:?} was committed as delivered and came back");
    }
    let stats = store.stats();
    assert_eq!((stats.backlog_deliveries, stats.damaged_records), (all.len() as u64, 0));
}

/// Ends the worker also when a check fails, so that the failure is seen instead of waited for.
pub(crate) struct StopOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_crash_at_any_moment_loses_nothing_acknowledged() {
    // A small tail, so that checkpoints are among what is interrupted.
    let site = Site::with(WEBHOOKS, |options| options.tail_events_max = 32);
    let known = Mutex::new(Known::default());
    let stop = AtomicBool::new(false);
    let path = site.dir.path().join("data.mdb");
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| work(&site, &known, &stop));
        let _stopped = StopOnDrop(&stop);
        for _ in 0..COPIES {
            let before = known.lock().unwrap().clone();
            let file = crashed(&path);
            let after = known.lock().unwrap().clone();
            check_copy(&file, Arc::clone(&site.clock), &before, &after);
            if worker.is_finished() {
                break;
            }
        }
    });
    let known = known.lock().unwrap();
    assert!(known.delivered.len() > COPIES && !known.retried.is_empty(), "the store was at work");
}

/// Dead letters of webhook 1: where each certainly is at one moment.
#[derive(Clone, Default)]
struct Letters {
    /// Given up and committed.
    dead: BTreeSet<Seq>,
    /// A redrive of it was asked for.
    redriving: BTreeSet<Seq>,
    /// The redrive was answered.
    redriven: BTreeSet<Seq>,
    /// Its second ending was handed over.
    ending: BTreeSet<Seq>,
}

/// Gives up, puts back, delivers, and lets an hour pass: each round anew, until told to stop.
fn put_back(site: &Site, known: &Mutex<Letters>, stop: &AtomicBool) {
    for round in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        site.clock.advance_ms(3_600_000);
        let now_ms = START_MS + (round + 1) * 3_600_000;
        let events = (0..40).map(|n| event(&format!("e{round}-{n}"), &[(1, n % 2 == 0)])).collect();
        let seqs = site.ingest(events);
        let give_up = |seq: &Seq| Settlement { at_ms: now_ms, ..settlement(1, *seq, 0, dead()) };
        site.settle(seqs.iter().map(give_up).collect());
        {
            let mut known = known.lock().unwrap();
            known.dead.extend(&seqs);
            if round % 3 == 0 {
                let all = known.dead.clone();
                known.redriving.extend(&all);
            }
        }
        if round % 3 != 0 {
            continue;
        }
        site.redrive_dead(1, now_ms);
        let (due, _) = site.due(1, u64::MAX);
        {
            let mut known = known.lock().unwrap();
            known.redriven.extend(due.iter().map(|owed| owed.event.seq));
            known.ending.extend(due.iter().skip(5).map(|owed| owed.event.seq));
        }
        site.settle(due.iter().skip(5).map(|owed| settlement_of(1, owed, Ending::Delivered)).collect());
    }
}

fn check_letters(file: &[u8], before: &Letters, after: &Letters) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data.mdb"), file).unwrap();
    // A clock at its start: nothing is swept while this looks.
    let site = Site::at(dir, Arc::new(ManualClock::default()), aging);
    let (parked, retries) = owed(site.store());
    let dead: BTreeSet<Seq> = site.dead(1).iter().map(|dead| dead.key.seq).collect();
    let pending: BTreeSet<Seq> = parked.iter().chain(&retries).map(|(seq, _)| *seq).collect();
    assert!(dead.is_disjoint(&pending), "dead and owed at once");
    for seq in before.redriven.difference(&after.ending) {
        assert!(pending.contains(seq), "{seq:?} was put back and is lost");
    }
    for seq in before.dead.difference(&after.redriving) {
        assert!(!pending.contains(seq), "{seq:?} is owed though nobody put it back");
    }
    let stats = site.store().stats();
    assert_eq!((stats.backlog_deliveries, stats.dead_letters), (pending.len() as u64, dead.len() as u64));
    assert_eq!(site.rows().get("events").copied().unwrap_or(0), (pending.len() + dead.len()) as u64);
    assert_eq!(stats.damaged_records, 0);
}

/// Dead letters go after an hour, so that sweeps are among what is interrupted.
fn aging(options: &mut fanfare_store::StoreOptions) {
    options.retention.dead_letters_seconds = 3600;
}

#[test]
fn a_crash_while_dead_letters_are_put_back_or_swept_leaves_each_in_one_place() {
    let site = Site::with(1, aging);
    let known = Mutex::new(Letters::default());
    let stop = AtomicBool::new(false);
    let path = site.dir.path().join("data.mdb");
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| put_back(&site, &known, &stop));
        let _stopped = StopOnDrop(&stop);
        for _ in 0..COPIES {
            let before = known.lock().unwrap().clone();
            let file = crashed(&path);
            let after = known.lock().unwrap().clone();
            check_letters(&file, &before, &after);
            if worker.is_finished() {
                break;
            }
        }
    });
    let known = known.lock().unwrap();
    assert!(known.redriven.len() > COPIES, "the store was at work");
    let kept = site.store().stats().dead_letters;
    assert!(kept < known.dead.difference(&known.redriven).count() as u64, "some were swept");
}
