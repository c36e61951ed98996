//! The API on a real socket: what a client sees beyond the router.

use super::harness::{Api, Setup, with_api};
use crate::{serve, serve_starting, starting};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// However slow the machine: a test that takes this long hangs.
const HANG: Duration = Duration::from_secs(60);

struct Server {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(api: &Api) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, api.state.clone(), stopped));
        Server { address, stop, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(HANG, self.task).await.expect("the server closes").unwrap().unwrap();
    }
}

/// Reads to the end of the stream; what came before a reset counts.
async fn rest_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(HANG, stream.read_to_end(&mut bytes)).await.expect("the connection closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one answer with its body, whose length must be declared.
async fn answer_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = async {
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() == length.unwrap().parse::<usize>().unwrap() {
                    return text;
                }
            }
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).await.unwrap();
            assert_ne!(count, 0, "closed after {text:?}");
            bytes.extend_from_slice(&piece[..count]);
        }
    };
    tokio::time::timeout(HANG, read).await.expect("an answer comes")
}

#[tokio::test]
async fn a_connection_takes_one_call_after_another() {
    with_api(Setup::default(), async |api| {
        let server = Server::start(api).await;
        let mut stream = server.connect().await;
        for _ in 0..3 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let answer = answer_of(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
        }
        server.stop().await;
        assert_eq!(rest_of(&mut stream).await, "");
    })
    .await;
}

#[tokio::test]
async fn http2_is_served_by_prior_knowledge() {
    with_api(Setup::default(), async |api| {
        let server = Server::start(api).await;
        let io = TokioIo::new(server.connect().await);
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = http::Request::post(format!("http://{}/v1/events", server.address))
            .header("authorization", format!("Bearer {}", api.key))
            .body(Full::new(Bytes::from_static(br#"{"type":"BLOCK","channelId":"c1","payload":{}}"#)))
            .unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (202, http::Version::HTTP_2));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"accepted":1,"duplicates":0,"rejected":[]}"#);
        server.stop().await;
        tokio::time::timeout(HANG, driver).await.expect("the connection closes").unwrap().unwrap();
    })
    .await;
}

/// The client sends all of a body that was refused by its head, then reads. Without reading on, the kernel's reset
/// would overtake the answer.
#[tokio::test]
async fn a_refusal_arrives_although_the_body_is_sent_to_its_end() {
    with_api(Setup::default(), async |api| {
        let server = Server::start(api).await;
        let size = 17 * 1024 * 1024;
        for (key, status) in [("wrong", "401 Unauthorized"), (&*api.key, "413 Payload Too Large")] {
            let mut stream = server.connect().await;
            let head = format!(
                "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {size}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&vec![b' '; size]).await.unwrap();
            let answer = answer_of(&mut stream).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
            // Read to its end, the connection is good for another call.
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            assert!(answer_of(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
        }
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    with_api(Setup::default(), async |api| {
        let server = Server::start(api).await;
        let mut stream = server.connect().await;
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\n\
             content-length: 99999999\r\n\r\n",
            api.key
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = rest_of(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{answer}");
        assert!(answer.ends_with(r#"{"error":413,"message":"body of 99999999 bytes exceeds 16777216"}"#));
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_header_block_has_a_limit() {
    let mut setup = Setup::default();
    setup.limits.header_bytes_max = 8192;
    with_api(setup, async |api| {
        let server = Server::start(api).await;
        let mut stream = server.connect().await;
        let head = format!("GET /healthz HTTP/1.1\r\nx: {}", "a".repeat(9000));
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = rest_of(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        server.stop().await;
    })
    .await;
}

/// Silence, half a header block and half an HTTP/2 preface all end.
#[tokio::test]
async fn a_connection_that_rests_too_long_is_closed() {
    let mut setup = Setup::default();
    setup.limits.idle_timeout = Duration::from_millis(20);
    with_api(setup, async |api| {
        let server = Server::start(api).await;
        for start in ["", "GET /healthz HT", "PRI * HTTP/2.0\r\n", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"]
        {
            let mut stream = server.connect().await;
            stream.write_all(start.as_bytes()).await.unwrap();
            let answer = rest_of(&mut stream).await;
            let is_call = start.ends_with("\r\n\r\n");
            assert_eq!(answer.starts_with("HTTP/1.1 200 OK\r\n"), is_call, "{start:?}: {answer}");
        }
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let mut setup = Setup::default();
    setup.limits.connections_max = 1;
    with_api(setup, async |api| {
        let server = Server::start(api).await;
        let call = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut first = server.connect().await;
        first.write_all(call).await.unwrap();
        answer_of(&mut first).await;
        let mut second = server.connect().await;
        second.write_all(call).await.unwrap();
        // The first is still served, the second not yet.
        first.write_all(call).await.unwrap();
        answer_of(&mut first).await;
        let mut byte = [0];
        assert_eq!(second.try_read(&mut byte).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        drop(first);
        assert!(answer_of(&mut second).await.starts_with("HTTP/1.1 200 OK\r\n"));
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_call_in_flight_ends_before_the_server_does() {
    with_api(Setup::default(), async |api| {
        let server = Server::start(api).await;
        let mut stream = server.connect().await;
        let body = r#"{"type":"BLOCK","channelId":"c1","payload":{}}"#;
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\n\
             content-length: {}\r\n\r\n",
            api.key,
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The handler reads the body now.
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        let Server { stop, task, address } = server;
        stop.send(()).unwrap();
        // Once nobody listens any more, the server is closing.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        stream.write_all(body.as_bytes()).await.unwrap();
        let answer = rest_of(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
        tokio::time::timeout(HANG, task).await.expect("the server closes").unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off() {
    let mut setup = Setup::default();
    setup.limits.close_timeout = Duration::from_millis(20);
    with_api(setup, async |api| {
        let server = Server::start(api).await;
        let mut stream = server.connect().await;
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\n\
             content-length: 10\r\n\r\n",
            api.key
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.unwrap();
        server.stop().await;
        assert_eq!(rest_of(&mut stream).await, "");
    })
    .await;
}

/// Probes are told at once that it is alive and not ready; other calls wait for the engine.
#[tokio::test]
async fn while_the_engine_starts_probes_are_answered_and_calls_wait() {
    with_api(Setup::default(), async |api| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (starter, starting) = starting();
        let (stop, stopped) = oneshot::channel::<()>();
        let limits = api.state.limits.clone();
        let task = tokio::spawn(serve_starting(listener, limits, starting, stopped));
        let ask = async |stream: &mut TcpStream, path: &str| {
            stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        };
        let mut probe = TcpStream::connect(address).await.unwrap();
        ask(&mut probe, "/healthz").await;
        assert!(answer_of(&mut probe).await.starts_with("HTTP/1.1 200"));
        ask(&mut probe, "/readyz").await;
        let unready = answer_of(&mut probe).await;
        assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("retry-after: 1"), "{unready}");
        let mut call = TcpStream::connect(address).await.unwrap();
        ask(&mut call, "/v1/accounts/acme").await;
        let mut byte = [0];
        let early = tokio::time::timeout(Duration::from_millis(50), call.peek(&mut byte)).await;
        assert!(early.is_err(), "answered without an engine");
        starter.ready(api.state.clone());
        assert!(answer_of(&mut call).await.starts_with("HTTP/1.1 401"), "the engine's own answer");
        ask(&mut probe, "/readyz").await;
        assert!(answer_of(&mut probe).await.starts_with("HTTP/1.1 200"), "the same connection goes on");
        stop.send(()).unwrap();
        tokio::time::timeout(HANG, task).await.expect("closes").unwrap().unwrap();
    })
    .await;
}
