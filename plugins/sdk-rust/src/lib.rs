//! Write a payload format for fanfare in Rust.
//!
//! What it is: one trait to implement ([`Format`]), one macro that makes a WebAssembly guest of it ([`export!`]), the
//! event with its members borrowed from the bytes that came in ([`Event`]), and the hub's messages typed ([`hub`]).
//!
//! What it is not: a runtime. A guest sees the event and its own settings; there is no clock, no randomness, no file
//! and no network, and the same event must give the same bytes, because a retry is signed anew over them.
//!
//! Where to start: the example below, then `plugins/cloudevents`, which is small.
//!
//! A panic cannot be caught: WebAssembly as built here has no unwinding, so a panic ends the instance and its text is
//! lost; the host reports a trap and tries again on a fresh instance. Say what is wrong by returning [`Failure`]; the
//! lints of the plugins that ship refuse `unwrap`, `expect`, `panic!` and indexing.
//!
//! ```
//! use fanfare_plugin::{Bodies, Event, Failure, Format};
//!
//! struct Shout;
//!
//! impl Format for Shout {
//!     fn configure(_settings: &str) -> Result<Self, String> {
//!         Ok(Shout)
//!     }
//!
//!     fn render(&self, event: &Event<'_>) -> Result<Bodies, Failure> {
//!         let Some(message) = event.message()? else { return Err(Failure::skip("no_message")) };
//!         let mut body = b"{\"said\":".to_vec();
//!         let texts = message.contents.iter().filter_map(|item| item.message.as_deref());
//!         fanfare_plugin::json::put_text(&mut body, &texts.collect::<Vec<_>>().join(" ").to_uppercase());
//!         body.push(b'}');
//!         Ok(body.into())
//!     }
//! }
//!
//! // Beside the source: `manifest.json`; `describe` reads it, so that the two cannot disagree.
//! fanfare_plugin::export!(Shout, r#"{"name": "SHOUT", "version": "1.0.0", "contentType": "application/json"}"#);
//! # fn main() {}
//! ```

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
mod event;
pub mod hub;
pub mod json;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;

pub use event::{Event, Kind};
pub use serde_json::value::RawValue;

/// A payload format.
pub trait Format: Sized + 'static {
    /// Makes one of the operator's settings: JSON text, `{}` where there are none, already held against the manifest's
    /// `settingsSchema`. Called once on each instance, before the first render.
    ///
    /// # Errors
    /// What does not fit; the plugin is refused with this text.
    fn configure(settings: &str) -> Result<Self, String>;

    /// Renders one event.
    ///
    /// # Errors
    /// Why there is no body.
    fn render(&self, event: &Event<'_>) -> Result<Bodies, Failure>;
}

/// One body, sent as one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The bytes, sent and signed as they are.
    pub bytes: Vec<u8>,
    /// `None`: the manifest's.
    pub content_type: Option<String>,
    /// Name and value; the host lets through only names that are not its own.
    pub headers: Vec<(String, String)>,
}

/// The bodies of one event, sent in this order; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bodies(pub Vec<Body>);

impl From<Vec<u8>> for Bodies {
    fn from(bytes: Vec<u8>) -> Self {
        Body { bytes, ..Body::default() }.into()
    }
}

impl From<Body> for Bodies {
    fn from(body: Body) -> Self {
        Bodies(vec![body])
    }
}

impl From<Vec<Body>> for Bodies {
    fn from(bodies: Vec<Body>) -> Self {
        Bodies(bodies)
    }
}

/// Why there is no body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The event has no form in this format: settled without sending. A reason code of `a-z 0-9 _`, at most 64.
    Skip(String),
    /// The event can never be rendered: a dead letter with this message.
    Invalid(String),
    /// The plugin's own fault: tried again on a fresh instance, by the delivery's schedule.
    Internal(String),
}

impl Failure {
    /// [`Failure::Skip`] with a reason code.
    #[must_use]
    pub fn skip(reason: &str) -> Self {
        Failure::Skip(reason.to_owned())
    }

    /// [`Failure::Invalid`] with a message.
    pub fn invalid(message: impl Into<String>) -> Self {
        Failure::Invalid(message.into())
    }
}

/// The members of a manifest that a guest tells of itself.
#[doc(hidden)]
#[derive(Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Described {
    pub name: String,
    pub version: String,
    pub content_type: String,
}

/// Reads a manifest. One that cannot be read describes nothing, and the host refuses what does not agree with the
/// manifest packed into the component.
#[doc(hidden)]
#[must_use]
pub fn describe(manifest: &str) -> Described {
    serde_json::from_str(manifest).unwrap_or_default()
}

/// Makes the guest's exports of a [`Format`] and the text of its manifest, as `include_str!` gives it. Nothing when
/// compiled for anything but WebAssembly, so that the same crate is tested natively.
#[macro_export]
macro_rules! export {
    ($format:ty, $manifest:expr) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static FORMAT: ::std::cell::OnceCell<$format> = const { ::std::cell::OnceCell::new() };
            }

            struct Guest;

            impl $crate::bindings::Guest for Guest {
                fn describe() -> $crate::bindings::Description {
                    $crate::bindings::describe($manifest)
                }

                fn configure(
                    settings: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    let format = <$format as $crate::Format>::configure(&settings)?;
                    FORMAT.with(|place| place.set(format)).map_err(|_| "configured twice".into())
                }

                fn render(
                    event: ::std::vec::Vec<u8>,
                ) -> ::std::result::Result<
                    ::std::vec::Vec<$crate::bindings::Rendered>,
                    $crate::bindings::Failure,
                > {
                    FORMAT.with(|place| $crate::bindings::render(place.get(), &event))
                }
            }

    $crate::bindings::export!(Guest with_types_in $crate::bindings);
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_tells_of_itself_what_its_manifest_says() {
        let manifest = r#"{"name":"A","version":"1.2.3","contentType":"text/plain","limits":{"renderMs":1}}"#;
        let expected =
            Described { name: "A".into(), version: "1.2.3".into(), content_type: "text/plain".into() };
        assert_eq!(describe(manifest), expected);
        assert_eq!(describe("{"), Described::default());
    }

    #[test]
    fn the_copy_of_the_interface_is_the_published_one() {
        // Absent where this crate was copied into a project of its own.
        let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/v1/format.wit");
        if let Ok(published) = std::fs::read_to_string(published) {
            assert_eq!(include_str!("../wit/format.wit"), published);
        }
    }
}
