//! `fanfare serve`: the engine as a process. Settings, start, signals, drain.

use crate::clock::SystemClock;
use crate::config::merge::{Sources, load};
use crate::config::{BOOTSTRAP_KEY_CHARS_ENOUGH, Settings};
use crate::exit::{Exit, Failure};
use crate::listen::bind;
use crate::signals::Signals;
use crate::wiring::{DRAIN_LIMIT, Node, admin_limits, allow_loopback, listener_failed, raise_file_limit};
use crate::{log, master_key};
use clap::Args;
use fanfare_core::webhook::{Account, Scopes};
use fanfare_core::{AccountId, Secret};
use fanfare_engine::Engine;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tokio::net::TcpListener;

/// Flags of `fanfare serve`.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Settings file (TOML); fanfare.example.toml shows every key
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG")]
    config: Option<PathBuf>,
    /// Address of the HTTP face; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where everything durable is kept [default: ./fanfare-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Event loops that deliver [default: cores]
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// For a laptop: plain http and loopback receivers, channels made on first use, an account and a key
    #[arg(long)]
    dev: bool,
    /// Any other setting, as in the file: --set egress.allow_http=true
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Runs the command until SIGTERM or Ctrl-C.
///
/// # Errors
/// Exit 2 for settings, 4 for the data directory, 5 for the address.
pub(crate) async fn run(args: ServeArgs) -> Result<(), Failure> {
    let mut settings = settings(&args)?;
    log::start(&settings.log)?;
    if args.dev {
        allow_loopback(&mut settings);
    }
    let clock = SystemClock::new();
    let mut signals = Signals::new()?;
    let listener = bind(&settings.listen)?;
    let address = listener.local_addr().map_err(|error| cannot_listen(&settings, &error))?;
    let listener = TcpListener::from_std(listener).map_err(|error| cannot_listen(&settings, &error))?;
    // The first line of the log, so that whoever asked for port 0 can wait for it. Probes are answered from now on,
    // other calls when the store is open.
    tracing::info!("listening on http://{address}");
    raise_file_limit();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (starter, starting) = fanfare_admin::starting();
    let limits = admin_limits(&settings);
    let face = tokio::spawn(fanfare_admin::serve_starting(listener, limits, starting, stopped));
    let key = master_key::find(&settings, std::env::var(master_key::VARIABLE).ok())?;
    if key.is_beside_data {
        tracing::warn!(
            is_new = key.is_new,
            "the master key lies beside the data it seals; in production keep it elsewhere (master_key_file)"
        );
    }
    if settings.bootstrap_key.as_ref().is_some_and(|k| k.0.expose().len() < BOOTSTRAP_KEY_CHARS_ENOUGH) {
        tracing::warn!("FANFARE_BOOTSTRAP_KEY is short; make one with: openssl rand -hex 32");
    }
    let node = Node::start(&settings, key.bytes, args.dev, clock).await?;
    let told = ListenFile::write(&settings.data_dir, address)?;
    if args.dev {
        let key = dev_key(&node.engine, &settings.data_dir).await?;
        print_dev_help(address, &key, &settings.data_dir);
    }
    starter.ready(node.admin());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        workers = settings.workers,
        data_dir = %settings.data_dir.display(),
        recovered_ms = clock.elapsed().as_millis(),
        "ready"
    );

    let ended = async {
        signals.next().await;
        tracing::info!(limit_seconds = DRAIN_LIMIT.as_secs(), "draining; a second signal ends at once");
        let drained = node.engine.drain(DRAIN_LIMIT);
        tokio::select! {
            () = drained => {}
            () = signals.next() => {
                // Nothing is lost: what was in flight is delivered again after the next start.
                told.remove();
                tracing::warn!("second signal: ending without draining");
                std::process::exit(Exit::Work as i32);
            }
        }
        // Closes the face last: until now calls were answered 503 with the reason.
        drop(stop);
    };
    let (served, ()) = tokio::join!(face, ended);
    told.remove();
    tracing::info!("drained");
    served
        .map_err(|error| Failure::work(format!("the http face broke off: {error}")))?
        .map_err(listener_failed)
}

fn cannot_listen(settings: &Settings, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Listen, format!("cannot listen on {}: {error}", settings.listen))
}

fn settings(args: &ServeArgs) -> Result<Settings, Failure> {
    let file = match &args.config {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
            Some((path.display().to_string(), text))
        }
    };
    let mut flags = Vec::new();
    for text in &args.set {
        let (key, value) =
            text.split_once('=').ok_or_else(|| Failure::usage("--set reads KEY=VALUE, such as workers=2"))?;
        flags.push((key.trim().to_owned(), value.to_owned()));
    }
    for (key, value) in [("listen", &args.listen), ("data_dir", &args.data_dir), ("workers", &args.workers)] {
        flags.extend(value.iter().map(|value| (key.to_owned(), value.clone())));
    }
    load(Sources { file, environment: std::env::vars_os().collect(), flags })
}

/// `DATA_DIR/listen`: the address, for scripts; there while the engine serves.
struct ListenFile(PathBuf);

impl ListenFile {
    fn write(folder: &Path, address: SocketAddr) -> Result<Self, Failure> {
        let path = folder.join("listen");
        replace(&path, &address.to_string(), 0o644)?;
        Ok(ListenFile(path))
    }

    fn remove(&self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, file = %self.0.display(), "cannot remove the file that tells the address");
        }
    }
}

/// Writes a small file whole: readers see the old one or the new one.
fn replace(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let whole = path.with_extension("new");
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&whole)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        std::fs::rename(&whole, path)
    })();
    written.map_err(|error| Failure::store(format!("cannot write {}: {error}", path.display())))
}

/// The key of the account `dev`, made once and kept beside the data.
async fn dev_key(engine: &Engine, folder: &Path) -> Result<Secret, Failure> {
    let path = folder.join("dev-key");
    if let Ok(text) = std::fs::read_to_string(&path) {
        let key = Secret::new(text.trim());
        if engine.authenticate(&key).is_some() {
            return Ok(key);
        }
    }
    let failed =
        |error: fanfare_engine::EngineError| Failure::store(format!("the dev key cannot be made: {error}"));
    let id = AccountId::parse("dev").map_err(|error| Failure::work(format!("dev account: {error}")))?;
    engine
        .put_account(Account { id: id.clone(), role: Account::ENTERPRISE.to_owned() })
        .await
        .map_err(failed)?;
    let (_, key) = engine.create_key(&id, Scopes::ALL).await.map_err(failed)?;
    replace(&path, key.expose(), 0o600)?;
    Ok(key)
}

fn print_dev_help(address: SocketAddr, key: &Secret, folder: &Path) {
    let (url, key) = (format!("http://{address}"), key.expose());
    let text = format!(
        "\
fanfare for development: plain http and loopback receivers are allowed, channels are made on first use.

  key      {key}
  kept in  {}

Try it, in another terminal:

  fanfare listen

  curl -s {url}/v1/channels/demo/webhooks -H 'Authorization: Bearer {key}' \\
    --json '{{\"url\": \"http://127.0.0.1:9000/\", \"events\": [\"BLOCK\"], \"signing\": true}}'

  curl -s {url}/v1/events -H 'Authorization: Bearer {key}' \\
    --json '{{\"type\": \"BLOCK\", \"channelId\": \"demo\", \"payload\": {{\"hello\": \"world\"}}}}'
",
        folder.join("dev-key").display()
    );
    let _closed = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn read(flags: &[&str]) -> Result<Settings, Failure> {
        let line = std::iter::once("serve").chain(flags.iter().copied());
        settings(&Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).args)
    }

    #[test]
    fn flags_reach_the_settings_and_named_ones_beat_set() {
        let settings =
            read(&["--set", "listen=a:1", "--listen", "b:2", "--set", "egress.deny=10.0.0.0/8"]).unwrap();
        assert_eq!((settings.listen.as_str(), settings.egress.deny.len()), ("b:2", 1));
        let failure = read(&["--workers", "many"]).unwrap_err();
        assert_eq!(failure.message, "workers on the command line must be a whole number, not negative");
        assert_eq!(read(&["--set", "workers"]).unwrap_err().exit, Exit::Usage);
        assert_eq!(read(&["--config", "does-not-exist.toml"]).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn the_address_file_is_whole_and_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        let file = ListenFile::write(folder.path(), "127.0.0.1:8080".parse().unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("listen")).unwrap(), "127.0.0.1:8080\n");
        file.remove();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
