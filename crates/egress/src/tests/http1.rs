//! HTTP/1.1: what an answer, or the lack of one, comes to, and what becomes of the connection.

use super::*;

fn start() -> ScriptedReceiver {
    ScriptedReceiver::start(ReceiverOptions::default())
}

/// The report of a first attempt answered by `reply`, and whether the connection can go on.
async fn first(reply: Reply) -> (AttemptReport, bool) {
    let receiver = start();
    receiver.push(reply);
    let connection = connect(&receiver, Protocol::Auto).await;
    let report = send(&*connection).await;
    (report, connection.free_slots() == 1)
}

#[test]
fn a_request_arrives_as_it_was_made() {
    run(async {
        let receiver = start();
        receiver.push(Reply::ok("thanks"));
        let connection = connect(&receiver, Protocol::Auto).await;
        assert_eq!((connection.free_slots(), connection.is_open()), (1, true));
        let body = Bytes::from((0..=255_u8).cycle().take(300_000).collect::<Vec<_>>());
        let report = connection.send(request(body.clone())).await;
        assert_eq!(
            report,
            AttemptReport {
                outcome: Outcome::Delivered,
                status: Some(200),
                snippet: Bytes::from_static(b"thanks"),
                detail: None
            }
        );
        let received = receiver.requests_at_least(1).await.remove(0);
        assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", "/hook?a=b"));
        assert_eq!(received.http_version, 1);
        assert_eq!(received.body, body);
        let host = receiver.addr().to_string();
        for (name, value) in [
            ("host", host.as_str()),
            ("user-agent", "fanfare/9.9"),
            ("content-type", "application/json"),
            ("content-length", "300000"),
            ("webhook-id", "e1-w1"),
            ("webhook-timestamp", "784111777"),
            ("webhook-signature", "v1,AA=="),
            ("x-hub-event", "CONNECTED"),
            ("x-hub-channel", "c1"),
            ("x-hub-webhook", "w1"),
            ("x-hub-attempt", "3"),
            ("x-hub-signature-256", "sha256=00"),
            ("authorization", "Bearer t"),
        ] {
            assert_eq!(received.header(name), Some(value), "{name}");
            assert_eq!(received.header_count(name), 1, "{name}");
        }
        assert_eq!(received.headers.len(), 13, "{:?}", received.headers);
    });
}

/// The next request is made in the map that carried the answer's headers.
#[test]
fn headers_of_an_answer_are_not_sent_back() {
    run(async {
        let receiver = start();
        let connection = connect(&receiver, Protocol::Http1).await;
        for status in [200, 500, 200] {
            let answer = fanfare_testkit::receiver::Answer::new(status);
            receiver.push(Reply::Answer(
                answer.header("x-theirs", "1").header("authorization", "theirs").body("b"),
            ));
            send(&*connection).await;
        }
        for received in receiver.requests() {
            assert_eq!((received.headers.len(), received.header("x-theirs")), (13, None));
            assert_eq!(received.header("authorization"), Some("Bearer t"));
        }
        assert_eq!(receiver.requests().iter().filter(|request| request.connection == 0).count(), 3);
    });
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    run(async {
        let receiver = start();
        let connection = connect(&receiver, Protocol::Http1).await;
        for reply in [Reply::ok("x".repeat(64 * 1024)), Reply::status(204), Reply::status(500), Reply::ok("")]
        {
            receiver.push(reply);
            assert_eq!(connection.free_slots(), 1);
            let answer = send(&*connection);
            // Right after the call, before anything was polled.
            assert_eq!((connection.free_slots(), connection.is_open()), (0, true));
            answer.await;
            assert_eq!((connection.free_slots(), connection.is_open()), (1, true));
        }
        let connections: Vec<_> = receiver.requests().iter().map(|request| request.connection).collect();
        assert_eq!(connections, [0; 4]);
    });
}

#[test]
fn statuses_are_classified() {
    run(async {
        let retryable = |class| Outcome::Retryable { class, not_before: None };
        let throttled = |seconds| Outcome::Retryable {
            class: FailureClass::Throttled,
            not_before: Some(Duration::from_secs(seconds)),
        };
        let retry_after = |status, value| Reply::Answer(Answer::new(status).header("Retry-After", value));
        for (reply, status, outcome) in [
            (Reply::status(200), 200, Outcome::Delivered),
            (Reply::status(204), 204, Outcome::Delivered),
            (Reply::status(299), 299, Outcome::Delivered),
            (Reply::Redirect("http://127.0.0.1:1/".to_owned()), 302, retryable(FailureClass::Status)),
            (Reply::status(304), 304, retryable(FailureClass::Status)),
            (Reply::status(404), 404, retryable(FailureClass::Status)),
            (Reply::status(500), 500, retryable(FailureClass::Status)),
            (Reply::status(410), 410, Outcome::Permanent { class: FailureClass::Gone }),
            (Reply::status(429), 429, retryable(FailureClass::Throttled)),
            (retry_after(429, "30"), 429, throttled(30)),
            (retry_after(503, "Sun, 06 Nov 1994 08:50:37 GMT"), 503, throttled(60)),
            (retry_after(503, "-1"), 503, retryable(FailureClass::Throttled)),
        ] {
            let (report, is_free) = first(reply).await;
            assert_eq!((report.status, report.outcome), (Some(status), outcome));
            assert!(is_free, "{status}");
            assert_eq!(report.detail.is_some(), outcome != Outcome::Delivered);
        }
    });
}

#[test]
fn a_redirect_is_not_followed() {
    run(async {
        let receiver = start();
        receiver.push(Reply::Redirect(receiver.url("/elsewhere")));
        let connection = connect(&receiver, Protocol::Auto).await;
        assert_eq!(class(&send(&*connection).await), Some(FailureClass::Status));
        send(&*connection).await;
        let paths: Vec<_> = receiver.requests().into_iter().map(|request| request.path).collect();
        assert_eq!(paths, ["/hook?a=b", "/hook?a=b"]);
    });
}

#[test]
fn long_bodies_are_cut_off_and_the_connection_closed() {
    run(async {
        for (reply, outcome) in [
            (Reply::EndlessBody(200), None),
            (Reply::EndlessBody(500), Some(FailureClass::Status)),
            (Reply::ok("x".repeat(64 * 1024 + 1)), None),
            // Read to its end before it was found too long: closed all the same.
            (Reply::Answer(Answer::new(500).body("x".repeat(64 * 1024 + 1))), Some(FailureClass::Status)),
        ] {
            let receiver = start();
            receiver.push(reply);
            let connection = connect(&receiver, Protocol::Auto).await;
            let report = send(&*connection).await;
            assert_eq!(class(&report), outcome, "{report:?}");
            assert_eq!((connection.free_slots(), connection.is_open()), (0, false));
            receiver.until(|counts| counts.connections_open == 0).await;
            if outcome.is_some() {
                assert_eq!(report.snippet, "x".repeat(1024));
            }
        }
        let (report, is_free) = first(Reply::Answer(Answer::new(500).body("y".repeat(3000)))).await;
        assert_eq!(report.snippet, "y".repeat(1024));
        assert!(is_free);
    });
}

#[test]
fn an_answer_that_closes_is_a_success_on_a_closed_connection() {
    run(async {
        let (report, is_free) = first(Reply::Answer(Answer::new(200).header("connection", "close"))).await;
        assert_eq!((class(&report), is_free), (None, false));
        // Read until the end, as HTTP/1.0 has it.
        let (report, is_free) = first(Reply::Raw(Bytes::from_static(b"HTTP/1.0 200 OK\r\n\r\nbye"))).await;
        assert_eq!((class(&report), is_free, &report.snippet[..]), (None, false, &b"bye"[..]));
    });
}

#[test]
fn breaks_on_a_fresh_connection_are_resets() {
    run(async {
        for (reply, status) in [
            (Reply::ResetBeforeAnswer, None),
            (Reply::ResetAfterRequest, None),
            (Reply::Raw(Bytes::from_static(b"HTTP/1.1 200 OK\r\nx: ")), None),
            (Reply::HalfBody, Some(200)),
        ] {
            let (report, is_free) = first(reply.clone()).await;
            assert_eq!(class(&report), Some(FailureClass::Reset), "{reply:?}: {report:?}");
            assert_eq!((report.status, is_free), (status, false));
        }
    });
}

#[test]
fn a_used_connection_that_breaks_before_the_answer_is_stale() {
    run(async {
        for (reply, expected) in [
            (Reply::ResetAfterRequest, FailureClass::StaleConnection),
            (Reply::ResetBeforeAnswer, FailureClass::StaleConnection),
            // A byte of the answer was read: the request may have been carried out.
            (Reply::Raw(Bytes::from_static(b"H")), FailureClass::Reset),
            (Reply::HalfBody, FailureClass::Reset),
        ] {
            let receiver = start();
            receiver.push(Reply::status(500));
            receiver.push(reply.clone());
            let connection = connect(&receiver, Protocol::Auto).await;
            send(&*connection).await;
            let report = send(&*connection).await;
            assert_eq!(class(&report), Some(expected), "{reply:?}: {report:?}");
            assert_eq!((connection.free_slots(), connection.is_open()), (0, false));
        }
    });
}

#[test]
fn an_idle_connection_closed_by_the_receiver_is_seen() {
    run(async {
        let receiver = start();
        receiver.push(Reply::CloseAfterKeepAlive(Answer::new(200)));
        let connection = connect(&receiver, Protocol::Auto).await;
        assert_eq!(class(&send(&*connection).await), None);
        until(|| !connection.is_open()).await;
        assert_eq!(connection.free_slots(), 0);
        // Whoever sends all the same learns that it was stale.
        assert_eq!(class(&send(&*connection).await), Some(FailureClass::StaleConnection));
    });
}

#[test]
fn answers_over_their_bounds_break_the_protocol() {
    run(async {
        let many_lines = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
        let long_line = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(70_000));
        for reply in [
            Reply::EndlessHeaders,
            Reply::EndlessInformational,
            Reply::Raw(Bytes::from(many_lines)),
            Reply::Raw(Bytes::from(long_line)),
            Reply::Raw(Bytes::from_static(b"220 mail.example ESMTP ready\r\n")),
            Reply::Raw(Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n")),
            Reply::Raw(Bytes::from_static(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")),
        ] {
            let (report, is_free) = first(reply.clone()).await;
            assert_eq!(class(&report), Some(FailureClass::Protocol), "{reply:?}: {report:?}");
            assert!(!is_free);
        }
        // Close to the bound is still an answer.
        let long_line = format!("HTTP/1.1 204 OK\r\na: {}\r\n\r\n", "b".repeat(60_000));
        assert_eq!(class(&first(Reply::Raw(Bytes::from(long_line))).await.0), None);
    });
}

#[test]
fn interim_answers_are_skipped() {
    run(async {
        let answer =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\na: b\r\n\r\nHTTP/1.1 201 Made\r\n\
                       content-length: 2\r\n\r\nok";
        let (report, _) = first(Reply::Raw(Bytes::from_static(answer))).await;
        assert_eq!((class(&report), report.status, &report.snippet[..]), (None, Some(201), &b"ok"[..]));
    });
}

#[test]
fn abandoning_a_request_closes_the_connection() {
    run(async {
        for reply in [
            Reply::NeverAnswer,
            Reply::HeaderDrip(Duration::from_millis(1)),
            Reply::BodyDrip(Duration::from_millis(1)),
        ] {
            let receiver = start();
            receiver.push(reply);
            let connection = connect(&receiver, Protocol::Auto).await;
            tokio::select! {
                report = send(&*connection) => panic!("answered: {report:?}"),
                _ = receiver.requests_at_least(1) => {}
            }
            assert_eq!((connection.free_slots(), connection.is_open()), (0, false));
            receiver.until(|counts| counts.connections_open == 0).await;
        }
    });
}

#[test]
fn dropping_a_connection_closes_its_socket() {
    run(async {
        let receiver = start();
        let transport = transport_for(&receiver);
        let prepared = prepare(&transport, &receiver.url("/"), Protocol::Auto);
        let idle = prepared.connect().await.unwrap_or_else(|report| panic!("{report:?}"));
        let busy = prepared.connect().await.unwrap_or_else(|report| panic!("{report:?}"));
        assert_eq!(transport.connections_open(), 2);
        receiver.push(Reply::NeverAnswer);
        let answer = send(&*busy);
        receiver.requests_at_least(1).await;
        drop((idle, busy));
        // Told, not left hanging, although its owner is gone.
        assert!(class(&answer.await).is_some());
        receiver.until(|counts| counts.connections_open == 0).await;
        until(|| transport.connections_open() == 0).await;
    });
}

#[test]
fn a_connection_takes_one_request_at_a_time() {
    run(async {
        let receiver = start();
        let gate = Gate::new();
        receiver.push(Reply::status(200).held_by(&gate));
        let connection = connect(&receiver, Protocol::Auto).await;
        let held = send(&*connection);
        assert_eq!(class(&send(&*connection).await), Some(FailureClass::Internal));
        gate.open();
        assert_eq!(class(&held.await), None);
        assert_eq!((connection.free_slots(), receiver.counts().requests), (1, 1));
    });
}

#[test]
fn an_answer_before_the_request_was_taken_is_an_answer() {
    run(async {
        let receiver = start();
        receiver.push(Reply::AnswerBeforeBody(Answer::new(413)));
        let connection = connect(&receiver, Protocol::Auto).await;
        // More than the sockets' buffers hold, so that writing cannot end.
        let report = connection.send(request(vec![b'x'; 32 * 1024 * 1024])).await;
        assert_eq!(report.status, Some(413), "{report:?}");
        assert_eq!((connection.free_slots(), connection.is_open()), (0, false));
    });
}

#[test]
fn a_request_we_cannot_make_is_our_fault_and_costs_no_connection() {
    run(async {
        let receiver = start();
        let connection = connect(&receiver, Protocol::Auto).await;
        let bad = AttemptRequest { delivery_id: Bytes::from_static(b"a\r\nb"), ..request("{}") };
        assert_eq!(class(&connection.send(bad).await), Some(FailureClass::Internal));
        assert_eq!(connection.free_slots(), 1);
        assert_eq!(class(&send(&*connection).await), None);
    });
}
