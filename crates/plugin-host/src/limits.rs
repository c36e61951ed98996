//! What a plugin may use, in one place.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Largest component, bytes: room for an engine of a script language inside.
pub(crate) const COMPONENT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bodies one event may render to.
pub(crate) const BODIES_MAX: usize = fanfare_core::limits::PARTS_MAX;
/// Headers of one body.
pub(crate) const HEADERS_MAX: usize = 16;
/// Longest header value or content type, bytes.
pub(crate) const HEADER_VALUE_BYTES_MAX: usize = 1024;
/// Longest text of a failure kept, characters.
pub(crate) const MESSAGE_CHARS_MAX: usize = 512;
/// Renders of one instance before it is made anew: some guests never give memory back.
pub(crate) const RENDERS_PER_INSTANCE: u32 = 10_000;
/// Table elements of one instance, all its tables together.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;
/// What a guest may hand over in one call beside its bodies: types, headers, messages, the lists themselves. A list can
/// name the same memory a thousand times, and each time is a copy on our side.
pub(crate) const OUTPUT_OVERHEAD_BYTES: usize = 256 << 10;
/// An instance that a thread has not used for so long is dropped: its memory is worth more than the warm start.
pub(crate) const INSTANCE_IDLE: Duration = Duration::from_secs(30);
/// Length of an epoch: how finely deadlines are kept.
pub(crate) const EPOCH: Duration = Duration::from_millis(5);
/// For making and configuring an instance.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(2);
/// Guest stack, bytes.
pub(crate) const STACK_BYTES: usize = 256 * 1024;

/// What a manifest may ask for; what it does not name is the default, and nothing exceeds the ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of one instance, bytes; default 16 MiB, at most 64 MiB.
    pub memory_bytes: usize,
    /// Time of one render, ms; default 20, at most 1000.
    pub render_ms: u32,
    /// All bodies of one event together, bytes; default 256 KiB, at most 4 MiB.
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory_bytes: 16 << 20, render_ms: 20, output_bytes: 256 << 10 }
    }
}

impl Limits {
    /// The most that can be asked for.
    pub const CEILING: Limits = Limits { memory_bytes: 64 << 20, render_ms: 1000, output_bytes: 4 << 20 };

    /// Checks against the ceiling; the text names the member and the limit.
    pub(crate) fn check(&self) -> Result<(), String> {
        let over = |name: &str, asked: u64, most: u64| {
            if asked <= most { Ok(()) } else { Err(format!("limits.{name} {asked} exceeds {most}")) }
        };
        over("memoryBytes", self.memory_bytes as u64, Self::CEILING.memory_bytes as u64)?;
        over("renderMs", self.render_ms.into(), Self::CEILING.render_ms.into())?;
        over("outputBytes", self.output_bytes as u64, Self::CEILING.output_bytes as u64)
    }

    /// Epochs a render may take, rounded up and one more, because the first may be about to end.
    pub(crate) fn render_epochs(&self) -> u64 {
        epochs(Duration::from_millis(self.render_ms.into()))
    }
}

/// Epochs of a time.
pub(crate) fn epochs(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(EPOCH.as_nanos())).unwrap_or(u64::MAX).saturating_add(1)
}
