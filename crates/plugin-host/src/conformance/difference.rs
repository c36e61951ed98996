//! Where what a plugin gave parts from what its vector says.

use crate::manifest::Expect;
use fanfare_core::delivery::Rendered;
use serde_json::Value;

/// Characters of a value shown.
const SHOWN_CHARS: usize = 120;

/// `None`: it is as expected.
pub(super) fn difference(expected: &Expect, given: &Rendered) -> Option<String> {
    match (expected, given) {
        (Expect::Bodies(expected), Rendered::Bodies(bodies)) => {
            if expected.len() != bodies.len() {
                return Some(format!("{} bodies are expected, it gave {}", expected.len(), bodies.len()));
            }
            expected.iter().zip(bodies).enumerate().find_map(|(index, (expected, body))| {
                match serde_json::from_slice::<Value>(&body.bytes) {
                    Ok(given) => parted(expected, &given, &mut format!("body {index}")),
                    Err(error) => Some(format!("body {index} is not JSON: {error}")),
                }
            })
        }
        (Expect::Skip(expected), Rendered::Skipped { reason }) if **expected == **reason => None,
        (Expect::Invalid, Rendered::Invalid { .. }) => None,
        (expected, given) => Some(format!("{} is expected, it gave {}", wanted(expected), what(given))),
    }
}

fn wanted(expected: &Expect) -> String {
    match expected {
        Expect::Bodies(bodies) => format!("{} bodies", bodies.len()),
        Expect::Skip(reason) => format!("skip {reason:?}"),
        Expect::Invalid => "invalid".to_owned(),
    }
}

/// What it came to, in a few words.
pub(super) fn what(given: &Rendered) -> String {
    match given {
        Rendered::Bodies(bodies) => format!("{} bodies", bodies.len()),
        Rendered::Skipped { reason } => format!("skip {reason:?}"),
        Rendered::Invalid { message } => format!("invalid {message:?}"),
        Rendered::Fault { message } | Rendered::Later { message } => format!("internal {message:?}"),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The first place where they part.
fn parted(expected: &Value, given: &Value, place: &mut String) -> Option<String> {
    let start = place.len();
    let mut within = |name: String, expected: Option<&Value>, given: Option<&Value>| {
        place.push_str(&name);
        let found = match (expected, given) {
            (Some(expected), Some(given)) => parted(expected, given, place),
            (Some(_), None) => Some(format!("{place} is missing")),
            (None, Some(given)) => Some(format!("{place} is not expected, it gave {}", shown(given))),
            (None, None) => None,
        };
        place.truncate(start);
        found
    };
    match (expected, given) {
        (Value::Object(expected), Value::Object(given)) => {
            let names = expected.keys().chain(given.keys().filter(|name| !expected.contains_key(*name)));
            names.into_iter().find_map(|name| within(format!(".{name}"), expected.get(name), given.get(name)))
        }
        (Value::Array(expected), Value::Array(given)) => (0..expected.len().max(given.len()))
            .find_map(|index| within(format!("[{index}]"), expected.get(index), given.get(index))),
        (expected, given) if expected == given => None,
        (expected, given) => Some(format!("{place} must be {}, it gave {}", shown(expected), shown(given))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::delivery::Body;
    use serde_json::json;

    fn check(expected: Value, given: &str) -> Option<String> {
        let body = Body { bytes: given.to_owned().into(), content_type: None, headers: Vec::new() };
        difference(&Expect::Bodies(vec![expected]), &Rendered::Bodies(vec![body]))
    }

    #[test]
    fn the_place_is_named() {
        assert_eq!(check(json!({"a": 1, "b": [1]}), r#"{"b":[1],"a":1}"#), None);
        let cases = [
            (json!({"a": [1, {"b": 2}]}), r#"{"a":[1,{"b":3}]}"#, "body 0.a[1].b must be 2, it gave 3"),
            (json!({"a": [1]}), r#"{"a":[]}"#, "body 0.a[0] is missing"),
            (json!({}), r#"{"a":null}"#, "body 0.a is not expected, it gave null"),
            (json!({}), "text", "body 0 is not JSON: expected ident at line 1 column 2"),
        ];
        for (expected, given, text) in cases {
            assert_eq!(check(expected, given).as_deref(), Some(text));
        }
        let skipped = Rendered::Skipped { reason: "other".into() };
        let text = difference(&Expect::Skip("no_form".into()), &skipped);
        assert_eq!(text.as_deref(), Some(r#"skip "no_form" is expected, it gave skip "other""#));
        assert_eq!(difference(&Expect::Invalid, &Rendered::Invalid { message: "m".into() }), None);
    }
}
