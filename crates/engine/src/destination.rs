//! What of a webhook goes into every request alike.

use base64::Engine as _;
use fanfare_core::Secret;
use fanfare_core::ports::Destination;
use fanfare_core::webhook::{Auth, Webhook};

/// Name of the header that `API_KEY` sends.
pub(crate) const API_KEY_HEADER: &str = "x-api-key";

/// The webhook as the transport needs it.
pub(crate) fn destination(webhook: &Webhook, hub_signature_name: &str) -> Destination {
    let mut headers = vec![
        ("x-hub-channel".to_owned(), Secret::new(webhook.channel.as_str())),
        ("x-hub-webhook".to_owned(), Secret::new(webhook.id.to_string())),
    ];
    match &webhook.auth {
        Auth::None => {}
        Auth::Bearer { token } => {
            headers.push(("authorization".into(), Secret::new(format!("Bearer {}", token.expose()))));
        }
        Auth::ApiKey { key } => headers.push((API_KEY_HEADER.into(), key.clone())),
        Auth::Basic { username, password } => {
            let pair = zeroize::Zeroizing::new(format!("{}:{}", username.expose(), password.expose()));
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair.as_bytes());
            headers.push(("authorization".into(), Secret::new(format!("Basic {encoded}"))));
        }
        Auth::CustomHeader { name, value } => headers.push((name.to_ascii_lowercase(), value.clone())),
    }
    Destination {
        url: webhook.url.clone(),
        protocol: webhook.delivery.protocol.unwrap_or_default(),
        headers,
        hub_signature_name: webhook.signing.is_some().then(|| hub_signature_name.to_owned()),
    }
}
