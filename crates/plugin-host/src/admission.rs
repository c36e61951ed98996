//! What a component must be before anything of it is used. Cheap checks first, so that a wrong file costs nothing.

use crate::engine::Host;
use crate::error::{FormatError, internal, refused};
use crate::instance::{Faulted, Instance};
use crate::limits::COMPONENT_BYTES_MAX;
use crate::manifest::{Expect, Manifest, SECTION, Vector};
use crate::output;
use crate::settings::Schema;
use fanfare_core::delivery::Rendered;
use ring::signature::{ED25519, UnparsedPublicKey};
use wasmparser::{Encoding, Parser, Payload};
use wasmtime::component::Component;

/// The interface this host answers, as a component exports it.
const INTERFACE_V1: &str = "fanfare:format/format@1.0.0";

/// Whose plugins are taken.
#[derive(Clone, Debug, Default)]
pub struct SignaturePolicy {
    /// Whether one without a valid signature is refused.
    pub is_required: bool,
    /// Ed25519 public keys, 32 bytes each.
    pub keys: Vec<[u8; 32]>,
}

/// A component that may be used.
#[derive(Clone)]
pub struct Admitted {
    /// Its manifest.
    pub manifest: Manifest,
    pub(crate) component: Component,
}

impl std::fmt::Debug for Admitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admitted").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

impl SignaturePolicy {
    /// Checks a detached signature over exactly these bytes. Fails closed.
    fn check(&self, bytes: &[u8], signature: Option<&[u8]>) -> Result<(), FormatError> {
        match signature {
            None if !self.is_required => Ok(()),
            None => Err(refused("it is not signed, and plugins.require_signed is on")),
            Some(signature) => {
                let is_signed_by =
                    |key: &[u8; 32]| UnparsedPublicKey::new(&ED25519, key).verify(bytes, signature).is_ok();
                if self.keys.iter().any(is_signed_by) || (self.keys.is_empty() && !self.is_required) {
                    Ok(())
                } else {
                    Err(refused("its signature is of none of plugins.signing_keys"))
                }
            }
        }
    }
}

/// What the sections of a component tell.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    pub(crate) manifest: Option<Vec<u8>>,
}

pub(crate) fn sections(bytes: &[u8]) -> Result<Sections, FormatError> {
    let mut found = Sections::default();
    // Nested modules and components have sections of their own.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| refused(format!("not a WebAssembly component: {error}")))?;
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(refused("a core module, not a component: make one with `fanfare plugin pack`"));
            }
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(reader) if depth == 1 => {
                for import in reader {
                    let import =
                        import.map_err(|error| refused(format!("imports cannot be read: {error}")))?;
                    found.imports.push(import.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(reader) if depth == 1 => {
                for export in reader {
                    let export =
                        export.map_err(|error| refused(format!("exports cannot be read: {error}")))?;
                    found.exports.push(export.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) if depth == 1 && section.name() == SECTION => {
                found.manifest = Some(section.data().to_vec());
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Reads the manifest and checks everything that needs no code to run.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Manifest, FormatError> {
    if bytes.len() > COMPONENT_BYTES_MAX {
        let size = bytes.len();
        return Err(refused(format!("component of {size} bytes exceeds {COMPONENT_BYTES_MAX}")));
    }
    let sections = sections(bytes)?;
    if let Some(import) = sections.imports.first() {
        let how = if import.starts_with("wasi:") {
            "; build without WASI: Rust for wasm32-unknown-unknown, componentize-js with all of disableFeatures, \
             componentize-py with --stub-wasi"
        } else {
            ""
        };
        return Err(refused(format!("imports {import}: a plugin may import nothing{how}")));
    }
    if !sections.exports.iter().any(|export| export == INTERFACE_V1) {
        let near = sections.exports.iter().find(|export| export.starts_with("fanfare:format/"));
        let has = near.map_or("exports no fanfare:format".to_owned(), |near| format!("exports {near}"));
        return Err(refused(format!("{has}; this host answers {INTERFACE_V1}")));
    }
    let manifest = sections.manifest.ok_or_else(|| {
        refused(format!("has no custom section {SECTION}: add it with `fanfare plugin pack`"))
    })?;
    Manifest::read(&manifest)
}

/// Admits a component, or says why not. Blocks for up to seconds while it is compiled.
pub(crate) fn admit(
    host: &Host,
    bytes: &[u8],
    signature: Option<&[u8]>,
    policy: &SignaturePolicy,
    settings: &str,
) -> Result<Admitted, FormatError> {
    let admitted = admit_before_vectors(host, bytes, signature, policy, settings)?;
    let Admitted { manifest, component } = &admitted;
    let settings = settings_of_vectors(manifest, settings);
    for vector in &manifest.vectors {
        check_vector(host, &mut start(host, component, manifest, settings)?, manifest, vector)?;
    }
    Ok(admitted)
}

/// Vectors tell what a plugin does by itself: an operator's settings must not make a good plugin look wrong. One whose
/// schema demands settings gets the operator's.
fn settings_of_vectors<'a>(manifest: &Manifest, settings: &'a str) -> &'a str {
    let none = serde_json::Value::Object(serde_json::Map::new());
    let fits = |schema| Schema::compile(schema).is_ok_and(|schema| schema.check(&none).is_ok());
    if manifest.settings_schema.as_ref().is_none_or(fits) { "{}" } else { settings }
}

fn start(
    host: &Host,
    component: &Component,
    manifest: &Manifest,
    settings: &str,
) -> Result<Instance, FormatError> {
    Instance::start(host, component, manifest.limits, settings)
        .map_err(|(kind, text)| refused(format!("does not start ({}): {text}", kind.name())))
}

/// Everything but the vectors, for `conformance`, which tells of each.
pub(crate) fn admit_before_vectors(
    host: &Host,
    bytes: &[u8],
    signature: Option<&[u8]>,
    policy: &SignaturePolicy,
    settings: &str,
) -> Result<Admitted, FormatError> {
    let manifest = inspect(bytes)?;
    policy.check(bytes, signature)?;
    if let Some(schema) = &manifest.settings_schema {
        let schema = Schema::compile(schema).map_err(refused)?;
        let settings =
            serde_json::from_str(settings).map_err(|error| internal("settings that are not JSON", error))?;
        let name = &manifest.name;
        schema.check(&settings).map_err(|why| refused(format!("plugins.settings.{name}: {why}")))?;
    }
    let component = host.component(bytes)?;
    let mut instance = start(host, &component, &manifest, settings)?;
    let described = instance
        .describe(host)
        .map_err(|(kind, text)| refused(format!("describe failed ({}): {text}", kind.name())))?;
    let pairs = [
        ("name", &manifest.name, &described.name),
        ("version", &manifest.version, &described.version),
        ("content type", &manifest.content_type, &described.content_type),
    ];
    for (what, manifest, described) in pairs {
        if manifest != described {
            let described = output::message(described);
            return Err(refused(format!(
                "its manifest says {what} {manifest:?}, describe says {described:?}"
            )));
        }
    }
    Ok(Admitted { manifest, component })
}

fn check_vector(
    host: &Host,
    instance: &mut Instance,
    manifest: &Manifest,
    vector: &Vector,
) -> Result<(), FormatError> {
    let failed = |why: String| refused(format!("its vector {:?} {why}", vector.name));
    let event = vector.event.to_string();
    let _running = host.run();
    let given = instance
        .render(event.as_bytes())
        .map_err(|(kind, text): Faulted| failed(format!("failed ({}): {text}", kind.name())))?;
    let rendered = output::checked(given, &manifest.limits, &manifest.content_type.as_str().into())
        .map_err(|text| failed(format!("failed: {text}")))?;
    let is_met = match (&vector.expect, &rendered) {
        (Expect::Bodies(expected), Rendered::Bodies(bodies)) => {
            let given: Option<Vec<serde_json::Value>> =
                bodies.iter().map(|body| serde_json::from_slice(&body.bytes).ok()).collect();
            given.as_ref() == Some(expected)
        }
        (Expect::Skip(expected), Rendered::Skipped { reason }) => *expected == **reason,
        (Expect::Invalid, Rendered::Invalid { .. }) => true,
        _ => false,
    };
    if is_met { Ok(()) } else { Err(failed("gave something else than it says".into())) }
}
