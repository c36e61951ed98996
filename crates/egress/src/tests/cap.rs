//! The cap on connections over real sockets: an idle one gives way, on whatever thread it lives.

use super::*;

fn capped(connections_max: usize) -> HttpTransport {
    HttpTransport::new(TransportOptions { connections_max, ..options() })
}

async fn open(prepared: &dyn Receiver) -> Box<dyn Connection> {
    prepared.connect().await.unwrap_or_else(|report| panic!("{report:?}"))
}

/// One delivered request at this time.
async fn use_at(connection: &dyn Connection, timestamp_s: u64) {
    let report = connection.send(AttemptRequest { timestamp_s, ..request("{}") }).await;
    assert_eq!(class(&report), None, "{report:?}");
}

#[test]
fn the_longest_idle_connection_of_any_webhook_gives_way() {
    run(async {
        let http1 = ScriptedReceiver::start(ReceiverOptions::default());
        let http2 = ScriptedReceiver::start(ReceiverOptions::h2());
        let transport = capped(3);
        let first = prepare(&transport, &http1.url("/first"), Protocol::Http1);
        let second = prepare(&transport, &http2.url("/second"), Protocol::Http2);
        let third = prepare(&transport, &http1.url("/third"), Protocol::Http1);
        let (a, b) = (open(&*first).await, open(&*second).await);
        let c = open(&*third).await;
        use_at(&*b, 10).await;
        use_at(&*a, 20).await;
        use_at(&*c, 30).await;
        // At the cap: HTTP/2 has been idle longest, then the first.
        let d = open(&*third).await;
        assert_eq!((b.is_open(), b.free_slots(), a.is_open(), c.is_open()), (false, 0, true, true));
        http2.until(|counts| counts.connections_open == 0).await;
        use_at(&*d, 40).await;
        let e = open(&*second).await;
        assert_eq!((a.is_open(), a.free_slots(), c.is_open(), d.is_open()), (false, 0, true, true));
        // Whoever sends on it all the same hears that it is stale, as when the receiver had closed it.
        for closed in [&a, &b] {
            assert_eq!(class(&send(&**closed).await), Some(FailureClass::StaleConnection));
        }
        for kept in [&c, &d, &e] {
            use_at(&**kept, 50).await;
        }
        assert_eq!((transport.connections_open(), transport.connections_closed_for_room()), (3, 2));
        assert_eq!((http1.counts().connections_open, http2.counts().connections_open), (2, 1));
    });
}

#[test]
fn a_busy_connection_is_left_alone_and_gives_way_when_it_comes_to_rest() {
    for (kind, protocol) in
        [(ReceiverOptions::default(), Protocol::Http1), (ReceiverOptions::h2(), Protocol::Http2)]
    {
        run(async {
            let receiver = ScriptedReceiver::start(kind);
            let transport = capped(1);
            let prepared = prepare(&transport, &receiver.url("/"), protocol);
            let busy = open(&*prepared).await;
            use_at(&*busy, 1).await;
            let gate = Gate::new();
            receiver.push(Reply::status(201).held_by(&gate));
            let answer = tokio::task::spawn_local(send(&*busy));
            receiver.requests_at_least(2).await;
            let mut second = prepared.connect();
            assert!(tokio::time::timeout(Duration::from_millis(20), &mut second).await.is_err());
            assert!(busy.is_open());
            gate.open();
            // Its answer is read to the end before it goes.
            assert_eq!(answer.await.unwrap().status, Some(201));
            assert_eq!((busy.is_open(), busy.free_slots()), (false, 0));
            let second = second.await.unwrap_or_else(|report| panic!("{report:?}"));
            use_at(&*second, 2).await;
            assert_eq!(receiver.counts().connections_accepted, 2);
        });
    }
}

#[test]
fn a_connection_gives_way_to_one_on_another_thread() {
    let receiver = ScriptedReceiver::start(ReceiverOptions::default());
    let transport = capped(1);
    let (idle, is_idle) = std::sync::mpsc::sync_channel(1);
    let (url, theirs) = (receiver.url("/"), transport.clone());
    let other = std::thread::spawn(move || {
        run(async move {
            let kept = open(&*prepare(&theirs, &url, Protocol::Http1)).await;
            use_at(&*kept, 1).await;
            idle.send(()).unwrap();
            // Its own event loop sees it go, without doing anything for it.
            until(|| !kept.is_open()).await;
        });
    });
    is_idle.recv().unwrap();
    run(async {
        let mine = open(&*prepare(&transport, &receiver.url("/"), Protocol::Http1)).await;
        use_at(&*mine, 2).await;
        receiver.until(|counts| counts.connections_open == 1).await;
    });
    other.join().unwrap();
    assert_eq!(transport.connections_closed_for_room(), 1);
}
