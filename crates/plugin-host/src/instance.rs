//! One instance of a plugin, on the thread that renders with it.

use crate::engine::Host;
use crate::limits::{Limits, RENDERS_PER_INSTANCE, START_DEADLINE, epochs};
use crate::v1::Plugin;
use crate::v1::exports::fanfare::format::format as v1;
use wasmtime::component::{Component, Linker};
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder, Trap};

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

/// See the module.
pub(crate) struct Instance {
    store: Store<StoreLimits>,
    plugin: Plugin,
    renders: u32,
    limits: Limits,
}

fn fault(error: &wasmtime::Error) -> Faulted {
    let text = format!("{error:#}");
    let kind = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Fault::Deadline,
        Some(_) => Fault::Trap,
        // `trap_on_grow_failure` gives an error with this text and no code of its own.
        None if text.contains("growing memory") => Fault::Memory,
        None => Fault::Trap,
    };
    // The text holds a backtrace of the guest; its first line says what happened.
    let first = text.lines().next().unwrap_or_default();
    (kind, crate::output::message(first))
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
        let guard = StoreLimitsBuilder::new()
            .memory_size(limits.memory_bytes)
            .table_elements(100_000)
            .instances(100)
            .memories(20)
            .tables(40)
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(&host.engine, guard);
        store.limiter(|limits| limits);
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

    /// Renders one event. `Err`: the instance must not be called again.
    pub(crate) fn render(&mut self, event: &[u8]) -> Result<Result<Vec<v1::Rendered>, v1::Failure>, Faulted> {
        self.renders += 1;
        // Counted from now on, each time: a deadline is not reset by itself.
        self.store.set_epoch_deadline(self.limits.render_epochs());
        let rendered = self.plugin.fanfare_format_format().call_render(&mut self.store, event);
        rendered.map_err(|error| fault(&error))
    }

    /// Whether it has served long enough.
    pub(crate) fn is_used_up(&self) -> bool {
        self.renders >= RENDERS_PER_INSTANCE
    }
}
