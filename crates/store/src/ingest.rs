//! Taking events: what is prepared on the caller's thread, and what the transaction does with it.

use crate::ledger::{Group, Ledger};
use crate::record::event::{self, OwedList, PARKED_BIT};
use crate::record::ids;
use crate::standing::EventState;
use crate::tables::seq_key;
use crate::{catalog, tables};
use bytes::Bytes;
use fanfare_core::limits::EVENT_BYTES_MAX;
use fanfare_core::ports::{IngestEvent, IngestReceipt, IngestVerdict, StoreError};
use fanfare_core::{ChannelNo, Seq};
use heed::{PutFlags, RwTxn};
use std::io::Write;

/// An event encoded as far as possible without its place. Made on the caller's thread, so that the one writer has
/// less to do.
pub(crate) struct PreparedEvent {
    header: Vec<u8>,
    envelope: Bytes,
    owed: OwedList,
    /// Hash of the producer's id, when it gave one.
    id_hash: Option<u128>,
    channel_no: ChannelNo,
    new_phone: Option<String>,
}

impl PreparedEvent {
    /// Checks and encodes.
    pub(crate) fn new(event: IngestEvent) -> Result<Self, StoreError> {
        let IngestEvent { event, channel_no, is_deduplicated, owed, new_phone } = event;
        if event.envelope.len() > EVENT_BYTES_MAX {
            let size = event.envelope.len();
            return Err(StoreError::Other(format!("event of {size} bytes exceeds {EVENT_BYTES_MAX}")));
        }
        if event.envelope.get(event.payload.clone()).is_none() {
            return Err(StoreError::Other("event's payload lies outside its envelope".into()));
        }
        let mut entries = OwedList::with_capacity(owed.len());
        for (webhook, in_memory) in owed {
            if webhook.0 & PARKED_BIT != 0 {
                return Err(StoreError::Other(format!(
                    "webhook number {} exceeds {}",
                    webhook.0,
                    PARKED_BIT - 1
                )));
            }
            entries.push(if in_memory { webhook.0 } else { webhook.0 | PARKED_BIT });
        }
        let header =
            if entries.is_empty() { Vec::new() } else { event::encode_header(&event, channel_no, &entries) };
        Ok(PreparedEvent {
            header,
            id_hash: is_deduplicated.then(|| ids::hash(channel_no, &event.id)),
            envelope: event.envelope,
            owed: entries,
            channel_no,
            new_phone,
        })
    }

    /// Bytes it will take on disk, about.
    pub(crate) fn bytes(&self) -> usize {
        self.header.len() + self.envelope.len() + 64
    }
}

impl Ledger {
    /// Appends a batch. The inner error refuses it; then nothing of it was written.
    pub(crate) fn ingest(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        batch: Vec<PreparedEvent>,
    ) -> heed::Result<Result<IngestReceipt, StoreError>> {
        let owed: usize = batch.iter().map(|event| event.owed.len()).sum();
        if self.state.backlog.saturating_add(owed as u64) > self.backlog_max {
            // Duplicates owe nothing: count again without them before refusing.
            let is_new =
                |event: &&PreparedEvent| !event.id_hash.is_some_and(|hash| self.window.contains(hash));
            let owed: usize = batch.iter().filter(is_new).map(|event| event.owed.len()).sum();
            if self.state.backlog.saturating_add(owed as u64) > self.backlog_max && owed > 0 {
                let (waiting, limit) = (self.state.backlog, self.backlog_max);
                return Ok(Err(StoreError::Backlog { waiting, limit }));
            }
        }
        let mut verdicts = Vec::with_capacity(batch.len());
        for event in batch {
            verdicts.push(self.ingest_one(txn, group, event)?);
        }
        Ok(Ok(IngestReceipt { verdicts, also_parked: Vec::new() }))
    }

    fn ingest_one(
        &mut self,
        txn: &mut RwTxn<'_>,
        group: &mut Group,
        event: PreparedEvent,
    ) -> heed::Result<IngestVerdict> {
        if let Some(hash) = event.id_hash
            && !self.window.remember(self.tables.ids, txn, hash)?
        {
            return Ok(IngestVerdict::Duplicate);
        }
        if let Some(phone) = event.new_phone {
            self.put_phone(txn, event.channel_no, phone)?;
        }
        let seq = self.state.next_seq;
        self.state.next_seq += 1;
        if event.owed.is_empty() {
            return Ok(IngestVerdict::Accepted(Seq(seq)));
        }
        let (key, mut header) = (seq_key(seq), event.header);
        event::seal_header(&mut header, &key);
        let row_bytes = header.len() + event.envelope.len();
        let existing = self.tables.events.get_or_put_reserved_with_flags(
            txn,
            PutFlags::APPEND,
            &key,
            row_bytes,
            |place| {
                place.write_all(&header)?;
                place.write_all(&event.envelope)
            },
        )?;
        if existing.is_some() {
            // A place is given once: a row already there means the state row and the events disagree.
            return Err(heed::Error::Mdb(heed::MdbError::KeyExist));
        }
        self.state.backlog += event.owed.len() as u64;
        let row_bytes = u32::try_from(row_bytes).unwrap_or(u32::MAX);
        let mut state = EventState::new(event.owed, row_bytes);
        for index in 0..state.count() {
            let Some(webhook) = state.webhook(index) else { continue };
            if !self.live.contains(webhook) {
                // Deleted while the batch was on its way: nobody would ever settle it.
                let dropped = state.drop_open(index);
                self.end_deliveries(u64::from(dropped));
                Group::touch(&mut group.dirty, seq, &mut state);
            } else if state.entry(index) == Some(crate::standing::Standing::Parked) {
                group.parking.add(webhook, seq, index, row_bytes);
            } else if !group.parking.is_empty() {
                group.parking.cut(webhook);
            }
        }
        if state.has_waiting() {
            self.tail.insert(seq, state);
        } else {
            self.tail.count_stray(self.state.next_seq);
            if state.is_dirty {
                group.loaded.insert(seq, state);
            }
        }
        Ok(IngestVerdict::Accepted(Seq(seq)))
    }

    fn put_phone(&mut self, txn: &mut RwTxn<'_>, no: ChannelNo, phone: String) -> heed::Result<()> {
        let key = tables::no_key(no.0);
        let Some(row) = self.tables.channels.get(txn, &key)? else {
            tracing::warn!(channel = no.0, "a phone was told for a channel that is not stored");
            return Ok(());
        };
        match catalog::decode_channel(no, row) {
            Ok(mut channel) => {
                channel.phone = Some(phone);
                self.tables.channels.put(txn, &key, &catalog::encode_channel(&channel))
            }
            Err(damaged) => {
                self.damage.report(damaged, u64::from(no.0));
                Ok(())
            }
        }
    }
}
