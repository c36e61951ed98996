//! `state`: the one row every commit writes.
//!
//! ```text
//! key    = "state"
//! body   = next_seq u64, tail_start u64, commit u64, backlog u64, dead u64, dead_bytes u64, swept u64,
//!          webhooks u32, channels u32
//! ```

use super::frame::{self, Damaged, Put};

const VERSION: u8 = 1;
const WHAT: &str = "state";
/// The row's key.
pub(crate) const KEY: &[u8] = b"state";

/// Where the store stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateRow {
    /// Place of the next event.
    pub(crate) next_seq: u64,
    /// C: no event before it has an entry that only the scan would find.
    pub(crate) tail_start: u64,
    /// Number of the last commit.
    pub(crate) commit: u64,
    /// Deliveries owed.
    pub(crate) backlog: u64,
    /// Dead letters kept.
    pub(crate) dead: u64,
    /// Bytes of the events they keep; an event counts for each of its dead letters.
    pub(crate) dead_bytes: u64,
    /// Events before it that have ended are not kept.
    pub(crate) swept: u64,
    /// Webhook numbers below it may have been given.
    pub(crate) webhooks_reserved: u32,
    /// Channel numbers below it may have been given.
    pub(crate) channels_reserved: u32,
}

impl StateRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = frame::begin(VERSION);
        for value in [self.next_seq, self.tail_start, self.commit, self.backlog] {
            row.put_u64(value);
        }
        for value in [self.dead, self.dead_bytes, self.swept] {
            row.put_u64(value);
        }
        row.put_u32(self.webhooks_reserved);
        row.put_u32(self.channels_reserved);
        frame::finish(&mut row, KEY);
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, Damaged> {
        let mut body = frame::open(row, KEY, VERSION, WHAT)?;
        let state = StateRow {
            next_seq: body.u64()?,
            tail_start: body.u64()?,
            commit: body.u64()?,
            backlog: body.u64()?,
            dead: body.u64()?,
            dead_bytes: body.u64()?,
            swept: body.u64()?,
            webhooks_reserved: body.u32()?,
            channels_reserved: body.u32()?,
        };
        body.end()?;
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_round_trips_and_every_damage_is_noticed() {
        let state = StateRow {
            next_seq: 1,
            tail_start: 2,
            commit: 3,
            backlog: 4,
            dead: 5,
            dead_bytes: 6,
            swept: 7,
            webhooks_reserved: 8,
            channels_reserved: 9,
        };
        let row = state.encode();
        assert_eq!(StateRow::decode(&row), Ok(state));
        frame::check_every_damage(&row, |row| StateRow::decode(row).is_ok());
    }
}
