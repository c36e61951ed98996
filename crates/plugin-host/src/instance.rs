//! One instance of a plugin, on the thread that renders with it.

use crate::engine::Host;
use crate::limits::{
    Limits, OUTPUT_OVERHEAD_BYTES, RENDERS_PER_INSTANCE, START_DEADLINE, TABLE_ELEMENTS_MAX, epochs,
};
use crate::v1::Plugin;
use crate::v1::exports::fanfare::format::format as v1;
use wasmtime::component::{Component, Linker};
use wasmtime::{ResourceLimiter, Store, Trap};

/// Why a call gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// It trapped: a panic, an unreachable, a stack overflow.
    Trap,
    /// It took too long.
    Deadline,
    /// It wanted more memory than it may have.
    Memory,
    /// It could not be made or configured.
    Start,
    /// It said itself that it failed, or gave what may not be sent.
    Own,
}

impl Fault {
    pub(crate) const ALL: [Fault; 5] =
        [Fault::Trap, Fault::Deadline, Fault::Memory, Fault::Start, Fault::Own];

    /// Label of a metric.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Fault::Trap => "trap",
            Fault::Deadline => "deadline",
            Fault::Memory => "memory",
            Fault::Start => "start",
            Fault::Own => "internal",
        }
    }
}

/// A fault with its text for the operator.
pub(crate) type Faulted = (Fault, String);

/// A guest asked for more than it may have.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct TooMuch(String);

/// What one instance has of what is limited, all its memories and tables together.
#[derive(Debug)]
struct Guard {
    memory_bytes: usize,
    memory_bytes_limit: usize,
    table_elements: usize,
}

/// The new total, or why not.
fn grown(what: &str, total: usize, current: usize, desired: usize, most: usize) -> Result<usize, TooMuch> {
    let asked = total.saturating_add(desired.saturating_sub(current));
    if asked > most { Err(TooMuch(format!("{what} of {asked} exceeds {most}"))) } else { Ok(asked) }
}

/// An error instead of a refusal: a guest that is told "no" aborts with a trap that does not say why. Its own maximum
/// it is told of, as WebAssembly says.
impl ResourceLimiter for Guard {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = grown("memory", self.memory_bytes, current, desired, self.memory_bytes_limit)?;
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(TooMuch(format!("memory cannot grow: {error}")).into())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = grown("table", self.table_elements, current, desired, TABLE_ELEMENTS_MAX)?;
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        100
    }

    fn tables(&self) -> usize {
        40
    }

    fn memories(&self) -> usize {
        20
    }
}

/// See the module.
pub(crate) struct Instance {
    store: Store<Guard>,
    plugin: Plugin,
    renders: u32,
    limits: Limits,
}

fn fault(error: &wasmtime::Error) -> Faulted {
    if let Some(too_much) = error.downcast_ref::<TooMuch>() {
        return (Fault::Memory, too_much.to_string());
    }
    let kind = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Fault::Deadline,
        _ => Fault::Trap,
    };
    // The text holds a backtrace of the guest; its last line says what happened.
    let text = error.root_cause().to_string();
    (kind, crate::output::message(text.lines().next().unwrap_or_default()))
}

impl Instance {
    /// Makes one and configures it.
    pub(crate) fn start(
        host: &Host,
        component: &Component,
        limits: Limits,
        settings: &str,
    ) -> Result<Self, Faulted> {
        let _running = host.run();
        let guard = Guard { memory_bytes: 0, memory_bytes_limit: limits.memory_bytes, table_elements: 0 };
        let mut store = Store::new(&host.engine, guard);
        store.limiter(|guard| guard);
        store.set_hostcall_fuel(limits.output_bytes.saturating_add(OUTPUT_OVERHEAD_BYTES));
        store.set_epoch_deadline(epochs(START_DEADLINE));
        let start = |error: wasmtime::Error| {
            let (kind, text) = fault(&error);
            (if kind == Fault::Trap { Fault::Start } else { kind }, text)
        };
        let plugin = Plugin::instantiate(&mut store, component, &Linker::new(&host.engine)).map_err(start)?;
        let configured =
            plugin.fanfare_format_format().call_configure(&mut store, settings).map_err(start)?;
        if let Err(text) = configured {
            let text = crate::output::message(&text);
            return Err((Fault::Start, format!("refused its settings: {text}")));
        }
        Ok(Instance { store, plugin, renders: 0, limits })
    }

    /// What it says of itself.
    pub(crate) fn describe(&mut self, host: &Host) -> Result<v1::Description, Faulted> {
        let _running = host.run();
        self.store.set_epoch_deadline(epochs(START_DEADLINE));
        let described = self.plugin.fanfare_format_format().call_describe(&mut self.store);
        described.map_err(|error| fault(&error))
    }

    /// Renders one event, while the host is running. `Err`: the instance must not be called again.
    pub(crate) fn render(&mut self, event: &[u8]) -> Result<Result<Vec<v1::Rendered>, v1::Failure>, Faulted> {
        self.renders += 1;
        // Counted from now on, each time: a deadline is not reset by itself.
        self.store.set_epoch_deadline(self.limits.render_epochs());
        let rendered = self.plugin.fanfare_format_format().call_render(&mut self.store, event);
        rendered.map_err(|error| fault(&error))
    }

    /// Linear memory it has now, bytes; a memory never shrinks.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory_bytes
    }

    /// Whether it has served long enough, or grown so far that what it keeps is likely to be garbage.
    pub(crate) fn is_used_up(&self) -> bool {
        self.renders >= RENDERS_PER_INSTANCE || self.memory_bytes() > self.limits.memory_bytes / 2
    }
}
