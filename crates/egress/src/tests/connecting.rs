//! Resolve, check, dial: which addresses are called, and which never.

use super::*;

fn start() -> ScriptedReceiver {
    ScriptedReceiver::start(ReceiverOptions::default())
}

fn guarded(allow: &[&str], resolver: Arc<dyn Resolve>) -> HttpTransport {
    let allow = allow.iter().map(|text| Network::parse(text).unwrap()).collect();
    HttpTransport::new(TransportOptions {
        guard: AddressGuard { allow, deny: Vec::new() },
        resolver,
        ..options()
    })
}

#[test]
fn every_spelling_of_a_refused_address_is_refused() {
    run(async {
        let receiver = start();
        let transport = guarded(&[], ListedResolver::new(&[&["127.0.0.1"]]));
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "017700000001",
            "0177.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[2002:7f00:1::]",
            "localhost",
            "LOCALHOST.",
            "api.localhost",
            "hooks.receiver.test",
            "0.0.0.0",
            "[::]",
        ] {
            let report = refusal(&transport, &receiver.url_of(host, "/"), Protocol::Auto).await;
            let blocked = Outcome::Permanent { class: FailureClass::BlockedAddress };
            assert_eq!(report.outcome, blocked, "{host}: {report:?}");
            // The webhook's owner learns the kind, not our addresses.
            assert!(!report.detail.unwrap().contains("127."), "{host}");
        }
        assert_eq!(receiver.counts().connections_accepted, 0);
        assert_eq!(transport.connections_open(), 0);
    });
}

#[test]
fn one_bad_answer_among_good_ones_refuses_all() {
    run(async {
        let receiver = start();
        let answers = ListedResolver::new(&[&["127.0.0.1", "127.0.0.2", "10.0.0.1"], &["127.0.0.1"]]);
        let transport = guarded(&["127.0.0.0/8"], answers);
        let prepared = prepare(&transport, &receiver.url_of("hooks.receiver.test", "/"), Protocol::Auto);
        let report = prepared.connect().await.err().unwrap();
        assert_eq!(class(&report), Some(FailureClass::BlockedAddress));
        assert_eq!(receiver.counts().connections_accepted, 0);
        assert!(prepared.connect().await.is_ok());
    });
}

// A name server that answers differently the second time (DNS rebinding) gets nothing by it.
#[test]
fn the_checked_answer_is_the_one_dialled() {
    run(async {
        let receiver = start();
        let resolver = ListedResolver::new(&[&["127.0.0.1"], &["10.0.0.1"]]);
        let transport = guarded(&["127.0.0.0/8"], Arc::clone(&resolver) as Arc<dyn Resolve>);
        let prepared = prepare(&transport, &receiver.url_of("hooks.receiver.test", "/"), Protocol::Auto);
        let connection = prepared.connect().await.unwrap_or_else(|report| panic!("{report:?}"));
        assert_eq!(class(&send(&*connection).await), None);
        assert_eq!(resolver.asked(), ["hooks.receiver.test"]);
        // Each connection asks once, and each answer is judged.
        let report = prepared.connect().await.err().unwrap();
        assert_eq!(class(&report), Some(FailureClass::BlockedAddress));
        assert_eq!(resolver.asked().len(), 2);
    });
}

// A kept connection leads where it was dialled to. What the name points to by now is judged when it matters: for the
// next connection.
#[test]
fn a_kept_connection_outlives_a_change_of_its_name_and_no_new_one_follows() {
    run(async {
        let receiver = start();
        let moved = ["10.0.0.1", "::1", "169.254.169.254"];
        let answers = [["127.0.0.1"].as_slice(), moved.as_slice()];
        let resolver = ListedResolver::new(&answers);
        let transport = guarded(&["127.0.0.0/8"], Arc::clone(&resolver) as Arc<dyn Resolve>);
        let prepared = prepare(&transport, &receiver.url_of("hooks.receiver.test", "/"), Protocol::Auto);
        let kept = prepared.connect().await.unwrap_or_else(|report| panic!("{report:?}"));
        assert_eq!(class(&send(&*kept).await), None);
        // The name has moved to where it may not lead: no second connection.
        for _ in 0..2 {
            let report = prepared.connect().await.err().unwrap();
            assert_eq!(class(&report), Some(FailureClass::BlockedAddress));
        }
        // The first goes on to its old place, without asking again.
        assert_eq!((kept.is_open(), kept.free_slots()), (true, 1));
        assert_eq!(class(&send(&*kept).await), None);
        assert_eq!(resolver.asked().len(), 3);
        let connections: Vec<_> = receiver.requests().iter().map(|request| request.connection).collect();
        assert_eq!((connections.as_slice(), receiver.counts().connections_accepted), ([0, 0].as_slice(), 1));
    });
}

#[test]
fn mixed_answers_refuse_all_whatever_stands_first_and_whatever_its_clothes() {
    run(async {
        let receiver = start();
        for bad in ["10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a00:1::", "fe80::1", "::"] {
            for answer in [["127.0.0.1", bad], [bad, "127.0.0.1"]] {
                let transport = guarded(&["127.0.0.0/8"], ListedResolver::new(&[&answer]));
                let url = receiver.url_of("hooks.receiver.test", "/");
                let report = refusal(&transport, &url, Protocol::Auto).await;
                assert_eq!(class(&report), Some(FailureClass::BlockedAddress), "{answer:?}");
            }
        }
        assert_eq!(receiver.counts().connections_accepted, 0);
    });
}

#[test]
fn names_without_addresses_are_dns_failures() {
    run(async {
        for resolver in [ListedResolver::new(&[]), ListedResolver::new(&[&[]])] {
            let transport = guarded(&[], resolver);
            let report = refusal(&transport, "https://hooks.receiver.test/", Protocol::Auto).await;
            let expected = Outcome::Retryable { class: FailureClass::Dns, not_before: None };
            assert_eq!((report.outcome, report.detail.as_deref()), (expected, Some("name has no address")));
        }
    });
}

#[test]
fn the_next_address_is_tried() {
    run(async {
        let receiver = start();
        // Nobody listens on 127.0.0.2.
        let transport = guarded(&["127.0.0.0/8"], ListedResolver::new(&[&["127.0.0.2", "127.0.0.1"]]));
        let prepared = prepare(&transport, &receiver.url_of("hooks.receiver.test", "/"), Protocol::Auto);
        assert!(prepared.connect().await.is_ok());
        let transport = guarded(&["127.0.0.0/8"], ListedResolver::new(&[&["127.0.0.2", "127.0.0.3"]]));
        let report = refusal(&transport, &receiver.url_of("hooks.receiver.test", "/"), Protocol::Auto).await;
        assert_eq!(class(&report), Some(FailureClass::Connect));
        assert_eq!(report.detail.as_deref(), Some("connect: connection refused"));
        assert_eq!(transport.connections_open(), 0);
    });
}

#[test]
fn sixteen_addresses_are_tried_and_all_are_checked() {
    run(async {
        let receiver = start();
        let url = receiver.url_of("hooks.receiver.test", "/");
        let answer = |last| ListedResolver::new(&[&[["127.0.0.2"; 16].as_slice(), &[last]].concat()]);
        let report = refusal(&guarded(&["127.0.0.0/8"], answer("127.0.0.1")), &url, Protocol::Auto).await;
        assert_eq!(class(&report), Some(FailureClass::Connect));
        let report = refusal(&guarded(&["127.0.0.0/8"], answer("10.0.0.1")), &url, Protocol::Auto).await;
        assert_eq!(class(&report), Some(FailureClass::BlockedAddress));
    });
}

// Without a bound on each try but the last, an address that swallows packets would use up the whole attempt.
#[test]
fn an_address_that_says_nothing_does_not_starve_the_next() {
    // No hang guard by timer here: time is paused, and skips ahead whenever all wait.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(async {
        let receiver = start();
        let silent = std::net::SocketAddr::new("127.0.0.2".parse().unwrap(), receiver.addr().port());
        // A listener that accepts nothing and whose queue is full: the kernel drops what else comes.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(silent).unwrap();
        let _listener = socket.listen(1).unwrap();
        let _fill: Vec<_> = (0..2).map(|_| std::net::TcpStream::connect(silent).unwrap()).collect();

        let transport = guarded(&["127.0.0.0/8"], ListedResolver::new(&[&["127.0.0.2", "127.0.0.1"]]));
        let prepared = prepare(&transport, &receiver.url_of("hooks.receiver.test", "/"), Protocol::Auto);
        let started = tokio::time::Instant::now();
        let connection = prepared.connect().await.unwrap_or_else(|report| panic!("{report:?}"));
        assert_eq!(started.elapsed().as_secs(), 3);
        assert_eq!(class(&send(&*connection).await), None);
    }));
}

#[test]
fn connections_are_limited_over_the_process() {
    run(async {
        let receiver = start();
        let transport = HttpTransport::new(TransportOptions { connections_max: 1, ..options() });
        let prepared = prepare(&transport, &receiver.url("/"), Protocol::Auto);
        let first = prepared.connect().await.unwrap_or_else(|report| panic!("{report:?}"));
        let mut second = prepared.connect();
        let early = tokio::time::timeout(Duration::from_millis(20), &mut second).await;
        assert!(early.is_err(), "a second connection must wait");
        assert_eq!((transport.connections_open(), receiver.counts().connections_accepted), (1, 1));
        drop(first);
        assert!(second.await.is_ok());
        // A connection that could not be made gives its place back.
        let nobody = refusal(&transport, "http://127.0.0.2:1/", Protocol::Auto).await;
        assert_eq!(class(&nobody), Some(FailureClass::Connect));
        assert!(prepared.connect().await.is_ok());
    });
}

#[test]
fn a_receivers_own_close_gives_its_place_back() {
    run(async {
        let receiver = start();
        receiver.push(Reply::CloseAfterKeepAlive(Answer::new(200)));
        let transport = transport_for(&receiver);
        let prepared = prepare(&transport, &receiver.url("/"), Protocol::Auto);
        let connection = prepared.connect().await.unwrap_or_else(|report| panic!("{report:?}"));
        send(&*connection).await;
        until(|| transport.connections_open() == 0).await;
        assert!(!connection.is_open());
    });
}

#[test]
fn what_cannot_be_used_is_said_when_prepared() {
    let transport = HttpTransport::new(TransportOptions { allow_http: false, ..options() });
    let error = |url: &str| transport.receiver(&destination(url, Protocol::Auto)).err().expect("refused");
    assert_eq!(error("http://example.com/"), "url must use https; plain http is not allowed here");
    assert_eq!(
        error("https://u:hunter2@example.com/"),
        "url must not contain a user name or password; use auth instead"
    );
    assert_eq!(error("example.com"), "url must begin with https:// or http://");
    let mut bad_header = destination("https://example.com/", Protocol::Auto);
    bad_header.headers.push(("x y".to_owned(), Secret::new("v")));
    assert!(transport.receiver(&bad_header).is_err());
}

#[test]
fn nothing_prints_the_destination() {
    let transport = HttpTransport::new(options());
    assert!(format!("{transport:?}").starts_with("HttpTransport(TransportOptions { guard"));
}
