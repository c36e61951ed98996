//! `fanfare listen`: a receiver for developers. It checks signatures, prints events, and misbehaves on request.
//!
//! [`receiver`] is the server (also the demo's), [`tally`] counts what came in, this file is the command.

pub(crate) mod receiver;
pub(crate) mod tally;

use crate::clock::SystemClock;
use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::signature::{HUB_SIGNATURE, ReceiverSecret, Verdict};
use clap::Args;
use fanfare_signing::TOLERANCE_S;
use http::StatusCode;
use receiver::{Behaviour, Hook, Receiver, ReceiverOptions, Seen};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tally::Rate;
use time::OffsetDateTime;
use time::macros::format_description;

/// Flags of `fanfare listen`.
#[derive(Args, Debug)]
pub(crate) struct ListenArgs {
    /// Address to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    listen: String,
    /// Signing secret of a webhook, 64 hex digits or whsec_…; several are tried in turn
    #[arg(long, env = "FANFARE_SECRET", hide_env_values = true)]
    secret: Vec<String>,
    /// Name of the hub's signature header
    #[arg(long, value_name = "NAME", default_value = HUB_SIGNATURE)]
    signature_header: String,
    /// Wait this long before each answer
    #[arg(long, value_name = "N", default_value_t = 0)]
    delay_ms: u64,
    /// Share of requests to fail, 0 to 1, spread evenly
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    fail_share: f64,
    /// Status of the requests failed
    #[arg(long, value_name = "STATUS", default_value_t = 500)]
    fail_status: u16,
    /// Reset every connection instead of answering
    #[arg(long)]
    refuse: bool,
    /// Print a summary each second instead of a line per event
    #[arg(long, short)]
    quiet: bool,
    /// Stop after this many requests
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print bodies too
    #[arg(long, conflicts_with = "quiet")]
    bodies: bool,
}

/// Runs the command until `--count`, Ctrl-C or SIGTERM.
///
/// # Errors
/// Exit 1 when a signature did not fit, 2 when the flags cannot be used, 5 when the address cannot be had.
pub(crate) async fn run(args: ListenArgs) -> Result<(), Failure> {
    let options = options(&args)?;
    let listener = bind(&args.listen)?;
    let clock = SystemClock::new();
    let (finished, mut is_finished) = tokio::sync::watch::channel(false);
    let count = args.count.unwrap_or(u64::MAX);
    let prints = (!args.quiet).then_some(args.bodies);
    let hook: Hook = Arc::new(move |seen: &Seen<'_>| {
        if let Some(with_body) = prints {
            print(seen, with_body);
        }
        if seen.number >= count {
            finished.send_replace(true);
        }
    });
    let receiver = Receiver::start(listener, options, hook, clock)
        .map_err(|error| Failure::new(Exit::Listen, format!("cannot serve on {}: {error}", args.listen)))?;
    say(&format!("listening on http://{}", receiver.address()));
    let tally = receiver.tally();

    let mut signals = Signals::new()?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut rate = Rate::default();
    loop {
        tokio::select! {
            () = signals.next() => break,
            Ok(()) = is_finished.changed() => break,
            _ = ticks.tick(), if args.quiet => {
                let counts = tally.counts();
                let per_second = rate.per_second(counts.requests, clock.elapsed());
                if counts.requests > 0 {
                    say(&format!("{counts}, {per_second:.0}/s"));
                }
            }
        }
    }
    receiver.stop();
    say(&format!("in all: {}", tally.counts()));
    match tally.counts().bad_signatures {
        0 => Ok(()),
        bad => Err(Failure::work(format!("{bad} requests did not verify"))),
    }
}

fn options(args: &ListenArgs) -> Result<ReceiverOptions, Failure> {
    if !(0.0..=1.0).contains(&args.fail_share) {
        return Err(Failure::usage(format!("--fail-share must be 0 to 1, not {}", args.fail_share)));
    }
    let fail_status = StatusCode::from_u16(args.fail_status)
        .ok()
        .filter(|status| (200..=599).contains(&status.as_u16()))
        .ok_or_else(|| {
            Failure::usage(format!("--fail-status must be 200 to 599, not {}", args.fail_status))
        })?;
    Ok(ReceiverOptions {
        secrets: args.secret.iter().map(|text| ReceiverSecret::parse(text)).collect::<Result<_, _>>()?,
        hub_name: args.signature_header.clone(),
        tolerance_s: TOLERANCE_S,
        behaviour: Behaviour {
            delay: Duration::from_millis(args.delay_ms),
            fail_share: args.fail_share,
            fail_status,
            refuses: args.refuse,
        },
        reads_bodies: args.bodies,
        threads: std::thread::available_parallelism().map_or(1, usize::from).min(4),
    })
}

/// Binds a listening socket.
///
/// # Errors
/// [`Exit::Listen`], saying who may hold the address.
pub(crate) fn bind(address: &str) -> Result<std::net::TcpListener, Failure> {
    let failed = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => "; stop what listens there, or choose another with --listen",
            _ => "; an address reads 127.0.0.1:8080",
        };
        Failure::new(Exit::Listen, format!("cannot listen on {address}: {error}{hint}"))
    };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Prints a line; a closed pipe is the reader's wish to see no more, not an error.
fn say(line: &str) {
    let _closed = writeln!(std::io::stdout().lock(), "{line}");
}

fn print(seen: &Seen<'_>, with_body: bool) {
    let format = format_description!("[hour]:[minute]:[second].[subsecond digits:3]");
    let nanos = i128::from(seen.unix_ms) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_default();
    let verdict = match seen.verdict {
        Verdict::Verified => "verified".to_owned(),
        Verdict::NotVerified(why) => format!("NOT VERIFIED: {why}"),
        Verdict::Unsigned => "unsigned".to_owned(),
        Verdict::Unchecked => "not checked".to_owned(),
    };
    let answer =
        if seen.status.is_success() { String::new() } else { format!(" -> {}", seen.status.as_u16()) };
    let mut line = format!(
        "{time} {} {} {} bytes attempt {} {verdict}{answer}",
        seen.text("x-hub-event"),
        seen.text("webhook-id"),
        seen.body_bytes,
        seen.text("x-hub-attempt"),
    );
    if with_body {
        line.push('\n');
        line.push_str(&printable(seen.body));
    }
    say(&line);
}

/// A body as a terminal may show it: what a sender put there cannot move the cursor.
pub(crate) fn printable(body: &[u8]) -> String {
    String::from_utf8_lossy(body)
        .chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ListenArgs,
    }

    #[test]
    fn flags_outside_their_range_are_errors_of_usage() {
        for (flag, value, message) in [
            ("--fail-share", "1.5", "--fail-share must be 0 to 1, not 1.5"),
            ("--fail-share", "NaN", "--fail-share must be 0 to 1, not NaN"),
            ("--fail-status", "101", "--fail-status must be 200 to 599, not 101"),
            ("--secret", "x", "a secret must be 64 hex digits, or whsec_ and base64, as the API showed it"),
        ] {
            let args = Line::try_parse_from(["listen", flag, value]).unwrap_or_else(|e| panic!("{e}")).args;
            assert_eq!(options(&args).err(), Some(Failure::usage(message)), "{flag} {value}");
        }
    }

    #[test]
    fn bodies_cannot_drive_the_terminal() {
        assert_eq!(printable(b"{\"a\":\n\t1}"), "{\"a\":\n\t1}");
        assert_eq!(printable(b"\x1b[2Jx\xff\r"), "\u{fffd}[2Jx\u{fffd}\u{fffd}");
    }

    #[test]
    fn an_address_in_use_says_what_to_do() {
        let taken = bind("127.0.0.1:0").unwrap();
        let failure = bind(&taken.local_addr().unwrap().to_string()).unwrap_err();
        assert_eq!(failure.exit, Exit::Listen);
        assert!(failure.message.contains("choose another with --listen"), "{failure}");
    }
}
