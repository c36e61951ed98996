//! What the interface's generated bindings and ours have between them. Used by [`crate::export!`] only.
#![expect(clippy::indexing_slicing, reason = "generated from the WIT")]

wit_bindgen::generate!({
    path: "wit",
    world: "plugin",
    pub_export_macro: true,
    default_bindings_module: "fanfare_plugin::bindings",
});

pub use exports::fanfare::format::format::{Description, Failure, Guest, Header, Rendered};

#[must_use]
pub fn describe(manifest: &str) -> Description {
    let crate::Described { name, version, content_type } = crate::describe(manifest);
    Description { name, version, content_type }
}

/// # Errors
/// What the format says.
pub fn render<F: crate::Format>(format: Option<&F>, event: &[u8]) -> Result<Vec<Rendered>, Failure> {
    let format = format.ok_or_else(|| Failure::Internal("rendered before it was configured".into()))?;
    let rendered = crate::Event::parse(event).and_then(|event| format.render(&event));
    match rendered {
        Ok(bodies) => Ok(bodies.0.into_iter().map(Rendered::from).collect()),
        Err(crate::Failure::Skip(reason)) => Err(Failure::Skip(reason)),
        Err(crate::Failure::Invalid(message)) => Err(Failure::Invalid(message)),
        Err(crate::Failure::Internal(message)) => Err(Failure::Internal(message)),
    }
}

impl From<crate::Body> for Rendered {
    fn from(body: crate::Body) -> Self {
        let headers = body.headers.into_iter().map(|(name, value)| Header { name, value }).collect();
        Rendered { body: body.bytes, content_type: body.content_type, headers }
    }
}
