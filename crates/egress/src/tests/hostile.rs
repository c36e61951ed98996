//! Receivers that attack: what an attempt comes to, how much is taken from them, and that the connection is closed.

use super::*;
use fanfare_testkit::receiver::{Attack, HostileReceiver};
use std::cell::Cell;

/// What a caller waits where no answer is to come.
const TIMEOUT: Duration = Duration::from_millis(300);
const DRIP: Duration = Duration::from_millis(2);
/// What an attack may get rid of in all: our bounds are 64 and 128 KiB (HTTP/1.1) and some 400 KiB (HTTP/2), and the
/// system's buffers of the two sockets hold a few megabytes more. An attack without a bound writes that in a moment.
const WRITTEN_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Delivered,
    Failed(FailureClass),
    /// The caller gave up.
    TimedOut,
}

async fn attempt(connection: &dyn Connection, timeout: Duration) -> (End, Option<AttemptReport>) {
    match tokio::time::timeout(timeout, send(connection)).await {
        Err(_elapsed) => (End::TimedOut, None),
        Ok(report) => (class(&report).map_or(End::Delivered, End::Failed), Some(report)),
    }
}

async fn connect_to(receiver: &HostileReceiver, protocol: Protocol) -> (HttpTransport, Box<dyn Connection>) {
    let transport = HttpTransport::new(options());
    let connected = prepare(&transport, &receiver.url("/"), protocol).connect().await;
    (transport, connected.unwrap_or_else(|report| panic!("{report:?}")))
}

/// One attempt at `attack`; then everything is closed, although the caller still holds the connection.
fn check(attack: Attack, expected: &[End]) {
    run(async {
        let receiver = HostileReceiver::start(attack);
        let protocol = if attack.is_http2() { Protocol::Http2 } else { Protocol::Http1 };
        let (transport, connection) = connect_to(&receiver, protocol).await;
        let timeout = if expected.contains(&End::TimedOut) { TIMEOUT } else { HANG_GUARD };
        let (end, report) = attempt(&*connection, timeout).await;
        assert!(expected.contains(&end), "{attack:?}: {end:?} {report:?}");
        assert!(report.is_none_or(|report| report.snippet.len() <= 1024));
        until(|| !connection.is_open()).await;
        assert_eq!(connection.free_slots(), 0, "{attack:?}");
        until(|| receiver.tally().connections_open == 0 && transport.connections_open() == 0).await;
        let tally = receiver.tally();
        assert_eq!((tally.connections_accepted, tally.requests), (1, 1), "{attack:?}");
        assert!(tally.written_bytes <= WRITTEN_BYTES_MAX, "{attack:?}: {} bytes", tally.written_bytes);
    });
}

#[test]
fn a_drip_lasts_until_the_callers_time_is_over() {
    check(Attack::HeaderDrip(DRIP), &[End::TimedOut]);
    check(Attack::BodyDrip(DRIP), &[End::TimedOut]);
}

#[test]
fn heads_without_end_break_the_protocol() {
    for attack in [Attack::EndlessHeaders, Attack::EndlessHeaderLine, Attack::EndlessInformational] {
        check(attack, &[End::Failed(FailureClass::Protocol)]);
    }
}

#[test]
fn ten_gigabytes_behind_a_success_are_a_success_and_behind_a_failure_a_failure() {
    check(Attack::BigBody(200), &[End::Delivered]);
    check(Attack::BigBody(500), &[End::Failed(FailureClass::Status)]);
    check(Attack::TinyChunks, &[End::Delivered]);
}

#[test]
fn framing_without_end_breaks_the_answer() {
    let broken = [End::Failed(FailureClass::Reset), End::Failed(FailureClass::Protocol)];
    check(Attack::EndlessChunkExtension, &broken);
    check(Attack::EndlessTrailers, &broken);
}

#[test]
fn a_compressed_body_stays_compressed() {
    run(async {
        let receiver = HostileReceiver::start(Attack::GzipBomb);
        let (_transport, connection) = connect_to(&receiver, Protocol::Http1).await;
        let (end, report) = attempt(&*connection, HANG_GUARD).await;
        let report = report.unwrap();
        assert_eq!((end, report.snippet.len()), (End::Delivered, 1024));
        // The bytes as they came, and nothing that asked for them to be compressed.
        assert!(report.snippet.starts_with(&[0x1f, 0x8b, 8]), "{:?}", &report.snippet[..8]);
        let head = receiver.tally().last_head;
        assert!(head.contains("webhook-id: e1-w1") && !head.contains("accept-encoding"), "{head}");
        assert_eq!(connection.free_slots(), 1);
    });
}

#[test]
fn floods_of_frames_break_the_protocol() {
    for attack in [
        Attack::SettingsFlood,
        Attack::PingFlood,
        Attack::WindowUpdateFlood,
        Attack::ContinuationFlood,
        Attack::EmptyDataFlood,
    ] {
        check(attack, &[End::Failed(FailureClass::Protocol)]);
    }
    // The first of its frames has ended the attempt; the others end the connection.
    check(Attack::ResetFlood, &[End::Failed(FailureClass::Reset)]);
}

// It neither reads nor stops: we cannot answer its frames, so we stop reading them, and it holds no memory of ours.
#[test]
fn a_flood_from_a_deaf_receiver_stands_still_and_is_given_up() {
    run(async {
        let receiver = HostileReceiver::start(Attack::DeafSettingsFlood);
        let (transport, connection) = connect_to(&receiver, Protocol::Http2).await;
        let (end, report) = attempt(&*connection, TIMEOUT).await;
        assert!(matches!(end, End::TimedOut | End::Failed(FailureClass::Protocol)), "{report:?}");
        let (end, _) = attempt(&*connection, TIMEOUT).await;
        assert_ne!(end, End::Delivered);
        until(|| !connection.is_open() || receiver.tally().connections_open == 0).await;
        drop(connection);
        until(|| receiver.tally().connections_open == 0 && transport.connections_open() == 0).await;
        assert!(receiver.tally().written_bytes <= WRITTEN_BYTES_MAX);
    });
}

// Each reset is the failure of one attempt; the connection keeps no record of them that grows.
#[test]
fn rapid_resets_cost_one_attempt_each() {
    run(async {
        let receiver = HostileReceiver::start(Attack::RapidReset);
        let (_transport, connection) = connect_to(&receiver, Protocol::Http2).await;
        for round in 1..=500 {
            let (end, report) = attempt(&*connection, HANG_GUARD).await;
            assert_eq!(end, End::Failed(FailureClass::Reset), "{round}: {report:?}");
        }
        assert_eq!((connection.is_open(), connection.free_slots()), (true, 100));
        assert_eq!(receiver.tally().requests, 500);
        assert!(receiver.tally().written_bytes < 500 * 64);
        drop(connection);
        until(|| receiver.tally().connections_open == 0).await;
    });
}

#[test]
fn a_goaway_in_the_middle_of_an_answer_is_a_reset() {
    check(Attack::GoawayMidStream, &[End::Failed(FailureClass::Reset)]);
}

// Kept, such a connection would be passed over for ever, and a new one opened for every attempt.
#[test]
fn a_receiver_that_takes_no_streams_is_refused_when_connecting() {
    run(async {
        let receiver = HostileReceiver::start(Attack::NoStreams);
        let transport = HttpTransport::new(options());
        let refusals = Cell::new(0);
        for _ in 0..5 {
            let report = refusal(&transport, &receiver.url("/"), Protocol::Http2).await;
            assert_eq!(class(&report), Some(FailureClass::Protocol));
            assert_eq!(report.detail.as_deref(), Some("the receiver takes no requests"));
            refusals.set(refusals.get() + 1);
        }
        until(|| receiver.tally().connections_open == 0 && transport.connections_open() == 0).await;
        assert_eq!((receiver.tally().connections_accepted, receiver.tally().requests), (refusals.get(), 0));
    });
}
