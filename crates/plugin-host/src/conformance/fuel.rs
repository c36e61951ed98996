//! Counts a render's instructions, on an engine beside the server's: there time is limited, which costs less than counting.

use crate::limits::{Limits, OUTPUT_OVERHEAD_BYTES, STACK_BYTES, TABLE_ELEMENTS_MAX};
use crate::v1::Plugin;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store, StoreLimits, StoreLimitsBuilder};

/// Most for one render: seconds of work, where a second is the most a render may take.
const FUEL_MAX: u64 = 20_000_000_000;

pub(super) struct FuelMeter {
    engine: Engine,
    component: Component,
    limits: Limits,
}

impl FuelMeter {
    pub(super) fn new(bytes: &[u8], limits: Limits) -> Result<Self, String> {
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .consume_fuel(true)
            .max_wasm_stack(STACK_BYTES)
            .cranelift_nan_canonicalization(true)
            .wasm_relaxed_simd(false)
            .wasm_memory64(false);
        let engine = Engine::new(&config).map_err(|error| format!("no engine that counts: {error}"))?;
        let component =
            Component::from_binary(&engine, bytes).map_err(|error| format!("cannot compile: {error:#}"))?;
        Ok(FuelMeter { engine, component, limits })
    }

    /// Of the second render of this event on an instance of its own: the first may set things up.
    pub(super) fn count(&self, settings: &str, event: &[u8]) -> Result<u64, String> {
        let limits: StoreLimits = StoreLimitsBuilder::new()
            .memory_size(self.limits.memory_bytes)
            .table_elements(TABLE_ELEMENTS_MAX)
            .build();
        let mut store = Store::new(&self.engine, limits);
        store.limiter(|limits| limits);
        store.set_hostcall_fuel(self.limits.output_bytes.saturating_add(OUTPUT_OVERHEAD_BYTES));
        let failed = |error: wasmtime::Error| {
            crate::output::message(error.root_cause().to_string().lines().next().unwrap_or_default())
        };
        store.set_fuel(FUEL_MAX).map_err(failed)?;
        let plugin =
            Plugin::instantiate(&mut store, &self.component, &Linker::new(&self.engine)).map_err(failed)?;
        let format = plugin.fanfare_format_format();
        format
            .call_configure(&mut store, settings)
            .map_err(failed)?
            .map_err(|text| format!("refused its settings: {}", crate::output::message(&text)))?;
        let mut left = FUEL_MAX;
        for _ in 0..2 {
            store.set_fuel(FUEL_MAX).map_err(failed)?;
            // A refusal of the event costs too.
            let _given = format.call_render(&mut store, event).map_err(failed)?;
            left = store.get_fuel().map_err(failed)?;
        }
        Ok(FUEL_MAX - left)
    }
}
