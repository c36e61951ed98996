//! The checker can fail: a bad story for each promise, next to one that is good.

use super::Checker;
use crate::journal::{DeliveryName, End};
use crate::journal::{Ended, Entry, Form, MS, SECOND, Sent, Settled, Signature, Stored, WorldNs};
use fanfare_core::event::Subscription;
use fanfare_core::outcome::FailureClass;
use fanfare_core::policy::gate::GatePolicy;
use fanfare_core::webhook::{
    Auth, DeliverySettings, FormatName, Ordering, RateLimit, Webhook, WebhookStatus,
};
use fanfare_core::{ChannelId, Seq, WebhookId, WebhookNo};
use std::sync::Arc;

const W: WebhookNo = WebhookNo(1);
const URL: &str = "http://r.test/";

fn webhook(delivery: DeliverySettings) -> Webhook {
    Webhook {
        no: W,
        id: WebhookId(1),
        channel: ChannelId::parse("C").unwrap(),
        url: URL.into(),
        description: None,
        events: vec![Subscription::parse("BLOCK").unwrap()],
        status: WebhookStatus::Enabled,
        disabled_reason: None,
        is_given_up: false,
        failing_since_ms: None,
        signing: None,
        auth: Auth::None,
        payload_format: FormatName::default(),
        custom_attributes: "{}".into(),
        delivery,
        created_at_ms: 0,
        updated_at_ms: 0,
    }
}

/// A story told to a checker; every entry but the last must be fine.
struct Story {
    checker: Checker,
    now: WorldNs,
    attempts: u64,
}

impl Story {
    /// One webhook, and events 1 to 3 of one key that it is owed.
    fn new(delivery: DeliverySettings) -> Story {
        let mut story = Story { checker: Checker::default(), now: 0, attempts: 0 };
        story.tell(Entry::Started { gate: GatePolicy::default() });
        story.configure(Some(webhook(delivery)));
        story.pass(SECOND);
        let ids: Vec<_> = (1..=3).map(|n| (Some(id(n)), block())).collect();
        story.tell(Entry::Pushed { push: 1, channel: Arc::from("C"), events: ids });
        for n in 1..=3 {
            story.tell(stored(n, vec![(W, Form::Bodies(vec![n]))]));
        }
        story.tell(Entry::Accepted { push: 1, accepted: 3, duplicates: 0 });
        story
    }

    fn plain() -> Story {
        Self::new(DeliverySettings::default())
    }

    fn pass(&mut self, ns: WorldNs) {
        self.now += ns;
    }

    fn hear(&mut self, entry: Entry) -> Result<(), String> {
        self.checker.handle(self.now, &entry)
    }

    fn tell(&mut self, entry: Entry) {
        let line = entry.to_string();
        self.hear(entry).unwrap_or_else(|why| panic!("{line}: {why}"));
    }

    /// The next entry breaks this promise.
    fn breaks(mut self, id: &str, entry: Entry) {
        let why = self.hear(entry).expect_err("the checker sees it");
        assert!(why.starts_with(id), "{why}");
    }

    fn configure(&mut self, state: Option<Webhook>) {
        self.tell(Entry::Configured { webhook: W, state: state.map(Box::new), secrets: 0 });
        self.tell(Entry::ConfigAnswered { webhook: W });
    }

    fn begin(&mut self) -> Entry {
        self.attempts += 1;
        Entry::Begun { webhook: W, attempt: self.attempts }
    }

    fn sent(&self, n: u64, attempt_number: u32) -> Sent {
        Sent {
            attempt: self.attempts,
            webhook: W,
            event_id: id(n),
            part: 0,
            attempt_number,
            url: Arc::from(URL),
            body_hash: n,
            signature: Signature::None,
        }
    }

    /// Begins and sends; returns the attempt.
    fn send(&mut self, n: u64, attempt_number: u32) -> u64 {
        let begun = self.begin();
        self.tell(begun);
        let sent = self.sent(n, attempt_number);
        self.tell(Entry::Sent(sent));
        self.attempts
    }

    fn end(&mut self, attempt: u64, ended: Ended) {
        self.tell(Entry::Ended { attempt, ended });
    }

    fn fail(&mut self, n: u64, attempt_number: u32) {
        let attempt = self.send(n, attempt_number);
        self.end(attempt, failed(None));
    }

    fn settle(&mut self, n: u64, end: End) {
        self.tell(Entry::Handed(settled(n, end.clone())));
        self.tell(Entry::Committed(settled(n, end)));
    }

    fn deliver(&mut self, n: u64) {
        let attempt = self.send(n, 1);
        self.end(attempt, Ended::Delivered);
    }

    fn restart(&mut self) {
        self.tell(Entry::Crashed { why: "test" });
        self.tell(Entry::Started { gate: GatePolicy::default() });
    }
}

fn id(n: u64) -> Arc<str> {
    Arc::from(format!("E{n}"))
}

fn block() -> u8 {
    fanfare_core::event::KindSet::of(fanfare_core::event::EventKind::Block).0
}

fn stored(n: u64, owed: Vec<(WebhookNo, Form)>) -> Entry {
    Entry::Stored(Stored {
        id: id(n),
        seq: Seq(n),
        channel: Arc::from("C"),
        kind_bit: block(),
        key: Some(7),
        owed,
    })
}

fn settled(n: u64, end: End) -> Vec<Settled> {
    let delivery = DeliveryName { webhook: W, seq: Seq(n), part: 0 };
    vec![Settled { delivery, end, attempt_number: None }]
}

fn failed(hint_ns: Option<WorldNs>) -> Ended {
    Ended::Failed { class: FailureClass::Status, hint_ns }
}

fn left(events: usize) -> Entry {
    Entry::Left { events, retry_rows: 0, backlog_rows: 0 }
}

#[test]
fn a_good_story_is_good() {
    let mut story = Story::plain();
    for n in 1..=3 {
        story.deliver(n);
        story.settle(n, End::Delivered);
    }
    assert_eq!(story.checker.owed_count(), 0);
    story.tell(left(0));
}

#[test]
fn d1_what_is_answered_must_be_stored_owed_and_ended() {
    let mut story = Story::plain();
    let lost = vec![(Some(id(9)), block())];
    story.tell(Entry::Pushed { push: 2, channel: Arc::from("C"), events: lost });
    story.breaks("D1", Entry::Accepted { push: 2, accepted: 1, duplicates: 0 });

    let mut story = Story::plain();
    let unowed = vec![(Some(id(9)), block())];
    story.tell(Entry::Pushed { push: 2, channel: Arc::from("C"), events: unowed });
    story.breaks("D1", stored(9, Vec::new()));

    let mut story = Story::plain();
    story.tell(Entry::Pushed { push: 2, channel: Arc::from("C"), events: vec![(Some(id(9)), block())] });
    story.tell(Entry::Refused { push: 2 });
    story.breaks("D1", stored(9, vec![(W, Form::Bodies(vec![9]))]));

    Story::plain().breaks("D1", left(0));
    Story::plain().breaks("D1", Entry::Committed(settled(1, End::Delivered)));
    Story::plain().breaks("D1", Entry::Committed(settled(1, End::Dead("gone".into()))));
    let mut story = Story::plain();
    story.fail(1, 1);
    story.settle(1, End::Dead("exhausted".into()));
    story.breaks("D1", Entry::Handed(settled(1, End::Dead("exhausted".into()))));
}

#[test]
fn d2_the_dead_are_left_alone_until_put_back() {
    for is_put_back in [false, true] {
        let mut story = Story::plain();
        story.fail(1, 1);
        story.settle(1, End::Dead("exhausted".into()));
        if is_put_back {
            story.tell(Entry::PutBack(vec![settled(1, End::Retry)[0].delivery]));
        }
        let begun = story.begin();
        story.tell(begun);
        let sent = Entry::Sent(story.sent(1, 2));
        if is_put_back { story.tell(sent) } else { story.breaks("D2", sent) }
    }
}

#[test]
fn d3_body_signature_and_number_are_what_they_must_be() {
    let edits: [fn(&mut Sent); 4] = [
        |sent| sent.body_hash = 99,
        |sent| sent.signature = Signature::Wrong,
        |sent| sent.signature = Signature::By { secret: 0, also: None },
        |sent| sent.attempt_number = 1,
    ];
    for edit in edits {
        let mut story = Story::plain();
        story.fail(1, 1);
        let begun = story.begin();
        story.tell(begun);
        let mut sent = story.sent(1, 2);
        edit(&mut sent);
        story.breaks("D3", Entry::Sent(sent));
    }
}

#[test]
fn d4_only_what_ended_just_before_a_crash_comes_again() {
    for (before_ms, is_fine) in [(0, true), (99, true), (101, false)] {
        let mut story = Story::plain();
        story.deliver(1);
        story.pass(before_ms * MS);
        story.restart();
        let begun = story.begin();
        story.tell(begun);
        let sent = Entry::Sent(story.sent(1, 1));
        if is_fine { story.tell(sent) } else { story.breaks("D4", sent) }
    }
    // Without a crash, never; nor what was settled; and a store in the way is an excuse.
    let mut story = Story::plain();
    story.deliver(1);
    let begun = story.begin();
    story.tell(begun);
    let sent = Entry::Sent(story.sent(1, 2));
    story.breaks("D4", sent);
    let mut story = Story::plain();
    story.deliver(1);
    story.settle(1, End::Delivered);
    story.restart();
    let begun = story.begin();
    story.tell(begun);
    let sent = Entry::Sent(story.sent(1, 1));
    story.breaks("D4", sent);
    let mut story = Story::plain();
    story.deliver(1);
    let from = story.now;
    story.pass(5 * SECOND);
    story.tell(Entry::Excused { from });
    story.restart();
    story.send(1, 1);
}

#[test]
fn d5_of_a_key_one_at_a_time_and_in_order() {
    let ordered = || DeliverySettings { ordering: Some(Ordering::Key), ..DeliverySettings::default() };
    let mut story = Story::new(ordered());
    story.send(1, 1);
    let begun = story.begin();
    story.tell(begun);
    let sent = Entry::Sent(story.sent(2, 1));
    story.breaks("D5", sent);

    // The second begins before the first is over, which shows when the first is sent again.
    let mut story = Story::new(ordered());
    story.fail(1, 1);
    story.deliver(2);
    let begun = story.begin();
    story.tell(begun);
    let sent = Entry::Sent(story.sent(1, 2));
    story.breaks("D5", sent);

    // It was over: dead, as the store hears a moment later.
    let mut story = Story::new(ordered());
    story.fail(1, 1);
    story.deliver(2);
    story.settle(1, End::Dead("exhausted".into()));
    story.deliver(3);
}

#[test]
fn d6_every_window_counts() {
    let rate_limit = Some(RateLimit { per_second: 2.0, burst: 2 });
    for (wait_ms, is_fine) in [(500, true), (499, false)] {
        let mut story = Story::new(DeliverySettings { rate_limit, ..DeliverySettings::default() });
        for _ in 0..2 {
            let begun = story.begin();
            story.tell(begun);
        }
        story.pass(wait_ms * MS);
        let begun = story.begin();
        if is_fine { story.tell(begun) } else { story.breaks("D6", begun) }
    }
    // A restart gives no new burst.
    let mut story = Story::new(DeliverySettings { rate_limit, ..DeliverySettings::default() });
    for _ in 0..2 {
        let begun = story.begin();
        story.tell(begun);
    }
    story.restart();
    let begun = story.begin();
    story.breaks("D6", begun);
}

#[test]
fn d7_no_more_in_flight_than_allowed() {
    let mut story = Story::new(DeliverySettings { max_in_flight: Some(2), ..DeliverySettings::default() });
    story.send(1, 1);
    story.send(2, 1);
    let begun = story.begin();
    story.breaks("D7", begun);
}

#[test]
fn d8_a_shut_gate_a_wish_and_a_disabled_webhook_are_heeded() {
    // Five failures shut it for a second; then one probe; then two seconds.
    for (wait_ms, is_fine) in [(999, false), (1000, true)] {
        let mut story = Story::plain();
        (1..=5).for_each(|number| story.fail(1, number));
        story.pass(wait_ms * MS);
        let begun = story.begin();
        if !is_fine {
            story.breaks("D8", begun);
            continue;
        }
        story.tell(begun);
        let probe = story.attempts;
        let beside = story.begin();
        assert!(story.hear(beside).is_err(), "one probe at a time");
        story.end(probe, failed(None));
        story.pass(1999 * MS);
        let begun = story.begin();
        story.breaks("D8", begun);
    }
    let mut story = Story::plain();
    let attempt = story.send(1, 1);
    let wish = Ended::Failed { class: FailureClass::Throttled, hint_ns: Some(60 * SECOND) };
    story.end(attempt, wish);
    story.pass(59 * SECOND);
    let begun = story.begin();
    story.breaks("D8", begun);

    // A straggler's success at the very moment in which the probe begins may be heard of after that, and opens the gate; an
    // earlier one does not overrule the wish.
    for (later_ms, is_fine) in [(0, true), (1, false)] {
        let mut story = Story::plain();
        let straggler = story.send(1, 1);
        let begun = story.begin();
        story.tell(begun);
        story.end(story.attempts, Ended::Failed { class: FailureClass::Throttled, hint_ns: Some(SECOND) });
        story.pass(1500 * MS);
        story.end(straggler, Ended::Delivered);
        story.pass(later_ms * MS);
        let begun = story.begin();
        story.tell(begun);
        let beside = story.begin();
        assert_eq!(story.hear(beside).is_ok(), is_fine);
    }

    for (wait_ms, is_fine) in [(100, true), (101, false)] {
        let mut story = Story::plain();
        let disabled = Webhook { status: WebhookStatus::Disabled, ..webhook(DeliverySettings::default()) };
        story.configure(Some(disabled));
        story.pass(wait_ms * MS);
        let begun = story.begin();
        if is_fine { story.tell(begun) } else { story.breaks("D8", begun) }
    }
    let mut story = Story::plain();
    let attempt = story.send(1, 1);
    story.end(attempt, Ended::Failed { class: FailureClass::Gone, hint_ns: None });
    story.pass(MS);
    let begun = story.begin();
    story.breaks("D8", begun);
}

#[test]
fn d9_and_d10_memory_is_bounded_and_nothing_is_left() {
    Story::plain().breaks("D9", Entry::Memory { bytes: 11, bytes_max: 10 });
    let mut story = Story::plain();
    story.configure(None);
    story.breaks("D10", left(1));
    let mut story = Story::plain();
    story.configure(None);
    story.breaks("D10", Entry::Left { events: 0, retry_rows: 1, backlog_rows: 0 });
}
