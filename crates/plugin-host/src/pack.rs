//! Makes a component of a core module, or puts a manifest into a component, so that authors need no other tool.

use crate::error::{FormatError, internal, refused};
use crate::manifest::{Manifest, SECTION};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The interface, as published.
const WIT: &str = include_str!("../../../plugins/wit/v1/format.wit");

/// Packs a core module (its exports named by the canonical ABI) or a component with its manifest.
///
/// # Errors
/// What is wrong with the module or the manifest.
pub fn pack(module: &[u8], manifest: &Manifest) -> Result<Vec<u8>, FormatError> {
    manifest.check()?;
    let mut component = if is_component(module) { module.to_vec() } else { wrap(module)? };
    let json = serde_json::to_vec(manifest).map_err(|error| internal("manifest", error))?;
    append_section(&mut component, SECTION, &json);
    Ok(component)
}

fn is_component(bytes: &[u8]) -> bool {
    // The preamble's last two bytes are the layer: 1 for components.
    bytes.get(6..8) == Some(&[1, 0])
}

fn wrap(module: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut resolve = Resolve::default();
    let package = resolve
        .push_str("format.wit", WIT)
        .map_err(|error| internal("the interface cannot be read", error))?;
    let world = resolve
        .select_world(&[package], Some("plugin"))
        .map_err(|error| internal("the interface has no world", error))?;
    let mut module = module.to_vec();
    // A module made with generated bindings brings its own description of the world.
    let has_own = module.windows(b"component-type".len()).any(|window| window == b"component-type");
    if !has_own {
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .map_err(|error| refused(format!("cannot describe the module: {error:#}")))?;
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| refused(format!("not a plugin's core module: {error:#}")))
}

/// A custom section at the end, where a component may have one.
fn append_section(bytes: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut section = Vec::with_capacity(name.len() + data.len() + 8);
    put_leb(&mut section, name.len());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(data);
    bytes.push(0);
    put_leb(bytes, section.len());
    bytes.extend_from_slice(&section);
}

fn put_leb(bytes: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        bytes.push(if value == 0 { low } else { low | 0x80 });
        if value == 0 {
            return;
        }
    }
}
