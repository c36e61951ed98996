//! The command line.

use crate::exit::Failure;
use crate::{bench, deliveries, demo, keys, listen, plugin, render, send, serve, verify, webhooks};
use clap::{Parser, Subcommand};

/// Takes the events of a messaging hub and delivers each, signed, to every webhook that asked for it.
#[derive(Parser, Debug)]
#[command(name = "fanfare", version, after_help = ROOT_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

const ROOT_HELP: &str = "\
Examples:
  fanfare demo
  fanfare serve --dev

Exit codes:
  0  done
  1  the work failed: a signature did not verify, an event was rejected, a delivery is missing
  2  a flag, a setting or the input cannot be used
  3  the server cannot be reached, or it refused
  4  the data directory, the store or the master key cannot be used
  5  the address to listen on cannot be had";

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run the engine: management API, ingest, delivery, with its store in one directory
    #[command(after_help = "\
Examples:
  fanfare serve --dev
  FANFARE_BOOTSTRAP_KEY=$(openssl rand -hex 32) fanfare serve --config fanfare.toml --data-dir fanfare-data")]
    Serve(serve::ServeArgs),
    /// See it work: engine, receiver and webhooks on this machine, sample events, then a burst
    #[command(after_help = "\
Examples:
  fanfare demo
  fanfare demo --burst 100000")]
    Demo(demo::DemoArgs),
    /// Receive deliveries: check signatures, print events; answer slowly, fail or refuse on request
    #[command(after_help = "\
Examples:
  fanfare listen --secret whsec_...
  fanfare listen --listen 127.0.0.1:9100 --fail-share 0.1 --delay-ms 50 --quiet")]
    Listen(listen::ListenArgs),
    /// Push events from a file (NDJSON) to a server
    #[command(after_help = "\
Examples:
  fanfare send events.ndjson --url http://127.0.0.1:8080 --key KEY
  zcat events.gz | fanfare send - --channel my-channel")]
    Send(send::SendArgs),
    /// Render events offline: per input line one output line, a JSON array of the bodies
    #[command(after_help = "\
Examples:
  fanfare render --format Z_API events.ndjson
  fanfare render --format Z_API --explain - < events.ndjson")]
    Render(render::RenderArgs),
    /// Check one request's signatures: headers as flags, the body on standard input
    #[command(after_help = "\
Examples:
  fanfare verify --secret whsec_... -H 'webhook-id: ...' -H 'webhook-timestamp: ...' \\
      -H 'webhook-signature: v1,...' < body.json
  fanfare verify --secret 64HEXDIGITS --signature sha256=... < body.json")]
    Verify(verify::VerifyArgs),
    /// Webhooks of a channel: make, show, change, test, watch
    #[command(after_help = "\
Examples:
  fanfare webhooks create --channel demo --url http://127.0.0.1:9000/ --events BLOCK --signing
  fanfare webhooks health --channel demo WEBHOOK_ID

The server is taken from FANFARE_URL and the key (scope manage) from FANFARE_API_KEY, or from flags.")]
    Webhooks(Box<webhooks::WebhooksArgs>),
    /// Payload formats as plugins: write, pack, test, inspect, sign; and those of a running server
    #[command(after_help = "\
Examples:
  fanfare plugin new --lang rust my-format
  fanfare plugin test my-format.wasm")]
    Plugin(plugin::PluginArgs),
    /// Deliveries of a webhook: list, look into, put back
    #[command(after_help = "\
Examples:
  fanfare deliveries list --channel demo --webhook WEBHOOK_ID --status DEAD
  fanfare deliveries redrive --channel demo --webhook WEBHOOK_ID --status DEAD --from 24h

The server is taken from FANFARE_URL and the key (scope manage) from FANFARE_API_KEY, or from flags.")]
    Deliveries(deliveries::DeliveriesArgs),
    /// API keys of an account; the master key of a data directory
    #[command(after_help = "\
Examples:
  fanfare keys create --account acme --scopes manage,ingest --make-account ENTERPRISE
  fanfare keys rotate-master --data-dir fanfare-data --new-key-file new.key

The server is taken from FANFARE_URL and the key (scope operate) from FANFARE_API_KEY, or from flags.")]
    Keys(keys::KeysArgs),
    /// See how fast it is on this machine: engine, receiver, generator and bare HTTP clients, one report
    #[command(after_help = "\
Examples:
  fanfare bench
  fanfare bench --list
  fanfare bench --scenario fan-out-1 --scenario half-load --out report

Without --scenario a selection of a minute runs. Each run has a directory, ports and processes of its own, on
loopback; all are gone when it ends. Exit 1 when an accepted event did not arrive, arrived twice or was not signed.")]
    Bench(bench::BenchArgs),
    /// One process of `fanfare bench`, which tells it what to do
    #[command(hide = true, after_help = "Started by fanfare bench as: fanfare bench-part < ORDER")]
    BenchPart,
}

/// Carries out a command line.
///
/// # Errors
/// Whatever the command says.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(args) => block_on(serve::run(args)),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Listen(args) => block_on(listen::run(args)),
        Command::Send(args) => block_on(send::run(args)),
        Command::Render(args) => render::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Webhooks(args) => block_on(webhooks::run(*args)),
        Command::Plugin(args) => block_on(plugin::run(args)),
        Command::Deliveries(args) => block_on(deliveries::run(args)),
        Command::Keys(args) => block_on(keys::run(args)),
        Command::Bench(args) => block_on(bench::run(args)),
        Command::BenchPart => bench::run_part(),
    }
}

/// Two threads carry all of the binary's own asynchronous work; deliveries run on the engine's event loops.
fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::work(format!("cannot start an event loop: {error}")))?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    /// The command and all below it, with the words that lead there.
    fn check_help(command: &clap::Command, path: &str) {
        if command.get_name() == "help" {
            return;
        }
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains(path), "{path} shows no example of itself");
        for below in command.get_subcommands() {
            check_help(below, &format!("{path} {}", below.get_name()));
        }
    }

    #[test]
    fn the_command_line_is_sound_and_every_command_shows_an_example() {
        let mut root = Cli::command();
        root.build();
        root.clone().debug_assert();
        check_help(&root, "fanfare");
    }
}
