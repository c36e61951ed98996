//! Golden cases: an event in, the exact bodies out, for each built-in format.
//!
//! A case is a few files of one name in the folder of its format:
//!
//! | file | holds |
//! | --- | --- |
//! | `NAME.event.json` | the event as submitted, one line |
//! | `NAME.phone` | the channel's own phone when the event was accepted (optional) |
//! | `NAME.bodies.ndjson` | the bodies, one a line, byte for byte; or |
//! | `NAME.skip` | the reason code of a skipped event; or |
//! | `NAME.invalid` | what is wrong with an event that has no body |
//!
//! The expectations were written from the mapping, not from what the program printed; `cargo xtask golden` rewrites
//! those that differ, and the difference is reviewed like code.

#![cfg(test)]

use bytes::Bytes;
use fanfare_core::EventId;
use fanfare_core::delivery::Rendered;
use fanfare_core::event::{Event, EventKind};
use fanfare_core::webhook::FormatName;
use fanfare_render::{RequestForm, parse_event, render_builtin, split_request};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Cases per format: a file that got lost, or is not looked at, shows here.
const CASES: [(&str, usize); 2] = [("DEFAULT", 13), ("Z_API", 216)];

/// What the files of one case expect, or the renderer gave: the file's ending and its content.
type Expectation = (&'static str, String);

const ENDINGS: [&str; 3] = ["bodies.ndjson", "skip", "invalid"];

fn folder(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format.to_lowercase())
}

/// The names of the cases of `format`; panics on a file that belongs to none.
fn case_names(format: &str) -> BTreeSet<String> {
    let mut endings_by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(folder(format)).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let (name, ending) = file.split_once('.').unwrap_or_else(|| panic!("{file} has no ending"));
        endings_by_name.entry(name.to_owned()).or_default().push(ending.to_owned());
    }
    for (name, endings) in &endings_by_name {
        assert!(endings.iter().any(|ending| ending == "event.json"), "{format}/{name} has no event");
        for ending in endings {
            let is_known =
                ["event.json", "phone"].contains(&ending.as_str()) || ENDINGS.contains(&ending.as_str());
            assert!(is_known, "{format}/{name}.{ending} is no file of a case");
        }
    }
    endings_by_name.into_keys().collect()
}

fn read_event(format: &str, name: &str) -> Event {
    let path = folder(format).join(format!("{name}.event.json"));
    let text = fs::read(&path).unwrap();
    let lines = text.iter().filter(|&&byte| byte == b'\n').count();
    assert!(lines == 1 && text.ends_with(b"\n"), "{} is not one line", path.display());
    let parsed = parse_event(Bytes::from(text)).unwrap_or_else(|error| panic!("{format}/{name}: {error}"));
    let phone = fs::read_to_string(folder(format).join(format!("{name}.phone"))).ok();
    let id = parsed.id.clone().unwrap_or_else(|| EventId::generate(0, 0));
    parsed.into_event(id, phone.map(|phone| phone.trim_end().into()), 1_790_000_999_999)
}

/// What the files say; `None` when there is none (yet).
fn expected(format: &str, name: &str) -> Option<Expectation> {
    let found: Vec<Expectation> = ENDINGS
        .into_iter()
        .filter_map(|ending| {
            fs::read_to_string(folder(format).join(format!("{name}.{ending}")))
                .ok()
                .map(|text| (ending, text))
        })
        .collect();
    assert!(found.len() <= 1, "{format}/{name} expects several things");
    found.into_iter().next()
}

fn rendered(format: &str, event: &Event) -> Expectation {
    let format = FormatName::parse(format).unwrap();
    match render_builtin(&format, event).unwrap() {
        Rendered::Bodies(bodies) => {
            let lines = bodies.iter().map(|body| format!("{}\n", str::from_utf8(&body.bytes).unwrap()));
            ("bodies.ndjson", lines.collect())
        }
        Rendered::Skipped { reason } => ("skip", format!("{reason}\n")),
        Rendered::Invalid { message } => ("invalid", format!("{message}\n")),
        Rendered::Fault { message } | Rendered::Later { message } => panic!("{message}"),
    }
}

fn rewrite(format: &str, name: &str, (ending, text): &Expectation) {
    for other in ENDINGS {
        let path = folder(format).join(format!("{name}.{other}"));
        if other == *ending {
            fs::write(path, text).unwrap();
        } else if path.exists() {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn every_case_renders_to_its_bytes() {
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let mut differing = Vec::new();
    for (format, case_count) in CASES {
        let names = case_names(format);
        for name in &names {
            let actual = rendered(format, &read_event(format, name));
            let expected = expected(format, name);
            if expected.as_ref() == Some(&actual) {
                continue;
            }
            if is_update {
                rewrite(format, name, &actual);
                continue;
            }
            let (ending, text) = expected.unwrap_or(("nothing", String::new()));
            differing.push(format!(
                "{format}/{name}\n  expected {ending}: {text}  rendered {}: {}",
                actual.0, actual.1
            ));
        }
        assert!(
            is_update || names.len() == case_count,
            "{format}: {} cases, {case_count} noted in CASES",
            names.len()
        );
    }
    assert!(differing.is_empty(), "{} cases differ:\n{}", differing.len(), differing.join("\n"));
}

#[test]
fn every_expected_body_is_one_json_object_without_repeated_names() {
    for (format, _) in CASES {
        for name in case_names(format) {
            let Some(("bodies.ndjson", text)) = expected(format, &name) else { continue };
            assert!(!text.is_empty(), "{format}/{name}: no body");
            for (index, line) in text.lines().enumerate() {
                serde_json::from_str::<UniqueNames>(line)
                    .unwrap_or_else(|error| panic!("{format}/{name}, body {index}: {error}"));
                assert!(line.starts_with('{'), "{format}/{name}, body {index}: not an object");
            }
        }
    }
}

/// Each kind of event and each way to end is shown at least once.
#[test]
fn every_kind_and_ending_has_a_case() {
    for (format, _) in CASES {
        let mut kinds = HashSet::new();
        let mut endings = HashSet::new();
        for name in case_names(format) {
            kinds.insert(read_event(format, &name).kind);
            endings.extend(expected(format, &name).map(|(ending, _)| ending));
        }
        assert_eq!(kinds.len(), EventKind::ALL.len(), "{format}");
        assert!(format == "DEFAULT" || endings.len() == ENDINGS.len(), "{format}");
    }
}

/// The events of `fanfare demo`: all kinds, and a body of each in each format.
#[test]
fn the_samples_of_the_demo_render_in_every_format() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/fanfare/samples/events.ndjson");
    let events = split_request(Bytes::from(fs::read(path).unwrap()), RequestForm::Ndjson).unwrap();
    assert!((12..=20).contains(&events.len()));
    let (mut ids, mut kinds) = (HashSet::new(), HashSet::new());
    for event in events {
        let event = event.unwrap();
        let id = event.id.clone().unwrap();
        assert_eq!(event.channel.as_str(), "0190F3A27C5B7E118D2A4C6B9E01F3D5");
        assert!(ids.insert(id.clone()), "{id} is there twice");
        kinds.insert(event.kind);
        let event = event.into_event(id.clone(), None, 1_790_000_999_999);
        for (format, _) in CASES {
            let (ending, text) = rendered(format, &event);
            assert_eq!(ending, "bodies.ndjson", "{id} in {format}: {text}");
        }
    }
    assert_eq!(kinds.len(), EventKind::ALL.len());
}

#[test]
fn the_check_for_repeated_names_sees_them() {
    for good in ["{}", r#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#] {
        assert!(serde_json::from_str::<UniqueNames>(good).is_ok(), "{good}");
    }
    for bad in [r#"{"a":1,"a":1}"#, r#"{"b":[{"a":1,"\u0061":2}]}"#, r#"{"a":1"#] {
        assert!(serde_json::from_str::<UniqueNames>(bad).is_err(), "{bad}");
    }
}

/// Any JSON in which no object names a member twice; numbers are read as text of any size.
struct UniqueNames;

impl<'de> Deserialize<'de> for UniqueNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueNames)
    }
}

impl<'de> Visitor<'de> for UniqueNames {
    type Value = UniqueNames;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueNames, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(serde::de::Error::custom(format!("member {name} is repeated")));
            }
            map.next_value::<UniqueNames>()?;
        }
        Ok(UniqueNames)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<UniqueNames, A::Error> {
        while sequence.next_element::<UniqueNames>()?.is_some() {}
        Ok(UniqueNames)
    }

    fn visit_bool<E>(self, _: bool) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_i64<E>(self, _: i64) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_u64<E>(self, _: u64) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_f64<E>(self, _: f64) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_str<E>(self, _: &str) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_unit<E>(self) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }
}
