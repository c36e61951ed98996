//! Packs a guest with its manifest and vectors for `cargo xtask plugins`, which has no dependency itself.
//!
//! `pack CORE.wasm MANIFEST.json VECTORS_FOLDER OUT.wasm`

use fanfare_plugin_host::{Expect, Manifest, Vector, pack};
use std::path::{Path, PathBuf};

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [core, manifest, vectors, out] = arguments.as_slice() else {
        return Err("usage: pack CORE.wasm MANIFEST.json VECTORS_FOLDER OUT.wasm".into());
    };
    let mut manifest: Manifest = serde_json::from_slice(&std::fs::read(manifest)?)?;
    manifest.vectors = read_vectors(vectors)?;
    let component = pack(&std::fs::read(core)?, &manifest)?;
    std::fs::write(out, &component)?;
    let count = manifest.vectors.len();
    println!("{} {}: {} bytes, {count} vectors", manifest.name, manifest.version, component.len());
    Ok(())
}

/// In order of their names, so that the same files give the same bytes.
fn read_vectors(folder: &Path) -> Result<Vec<Vector>, Failed> {
    let mut vectors = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".event.json") else { continue };
        let beside = |ending: &str| std::fs::read_to_string(folder.join(format!("{name}.{ending}"))).ok();
        let expect = match (beside("bodies.json"), beside("skip"), beside("invalid")) {
            (Some(bodies), None, None) => Expect::Bodies(serde_json::from_str(&bodies)?),
            (None, Some(reason), None) => Expect::Skip(reason.trim().to_owned()),
            (None, None, Some(_)) => Expect::Invalid,
            _ => {
                return Err(
                    format!("vector {name}: one of .bodies.json, .skip, .invalid must be beside it").into()
                );
            }
        };
        let event = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        vectors.push(Vector { name: name.to_owned(), event, expect });
    }
    vectors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(vectors)
}
