//! The named tables and their keys. Keys are big-endian, so that rows stand in order of time and place.

use heed::types::Bytes;
use heed::{AnyTls, Database, Env, RoTxn, RwTxn, WithoutTls};

/// One table.
pub(crate) type Table = Database<Bytes, Bytes>;
/// The environment: read transactions may move between threads.
pub(crate) type StoreEnv = Env<WithoutTls>;
/// A read transaction, or a write transaction used for reading.
pub(crate) type Txn<'t> = RoTxn<'t, AnyTls>;

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Handles of all tables.
        #[derive(Clone, Copy)]
        pub(crate) struct Tables {
            $($(#[$doc])* pub(crate) $name: Table,)*
        }

        impl Tables {
            /// Number of tables.
            pub(crate) const COUNT: u32 = [$(stringify!($name)),*].len() as u32;

            /// Opens them, making those that are missing.
            pub(crate) fn create(env: &StoreEnv, txn: &mut RwTxn<'_>) -> heed::Result<Self> {
                Ok(Tables { $($name: env.create_database(txn, Some(stringify!($name)))?,)* })
            }

            /// Names and handles.
            pub(crate) fn all(&self) -> [(&'static str, Table); Self::COUNT as usize] {
                [$((stringify!($name), self.$name)),*]
            }
        }
    };
}

tables! {
    /// Format version, the master key's check value, and the key that API keys are hashed with.
    meta,
    /// The row every commit writes.
    state,
    /// Events still owed to someone.
    events,
    /// Standings of events partly done.
    progress,
    /// The backlog index.
    parked,
    /// Deliveries that wait for their next attempt.
    retries,
    /// Dead letters.
    dead,
    /// Hours in which webhooks have dead letters.
    dead_hours,
    /// Attempts.
    attempts,
    /// The idempotency window.
    ids,
    /// Event rows set aside.
    damaged,
    /// Accounts by id.
    accounts,
    /// Keys by id.
    keys,
    /// Channels by number.
    channels,
    /// Channel id → number.
    channel_names,
    /// Webhooks as routing needs them.
    routes,
    /// Webhooks, whole.
    webhooks,
    /// Deleted webhooks whose rows are still being removed.
    reaping,
}

impl Tables {
    /// Bytes of the pages that hold rows: what the file's size is once free pages are left out.
    pub(crate) fn used_bytes(&self, txn: &Txn<'_>) -> heed::Result<u64> {
        let mut bytes = 0;
        for (_, table) in self.all() {
            bytes += table_bytes(table, txn)?;
        }
        Ok(bytes)
    }
}

/// Bytes of a table's pages.
pub(crate) fn table_bytes(table: Table, txn: &Txn<'_>) -> heed::Result<u64> {
    let stat = table.stat(txn)?;
    let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
    Ok(pages as u64 * u64::from(stat.page_size))
}

fn joined<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    for (to, from) in key.iter_mut().zip(parts.iter().copied().flatten()) {
        *to = *from;
    }
    key
}

/// Key of a number.
pub(crate) fn no_key(no: u32) -> [u8; 4] {
    no.to_be_bytes()
}

/// Key of an event or a commit.
pub(crate) fn seq_key(seq: u64) -> [u8; 8] {
    seq.to_be_bytes()
}

/// Key of a chunk.
pub(crate) fn parked_key(webhook: u32, first_seq: u64) -> [u8; 12] {
    joined(&[&webhook.to_be_bytes(), &first_seq.to_be_bytes()])
}

/// Key of a retry or of a dead letter.
pub(crate) fn timed_key(webhook: u32, at_ms: u64, seq: u64, part: u16) -> [u8; 22] {
    joined(&[&webhook.to_be_bytes(), &at_ms.to_be_bytes(), &seq.to_be_bytes(), &part.to_be_bytes()])
}

/// Key of a row of attempts.
pub(crate) fn attempts_key(hour: u32, webhook: u32, commit: u64, n: u16) -> [u8; 18] {
    joined(&[&hour.to_be_bytes(), &webhook.to_be_bytes(), &commit.to_be_bytes(), &n.to_be_bytes()])
}

/// Key of an hour of a webhook.
pub(crate) fn hour_key(hour: u32, webhook: u32) -> [u8; 8] {
    joined(&[&hour.to_be_bytes(), &webhook.to_be_bytes()])
}

/// Hour and webhook of such a key.
pub(crate) fn hour_key_parts(key: &[u8]) -> (u32, u32) {
    (u32::from_be_bytes(field(key, 0)), u32::from_be_bytes(field(key, 4)))
}

/// Reads a number at a place of a key; 0 past its end, which no key of ours reaches.
fn field<const N: usize>(key: &[u8], at: usize) -> [u8; N] {
    key.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

/// The webhook (or hour) a key starts with.
pub(crate) fn key_no(key: &[u8]) -> u32 {
    u32::from_be_bytes(field(key, 0))
}

/// The event or commit that is a key.
pub(crate) fn key_seq(key: &[u8]) -> u64 {
    u64::from_be_bytes(field(key, 0))
}

/// The first event of a chunk's key.
pub(crate) fn parked_seq(key: &[u8]) -> u64 {
    u64::from_be_bytes(field(key, 4))
}

/// Time, event and part of a retry's or dead letter's key.
pub(crate) fn timed_parts(key: &[u8]) -> (u64, u64, u16) {
    (
        u64::from_be_bytes(field(key, 4)),
        u64::from_be_bytes(field(key, 12)),
        u16::from_be_bytes(field(key, 20)),
    )
}

/// Commit and number of a row of attempts.
pub(crate) fn attempts_parts(key: &[u8]) -> (u64, u16) {
    (u64::from_be_bytes(field(key, 8)), u16::from_be_bytes(field(key, 16)))
}

/// The webhooks that have rows in a table keyed by webhook first, with the key of each one's first row: one seek per
/// webhook, however many rows it has.
pub(crate) fn first_rows(
    table: Table,
    txn: &Txn<'_>,
    mut sink: impl FnMut(u32, &[u8]) -> heed::Result<()>,
) -> heed::Result<()> {
    let mut from = 0_u32;
    while let Some((key, _)) = table.get_greater_than_or_equal_to(txn, &from.to_be_bytes())? {
        let webhook = key_no(key);
        sink(webhook, key)?;
        match webhook.checked_add(1) {
            Some(next) => from = next,
            None => break,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_webhook_then_time() {
        let keys = [
            timed_key(1, 2, 900, 0),
            timed_key(1, 300, 1, 1),
            timed_key(1, 300, 1, 2),
            timed_key(2, 0, 0, 0),
        ];
        assert!(keys.is_sorted());
        assert_eq!(timed_parts(&keys[1]), (300, 1, 1));
        assert_eq!(key_no(&keys[3]), 2);
        assert_eq!(parked_seq(&parked_key(5, 77)), 77);
        assert_eq!(hour_key_parts(&hour_key(5, 77)), (5, 77));
        assert_eq!(attempts_parts(&attempts_key(1, 2, 3, 4)), (3, 4));
    }
}
