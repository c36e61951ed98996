//! Inputs that no producer should send, made of ordinary ones.

use crate::error::{FormatError, refused};
use fanfare_core::event::EventKind;
use fanfare_core::limits::EVENT_BYTES_MAX;
use serde_json::{Value, json};

/// Places where each event is cut off.
const CUTS: usize = 48;
/// Members of one event that are taken out or replaced.
const PLACES_MAX: usize = 100;
/// Stands for a number, until the text is made.
const NUMBER: &str = "@number@";
/// Numbers that fit no usual type.
const NUMBERS: [&str; 6] =
    ["1e400", "-1e400", "1e-400", "-0", "123456789012345678901234567890", "-9223372036854775809"];

/// What is done with an input.
type Taker<'t> = dyn FnMut(&str, &[u8]) + 't;

/// The samples, each with a name.
pub(super) fn samples(lines: &str) -> Result<Vec<(String, Vec<u8>)>, FormatError> {
    let lines = lines.lines().filter(|line| !line.trim().is_empty());
    let named = lines.enumerate().map(|(index, line)| {
        let number = index + 1;
        let event: Value = serde_json::from_str(line)
            .map_err(|error| refused(format!("sample {number} is not JSON: {error}")))?;
        let kind = event.get("type").and_then(Value::as_str).unwrap_or("-");
        Ok((format!("sample {number} {kind}"), line.as_bytes().to_vec()))
    });
    named.collect()
}

/// Gives every input, one after another.
pub(super) fn each(samples: &[(String, Vec<u8>)], take: &mut Taker<'_>) {
    let plain = ["", " ", "null", "0", "\"text\"", "[]", "{}", "[{}]", "{", "\u{0}", "\u{feff}{}"];
    for text in plain {
        take(&format!("{text:?}"), text.as_bytes());
    }
    for kind in EventKind::ALL {
        let parsed = samples.iter().find_map(|(_, line)| {
            let event: Value = serde_json::from_slice(line).ok()?;
            (event.get("type")?.as_str()? == kind.name()).then(|| (event, line.clone()))
        });
        let (event, line) = parsed.unwrap_or_else(|| {
            let event = json!({"id": "E", "type": kind.name(), "channelId": "C", "payload": {}});
            let line = event.to_string().into_bytes();
            (event, line)
        });
        let mut named = |what: &str, input: &[u8]| take(&format!("{} {what}", kind.name()), input);
        broken_text(&line, &mut named);
        large(&event, &mut named);
        numbers(&event, &mut named);
        members(&event, &mut named);
    }
}

fn broken_text(line: &[u8], take: &mut Taker<'_>) {
    for cut in 0..CUTS {
        let at = line.len() * cut / CUTS;
        take(&format!("cut off at byte {at}"), line.get(..at).unwrap_or_default());
    }
    take("without its last byte", line.get(..line.len().saturating_sub(1)).unwrap_or_default());
    for step in 0..8 {
        let at = line.len() * step / 8;
        for byte in [0xff, 0xc3, 0] {
            let mut input = line.to_vec();
            if let Some(place) = input.get_mut(at) {
                *place = byte;
            }
            take(&format!("with byte {byte:#04x} at {at}"), &input);
        }
    }
    take("twice", &[line, line].concat());
    take("with text behind it", &[line, b" x"].concat());
}

fn large(event: &Value, take: &mut Taker<'_>) {
    // The longest text grows until the event is as large as one may be.
    let mut longest = None;
    for place in places(event) {
        let length = event.pointer(&place).and_then(Value::as_str).map(str::len);
        if length.is_some()
            && place.starts_with("/payload")
            && length > longest.as_ref().map(|(_, most)| *most)
        {
            longest = length.map(|length| (place, length));
        }
    }
    let mut grown = event.clone();
    let room = EVENT_BYTES_MAX.saturating_sub(event.to_string().len() + 64);
    match longest.and_then(|(place, _)| grown.pointer_mut(&place)) {
        Some(text) => *text = "x".repeat(room).into(),
        None => put(&mut grown, "payload", json!({ "text": "x".repeat(room) })),
    }
    take("of 1 MiB, most of it one text", grown.to_string().as_bytes());
    let mut grown = event.clone();
    put(&mut grown, "unknown", "é\"\\".repeat(room / 6).into());
    take("of 1 MiB, most of it an unknown member", grown.to_string().as_bytes());

    for depth in [100, 1_000, 10_000] {
        for (open, close) in [("[", "]"), ("{\"message\":", "}")] {
            let nested = format!("{}0{}", open.repeat(depth), close.repeat(depth));
            let mut deep = event.clone();
            put(&mut deep, "payload", NUMBER.into());
            let text = deep.to_string().replace(&format!("\"{NUMBER}\""), &nested);
            take(&format!("with a payload {depth} deep of {open:?}"), text.as_bytes());
        }
    }
}

fn numbers(event: &Value, take: &mut Taker<'_>) {
    let mut marked = event.clone();
    mark_numbers(&mut marked);
    let text = marked.to_string();
    for number in NUMBERS {
        let input = text.replace(&format!("\"{NUMBER}\""), number);
        take(&format!("with {number} for every number"), input.as_bytes());
    }
}

fn mark_numbers(value: &mut Value) {
    match value {
        Value::Number(_) => *value = NUMBER.into(),
        Value::Array(items) => items.iter_mut().for_each(mark_numbers),
        Value::Object(members) => members.values_mut().for_each(mark_numbers),
        _ => {}
    }
}

fn members(event: &Value, take: &mut Taker<'_>) {
    let places = places(event);
    let others = [json!(7), json!("text"), json!([]), json!({}), json!(true), json!("\u{0}")];
    for (index, place) in places.iter().take(PLACES_MAX).enumerate() {
        let mut without = event.clone();
        remove(&mut without, place);
        take(&format!("without {place}"), without.to_string().as_bytes());
        // Not each with each: another one at each place, and null everywhere.
        let other = others.get(index % others.len()).cloned().unwrap_or_default();
        for other in [Value::Null, other] {
            let mut with = event.clone();
            if let Some(value) = with.pointer_mut(place) {
                *value = other.clone();
            }
            take(&format!("with {other} for {place}"), with.to_string().as_bytes());
        }
    }
    let mut more = event.clone();
    add_unknown(&mut more);
    take("with unknown members everywhere", more.to_string().as_bytes());
    let mut other = event.clone();
    put(&mut other, "type", "NOT_A_KIND".into());
    take("of an unknown type", other.to_string().as_bytes());
    put(&mut other, "type", NUMBER.into());
    let surrogate = other.to_string().replace(NUMBER, r"\ud800");
    take("with half a surrogate pair for a type", surrogate.as_bytes());
}

/// Pointers to every member and item, those of outer ones first.
fn places(event: &Value) -> Vec<String> {
    let mut places = vec![String::new()];
    let mut next = 0;
    while let Some(place) = places.get(next).cloned() {
        next += 1;
        match event.pointer(&place) {
            Some(Value::Object(members)) => {
                let escaped = members.keys().map(|name| name.replace('~', "~0").replace('/', "~1"));
                places.extend(escaped.map(|name| format!("{place}/{name}")));
            }
            Some(Value::Array(items)) => {
                places.extend((0..items.len()).map(|index| format!("{place}/{index}")));
            }
            _ => {}
        }
    }
    places.remove(0);
    places
}

fn put(event: &mut Value, name: &str, value: Value) {
    if let Some(members) = event.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

fn remove(event: &mut Value, place: &str) {
    let Some((parent, name)) = place.rsplit_once('/') else { return };
    match event.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(items)) => {
            if let Some(index) = name.parse().ok().filter(|index| *index < items.len()) {
                items.remove(index);
            }
        }
        _ => {}
    }
}

fn add_unknown(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(add_unknown),
        Value::Object(members) => {
            members.values_mut().for_each(add_unknown);
            members.insert("unknown".to_owned(), json!({"a": [1, null]}));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_meets_every_sort_of_input() {
        let samples = samples(
            r#"{"id":"1","type":"BLOCK","channelId":"C","payload":{"event":{"moment":17,"text":"t"}}}"#,
        )
        .expect("sound");
        let mut seen = BTreeSet::new();
        let mut largest = 0;
        each(&samples, &mut |name, input| {
            assert!(seen.insert(name.to_owned()), "{name} comes twice");
            largest = largest.max(input.len());
            let is_broken = name.contains("cut off") || name.contains("byte") || name.contains("twice");
            // Deeper than the parser of this test goes, or what no number holds.
            let is_beyond = name.contains("deep") || name.contains("e400") || name.contains("surrogate");
            if !is_broken && !is_beyond && name.starts_with("BLOCK with ") && !name.contains("behind") {
                assert!(serde_json::from_slice::<Value>(input).is_ok(), "{name}");
            }
        });
        assert!((EVENT_BYTES_MAX - 1024..=EVENT_BYTES_MAX).contains(&largest), "{largest}");
        for kind in EventKind::ALL {
            for what in
                ["cut off at byte 0", "with 1e400 for every number", "without /payload", "of an unknown type"]
            {
                let name = format!("{} {what}", kind.name());
                assert!(seen.contains(&name), "{name}");
            }
        }
        for name in [
            "\"\"",
            "BLOCK without /payload/event/moment",
            "BLOCK of 1 MiB, most of it one text",
            "BLOCK with a payload 10000 deep of \"[\"",
            "BLOCK with byte 0xff at 0",
            "BLOCK with unknown members everywhere",
        ] {
            assert!(seen.contains(name), "{name}");
        }
    }

    #[test]
    fn a_sample_that_is_none_is_told_by_number() {
        assert_eq!(
            samples("{}\n\n{").expect_err("refused").to_string(),
            "sample 2 is not JSON: EOF while parsing an object at line 1 column 1"
        );
    }
}
