//! `ids`: the producer-given ids of one commit, hashed: the idempotency window, oldest first.
//!
//! ```text
//! key    = commit u64
//! body   = at_ms u64, hash u128 × n
//! ```

use super::frame::{self, Damaged, Put};
use fanfare_core::{ChannelNo, EventId};
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;
const WHAT: &str = "idempotency";

/// The first 16 bytes of SHA-256 over channel number and id: two ids meet by chance once in 2^64 pairs.
pub(crate) fn hash(channel_no: ChannelNo, id: &EventId) -> u128 {
    let digest = Sha256::new().chain_update(channel_no.0.to_le_bytes()).chain_update(id.as_str()).finalize();
    let mut first = [0; 16];
    for (to, from) in first.iter_mut().zip(digest) {
        *to = from;
    }
    u128::from_le_bytes(first)
}

pub(crate) fn encode(key: &[u8; 8], at_ms: u64, hashes: &[u128]) -> Vec<u8> {
    let mut row = frame::begin(VERSION);
    row.reserve(8 + hashes.len() * 16);
    row.put_u64(at_ms);
    for hash in hashes {
        row.extend_from_slice(&hash.to_le_bytes());
    }
    frame::finish(&mut row, key);
    row
}

pub(crate) fn decode(key: &[u8; 8], row: &[u8]) -> Result<(u64, Vec<u128>), Damaged> {
    let mut body = frame::open(row, key, VERSION, WHAT)?;
    let at_ms = body.u64()?;
    let mut hashes = Vec::new();
    while !body.is_empty() {
        hashes.push(body.u128()?);
    }
    Ok((at_ms, hashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_every_damage_is_noticed() {
        let key = 5_u64.to_be_bytes();
        let hashes = [1, u128::MAX, 77];
        let row = encode(&key, 123, &hashes);
        assert_eq!(decode(&key, &row).unwrap(), (123, hashes.to_vec()));
        frame::check_every_damage(&row, |row| decode(&key, row).is_ok());
    }

    #[test]
    fn the_same_id_differs_by_channel() {
        let id = EventId::parse("A").unwrap();
        assert_ne!(hash(ChannelNo(1), &id), hash(ChannelNo(2), &id));
        assert_eq!(hash(ChannelNo(1), &id), hash(ChannelNo(1), &EventId::parse("A").unwrap()));
    }
}
