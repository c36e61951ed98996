//! TLS: who is trusted, and what ALPN agrees on.

use super::*;
use fanfare_testkit::receiver::Spoken;

fn spoken(spoken: Spoken) -> ReceiverOptions {
    ReceiverOptions { spoken, ..ReceiverOptions::tls() }
}

/// HTTP version a delivery arrived in.
async fn version(options: ReceiverOptions, protocol: Protocol) -> u8 {
    let receiver = ScriptedReceiver::start(options);
    let connection = connect(&receiver, protocol).await;
    let report = send(&*connection).await;
    assert_eq!(class(&report), None, "{report:?}");
    receiver.requests()[0].http_version
}

#[test]
fn alpn_decides_the_version() {
    run(async {
        assert_eq!(version(spoken(Spoken::Http1), Protocol::Auto).await, 1);
        assert_eq!(version(spoken(Spoken::Http2), Protocol::Auto).await, 2);
        assert_eq!(version(spoken(Spoken::Both), Protocol::Auto).await, 2);
        assert_eq!(version(spoken(Spoken::Both), Protocol::Http1).await, 1);
        assert_eq!(version(spoken(Spoken::Both), Protocol::Http2).await, 2);
        let silent = ReceiverOptions { ignores_alpn: true, ..ReceiverOptions::tls() };
        assert_eq!(version(silent.clone(), Protocol::Auto).await, 1);
        assert_eq!(version(silent, Protocol::Http1).await, 1);
    });
}

#[test]
fn http2_that_is_asked_for_and_not_spoken_is_a_protocol_failure() {
    run(async {
        let silent = ReceiverOptions { ignores_alpn: true, ..ReceiverOptions::tls() };
        for options in [spoken(Spoken::Http1), silent] {
            let receiver = ScriptedReceiver::start(options);
            let report = refusal(&transport_for(&receiver), &receiver.url("/"), Protocol::Http2).await;
            assert_eq!(class(&report), Some(FailureClass::Protocol), "{report:?}");
            receiver.until(|counts| counts.connections_open == 0).await;
        }
    });
}

#[test]
fn a_name_is_verified_and_kept_connections_work() {
    run(async {
        let receiver = ScriptedReceiver::start(ReceiverOptions {
            tls_names: Some(vec!["hooks.receiver.test".to_owned()]),
            ..ReceiverOptions::tls()
        });
        let transport = transport_for(&receiver);
        let url = receiver.url_of("hooks.receiver.test", "/x");
        let connected = prepare(&transport, &url, Protocol::Auto).connect().await;
        let connection = connected.unwrap_or_else(|report| panic!("{report:?}"));
        for reply in [Reply::ok("a"), Reply::status(500), Reply::ResetAfterRequest] {
            receiver.push(reply);
        }
        assert_eq!(class(&send(&*connection).await), None);
        assert_eq!(class(&send(&*connection).await), Some(FailureClass::Status));
        assert_eq!(class(&send(&*connection).await), Some(FailureClass::StaleConnection));
        let host = format!("hooks.receiver.test:{}", receiver.addr().port());
        assert_eq!(receiver.requests()[0].header("host"), Some(host.as_str()));
    });
}

#[test]
fn localhost_is_a_name_like_any_other() {
    run(async {
        let receiver = ScriptedReceiver::start(ReceiverOptions::tls());
        let prepared = prepare(&transport_for(&receiver), &receiver.url_of("localhost", "/"), Protocol::Auto);
        let connection = prepared.connect().await.unwrap_or_else(|report| panic!("{report:?}"));
        assert_eq!(class(&send(&*connection).await), None);
    });
}

#[test]
fn strangers_and_wrong_names_are_refused() {
    run(async {
        let stranger = ScriptedReceiver::start(ReceiverOptions::tls());
        let report = refusal(&HttpTransport::new(options()), &stranger.url("/"), Protocol::Auto).await;
        assert_eq!(class(&report), Some(FailureClass::Tls), "{report:?}");
        assert!(report.detail.unwrap().contains("UnknownIssuer"));

        let other = ScriptedReceiver::start(ReceiverOptions {
            tls_names: Some(vec!["other.test".to_owned()]),
            ..ReceiverOptions::tls()
        });
        for url in [other.url("/"), other.url_of("hooks.receiver.test", "/")] {
            let report = refusal(&transport_for(&other), &url, Protocol::Auto).await;
            assert_eq!(class(&report), Some(FailureClass::Tls), "{report:?}");
            assert!(report.outcome == Outcome::Retryable { class: FailureClass::Tls, not_before: None });
        }
        other.until(|counts| counts.handshakes_failed == 2).await;
        assert_eq!(other.counts().requests, 0);
    });
}

#[test]
fn cleartext_behind_https_is_a_tls_failure() {
    run(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let plain = tokio::task::spawn_local(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut socket, b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
            socket
        });
        let report = refusal(&HttpTransport::new(options()), &url, Protocol::Auto).await;
        assert_eq!(class(&report), Some(FailureClass::Tls), "{report:?}");
        drop(plain.await.unwrap());
    });
}
