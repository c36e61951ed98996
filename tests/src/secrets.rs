//! Every secret a test has seen, and the search for them in what a process wrote.

use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Stands in every payload that [`crate::events`] makes: payloads are not written to logs either.
pub const PAYLOAD_MARKER: &str = "payload-marker-5c1e";
/// Stands in the queries of URLs that tests use where they can.
pub const QUERY_MARKER: &str = "query-marker-e07b";

/// Texts shorter than this would be found by accident.
const CHARS_MIN: usize = 8;

/// A growing set of texts, shared by its clones.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Arc<Mutex<BTreeSet<String>>>);

impl Secrets {
    /// The markers only.
    #[must_use]
    pub fn new() -> Self {
        let secrets = Secrets::default();
        secrets.add(PAYLOAD_MARKER);
        secrets.add(QUERY_MARKER);
        secrets
    }

    /// Adds one.
    pub fn add(&self, text: &str) {
        if text.len() >= CHARS_MIN {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned());
        }
    }

    /// Adds the credentials of a management call's body.
    pub fn add_of_request(&self, body: &Value) {
        for name in ["token", "key", "username", "password", "headerValue"] {
            body.pointer(&format!("/auth/{name}")).and_then(Value::as_str).inspect(|text| self.add(text));
        }
    }

    /// Adds what a management call's answer shows once: a signing secret, a key.
    pub fn add_of_answer(&self, body: &Value) {
        for name in ["secret", "standardSecret", "key"] {
            body.get(name).and_then(Value::as_str).inspect(|text| self.add(text));
        }
    }

    /// Those that stand in `text`.
    #[must_use]
    pub fn found_in(&self, text: &str) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|secret| text.contains(secret.as_str())).cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_passes_by_is_remembered_and_found() {
        let secrets = Secrets::new();
        secrets.add_of_request(
            &json!({"auth": {"type": "BASIC", "username": "user-name", "password": "short"}}),
        );
        secrets.add_of_answer(&json!({"secret": "0123456789abcdef", "id": "not-a-secret"}));
        assert_eq!(secrets.count(), 4);
        assert_eq!(secrets.found_in("a user-name, not-a-secret, short"), ["user-name"]);
        assert_eq!(secrets.found_in(PAYLOAD_MARKER), [PAYLOAD_MARKER]);
    }
}
