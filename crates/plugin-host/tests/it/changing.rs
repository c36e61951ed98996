//! Put, rolled back, removed, lifted, and the same after a restart.

use crate::guest::{ECHO, SPIN, Site, TRAP, component, fault, name, numbered, versioned, wait};
use fanfare_core::delivery::Rendered;
use fanfare_core::ports::Formatter as _;
use fanfare_core::ports::formats::{FormatError, FormatSource, Formats as _};
use fanfare_plugin_host::SHIPPED;
use std::time::Duration;

#[test]
fn put_rolled_back_and_removed_and_each_is_there_after_a_restart() {
    let site = Site::empty();
    site.put("ECHO", &versioned("1.0.0")).expect("admitted");
    let standing = site.put("ECHO", &versioned("2.0.0")).expect("admitted");
    assert_eq!((standing.version.as_str(), standing.generation), ("2.0.0", 2));
    assert_eq!(standing.source, FormatSource::Api);
    assert_eq!(standing.former_version.as_deref(), Some("1.0.0"));
    assert_eq!(site.text(), "2.0.0");

    let site = site.again(|_| {});
    assert_eq!(site.text(), "2.0.0");
    assert_eq!(site.standing("ECHO").generation, 2, "a restart is no change");
    let back = wait(site.formats.rollback(name("ECHO"))).expect("rolled back");
    assert_eq!((back.version.as_str(), back.generation), ("1.0.0", 3));
    assert_eq!(back.former_version.as_deref(), Some("2.0.0"));
    assert_eq!(site.text(), "1.0.0");

    let site = site.again(|_| {});
    assert_eq!(site.text(), "1.0.0");
    wait(site.formats.delete(name("ECHO"))).expect("removed");
    assert!(site.formats.names().is_empty());
    assert!(matches!(site.render("{}"), Rendered::Later { .. }), "its deliveries wait");
    let unknown = FormatError::Unknown("ECHO".into());
    assert_eq!(wait(site.formats.delete(name("ECHO"))), Err(unknown.clone()));
    assert_eq!(wait(site.formats.rollback(name("ECHO"))), Err(unknown.clone()));
    assert_eq!(site.formats.lift(&name("ECHO")), Err(unknown));

    let site = site.again(|_| {});
    assert!(site.formats.names().is_empty());
    let standing = site.put("ECHO", &versioned("1.0.0")).expect("admitted");
    assert_eq!(standing.generation, 5, "the counter goes on though the format was gone");
    assert_eq!(standing.former_version, None);
    let kept = std::fs::read_dir(site.folder.path().join("kept")).expect("kept").count();
    assert_eq!(kept, 2, "the index and one component: the others are gone");
}

#[test]
fn the_same_again_is_a_change_that_leaves_the_former_one() {
    let site = Site::empty();
    for version in ["1.0.0", "2.0.0", "2.0.0"] {
        site.put("ECHO", &versioned(version)).expect("admitted");
    }
    let standing = site.standing("ECHO");
    assert_eq!((standing.generation, standing.former_version.as_deref()), (3, Some("1.0.0")));
}

#[test]
fn what_is_refused_changes_nothing() {
    let site = Site::empty();
    site.put("ECHO", &versioned("1.0.0")).expect("admitted");
    assert!(matches!(site.put("ECHO", b"nothing"), Err(FormatError::Refused(_))));
    assert!(matches!(site.put("OTHER", &versioned("2.0.0")), Err(FormatError::Name(_))));
    let conflict = wait(site.formats.rollback(name("ECHO")));
    assert_eq!(conflict, Err(FormatError::Conflict("ECHO has no former version to go back to".into())));
    let before = site.standing("ECHO");
    let site = site.again(|_| {});
    assert_eq!(site.standing("ECHO").generation, before.generation);
    assert_eq!(site.text(), "1.0.0");
}

#[test]
fn a_change_goes_on_when_nobody_waits_for_it() {
    let site = Site::empty();
    let formats = site.formats.clone();
    wait(async {
        let put = formats.put(name("ECHO"), versioned("1.0.0").into(), None);
        let asked = tokio::spawn(put);
        tokio::task::yield_now().await;
        asked.abort();
    });
    // Its thread is nobody's to wait for; it comes to its end all the same.
    let guard = Duration::from_secs(60);
    let is_there = async {
        while site.formats.list().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    wait(async { tokio::time::timeout(guard, is_there).await.expect("the change hangs") });
    assert_eq!(site.standing("ECHO").version, "1.0.0");
}

#[test]
fn code_is_compiled_once_and_only_our_own_cache_is_believed() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::with(ECHO);
    let cache = site.folder.path().join("cache");
    let files = || -> Vec<_> {
        std::fs::read_dir(&cache).expect("cache").map(|file| file.expect("file").path()).collect()
    };
    let first = files();
    assert_eq!(first.len(), 1);
    let written = |file: &std::path::Path| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(file).expect("file").ino()
    };
    let inode = written(&first[0]);
    let site = site.again(|_| {});
    assert_eq!(written(&first[0]), inode, "not compiled again");
    // One that others may write is not loaded, and is replaced.
    std::fs::set_permissions(&first[0], std::fs::Permissions::from_mode(0o666)).expect("set");
    let site = site.again(|_| {});
    assert_ne!(written(&first[0]), inode);
    assert_eq!(std::fs::metadata(&first[0]).expect("file").permissions().mode() & 0o777, 0o600);
    // Nor is one that is damaged.
    std::fs::write(&first[0], b"no code").expect("written");
    let site = site.again(|_| {});
    assert_eq!(site.standing("ECHO").generation, 1);
    assert!(site.text().starts_with('{'), "it renders");
    // Compiled code is never taken from outside, whatever it is called.
    let compiled = std::fs::read(&first[0]).expect("file");
    let text = site.put("ECHO", &compiled).expect_err("refused").to_string();
    assert!(text.starts_with("not a WebAssembly component"), "{text}");
}

#[test]
fn a_kept_one_that_is_refused_at_a_later_start_waits_and_stays() {
    let shipped = |options: &mut fanfare_plugin_host::FormatsOptions| options.shipped = SHIPPED.to_vec();
    let site = Site::empty();
    site.put("ECHO", &versioned("1.0.0")).expect("admitted");
    let site = site.again(|options| {
        shipped(options);
        options.signatures.is_required = true;
    });
    let standing = site.standing("ECHO");
    assert!(standing.is_quarantined && !site.formats.is_ready(&name("ECHO")));
    let Rendered::Later { message } = site.render("{}") else { panic!("it waits") };
    assert!(message.contains("plugins.require_signed"), "{message}");
    assert!(matches!(site.formats.lift(&name("ECHO")), Err(FormatError::Conflict(_))));
    assert!(
        site.formats.is_ready(&name("CLOUDEVENTS")),
        "the rest goes on, and the binary needs no signature"
    );
    let site = site.again(|_| {});
    assert_eq!(site.text(), "1.0.0");
    assert_eq!(site.standing("ECHO").generation, 1);
}

#[test]
fn a_damaged_one_blocks_its_own_name_until_it_is_put_again() {
    let site = Site::empty();
    site.put("ECHO", &versioned("1.0.0")).expect("admitted");
    let kept = site.folder.path().join("kept");
    for file in std::fs::read_dir(&kept).expect("kept") {
        let path = file.expect("file").path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            std::fs::write(path, b"damaged").expect("written");
        }
    }
    let site = site.again(|_| {});
    assert!(matches!(site.render("{}"), Rendered::Later { .. }));
    assert_eq!(site.standing("ECHO").version, "1.0.0");
    site.put("ECHO", &versioned("1.0.0")).expect("admitted");
    assert_eq!(site.text(), "1.0.0");
}

#[test]
fn what_is_under_way_ends_with_the_former_one() {
    let site = Site::empty();
    site.put("ECHO", &versioned("1.0.0")).expect("admitted");
    let ahead = site.formats.render(&name("ECHO"), numbered(1, "{}"));
    site.put("ECHO", &versioned("2.0.0")).expect("admitted");
    let after = site.formats.render(&name("ECHO"), numbered(2, "{}"));
    let text = |rendered| String::from_utf8(crate::guest::bodies(rendered)[0].bytes.to_vec()).expect("text");
    assert_eq!(text(wait(ahead)).trim(), "1.0.0");
    assert_eq!(text(wait(after)).trim(), "2.0.0");
}

#[test]
fn faults_in_a_row_are_of_one_generation_and_deadlines_are_counted_apart() {
    let site = Site::with(TRAP);
    for _ in 0..4 {
        fault(site.render("{}"));
    }
    site.put("ECHO", &component(SPIN)).expect("admitted");
    // The first one was tried twice: a machine with too much to do makes an innocent plugin late.
    for count in 1..=19 {
        assert!(!site.standing("ECHO").is_quarantined, "after {count}");
        assert!(fault(site.render("{}")).starts_with("deadline: "));
    }
    assert!(site.standing("ECHO").is_quarantined);
    assert_eq!((site.faults("trap"), site.faults("deadline")), (4, 20));
    assert!(matches!(site.render("{}"), Rendered::Later { .. }));
    assert_eq!(site.standing("ECHO").meters.renders, 23, "what is left alone is not rendered");
    // The version before is another generation.
    wait(site.formats.rollback(name("ECHO"))).expect("rolled back");
    assert!(!site.standing("ECHO").is_quarantined);
}
