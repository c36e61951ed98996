//! What people ask: lists, look-ups, counts. See `design/0002-history.md`.
//!
//! The writer hands each question on after committing what was queued before it. Two threads answer them, apart from
//! the one that deliveries wait for: bounded questions on one, those that may walk long on the other.

mod count;
mod cursor;
mod find;
mod list;
mod view;

use self::find::ToPutBack;
use crate::ledger::DamageCount;
use crate::record::frame::Damaged;
use crate::redrive::{Redrive, Reply};
use crate::store::LmdbStore;
use crate::tables::{StoreEnv, Table, Tables, Txn};
use crate::writer::Command;
use fanfare_core::ports::history::{
    Backlog, DeliveryDetail, DeliveryPage, History, ListRequest, RedriveRequest, Redriven,
};
use fanfare_core::ports::{SendFuture, StoreError};
use fanfare_core::{EventId, WebhookNo};
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::{Bound, ControlFlow};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};

/// Questions that may wait in front of each thread; more are refused.
pub(crate) const QUESTIONS_MAX: usize = 1024;
/// Rows read in one transaction of a long walk.
const WALK_ROWS: usize = 4096;
/// Damaged rows remembered so that each is reported once, however often it is listed.
const REPORTED_MAX: usize = 4096;

/// What can be asked.
pub(crate) enum Question {
    List(ListRequest, Reply<DeliveryPage>),
    Backlog { webhook: WebhookNo, count_max: u64, reply: Reply<Backlog> },
    Find { webhook: WebhookNo, event_id: EventId, part: u16, reply: Reply<Option<DeliveryDetail>> },
    RedriveOne { webhook: WebhookNo, event_id: EventId, part: u16, now_ms: u64, reply: Reply<Redriven> },
}

impl Question {
    /// Answers with an error. A caller that no longer waits needs no answer.
    pub(crate) fn refuse(self, error: StoreError) {
        match self {
            Question::List(_, reply) => drop(reply.send(Err(error))),
            Question::Backlog { reply, .. } => drop(reply.send(Err(error))),
            Question::Find { reply, .. } => drop(reply.send(Err(error))),
            Question::RedriveOne { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// The writer's ends of the two threads.
pub(crate) struct Desks {
    /// For what is bounded.
    pub(crate) quick: SyncSender<Question>,
    /// For what may walk long.
    pub(crate) slow: SyncSender<Question>,
}

impl Desks {
    /// Hands a question on. Never blocks: the threads may themselves be waiting for the writer.
    pub(crate) fn forward(&self, question: Question) {
        let desk = match question {
            Question::List(..) | Question::Backlog { .. } => &self.quick,
            Question::Find { .. } | Question::RedriveOne { .. } => &self.slow,
        };
        match desk.try_send(question) {
            Ok(()) => {}
            Err(TrySendError::Full(question)) => question.refuse(StoreError::Busy),
            Err(TrySendError::Disconnected(question)) => {
                question.refuse(StoreError::Other("the store's history is gone".into()));
            }
        }
    }
}

/// Answers questions. See the module.
pub(crate) struct Historian {
    pub(crate) env: StoreEnv,
    pub(crate) tables: Tables,
    pub(crate) damage: DamageCount,
    /// Back to the writer, for what is to be put back.
    pub(crate) commands: SyncSender<Command>,
    /// Keys of damaged rows that were reported.
    pub(crate) reported: RefCell<HashSet<Vec<u8>>>,
}

impl Historian {
    /// Serves until the writer is gone.
    pub(crate) fn run(self, questions: &Receiver<Question>) {
        for question in questions {
            // A caller that no longer waits needs no answer.
            match question {
                Question::List(request, reply) => drop(reply.send(self.list(&request))),
                Question::Backlog { webhook, count_max, reply } => {
                    drop(reply.send(self.backlog(webhook.0, count_max).map_err(other)));
                }
                Question::Find { webhook, event_id, part, reply } => {
                    drop(reply.send(self.find(webhook.0, &event_id, part).map_err(other)));
                }
                Question::RedriveOne { webhook, event_id, part, now_ms, reply } => {
                    match self.find_to_put_back(webhook.0, &event_id, part) {
                        Err(error) => drop(reply.send(Err(other(error)))),
                        Ok(None) => drop(reply.send(Ok(Redriven::default()))),
                        // The writer never waits for this thread, so this wait ends; an error drops the reply,
                        // which tells the caller that the store is closed.
                        Ok(Some(found)) => {
                            let redrive = match found {
                                ToPutBack::Dead(key) => Redrive::dead(webhook.0, key, now_ms, reply),
                                ToPutBack::Ended(one) => Redrive::ended(webhook.0, one, now_ms, reply),
                            };
                            drop(self.commands.send(Command::Redrive(redrive)));
                        }
                    }
                }
            }
        }
    }

    /// Reports a damaged row, once.
    fn report(&self, damaged: Damaged, key: &[u8], place: u64) {
        let mut reported = self.reported.borrow_mut();
        if reported.len() < REPORTED_MAX && reported.insert(key.to_vec()) {
            self.damage.report(damaged, place);
        }
    }

    /// Visits the rows of a table from one key to another (both included), in a new transaction every
    /// [`WALK_ROWS`] rows, until told to stop. Returns whether it was.
    fn walk(
        &self,
        table: Table,
        (from, to): (Vec<u8>, Vec<u8>),
        order: Order,
        mut visit: impl FnMut(&Txn<'_>, &[u8], &[u8]) -> heed::Result<ControlFlow<()>>,
    ) -> heed::Result<bool> {
        let (mut lower, mut upper) = (Bound::Included(from), Bound::Included(to));
        loop {
            let txn = self.env.read_txn()?;
            let range = (as_slice(&lower), as_slice(&upper));
            let mut visit_one = |row: heed::Result<(&[u8], &[u8])>| {
                let (key, row) = row?;
                visit(&txn, key, row).map(|flow| (flow, key.to_vec()))
            };
            let mut last = None;
            // Two loops, because the two iterators are of different types.
            match order {
                Order::Up => {
                    for row in table.range(&txn, &range)?.take(WALK_ROWS) {
                        let (flow, key) = visit_one(row)?;
                        if flow.is_break() {
                            return Ok(true);
                        }
                        last = Some(key);
                    }
                }
                Order::Down => {
                    for row in table.rev_range(&txn, &range)?.take(WALK_ROWS) {
                        let (flow, key) = visit_one(row)?;
                        if flow.is_break() {
                            return Ok(true);
                        }
                        last = Some(key);
                    }
                }
            }
            let Some(key) = last else { return Ok(false) };
            match order {
                Order::Up => lower = Bound::Excluded(key),
                Order::Down => upper = Bound::Excluded(key),
            }
        }
    }
}

/// Which way a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Up,
    Down,
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn other(error: heed::Error) -> StoreError {
    StoreError::Other(error.to_string())
}

impl History for LmdbStore {
    fn list(&self, request: ListRequest) -> SendFuture<Result<DeliveryPage, StoreError>> {
        self.ask(|reply| Command::Ask(Question::List(request, reply)))
    }

    fn find(
        &self,
        webhook: WebhookNo,
        event_id: EventId,
        part: u16,
    ) -> SendFuture<Result<Option<DeliveryDetail>, StoreError>> {
        self.ask(|reply| Command::Ask(Question::Find { webhook, event_id, part, reply }))
    }

    fn redrive(
        &self,
        webhook: WebhookNo,
        request: RedriveRequest,
        now_ms: u64,
    ) -> SendFuture<Result<Redriven, StoreError>> {
        self.ask(|reply| match request {
            RedriveRequest::One { event_id, part } => {
                Command::Ask(Question::RedriveOne { webhook, event_id, part, now_ms, reply })
            }
            RedriveRequest::Many(filter) => Command::Redrive(Redrive::many(webhook.0, filter, now_ms, reply)),
        })
    }

    fn backlog(&self, webhook: WebhookNo, count_max: u64) -> SendFuture<Result<Backlog, StoreError>> {
        self.ask(|reply| Command::Ask(Question::Backlog { webhook, count_max, reply }))
    }
}
