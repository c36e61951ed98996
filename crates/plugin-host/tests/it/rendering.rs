//! What a render comes to, whatever the guest does.

use crate::guest::{ECHO, Site, component, event};
use fanfare_core::delivery::{Body, Rendered};
use fanfare_core::ports::Formatter;
use fanfare_core::webhook::FormatName;

fn render(site: &Site, envelope: &str) -> Rendered {
    let name = FormatName::parse("ECHO").expect("name");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    runtime.block_on(site.formats.render(&name, event(envelope)))
}

fn bodies(rendered: Rendered) -> Vec<Body> {
    match rendered {
        Rendered::Bodies(bodies) => bodies,
        other => panic!("{other:?}"),
    }
}

fn fault(rendered: Rendered) -> String {
    match rendered {
        Rendered::Fault { message } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_guest_that_behaves_renders_what_it_is_given_again_and_again() {
    let site = Site::with(ECHO);
    for n in 0..300 {
        let envelope = format!(r#"{{"n":{n},"pad":"{}"}}"#, "x".repeat(n));
        let bodies = bodies(render(&site, &envelope));
        assert_eq!(bodies.len(), 1);
        assert_eq!(bodies[0].bytes, envelope.as_bytes());
        assert_eq!(bodies[0].content_type.as_deref(), Some("application/json"));
    }
}

#[test]
fn its_own_verdicts_are_kept_apart() {
    let skip = Site::with("(call $fail (i32.const 0) (i32.const 64) (i32.const 7))");
    assert_eq!(render(&skip, "{}"), Rendered::Skipped { reason: "no_form".into() });
    let invalid = Site::with("(call $fail (i32.const 1) (i32.const 64) (i32.const 7))");
    assert_eq!(render(&invalid, "{}"), Rendered::Invalid { message: "no_form".into() });
    let internal = Site::with("(call $fail (i32.const 2) (i32.const 64) (i32.const 7))");
    assert_eq!(fault(render(&internal, "{}")), "internal: no_form");
    // A reason goes into records and answers: it must be a word.
    let reason = Site::with("(call $fail (i32.const 0) (i32.const 16) (i32.const 9))");
    assert!(fault(render(&reason, "{}")).contains("is not a word"));
}

#[test]
fn endless_loops_memory_and_traps_end_in_faults_and_the_next_event_gets_a_fresh_instance() {
    let endless = Site::with("(loop $on (br $on)) (unreachable)");
    assert!(fault(render(&endless, "{}")).starts_with("deadline: "));
    let greedy =
        Site::with("(drop (memory.grow (i32.const 16384))) (call $one (local.get $at) (local.get $size))");
    assert!(fault(render(&greedy, "{}")).starts_with("memory: "));
    let deep = Site::with("(unreachable)");
    assert!(fault(render(&deep, "{}")).starts_with("trap: "));
    // Traps on its second call: each instance gets as far as its first one only.
    let second = Site::with(
        "(if (i32.gt_u (global.get $calls) (i32.const 1)) (then (unreachable)))
         (call $one (local.get $at) (local.get $size))",
    );
    for _ in 0..3 {
        assert_eq!(bodies(render(&second, "{}")).len(), 1);
        assert!(fault(render(&second, "{}")).starts_with("trap: "));
    }
}

#[test]
fn output_beyond_the_limits_is_a_fault() {
    let large = Site::with("(call $one (i32.const 0) (i32.const 131072))");
    assert_eq!(bodies(render(&large, "{}"))[0].bytes.len(), 131_072);
    let none = Site::with(
        "(i32.store8 (i32.const 192) (i32.const 0)) (i32.store (i32.const 200) (i32.const 0)) (i32.const 192)",
    );
    assert!(fault(render(&none, "{}")).contains("gave 0 bodies"));
    // Beyond its memory: the host's own check of the canonical ABI.
    let beyond = Site::with("(call $one (i32.const 0) (i32.const 1000000))");
    assert!(fault(render(&beyond, "{}")).starts_with("trap: "));
}

#[test]
fn after_faults_in_a_row_it_is_left_alone_until_a_new_version_or_an_operator() {
    let site = Site::with("(unreachable)");
    for _ in 0..5 {
        fault(render(&site, "{}"));
    }
    assert!(matches!(render(&site, "{}"), Rendered::Later { .. }));
    assert!(site.formats.list()[0].is_quarantined);
    site.formats.lift("ECHO").expect("known");
    fault(render(&site, "{}"));
    site.formats.put("ECHO", &component(ECHO), None).expect("admitted");
    assert_eq!(bodies(render(&site, "{}")).len(), 1);
    let standing = &site.formats.list()[0];
    assert_eq!((standing.generation, standing.is_quarantined, standing.has_former), (2, false, true));
}

#[test]
fn what_came_by_api_is_there_after_a_restart_and_its_code_is_not_compiled_again() {
    let site = Site::with(ECHO);
    let cached = || std::fs::read_dir(site.folder.path().join("cache")).expect("cache").count();
    assert_eq!(cached(), 1);
    let again = fanfare_plugin_host::Formats::open(crate::guest::options(site.folder.path())).expect("opens");
    assert_eq!(again.list()[0].name, "ECHO");
    assert_eq!(cached(), 1);
}
