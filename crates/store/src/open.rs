//! Opening: the directory and its lock, the map, the format, the master key, recovery.

use crate::ledger::{DamageCount, Group, Ledger, Limits};
use crate::migrate;
use crate::options::{OpenError, StoreOptions};
use crate::record::frame::{self, Damaged, Put};
use crate::seal::{self, HASH_KEY_BYTES, KeyHasher, SealError, Sealer};
use crate::shared::Shared;
use crate::tables::{StoreEnv, Tables};
use crate::window::Window;
use heed::{EnvOpenOptions, RwTxn};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Version of the format as a whole. Raised when an old program would misread a new directory.
const FORMAT_VERSION: u32 = 2;
const ROW_VERSION: u8 = 1;
const FORMAT_KEY: &[u8] = b"format";
/// Row of `meta`, sealed: shows whether a master key is the right one.
pub(crate) const CHECK_KEY: &[u8] = b"master key check";
/// What the box of [`CHECK_KEY`] holds.
pub(crate) const CHECK_TEXT: &[u8] = b"fanfare";
/// Row of `meta`, sealed: the key that API keys are hashed with.
pub(crate) const HASH_KEY: &[u8] = b"hash key of api keys";
/// The smallest map worth trying.
const MAP_BYTES_MIN: usize = 1 << 20;
/// Read transactions at once: the reader, and callers that read configuration.
const READERS_MAX: u32 = 512;
const PAGE_BYTES: usize = 4096;

/// Everything an open store starts from.
pub(crate) struct Opened {
    pub(crate) env: StoreEnv,
    pub(crate) tables: Tables,
    pub(crate) ledger: Ledger,
    pub(crate) shared: Shared,
    pub(crate) sealer: Sealer,
    pub(crate) hasher: KeyHasher,
    /// Held while the store is open.
    pub(crate) lock: File,
    pub(crate) map_bytes: usize,
    pub(crate) used_bytes: u64,
}

/// Makes the directory when it is missing and takes its lock.
pub(crate) fn lock(dir: &Path) -> Result<File, OpenError> {
    let directory = |source| OpenError::Directory { dir: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(directory)?;
    let path = dir.join("in-use.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(directory)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(directory(source)),
    }
}

/// Opens the environment with a map as large as it may be; gives its size.
pub(crate) fn open_env(dir: &Path, map_bytes: usize) -> Result<(StoreEnv, usize), OpenError> {
    let mut size = (map_bytes.max(MAP_BYTES_MIN) / PAGE_BYTES).max(1) * PAGE_BYTES;
    loop {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(size).max_dbs(Tables::COUNT).max_readers(READERS_MAX);
        #[expect(unsafe_code, reason = "heed leaves to the caller that nobody else changes the mapped file")]
        // SAFETY: the directory is readable by its owner alone and locked by us, so no other store maps the file, and
        // no one but LMDB writes to it; its format is checked before anything in it is used.
        let opened = unsafe { options.open(dir) };
        match opened {
            Ok(env) => return Ok((env, size)),
            Err(heed::Error::Io(error))
                if error.kind() == std::io::ErrorKind::OutOfMemory && size / 2 >= MAP_BYTES_MIN =>
            {
                let smaller = size / 2 / PAGE_BYTES * PAGE_BYTES;
                tracing::warn!(wanted_bytes = size, trying_bytes = smaller, "address space is limited");
                size = smaller;
            }
            Err(heed::Error::EnvAlreadyOpened) => return Err(OpenError::InUse { dir: dir.to_owned() }),
            Err(source) => return Err(OpenError::Database { dir: dir.to_owned(), source }),
        }
    }
}

/// Opens, checks and recovers.
pub(crate) fn open(options: &StoreOptions) -> Result<Opened, OpenError> {
    let dir = options.dir.as_path();
    let database = |source| OpenError::Database { dir: dir.to_owned(), source };
    let lock = lock(dir)?;
    let (env, map_bytes) = open_env(dir, options.map_bytes)?;
    let sealer = Sealer::new(options.master_key);
    let mut txn = env.write_txn().map_err(database)?;
    let tables = Tables::create(&env, &mut txn).map_err(database)?;
    let hasher = check_format(&tables, &mut txn, &sealer, dir)?;

    let now_ms = options.clock.now().unix_ms;
    let damage = DamageCount::default();
    let limits = Limits {
        tail_events_max: options.tail_events_max,
        window: Window::new(options.idempotency_ids_max, options.idempotency_age_ms),
        backlog_max: options.backlog_deliveries_max,
        retention: options.retention,
    };
    let mut ledger = Ledger::load(tables, &txn, limits, damage.clone(), now_ms)
        .map_err(database)?
        .map_err(|Damaged(what)| OpenError::Damaged { dir: dir.to_owned(), what })?;
    let shared = Shared::new(&ledger.state, damage);
    let mut group = Group::at(now_ms);
    let waiting = ledger.tail.len();
    recover(&mut ledger, &mut txn, &mut group, &shared).map_err(database)?;
    let used_bytes = tables.used_bytes(&txn).map_err(database)?;
    txn.commit().map_err(database)?;
    sync_directory(dir).map_err(|source| OpenError::Directory { dir: dir.to_owned(), source })?;
    shared.publish(&ledger, used_bytes);
    tracing::info!(
        events_recovered = waiting,
        backlog = ledger.state.backlog,
        dead = ledger.state.dead,
        used_bytes,
        "store is open"
    );
    Ok(Opened { env, tables, ledger, shared, sealer, hasher, lock, map_bytes, used_bytes })
}

/// Makes the names of new files as durable as their bytes: a commit syncs the file, not the directory that names it.
fn sync_directory(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()?;
    // The directory's own name stands in its parent, which we may lack the right to open.
    match dir.canonicalize()?.parent().map(File::open) {
        Some(Ok(parent)) => parent.sync_all(),
        Some(Err(_)) | None => Ok(()),
    }
}

fn recover(ledger: &mut Ledger, txn: &mut RwTxn<'_>, group: &mut Group, shared: &Shared) -> heed::Result<()> {
    ledger.window.age(ledger.tables.ids, txn, group.now_ms)?;
    ledger.recover(txn, group)?;
    shared.reserve_numbers(&mut ledger.state, 1000);
    ledger.flush(txn, group)
}

/// Checks version and master key, or writes both into a new directory.
pub(crate) fn check_format(
    tables: &Tables,
    txn: &mut RwTxn<'_>,
    sealer: &Sealer,
    dir: &Path,
) -> Result<KeyHasher, OpenError> {
    let database = |source| OpenError::Database { dir: dir.to_owned(), source };
    let damaged = |what| OpenError::Damaged { dir: dir.to_owned(), what };
    let no_box = |error: SealError| database(heed::Error::Io(std::io::Error::other(error)));
    let Some(row) = tables.meta.get(txn, FORMAT_KEY).map_err(database)? else {
        let is_new =
            tables.state.is_empty(txn).map_err(database)? && tables.events.is_empty(txn).map_err(database)?;
        if !is_new {
            return Err(damaged("format"));
        }
        put_version(tables, txn).map_err(database)?;
        let check = sealer.seal(CHECK_KEY, CHECK_TEXT).map_err(no_box)?;
        tables.meta.put(txn, CHECK_KEY, &check).map_err(database)?;
        let hash_key = seal::new_hash_key().map_err(no_box)?;
        let sealed = sealer.seal(HASH_KEY, &*hash_key).map_err(no_box)?;
        tables.meta.put(txn, HASH_KEY, &sealed).map_err(database)?;
        let state =
            crate::record::state::StateRow { next_seq: 1, tail_start: 1, swept: 1, ..Default::default() };
        tables.state.put(txn, crate::record::state::KEY, &state.encode()).map_err(database)?;
        return Ok(KeyHasher::new(&*hash_key));
    };
    let found = frame::open(row, FORMAT_KEY, ROW_VERSION, "format")
        .and_then(|mut body| body.u32())
        .map_err(|Damaged(what)| damaged(what))?;
    if found > FORMAT_VERSION {
        return Err(OpenError::NewerFormat { dir: dir.to_owned(), found, known: FORMAT_VERSION });
    }
    let check = tables.meta.get(txn, CHECK_KEY).map_err(database)?.ok_or(damaged("master key check"))?;
    if sealer.open(CHECK_KEY, check).is_err() {
        return Err(OpenError::WrongMasterKey { dir: dir.to_owned() });
    }
    if found == 1 {
        migrate::from_1(tables, txn).map_err(database)?.map_err(|Damaged(what)| damaged(what))?;
        let sealed = sealer.seal(HASH_KEY, sealer.format_1_hash_key()).map_err(no_box)?;
        tables.meta.put(txn, HASH_KEY, &sealed).map_err(database)?;
        put_version(tables, txn).map_err(database)?;
    }
    if tables.state.get(txn, crate::record::state::KEY).map_err(database)?.is_none() {
        return Err(damaged("state"));
    }
    let sealed = tables.meta.get(txn, HASH_KEY).map_err(database)?.ok_or(damaged("api key hash key"))?;
    match sealer.open(HASH_KEY, sealed) {
        Ok(key) if key.len() == HASH_KEY_BYTES => Ok(KeyHasher::new(&key)),
        _ => Err(damaged("api key hash key")),
    }
}

fn put_version(tables: &Tables, txn: &mut RwTxn<'_>) -> heed::Result<()> {
    let mut row = frame::begin(ROW_VERSION);
    row.put_u32(FORMAT_VERSION);
    frame::finish(&mut row, FORMAT_KEY);
    tables.meta.put(txn, FORMAT_KEY, &row)
}
