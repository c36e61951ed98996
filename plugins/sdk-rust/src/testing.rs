//! Running a format's vectors natively, in `cargo test`: no WebAssembly needed.
//!
//! A folder holds `NAME.event.json`, and for each `NAME.bodies.json` (a JSON array of the bodies; one that is not JSON
//! is a string), `NAME.skip` (the reason) or `NAME.invalid` (empty, or the message). `fanfare plugin pack --vectors`
//! puts the same files into the component, where the host runs them again.
//!
//! With `UPDATE_VECTORS=1` in the environment what is expected is written anew; review the difference like code.

use crate::{Event, Failure, Format};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What came of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// These bodies, as JSON.
    Bodies(Vec<Value>),
    /// Skipped with this reason.
    Skip(String),
    /// Refused with this message.
    Invalid(String),
}

/// Renders one event.
///
/// # Errors
/// The text of [`Failure::Internal`], or of settings that are refused.
pub fn render<F: Format>(event: &[u8], settings: &str) -> Result<Outcome, String> {
    let format = F::configure(settings)?;
    match Event::parse(event).and_then(|event| format.render(&event)) {
        Ok(bodies) => Ok(Outcome::Bodies(bodies.0.iter().map(|body| json(&body.bytes)).collect())),
        Err(Failure::Skip(reason)) => Ok(Outcome::Skip(reason)),
        Err(Failure::Invalid(message)) => Ok(Outcome::Invalid(message)),
        Err(Failure::Internal(message)) => Err(message),
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

/// Runs every vector of a folder and returns how many there are.
///
/// # Errors
/// Every vector that gives something else than it says, and why; a folder without vectors.
pub fn vectors<F: Format>(folder: impl AsRef<Path>, settings: &str) -> Result<usize, String> {
    let folder = folder.as_ref();
    let is_update = std::env::var_os("UPDATE_VECTORS").is_some();
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut events: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".event.json"))
        .collect();
    events.sort();
    let mut wrong = Vec::new();
    for path in &events {
        if let Err(why) = vector::<F>(path, settings, is_update) {
            wrong.push(format!("{}: {why}", path.file_name().unwrap_or_default().to_string_lossy()));
        }
    }
    match (events.len(), wrong.is_empty()) {
        (0, _) => Err(format!("{}: no vectors", folder.display())),
        (count, true) => Ok(count),
        (_, false) => Err(wrong.join("\n")),
    }
}

fn vector<F: Format>(path: &Path, settings: &str, is_update: bool) -> Result<(), String> {
    let event = std::fs::read(path).map_err(|error| error.to_string())?;
    let given = render::<F>(&event, settings)?;
    let beside = |ending: &str| {
        let name = path.to_string_lossy().replace(".event.json", ending);
        PathBuf::from(name)
    };
    if is_update {
        return write(&given, beside).map_err(|error| error.to_string());
    }
    let read = |ending: &str| std::fs::read_to_string(beside(ending)).ok();
    let (bodies, skip, invalid) = (read(".bodies.json"), read(".skip"), read(".invalid"));
    let is_met = match (&given, &bodies, &skip, &invalid) {
        (Outcome::Bodies(given), Some(text), None, None) => {
            let expected: Vec<Value> =
                serde_json::from_str(text).map_err(|error| format!("bodies: {error}"))?;
            *given == expected
        }
        (Outcome::Skip(reason), None, Some(text), None) => reason == text.trim(),
        (Outcome::Invalid(message), None, None, Some(text)) => {
            text.trim().is_empty() || message == text.trim()
        }
        _ => false,
    };
    if is_met { Ok(()) } else { Err(format!("gives {given:?}")) }
}

fn write(given: &Outcome, beside: impl Fn(&str) -> PathBuf) -> std::io::Result<()> {
    for ending in [".bodies.json", ".skip", ".invalid"] {
        match std::fs::remove_file(beside(ending)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match given {
        Outcome::Bodies(bodies) => {
            let text = serde_json::to_string_pretty(bodies).map_err(std::io::Error::other)?;
            std::fs::write(beside(".bodies.json"), text + "\n")
        }
        Outcome::Skip(reason) => std::fs::write(beside(".skip"), format!("{reason}\n")),
        Outcome::Invalid(message) => std::fs::write(beside(".invalid"), format!("{message}\n")),
    }
}
