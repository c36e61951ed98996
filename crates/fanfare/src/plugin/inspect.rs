//! `fanfare plugin inspect`.

use super::files;
use crate::exit::Failure;
use crate::manage::table::{clean, members};
use clap::Args;
use fanfare_plugin_host::{Expect, inspect_component, is_signed_by};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

/// Flags of the command.
#[derive(Args, Debug)]
pub(super) struct InspectArgs {
    /// The plugin
    file: PathBuf,
    /// Check its signature against this key, 64 hex digits
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    public_key: Option<[u8; 32]>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

fn public_key(text: &str) -> Result<[u8; 32], String> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).map(|()| key).map_err(|_| "must be 64 hex digits".to_owned())
}

/// What is known of its signature, as a word.
fn signature_word(bytes: &[u8], signature: Option<[u8; 64]>, key: Option<&[u8; 32]>) -> &'static str {
    match (signature, key) {
        (None, _) => "none",
        (Some(_), None) => "unchecked",
        (Some(signature), Some(key)) if is_signed_by(bytes, &signature, key) => "verified",
        (Some(_), Some(_)) => "wrong",
    }
}

pub(super) fn run(args: &InspectArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let bytes = files::read_plugin(&args.file)?;
    let shown = args.file.display();
    let found = inspect_component(&bytes).map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
    let signature = signature_word(&bytes, files::read_signature(&args.file)?, args.public_key.as_ref());
    let vectors = |expect: fn(&Expect) -> bool| {
        found.manifest.iter().flat_map(|m| &m.vectors).filter(|vector| expect(&vector.expect)).count()
    };
    let counts = [
        vectors(|_| true),
        vectors(|expect| matches!(expect, Expect::Bodies(_))),
        vectors(|expect| matches!(expect, Expect::Skip(_))),
        vectors(|expect| matches!(expect, Expect::Invalid)),
    ];
    let text = if args.json {
        let manifest = found.manifest.as_ref().ok();
        let names: Option<Vec<&str>> =
            manifest.map(|m| m.vectors.iter().map(|vector| vector.name.as_str()).collect());
        let whole = json!({
            "name": manifest.map(|m| &m.name),
            "version": manifest.map(|m| &m.version),
            "contentType": manifest.map(|m| &m.content_type),
            "sizeBytes": found.size_bytes,
            "sha256": found.sha256,
            "imports": found.imports,
            "exports": found.exports,
            "limits": manifest.map(|m| m.limits),
            "settingsSchema": manifest.and_then(|m| m.settings_schema.as_ref()),
            "vectors": names,
            "signature": signature,
            "problem": found.manifest.as_ref().err().map(ToString::to_string),
        });
        format!("{whole:#}\n")
    } else {
        let list = |names: &[String]| {
            if names.is_empty() { "none".to_owned() } else { clean(&names.join(", ")) }
        };
        let mut lines = Vec::new();
        if let Ok(manifest) = &found.manifest {
            lines.push(("name", clean(&manifest.name)));
            lines.push(("version", clean(&manifest.version)));
            lines.push(("content type", clean(&manifest.content_type)));
        }
        lines.push(("size", format!("{} bytes", found.size_bytes)));
        lines.push(("sha256", found.sha256.clone()));
        lines.push(("imports", list(&found.imports)));
        lines.push(("exports", list(&found.exports)));
        if let Ok(manifest) = &found.manifest {
            let limits = manifest.limits;
            let [all, bodies, skips, invalids] = counts;
            lines.push((
                "limits",
                format!(
                    "{} bytes of memory, {} ms a render, {} bytes of output",
                    limits.memory_bytes, limits.render_ms, limits.output_bytes
                ),
            ));
            let schema = manifest.settings_schema.as_ref().map(Value::to_string);
            lines.push(("settings", schema.map_or("no schema".to_owned(), |schema| clean(&schema))));
            lines.push(("vectors", format!("{all}: {bodies} with bodies, {skips} skip, {invalids} invalid")));
        }
        lines.push(("signature", signature.to_owned()));
        if let Err(problem) = &found.manifest {
            lines.push(("problem", clean(&problem.to_string())));
        }
        members(&lines)
    };
    let _closed = output.write_all(text.as_bytes());
    if let Err(problem) = &found.manifest {
        return Err(Failure::work(format!("{shown} would not be admitted: {problem}")));
    }
    match (args.public_key, signature) {
        (Some(_), "wrong") => Err(Failure::work(format!("the signature of {shown} is not of that key"))),
        (Some(_), "none") => Err(Failure::work(format!("{shown} is not signed"))),
        _ => Ok(()),
    }
}
