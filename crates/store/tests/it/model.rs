//! Random sequences of everything callers do, against a model of a few lines: what is owed, and what is left on disk.

use crate::support::{START_MS, Site, dead, event, retry, settlement, wait};
use fanfare_core::delivery::{DeliveryStatus, Ending, Origin, Settlement};
use fanfare_core::ports::history::{DeliveryFilter, RedriveRequest};
use fanfare_core::ports::{CatalogChange, IngestEvent, IngestVerdict, Store};
use fanfare_core::{Seq, WebhookNo};
use fanfare_store::StoreOptions;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const WEBHOOKS: u32 = 4;
const IDS_MAX: usize = 4;
/// Longer than everything is kept.
const AGE_MS: u64 = 40 * 24 * 3_600_000;

#[derive(Clone, Debug)]
enum Op {
    /// Events: who is owed each (bits), who of them has it handed over in memory (bits), a producer's id or none.
    Ingest(Vec<(u8, u8, Option<u8>)>),
    /// Endings: which delivery, counted over all there ever were, and how.
    Settle(Vec<(u16, u8)>),
    ParkAll(u32),
    DropChunks(u32),
    /// Puts back a webhook's dead letters, or, where bodies are kept, what was skipped.
    Redrive(u32, DeliveryStatus),
    Delete(u32),
    Reopen,
    /// Dead letters, attempts and bodies grow too old.
    Age,
}

fn op() -> impl Strategy<Value = Op> {
    let events = vec((0_u8..16, any::<u8>(), proptest::option::weighted(0.3, 0_u8..7)), 1..5);
    prop_oneof![
        6 => events.prop_map(Op::Ingest),
        6 => vec((any::<u16>(), 0_u8..=UNRENDERED), 1..8).prop_map(Op::Settle),
        1 => (1..=WEBHOOKS).prop_map(Op::ParkAll),
        1 => (1..=WEBHOOKS).prop_map(Op::DropChunks),
        2 => (1..=WEBHOOKS, any::<bool>()).prop_map(|(no, is_dead)| {
            Op::Redrive(no, if is_dead { DeliveryStatus::Dead } else { DeliveryStatus::Skipped })
        }),
        1 => proptest::option::weighted(0.3, 1..=WEBHOOKS)
            .prop_map(|no| no.map_or(Op::Reopen, Op::Delete)),
        1 => proptest::option::weighted(0.5, Just(Op::Age)).prop_map(|op| op.unwrap_or(Op::Reopen)),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Open,
    Retry(u64),
    Dead,
    Ended,
}

#[derive(Clone, Debug)]
struct Delivery {
    index: u32,
    /// One until a settlement tells of more.
    bodies: Vec<Body>,
}

/// Number of the ending that a rendering which failed comes to.
const UNRENDERED: u8 = 5;

/// How many bodies the event has for the webhook: one, but for every third event.
fn body_count(seq: Seq, webhook: u32) -> u16 {
    if seq.0.is_multiple_of(3) { 1 + u16::try_from(webhook % 3).unwrap() } else { 1 }
}

#[derive(Default)]
struct Model {
    deliveries: BTreeMap<(Seq, u32), Delivery>,
    next_seq: u64,
    ids: VecDeque<u8>,
    deleted: BTreeSet<u32>,
    now_ms: u64,
    /// Whether bodies are kept after all has ended.
    keeps: bool,
    /// Events that took a row and when they were accepted, and up to where those that ended are no longer kept.
    events: BTreeMap<Seq, u64>,
    swept: Seq,
    /// Skips that were recorded, whatever became of their deliveries since.
    skips: BTreeSet<(Seq, u32, u16)>,
}

impl Model {
    fn of(&self, webhook: u32) -> impl Iterator<Item = (Seq, &Delivery)> {
        self.deliveries.iter().filter(move |((_, no), _)| *no == webhook).map(|((seq, _), d)| (*seq, d))
    }

    fn count(&self, is_counted: impl Fn(&Body) -> bool) -> u64 {
        self.deliveries.values().flat_map(|d| &d.bodies).filter(|body| is_counted(body)).count() as u64
    }

    /// Events whose rows are there.
    fn kept(&self) -> BTreeSet<Seq> {
        let needed = self.deliveries.iter().filter(|(_, d)| d.bodies.iter().any(|body| *body != Body::Ended));
        let mut kept: BTreeSet<Seq> = needed.map(|((seq, _), _)| *seq).collect();
        if self.keeps {
            kept.extend(self.events.range(self.swept..).map(|(seq, _)| *seq));
        }
        kept
    }

    /// Turns what fits into retries that are due now; gives how many.
    fn redrive(&mut self, webhook: u32, status: DeliveryStatus) -> u64 {
        let (now_ms, kept, skips) = (self.now_ms, self.kept(), self.skips.clone());
        let mut count = 0;
        for ((seq, no), delivery) in &mut self.deliveries {
            for (part, body) in (0..).zip(&mut delivery.bodies) {
                let fits = match status {
                    DeliveryStatus::Dead => *body == Body::Dead,
                    _ => *body == Body::Ended && skips.contains(&(*seq, *no, part)) && kept.contains(seq),
                };
                if fits && *no == webhook {
                    *body = Body::Retry(now_ms);
                    count += 1;
                }
            }
        }
        count
    }

    fn age(&mut self) {
        self.now_ms += AGE_MS;
        self.ids.clear();
        self.skips.clear();
        self.swept = Seq(self.next_seq + 1);
        let bodies = self.deliveries.values_mut().flat_map(|d| &mut d.bodies);
        bodies.filter(|body| **body == Body::Dead).for_each(|body| *body = Body::Ended);
    }

    /// Applies an ending by the store's rules and gives the settlement.
    fn settle(&mut self, pick: u16, how: u8) -> Option<Settlement> {
        let at = usize::from(pick) % self.deliveries.len().max(1);
        let ((seq, webhook), delivery) = self.deliveries.iter_mut().nth(at)?;
        // A first rendering that fails tells of one body; its row stands for all there may be.
        let is_unrendered = how == UNRENDERED && delivery.bodies.len() == 1;
        let count = if is_unrendered { 1 } else { body_count(*seq, *webhook) };
        let part = (pick / 7) % count;
        let due_ms = START_MS + u64::from(pick % 50);
        let (ending, to) = match how {
            0 | 1 => (Ending::Delivered, Body::Ended),
            2 | UNRENDERED => (retry(due_ms), Body::Retry(due_ms)),
            3 => (dead(), Body::Dead),
            _ => (Ending::Skipped { reason: "r".into() }, Body::Ended),
        };
        if let [Body::Retry(due_ms)] = delivery.bodies[..] {
            delivery.bodies.resize(usize::from(count), Body::Retry(due_ms));
        }
        let known = match delivery.bodies[..] {
            // It ended with all its bodies.
            [ended] if ended != Body::Open => Some(ended),
            _ => delivery.bodies.get(usize::from(part)).copied(),
        };
        let origin = match known {
            Some(Body::Retry(due_ms)) => Origin::Retry { due_ms },
            _ => Origin::Direct,
        };
        // What has ended stays so: a repeat changes nothing.
        if matches!(known, None | Some(Body::Open | Body::Retry(_))) {
            delivery.bodies.resize(usize::from(count), Body::Open);
            delivery.bodies[usize::from(part)] = to;
            if matches!(ending, Ending::Skipped { .. }) {
                self.skips.insert((*seq, *webhook, part));
            }
        }
        Some(Settlement {
            at_ms: self.now_ms,
            part,
            part_count: count,
            origin,
            ..settlement(*webhook, *seq, delivery.index, ending)
        })
    }
}

fn options(options: &mut StoreOptions) {
    options.tail_events_max = 3;
    options.idempotency_ids_max = IDS_MAX;
}

fn keeping_options(options: &mut StoreOptions) {
    self::options(options);
    options.retention.bodies_seconds = 24 * 3600;
}

fn ingest(site: &Site, model: &mut Model, events: &[(u8, u8, Option<u8>)]) {
    let mut batch = Vec::new();
    let mut expected = Vec::new();
    for (owed, in_memory, id) in events {
        let owed: Vec<(u32, bool)> = (1..=WEBHOOKS)
            .filter(|no| owed & (1 << (no - 1)) != 0)
            .map(|no| (no, in_memory & (1 << (no - 1)) != 0))
            .collect();
        let name = id.map_or("made".to_owned(), |id| format!("id{id}"));
        let mut item = IngestEvent { is_deduplicated: id.is_some(), ..event(&name, &owed) };
        item.event.accepted_at_ms = model.now_ms;
        batch.push(item);
        if let Some(id) = id {
            if model.ids.contains(id) {
                expected.push(IngestVerdict::Duplicate);
                continue;
            }
            model.ids.push_back(*id);
            if model.ids.len() > IDS_MAX {
                model.ids.pop_front();
            }
        }
        model.next_seq += 1;
        let seq = Seq(model.next_seq);
        expected.push(IngestVerdict::Accepted(seq));
        if !owed.is_empty() {
            model.events.insert(seq, model.now_ms);
        }
        for (index, (webhook, _)) in (0..).zip(owed) {
            if !model.deleted.contains(&webhook) {
                model.deliveries.insert((seq, webhook), Delivery { index, bodies: vec![Body::Open] });
            }
        }
    }
    assert_eq!(site.try_ingest(batch).unwrap().verdicts, expected);
}

/// What must hold at any time; with `is_listed`, everything waiting is in the backlog index.
fn check(site: &Site, model: &Model, webhook: u32, is_listed: bool) {
    let open: Vec<(Seq, u32, Vec<u16>)> = model
        .of(webhook)
        .filter(|(_, d)| d.bodies.contains(&Body::Open))
        .map(|(seq, d)| {
            let settled =
                (0..).zip(&d.bodies).filter(|(_, body)| **body != Body::Open).map(|(n, _)| n).collect();
            (seq, d.index, settled)
        })
        .collect();
    let parked: Vec<(Seq, u32, Vec<u16>)> = site
        .parked(webhook)
        .into_iter()
        .map(|owed| (owed.event.seq, owed.index, owed.settled_parts))
        .collect();
    if is_listed {
        assert_eq!(parked, open, "backlog of webhook {webhook}");
    } else {
        assert!(parked.iter().all(|owed| open.contains(owed)), "{parked:?} of {open:?}");
        assert!(parked.is_sorted_by_key(|(seq, ..)| *seq), "{parked:?}");
    }
    let mut retries: Vec<(u64, Seq, u16)> = model
        .of(webhook)
        .flat_map(|(seq, d)| (0..).zip(&d.bodies).map(move |(part, body)| (seq, part, *body)))
        .filter_map(|(seq, part, body)| match body {
            Body::Retry(due_ms) => Some((due_ms, seq, part)),
            _ => None,
        })
        .collect();
    retries.sort_unstable();
    let (due, _) = site.due(webhook, u64::MAX);
    let due: Vec<(u64, Seq, u16)> = due
        .iter()
        .map(|owed| match owed.origin {
            Origin::Retry { due_ms } => (due_ms, owed.event.seq, owed.part.unwrap()),
            origin => panic!("a retry of origin {origin:?}"),
        })
        .collect();
    assert_eq!(due, retries, "retries of webhook {webhook}");
}

fn check_counts(site: &Site, model: &Model) {
    assert_eq!(site.backlog(), model.count(|body| matches!(body, Body::Open | Body::Retry(_))));
    assert_eq!(site.store().stats().dead_letters, model.count(|body| *body == Body::Dead));
    let is_pending = |body: &Body| matches!(body, Body::Open | Body::Retry(_));
    let mut pending = model.deliveries.iter().filter(|(_, d)| d.bodies.iter().any(is_pending));
    let oldest = pending.next().map(|((seq, _), _)| model.events[seq]);
    assert_eq!(site.store().stats().oldest_pending_ms, oldest);
    let kept = model.kept();
    let rows = site.rows();
    assert_eq!(rows.get("events").copied().unwrap_or(0), kept.len() as u64, "{kept:?}");
    assert!(rows.get("progress").copied().unwrap_or(0) <= kept.len() as u64);
    assert_eq!(site.store().stats().damaged_records, 0);
}

fn run(ops: &[Op], keeps: bool) {
    let mut site = Site::with(WEBHOOKS, if keeps { keeping_options } else { options });
    let mut model = Model { keeps, now_ms: START_MS, ..Model::default() };
    for op in ops {
        let mut listed = 0..0;
        match op {
            Op::Ingest(events) => ingest(&site, &mut model, events),
            Op::Settle(endings) => {
                let settlements =
                    endings.iter().filter_map(|(pick, how)| model.settle(*pick, *how)).collect();
                site.settle(settlements);
            }
            Op::ParkAll(no) => {
                wait(site.store().park_all(WebhookNo(*no))).unwrap();
                listed = *no..no + 1;
            }
            // All of them, whether or not anything in them is still owed: the store knows better.
            Op::DropChunks(no) => {
                let chunks = site.page(*no, Seq(0), usize::MAX).chunks;
                site.settle_and_drop(Vec::new(), chunks.into_iter().map(|chunk| (*no, chunk)).collect());
            }
            Op::Redrive(no, status) => {
                let filter = DeliveryFilter { status: Some(*status), ..Default::default() };
                let redriven = site.redrive(*no, RedriveRequest::Many(filter), model.now_ms);
                assert_eq!(redriven.count, model.redrive(*no, *status), "{status:?}");
            }
            Op::Age => {
                model.age();
                site.pass_ms_in(AGE_MS, 3);
            }
            Op::Delete(no) => {
                wait(site.store().change(vec![CatalogChange::DeleteWebhook(WebhookNo(*no))])).unwrap();
                site.finish_reaping();
                model.deleted.insert(*no);
                model.deliveries.retain(|(_, webhook), _| webhook != no);
            }
            Op::Reopen => {
                site.reopen();
                listed = 1..WEBHOOKS + 1;
            }
        }
        for no in 1..=WEBHOOKS {
            check(&site, &model, no, listed.contains(&no));
        }
        check_counts(&site, &model);
    }
    site.reopen();
    for no in 1..=WEBHOOKS {
        check(&site, &model, no, true);
    }
    check_counts(&site, &model);
}

proptest! {
    // Each case syncs a few hundred commits to disk.
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_owed_follows_the_model(ops in vec(op(), 1..40), keeps in any::<bool>()) {
        run(&ops, keeps);
    }
}
