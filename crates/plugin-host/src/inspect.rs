//! What a file says of itself, for people, without running anything of it.

use crate::admission::{inspect, sections};
use crate::error::FormatError;
use crate::manifest::Manifest;
use sha2::{Digest, Sha256};

/// What a component's bytes tell.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Size, bytes.
    pub size_bytes: usize,
    /// Of the bytes, hexadecimal.
    pub sha256: String,
    /// What it imports; a plugin may import nothing.
    pub imports: Vec<String>,
    /// What it exports, the interface with its version among it.
    pub exports: Vec<String>,
    /// Its manifest, or why it would not be admitted as far as that is known without running it.
    pub manifest: Result<Manifest, FormatError>,
}

/// Looks into a file.
///
/// # Errors
/// [`FormatError::Refused`]: it is no component at all.
pub fn inspect_component(bytes: &[u8]) -> Result<Inspection, FormatError> {
    let found = sections(bytes)?;
    Ok(Inspection {
        size_bytes: bytes.len(),
        sha256: hex::encode(Sha256::digest(bytes)),
        imports: found.imports,
        exports: found.exports,
        manifest: inspect(bytes),
    })
}
