//! What the shell relies on of actix: its actors run under tokio's paused time on a current-thread runtime with a
//! `LocalSet` and no actix `System`, `run_later` included.

use crate::bench::run;
use actix::prelude::*;
use std::time::Duration;

struct Later;

impl Actor for Later {
    type Context = Context<Self>;
}

struct Ask(tokio::sync::oneshot::Sender<&'static str>);

impl Message for Ask {
    type Result = ();
}

impl Handler<Ask> for Later {
    type Result = ();

    fn handle(&mut self, ask: Ask, ctx: &mut Self::Context) {
        ctx.run_later(Duration::from_secs(3600), move |_, _| {
            let _ = ask.0.send("later");
        });
    }
}

#[test]
fn actors_run_under_paused_time_without_a_system() {
    run(async {
        let addr = Later.start();
        let (tx, rx) = tokio::sync::oneshot::channel();
        addr.send(Ask(tx)).await.expect("mailbox is open");
        let before = tokio::time::Instant::now();
        assert_eq!(rx.await, Ok("later"));
        assert!(before.elapsed() >= Duration::from_secs(3600), "an hour passed, for free");
    });
}
