//! How a store is set up, and why it may refuse to open.

use fanfare_core::limits;
use fanfare_core::ports::Clock;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

/// How a store is set up. [`StoreOptions::new`] fills in the defaults.
#[derive(Clone)]
pub struct StoreOptions {
    /// The store's directory; made, readable by its owner alone, when it is missing.
    pub dir: PathBuf,
    /// Key that all secrets at rest are sealed under.
    pub master_key: [u8; 32],
    /// Idempotency window, ids over all channels. Raising it costs about 35 bytes of memory each. Default 1,000,000.
    pub idempotency_ids_max: usize,
    /// Idempotency window, milliseconds. Default one hour.
    pub idempotency_age_ms: u64,
    /// Deliveries owed at which events are refused. Default 100,000,000.
    pub backlog_deliveries_max: u64,
    /// Bytes in use at which events are refused; `None`: as much as the file system gives.
    pub disk_bytes_max: Option<u64>,
    /// Free space of the file system, bytes, below which events are refused so that deliveries can go on. Default 64 MiB.
    pub disk_reserve_bytes: u64,
    /// Address space asked for, bytes; the most the store can ever hold. Halved until it is granted. Default 1 TiB.
    pub map_bytes: usize,
    /// Events that may wait in memory before older ones are moved to the backlog index. Raising it costs memory and
    /// time of recovery. Default 65,536.
    pub tail_events_max: usize,
    /// How long what has ended is kept, and how much of it.
    pub retention: Retention,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// How long what has ended is kept, and how much of it. The oldest goes first, in the background; ages of attempts and
/// dead letters are those of whole hours, so that what goes is up to an hour older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Age of an event, seconds, up to which its body is kept after all its deliveries have ended, so that also
    /// delivered and skipped ones can be redriven. Raising it costs the disk each event's bytes for so long and one
    /// small row more an event. Default 0: bodies go as soon as they are not owed and no dead letter keeps them.
    pub bodies_seconds: u64,
    /// Bytes of events, owed ones included, above which ended ones go before that. Default 16 GiB.
    pub bodies_bytes: u64,
    /// Age of recorded attempts, seconds. Default 7 days.
    pub attempts_seconds: u64,
    /// Bytes of recorded attempts. Default 8 GiB.
    pub attempts_bytes: u64,
    /// Age of dead letters, counted from their end, seconds. Default 30 days.
    pub dead_letters_seconds: u64,
    /// Bytes of events that dead letters keep; an event that several webhooks gave up counts for each of them. Default
    /// 16 GiB.
    pub dead_letters_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY_SECONDS: u64 = 24 * 3600;
        const GIB: u64 = 1 << 30;
        Retention {
            bodies_seconds: 0,
            bodies_bytes: 16 * GIB,
            attempts_seconds: 7 * DAY_SECONDS,
            attempts_bytes: 8 * GIB,
            dead_letters_seconds: 30 * DAY_SECONDS,
            dead_letters_bytes: 16 * GIB,
        }
    }
}

impl StoreOptions {
    /// The defaults.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, master_key: [u8; 32], clock: Arc<dyn Clock>) -> Self {
        StoreOptions {
            dir: dir.into(),
            master_key,
            idempotency_ids_max: limits::IDEMPOTENCY_IDS_MAX,
            idempotency_age_ms: limits::IDEMPOTENCY_AGE_MS,
            backlog_deliveries_max: limits::BACKLOG_DELIVERIES_MAX,
            disk_bytes_max: None,
            disk_reserve_bytes: 64 * 1024 * 1024,
            map_bytes: default_map_bytes(),
            tail_events_max: 65_536,
            retention: Retention::default(),
            clock,
        }
    }
}

/// Address space of [`StoreOptions::map_bytes`].
#[cfg(target_pointer_width = "64")]
pub(crate) fn default_map_bytes() -> usize {
    1 << 40
}

/// Address space of [`StoreOptions::map_bytes`].
#[cfg(not(target_pointer_width = "64"))]
pub(crate) fn default_map_bytes() -> usize {
    1 << 30
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreOptions")
            .field("dir", &self.dir)
            .field("idempotency_ids_max", &self.idempotency_ids_max)
            .field("idempotency_age_ms", &self.idempotency_age_ms)
            .field("backlog_deliveries_max", &self.backlog_deliveries_max)
            .field("disk_bytes_max", &self.disk_bytes_max)
            .field("disk_reserve_bytes", &self.disk_reserve_bytes)
            .field("map_bytes", &self.map_bytes)
            .field("tail_events_max", &self.tail_events_max)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or used.
    #[error("data directory {dir}: {source}")]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process (or another store of this one) has it open.
    #[error("data directory {dir} is in use by another process; stop it, or choose another directory")]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// There is none to work on.
    #[error("data directory {dir} holds no store; name the directory of `fanfare serve`")]
    NoStore {
        /// The directory.
        dir: PathBuf,
    },
    /// Secrets at rest were sealed under another master key.
    #[error("data directory {dir} was written under another master key; give the key it was made with")]
    WrongMasterKey {
        /// The directory.
        dir: PathBuf,
    },
    /// A later version of the program wrote it.
    #[error(
        "data directory {dir} has format version {found}, newer than {known}; use the program that wrote it"
    )]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A record without which nothing can be trusted is damaged.
    #[error("data directory {dir}: damaged {what} record; restore the directory from a copy")]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// Which record.
        what: &'static str,
    },
    /// The database could not be opened or recovered.
    #[error("data directory {dir}: {source}")]
    Database {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: heed::Error,
    },
    /// A thread could not be started.
    #[error("starting the store's thread {name}: {source}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why.
        source: std::io::Error,
    },
}
