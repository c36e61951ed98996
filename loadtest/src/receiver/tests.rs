use super::*;
use crate::stamp;
use crate::wire::Client;
use fanfare_signing::{SigningKeys, secret_hex};
use std::sync::mpsc::sync_channel;

/// A receiver in a thread of this process; it ends with the process.
fn start(protocol: Protocol, behaviour: Behaviour) -> Ready {
    let options = ReceiverOptions {
        protocol,
        tls: false,
        behaviour,
        threads: 2,
        addresses: 1,
        check_every: 1,
        ids_max: 10_000,
    };
    let (sender, ready) = sync_channel(1);
    std::thread::spawn(move || run(&options, |ready| sender.send(ready.clone()).expect("the test waits")));
    ready.recv().expect("it starts")
}

async fn control(ready: &Ready, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut client = Client::connect(ready.control).await.unwrap();
    let answer = client.call(method, path, "", body.as_bytes()).await.unwrap();
    (answer.status, String::from_utf8(answer.body).unwrap())
}

async fn stats(ready: &Ready) -> Stats {
    serde_json::from_str(&control(ready, "GET", "/stats", "").await.1).unwrap()
}

/// Headers of a delivery of webhook `W`, signed as the engine signs.
fn signed(number: u64, body: &[u8]) -> String {
    let mut id = String::new();
    stamp::write(&mut id, 1, clock::unix_us(), number);
    let id = id + "-W";
    let now_s = clock::unix_us() / 1_000_000;
    let made = SigningKeys::new(&[7; 32], None).sign(id.as_bytes(), now_s, body);
    format!(
        "webhook-id: {id}\r\nwebhook-timestamp: {now_s}\r\nX-Hub-Webhook: W\r\nX-Hub-Signature-256: {}\r\n\
         webhook-signature: {}\r\n",
        made.hub, made.standard
    )
}

async fn post(client: &mut Client, number: u64, body: &[u8]) -> u16 {
    client.call("POST", "/", &signed(number, body), body).await.unwrap().status
}

#[tokio::test]
async fn deliveries_are_counted_and_their_signatures_checked() {
    let ready = start(Protocol::Http1, Behaviour::default());
    let secrets = format!(r#"[{{"webhook":"W","secret":"{}"}}]"#, secret_hex(&[7; 32]));
    assert_eq!(control(&ready, "POST", "/secrets", &secrets).await.0, 200);
    let mut client = Client::connect(ready.address).await.unwrap();
    // Larger than one read.
    let large = vec![b'x'; 100_000];
    for (number, body) in [(1, &b"one"[..]), (2, b"two"), (3, &large), (2, b"two")] {
        assert_eq!(post(&mut client, number, body).await, 200);
    }
    // Signed over other bytes.
    assert_eq!(client.call("POST", "/", &signed(4, b"right"), b"wrong").await.unwrap().status, 200);
    let found = stats(&ready).await;
    assert_eq!((found.requests, found.delivered, found.failed), (5, 5, 0), "stamps differ, so ids do");
    assert_eq!((found.signatures_good, found.signatures_bad, found.signatures_unknown), (4, 1, 0));
    assert_eq!((found.bytes, found.latency.count), (100_000 + 3 * 3 + 5, 5));
    assert!(found.latency.max_us < 60_000_000, "{found:?}");
    assert_eq!((found.connections, found.connections_open), (1, 1));
    assert_eq!(control(&ready, "POST", "/reset", "").await.0, 200);
    assert_eq!(stats(&ready).await.requests, 0);
}

#[tokio::test]
async fn behaviour_can_change() {
    let ready = start(Protocol::Http1, Behaviour { fail_share: 1.0, ..Behaviour::default() });
    let mut client = Client::connect(ready.address).await.unwrap();
    assert_eq!(post(&mut client, 1, b"x").await, 503);
    assert_eq!(control(&ready, "POST", "/behaviour", r#"{"closes":true}"#).await.0, 200);
    assert_eq!(post(&mut client, 2, b"x").await, 200);
    let closed = client.call("POST", "/", &signed(3, b"x"), b"x").await;
    assert!(closed.is_err(), "the connection was closed behind its answer");
    let found = stats(&ready).await;
    assert_eq!((found.requests, found.failed, found.delivered), (2, 1, 1));
    for (path, body, text) in [
        ("/behaviour", r#"{"fail_share":2}"#, "fail_share must be 0 to 1"),
        ("/behaviour", r#"{"slow":true}"#, "unknown field"),
        ("/secrets", r#"["hunter2"]"#, "not a list of webhook and secret"),
        ("/stop", "", "no call of a receiver"),
    ] {
        let (status, answer) = control(&ready, "POST", path, body).await;
        assert!(status == 400 && answer.contains(text) && !answer.contains("hunter2"), "{answer}");
    }
}

#[tokio::test]
async fn one_that_never_answers_reads_on() {
    let ready = start(Protocol::Http1, Behaviour { never: true, ..Behaviour::default() });
    let mut client = Client::connect(ready.address).await.unwrap();
    {
        let call = client.call("POST", "/", "webhook-id: x\r\n", b"x");
        tokio::pin!(call);
        // Polled until the request has been counted; no answer comes meanwhile.
        loop {
            tokio::select! {
                answer = &mut call => panic!("answered {answer:?}"),
                found = stats(&ready) => if found.requests == 1 { break },
            }
        }
    }
    let found = stats(&ready).await;
    assert_eq!((found.failed, found.delivered, found.connections_open), (1, 0, 1));
}

#[tokio::test]
async fn http2_is_counted_alike() {
    let ready = start(Protocol::Http2, Behaviour::default());
    let stream = TcpStream::connect(ready.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}/", ready.address))
        .header("webhook-id", "a")
        .body(http_body_util::Full::new(bytes::Bytes::from("body")))
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    let found = stats(&ready).await;
    assert_eq!((found.delivered, found.bytes, found.unstamped, found.signatures_unknown), (1, 4, 1, 1));
}
