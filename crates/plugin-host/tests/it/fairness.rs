//! A plugin that loops for ever costs its own deliveries and nothing else.

use crate::guest::{ECHO, SPIN, Site, bodies, name, named, numbered};
use fanfare_core::delivery::Rendered;
use fanfare_core::ports::Formatter as _;
use fanfare_core::ports::formats::Formats as _;
use std::future::Future;
use std::pin::Pin;
use tokio::task::JoinSet;

type Answer = Pin<Box<dyn Future<Output = Rendered> + Send>>;

/// Hundreds of renders that loop are queued before 2,000 of a plugin that behaves: those all end before the loops used up
/// what it takes to leave the looping one alone twice over, and their order shows that they did not queue behind.
#[test]
fn renders_of_a_looping_plugin_do_not_hold_up_those_of_others() {
    let site = Site::open(|options| options.threads = 2);
    site.put(
        "LOOPING",
        &named("LOOPING", &format!("(if (i32.gt_u (local.get $size) (i32.const 50)) (then {SPIN})) {ECHO}")),
    )
    .expect("admitted");
    site.put("GOOD", &named("GOOD", ECHO)).expect("admitted");
    let ask = |under: &str, seq: u64, envelope: &str| -> Answer {
        site.formats.render(&name(under), numbered(seq, envelope))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    runtime.block_on(async {
        let mut all = JoinSet::new();
        let endless = "x".repeat(100);
        // Every third one behaves, so that the plugin is never left alone.
        for seq in 1..=60 {
            let answer = ask("LOOPING", seq, if seq % 3 == 0 { "{}" } else { &endless });
            all.spawn(async move { (false, answer.await) });
        }
        for seq in 1..=2000 {
            let answer = ask("GOOD", seq, "{}");
            all.spawn(async move { (true, answer.await) });
        }
        let (mut good, mut looping, mut looping_before_the_last_good) = (0, 0, 0);
        while let Some(ended) = all.join_next().await {
            let (is_good, rendered) = ended.expect("ended");
            if is_good {
                bodies(rendered);
                good += 1;
                looping_before_the_last_good = looping;
            } else {
                looping += 1;
            }
        }
        assert_eq!((good, looping), (2000, 60));
        assert!(
            looping_before_the_last_good <= 40,
            "{looping_before_the_last_good} of 60 loops came before 2,000 good renders"
        );
    });
    assert!(!site.standing("LOOPING").is_quarantined);
    let meters = site.standing("GOOD").meters;
    assert_eq!((meters.renders, meters.faults.iter().map(|(_, count)| count).sum::<u64>()), (2000, 0));
}

/// One that loops each time is left alone, and what it had queued waits without being tried.
#[test]
fn what_is_queued_when_a_plugin_is_left_alone_waits_without_being_tried() {
    let site = Site::open(|options| options.threads = 2);
    site.put("ECHO", &named("ECHO", SPIN)).expect("admitted");
    let asked: Vec<Answer> =
        (1..=200).map(|seq| site.formats.render(&name("ECHO"), numbered(seq, "{}"))).collect();
    let mut waiting = 0;
    for answer in asked {
        match crate::guest::wait(answer) {
            Rendered::Later { .. } => waiting += 1,
            Rendered::Fault { message } => assert!(message.starts_with("deadline: "), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(waiting >= 200 - 22, "{waiting} of 200 were not tried");
    assert!(site.formats.list()[0].is_quarantined);
}
