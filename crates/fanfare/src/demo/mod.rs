//! `fanfare demo`: everything at once on this machine, nothing to set up. An engine in a temporary directory, a
//! receiver, webhooks made through the real API, sample events, then a burst. Exit 0 only if every delivery arrived,
//! verified, with the bytes an offline rendering gives ([`board`]).

mod board;

use crate::client::{Call, Server, Session};
use crate::clock::SystemClock;
use crate::config::{LogSettings, SecretText, Settings, SuccessesSetting};
use crate::exit::Failure;
use crate::listen::bind;
use crate::listen::receiver::{Behaviour, Hook, Receiver, ReceiverOptions, Seen};
use crate::listen::tally::{Rate, as_float};
use crate::log;
use crate::send::lines::Rewrite;
use crate::send::push::{Batch, Patience, Summary, push};
use crate::signals::Signals;
use crate::signature::{HUB_SIGNATURE, ReceiverSecret};
use crate::wiring::{DRAIN_LIMIT, Node, allow_loopback, listener_failed, raise_file_limit};
use board::{Board, DemoWebhook};
use bytes::Bytes;
use clap::Args;
use fanfare_core::event::EventKind;
use fanfare_core::webhook::FormatName;
use fanfare_core::{Secret, WebhookId};
use fanfare_render::{ParsedEvent, connected_phone, parse_event};
use fanfare_signing::TOLERANCE_S;
use http::Method;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rand::TryRng as _;
use serde::Deserialize;
use serde_json::json;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// The events it shows.
pub(crate) const SAMPLES: &str = include_str!("../../samples/events.ndjson");
/// The plugin format it shows; it is in the binary.
const PLUGIN: &str = "CLOUDEVENTS";
/// Events in one request of the burst.
const BATCH_EVENTS: usize = 500;
/// Requests of the burst at once.
const CONNECTIONS: usize = 2;
/// So long without a delivery and the demo gives up.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Flags of `fanfare demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Events of the burst; 0 for none
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    burst: u64,
}

/// Runs the command.
///
/// # Errors
/// Exit 1 when a delivery is missing or wrong.
pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    log::start(&LogSettings { level: "warn".into(), ..LogSettings::default() })?;
    raise_file_limit();
    let mut signals = Signals::new()?;
    let folder = tempfile::Builder::new()
        .prefix("fanfare-demo-")
        .tempdir()
        .map_err(|error| Failure::store(format!("cannot make a temporary directory: {error}")))?;
    let result = tokio::select! {
        result = Demo::play(args.burst, folder.path()) => result,
        // The directory is removed below: a demo that is cut short leaves nothing behind either.
        () = signals.next() => Err(Failure::work("interrupted")),
    };
    let removed = folder.close();
    result?;
    removed.map_err(|error| Failure::store(format!("cannot remove the temporary directory: {error}")))
}

fn say(line: &str) {
    let _closed = writeln!(std::io::stdout().lock(), "{line}");
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    rand::rngs::SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| Failure::work(format!("the operating system gives no randomness: {error}")))?;
    Ok(bytes)
}

#[derive(Deserialize)]
struct KeyMade {
    key: String,
}

#[derive(Deserialize)]
struct WebhookMade {
    id: String,
    secret: String,
}

/// Everything running.
struct Demo {
    clock: SystemClock,
    board: Arc<Board>,
    receiver: Receiver,
    /// With the account's key.
    server: Arc<Server>,
    shows_each: Arc<AtomicBool>,
}

impl Demo {
    async fn play(burst: u64, folder: &std::path::Path) -> Result<(), Failure> {
        let clock = SystemClock::new();
        let operator = hex::encode(random::<32>()?);
        let mut settings = Settings {
            listen: "127.0.0.1:0".into(),
            data_dir: folder.join("data"),
            bootstrap_key: Some(SecretText::from(operator.clone())),
            ..Settings::default()
        };
        settings.attempts.successes = SuccessesSetting::None;
        allow_loopback(&mut settings);
        let listener = bind(&settings.listen)?;
        let failed = |error: std::io::Error| Failure::work(format!("cannot start the demo: {error}"));
        let address = listener.local_addr().map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let node = Arc::new(Node::start(&settings, random()?, false, clock).await?);
        say(&format!("engine   http://{address}, store in {}", settings.data_dir.display()));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let face = tokio::spawn(fanfare_admin::serve(listener, node.admin(), stopped));

        let operator = Server::parse(&format!("http://{address}"), Some(Secret::new(operator)))?;
        let board = Board::new(node.formatter());
        let result = Self::set_up(clock, operator, board).await?.show(burst).await;
        drop(stop);
        node.engine.drain(DRAIN_LIMIT).await;
        face.await
            .map_err(|error| Failure::work(format!("the http face ended: {error}")))?
            .map_err(listener_failed)?;
        result
    }

    /// Receiver, account, key, channel and webhooks, the last four through the API.
    async fn set_up(clock: SystemClock, operator: Server, board: Board) -> Result<Demo, Failure> {
        let board = Arc::new(board);
        let shows_each = Arc::new(AtomicBool::new(true));
        let (told, shown) = (Arc::clone(&board), Arc::clone(&shows_each));
        let hook: Hook = Arc::new(move |seen: &Seen<'_>| {
            let line = told.arrive(seen);
            if let Some(line) = line.filter(|_| shown.load(Ordering::Relaxed)) {
                say(&line);
            }
        });
        let options = ReceiverOptions {
            secrets: Vec::new(),
            hub_name: HUB_SIGNATURE.into(),
            tolerance_s: TOLERANCE_S,
            behaviour: Behaviour::default(),
            reads_bodies: true,
            threads: 1,
        };
        let receiver = Receiver::start(bind("127.0.0.1:0")?, options, hook, clock)
            .map_err(|error| Failure::work(format!("cannot start the receiver: {error}")))?;
        say(&format!("receiver http://{}", receiver.address()));

        let channel = sample_events()?.first().map(|event| event.channel.clone());
        let channel = channel.ok_or_else(|| Failure::work("there is no sample"))?;
        let mut session = Session::new(Arc::new(operator.clone()));
        call(&mut session, Method::PUT, "/v1/accounts/demo", &json!({"role": "ENTERPRISE"})).await?;
        let scopes = json!({"scopes": ["manage", "ingest"]});
        let made = call(&mut session, Method::POST, "/v1/accounts/demo/keys", &scopes).await?;
        let key: KeyMade = serde_json::from_slice(&made).map_err(|_| Failure::work("no key was made"))?;
        // The phone that the CONNECTED sample tells, so that every rendering is the same before and after it.
        let owner = json!({"accountId": "demo", "phone": sample_phone()?});
        call(&mut session, Method::PUT, &format!("/v1/channels/{channel}"), &owner).await?;

        let server = Arc::new(operator.with_key(Secret::new(key.key)));
        let mut session = Session::new(Arc::clone(&server));
        let token = hex::encode(random::<16>()?);
        let events: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        let bearer = json!({"type": "BEARER", "token": token});
        let none = json!({"type": "NONE"});
        let wanted = [
            (FormatName::DEFAULT, bearer, Some(format!("Bearer {token}"))),
            (FormatName::Z_API, none.clone(), None),
            (PLUGIN, none, None),
        ];
        for (format, auth, authorization) in wanted {
            let body = json!({
                "url": format!("http://{}/{}", receiver.address(), format.to_lowercase()),
                "events": events,
                "payloadFormat": format,
                "signing": true,
                "auth": auth,
                "delivery": {"maxInFlight": 64},
            });
            let made =
                call(&mut session, Method::POST, &format!("/v1/channels/{channel}/webhooks"), &body).await?;
            let made: WebhookMade =
                serde_json::from_slice(&made).map_err(|_| Failure::work("no webhook was made"))?;
            receiver.add_secret(ReceiverSecret::parse(&made.secret)?);
            let id = WebhookId::parse(&made.id)
                .ok_or_else(|| Failure::work("a webhook has an id that is none"))?;
            let format = FormatName::parse(format).ok_or_else(|| Failure::work("unknown format"))?;
            say(&format!(
                "webhook  {id} {} signed{}",
                format.as_str(),
                authorization.as_ref().map_or("", |_| ", BEARER")
            ));
            board.add_webhook(DemoWebhook { id, format, authorization });
        }
        Ok(Demo { clock, board, receiver, server, shows_each })
    }

    async fn show(self, burst: u64) -> Result<(), Failure> {
        let result = self.show_all(burst).await;
        self.receiver.stop();
        result
    }

    async fn show_all(&self, burst: u64) -> Result<(), Failure> {
        let samples: Vec<&str> = SAMPLES.lines().filter(|line| !line.trim().is_empty()).collect();
        say(&format!("\n{} sample events:", samples.len()));
        let owed = self.push_all(samples.iter().copied(), count(samples.len()), "D").await?;
        let arrived = self.wait(owed).await?;
        say(&format!("samples: {} events, {arrived} deliveries, all arrived and verified", samples.len()));
        if burst == 0 {
            return Ok(());
        }

        self.shows_each.store(false, Ordering::Relaxed);
        say(&format!("\nburst of {burst} events:"));
        let began = self.clock.elapsed();
        // A message with one body per format.
        let line = samples
            .iter()
            .find(|line| line.contains("\"MESSAGE_RECEIVED\""))
            .ok_or_else(|| Failure::work("there is no sample of a message"))?;
        let event = sample(line.as_bytes())?;
        let id = event.id.clone().ok_or_else(|| Failure::work("a sample has no id"))?;
        let phone = sample_phone()?;
        let bodies = self.board.count(&id, &event, phone.as_deref()).await.map_err(Failure::work)?;
        let lines = std::iter::repeat_n(*line, usize::try_from(burst).unwrap_or(usize::MAX));
        let owed_before = owed;
        let (pushed, ()) =
            tokio::join!(self.push_all(lines, burst, "B"), self.show_rate(owed_before, burst * bodies));
        let total = owed_before + pushed?;
        let arrived = self.wait(total).await? - owed_before;
        let seconds = self.clock.elapsed().saturating_sub(began).as_secs_f64().max(0.001);
        say(&format!(
            "burst: {burst} events, {arrived} deliveries in {seconds:.1} s ({:.0}/s), all arrived and verified",
            as_float(arrived) / seconds
        ));
        let counts = self.receiver.tally().counts();
        say(&format!("in all: {counts}"));
        Ok(())
    }

    /// Pushes events through the API, each with an id of its own, and expects their deliveries; how many.
    async fn push_all<'a>(
        &self,
        lines: impl Iterator<Item = &'a str>,
        events: u64,
        run: &str,
    ) -> Result<u64, Failure> {
        let rewrite = Rewrite { run: run.into(), renews_ids: true, channel: None };
        let phone = sample_phone()?;
        let (sender, batches) = mpsc::channel(CONNECTIONS);
        let patience = Patience { give_up: STALL_LIMIT };
        let pushing =
            tokio::spawn(push(Arc::clone(&self.server), batches, CONNECTIONS, patience, Arc::default()));
        let mut owed = 0;
        let mut batch = (Vec::new(), Vec::new());
        for (number, line) in (1_u64..).zip(lines) {
            let start = batch.0.len();
            rewrite.append(line.as_bytes(), 0, number, &mut batch.0);
            let event = sample(batch.0.get(start..).unwrap_or_default())?;
            let id = event.id.clone().ok_or_else(|| Failure::work("a sample has no id"))?;
            owed += self.board.expect(&id, &event, phone.as_deref()).await.map_err(Failure::work)?;
            batch.0.push(b'\n');
            batch.1.push(number);
            if batch.1.len() == BATCH_EVENTS || number == events {
                let (body, lines) = std::mem::take(&mut batch);
                if sender.send(Batch { body: body.into(), lines }).await.is_err() {
                    break;
                }
            }
        }
        drop(sender);
        let summary = pushing.await.map_err(|error| Failure::work(format!("the push ended: {error}")))??;
        if summary != (Summary { accepted: events, ..Summary::default() }) {
            let first = summary.rejections.first().map_or("", |(_, error)| error);
            return Err(Failure::work(format!(
                "of {events} events {} were accepted and {} rejected {first}",
                summary.accepted, summary.rejected
            )));
        }
        Ok(owed)
    }

    /// Waits until so many deliveries have arrived, and nothing else is owed.
    async fn wait(&self, owed: u64) -> Result<u64, Failure> {
        let mut last = (self.board.arrived(), self.clock.elapsed());
        while self.board.arrived() < owed {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let arrived = self.board.arrived();
            if arrived != last.0 {
                last = (arrived, self.clock.elapsed());
            } else if self.clock.elapsed().saturating_sub(last.1) > STALL_LIMIT {
                break;
            }
        }
        self.board.verdict().map_err(Failure::work)?;
        Ok(self.board.arrived())
    }

    /// The live rate: a bar on a terminal, a line a second elsewhere.
    async fn show_rate(&self, before: u64, owed: u64) {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(Some(owed), ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} deliveries {msg}") {
            bar.set_style(style);
        }
        let pause = if is_terminal { Duration::from_millis(200) } else { Duration::from_secs(1) };
        let mut rate = Rate::default();
        let began = self.clock.elapsed();
        let mut shown_at = began;
        let mut last = (0, began);
        // Looks often, so that the burst's time is not rounded to when it is shown.
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            ticks.tick().await;
            let (arrived, now) = (self.board.arrived() - before, self.clock.elapsed());
            if arrived != last.0 {
                last = (arrived, now);
            }
            let is_over = arrived >= owed || now.saturating_sub(last.1) > STALL_LIMIT;
            if is_over || now.saturating_sub(shown_at) >= pause {
                let per_second = rate.per_second(arrived, now.saturating_sub(began));
                shown_at = now;
                if is_terminal {
                    bar.set_position(arrived);
                    bar.set_message(format!("{per_second:.0}/s"));
                } else {
                    say(&format!("  {arrived} of {owed} deliveries, {per_second:.0}/s"));
                }
            }
            if is_over {
                return bar.finish_and_clear();
            }
        }
    }
}

fn count(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn sample(line: &[u8]) -> Result<ParsedEvent, Failure> {
    parse_event(Bytes::copy_from_slice(line))
        .map_err(|error| Failure::work(format!("a sample is not sound: {error}")))
}

fn sample_events() -> Result<Vec<ParsedEvent>, Failure> {
    SAMPLES.lines().filter(|line| !line.trim().is_empty()).map(|line| sample(line.as_bytes())).collect()
}

fn sample_phone() -> Result<Option<String>, Failure> {
    let events = sample_events()?;
    let connected = events.iter().find(|event| event.kind == EventKind::Connected);
    Ok(connected.and_then(|event| connected_phone(&event.payload())))
}

/// One call that must succeed; its answer's body.
async fn call(
    session: &mut Session,
    method: Method,
    path: &str,
    body: &serde_json::Value,
) -> Result<Bytes, Failure> {
    let what = format!("{method} {path}");
    let answer = session.call(Call::json(method, path, body)).await?;
    if answer.status.is_success() { Ok(answer.body) } else { Err(answer.refusal(&what)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_samples_hold_every_kind_on_one_channel_and_tell_the_phone() {
        let events = sample_events().unwrap();
        let kinds: BTreeSet<EventKind> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds.len(), EventKind::ALL.len());
        assert!(events.iter().all(|event| event.channel == events[0].channel));
        assert!(sample_phone().unwrap().is_some());
    }
}
