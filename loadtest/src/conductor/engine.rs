//! The engine under test: started as a user starts it, talked to as a user talks to it.

use super::child::Part;
use crate::clock::Watch;
use crate::error::{Error, Trying as _};
use crate::part::{Order, WorkOrder};
use crate::receiver::check::WebhookSecret;
use crate::scenario::WebhookSpec;
use crate::wire::{Answer, Client};
use fanfare_core::event::EventKind;
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long it may take to be ready: with a million webhooks some seconds.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Calls at once while webhooks are made: their commits are shared.
const MAKERS: u64 = 32;

/// How it is started, again and again on the same directory.
#[derive(Clone, Debug)]
pub(crate) struct EngineOrder {
    pub(crate) program: PathBuf,
    /// What makes the program read an order.
    pub(crate) part_arguments: Vec<String>,
    pub(crate) processors: Vec<usize>,
    /// Values of `--set`.
    pub(crate) settings: Vec<String>,
    /// Holds the data directory and the log.
    pub(crate) folder: PathBuf,
    /// `None`: the first start picks a port.
    pub(crate) address: Option<SocketAddr>,
}

/// A running engine that is ready.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) part: Part,
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    /// From its start until `/readyz` said so, seconds.
    pub(crate) ready_s: f64,
    order: EngineOrder,
}

#[derive(Deserialize)]
struct WebhookMade {
    id: String,
    #[serde(default)]
    secret: Option<String>,
}

impl Engine {
    /// Starts `fanfare serve --dev` and waits until it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in time.
    pub(crate) async fn start(mut order: EngineOrder) -> Result<Self, Error> {
        let data = order.folder.join("data");
        // What a killed engine left would be taken for the new one's.
        let address_file = data.join("listen");
        drop(std::fs::remove_file(&address_file));
        let listen = order.address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        let mut arguments = vec!["serve".to_owned(), "--dev".into(), "--listen".into(), listen];
        arguments.extend(["--data-dir".into(), data.display().to_string()]);
        for setting in std::iter::once("log.level=warn").chain(order.settings.iter().map(String::as_str)) {
            arguments.extend(["--set".into(), setting.into()]);
        }
        let work = WorkOrder::Engine { program: order.program.clone(), arguments };
        let told = Order { processors: order.processors.clone(), work };
        let watch = Watch::start();
        let mut part = Part::start(&order.program, &order.part_arguments, &told, &order.folder).await?;
        let address = loop {
            let address =
                std::fs::read_to_string(&address_file).ok().and_then(|text| text.trim().parse().ok());
            if let Some(address) = address
                && is_ready(address).await
            {
                break address;
            }
            if part.has_ended() {
                return Err(part.ended());
            }
            if watch.elapsed() > READY_LIMIT {
                return Err(Error::work(format!("the engine was not ready in {} s", READY_LIMIT.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        let ready_s = watch.seconds();
        let key =
            std::fs::read_to_string(data.join("dev-key")).trying(|| "cannot read the engine's key".into())?;
        order.address = Some(address);
        Ok(Engine { part, address, key: key.trim().to_owned(), ready_s, order })
    }

    /// `kill -9`, then a new start on what was left.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) async fn kill_and_start(self) -> Result<Self, Error> {
        let order = self.order;
        self.part.kill().await;
        Engine::start(order).await
    }

    /// Where the engine keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.order.folder.join("data")
    }

    /// Sums of a metric over its labels; 0 when it is not there.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64, Error> {
        let asking = || "cannot read the engine's metrics".to_owned();
        let mut client = Client::connect(self.address).await.trying(asking)?;
        let answer = client.call("GET", "/metrics", "", b"").await.trying(asking)?;
        Ok(sum_metric(&String::from_utf8_lossy(&answer.body), name))
    }

    /// Makes the webhooks of `channels` channels, which take the URLs in turn; their secrets in no particular order.
    /// `said` hears of progress.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn make_webhooks(
        &self,
        spec: &WebhookSpec,
        prefix: &str,
        channels: u64,
        urls: &[String],
        said: &dyn Fn(u64),
    ) -> Result<Vec<WebhookSecret>, Error> {
        let bodies: Arc<[Vec<u8>]> =
            urls.iter().map(|url| webhook_body(spec, url).to_string().into_bytes()).collect();
        let total = channels * spec.per_channel;
        let next = Arc::new(AtomicU64::new(0));
        let mut makers = JoinSet::new();
        for _ in 0..MAKERS.min(total) {
            let maker = Maker {
                address: self.address,
                headers: format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", self.key),
                prefix: prefix.to_owned(),
                per_channel: spec.per_channel,
                total,
                next: Arc::clone(&next),
                bodies: Arc::clone(&bodies),
            };
            makers.spawn(maker.run());
        }
        let mut secrets = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                ended = makers.join_next() => match ended {
                    None => return Ok(secrets),
                    Some(made) => {
                        let made = made.map_err(|error| Error::work(format!("a caller ended: {error}")))?;
                        secrets.extend(made?);
                    }
                },
                _ = ticks.tick() => said(next.load(Ordering::Relaxed).min(total)),
            }
        }
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut client) = Client::connect(address).await else { return false };
    client.call("GET", "/readyz", "", b"").await.is_ok_and(|answer| answer.status == 200)
}

fn webhook_body(spec: &WebhookSpec, url: &str) -> serde_json::Value {
    let kinds: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
    json!({
        "url": url,
        "events": kinds,
        "payloadFormat": spec.format,
        "signing": spec.signing,
        "delivery": {
            "maxInFlight": spec.max_in_flight,
            "timeoutMs": spec.timeout_ms,
            "ordering": spec.ordering,
            // Named outright: over plain http `AUTO` means HTTP/1.1.
            "protocol": if url.ends_with("/h2") { "HTTP2" } else { "HTTP1" },
        },
    })
}

/// The URL of a receiver's port; the path tells what is spoken there.
pub(crate) fn receiver_url(address: SocketAddr, is_tls: bool, is_http2: bool) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{address}/{}", if is_http2 { "h2" } else { "h1" })
}

/// One of the callers that make webhooks.
struct Maker {
    address: SocketAddr,
    headers: String,
    prefix: String,
    per_channel: u64,
    total: u64,
    next: Arc<AtomicU64>,
    /// One for each URL.
    bodies: Arc<[Vec<u8>]>,
}

impl Maker {
    async fn run(self) -> Result<Vec<WebhookSecret>, Error> {
        let calling = || "cannot make a webhook".to_owned();
        let mut client = Client::connect(self.address).await.trying(calling)?;
        let mut secrets = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.total {
                return Ok(secrets);
            }
            let channel = number / self.per_channel;
            let path = format!("/v1/channels/{}{channel}/webhooks", self.prefix);
            let turn = usize::try_from(channel).unwrap_or(0) % self.bodies.len().max(1);
            let body = self.bodies.get(turn).map_or(&[][..], Vec::as_slice);
            let answer = client.call("POST", &path, &self.headers, body).await.trying(calling)?;
            secrets.push(read_made(&answer)?);
        }
    }
}

fn read_made(answer: &Answer) -> Result<WebhookSecret, Error> {
    if !(200..300).contains(&answer.status) {
        return Err(Error::work(format!("a webhook was refused: {} {}", answer.status, answer.excerpt())));
    }
    // The answer holds the secret: it is not quoted.
    let made: WebhookMade = serde_json::from_slice(&answer.body)
        .map_err(|_| Error::work("the answer to a new webhook cannot be read"))?;
    Ok(WebhookSecret { webhook: made.id, secret: made.secret })
}

fn sum_metric(text: &str, name: &str) -> f64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_whole = rest.starts_with([' ', '{']);
        rest.rsplit_once(' ')?.1.parse::<f64>().ok().filter(|_| is_whole)
    });
    values.sum()
}

/// Bytes of the files of a folder and below.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => folder_bytes(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_their_labels() {
        let text = "# TYPE a_total counter\na_total 5\na_totals 7\nb{x=\"1\"} 2\nb{x=\"2\"} 3.5\n";
        assert_eq!(
            [sum_metric(text, "a_total"), sum_metric(text, "b"), sum_metric(text, "c")],
            [5.0, 5.5, 0.0]
        );
    }

    #[test]
    fn a_webhook_speaks_what_its_receiver_does() {
        let address = "127.0.0.1:9".parse().unwrap();
        let spec = WebhookSpec { max_in_flight: 3, ..WebhookSpec::default() };
        let body = webhook_body(&spec, &receiver_url(address, true, true));
        assert_eq!(
            (&body["url"], &body["delivery"]["protocol"]),
            (&json!("https://127.0.0.1:9/h2"), &json!("HTTP2"))
        );
        assert_eq!(body["delivery"]["maxInFlight"], 3);
        let body = webhook_body(&spec, &receiver_url(address, false, false));
        assert_eq!(
            (&body["url"], &body["delivery"]["protocol"]),
            (&json!("http://127.0.0.1:9/h1"), &json!("HTTP1"))
        );
        assert_eq!(body["events"].as_array().map(Vec::len), Some(8));
    }
}
