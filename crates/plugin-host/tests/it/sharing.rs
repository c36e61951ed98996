//! One render per event and format, whoever asks.

use crate::guest::{ECHO, Guest, Site, Ticking, bodies, component, fault, name, named, numbered, wait};
use fanfare_core::delivery::Rendered;
use fanfare_core::ports::Formatter as _;
use fanfare_core::ports::formats::RENDER_US_BOUNDS;
use fanfare_plugin_host::Limits;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

fn renders(site: &Site) -> u64 {
    site.standing("ECHO").meters.renders
}

type Answer = Pin<Box<dyn Future<Output = Rendered> + Send>>;

fn ask(site: &Site, seq: u64, envelope: &str) -> Answer {
    site.formats.render(&name("ECHO"), numbered(seq, envelope))
}

#[test]
fn a_thousand_who_ask_at_once_or_later_cost_one_render() {
    let site = Site::with(ECHO);
    let asked: Vec<Answer> = (0..1000).map(|_| ask(&site, 1, r#"{"id":"E","a":1}"#)).collect();
    for answer in asked {
        assert_eq!(bodies(wait(answer))[0].bytes, r#"{"id":"E","a":1}"#.as_bytes());
    }
    for _ in 0..100 {
        bodies(wait(ask(&site, 1, r#"{"id":"E","a":1}"#)));
    }
    assert_eq!(renders(&site), 1);
    bodies(wait(ask(&site, 2, "{}")));
    let meters = site.standing("ECHO").meters;
    assert_eq!((meters.renders, meters.instances), (2, 1));
    // The clock moves on by 3 µs at each reading.
    assert_eq!((meters.render_us_sum, meters.render_us_counts[0]), (6, 2));
    assert_eq!(meters.render_us_counts.len(), RENDER_US_BOUNDS.len() + 1);
    assert_eq!(meters.memory_bytes_max, 2 * 65_536);
}

#[test]
fn verdicts_are_shared_and_faults_are_not() {
    let skip = Site::with("(call $fail (i32.const 0) (i32.const 64) (i32.const 7))");
    for _ in 0..3 {
        assert!(matches!(wait(ask(&skip, 1, "{}")), Rendered::Skipped { .. }));
    }
    assert_eq!(renders(&skip), 1);
    // Fails by its own word on the first call of each instance, that is each time.
    let failing = Site::with("(call $fail (i32.const 2) (i32.const 64) (i32.const 7))");
    for count in 1..=3 {
        fault(wait(ask(&failing, 1, "{}")));
        assert_eq!(renders(&failing), count);
    }
}

#[test]
fn an_event_of_no_store_is_never_shared_and_neither_is_another_generation() {
    let site = Site::with(ECHO);
    for text in [r#"{"id":"E","a":1}"#, r#"{"id":"E","a":2}"#] {
        assert_eq!(bodies(wait(ask(&site, 0, text)))[0].bytes, text.as_bytes());
    }
    bodies(wait(ask(&site, 1, "{}")));
    site.put("ECHO", &Guest::default().component()).expect("admitted");
    bodies(wait(ask(&site, 1, "{}")));
    assert_eq!(renders(&site), 4);
}

/// 8 MiB are kept, the oldest go first, and what is too large for its part is not kept at all.
#[test]
fn what_is_kept_is_bounded() {
    let guest = |manifest: &mut fanfare_plugin_host::Manifest| {
        manifest.limits = Limits { output_bytes: 4 << 20, render_ms: 1000, ..Limits::default() };
    };
    let site = Site::empty();
    let render = "(call $one (i32.const 0) (i32.mul (local.get $size) (i32.const 1024)))";
    site.put("ECHO", &Guest { render, memory_pages: 64, edit: guest, ..Guest::default() }.component())
        .expect("admitted");
    let of_kib = |kib: usize| "x".repeat(kib);
    // Sixteen of 1 MiB each: the last eight fit.
    for seq in 1..=16 {
        bodies(wait(ask(&site, seq, &of_kib(1024))));
    }
    assert_eq!(renders(&site), 16);
    for seq in 9..=16 {
        bodies(wait(ask(&site, seq, &of_kib(1024))));
    }
    assert_eq!(renders(&site), 16, "the last ones are kept");
    bodies(wait(ask(&site, 1, &of_kib(1024))));
    assert_eq!(renders(&site), 17, "the first one was not");
    for _ in 0..2 {
        assert_eq!(bodies(wait(ask(&site, 100, &of_kib(3000))))[0].bytes.len(), 3000 << 10);
    }
    assert_eq!(renders(&site), 19);
}

/// A caller that went away leaves nothing behind that others would wait for.
#[test]
fn who_gives_up_costs_nobody_anything() {
    let site = Site::with(ECHO);
    for seq in 1..100 {
        drop(ask(&site, seq, "{}"));
        bodies(wait(ask(&site, seq, "{}")));
    }
    assert!(renders(&site) < 200);
}

#[test]
fn a_fresh_instance_for_each_event_when_asked_for() {
    let site = Site::open(|options| options.fresh.extend([name("ECHO")]));
    let render = "(i32.store8 (i32.const 1500) (i32.add (i32.const 48) (global.get $calls)))
        (call $one (i32.const 1500) (i32.const 1))";
    site.put("ECHO", &component(render)).expect("admitted");
    for _ in 0..3 {
        assert_eq!(site.text(), "1");
    }
    let reused = Site::with(render);
    assert_eq!([reused.text(), reused.text(), reused.text()], ["1", "2", "3"]);
    assert_eq!(site.standing("ECHO").meters.instances, 3);
}

#[test]
fn an_instance_is_made_anew_when_it_has_grown_beyond_half_its_limit() {
    // Four pages more each time; 16 MiB are 256 pages.
    let site =
        Site::with("(drop (memory.grow (i32.const 50))) (call $one (local.get $at) (local.get $size))");
    for _ in 0..9 {
        bodies(site.render("{}"));
    }
    let meters = site.standing("ECHO").meters;
    assert_eq!(meters.instances, 3, "each serves three times");
    assert_eq!(meters.memory_bytes_max, (2 + 150) * 65_536);
    assert!(meters.faults.iter().all(|(_, count)| *count == 0));
}

/// Looking for what is idle happens when a thread has nothing to do for a while, and with every change.
#[test]
fn an_instance_that_is_not_used_for_long_is_dropped() {
    let clock = Arc::new(Ticking::default());
    let site = Site::open(|options| options.clock = Arc::clone(&clock) as _);
    site.put("ECHO", &component(ECHO)).expect("admitted");
    let instances = |seconds: u64| {
        site.put("OTHER", &named("OTHER", ECHO)).expect("admitted");
        clock.pass(Duration::from_secs(seconds));
        // Retires a generation, so that the one thread looks around before it renders.
        site.put("OTHER", &named("OTHER", ECHO)).expect("admitted");
        bodies(site.render("{}"));
        site.standing("ECHO").meters.instances
    };
    assert_eq!([instances(0), instances(0), instances(25)], [1, 1, 1]);
    assert_eq!([instances(31), instances(0)], [2, 2]);
}
