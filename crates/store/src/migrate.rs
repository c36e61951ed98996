//! Brings a directory of an older format up to date, in the transaction that opens it: whole or not at all.
//!
//! Format 1: API keys were hashed under a key that came from the master key. Rows told less: `state` neither the bytes of
//! dead letters nor what is swept, `progress` not how many dead letters an event has, `retries` neither status nor ordering
//! key, `dead` the progress instead of the attempts made and nothing of its event, and there was no index of its hours.
//! Recorded attempts of format 1 are dropped: they are history only, and do not tell whose kind and time they were.

use crate::dead_letters::hour_of;
use crate::record::dead::DeadRow;
use crate::record::event::EventView;
use crate::record::frame::{self, Damaged, Put as _};
use crate::record::retry::{put_key, read_failure};
use crate::record::state::{self, StateRow};
use crate::standing::Packed;
use crate::tables::{Table, Tables, hour_key, key_no, seq_key, timed_parts};
use fanfare_core::EventId;
use fanfare_core::event::key_hash;
use fanfare_core::outcome::FailureClass;
use heed::RwTxn;
use std::collections::HashMap;

/// Version byte of every row of format 1.
const ROW: u8 = 1;

/// From format 1. The inner error: the one row without which nothing can be read is damaged. Any other damaged row stays
/// as it is, to be found and set aside where it is read.
pub(crate) fn from_1(tables: &Tables, txn: &mut RwTxn<'_>) -> heed::Result<Result<(), Damaged>> {
    let row = tables.state.get(txn, state::KEY)?.unwrap_or_default();
    let mut state = match read_state(row) {
        Ok(state) => state,
        Err(damaged) => return Ok(Err(damaged)),
    };
    let dead_letters = dead(tables, txn, &mut state)?;
    progress(tables, txn, &dead_letters)?;
    retries(tables, txn)?;
    tables.attempts.clear(txn)?;
    tables.state.put(txn, state::KEY, &state.encode())?;
    tracing::info!("the data directory is brought from format 1 to 2; attempts recorded before are dropped");
    Ok(Ok(()))
}

fn read_state(row: &[u8]) -> Result<StateRow, Damaged> {
    let mut body = frame::open(row, state::KEY, ROW, "state")?;
    let (next_seq, tail_start) = (body.u64()?, body.u64()?);
    let state = StateRow {
        next_seq,
        tail_start,
        commit: body.u64()?,
        backlog: body.u64()?,
        dead: body.u64()?,
        dead_bytes: 0,
        // Nothing that had ended was kept.
        swept: next_seq,
        webhooks_reserved: body.u32()?,
        channels_reserved: body.u32()?,
    };
    body.end()?;
    Ok(state)
}

/// Every row of a table: they are changed while they are gone through.
fn rows(table: Table, txn: &RwTxn<'_>) -> heed::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    table.iter(txn)?.map(|row| row.map(|(key, row)| (key.to_vec(), row.to_vec()))).collect()
}

/// Makes dead letters anew; gives how many each event has.
fn dead(tables: &Tables, txn: &mut RwTxn<'_>, state: &mut StateRow) -> heed::Result<HashMap<u64, u32>> {
    let mut counts = HashMap::new();
    for (key, row) in rows(tables.dead, txn)? {
        let (ended_ms, seq, _) = timed_parts(&key);
        *counts.entry(seq).or_insert(0) += 1;
        tables.dead_hours.put(txn, &hour_key(hour_of(ended_ms), key_no(&key)), &[])?;
        let (Ok(mut dead), Ok(place)) = (read_dead(&key, &row), <&[u8; 22]>::try_from(key.as_slice())) else {
            continue;
        };
        let event_key = seq_key(seq);
        let event = tables.events.get(txn, &event_key)?;
        dead.event_bytes = event.map_or(0, |row| u32::try_from(row.len()).unwrap_or(u32::MAX));
        dead.accepted_ms = ended_ms;
        if let Some(Ok(event)) = event.map(|row| EventView::parse(&event_key, row)) {
            dead.kind = Some(event.kind);
            dead.accepted_ms = event.accepted_at_ms;
            dead.key = event.key().map(key_hash);
        }
        state.dead_bytes += u64::from(dead.event_bytes);
        tables.dead.put(txn, place, &dead.encode(place))?;
    }
    Ok(counts)
}

fn read_dead(key: &[u8], row: &[u8]) -> Result<DeadRow, Damaged> {
    let mut body = frame::open(row, key, ROW, "dead letter")?;
    let (index, part_count) = (body.u32()?, body.u16()?);
    // Progress: the attempt it stood at, the schedule's step, since when it was owed.
    let (attempt_number, _, _) = (body.u32()?, body.u16()?, body.u64()?);
    let failure = read_failure(&mut body)?;
    let status = Some(body.u16()?).filter(|status| *status != 0);
    let event_id = EventId::parse(body.text()?).ok();
    let reason = body.text()?.to_owned();
    body.end()?;
    // What could not be rendered was never sent.
    let was_attempted = failure.is_some_and(|class| class != FailureClass::Render);
    Ok(DeadRow {
        index,
        part_count,
        attempt_count: if was_attempted { attempt_number } else { attempt_number.saturating_sub(1) },
        failure,
        status,
        key: None,
        kind: None,
        accepted_ms: 0,
        event_bytes: 0,
        event_id,
        reason,
    })
}

fn progress(tables: &Tables, txn: &mut RwTxn<'_>, dead: &HashMap<u64, u32>) -> heed::Result<()> {
    for (key, row) in rows(tables.progress, txn)? {
        let seq = crate::tables::key_seq(&key);
        if let Ok(row) = with_dead(&key, &row, dead.get(&seq).copied().unwrap_or(0)) {
            tables.progress.put(txn, &key, &row)?;
        }
    }
    Ok(())
}

/// A progress row with the number of dead letters behind its bits.
fn with_dead(key: &[u8], row: &[u8], dead: u32) -> Result<Vec<u8>, Damaged> {
    let mut body = frame::open(row, key, ROW, "progress")?;
    let count = body.u32()?;
    let bits = body.bytes(Packed::bytes_of(count))?;
    let mut row = frame::begin(ROW);
    row.put_u32(count);
    row.extend_from_slice(bits);
    row.put_varint(u64::from(dead));
    row.extend_from_slice(body.rest());
    frame::finish(&mut row, key);
    Ok(row)
}

fn retries(tables: &Tables, txn: &mut RwTxn<'_>) -> heed::Result<()> {
    for (key, row) in rows(tables.retries, txn)? {
        let Ok(mut body) = frame::open(&row, &key, ROW, "retry") else { continue };
        let event_key = seq_key(timed_parts(&key).1);
        let event = tables.events.get(txn, &event_key)?.map(|row| EventView::parse(&event_key, row));
        let ordering = event.and_then(Result::ok).and_then(|event| event.key()).map(key_hash);
        let mut row = frame::begin(ROW);
        row.extend_from_slice(body.rest());
        // No status.
        row.put_u16(0);
        put_key(&mut row, ordering);
        frame::finish(&mut row, &key);
        tables.retries.put(txn, &key, &row)?;
    }
    Ok(())
}
