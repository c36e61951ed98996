//! `parked`: the backlog index. One row (a *chunk*) lists up to 256 events of one webhook.
//!
//! ```text
//! key    = webhook u32, first_seq u64
//! body   = (seq − previous seq varint, index varint) × n        the first entry's previous seq is first_seq
//! ```

use super::frame::{self, Damaged, Put};

const VERSION: u8 = 1;
const WHAT: &str = "backlog index";
/// Events one chunk lists at most: bounds what one page must read at once.
pub(crate) const CHUNK_EVENTS_MAX: usize = 256;
/// Bytes of events one chunk lists at most (or one event): bounds the memory of a page.
pub(crate) const CHUNK_EVENT_BYTES_MAX: usize = 1024 * 1024;

/// One event of a chunk and the webhook's place in its owed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) seq: u64,
    pub(crate) index: u32,
}

/// Encodes a chunk; `entries` rise by seq and start at or after the key's.
pub(crate) fn encode(key: &[u8; 12], first_seq: u64, entries: &[Listed]) -> Vec<u8> {
    let mut row = frame::begin(VERSION);
    let mut previous = first_seq;
    for entry in entries {
        row.put_varint(entry.seq.saturating_sub(previous));
        row.put_varint(u64::from(entry.index));
        previous = entry.seq;
    }
    frame::finish(&mut row, key);
    row
}

/// Reads a chunk.
pub(crate) fn decode(key: &[u8; 12], first_seq: u64, row: &[u8]) -> Result<Vec<Listed>, Damaged> {
    let mut body = frame::open(row, key, VERSION, WHAT)?;
    let mut entries = Vec::with_capacity(16);
    let mut seq = first_seq;
    while !body.is_empty() {
        seq = seq.checked_add(body.varint()?).ok_or(Damaged(WHAT))?;
        let index = u32::try_from(body.varint()?).map_err(|_| Damaged(WHAT))?;
        entries.push(Listed { seq, index });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_round_trip_and_every_damage_is_noticed() {
        let entries =
            [(40, 0), (41, 1), (900, 70_000), (u64::MAX, 2)].map(|(seq, index)| Listed { seq, index });
        let key = [7; 12];
        let row = encode(&key, 40, &entries);
        assert_eq!(decode(&key, 40, &row).unwrap(), entries);
        frame::check_every_damage(&row, |row| decode(&key, 40, row).is_ok());
        assert!(decode(&[8; 12], 40, &row).is_err());
    }

    #[test]
    fn an_entry_costs_about_three_bytes() {
        let entries: Vec<_> = (0..256).map(|n| Listed { seq: 1000 + n, index: 300 }).collect();
        assert_eq!(encode(&[0; 12], 1000, &entries).len(), 5 + 256 * 3);
    }
}
