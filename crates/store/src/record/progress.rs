//! `progress`: where the entries of one event stand, when the event outlives a commit partly done.
//!
//! ```text
//! key    = seq u64
//! body   = entry_count u32, ⌈entry_count / 4⌉ bytes, dead_letters varint, part_lists varint,
//!          (index u32, part_count u16, ⌈part_count / 4⌉ bytes) × m
//!        | u32 with all bits set: everything is done, kept for retention
//! ```
//! Two bits each, lowest first: 0 waiting, 1 parked, 2 own row, 3 done.

use super::frame::{self, Damaged, Put};
use crate::standing::{EventState, Packed, Standing};

const VERSION: u8 = 1;
const WHAT: &str = "progress";
/// In place of a count: an event that has ended and is kept.
const ALL_DONE: u32 = u32::MAX;

pub(crate) fn encode(key: &[u8; 8], state: &EventState) -> Vec<u8> {
    let mut row = frame::begin(VERSION);
    if state.is_finished() {
        row.put_u32(ALL_DONE);
        frame::finish(&mut row, key);
        return row;
    }
    row.put_u32(state.entries().count());
    row.extend_from_slice(state.entries().bytes());
    row.put_varint(u64::from(state.dead));
    row.put_varint(state.parts().len() as u64);
    for (index, parts) in state.parts() {
        row.put_u32(*index);
        row.put_u16(u16::try_from(parts.count()).unwrap_or(u16::MAX));
        row.extend_from_slice(parts.bytes());
    }
    frame::finish(&mut row, key);
    row
}

/// Reads a row into the state the event's own list gave.
pub(crate) fn restore(key: &[u8; 8], row: &[u8], state: &mut EventState) -> Result<(), Damaged> {
    let mut body = frame::open(row, key, VERSION, WHAT)?;
    let count = body.u32()?;
    if count == ALL_DONE {
        body.end()?;
        state.restore(Packed::filled(state.count(), Standing::Done), Vec::new(), 0);
        return Ok(());
    }
    if count != state.count() {
        return Err(body.damaged());
    }
    let entries = Packed::from_bytes(count, body.bytes(Packed::bytes_of(count))?);
    let dead = u32::try_from(body.varint()?).map_err(|_| body.damaged())?;
    let mut parts = Vec::new();
    for _ in 0..body.varint()? {
        let index = body.u32()?;
        let part_count = u32::from(body.u16()?);
        parts.push((index, Packed::from_bytes(part_count, body.bytes(Packed::bytes_of(part_count))?)));
    }
    body.end()?;
    state.restore(entries, parts, dead);
    Ok(())
}

/// Looks up one entry: where it stands, and its parts that have ended or have rows of their own.
pub(crate) fn look_up(key: &[u8; 8], row: &[u8], index: u32) -> Result<(Standing, Vec<u16>), Damaged> {
    let mut body = frame::open(row, key, VERSION, WHAT)?;
    let count = body.u32()?;
    if count == ALL_DONE {
        body.end()?;
        return Ok((Standing::Done, Vec::new()));
    }
    let entries = body.bytes(Packed::bytes_of(count))?;
    let standing = Some(index)
        .filter(|index| *index < count)
        .and_then(|index| entries.get(index as usize / 4))
        .map(|byte| Standing::from_bits(byte >> (2 * (index % 4))))
        .ok_or(body.damaged())?;
    body.varint()?;
    let mut settled = Vec::new();
    for _ in 0..body.varint()? {
        let at = body.u32()?;
        let part_count = u32::from(body.u16()?);
        let parts = body.bytes(Packed::bytes_of(part_count))?;
        if at == index {
            let parts = Packed::from_bytes(part_count, parts);
            settled = (0..).zip(parts.iter()).filter(|(_, part)| !part.is_open()).map(|(at, _)| at).collect();
        }
    }
    body.end()?;
    Ok((standing, settled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::event::OwedList;

    fn fresh() -> EventState {
        EventState::new(OwedList::from_elem(7, 70), 10)
    }

    #[test]
    fn progress_round_trips_and_every_damage_is_noticed() {
        let mut state = fresh();
        state.settle_open(0, 0, 1, Standing::Done).unwrap();
        state.settle_open(3, 1, 5, Standing::OwnRow).unwrap();
        state.settle_open(69, 0, 2, Standing::Done).unwrap();
        state.set_entry(10, Standing::Parked);
        state.dead = 200;
        let key = 4_u64.to_be_bytes();
        let row = encode(&key, &state);
        let mut back = fresh();
        restore(&key, &row, &mut back).unwrap();
        assert_eq!(back.entries(), state.entries());
        assert_eq!((back.parts(), back.dead), (state.parts(), 200));
        assert!(back.has_waiting() && !back.is_finished() && back.has_row);
        for index in 0..70 {
            let (standing, settled) = look_up(&key, &row, index).unwrap();
            assert_eq!(Some(standing), state.entry(index));
            assert_eq!(settled, state.settled_parts(index));
        }
        assert!(look_up(&key, &row, 70).is_err());
        frame::check_every_damage(&row, |row| restore(&key, row, &mut fresh()).is_ok());
    }

    #[test]
    fn what_is_done_takes_nine_bytes_whatever_its_fan_out() {
        let mut state = fresh();
        for index in 0..70 {
            state.settle_open(index, 0, 1, Standing::Done).unwrap();
        }
        let key = 4_u64.to_be_bytes();
        let row = encode(&key, &state);
        assert_eq!(row.len(), 9);
        let mut back = fresh();
        restore(&key, &row, &mut back).unwrap();
        assert!(back.is_finished() && !back.has_waiting() && back.has_row);
        assert_eq!(look_up(&key, &row, 69), Ok((Standing::Done, Vec::new())));
        frame::check_every_damage(&row, |row| restore(&key, row, &mut fresh()).is_ok());
    }

    #[test]
    fn a_row_of_another_size_is_damaged() {
        let key = 4_u64.to_be_bytes();
        let row = encode(&key, &fresh());
        let mut other = EventState::new(OwedList::from_elem(7, 3), 10);
        assert!(restore(&key, &row, &mut other).is_err());
    }
}
