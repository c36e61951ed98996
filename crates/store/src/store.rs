//! The handle that implements core's `Store` port.

use crate::catalog;
use crate::change::PreparedChange;
use crate::history::{Desks, Historian, QUESTIONS_MAX};
use crate::ingest::PreparedEvent;
use crate::ledger::DamageCount;
use crate::number_set::NumberSet;
use crate::open;
use crate::options::{OpenError, StoreOptions};
use crate::reader::{ReadRequest, Reader, Recent};
use crate::record::route;
use crate::seal::{KeyHasher, Sealer};
use crate::shared::Shared;
use crate::space::Space;
use crate::tables::{self, StoreEnv, Tables, key_no, no_key, timed_parts};
use crate::writer::{COMMANDS_MAX, Command, CommitFn, READS_MAX, Sweeps, Writer};
use fanfare_core::delivery::{DeliveryKey, Owed};
use fanfare_core::ports::{
    CatalogChange, CatalogEntry, IngestEvent, IngestReceipt, Page, PageRequest, SendFuture, SettleBatch,
    Store, StoreError, StoreStats, WaitingKeys,
};
use fanfare_core::webhook::Webhook;
use fanfare_core::{ChannelNo, Secret, WebhookNo};
use heed::RwTxn;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// The embedded store. Dropping it closes it; [`Store::close`] does so with an answer.
pub struct LmdbStore {
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
    sealer: Sealer,
    hasher: KeyHasher,
    tables: Tables,
    pub(crate) env: StoreEnv,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Released after the environment is closed: fields are dropped in order.
    _lock: File,
}

impl std::fmt::Debug for LmdbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LmdbStore").field("dir", &self.env.path()).finish_non_exhaustive()
    }
}

fn spawn(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|source| OpenError::Thread { name, source })
}

fn other(error: heed::Error) -> StoreError {
    StoreError::Other(error.to_string())
}

impl LmdbStore {
    /// Opens a directory, making it when it is missing, recovers what was owed, and starts its threads.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: StoreOptions) -> Result<Arc<LmdbStore>, OpenError> {
        Self::open_with(options, Box::new(|txn: RwTxn<'_>| txn.commit()))
    }

    /// The same with another way to commit.
    pub(crate) fn open_with(options: StoreOptions, sync: CommitFn) -> Result<Arc<LmdbStore>, OpenError> {
        let open::Opened { env, tables, ledger, shared, sealer, hasher, lock, map_bytes, used_bytes } =
            open::open(&options)?;
        let shared = Arc::new(shared);
        let (commands, queued) = sync_channel(COMMANDS_MAX);
        let (reads, read_requests) = sync_channel(READS_MAX);
        let damage: DamageCount = shared.damage.clone();
        let (quick, quick_questions) = sync_channel(QUESTIONS_MAX);
        let (slow, slow_questions) = sync_channel(QUESTIONS_MAX);
        let historian = || Historian {
            env: env.clone(),
            tables,
            damage: damage.clone(),
            commands: commands.clone(),
            reported: RefCell::default(),
        };
        let (lists, looks) = (historian(), historian());
        let reader =
            Reader { env: env.clone(), tables, damage, fixes: commands.clone(), recent: Recent::default() };
        let reading = spawn("fanfare-store-read", move || reader.run(&read_requests))?;
        let listing = spawn("fanfare-store-list", move || lists.run(&quick_questions))?;
        let looking = spawn("fanfare-store-find", move || looks.run(&slow_questions))?;
        let space =
            Space::new(&options.dir, map_bytes as u64, options.disk_bytes_max, options.disk_reserve_bytes);
        let writer = Writer {
            env: env.clone(),
            ledger,
            commands: queued,
            reads,
            desks: Desks { quick, slow },
            shared: Arc::clone(&shared),
            clock: options.clock,
            space,
            sync,
            used_bytes,
            held: Vec::new(),
            redrives: VecDeque::new(),
            sweeps: Sweeps::default(),
            has_no_room: false,
        };
        let writing = spawn("fanfare-store-write", move || writer.run())?;
        let threads = Mutex::new(vec![writing, reading, listing, looking]);
        Ok(Arc::new(LmdbStore { commands, shared, sealer, hasher, tables, env, threads, _lock: lock }))
    }

    fn gone(&self) -> StoreError {
        self.shared.refusal().unwrap_or_else(|| StoreError::Other("the store is closed".into()))
    }

    /// Queues a command now, so that callers' order is kept, and gives a future of its answer.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> SendFuture<Result<T, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        match self.commands.try_send(command(reply)) {
            Ok(()) => Box::pin(async move {
                match answer.await {
                    Ok(answer) => answer,
                    Err(_) => Err(match shared.poison() {
                        Some(text) => StoreError::Poisoned(text),
                        None => StoreError::Other("the store is closed".into()),
                    }),
                }
            }),
            Err(refused) => {
                let (command, error) = match refused {
                    TrySendError::Full(command) => (command, StoreError::Busy),
                    TrySendError::Disconnected(command) => (command, self.gone()),
                };
                if let Command::Ingest { bytes, .. } = command {
                    self.shared.unqueue(bytes);
                }
                Box::pin(std::future::ready(Err(error)))
            }
        }
    }

    /// Rows of each table, for operators and tests.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn row_counts(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let txn = self.env.read_txn().map_err(other)?;
        self.tables
            .all()
            .into_iter()
            .map(|(name, table)| Ok((name, table.len(&txn).map_err(other)?)))
            .collect()
    }

    fn stop(&self) {
        let (reply, _answer) = oneshot::channel();
        // Fails when it is closed already.
        drop(self.commands.send(Command::Close(reply)));
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a store thread panicked");
            }
        }
    }
}

impl Drop for LmdbStore {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Store for LmdbStore {
    fn load(&self, sink: &mut dyn FnMut(CatalogEntry)) -> Result<(), StoreError> {
        self.load_rows(sink).map_err(other)
    }

    fn ingest(&self, batch: Vec<IngestEvent>) -> SendFuture<Result<IngestReceipt, StoreError>> {
        let prepared: Result<Vec<_>, _> = batch.into_iter().map(PreparedEvent::new).collect();
        let queued = prepared.and_then(|events| {
            let bytes = events.iter().map(PreparedEvent::bytes).sum();
            self.shared.queue(bytes).map(|()| (events, bytes))
        });
        match queued {
            Ok((events, bytes)) => self.ask(|reply| Command::Ingest { events, bytes, reply }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn settle(&self, batch: SettleBatch) -> Result<(), SettleBatch> {
        if self.shared.holds_too_many() {
            return Err(batch);
        }
        match self.commands.try_send(Command::Settle(batch)) {
            Ok(()) => Ok(()),
            Err(
                TrySendError::Full(Command::Settle(batch))
                | TrySendError::Disconnected(Command::Settle(batch)),
            ) => Err(batch),
            Err(_) => Ok(()),
        }
    }

    fn page(&self, request: PageRequest) -> SendFuture<Result<Page, StoreError>> {
        self.ask(|reply| Command::Read(ReadRequest::Page(request, reply)))
    }

    fn due(
        &self,
        webhook: WebhookNo,
        until_ms: u64,
        count_max: usize,
    ) -> SendFuture<Result<(Vec<Owed>, Option<u64>), StoreError>> {
        self.ask(|reply| Command::Read(ReadRequest::Due { webhook, until_ms, count_max, reply }))
    }

    fn waiting_keys(
        &self,
        webhook: WebhookNo,
        from: Option<(u64, DeliveryKey)>,
        count_max: usize,
    ) -> SendFuture<Result<WaitingKeys, StoreError>> {
        self.ask(|reply| Command::Read(ReadRequest::WaitingKeys { webhook, from, count_max, reply }))
    }

    fn park_all(&self, webhook: WebhookNo) -> SendFuture<Result<(), StoreError>> {
        self.ask(|reply| Command::ParkAll(webhook, reply))
    }

    fn change(&self, changes: Vec<CatalogChange>) -> SendFuture<Result<(), StoreError>> {
        changes.iter().for_each(|change| self.shared.note_used(change));
        let prepared: Result<Vec<_>, _> =
            changes.into_iter().map(|change| PreparedChange::new(&self.sealer, change)).collect();
        match prepared {
            Ok(changes) => self.ask(|reply| Command::Change(changes, reply)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn next_channel_no(&self) -> ChannelNo {
        ChannelNo(self.shared.next_channel())
    }

    fn next_webhook_no(&self) -> WebhookNo {
        WebhookNo(self.shared.next_webhook())
    }

    fn webhook(&self, no: WebhookNo) -> Result<Option<Webhook>, StoreError> {
        let txn = self.env.read_txn().map_err(other)?;
        let Some(row) = self.tables.webhooks.get(&txn, &no_key(no.0)).map_err(other)? else {
            return Ok(None);
        };
        catalog::decode_webhook(&self.sealer, no, row)
            .map(Some)
            .map_err(|error| StoreError::Other(format!("webhook {}: {error}", no.0)))
    }

    fn key_hash(&self, key: &Secret) -> [u8; 32] {
        self.hasher.hash(key.expose())
    }

    fn stats(&self) -> StoreStats {
        self.shared.stats()
    }

    fn health(&self) -> Result<(), StoreError> {
        self.shared.refusal().map_or(Ok(()), Err)
    }

    fn close(&self) -> SendFuture<()> {
        let (reply, answer) = oneshot::channel();
        // Waits while the queue is full, which is at most as long as one commit.
        let is_sent = self.commands.send(Command::Close(reply)).is_ok();
        Box::pin(async move {
            if is_sent {
                // An error means that someone else's close came first; then everything is down as well.
                drop(answer.await);
            }
        })
    }
}

impl LmdbStore {
    fn load_rows(&self, sink: &mut dyn FnMut(CatalogEntry)) -> heed::Result<()> {
        let Tables { accounts, keys, channels, routes, parked, retries, .. } = self.tables;
        let damage = &self.shared.damage;
        let txn = self.env.read_txn()?;
        for row in accounts.iter(&txn)? {
            let (key, row) = row?;
            match catalog::decode_account(key, row) {
                Ok(account) => sink(CatalogEntry::Account(account)),
                Err(damaged) => damage.report(damaged, 0),
            }
        }
        for row in keys.iter(&txn)? {
            let (key, row) = row?;
            match catalog::decode_key(key, row) {
                Ok(key) => sink(CatalogEntry::Key(key)),
                Err(damaged) => damage.report(damaged, 0),
            }
        }
        for row in channels.iter(&txn)? {
            let (key, row) = row?;
            let no = ChannelNo(key_no(key));
            match catalog::decode_channel(no, row) {
                Ok(channel) => sink(CatalogEntry::Channel(channel)),
                Err(damaged) => damage.report(damaged, u64::from(no.0)),
            }
        }
        let mut live = NumberSet::default();
        for row in routes.iter(&txn)? {
            let (key, row) = row?;
            let no = WebhookNo(key_no(key));
            match route::decode(no, row) {
                Ok(route) => {
                    live.insert(no.0);
                    sink(CatalogEntry::Webhook(route));
                }
                Err(damaged) => damage.report(damaged, u64::from(no.0)),
            }
        }
        tables::first_rows(parked, &txn, |no, _| {
            if live.contains(no) {
                sink(CatalogEntry::Backlog(WebhookNo(no)));
            }
            Ok(())
        })?;
        tables::first_rows(retries, &txn, |no, key| {
            if live.contains(no) {
                sink(CatalogEntry::Retries(WebhookNo(no), timed_parts(key).0));
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
