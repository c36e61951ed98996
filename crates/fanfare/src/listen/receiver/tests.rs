//! The receiver over real sockets on loopback.

use super::*;
use crate::signature::HUB_SIGNATURE;
use crate::signature::tests::signed;
use fanfare_signing::secret_hex;
use futures_body::Pieces;
use hyper::client::conn::{http1, http2};
use std::sync::Mutex;

const KEY: [u8; 32] = [0x42; 32];
/// Nothing here takes a second; a hang should end.
const GUARD: Duration = Duration::from_secs(30);

/// What a hook saw, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    number: u64,
    body: Vec<u8>,
    body_bytes: usize,
    verdict: Verdict,
    status: u16,
}

fn options() -> ReceiverOptions {
    ReceiverOptions {
        secrets: Vec::new(),
        hub_name: HUB_SIGNATURE.into(),
        tolerance_s: 300,
        behaviour: Behaviour::default(),
        reads_bodies: false,
        threads: 2,
    }
}

fn start(options: ReceiverOptions) -> (Receiver, Arc<Mutex<Vec<Kept>>>) {
    let kept: Arc<Mutex<Vec<Kept>>> = Arc::default();
    let list = Arc::clone(&kept);
    let hook: Hook = Arc::new(move |seen: &Seen<'_>| {
        list.lock().unwrap().push(Kept {
            number: seen.number,
            body: seen.body.to_vec(),
            body_bytes: seen.body_bytes,
            verdict: seen.verdict.clone(),
            status: seen.status.as_u16(),
        });
    });
    let listener = crate::listen::bind("127.0.0.1:0").unwrap();
    (Receiver::start(listener, options, hook, SystemClock::new()).unwrap(), kept)
}

/// A body that comes in pieces, so that none is used as it is.
mod futures_body {
    use super::*;
    use hyper::body::{Body, Frame};
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    pub(super) struct Pieces(pub(super) VecDeque<Bytes>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }
}

fn request(headers: &HeaderMap, pieces: &[&[u8]]) -> Request<Pieces> {
    let pieces = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
    let mut request =
        Request::builder().method("POST").uri("/").header("host", "x").body(Pieces(pieces)).unwrap();
    request.headers_mut().extend(headers.clone());
    request
}

async fn http1(address: SocketAddr) -> Result<http1::SendRequest<Pieces>, std::io::Error> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    Ok(sender)
}

async fn post(address: SocketAddr, headers: &HeaderMap, pieces: &[&[u8]]) -> Result<u16, hyper::Error> {
    let mut sender = http1(address).await.unwrap();
    let answer =
        tokio::time::timeout(GUARD, sender.send_request(request(headers, pieces))).await.expect("an answer");
    Ok(answer?.status().as_u16())
}

fn now_s() -> u64 {
    SystemClock::new().now().unix_seconds()
}

#[tokio::test]
async fn signatures_are_checked_over_the_whole_body_however_it_comes() {
    let secret = ReceiverSecret::parse(&secret_hex(&KEY)).unwrap();
    let (receiver, kept) = start(ReceiverOptions { secrets: vec![secret], ..options() });
    let good = signed(&KEY, "e-1", now_s(), b"one two");
    let foreign = signed(&[1; 32], "e-2", now_s(), b"one two");
    for pieces in [&[&b"one two"[..]][..], &[b"one", b"", b" ", b"two"]] {
        assert_eq!(post(receiver.address(), &good, pieces).await.unwrap(), 200);
    }
    post(receiver.address(), &good, &[b"one twO"]).await.unwrap();
    post(receiver.address(), &foreign, &[b"one two"]).await.unwrap();
    post(receiver.address(), &HeaderMap::new(), &[b"one two"]).await.unwrap();
    let verdicts: Vec<_> =
        kept.lock().unwrap().iter().map(|seen| (seen.body_bytes, seen.verdict.clone())).collect();
    let no_match =
        Verdict::NotVerified("no signature matches: wrong secret, or the body was changed on its way".into());
    assert_eq!(
        verdicts,
        [
            (7, Verdict::Verified),
            (7, Verdict::Verified),
            (7, no_match.clone()),
            (7, no_match),
            (7, Verdict::Unsigned)
        ]
    );
    let counts = receiver.tally().counts();
    assert_eq!((counts.requests, counts.distinct, counts.repeats), (5, 2, 2));
    assert_eq!((counts.bad_signatures, counts.not_compared), (3, 1));
    receiver.stop();
}

#[tokio::test]
async fn a_secret_added_later_is_used_from_then_on() {
    let (receiver, kept) = start(options());
    let headers = signed(&KEY, "e-1", now_s(), b"x");
    post(receiver.address(), &headers, &[b"x"]).await.unwrap();
    receiver.add_secret(ReceiverSecret::parse(&secret_hex(&KEY)).unwrap());
    post(receiver.address(), &headers, &[b"x"]).await.unwrap();
    let verdicts: Vec<_> = kept.lock().unwrap().iter().map(|seen| seen.verdict.clone()).collect();
    assert_eq!(verdicts, [Verdict::Unchecked, Verdict::Verified]);
}

#[tokio::test]
async fn bodies_nobody_needs_are_counted_and_not_kept() {
    for reads_bodies in [false, true] {
        let (receiver, kept) = start(ReceiverOptions { reads_bodies, ..options() });
        post(receiver.address(), &HeaderMap::new(), &[b"ab", b"c"]).await.unwrap();
        let seen = kept.lock().unwrap().first().cloned().unwrap();
        assert_eq!(seen.body_bytes, 3);
        assert_eq!(seen.body, if reads_bodies { b"abc".to_vec() } else { Vec::new() });
    }
}

#[tokio::test]
async fn cleartext_http2_is_spoken_too() {
    let (receiver, _) = start(options());
    let stream = tokio::net::TcpStream::connect(receiver.address()).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for number in 1..=3 {
        let request = Request::builder()
            .method("POST")
            .uri("http://x/")
            .header("webhook-id", format!("e-{number}"))
            .body(Pieces([Bytes::from("x")].into()))
            .unwrap();
        let answer = tokio::time::timeout(GUARD, sender.send_request(request)).await.expect("an answer");
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(receiver.tally().counts().distinct, 3);
}

#[tokio::test]
async fn a_share_of_requests_fails_with_the_status_asked_for() {
    let behaviour =
        Behaviour { fail_share: 0.5, fail_status: StatusCode::BAD_GATEWAY, ..Behaviour::default() };
    let (receiver, kept) = start(ReceiverOptions { behaviour, ..options() });
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(post(receiver.address(), &HeaderMap::new(), &[b"x"]).await.unwrap());
    }
    assert_eq!(statuses, [200, 502, 200, 502, 200, 502]);
    assert_eq!(kept.lock().unwrap().iter().map(|seen| seen.status).collect::<Vec<_>>(), statuses);
    assert_eq!(receiver.tally().counts().failed, 3);
}

#[tokio::test]
async fn refusing_resets_every_connection() {
    let behaviour = Behaviour { refuses: true, ..Behaviour::default() };
    let (receiver, kept) = start(ReceiverOptions { behaviour, ..options() });
    // Either the handshake's socket is reset already, or the request finds it so.
    if let Ok(mut sender) = http1(receiver.address()).await {
        let answer = tokio::time::timeout(GUARD, sender.send_request(request(&HeaderMap::new(), &[b"x"])));
        assert!(answer.await.expect("no hang").is_err());
    }
    assert!(kept.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_was_counted_is_answered_before_the_receiver_stops() {
    let behaviour = Behaviour { delay: Duration::from_millis(200), ..Behaviour::default() };
    let (receiver, kept) = start(ReceiverOptions { behaviour, ..options() });
    let address = receiver.address();
    let asking = tokio::spawn(async move { post(address, &HeaderMap::new(), &[b"x"]).await });
    let seen = async {
        while kept.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(GUARD, seen).await.expect("the request came");
    tokio::task::spawn_blocking(move || receiver.stop()).await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap(), 200);
}

#[test]
fn failures_are_spread_evenly_and_exact() {
    for (share, failed) in [(0.0, 0), (0.1, 100), (0.25, 250), (1.0, 1000)] {
        let behaviour = Behaviour { fail_share: share, ..Behaviour::default() };
        let numbers: Vec<u64> = (1..=1000).filter(|number| behaviour.fails(*number)).collect();
        assert_eq!(numbers.len(), failed, "{share}");
        let widest = numbers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        assert!(failed == 0 || as_float(widest) <= (1.0 / share).ceil(), "{share}: {widest}");
    }
}
