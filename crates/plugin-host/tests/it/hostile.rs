//! Guests that mean harm or are badly broken: each costs its own deliveries.

use crate::guest::{ECHO, Guest, SPIN, Site, bodies, component, fault};
use fanfare_plugin_host::{Limits, pack};

/// What putting this comes to.
fn refused(guest: &Guest<'_>) -> String {
    let bytes = pack(&guest.core(), &guest.manifest()).expect("packs");
    Site::empty().put("ECHO", &bytes).expect_err("refused").to_string()
}

/// `list` of `count` bodies, each of `size` bytes from `at`; the list lies at 65,536 and takes 32 bytes each.
fn many(count: u32, at: u32, size: u32) -> String {
    format!(
        "(loop $more
          (i32.store (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 28))) (i32.const {at}))
          (i32.store (i32.add (i32.const 65540) (i32.mul (local.get $i) (i32.const 28))) (i32.const {size}))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $i) (i32.const {count}))))
        (i32.store8 (i32.const 192) (i32.const 0)) (i32.store (i32.const 196) (i32.const 65536))
        (i32.store (i32.const 200) (i32.const {count})) (i32.const 192)"
    )
}

fn wide<'a>(render: &'a str) -> Guest<'a> {
    Guest { render, memory_pages: 200, ..Guest::default() }
}

#[test]
fn bodies_that_are_many_or_large_end_before_they_are_copied() {
    let site = Site::empty();
    let put = |render: &str| {
        site.put("ECHO", &wide(render).component()).expect("admitted");
        site.render("{}")
    };
    assert_eq!(bodies(put(&many(1024, 0, 10))).len(), 1024);
    assert_eq!(fault(put(&many(1025, 0, 10))), "internal: gave 1025 bodies: 1 to 1024 are allowed");
    assert_eq!(fault(put(&many(3, 0, 100_000))), "internal: bodies of 300000 bytes exceed 262144");
    // 100 MB out of one megabyte: a list may name the same memory again and again.
    let text = fault(put(&many(100, 0, 1_000_000)));
    assert!(text.starts_with("trap: ") && text.contains("fuel"), "{text}");
    // A list that is longer than the memory.
    let beyond = "(i32.store8 (i32.const 192) (i32.const 0)) (i32.store (i32.const 196) (i32.const 65536))
        (i32.store (i32.const 200) (i32.const 100000000)) (i32.const 192)";
    assert!(fault(put(beyond)).starts_with("trap: "));
    assert_eq!(bodies(put(ECHO)).len(), 1, "the next one is as ever");
}

/// One body with this header, or content type.
fn with_header(name: &str, value: &str) -> (String, String) {
    let fields = format!(r#"(data (i32.const 1500) "{name}") (data (i32.const 1700) "{value}")"#);
    let size = |text: &str| text.len() - 2 * text.matches('\\').count();
    let render = format!(
        "(i32.store (i32.const 1400) (i32.const 1500)) (i32.store (i32.const 1404) (i32.const {}))
         (i32.store (i32.const 1408) (i32.const 1700)) (i32.store (i32.const 1412) (i32.const {}))
         (drop (call $one (local.get $at) (local.get $size)))
         (i32.store (i32.const 276) (i32.const 1400)) (i32.store (i32.const 280) (i32.const 1))
         (i32.const 192)",
        size(name),
        size(value)
    );
    (fields, render)
}

#[test]
fn headers_that_are_ours_or_end_a_header_are_faults() {
    let rendered = |name: &str, value: &str| {
        let (fields, render) = with_header(name, value);
        let site = Site::empty();
        site.put("ECHO", &Guest { render: &render, fields: &fields, ..Guest::default() }.component())
            .expect("admitted");
        site.render("{}")
    };
    let good = bodies(rendered("CE-Id", "1"));
    assert_eq!(good[0].headers, [("ce-id".into(), "1".into())]);
    let ours = [
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "proxy-authorization",
        "authorization",
        "cookie",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "X-Hub-Signature-256",
        "x-hub-event",
        "user-agent",
        "expect",
        "forwarded",
        "x-forwarded-for",
        "date",
        "idempotency-key",
        "",
        "ce-\\0d\\0ax",
        "ce-a b",
        "ce-a:",
    ];
    for name in ours {
        let text = fault(rendered(name, "1"));
        assert!(
            text.starts_with("internal: header ") && text.ends_with("may not be set by a plugin"),
            "{text}"
        );
    }
    for value in ["a\\0d\\0aevil: 1", "a\\0a", "a\\00", " a", "a ", "\\7f"] {
        let text = fault(rendered("ce-id", value));
        assert_eq!(text, "internal: value of header ce-id holds what a header may not", "{value}");
    }
}

#[test]
fn too_many_headers_and_content_types_that_are_none_are_faults() {
    let site = Site::empty();
    let put = |render: &str| {
        site.put("ECHO", &wide(render).component()).expect("admitted");
        site.render("{}")
    };
    let headers = "(drop (call $one (local.get $at) (local.get $size)))
        (i32.store (i32.const 276) (i32.const 65536)) (i32.store (i32.const 280) (i32.const 17)) (i32.const 192)";
    assert_eq!(fault(put(headers)), "internal: 17 headers exceed 16");
    let typed = |at: u32, size: u32| {
        format!(
            "(drop (call $one (local.get $at) (local.get $size))) (i32.store8 (i32.const 264) (i32.const 1))
             (i32.store (i32.const 268) (i32.const {at})) (i32.store (i32.const 272) (i32.const {size}))
             (i32.const 192)"
        )
    };
    let json = bodies(put(&typed(1150, 16)));
    assert_eq!(json[0].content_type.as_deref(), Some("application/json"));
    for (at, size) in [(1150, 0), (1150, 11), (1150, 12), (1150, 17)] {
        assert!(fault(put(&typed(at, size))).contains("is not a media type"), "{size} bytes");
    }
    // Text that is no UTF-8: the canonical ABI refuses it.
    let garbage = "(i32.store8 (i32.const 64) (i32.const 255))
        (call $fail (i32.const 1) (i32.const 64) (i32.const 7))";
    assert!(fault(put(garbage)).starts_with("trap: "));
}

#[test]
fn endless_recursion_and_growth_by_steps_are_named() {
    let deep = Site::with("(drop (call $deep (i32.const 1))) (unreachable)");
    let text = fault(deep.render("{}"));
    assert!(text.starts_with("trap: ") && text.contains("call stack exhausted"), "{text}");
    let greedy = Site::with("(loop $on (drop (memory.grow (i32.const 1))) (br $on)) (unreachable)");
    assert_eq!(fault(greedy.render("{}")), "memory: memory of 16842752 exceeds 16777216");
    assert_eq!(greedy.standing("ECHO").meters.memory_bytes_max, 16 << 20);
    let beyond = Site::with("(drop (memory.grow (i32.const 65536))) (unreachable)");
    assert!(fault(beyond.render("{}")).starts_with("memory: "));
    let fields = "(table $t 1 funcref)";
    let render = "(drop (table.grow $t (ref.null func) (i32.const 200000))) (unreachable)";
    let site = Site::empty();
    site.put("ECHO", &Guest { render, fields, ..Guest::default() }.component()).expect("admitted");
    assert_eq!(fault(site.render("{}")), "memory: table of 200001 exceeds 100000");
}

#[test]
fn one_that_does_not_start_is_refused() {
    let endless = Guest { fields: "(func $go (loop $on (br $on))) (start $go)", ..Guest::default() };
    let text = refused(&endless);
    assert!(text.starts_with("does not start (deadline)"), "{text}");
    let trapping = Guest { fields: "(func $go (unreachable)) (start $go)", ..Guest::default() };
    assert!(refused(&trapping).starts_with("does not start (start)"));
    let large = Guest { memory_pages: 300, ..Guest::default() };
    assert_eq!(refused(&large), "does not start (memory): memory of 19660800 exceeds 16777216");
    let tables = Guest { fields: "(table 200000 funcref)", ..Guest::default() };
    assert!(refused(&tables).contains("table"), "by the pool or by the limit of one instance");
    let configure = "(i32.store8 (i32.const 160) (i32.const 1)) (i32.store (i32.const 164) (i32.const 64))
        (i32.store (i32.const 168) (i32.const 7)) (i32.const 160)";
    let refusing = Guest { configure, ..Guest::default() };
    assert_eq!(refused(&refusing), "does not start (start): refused its settings: no_form");
    let looping = Guest { configure: SPIN, ..Guest::default() };
    assert!(refused(&looping).starts_with("does not start (deadline)"));
}

#[test]
fn what_imports_or_lies_is_refused() {
    let importing = |import: &str| {
        let text = format!(r#"(component (import "{import}" (func)))"#);
        let bytes = wat::parse_str(text).expect("text");
        Site::empty().put("ECHO", &bytes).expect_err("refused").to_string()
    };
    assert_eq!(importing("log"), "imports log: a plugin may import nothing");
    assert!(importing("fanfare:other/thing@1.0.0").starts_with("imports fanfare:other/thing@1.0.0"));
    let lying = Guest { edit: |manifest| manifest.name = "OTHER".into(), ..Guest::default() };
    let bytes = pack(&lying.core(), &lying.manifest()).expect("packs");
    let text = Site::empty().put("OTHER", &bytes).expect_err("refused").to_string();
    assert_eq!(text, r#"its manifest says name "OTHER", describe says "ECHO""#);
    let asking = Guest {
        edit: |manifest| manifest.limits = Limits { render_ms: 5000, ..Limits::default() },
        ..Guest::default()
    };
    let text = pack(&asking.core(), &asking.manifest()).expect_err("refused").to_string();
    assert_eq!(text, "limits.renderMs 5000 exceeds 1000");
    // Cut anywhere, it is refused and nothing breaks.
    let whole = component(ECHO);
    let site = Site::empty();
    for size in (0..whole.len()).step_by(97) {
        assert!(site.put("ECHO", &whole[..size]).is_err(), "{size} bytes");
    }
}
