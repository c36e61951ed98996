//! The writer: one thread that turns everything which arrived into one transaction, hence one sync, and then answers.
//!
//! Order: commands are applied as they were queued. Reads go to the reader after the commit of what came before them.

mod batch;

use self::batch::{Answer, Batch, refuse};
use crate::change::PreparedChange;
use crate::history::{Desks, Question};
use crate::ingest::PreparedEvent;
use crate::ledger::{Group, Ledger};
use crate::reader::ReadRequest;
use crate::record::chunk::{self, Listed};
use crate::redrive::{Redrive, Redriving, Reply};
use crate::settle::DamagedDelivery;
use crate::shared::Shared;
use crate::space::Space;
use crate::tables::{StoreEnv, parked_key};
use fanfare_core::WebhookNo;
use fanfare_core::ports::{Clock, IngestReceipt, SettleBatch, StoreError};
use heed::RwTxn;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Commands that may wait in front of the writer; more are refused. A group takes them all, so the queue only fills
/// while a commit runs.
pub(crate) const COMMANDS_MAX: usize = 1024;
/// Reads that may wait in front of the reader; more are refused.
pub(crate) const READS_MAX: usize = 4096;
/// Settlements that no longer wait for company.
const SETTLEMENTS_ENOUGH: usize = 4096;
/// How long settlements alone wait for company. With one commit before and one after, well below the 100 ms promised.
const COMPANY_WAIT: Duration = Duration::from_millis(20);
/// Settlements kept while the disk is full; beyond, they are given back.
const HELD_SETTLEMENTS_MAX: usize = 65_536;
/// How often a full disk is tried again.
const FULL_RETRY_WAIT: Duration = Duration::from_secs(1);
/// How often retention looks for something to remove.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Numbers reserved ahead in the state row.
const NUMBERS_AHEAD: u32 = 1000;

/// What the writer is asked to do.
pub(crate) enum Command {
    Ingest { events: Vec<PreparedEvent>, bytes: usize, reply: Reply<IngestReceipt> },
    Settle(SettleBatch),
    Read(ReadRequest),
    Ask(Question),
    Redrive(Redrive),
    ParkAll(WebhookNo, Reply<()>),
    Change(Vec<PreparedChange>, Reply<()>),
    Fix(Fix),
    Close(oneshot::Sender<()>),
}

/// What a reader found to be damaged.
pub(crate) enum Fix {
    /// A delivery that cannot be made.
    Damaged(DamagedDelivery),
    /// What a damaged chunk must have listed.
    Rebuilt { webhook: u32, first_seq: u64, listed: Vec<Listed> },
}

/// Why a transaction was given up.
enum Failure {
    /// No room: nothing was written, and it may be tried again.
    Full(String),
    /// Nothing may be written any more.
    Fatal(String),
}

/// See the module.
pub(crate) struct Writer {
    pub(crate) env: StoreEnv,
    pub(crate) ledger: Ledger,
    pub(crate) commands: Receiver<Command>,
    pub(crate) reads: SyncSender<ReadRequest>,
    pub(crate) desks: Desks,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) space: Space,
    pub(crate) sync: CommitFn,
    /// Bytes in use after the last commit.
    pub(crate) used_bytes: u64,
    /// Settlements that found no room yet.
    pub(crate) held: Vec<SettleBatch>,
    /// Redrives under way: a slice of the first in each transaction.
    pub(crate) redrives: VecDeque<Redrive>,
    pub(crate) sweeps: Sweeps,
    /// The last transaction found no room: background work rests as long as settlements do.
    pub(crate) has_no_room: bool,
}

/// Commits a transaction and syncs it; a test has it fail.
pub(crate) type CommitFn = Box<dyn FnMut(RwTxn<'_>) -> heed::Result<()> + Send>;

/// When retention looks, and whether it found something.
#[derive(Default)]
pub(crate) struct Sweeps {
    /// Unix ms.
    next_look_ms: u64,
    is_sweeping: bool,
}

impl Writer {
    /// Whether there is something to do although nothing arrives.
    fn has_slices(&self) -> bool {
        let has_some = self.ledger.has_reaping() || !self.redrives.is_empty() || self.sweeps.is_sweeping;
        has_some && self.shared.poison().is_none()
    }

    /// Serves until it is told to close.
    pub(crate) fn run(self) {
        /// Tells even when the thread ends by a panic.
        struct Ended(Arc<Shared>);
        impl Drop for Ended {
            fn drop(&mut self) {
                self.0.set_ended();
            }
        }
        let _ended = Ended(Arc::clone(&self.shared));
        self.serve();
    }

    fn serve(mut self) {
        loop {
            let mut batch = Batch::default();
            if !self.wait(&mut batch) {
                return;
            }
            self.collect(&mut batch);
            let closing = batch.closing.take();
            if self.shared.poison().is_some() {
                self.refuse_all(batch.commands);
            } else {
                self.commit(batch.commands, closing.is_some());
            }
            if let Some(reply) = closing {
                if !self.held.is_empty() {
                    tracing::error!(
                        "closed while the disk is full: the last settlements are lost and repeat"
                    );
                }
                self.shared.set_ended();
                let _ = reply.send(());
                return;
            }
        }
    }

    /// Waits for the first command. `false`: everyone is gone.
    fn wait(&self, batch: &mut Batch) -> bool {
        let first = if !self.held.is_empty() || (self.has_no_room && self.has_slices()) {
            self.commands.recv_timeout(FULL_RETRY_WAIT)
        } else if self.has_slices() {
            match self.commands.try_recv() {
                Ok(command) => Ok(command),
                Err(TryRecvError::Empty) => Err(RecvTimeoutError::Timeout),
                Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
            }
        } else {
            self.commands.recv_timeout(SWEEP_EVERY)
        };
        match first {
            Ok(command) => batch.push(command, &self.shared),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// Takes what else has arrived; settlements alone wait a little for company.
    fn collect(&self, batch: &mut Batch) {
        let started_ns = self.clock.now().mono_ns;
        let can_wait = self.held.is_empty() && !self.has_slices();
        while !batch.is_full() {
            match self.commands.try_recv() {
                Ok(command) => batch.push(command, &self.shared),
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {
                    let waited = Duration::from_nanos(self.clock.now().mono_ns.saturating_sub(started_ns));
                    let left = COMPANY_WAIT.saturating_sub(waited);
                    let is_enough =
                        batch.settlements >= SETTLEMENTS_ENOUGH || batch.commands.len() >= COMMANDS_MAX;
                    if !can_wait || batch.is_urgent || is_enough || left.is_zero() {
                        return;
                    }
                    match self.commands.recv_timeout(left) {
                        Ok(command) => batch.push(command, &self.shared),
                        Err(_) => return,
                    }
                }
            }
        }
    }

    /// Commits a batch and answers it. While more is held for want of room than may be, settlements are given back.
    fn commit(&mut self, commands: VecDeque<Command>, is_closing: bool) {
        self.try_commit(commands, is_closing);
        let held: usize =
            self.held.iter().map(|batch| batch.settlements.len() + batch.dropped_chunks.len()).sum();
        self.shared.set_holds_too_many(held > HELD_SETTLEMENTS_MAX);
    }

    /// A batch that finds no room is given up and its settlements are tried alone.
    fn try_commit(&mut self, mut commands: VecDeque<Command>, is_closing: bool) {
        self.look_for_expired();
        let is_read = |command: &Command| matches!(command, Command::Read(_) | Command::Ask(_));
        if commands.iter().all(is_read) && self.held.is_empty() && !self.has_slices() && !is_closing {
            for command in commands {
                match command {
                    Command::Read(request) => self.forward(request),
                    Command::Ask(question) => self.desks.forward(question),
                    _ => {}
                }
            }
            return;
        }
        let mut answers = Vec::with_capacity(commands.len());
        let mut settled = std::mem::take(&mut self.held);
        let had_other = commands.iter().any(|command| !matches!(command, Command::Settle(_)));
        match self.transact(&mut commands, &mut answers, &mut settled, is_closing) {
            Ok(()) => self.answer(answers),
            Err(Failure::Fatal(text)) => self.poison(text, answers, commands),
            Err(Failure::Full(text)) => {
                tracing::warn!(reason = text, "no room for a commit");
                self.has_no_room = true;
                for answer in answers {
                    answer.refuse(StoreError::Full(text.clone()));
                }
                // What it put back before stays put back.
                for redrive in self.redrives.drain(..) {
                    drop(redrive.reply.send(Err(StoreError::Full(text.clone()))));
                }
                for command in commands {
                    match command {
                        Command::Settle(batch) => settled.push(batch),
                        other => refuse(other, &StoreError::Full(text.clone())),
                    }
                }
                if had_other && !settled.is_empty() {
                    match self.transact(&mut VecDeque::new(), &mut Vec::new(), &mut settled, is_closing) {
                        Ok(()) => return,
                        Err(Failure::Fatal(text)) => return self.poison(text, Vec::new(), VecDeque::new()),
                        Err(Failure::Full(_)) => {}
                    }
                }
                self.held = settled;
            }
        }
    }

    /// From time to time, finds out whether retention has something to do.
    fn look_for_expired(&mut self) {
        let now_ms = self.clock.now().unix_ms;
        let every_ms = SWEEP_EVERY.as_millis() as u64;
        let wait_ms = self.sweeps.next_look_ms.saturating_sub(now_ms);
        // A longer wait than there can be: the clock was set back.
        if self.sweeps.is_sweeping || (1..=every_ms).contains(&wait_ms) {
            return;
        }
        self.sweeps.next_look_ms = now_ms.saturating_add(every_ms);
        match self.env.read_txn().and_then(|txn| self.ledger.has_expired(&txn, now_ms)) {
            Ok(has_expired) => self.sweeps.is_sweeping = has_expired,
            Err(error) => tracing::error!(%error, "cannot look for what retention is to remove"),
        }
    }

    /// One transaction. On failure the ledger is rebuilt from disk; `commands` keeps what was not reached.
    fn transact(
        &mut self,
        commands: &mut VecDeque<Command>,
        answers: &mut Vec<Answer>,
        settled: &mut Vec<SettleBatch>,
        is_closing: bool,
    ) -> Result<(), Failure> {
        let started = self.clock.now();
        match self.write(commands, answers, settled, is_closing) {
            Ok(redriven) => {
                let us = self.clock.now().mono_ns.saturating_sub(started.mono_ns) / 1000;
                self.shared.publish(&self.ledger, self.used_bytes);
                self.shared.count_commit(us);
                if let Some(state) = redriven {
                    self.note_redriven(state);
                }
                Ok(())
            }
            Err(error) => {
                let failure = self.classify(&error);
                let reloaded = self.env.read_txn().and_then(|txn| self.ledger.reload(&txn, started.unix_ms));
                match (failure, reloaded) {
                    (failure, Ok(Ok(()))) => Err(failure),
                    (_, Ok(Err(damaged))) => Err(Failure::Fatal(format!("{error}; then {damaged}"))),
                    (_, Err(second)) => Err(Failure::Fatal(format!("{error}; then {second}"))),
                }
            }
        }
    }

    /// Writes and commits; gives where the slice of a redrive that was in it got to.
    fn write(
        &mut self,
        commands: &mut VecDeque<Command>,
        answers: &mut Vec<Answer>,
        settled: &mut Vec<SettleBatch>,
        is_closing: bool,
    ) -> heed::Result<Option<Redriving>> {
        let env = self.env.clone();
        let mut txn = env.write_txn()?;
        let ledger = &mut self.ledger;
        let mut group = Group::at(self.clock.now().unix_ms);
        ledger.waiting.forget_if_old(group.now_ms);
        ledger.window.age(ledger.tables.ids, &mut txn, group.now_ms)?;
        let has_events = commands.iter().any(|command| matches!(command, Command::Ingest { .. }));
        let mut room = has_events.then(|| self.space.room(self.used_bytes));
        if has_events {
            ledger.checkpoint(&mut txn, &mut group)?;
        }
        for batch in settled.iter() {
            ledger.settle_batch(&mut txn, &mut group, batch)?;
        }
        while let Some(command) = commands.pop_front() {
            match command {
                Command::Ingest { events, bytes, reply } => {
                    let answer = match room.as_mut().map_or(Ok(()), |room| room.take(bytes as u64)) {
                        Ok(()) => ledger.ingest(&mut txn, &mut group, events)?,
                        Err(reason) => Err(StoreError::Full(reason)),
                    };
                    answers.push(Answer::Ingest(reply, answer));
                }
                Command::Settle(batch) => {
                    // Kept first: if the transaction is given up here, the batch is still known.
                    settled.push(batch);
                    if let Some(batch) = settled.last() {
                        ledger.settle_batch(&mut txn, &mut group, batch)?;
                    }
                }
                Command::Read(request) => answers.push(Answer::Read(request)),
                Command::Ask(question) => answers.push(Answer::Ask(question)),
                Command::Redrive(redrive) => self.redrives.push_back(redrive),
                Command::ParkAll(webhook, reply) => {
                    answers.push(Answer::Done(reply, Ok(())));
                    let mut webhooks = vec![webhook.0];
                    // Receivers that go down together let go together.
                    while let Some(Command::ParkAll(..)) = commands.front()
                        && let Some(Command::ParkAll(webhook, reply)) = commands.pop_front()
                    {
                        answers.push(Answer::Done(reply, Ok(())));
                        webhooks.push(webhook.0);
                    }
                    ledger.park_all(&mut txn, &mut group, &webhooks)?;
                }
                Command::Change(changes, reply) => {
                    let answer = ledger.change(&mut txn, &mut group, changes)?;
                    answers.push(Answer::Done(reply, answer));
                }
                Command::Fix(Fix::Damaged(damaged)) => {
                    ledger.settle_damaged(&mut txn, &mut group, &damaged)?
                }
                Command::Fix(Fix::Rebuilt { webhook, first_seq, listed }) => {
                    let key = parked_key(webhook, first_seq);
                    let parked = ledger.tables.parked;
                    let is_damaged = parked
                        .get(&txn, &key)?
                        .is_some_and(|row| chunk::decode(&key, first_seq, row).is_err());
                    if is_damaged {
                        parked.put(&mut txn, &key, &chunk::encode(&key, first_seq, &listed))?;
                    }
                }
                Command::Close(_) => {}
            }
        }
        ledger.reap(&mut txn, &mut group)?;
        let is_sweeping = self.sweeps.is_sweeping && ledger.sweep(&mut txn, &mut group)?;
        let redriven = match self.redrives.front() {
            Some(redrive) => Some(ledger.redrive(&mut txn, &mut group, redrive.state)?),
            None => None,
        };
        let ahead = if is_closing { 0 } else { NUMBERS_AHEAD };
        self.shared.reserve_numbers(&mut ledger.state, ahead);
        ledger.flush(&mut txn, &mut group)?;
        let used_bytes = ledger.tables.used_bytes(&txn)?;
        (self.sync)(txn)?;
        self.used_bytes = used_bytes;
        self.has_no_room = false;
        self.sweeps.is_sweeping = is_sweeping;
        Ok(redriven)
    }

    /// Takes in what a committed slice of the first redrive came to.
    fn note_redriven(&mut self, state: Redriving) {
        if !state.is_done {
            if let Some(redrive) = self.redrives.front_mut() {
                redrive.state = state;
            }
        } else if let Some(redrive) = self.redrives.pop_front() {
            // A caller that no longer waits needs no answer.
            drop(redrive.reply.send(Ok(state.sum)));
        }
    }

    fn classify(&self, error: &heed::Error) -> Failure {
        let text = error.to_string();
        let is_full = match error {
            heed::Error::Mdb(heed::MdbError::MapFull | heed::MdbError::TxnFull) => true,
            heed::Error::Io(error) => match error.raw_os_error() {
                Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => true,
                // LMDB calls a short write, which a full disk gives, an i/o error too.
                Some(libc::EIO) => self.space.is_below_reserve(),
                _ => false,
            },
            _ => false,
        };
        if is_full { Failure::Full(text) } else { Failure::Fatal(text) }
    }

    fn answer(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            match answer {
                Answer::Ingest(reply, Ok(mut receipt)) => {
                    receipt.also_parked = std::mem::take(&mut self.ledger.unreported).into_iter().collect();
                    if let Err(Ok(unheard)) = reply.send(Ok(receipt)) {
                        // The caller no longer waits; someone else must be told what was parked.
                        self.ledger.unreported.extend(unheard.also_parked);
                    }
                }
                Answer::Ingest(reply, refused) => drop(reply.send(refused)),
                Answer::Done(reply, done) => drop(reply.send(done)),
                Answer::Read(request) => self.forward(request),
                Answer::Ask(question) => self.desks.forward(question),
            }
        }
    }

    /// Never blocks: the reader may itself be waiting to hand something over.
    fn forward(&self, request: ReadRequest) {
        match self.reads.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(request)) => request.refuse(StoreError::Busy),
            Err(TrySendError::Disconnected(request)) => {
                request.refuse(StoreError::Other("the store's reader is gone".into()));
            }
        }
    }

    fn poison(&mut self, text: String, answers: Vec<Answer>, commands: VecDeque<Command>) {
        tracing::error!(reason = text, "a commit failed: the store takes no more writes until a restart");
        self.shared.set_poison(&text);
        for answer in answers {
            answer.refuse(StoreError::Poisoned(text.clone()));
        }
        self.held.clear();
        for redrive in self.redrives.drain(..) {
            drop(redrive.reply.send(Err(StoreError::Poisoned(text.clone()))));
        }
        self.refuse_all(commands);
    }

    fn refuse_all(&self, commands: VecDeque<Command>) {
        let text = self.shared.poison().unwrap_or_default();
        for command in commands {
            refuse(command, &StoreError::Poisoned(text.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
