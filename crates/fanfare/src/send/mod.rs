//! `fanfare send`: pushes events from a file. [`lines`] reads and rewrites them, [`push()`] sends.

pub(crate) mod lines;
pub(crate) mod push;

use crate::client::Server;
use crate::clock::SystemClock;
use crate::exit::Failure;
use crate::listen::tally::as_float;
use clap::Args;
use fanfare_core::Secret;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lines::{LINE_BYTES_MAX, Line, Rewrite, read_line};
use push::{Batch, Patience, Progress, Summary, push};
use rand::TryRng as _;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// A batch ends before it would exceed so many bytes: half of what the server takes in one request.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Flags of `fanfare send`.
#[derive(Args, Debug)]
pub(crate) struct SendArgs {
    /// File with one JSON event per line; - for standard input
    file: PathBuf,
    /// The server
    #[arg(long, visible_alias = "server", env = "FANFARE_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// API key with the scope ingest
    #[arg(long, env = "FANFARE_API_KEY", hide_env_values = true, default_value = "")]
    key: String,
    /// Events in one request
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Requests at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Send the file this many times, every event with a new id
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Send every event on this channel instead of its own
    #[arg(long, value_name = "ID")]
    channel: Option<String>,
    /// Keep trying a batch that the server cannot take for this long
    #[arg(long, value_name = "N", default_value_t = 300)]
    give_up_seconds: u64,
}

/// Runs the command.
///
/// # Errors
/// Exit 1 when an event was rejected, 2 when the file or a flag cannot be used, 3 when the server is away or refuses.
pub(crate) async fn run(args: SendArgs) -> Result<(), Failure> {
    let is_stdin = args.file == Path::new("-");
    if is_stdin && args.repeat > 1 {
        return Err(Failure::usage("--repeat needs a file: standard input can be read only once"));
    }
    let key = (!args.key.is_empty()).then(|| Secret::new(args.key));
    let server = Arc::new(Server::parse(&args.url, key)?);
    let rewrite = Rewrite { run: new_run()?, renews_ids: args.repeat > 1, channel: args.channel };
    let input_bytes = if is_stdin { None } else { Some(file_bytes(&args.file)? * args.repeat) };

    let clock = SystemClock::new();
    let (sender, batches) = mpsc::channel(usize::from(args.concurrency) * 2);
    let source = Source { path: args.file, repeat: args.repeat, batch_events: args.batch, rewrite };
    let reader = tokio::task::spawn_blocking(move || source.read(&sender));
    let progress = Arc::new(Progress::default());
    let shown = tokio::spawn(show(Arc::clone(&progress), input_bytes));
    let patience = Patience { give_up: Duration::from_secs(args.give_up_seconds) };
    let pushed = push(server, batches, usize::from(args.concurrency), patience, progress).await;
    shown.abort();
    let _aborted = shown.await;
    // When pushing failed the reader finds its channel closed and ends.
    let read = reader.await.map_err(|error| Failure::work(format!("the reader ended: {error}")))?;
    let mut summary = pushed?;
    summary.add(read?);
    report(&summary, clock.elapsed())
}

/// Distinguishes this run's ids from those of every other.
fn new_run() -> Result<String, Failure> {
    let random = rand::rngs::SysRng
        .try_next_u64()
        .map_err(|error| Failure::work(format!("the operating system gives no randomness: {error}")))?;
    Ok(format!("S{random:016X}"))
}

fn file_bytes(path: &Path) -> Result<u64, Failure> {
    let data = std::fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
    if data.is_dir() {
        return Err(Failure::usage(format!(
            "{} is a directory; give a file of events, or -",
            path.display()
        )));
    }
    Ok(data.len())
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot read {}: {error}", path.display()))
}

fn report(summary: &Summary, elapsed: Duration) -> Result<(), Failure> {
    let events = summary.accepted + summary.duplicates + summary.rejected;
    let seconds = elapsed.as_secs_f64();
    let mut text = format!(
        "{events} events in {seconds:.1} s ({:.0}/s): {} accepted, {} duplicates, {} rejected\n",
        as_float(events) / seconds.max(0.001),
        summary.accepted,
        summary.duplicates,
        summary.rejected
    );
    for (line, error) in &summary.rejections {
        text.push_str(&format!("line {line}: {error}\n"));
    }
    let _closed = std::io::stdout().write_all(text.as_bytes());
    match summary.rejected {
        0 => Ok(()),
        rejected => Err(Failure::work(format!("{rejected} events were rejected"))),
    }
}

/// A bar of bytes for a file, a count for standard input; nothing when nobody watches.
async fn show(progress: Arc<Progress>, input_bytes: Option<u64>) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let style = match input_bytes {
        Some(_) => "{bar:40} {percent:>3}% {msg} {elapsed} (eta {eta})",
        None => "{spinner} {msg} {elapsed}",
    };
    let bar = ProgressBar::with_draw_target(input_bytes, ProgressDrawTarget::stderr_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let _cleared = ClearOnDrop(bar.clone());
    let clock = SystemClock::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        let events = progress.events.load(Ordering::Relaxed);
        bar.set_position(progress.bytes.load(Ordering::Relaxed));
        let rate = as_float(events) / clock.elapsed().as_secs_f64().max(0.001);
        bar.set_message(format!("{events} events, {rate:.0}/s"));
        bar.tick();
    }
}

/// Takes the bar off the terminal however its task ends.
struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Where events come from and how they are cut into requests.
struct Source {
    path: PathBuf,
    repeat: u64,
    batch_events: u32,
    rewrite: Rewrite,
}

impl Source {
    /// Reads everything into `batches`; what is returned are the lines that could not be sent at all.
    fn read(&self, batches: &mpsc::Sender<Batch>) -> Result<Summary, Failure> {
        let mut summary = Summary::default();
        for pass in 0..self.repeat {
            let read = if self.path == Path::new("-") {
                self.read_pass(&mut std::io::stdin().lock(), pass, batches, &mut summary)
            } else {
                File::open(&self.path).and_then(|file| {
                    let mut input = BufReader::with_capacity(256 * 1024, file);
                    self.read_pass(&mut input, pass, batches, &mut summary)
                })
            };
            if read.map_err(|error| cannot_read(&self.path, &error))?.is_none() {
                break;
            }
        }
        Ok(summary)
    }

    /// `None`: nobody takes batches any more.
    fn read_pass(
        &self,
        input: &mut dyn BufRead,
        pass: u64,
        batches: &mpsc::Sender<Batch>,
        summary: &mut Summary,
    ) -> std::io::Result<Option<()>> {
        let mut line = Vec::new();
        let mut body = Vec::new();
        let mut lines = Vec::new();
        let mut line_number = 0;
        loop {
            line_number += 1;
            let found = read_line(input, &mut line)?;
            let is_full = u32::try_from(lines.len()).is_ok_and(|count| count >= self.batch_events)
                || body.len() + line.len() > BATCH_BYTES_MAX - 1024;
            if !lines.is_empty() && (is_full || found == Line::End) {
                let batch =
                    Batch { body: std::mem::take(&mut body).into(), lines: std::mem::take(&mut lines) };
                if batches.blocking_send(batch).is_err() {
                    return Ok(None);
                }
            }
            match found {
                Line::End => return Ok(Some(())),
                Line::Blank => {}
                Line::TooLong => summary.reject(line_number, format!("line exceeds {LINE_BYTES_MAX} bytes")),
                Line::Event => {
                    self.rewrite.append(&line, pass, line_number, &mut body);
                    body.push(b'\n');
                    lines.push(line_number);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(text: &str, batch_events: u32) -> (Vec<Batch>, Summary) {
        let rewrite = Rewrite { run: "R".into(), renews_ids: false, channel: None };
        let source = Source { path: "-".into(), repeat: 1, batch_events, rewrite };
        let (sender, mut receiver) = mpsc::channel(100);
        let mut summary = Summary::default();
        source.read_pass(&mut text.as_bytes(), 0, &sender, &mut summary).unwrap().unwrap();
        drop(sender);
        let mut found = Vec::new();
        while let Ok(batch) = receiver.try_recv() {
            found.push(batch);
        }
        (found, summary)
    }

    #[test]
    fn batches_hold_so_many_events_and_know_their_lines() {
        let (found, _) = batches("[1]\n\n[2]\n[3]\n \n[4]\n[5]", 2);
        let shown: Vec<_> = found.iter().map(|batch| (batch.body.as_ref(), batch.lines.clone())).collect();
        assert_eq!(
            shown,
            [(&b"[1]\n[2]\n"[..], vec![1, 3]), (&b"[3]\n[4]\n"[..], vec![4, 6]), (&b"[5]\n"[..], vec![7])]
        );
    }

    #[test]
    fn batches_stay_below_their_size_and_long_lines_are_rejected_by_number() {
        let large = format!("[\"{}\"]", "x".repeat(3 * 1024 * 1024));
        let too_long = "y".repeat(LINE_BYTES_MAX + 1);
        let (found, summary) = batches(&format!("{large}\n{large}\n{too_long}\n{large}\n"), 100);
        assert_eq!(found.iter().map(|batch| batch.lines.clone()).collect::<Vec<_>>(), [vec![1, 2], vec![4]]);
        assert_eq!(summary.rejections, [(3, "line exceeds 8388608 bytes".to_owned())]);
    }

    #[test]
    fn nothing_to_send_makes_no_batch() {
        assert!(batches("", 2).0.is_empty());
        assert!(batches("\n \n", 2).0.is_empty());
    }
}
