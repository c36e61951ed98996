//! The one wasmtime engine of the process, its epochs, and the cache of compiled code.
//!
//! Code from the cache is machine code: `deserialize_file` believes it. So the cache folder is 0700, files in it are written
//! by this process only (a temporary file, then a rename), and are keyed by the component's hash and by the engine's own
//! compatibility hash, which covers wasmtime's version and every setting.

use crate::error::{FormatError, internal, refused};
use crate::limits::{COMPONENT_BYTES_MAX, EPOCH, Limits, STACK_BYTES};
use sha2::{Digest, Sha256};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use wasmtime::component::Component;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Instances alive at once that the pool is made for; further ones are an error of the call, which is retried.
const POOL_INSTANCES: u32 = 256;

/// See the module.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    ticker: Arc<Ticker>,
    cache: Option<PathBuf>,
    /// One compilation at a time: a large one takes every core for seconds.
    compiling: Mutex<()>,
}

/// Advances the epoch while any call is running.
#[derive(Default)]
struct Ticker {
    running: AtomicU64,
    is_stopped: AtomicBool,
    asleep: Mutex<()>,
    wake: Condvar,
}

/// A call under way; while it lives time passes for guests.
pub(crate) struct Running(Arc<Ticker>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Release);
    }
}

fn config(is_pooling: bool) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false);
    if is_pooling {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(POOL_INSTANCES)
            .total_core_instances(POOL_INSTANCES * 4)
            .total_memories(POOL_INSTANCES)
            .total_tables(POOL_INSTANCES * 4)
            .max_core_instances_per_component(100)
            .max_memories_per_component(20)
            .max_tables_per_component(40)
            .max_component_instance_size(8 << 20)
            .max_core_instance_size(8 << 20)
            .max_memory_size(Limits::CEILING.memory_bytes)
            .table_elements(100_000)
            .linear_memory_keep_resident(256 << 10);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

impl Host {
    /// With a cache of compiled code in `cache`, made 0700.
    pub(crate) fn new(cache: Option<PathBuf>) -> Result<Arc<Self>, FormatError> {
        // The pool reserves terabytes of address space; where that is limited, instances are made on demand.
        let engine = Engine::new(&config(true)).or_else(|error| {
            tracing::warn!(%error, "no address space for a pool of plugin instances: they are made on demand");
            Engine::new(&config(false))
        });
        let engine = engine.map_err(|error| internal("no engine", error))?;
        if let Some(folder) = &cache {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|error| internal("cannot make the cache folder", error))?;
        }
        let ticker = Arc::new(Ticker::default());
        let (ticking, ticked) = (Arc::clone(&ticker), engine.clone());
        std::thread::Builder::new()
            .name("plugin-epochs".into())
            .spawn(move || ticking.tick(&ticked))
            .map_err(|error| internal("no thread", error))?;
        Ok(Arc::new(Host { engine, ticker, cache, compiling: Mutex::new(()) }))
    }

    /// Time passes until it is dropped.
    pub(crate) fn run(&self) -> Running {
        if self.ticker.running.fetch_add(1, Ordering::AcqRel) == 0 {
            let _guard = self.ticker.asleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.ticker.wake.notify_one();
        }
        Running(Arc::clone(&self.ticker))
    }

    /// Compiles, or takes from the cache what was compiled before. Blocks for up to seconds.
    pub(crate) fn component(&self, bytes: &[u8]) -> Result<Component, FormatError> {
        debug_assert!(bytes.len() <= COMPONENT_BYTES_MAX, "checked at admission");
        let _turn = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = self.cache.as_deref().map(|folder| self.cache_file(folder, bytes));
        if let Some(file) = &cached
            && let Some(component) = self.load(file)
        {
            return Ok(component);
        }
        let component = Component::from_binary(&self.engine, bytes)
            .map_err(|error| refused(format!("cannot be compiled: {error:#}")))?;
        if let Some(file) = cached
            && let Err(error) = store(&file, &component)
        {
            tracing::warn!(%error, "cannot keep compiled code: it is compiled again at the next start");
        }
        Ok(component)
    }

    fn cache_file(&self, folder: &Path, bytes: &[u8]) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        let content = hex::encode(Sha256::digest(bytes));
        folder.join(format!("{content}-{:016x}.cwasm", hasher.finish()))
    }

    fn load(&self, file: &Path) -> Option<Component> {
        let permissions = std::fs::metadata(file).ok()?.permissions();
        if permissions.mode() & 0o077 != 0 {
            tracing::warn!(file = %file.display(), "compiled code that others may write is not used");
            return None;
        }
        #[expect(unsafe_code, reason = "the only way to load compiled code")]
        // SAFETY: the file lies in a folder that only this user may write (0700, checked above for the file), under a
        // name that only `store` gives, after a rename of a whole file; wasmtime checks version and settings itself.
        let loaded = unsafe { Component::deserialize_file(&self.engine, file) };
        loaded
            .inspect_err(|error| tracing::warn!(%error, "compiled code cannot be used: compiled again"))
            .ok()
    }
}

fn store(file: &Path, component: &Component) -> Result<(), Box<dyn std::error::Error>> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let code = component.serialize()?;
    let part = file.with_extension("part");
    let mut open = std::fs::OpenOptions::new();
    let mut written = open.write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    written.write_all(&code)?;
    written.sync_all()?;
    std::fs::rename(&part, file)?;
    Ok(())
}

impl Ticker {
    fn tick(&self, engine: &Engine) {
        while !self.is_stopped.load(Ordering::Acquire) {
            if self.running.load(Ordering::Acquire) == 0 {
                let guard = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
                if self.running.load(Ordering::Acquire) == 0 && !self.is_stopped.load(Ordering::Acquire) {
                    drop(self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner));
                }
                continue;
            }
            std::thread::park_timeout(EPOCH);
            engine.increment_epoch();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.ticker.is_stopped.store(true, Ordering::Release);
        let _guard = self.ticker.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.ticker.wake.notify_one();
    }
}
