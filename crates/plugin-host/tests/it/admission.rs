//! What is refused, and in which words.

use crate::guest::{ECHO, Guest, Site, component};
use fanfare_core::ports::formats::Formats as _;
use fanfare_plugin_host::{Expect, FormatError, Limits, Manifest, Vector, pack};
use serde_json::json;

fn refused(site: &Site, bytes: &[u8]) -> String {
    site.put("ECHO", bytes).expect_err("refused").to_string()
}

#[test]
fn what_is_no_plugin_is_refused_with_what_to_do() {
    let site = Site::empty();
    assert!(refused(&site, b"nothing").starts_with("not a WebAssembly component"));
    assert_eq!(
        refused(&site, &Guest::default().core()),
        "a core module, not a component: make one with `fanfare plugin pack`"
    );
    let importing =
        wat::parse_str(r#"(component (import "wasi:io/streams@0.2.0" (instance)))"#).expect("text");
    let text = refused(&site, &importing);
    assert!(
        text.starts_with("imports wasi:io/streams@0.2.0: a plugin may import nothing; build without"),
        "{text}"
    );
    let other = wat::parse_str("(component)").expect("text");
    assert!(refused(&site, &other).starts_with("exports no fanfare:format"));
    assert!(refused(&site, &vec![0; 33 << 20]).contains("exceeds 33554432"));
    assert!(site.formats.list().is_empty(), "nothing has changed");
}

#[test]
fn the_manifest_must_fit() {
    let site = Site::empty();
    let named = |edit: &dyn Fn(&mut Manifest)| {
        let mut manifest = Guest::default().manifest();
        edit(&mut manifest);
        pack(&Guest::default().core(), &manifest)
    };
    let refused_by_pack = |edit: &dyn Fn(&mut Manifest)| named(edit).expect_err("refused").to_string();
    assert_eq!(refused_by_pack(&|m| m.name = "Z_API".into()), "name Z_API is a built-in format");
    assert!(refused_by_pack(&|m| m.name = "echo".into()).contains("not an upper-case word"));
    assert!(refused_by_pack(&|m| m.content_type = "text".into()).contains("not a media type"));
    let memory = Limits { memory_bytes: 1 << 30, ..Limits::default() };
    assert_eq!(refused_by_pack(&|m| m.limits = memory), "limits.memoryBytes 1073741824 exceeds 67108864");
    let other = named(&|m| m.version = "2.0.0".into()).expect("packs");
    assert_eq!(refused(&site, &other), r#"its manifest says version "2.0.0", describe says "1.0.0""#);
    let misnamed = site.put("OTHER", &component(ECHO)).expect_err("refused");
    assert_eq!(misnamed, FormatError::Name("the plugin's own name is ECHO, not OTHER".into()));
}

#[test]
fn its_own_vectors_must_hold() {
    let site = Site::empty();
    let with = |expect: Expect| {
        let vector = Vector { name: "v".into(), event: json!({"a": 1}), expect };
        pack(&Guest::default().core(), &Manifest { vectors: vec![vector], ..Guest::default().manifest() })
            .expect("packs")
    };
    assert_eq!(
        refused(&site, &with(Expect::Bodies(vec![json!({"a": 2})]))),
        r#"its vector "v" gave something else than it says"#
    );
    assert!(refused(&site, &with(Expect::Invalid)).contains("something else"));
    site.put("ECHO", &with(Expect::Bodies(vec![json!({"a": 1})]))).expect("admitted");
}
