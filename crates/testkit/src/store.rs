//! The Store port in memory, with the same promises: an executable description of what `crates/store` does on disk.

use fanfare_core::delivery::{DeliveryKey, Ending, Origin, Owed, Progress, Settlement};
use fanfare_core::event::Event;
use fanfare_core::limits::BACKLOG_ROW_DELIVERIES_MAX;
use fanfare_core::ports::{
    CatalogChange, CatalogEntry, DueRetries, IngestEvent, IngestReceipt, IngestVerdict, Page, PageRequest,
    SendFuture, SettleBatch, Store, StoreError, StoreStats, WaitingKey, WaitingKeys, WebhookRoute,
};
use fanfare_core::webhook::{Account, ApiKey, Channel, Webhook, WebhookStatus};
use fanfare_core::{AccountId, ChannelNo, KeyId, Secret, Seq, WebhookNo};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub mod faulty;
mod history;
mod looking;

/// As the tail of `crates/store` spans far more commits than are under way at once, nothing is moved out of this one's
/// before so many have passed: whoever is handed it has heard of it by then.
const TAIL_COMMITS: u64 = 64;

/// How an entry (one webhook of one event) stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryState {
    Waiting,
    Parked,
    OwnRow,
    Done,
}

#[derive(Clone, Debug)]
struct StoredEvent {
    /// Commits made before its own.
    commit: u64,
    event: Arc<Event>,
    owed: Vec<(WebhookNo, EntryState)>,
    /// State of each body, for entries with several.
    parts: HashMap<u32, Vec<EntryState>>,
}

/// A retry or dead letter.
#[derive(Clone, Debug)]
struct Row {
    index: u32,
    progress: Progress,
    reason: Option<String>,
    key: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct State {
    accounts: BTreeMap<AccountId, Account>,
    keys: BTreeMap<KeyId, ApiKey>,
    channels: BTreeMap<ChannelNo, Channel>,
    webhooks: BTreeMap<WebhookNo, Webhook>,
    next_no: u32,
    next_seq: u64,
    ids: HashSet<(ChannelNo, String)>,
    events: BTreeMap<Seq, StoredEvent>,
    parked: BTreeMap<(WebhookNo, Seq), Vec<Seq>>,
    retries: BTreeMap<(WebhookNo, u64, Seq, u16), Row>,
    dead: BTreeMap<(WebhookNo, Seq, u16), Row>,
    settled: Vec<Settlement>,
    commits: u64,
    /// How many events back what was handed over in memory may lie before it is moved into the backlog index.
    tail_events_max: Option<u64>,
}

/// A store that forgets only when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    refusal: Mutex<Option<StoreError>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(MemoryStore::default())
    }

    /// What a crash leaves: everything committed, nothing handed over in memory. As `crates/store` does when it is
    /// opened, all that is owed and has no row yet goes into the backlog index.
    #[must_use]
    pub fn reopen(&self) -> Arc<Self> {
        let mut state = self.state.lock().clone();
        let nos: Vec<WebhookNo> = state.webhooks.keys().copied().collect();
        for no in nos {
            state.park_all(no);
        }
        Arc::new(MemoryStore { state: Mutex::new(state), refusal: Mutex::new(None) })
    }

    /// Makes ingest fail so until told otherwise.
    pub fn refuse_events(&self, error: Option<StoreError>) {
        *self.refusal.lock() = error;
    }

    /// As `crates/store` bounds its tail: what was handed over in memory and lies further back than so many events goes
    /// into the backlog index with the next ingest commit, whose receipt says so.
    pub fn bound_tail(&self, events_max: u64) {
        self.state.lock().tail_events_max = Some(events_max);
    }
}

impl State {
    fn ingest(&mut self, batch: Vec<IngestEvent>) -> IngestReceipt {
        let mut verdicts = Vec::with_capacity(batch.len());
        let mut chunks: BTreeMap<WebhookNo, Vec<Seq>> = BTreeMap::new();
        for item in batch {
            if item.is_deduplicated && !self.ids.insert((item.channel_no, item.event.id.as_str().to_owned()))
            {
                verdicts.push(IngestVerdict::Duplicate);
                continue;
            }
            self.next_seq += 1;
            let seq = Seq(self.next_seq);
            verdicts.push(IngestVerdict::Accepted(seq));
            if let (Some(phone), Some(channel)) = (item.new_phone, self.channels.get_mut(&item.channel_no)) {
                channel.phone = Some(phone);
            }
            if item.owed.is_empty() {
                continue;
            }
            let mut owed = Vec::new();
            for (no, is_direct) in item.owed {
                let state = match (self.webhooks.contains_key(&no), is_direct) {
                    // Deleted while the batch was on its way: nobody would ever settle it.
                    (false, _) => EntryState::Done,
                    (true, true) => EntryState::Waiting,
                    (true, false) => EntryState::Parked,
                };
                owed.push((no, state));
                if state == EntryState::Parked {
                    chunks.entry(no).or_default().push(seq);
                }
            }
            if owed.iter().all(|(_, state)| *state == EntryState::Done) {
                continue;
            }
            let event = Arc::new(Event { seq, ..item.event });
            let commit = self.commits;
            self.events.insert(seq, StoredEvent { commit, event, owed, parts: HashMap::new() });
        }
        chunks.into_iter().for_each(|(no, seqs)| self.add_rows(no, &seqs));
        self.commits += 1;
        IngestReceipt { verdicts, also_parked: self.shorten_tail() }
    }

    /// Moves what lies too far back into the backlog index: for which webhooks.
    fn shorten_tail(&mut self) -> Vec<WebhookNo> {
        let Some(first) = self.tail_events_max.and_then(|max| self.next_seq.checked_sub(max)) else {
            return Vec::new();
        };
        let mut rows: BTreeMap<WebhookNo, Vec<Seq>> = BTreeMap::new();
        let is_heard_of = |stored: &StoredEvent| self.commits - stored.commit > TAIL_COMMITS;
        for (seq, stored) in self.events.range_mut(..Seq(first)).filter(|(_, stored)| is_heard_of(stored)) {
            for (no, state) in &mut stored.owed {
                if *state == EntryState::Waiting {
                    *state = EntryState::Parked;
                    rows.entry(*no).or_default().push(*seq);
                }
            }
        }
        let webhooks = rows.keys().copied().collect();
        rows.into_iter().for_each(|(no, seqs)| self.add_rows(no, &seqs));
        webhooks
    }

    /// Adds deliveries, in order of events, to a backlog index.
    fn add_rows(&mut self, no: WebhookNo, seqs: &[Seq]) {
        for row in seqs.chunks(BACKLOG_ROW_DELIVERIES_MAX) {
            if let Some(first) = row.first() {
                self.parked.entry((no, *first)).or_default().extend(row);
            }
        }
    }

    fn settle(&mut self, settlement: Settlement) {
        let s = &settlement;
        if let Origin::Retry { due_ms } = s.origin {
            self.take_apart(s, due_ms);
            self.retries.remove(&(s.webhook, due_ms, s.seq, s.part));
        }
        let state = match &s.ending {
            Ending::Delivered | Ending::Skipped { .. } | Ending::Dropped => EntryState::Done,
            Ending::Retry { .. } | Ending::Dead { .. } => EntryState::OwnRow,
        };
        let Some(stored) = self.events.get_mut(&s.seq) else { return };
        let Some(entry) = stored.owed.get_mut(s.index as usize) else { return };
        if entry.1 == EntryState::Done {
            return;
        }
        if s.part_count > 1 || stored.parts.contains_key(&s.index) {
            let count = usize::from(s.part_count.max(1));
            let parts = stored.parts.entry(s.index).or_insert_with(|| vec![EntryState::Waiting; count]);
            if let Some(part) = parts.get_mut(usize::from(s.part)) {
                *part = state;
            }
            if parts.iter().all(|p| *p == EntryState::Done) {
                entry.1 = EntryState::Done;
            } else if parts.iter().all(|p| matches!(p, EntryState::Done | EntryState::OwnRow)) {
                entry.1 = EntryState::OwnRow;
            }
        } else {
            entry.1 = state;
        }
        if stored.owed.iter().all(|(_, state)| *state == EntryState::Done) {
            self.events.remove(&s.seq);
        }
        match &s.ending {
            Ending::Retry { due_ms, progress } => {
                let row = Row { index: s.index, progress: *progress, reason: None, key: s.key };
                self.retries.insert((s.webhook, *due_ms, s.seq, s.part), row);
            }
            Ending::Dead { reason, progress } => {
                let row =
                    Row { index: s.index, progress: *progress, reason: Some(reason.clone()), key: s.key };
                self.dead.insert((s.webhook, s.seq, s.part), row);
            }
            Ending::Delivered | Ending::Skipped { .. } | Ending::Dropped => {}
        }
        self.settled.push(settlement);
    }

    /// A retry that stood for all bodies gives each of them a row.
    fn take_apart(&mut self, s: &Settlement, due_ms: u64) {
        let Some(stored) = self.events.get_mut(&s.seq) else { return };
        if s.part_count <= 1 || stored.parts.contains_key(&s.index) {
            return;
        }
        let Some(row) = self.retries.get(&(s.webhook, due_ms, s.seq, 0)).cloned() else { return };
        stored.parts.insert(s.index, vec![EntryState::OwnRow; usize::from(s.part_count)]);
        self.retries.extend((1..s.part_count).map(|part| ((s.webhook, due_ms, s.seq, part), row.clone())));
    }

    fn park_all(&mut self, no: WebhookNo) {
        let mut seqs = Vec::new();
        for (seq, stored) in &mut self.events {
            for (owner, state) in &mut stored.owed {
                if *owner == no && *state == EntryState::Waiting {
                    *state = EntryState::Parked;
                    seqs.push(*seq);
                }
            }
        }
        self.add_rows(no, &seqs);
    }

    fn page(&self, request: PageRequest) -> Page {
        let mut page = Page::default();
        let (mut count, mut bytes) = (0, 0);
        let last = (request.webhook, Seq(u64::MAX));
        for ((_, chunk), seqs) in self.parked.range((request.webhook, request.from)..=last) {
            if count >= request.deliveries_max || bytes >= request.bytes_max {
                page.next = Some(*chunk);
                break;
            }
            page.chunks.push(*chunk);
            for seq in seqs {
                let Some(stored) = self.events.get(seq) else { continue };
                let found = stored.owed.iter().position(|(no, _)| *no == request.webhook);
                let Some(index) = found.and_then(|index| u32::try_from(index).ok()) else { continue };
                let state = stored.owed.get(index as usize).map(|(_, state)| *state);
                if matches!(state, Some(EntryState::OwnRow | EntryState::Done)) {
                    continue;
                }
                count += 1;
                bytes += stored.event.envelope.len();
                let ended = stored.parts.get(&index).map_or_else(Vec::new, |parts| {
                    (0_u16..)
                        .zip(parts)
                        .filter(|(_, state)| matches!(state, EntryState::OwnRow | EntryState::Done))
                        .map(|(part, _)| part)
                        .collect()
                });
                page.owed.push(Owed {
                    event: Arc::clone(&stored.event),
                    index,
                    part: None,
                    is_alone: false,
                    settled_parts: ended,
                    progress: Progress::first(stored.event.accepted_at_ms),
                    origin: Origin::Parked { chunk: *chunk },
                });
            }
        }
        page
    }

    fn due(&self, no: WebhookNo, until_ms: u64, count_max: usize) -> DueRetries {
        let mut owed = Vec::new();
        for ((owner, due_ms, seq, part), row) in self.retries.range((no, 0, Seq(0), 0)..) {
            if *owner != no {
                break;
            }
            if *due_ms > until_ms || owed.len() >= count_max {
                return (owed, Some(*due_ms));
            }
            let Some(stored) = self.events.get(seq) else { continue };
            owed.push(Owed {
                event: Arc::clone(&stored.event),
                index: row.index,
                part: Some(*part),
                is_alone: *part == 0 && !stored.parts.contains_key(&row.index),
                settled_parts: Vec::new(),
                progress: row.progress,
                origin: Origin::Retry { due_ms: *due_ms },
            });
        }
        (owed, None)
    }

    fn change(&mut self, change: CatalogChange) {
        match change {
            CatalogChange::PutAccount(account) => {
                self.accounts.insert(account.id.clone(), account);
            }
            CatalogChange::PutKey(key) => {
                self.keys.insert(key.id.clone(), key);
            }
            CatalogChange::DeleteKey(id) => {
                self.keys.remove(&id);
            }
            CatalogChange::PutChannel(channel) => {
                self.channels.insert(channel.no, channel);
            }
            CatalogChange::PutWebhook(webhook) => {
                self.webhooks.insert(webhook.no, *webhook);
            }
            CatalogChange::DeleteWebhook(no) => {
                self.webhooks.remove(&no);
                self.parked.retain(|(owner, _), _| *owner != no);
                self.retries.retain(|(owner, ..), _| *owner != no);
                self.dead.retain(|(owner, ..), _| *owner != no);
                for stored in self.events.values_mut() {
                    for (owner, state) in &mut stored.owed {
                        if *owner == no {
                            *state = EntryState::Done;
                        }
                    }
                }
                self.events.retain(|_, stored| stored.owed.iter().any(|(_, s)| *s != EntryState::Done));
            }
        }
    }
}

impl Store for MemoryStore {
    fn load(&self, sink: &mut dyn FnMut(CatalogEntry)) -> Result<(), StoreError> {
        let state = self.state.lock();
        state.accounts.values().cloned().for_each(|account| sink(CatalogEntry::Account(account)));
        state.keys.values().cloned().for_each(|key| sink(CatalogEntry::Key(key)));
        state.channels.values().cloned().for_each(|channel| sink(CatalogEntry::Channel(channel)));
        for webhook in state.webhooks.values() {
            let channel = state.channels.values().find(|channel| channel.id == webhook.channel);
            let Some(channel) = channel else { continue };
            sink(CatalogEntry::Webhook(WebhookRoute {
                no: webhook.no,
                id: webhook.id,
                channel_no: channel.no,
                kinds: webhook.kinds(),
                is_enabled: webhook.status == WebhookStatus::Enabled,
                is_ordered: webhook.is_ordered(),
            }));
        }
        let backlog: BTreeSet<WebhookNo> = state.parked.keys().map(|(no, _)| *no).collect();
        backlog.into_iter().for_each(|no| sink(CatalogEntry::Backlog(no)));
        let mut last = None;
        for (no, due_ms, ..) in state.retries.keys() {
            if last != Some(*no) {
                sink(CatalogEntry::Retries(*no, *due_ms));
                last = Some(*no);
            }
        }
        Ok(())
    }

    fn ingest(&self, batch: Vec<IngestEvent>) -> SendFuture<Result<IngestReceipt, StoreError>> {
        let answer = match self.refusal.lock().clone() {
            Some(error) => Err(error),
            None => Ok(self.state.lock().ingest(batch)),
        };
        Box::pin(async move { answer })
    }

    fn settle(&self, batch: SettleBatch) -> Result<(), SettleBatch> {
        let mut state = self.state.lock();
        batch.settlements.into_iter().for_each(|settlement| state.settle(settlement));
        for chunk in batch.dropped_chunks {
            state.parked.remove(&chunk);
        }
        state.commits += 1;
        Ok(())
    }

    fn page(&self, request: PageRequest) -> SendFuture<Result<Page, StoreError>> {
        let page = self.state.lock().page(request);
        Box::pin(async move { Ok(page) })
    }

    fn due(
        &self,
        webhook: WebhookNo,
        until_ms: u64,
        count_max: usize,
    ) -> SendFuture<Result<DueRetries, StoreError>> {
        let due = self.state.lock().due(webhook, until_ms, count_max);
        Box::pin(async move { Ok(due) })
    }

    fn waiting_keys(
        &self,
        webhook: WebhookNo,
        from: Option<(u64, DeliveryKey)>,
        count_max: usize,
    ) -> SendFuture<Result<WaitingKeys, StoreError>> {
        let state = self.state.lock();
        let (due_ms, id) = from.unwrap_or((0, DeliveryKey { seq: Seq(0), part: 0 }));
        let last = (webhook, u64::MAX, Seq(u64::MAX), u16::MAX);
        let mut rows = state.retries.range((webhook, due_ms, id.seq, id.part)..=last);
        let place = |(_, due_ms, seq, part): &(WebhookNo, u64, Seq, u16)| {
            (*due_ms, DeliveryKey { seq: *seq, part: *part })
        };
        let waiting = rows.by_ref().take(count_max.max(1)).map(|(row, Row { key, .. })| {
            let (due_ms, id) = place(row);
            WaitingKey { key: *key, id, due_ms }
        });
        let waiting = waiting.collect();
        let next = rows.next().map(|(row, _)| place(row));
        Box::pin(async move { Ok((waiting, next)) })
    }

    fn park_all(&self, webhook: WebhookNo) -> SendFuture<Result<(), StoreError>> {
        self.state.lock().park_all(webhook);
        Box::pin(async { Ok(()) })
    }

    fn change(&self, changes: Vec<CatalogChange>) -> SendFuture<Result<(), StoreError>> {
        let mut state = self.state.lock();
        changes.into_iter().for_each(|change| state.change(change));
        Box::pin(async { Ok(()) })
    }

    fn next_channel_no(&self) -> ChannelNo {
        let mut state = self.state.lock();
        state.next_no += 1;
        ChannelNo(state.next_no)
    }

    fn next_webhook_no(&self) -> WebhookNo {
        let mut state = self.state.lock();
        state.next_no += 1;
        WebhookNo(state.next_no)
    }

    fn webhook(&self, no: WebhookNo) -> Result<Option<Webhook>, StoreError> {
        Ok(self.state.lock().webhooks.get(&no).cloned())
    }

    fn key_hash(&self, key: &Secret) -> [u8; 32] {
        // Not a hash to trust, but equal texts are equal and others are not, which is all that tests need.
        let mut hash = [0_u8; 32];
        for (index, byte) in key.expose().bytes().enumerate() {
            if let Some(place) = hash.get_mut(index % 32) {
                *place = place.rotate_left(3) ^ byte;
            }
        }
        hash
    }

    fn stats(&self) -> StoreStats {
        let state = self.state.lock();
        let owed = state.events.values().flat_map(|stored| &stored.owed);
        StoreStats {
            backlog_deliveries: owed.filter(|(_, s)| *s != EntryState::Done).count() as u64,
            dead_letters: state.dead.len() as u64,
            commits: state.commits,
            ..StoreStats::default()
        }
    }

    fn health(&self) -> Result<(), StoreError> {
        self.refusal.lock().clone().map_or(Ok(()), Err)
    }

    fn close(&self) -> SendFuture<()> {
        Box::pin(async {})
    }
}
