//! The log: structured, on standard error.

use crate::config::{LogFormat, LogSettings};
use crate::exit::Failure;
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts the log of this process. May be called once.
///
/// # Errors
/// When the level cannot be read.
pub(crate) fn start(settings: &LogSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.level).map_err(|_| {
        Failure::usage(
            "log.level must be error, warn, info, debug or trace, also per part: info,fanfare_engine=debug",
        )
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no text");
        tracing::error!(
            place,
            text,
            "panic: a part of the work ended and is taken up again by its supervisor"
        );
    }));
    Ok(())
}
