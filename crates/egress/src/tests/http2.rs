//! HTTP/2 by prior knowledge: many requests on one connection.

use super::*;

fn start() -> ScriptedReceiver {
    ScriptedReceiver::start(ReceiverOptions::h2())
}

#[test]
fn a_request_arrives_as_it_was_made() {
    run(async {
        let receiver = start();
        receiver.push(Reply::ok("thanks"));
        let connection = connect(&receiver, Protocol::Http2).await;
        let body = Bytes::from(vec![b'x'; 300_000]);
        let report = connection.send(request(body.clone())).await;
        assert_eq!((class(&report), report.status, &report.snippet[..]), (None, Some(200), &b"thanks"[..]));
        let received = receiver.requests_at_least(1).await.remove(0);
        assert_eq!((received.http_version, received.path.as_str()), (2, "/hook?a=b"));
        assert_eq!(received.body, body);
        assert_eq!(received.header(":authority"), Some(receiver.addr().to_string().as_str()));
        assert_eq!(received.header("host"), None);
        assert_eq!(received.header("webhook-id"), Some("e1-w1"));
        assert_eq!(received.header("authorization"), Some("Bearer t"));
        assert_eq!(received.header("content-length"), Some("300000"));
    });
}

#[test]
fn requests_share_a_connection_up_to_the_receivers_limit() {
    run(async {
        let limited = ReceiverOptions { h2_streams_max: Some(3), ..ReceiverOptions::h2() };
        let receiver = ScriptedReceiver::start(limited);
        let gate = Gate::new();
        let held = gate.clone();
        receiver.script(move |_| Reply::status(200).held_by(&held));
        let connection = connect(&receiver, Protocol::Http2).await;
        let mut answers = Vec::new();
        for free in [3, 2, 1] {
            assert_eq!(connection.free_slots(), free);
            answers.push(tokio::task::spawn_local(send(&*connection)));
        }
        assert_eq!((connection.free_slots(), connection.is_open()), (0, true));
        assert_eq!(class(&send(&*connection).await), Some(FailureClass::Internal));
        receiver.requests_at_least(3).await;
        gate.open();
        for answer in answers {
            assert_eq!(class(&answer.await.unwrap()), None);
        }
        assert_eq!(connection.free_slots(), 3);
        assert_eq!(receiver.counts().connections_accepted, 1);
    });
}

#[test]
fn without_a_limit_of_the_receivers_a_hundred_requests_share_it() {
    run(async {
        let receiver = start();
        let connection = connect(&receiver, Protocol::Http2).await;
        assert_eq!(connection.free_slots(), 100);
        let answers: Vec<_> = (0..100).map(|_| tokio::task::spawn_local(send(&*connection))).collect();
        assert_eq!(connection.free_slots(), 0);
        for answer in answers {
            assert_eq!(class(&answer.await.unwrap()), None);
        }
        assert_eq!(connection.free_slots(), 100);
    });
}

async fn until_turned_away(connection: &dyn Connection) {
    loop {
        match class(&send(connection).await) {
            None => {}
            Some(class) => break assert_eq!(class, FailureClass::StaleConnection),
        }
    }
}

#[test]
fn a_goaway_lets_what_is_in_flight_end() {
    run(async {
        let receiver = start();
        let gate = Gate::new();
        receiver.push(Reply::status(201).held_by(&gate));
        receiver.push(Reply::CloseAfterKeepAlive(Answer::new(200)));
        let connection = connect(&receiver, Protocol::Http2).await;
        let held = tokio::task::spawn_local(send(&*connection));
        receiver.requests_at_least(1).await;
        assert_eq!(class(&send(&*connection).await), None);
        // New requests are turned away sooner or later; the one in flight still holds the connection open.
        until_turned_away(&*connection).await;
        assert_eq!((connection.free_slots(), connection.is_open()), (0, true));
        gate.open();
        let report = held.await.unwrap();
        assert_eq!((class(&report), report.status), (None, Some(201)));
        until(|| !connection.is_open()).await;
        assert_eq!(connection.free_slots(), 0);
        assert_eq!(class(&send(&*connection).await), Some(FailureClass::StaleConnection));
        receiver.until(|counts| counts.connections_open == 0).await;
    });
}

#[test]
fn a_reset_stream_leaves_the_connection() {
    run(async {
        let receiver = start();
        let connection = connect(&receiver, Protocol::Http2).await;
        for (reply, expected, status) in [
            (Reply::ResetBeforeAnswer, Some(FailureClass::Reset), None),
            (Reply::status(500), Some(FailureClass::Status), Some(500)),
            // The receiver saw this one: a used connection is no excuse.
            (Reply::ResetBeforeAnswer, Some(FailureClass::Reset), None),
            (Reply::HalfBody, Some(FailureClass::Reset), Some(200)),
            (Reply::EndlessBody(200), None, Some(200)),
            (Reply::EndlessBody(500), Some(FailureClass::Status), Some(500)),
            (Reply::ok("ok"), None, Some(200)),
        ] {
            receiver.push(reply.clone());
            let report = send(&*connection).await;
            assert_eq!((class(&report), report.status), (expected, status), "{reply:?}: {report:?}");
            assert!(report.snippet.len() <= 1024);
            assert_eq!((connection.free_slots(), connection.is_open()), (100, true), "{reply:?}");
        }
        assert_eq!(receiver.counts().connections_accepted, 1);
    });
}

#[test]
fn a_head_over_its_bound_breaks_the_protocol() {
    run(async {
        let receiver = start();
        receiver.push(Reply::status(200));
        receiver.push(Reply::EndlessHeaders);
        let connection = connect(&receiver, Protocol::Http2).await;
        assert_eq!(class(&send(&*connection).await), None);
        let report = send(&*connection).await;
        assert_eq!((class(&report), report.status), (Some(FailureClass::Protocol), None), "{report:?}");
    });
}

// Frames of an unknown type are ignored one by one, for ever, if nobody counts.
#[test]
fn a_flood_of_meaningless_frames_breaks_the_protocol() {
    use std::io::{Read as _, Write as _};
    run(async {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (begin, begun) = std::sync::mpsc::sync_channel(1);
        let flooder = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _preface = socket.read(&mut [0; 1024]).unwrap();
            let empty_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            socket.write_all(&empty_settings).unwrap();
            begun.recv().unwrap();
            let mut frame = vec![0; 9 + 0x4000];
            frame[..9].copy_from_slice(&[0, 0x40, 0, 0xfa, 0, 0, 0, 0, 0]);
            while socket.write_all(&frame).is_ok() {}
        });
        let connected = prepare(&HttpTransport::new(options()), &url, Protocol::Http2).connect().await;
        let connection = connected.unwrap_or_else(|report| panic!("{report:?}"));
        let answer = send(&*connection);
        begin.send(()).unwrap();
        let report = answer.await;
        assert_eq!(class(&report), Some(FailureClass::Protocol), "{report:?}");
        drop(connection);
        flooder.join().unwrap();
    });
}

#[test]
fn a_broken_connection_is_stale_only_after_a_first_answer() {
    run(async {
        let receiver = start();
        receiver.push(Reply::ResetAfterRequest);
        let fresh = connect(&receiver, Protocol::Http2).await;
        assert_eq!(class(&send(&*fresh).await), Some(FailureClass::Reset));

        receiver.push(Reply::status(200));
        receiver.push(Reply::ResetAfterRequest);
        let used = connect(&receiver, Protocol::Http2).await;
        assert_eq!(class(&send(&*used).await), None);
        assert_eq!(class(&send(&*used).await), Some(FailureClass::StaleConnection));
        until(|| !used.is_open()).await;
    });
}

#[test]
fn abandoning_a_request_resets_its_stream_only() {
    run(async {
        let receiver = start();
        receiver.push(Reply::NeverAnswer);
        let connection = connect(&receiver, Protocol::Http2).await;
        {
            let mut waiting = std::pin::pin!(send(&*connection));
            tokio::select! {
                report = &mut waiting => panic!("answered: {report:?}"),
                _ = receiver.requests_at_least(1) => {}
            }
            // Another is answered meanwhile: the connection lives.
            assert_eq!(class(&send(&*connection).await), None);
        }
        assert_eq!((connection.free_slots(), connection.is_open()), (100, true));
        receiver.until(|counts| counts.abandoned == 1).await;
        assert_eq!(class(&send(&*connection).await), None);
        assert_eq!(receiver.counts().connections_accepted, 1);
    });
}

// A receiver that vanished without a word would else take every later attempt with it, each for its whole time-out.
#[test]
fn a_connection_that_was_silent_for_a_whole_attempt_takes_no_other() {
    run(async {
        let receiver = start();
        receiver.push(Reply::status(200));
        receiver.script(|_| Reply::NeverAnswer);
        let connection = connect(&receiver, Protocol::Http2).await;
        // Settings and their acknowledgement are out of the way after a first answer.
        assert_eq!(class(&send(&*connection).await), None);
        let first = tokio::task::spawn_local(send(&*connection));
        let second = tokio::time::timeout(Duration::from_millis(50), send(&*connection)).await;
        assert!(second.is_err());
        // The one still in flight may end.
        assert_eq!((connection.free_slots(), connection.is_open()), (0, true));
        first.abort();
        assert!(first.await.is_err());
        assert_eq!((connection.free_slots(), connection.is_open()), (0, false));
        receiver.until(|counts| counts.connections_open == 0).await;
    });
}

#[test]
fn dropping_a_connection_closes_its_socket() {
    run(async {
        let receiver = start();
        let transport = transport_for(&receiver);
        let prepared = prepare(&transport, &receiver.url("/"), Protocol::Http2);
        let connection = prepared.connect().await.unwrap_or_else(|report| panic!("{report:?}"));
        receiver.push(Reply::NeverAnswer);
        let answer = tokio::task::spawn_local(send(&*connection));
        receiver.requests_at_least(1).await;
        drop(connection);
        receiver.until(|counts| counts.connections_open == 0).await;
        assert!(class(&answer.await.unwrap()).is_some());
        until(|| transport.connections_open() == 0).await;
    });
}

#[test]
fn what_does_not_speak_it_is_found_when_connecting() {
    run(async {
        let http1 = ScriptedReceiver::start(ReceiverOptions::default());
        http1.push(Reply::ok("what?"));
        let report = refusal(&transport_for(&http1), &http1.url("/"), Protocol::Http2).await;
        assert_eq!(class(&report), Some(FailureClass::Protocol), "{report:?}");
        http1.push(Reply::ResetAfterRequest);
        let report = refusal(&transport_for(&http1), &http1.url("/"), Protocol::Http2).await;
        assert_eq!(class(&report), Some(FailureClass::Reset), "{report:?}");
    });
}
