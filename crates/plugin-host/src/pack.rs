//! Makes a component of a core module, or puts a manifest into a component, so that authors need no other tool. The same
//! files give the same bytes, on any machine.

use crate::error::{FormatError, internal, refused};
use crate::manifest::{Expect, Manifest, SECTION, Vector};
use std::path::Path;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The interface, as published.
const WIT: &str = include_str!("../../../plugins/wit/v1/format.wit");

/// Most bytes of a manifest's or a vector's file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads a manifest's file, and the vectors of a folder in place of those it names.
///
/// # Errors
/// [`FormatError::Refused`] or [`FormatError::Name`], naming file and member.
pub fn read_manifest(file: &Path, vectors: Option<&Path>) -> Result<Manifest, FormatError> {
    let mut manifest: Manifest = serde_json::from_str(&read(file)?).map_err(|error| in_file(file, error))?;
    if let Some(folder) = vectors {
        manifest.vectors = read_vectors(folder)?;
    }
    manifest.check().map_err(|error| match error {
        FormatError::Refused(text) => FormatError::Refused(format!("{}: {text}", file.display())),
        FormatError::Name(text) => FormatError::Name(format!("{}: {text}", file.display())),
        other => other,
    })?;
    Ok(manifest)
}

/// Reads vectors: `NAME.event.json` each, and beside it `NAME.bodies.json` (an array), `NAME.skip` (the reason) or
/// `NAME.invalid`. In the order of their names, so that the same files give the same bytes.
///
/// # Errors
/// [`FormatError::Refused`], naming the file.
pub fn read_vectors(folder: &Path) -> Result<Vec<Vector>, FormatError> {
    let mut names = Vec::new();
    let mut expected = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| in_file(folder, error))? {
        let entry = entry.map_err(|error| in_file(folder, error))?;
        let file = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = file.strip_suffix(".event.json") {
            names.push(name.to_owned());
        } else {
            let name = ENDINGS.iter().find_map(|ending| file.strip_suffix(ending));
            expected.extend(name.map(|name| (name.to_owned(), file.clone())));
        }
    }
    names.sort();
    // A slip in one name must not leave a vector out.
    if let Some((_, file)) = expected.iter().find(|(name, _)| names.binary_search(name).is_err()) {
        return Err(in_file(&folder.join(file), "there is no .event.json of this name"));
    }
    names.into_iter().map(|name| read_vector(folder, name)).collect()
}

/// What may stand beside an event.
const ENDINGS: [&str; 3] = [".bodies.json", ".skip", ".invalid"];

fn read_vector(folder: &Path, name: String) -> Result<Vector, FormatError> {
    let file = folder.join(format!("{name}.event.json"));
    let event = serde_json::from_str(&read(&file)?).map_err(|error| in_file(&file, error))?;
    let there: Vec<_> = ENDINGS
        .iter()
        .map(|ending| (*ending, folder.join(format!("{name}{ending}"))))
        .filter(|(_, beside)| beside.exists())
        .collect();
    let [(ending, beside)] = there.as_slice() else {
        let count = there.len();
        return Err(in_file(
            &file,
            format!("beside it must be one of .bodies.json, .skip, .invalid, there are {count}"),
        ));
    };
    let text = read(beside)?;
    let expect = match *ending {
        ".bodies.json" => {
            Expect::Bodies(serde_json::from_str(&text).map_err(|error| in_file(beside, error))?)
        }
        ".skip" => Expect::Skip(text.trim().to_owned()),
        _ => Expect::Invalid,
    };
    Ok(Vector { name, event, expect })
}

fn in_file(file: &Path, why: impl std::fmt::Display) -> FormatError {
    refused(format!("{}: {why}", file.display()))
}

fn read(file: &Path) -> Result<String, FormatError> {
    let bytes = std::fs::metadata(file).map_err(|error| in_file(file, error))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(in_file(file, format!("{bytes} bytes exceed {FILE_BYTES_MAX}")));
    }
    std::fs::read_to_string(file).map_err(|error| in_file(file, error))
}

/// Packs a core module (its exports named by the canonical ABI) or a component with its manifest. A manifest that a
/// component has already is replaced.
///
/// # Errors
/// What is wrong with the module or the manifest.
pub fn pack(module: &[u8], manifest: &Manifest) -> Result<Vec<u8>, FormatError> {
    manifest.check()?;
    let mut component = if is_component(module) { without_section(module, SECTION)? } else { wrap(module)? };
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

/// A component without its custom sections of this name; those of nested components stay.
fn without_section(bytes: &[u8], name: &str) -> Result<Vec<u8>, FormatError> {
    let broken = || refused("not a WebAssembly component: a section is cut off");
    let (preamble, mut rest) = bytes.split_at_checked(8).ok_or_else(broken)?;
    let mut kept = preamble.to_vec();
    while let Some((id, after)) = rest.split_first() {
        let (size, content) = take_leb(after).ok_or_else(broken)?;
        let (content, next) = content.split_at_checked(size).ok_or_else(broken)?;
        let is_named = || {
            let named = take_leb(content).and_then(|(length, text)| text.get(..length));
            named == Some(name.as_bytes())
        };
        if *id != 0 || !is_named() {
            let whole = rest.len() - next.len();
            kept.extend_from_slice(rest.get(..whole).unwrap_or_default());
        }
        rest = next;
    }
    Ok(kept)
}

/// A number of at most 32 bits, and what is behind it.
fn take_leb(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(index + 1..)?));
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        append_section(&mut bytes, name, data);
        bytes
    }

    #[test]
    fn only_sections_of_that_name_go() {
        let preamble = *b"\0asm\x0d\0\x01\0";
        let long = vec![7; 300];
        let [other, ours, more] = [section("other", &long), section(SECTION, &long), section("more", b"x")];
        let whole = [&preamble[..], &other, &ours, &more, &ours].concat();
        let kept = without_section(&whole, SECTION).expect("sound");
        assert_eq!(kept, [&preamble[..], &other, &more].concat());
        for end in [4, 9, 20, whole.len() - 1] {
            let text = without_section(&whole[..end], SECTION).expect_err("cut off").to_string();
            assert_eq!(text, "not a WebAssembly component: a section is cut off", "{end}");
        }
    }

    #[test]
    fn vectors_are_read_in_order_and_a_slip_names_its_file() {
        let folder = tempfile::tempdir().expect("folder");
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        put("b.event.json", "{}");
        put("b.skip", "not_wanted\n");
        put("a.event.json", r#"{"a":1}"#);
        put("a.bodies.json", r#"[{"a":1}]"#);
        put("README.md", "not a vector");
        let vectors = read_vectors(folder.path()).expect("sound");
        let names: Vec<&str> = vectors.iter().map(|vector| vector.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(vectors[1].expect, Expect::Skip("not_wanted".into()));

        let failed = || read_vectors(folder.path()).expect_err("refused").to_string();
        put("b.invalid", "");
        assert!(failed().contains("b.event.json: beside it must be one of"), "{}", failed());
        put("c.invalid", "");
        assert!(failed().contains("c.invalid: there is no .event.json of this name"), "{}", failed());
        put("c.event.json", "{");
        std::fs::remove_file(folder.path().join("b.invalid")).expect("removed");
        assert!(failed().contains("c.event.json: EOF while parsing"), "{}", failed());
    }

    #[test]
    fn a_manifest_names_file_and_member() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("manifest.json");
        let failed = |text: &str| {
            std::fs::write(&file, text).expect("written");
            read_manifest(&file, None).expect_err("refused").to_string()
        };
        assert!(failed("{}").contains("manifest.json: missing field `name`"));
        let text =
            failed(r#"{"name":"X","version":"1","contentType":"text/plain","limits":{"renderMs":5000}}"#);
        assert!(text.contains("manifest.json: limits.renderMs 5000 exceeds 1000"), "{text}");
    }
}
