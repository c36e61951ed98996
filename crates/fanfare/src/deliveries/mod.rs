//! `fanfare deliveries`: what became of a webhook's deliveries, and putting them back, over the API. [`list`] reads pages,
//! [`show`] makes them readable.

mod list;
mod show;
#[cfg(test)]
mod tests;

use crate::clock::SystemClock;
use crate::exit::Failure;
use crate::manage::table::counted;
use crate::manage::times::point;
use crate::manage::{Manager, ServerArgs, bare, segment, with_body};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use fanfare_core::ports::Clock as _;
use http::Method;
use list::ListArgs;
use serde::Deserialize;
use serde_json::Map;
use std::io::Write;

/// Flags of `fanfare deliveries`.
#[derive(Args, Debug)]
pub(crate) struct DeliveriesArgs {
    #[command(subcommand)]
    command: DeliveriesCommand,
}

#[derive(Subcommand, Debug)]
enum DeliveriesCommand {
    /// List deliveries, a page or all
    #[command(after_help = "\
Examples:
  fanfare deliveries list --channel demo --webhook WEBHOOK_ID --status DEAD --from 2h
  fanfare deliveries list --channel demo --webhook WEBHOOK_ID --all --json > deliveries.json

The first column is short for EVENT-WEBHOOK (EVENT/2: EVENT-WEBHOOK-2, a further body); get and redrive take it.")]
    List(ListArgs),
    /// Show one delivery and its attempts
    #[command(after_help = "\
Example:
  fanfare deliveries get --channel demo --webhook WEBHOOK_ID EVENT_ID")]
    Get(GetArgs),
    /// Put deliveries back: one, or all of a status
    #[command(after_help = "\
Examples:
  fanfare deliveries redrive --channel demo --webhook WEBHOOK_ID EVENT_ID
  fanfare deliveries redrive --channel demo --webhook WEBHOOK_ID --status DEAD --from 24h")]
    Redrive(RedriveArgs),
}

/// Whose deliveries.
#[derive(Args, Debug)]
struct WebhookArgs {
    /// The channel
    #[arg(long, value_name = "ID")]
    channel: String,
    /// The webhook
    #[arg(long, value_name = "ID")]
    webhook: String,
}

/// When, and what became of them.
#[derive(Args, Debug)]
struct FilterArgs {
    /// Only deliveries in this state
    #[arg(long, ignore_case = true)]
    status: Option<Status>,
    /// Of events accepted at this time or later: RFC 3339, or an age such as 30m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Of events accepted before this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Status {
    Pending,
    Delivered,
    Dead,
    Skipped,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Pending => "PENDING",
            Status::Delivered => "DELIVERED",
            Status::Dead => "DEAD",
            Status::Skipped => "SKIPPED",
        }
    }
}

#[derive(Args, Debug)]
struct GetArgs {
    /// The delivery: its id, or EVENT or EVENT/N as the list shows it
    delivery: String,
    #[command(flatten)]
    of: WebhookArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("which").required(true).args(["delivery", "status"])))]
struct RedriveArgs {
    /// One delivery: its id, or EVENT or EVENT/N as the list shows it
    #[arg(conflicts_with_all = ["from", "to"])]
    delivery: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    of: WebhookArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// What a redrive put back.
#[derive(Deserialize)]
struct Redriven {
    redriven: u64,
}

/// Runs the command.
///
/// # Errors
/// Exit 2 when a flag cannot be used, 3 when the server is away or refuses.
pub(crate) async fn run(args: DeliveriesArgs) -> Result<(), Failure> {
    let now_ms = SystemClock::new().now().unix_ms;
    carry_out(args.command, now_ms, &mut std::io::stdout()).await
}

async fn carry_out(
    command: DeliveriesCommand,
    now_ms: u64,
    output: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    match command {
        DeliveriesCommand::List(args) => list::run(&args, now_ms, output).await,
        DeliveriesCommand::Get(args) => get(&args, output).await,
        DeliveriesCommand::Redrive(args) => redrive(&args, now_ms, output).await,
    }
}

impl WebhookArgs {
    fn path(&self) -> Result<String, Failure> {
        let channel = segment("--channel", &self.channel)?;
        let webhook = segment("--webhook", &self.webhook)?;
        Ok(format!("/v1/channels/{channel}/webhooks/{webhook}"))
    }

    /// The path of a delivery named by its id or by its short form.
    fn path_of(&self, delivery: &str) -> Result<String, Failure> {
        let id = show::long_id(delivery, &self.webhook);
        Ok(format!("{}/deliveries/{}", self.path()?, segment("the delivery", &id)?))
    }
}

impl FilterArgs {
    /// Names and values as the API takes them.
    fn members(&self, now_ms: u64) -> Result<Vec<(&'static str, String)>, Failure> {
        let mut members = Vec::new();
        members.extend(self.status.map(|status| ("status", status.name().to_owned())));
        for (name, flag, value) in [("from", "--from", &self.from), ("to", "--to", &self.to)] {
            if let Some(text) = value {
                members.push((name, point(flag, text, now_ms)?));
            }
        }
        Ok(members)
    }
}

async fn get(args: &GetArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let call = bare(Method::GET, args.of.path_of(&args.delivery)?);
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(call, "show the delivery").await?;
    manager.show(&answer, || Ok(show::one(&answer.read("a delivery")?)))
}

async fn redrive(args: &RedriveArgs, now_ms: u64, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let (path, body) = match &args.delivery {
        Some(delivery) => (format!("{}/redrive", args.of.path_of(delivery)?), Map::new()),
        None => {
            let members = args.filter.members(now_ms)?;
            let members = members.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
            (format!("{}/redrive", args.of.path()?), members.collect())
        }
    };
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(with_body(Method::POST, path, body), "redrive").await?;
    manager.show(&answer, || {
        let Redriven { redriven } = answer.read("a redrive")?;
        Ok(format!("{} put back\n", counted(redriven, "delivery is", "deliveries are")))
    })
}
