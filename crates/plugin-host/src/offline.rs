//! Renders with one plugin on the caller's thread, for commands that render without a server.

use crate::admission::{Admitted, SignaturePolicy, admit_before_vectors};
use crate::engine::Host;
use crate::envelope;
use crate::error::FormatError;
use crate::instance::Instance;
use crate::manifest::Manifest;
use crate::output;
use fanfare_core::delivery::Rendered;
use fanfare_core::event::Event;
use std::sync::Arc;

/// A plugin and its warm instance, with the limits and the recycling of the server.
pub struct OfflinePlugin {
    host: Arc<Host>,
    admitted: Admitted,
    settings: String,
    default_type: Arc<str>,
    instance: Option<Instance>,
}

impl std::fmt::Debug for OfflinePlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OfflinePlugin").field("admitted", &self.admitted).finish_non_exhaustive()
    }
}

impl OfflinePlugin {
    /// Admits a component, whoever signed it, and whatever its vectors give. `settings`: JSON text. Blocks for up to
    /// seconds.
    ///
    /// # Errors
    /// Why it is not admitted.
    pub fn load(bytes: &[u8], settings: &str) -> Result<Self, FormatError> {
        let host = Host::new(None)?;
        let admitted = admit_before_vectors(&host, bytes, None, &SignaturePolicy::default(), settings)?;
        let default_type = admitted.manifest.content_type.as_str().into();
        Ok(OfflinePlugin { host, admitted, settings: settings.to_owned(), default_type, instance: None })
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.admitted.manifest
    }

    /// Renders one event as the server would.
    pub fn render(&mut self, event: &Event) -> Rendered {
        let fault = |kind: &str, text: &str| Rendered::Fault { message: format!("{kind}: {text}") };
        let Admitted { manifest, component } = &self.admitted;
        let kept = self.instance.take();
        let made =
            kept.map_or_else(|| Instance::start(&self.host, component, manifest.limits, &self.settings), Ok);
        let mut instance = match made {
            Ok(instance) => instance,
            Err((kind, text)) => return fault(kind.name(), &text),
        };
        let given = {
            let _running = self.host.run();
            instance.render(&envelope::given(event))
        };
        match given {
            Err((kind, text)) => fault(kind.name(), &text),
            Ok(given) => {
                if !instance.is_used_up() {
                    self.instance = Some(instance);
                }
                output::checked(given, &manifest.limits, &self.default_type)
                    .unwrap_or_else(|text| fault("internal", &text))
            }
        }
    }
}
