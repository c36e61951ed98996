//! What a render comes to, whatever the guest does.

use crate::guest::{ECHO, SPIN, Site, TRAP, bodies, component, fault, name};
use fanfare_core::delivery::Rendered;
use fanfare_core::ports::formats::Formats as _;

#[test]
fn a_guest_that_behaves_renders_what_it_is_given_again_and_again() {
    let site = Site::with(ECHO);
    for n in 0..300 {
        let envelope = format!(r#"{{"id":"E","n":{n},"pad":"{}"}}"#, "x".repeat(n));
        let bodies = bodies(site.render(&envelope));
        assert_eq!(bodies.len(), 1);
        assert_eq!(bodies[0].bytes, envelope.as_bytes());
        assert_eq!(bodies[0].content_type.as_deref(), Some("application/json"));
    }
}

#[test]
fn its_own_verdicts_are_kept_apart() {
    let skip = Site::with("(call $fail (i32.const 0) (i32.const 64) (i32.const 7))");
    assert_eq!(skip.render("{}"), Rendered::Skipped { reason: "no_form".into() });
    let invalid = Site::with("(call $fail (i32.const 1) (i32.const 64) (i32.const 7))");
    assert_eq!(invalid.render("{}"), Rendered::Invalid { message: "no_form".into() });
    let internal = Site::with("(call $fail (i32.const 2) (i32.const 64) (i32.const 7))");
    assert_eq!(fault(internal.render("{}")), "internal: no_form");
    // A reason goes into records and answers: it must be a word.
    let reason = Site::with("(call $fail (i32.const 0) (i32.const 16) (i32.const 9))");
    assert!(fault(reason.render("{}")).contains("is not a word"));
}

#[test]
fn endless_loops_memory_and_traps_end_in_faults_and_the_next_event_gets_a_fresh_instance() {
    let endless = Site::with(SPIN);
    assert!(fault(endless.render("{}")).starts_with("deadline: "));
    let greedy =
        Site::with("(drop (memory.grow (i32.const 16384))) (call $one (local.get $at) (local.get $size))");
    assert!(fault(greedy.render("{}")).starts_with("memory: "));
    let deep = Site::with(TRAP);
    assert!(fault(deep.render("{}")).starts_with("trap: "));
    // Traps on its second call: each instance gets as far as its first one only.
    let second = Site::with(
        "(if (i32.gt_u (global.get $calls) (i32.const 1)) (then (unreachable)))
         (call $one (local.get $at) (local.get $size))",
    );
    for _ in 0..3 {
        assert_eq!(bodies(second.render("{}")).len(), 1);
        assert!(fault(second.render("{}")).starts_with("trap: "));
    }
}

#[test]
fn output_beyond_the_limits_is_a_fault() {
    let large = Site::with("(call $one (i32.const 0) (i32.const 131072))");
    assert_eq!(bodies(large.render("{}"))[0].bytes.len(), 131_072);
    let none = Site::with(
        "(i32.store8 (i32.const 192) (i32.const 0)) (i32.store (i32.const 200) (i32.const 0)) (i32.const 192)",
    );
    assert!(fault(none.render("{}")).contains("gave 0 bodies"));
    // Beyond its memory: the host's own check of the canonical ABI.
    let beyond = Site::with("(call $one (i32.const 0) (i32.const 1000000))");
    assert!(fault(beyond.render("{}")).starts_with("trap: "));
}

#[test]
fn after_faults_in_a_row_it_is_left_alone_until_a_new_version_or_an_operator() {
    let site = Site::with(TRAP);
    for _ in 0..5 {
        fault(site.render("{}"));
    }
    assert!(matches!(site.render("{}"), Rendered::Later { .. }));
    assert!(site.formats.list()[0].is_quarantined);
    site.formats.lift(&name("ECHO")).expect("known");
    fault(site.render("{}"));
    site.put("ECHO", &component(ECHO)).expect("admitted");
    assert_eq!(bodies(site.render("{}")).len(), 1);
    let standing = site.standing("ECHO");
    assert_eq!((standing.generation, standing.is_quarantined), (2, false));
    assert_eq!(standing.former_version.as_deref(), Some("1.0.0"));
}
