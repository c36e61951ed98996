//! Oracle of the fuzz target `record` (`fuzz/`), used by the tests over its corpus too. Not part of the crate's interface.

use crate::record::frame::{self, HEAD_BYTES};
use crate::record::{attempt, chunk, dead, event, ids, progress, retry, route, state};
use crate::standing::EventState;
use bytes::Bytes;
use fanfare_core::event::{Event, EventKind};
use fanfare_core::{ChannelId, ChannelNo, EventId, Seq, WebhookNo};

/// What a body is read as.
const KINDS: u8 = 10;
const KEY_8: [u8; 8] = [8; 8];
const KEY_12: [u8; 12] = [12; 12];
const KEY_18: [u8; 18] = [18; 18];
const KEY_22: [u8; 22] = [22; 22];
/// Webhooks owed the event whose progress is read.
const OWED: usize = 9;
/// First event a backlog row may name.
const FIRST_SEQ: u64 = 40;
const ROUTE_NO: WebhookNo = WebhookNo(7);

/// Target `record`: a kind, a version, and a body, framed with a checksum that fits, so that every grammar is read behind
/// it.
///
/// # Panics
/// When reading a row panics, a row that was read is not the same written and read again, or a changed byte goes
/// unnoticed.
pub fn check_record(data: &[u8]) {
    let Some(([kind, version], body)) = data.split_first_chunk() else { return };
    let kind = kind % KINDS;
    if kind == KINDS - 1 {
        return check_event(body);
    }
    // As it is: the checksum does not fit, and nothing is read.
    let mut row = [&[*version], [0; HEAD_BYTES - 1].as_slice(), body].concat();
    read(kind, &row);
    seal(kind, &mut row);
    if read(kind, &row) {
        check_damage(kind, &row);
    }
}

fn seal(kind: u8, row: &mut [u8]) {
    match kind {
        0 => {
            // The checksum covers what the header says is the header.
            let at = HEAD_BYTES + 4;
            let size =
                row.get(at..at + 4).and_then(|size| size.try_into().ok()).map_or(0, u32::from_le_bytes);
            let covered = row.len().min(size as usize);
            frame::finish_first(row, covered, &KEY_8);
        }
        1 => frame::finish(row, &KEY_18),
        2 => frame::finish(row, &KEY_12),
        3 | 6 => frame::finish(row, &KEY_22),
        7 => frame::finish(row, &ROUTE_NO.0.to_be_bytes()),
        8 => frame::finish(row, state::KEY),
        _ => frame::finish(row, &KEY_8),
    }
}

/// Reads a row as what it is said to be; `true`: it was read. What was read is written and read again.
fn read(kind: u8, row: &[u8]) -> bool {
    match kind {
        0 => {
            // What recovery asks of a damaged row.
            let guessed = event::EventView::guess_owed(row);
            let Ok(view) = event::EventView::parse(&KEY_8, row) else { return false };
            let owed: Vec<u32> = view.owed().collect();
            assert!(guessed.is_none_or(|guessed| guessed.as_slice() == owed), "another owed list");
            assert_eq!(view.owed_at(u32::try_from(owed.len()).unwrap_or(u32::MAX)), None);
            let (_, _, _) = (view.id(), view.key(), view.envelope_bytes());
            let is_whole = view.is_whole();
            let event = view.to_event(Seq(1));
            assert!(is_whole || event.is_err(), "an event with a damaged envelope");
            event.is_ok_and(|event| {
                assert!(event.payload.end <= event.envelope.len());
                is_same_event(&event, &owed);
                true
            })
        }
        1 => {
            let Ok(items) = attempt::items(&KEY_18, row) else { return false };
            for item in &items {
                let _ = (item.event_id(), item.attempt.map(attempt::Request::to_record));
            }
            true
        }
        2 => {
            let Ok(listed) = chunk::decode(&KEY_12, FIRST_SEQ, row) else { return false };
            let again = chunk::encode(&KEY_12, FIRST_SEQ, &listed);
            assert_eq!(chunk::decode(&KEY_12, FIRST_SEQ, &again), Ok(listed));
            true
        }
        3 => {
            let Ok(dead) = dead::DeadRow::decode(&KEY_22, row) else { return false };
            assert_eq!(dead::DeadRow::decode(&KEY_22, &dead.encode(&KEY_22)), Ok(dead));
            true
        }
        4 => {
            let Ok((at_ms, hashes)) = ids::decode(&KEY_8, row) else { return false };
            assert_eq!(ids::encode(&KEY_8, at_ms, &hashes), row);
            true
        }
        5 => read_progress(row),
        6 => {
            let Ok(retry) = retry::RetryRow::decode(&KEY_22, row) else { return false };
            assert_eq!(retry::RetryRow::decode(&KEY_22, &retry.encode(&KEY_22)), Ok(retry));
            true
        }
        7 => {
            let Ok(found) = route::decode(ROUTE_NO, row) else { return false };
            let again = route::decode(ROUTE_NO, &route::encode(&found));
            assert_eq!(again.map(|again| format!("{again:?}")), Ok(format!("{found:?}")));
            true
        }
        _ => {
            let Ok(found) = state::StateRow::decode(row) else { return false };
            assert_eq!(found.encode(), row);
            true
        }
    }
}

fn read_progress(row: &[u8]) -> bool {
    for index in 0..=OWED as u32 {
        let _ = progress::look_up(&KEY_8, row, index);
    }
    let mut standing = EventState::new(event::OwedList::from_elem(3, OWED), 10);
    if progress::restore(&KEY_8, row, &mut standing).is_err() {
        return false;
    }
    // What the ledger asks.
    assert_eq!(standing.iter().count(), OWED);
    for index in 0..OWED as u32 {
        let _ = (standing.open_parts(index), standing.part_count(index), standing.open_deliveries(index));
    }
    let again = progress::encode(&KEY_8, &standing);
    let mut restored = EventState::new(event::OwedList::from_elem(3, OWED), 10);
    assert_eq!(progress::restore(&KEY_8, &again, &mut restored), Ok(()));
    assert!(restored.iter().eq(standing.iter()), "another standing");
    true
}

/// A good event whose envelope is any bytes comes back as it was.
fn check_event(envelope: &[u8]) {
    let length = envelope.len();
    let texts = std::str::from_utf8(envelope).ok();
    let event = Event {
        seq: Seq(1),
        id: EventId::parse("E-1").expect("an id"),
        kind: EventKind::ALL.get(length % EventKind::ALL.len()).copied().unwrap_or(EventKind::Block),
        channel: ChannelId::parse("c_1").expect("a channel"),
        channel_phone: texts.filter(|_| length.is_multiple_of(3)).map(Box::from),
        key: texts.filter(|_| length.is_multiple_of(2)).map(Box::from),
        occurred_at_ms: (length % 5 > 2).then_some(length as u64),
        accepted_at_ms: u64::MAX - length as u64,
        envelope: Bytes::copy_from_slice(envelope),
        payload: length / 3..length - length / 4,
    };
    let owed: Vec<u32> = envelope.iter().take(6).map(|byte| u32::from(*byte) << 24 | 1).collect();
    check_damage(0, &is_same_event(&event, &owed));
}

/// Writes an event and reads it back; gives the row.
fn is_same_event(event: &Event, owed: &[u32]) -> Vec<u8> {
    let mut row = event::encode_header(event, ChannelNo(5), owed);
    event::seal_header(&mut row, &KEY_8);
    row.extend_from_slice(&event.envelope);
    let view = event::EventView::parse(&KEY_8, &row).expect("a row as it was written");
    assert!(view.owed().eq(owed.iter().copied()) && view.has_id(&event.id));
    let back = view.to_event(event.seq).expect("an event as it was written");
    let texts = |event: &Event| (event.key.clone(), event.channel_phone.clone(), event.channel.clone());
    assert_eq!((&back.envelope, &back.payload), (&event.envelope, &event.payload));
    assert_eq!((back.kind, &back.id, texts(&back)), (event.kind, &event.id, texts(event)));
    assert_eq!((back.accepted_at_ms, back.occurred_at_ms), (event.accepted_at_ms, event.occurred_at_ms));
    row
}

/// One byte changed, one cut off: noticed. Which byte depends on the row, so that all have their turn.
fn check_damage(kind: u8, row: &[u8]) {
    let at = crc32fast::hash(row) as usize % row.len().max(1);
    let mut changed = row.to_vec();
    if let Some(byte) = changed.get_mut(at) {
        *byte ^= 1 << (at % 8);
    }
    assert!(!read(kind, &changed), "a changed byte goes unnoticed: kind {kind}, byte {at} of {}", row.len());
    let cut = row.get(..at).unwrap_or_default();
    assert!(!read(kind, cut), "a cut goes unnoticed: kind {kind}, at {at} of {}", row.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    // A corpus that no grammar takes would test the checksum only.
    #[test]
    fn the_corpus_holds_a_good_row_of_every_kind() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/record");
        let mut read_kinds = BTreeSet::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let data = std::fs::read(file.unwrap().path()).unwrap();
            let ([kind, version], body) = data.split_first_chunk().unwrap();
            let mut row = [&[*version, 0, 0, 0, 0], body].concat();
            seal(*kind, &mut row);
            if *kind < KINDS - 1 && read(*kind, &row) {
                read_kinds.insert(*kind);
            }
        }
        assert_eq!(read_kinds, (0..KINDS - 1).collect());
    }
}
