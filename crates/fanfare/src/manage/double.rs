//! A server on loopback that gives prepared answers and keeps what it was asked.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

/// The key that is sent with every call.
pub(crate) const KEY: &str = "fk_double-key-3e7a";

/// The server.
pub(crate) struct Double {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Double {
    /// Answers (status, body) in this order.
    pub(crate) async fn start(answers: &[(u16, &str)]) -> Double {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: Vec<(u16, String)> =
            answers.iter().rev().map(|(status, body)| (*status, (*body).to_owned())).collect();
        let answers = Arc::new(Mutex::new(answers));
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, seen) = (Arc::clone(&answers), Arc::clone(&kept));
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let (answers, seen) = (Arc::clone(&answers), Arc::clone(&seen));
                    async move {
                        let (head, body) = request.into_parts();
                        let key = head.headers.get("authorization").and_then(|value| value.to_str().ok());
                        assert_eq!(key, Some(format!("Bearer {KEY}").as_str()));
                        let body = body.collect().await.unwrap().to_bytes();
                        let body = str::from_utf8(&body).unwrap();
                        seen.lock()
                            .unwrap()
                            .push(format!("{} {} {body}", head.method, head.uri).trim_end().into());
                        let (status, body) = answers.lock().unwrap().pop().unwrap_or((500, String::new()));
                        Ok::<_, Infallible>(
                            Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap(),
                        )
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Double { url, seen }
    }

    /// A command line for this server.
    pub(crate) fn line<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        let mut line = vec!["fanfare"];
        line.extend(words);
        line.extend(["--server", &self.url, "--key", KEY]);
        line
    }

    /// The calls so far: `METHOD PATH BODY`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}
