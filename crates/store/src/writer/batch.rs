//! Commands of one transaction, and the answers that wait for its commit.

use super::Command;
use crate::history::Question;
use crate::reader::ReadRequest;
use crate::redrive::Reply;
use crate::shared::Shared;
use fanfare_core::ports::{IngestReceipt, StoreError};
use std::collections::VecDeque;
use tokio::sync::oneshot;

const GROUP_EVENTS_MAX: usize = 8192;
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;
const GROUP_SETTLEMENTS_MAX: usize = 65_536;

/// An answer that waits for the commit.
pub(super) enum Answer {
    Ingest(Reply<IngestReceipt>, Result<IngestReceipt, StoreError>),
    Done(Reply<()>, Result<(), StoreError>),
    Read(ReadRequest),
    Ask(Question),
}

impl Answer {
    pub(super) fn refuse(self, error: StoreError) {
        // A caller that no longer waits needs no answer.
        match self {
            Answer::Ingest(reply, Ok(_)) => drop(reply.send(Err(error))),
            Answer::Ingest(reply, refused) => drop(reply.send(refused)),
            Answer::Done(reply, Ok(())) => drop(reply.send(Err(error))),
            Answer::Done(reply, refused) => drop(reply.send(refused)),
            Answer::Read(request) => request.refuse(error),
            Answer::Ask(question) => question.refuse(error),
        }
    }
}

/// Commands taken from the queue for one transaction.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) commands: VecDeque<Command>,
    events: usize,
    bytes: usize,
    pub(super) settlements: usize,
    /// Something other than settlements is in it.
    pub(super) is_urgent: bool,
    pub(super) closing: Option<oneshot::Sender<()>>,
}

impl Batch {
    pub(super) fn push(&mut self, command: Command, shared: &Shared) {
        match &command {
            Command::Ingest { events, bytes, .. } => {
                self.events += events.len();
                self.bytes += bytes;
                self.is_urgent = true;
                shared.unqueue(*bytes);
            }
            Command::Settle(batch) => {
                self.settlements += batch.settlements.len() + batch.dropped_chunks.len()
            }
            Command::Read(_)
            | Command::Ask(_)
            | Command::Redrive(_)
            | Command::ParkAll(..)
            | Command::Change(..)
            | Command::Fix(_) => self.is_urgent = true,
            Command::Close(_) => {}
        }
        match command {
            Command::Close(reply) => self.closing = Some(reply),
            command => self.commands.push_back(command),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.closing.is_some()
            || self.events >= GROUP_EVENTS_MAX
            || self.bytes >= GROUP_BYTES_MAX
            || self.settlements >= GROUP_SETTLEMENTS_MAX
    }
}

/// Answers a command that is not carried out. Settlements are dropped: their deliveries are found owed again.
pub(super) fn refuse(command: Command, error: &StoreError) {
    match command {
        Command::Ingest { reply, .. } => drop(reply.send(Err(error.clone()))),
        Command::Read(request) => request.refuse(error.clone()),
        Command::Ask(question) => question.refuse(error.clone()),
        Command::Redrive(redrive) => drop(redrive.reply.send(Err(error.clone()))),
        Command::ParkAll(_, reply) | Command::Change(_, reply) => drop(reply.send(Err(error.clone()))),
        Command::Settle(_) | Command::Fix(_) | Command::Close(_) => {}
    }
}
