//! The receiver's second port, for whoever conducts the run: `GET /stats`, `POST /reset`, `POST /mark`, and, with a
//! JSON body, `POST /behaviour` and `POST /secrets`.

use super::Shared;
use super::behaviour::Behaviour;
use super::check::WebhookSecret;
use super::counts;
use crate::wire::{HEADERS_MAX, Inbox, body_bytes};
use std::io;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

/// Serves one caller after the other, until the process ends.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // A caller that breaks off has been told nothing; that is its business.
        tokio::task::spawn_local(async move { drop(converse(stream, &shared).await) });
    }
}

async fn converse(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut inbox = Inbox::default();
    loop {
        let (call, head_bytes, body_bytes) = loop {
            if let Some(head) = head(inbox.unread())? {
                break head;
            }
            if !inbox.fill(&mut stream).await? {
                return Ok(());
            }
        };
        let end = head_bytes + body_bytes;
        if !inbox.fill_to(&mut stream, end).await? {
            return Ok(());
        }
        let body = inbox.unread().get(head_bytes..end).unwrap_or_default();
        let (status, answer) = match answer(&call, body, shared) {
            Ok(answer) => ("200 OK", answer),
            Err(text) => ("400 Bad Request", text),
        };
        inbox.consume(end);
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        stream.write_all(head.as_bytes()).await?;
    }
}

fn head(bytes: &[u8]) -> io::Result<Option<(String, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request
        .parse(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    let httparse::Status::Complete(head_bytes) = parsed else { return Ok(None) };
    let call = format!("{} {}", request.method.unwrap_or_default(), request.path.unwrap_or_default());
    Ok(Some((call, head_bytes, body_bytes(request.headers)?)))
}

fn answer(call: &str, body: &[u8], shared: &Shared) -> Result<String, String> {
    match call {
        "GET /stats" => {
            let stats = shared.stats();
            serde_json::to_string(&stats).map_err(|error| error.to_string())
        }
        "POST /reset" => {
            counts::reset(&shared.counts, &shared.ids);
            Ok("{}".into())
        }
        "POST /mark" => {
            counts::mark(&shared.counts);
            Ok("{}".into())
        }
        "POST /behaviour" => {
            let behaviour: Behaviour = serde_json::from_slice(body).map_err(|error| error.to_string())?;
            behaviour.check()?;
            shared.behaviour.set(&behaviour);
            Ok("{}".into())
        }
        "POST /secrets" => {
            // The error of a parser may quote what it read.
            let secrets: Vec<WebhookSecret> = serde_json::from_slice(body)
                .map_err(|_| "the secrets are not a list of webhook and secret")?;
            shared.secrets.add(secrets);
            Ok("{}".into())
        }
        other => Err(format!("{other} is no call of a receiver")),
    }
}
