//! A hub: makes webhooks and pushes events with ids of its own, remembering which were acknowledged.

use crate::node::Node;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const CHANNEL: &str = "0190F3A27C5B7E118D2A4C6B9E01F3D5";
const BATCH: usize = 40;

pub(crate) struct Hub {
    server: Arc<Mutex<(SocketAddr, String)>>,
}

pub(crate) struct Producer {
    is_stopping: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

/// One request on a connection of its own. `Err`: no answer, so nothing is known of it.
fn post(
    server: &Mutex<(SocketAddr, String)>,
    path: &str,
    content_type: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let (address, key) = server.lock().expect("not poisoned").clone();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {key}\r\nContent-Type: {content_type}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.get(9..12).and_then(|code| code.parse().ok());
    let status = status.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let body = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?.1.to_owned();
    Ok((status, body))
}

/// A message of two items: one body in DEFAULT, two in Z_API.
fn event(id: &str, number: usize) -> String {
    format!(
        r#"{{"id":"{id}","type":"MESSAGE_RECEIVED","channelId":"{CHANNEL}","payload":{{"message":{{"_id":"{id}","channel_id":"{CHANNEL}","created":1790000000000,"metadata":{{"forwarded":false,"from_api":false,"from_me":false,"moment":1790000000000}},"sender":{{"identifier":"55319771100{:02}","name":"Ana"}},"recipient":{{"identifier":"5521988110022"}},"contents":[{{"@class":".TextContent","type":"TEXT","message":"number {number}"}},{{"@class":".TextContent","type":"TEXT","message":"second"}}],"attachments":[]}}}}}}"#,
        number % 100
    )
}

impl Hub {
    pub(crate) fn new(node: &Node) -> Hub {
        Hub { server: Arc::new(Mutex::new((node.address, node.key.clone()))) }
    }

    /// The node was started again, on another port.
    pub(crate) fn follow(&self, node: &Node) {
        *self.server.lock().expect("not poisoned") = (node.address, node.key.clone());
    }

    pub(crate) fn webhook(&self, url: &str, more: &str) {
        let body = format!(r#"{{"url":"{url}","events":["MESSAGE_RECEIVED"],{more}}}"#);
        let path = format!("/v1/channels/{CHANNEL}/webhooks");
        let (status, body) = post(&self.server, &path, "application/json", &body).expect("an answer");
        assert_eq!(status, 201, "{body}");
    }

    /// Pushes batches until stopped. A batch without an answer is sent again with the same ids, as a hub would: then
    /// its events count as accepted or as duplicates, and are owed either way.
    pub(crate) fn produce(&self) -> Producer {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (server, stop) = (Arc::clone(&self.server), Arc::clone(&is_stopping));
        let thread = std::thread::spawn(move || {
            let mut acknowledged = Vec::new();
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let ids: Vec<String> = (number..number + BATCH).map(|n| format!("E{n}")).collect();
                let lines: Vec<String> = ids.iter().zip(number..).map(|(id, n)| event(id, n)).collect();
                number += BATCH;
                let body = lines.join("\n");
                loop {
                    match post(&server, "/v1/events", "application/x-ndjson", &body) {
                        Ok((202, answer)) => {
                            assert!(answer.contains(r#""rejected":[]"#), "{answer}");
                            acknowledged.extend(ids);
                            break;
                        }
                        Ok((503, _)) | Err(_) if stop.load(Ordering::Relaxed) => break,
                        Ok((503, _)) | Err(_) => std::thread::sleep(Duration::from_millis(20)),
                        Ok((status, answer)) => panic!("{status} {answer}"),
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            acknowledged
        });
        Producer { is_stopping, thread }
    }
}

impl Producer {
    /// Ends, and says which events were acknowledged.
    pub(crate) fn stop(self) -> Vec<String> {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.thread.join().expect("the producer does not panic")
    }
}
