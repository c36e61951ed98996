//! `__NAME__`: hub events as this receiver wants them.

use fanfare_plugin::{Bodies, Event, Failure, Format, Kind, json};
use serde::Deserialize;

fanfare_plugin::export!(Plugin, include_str!("../manifest.json"));

/// The format with its settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    #[serde(default = "default_source")]
    source: String,
}

fn default_source() -> String {
    "fanfare".to_owned()
}

impl Format for Plugin {
    fn configure(settings: &str) -> Result<Self, String> {
        serde_json::from_str(settings).map_err(|error| error.to_string())
    }

    fn render(&self, event: &Event<'_>) -> Result<Bodies, Failure> {
        if event.kind == Kind::PresenceChat {
            return Err(Failure::skip("not_wanted"));
        }
        let mut body = b"{".to_vec();
        json::put_member(&mut body, "id", event.id.as_deref().unwrap_or_default());
        json::put_member(&mut body, "source", &self.source);
        json::put_member(&mut body, "kind", event.kind.name());
        json::put_member(&mut body, "channel", &event.channel_id);
        // The hub's body, byte for byte; `event.message()` gives it typed.
        json::put_raw(&mut body, "data", event.payload());
        body.push(b'}');
        Ok(body.into())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn vectors_render_as_they_say() {
        fanfare_plugin::testing::vectors::<super::Plugin>("vectors", "{}").expect("as the vectors say");
    }
}
