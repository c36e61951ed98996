//! `fanfare webhooks`: the webhooks of a channel, over the API. [`body`] makes what is sent, [`show`] reads what comes
//! back.

mod body;
mod show;
#[cfg(test)]
mod tests;

use crate::exit::Failure;
use crate::manage::{Manager, ServerArgs, bare, segment, with_body};
use body::{MemberArgs, Secrets};
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Map, Value};
use show::{HealthAnswer, TestAnswer, WebhookAnswer};
use std::io::Write;

/// Flags of `fanfare webhooks`.
#[derive(Args, Debug)]
pub(crate) struct WebhooksArgs {
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(Subcommand, Debug)]
enum WebhooksCommand {
    /// List the webhooks of a channel
    #[command(after_help = "\
Example:
  fanfare webhooks list --channel demo")]
    List(ListArgs),
    /// Show one webhook
    #[command(after_help = "\
Example:
  fanfare webhooks get --channel demo WEBHOOK_ID")]
    Get(OneArgs),
    /// Make a webhook; a signing secret is shown this once
    #[command(after_help = "\
Examples:
  fanfare webhooks create --channel demo --url https://shop.example/hook --events BLOCK --signing
  SHOP_TOKEN=... fanfare webhooks create --channel demo --url https://shop.example/hook \\
      --events MESSAGE_RECEIVED,MESSAGE_STATUS --auth-type BEARER --credential-env SHOP_TOKEN

Events: MESSAGE_RECEIVED, MESSAGE_DELIVERY, MESSAGE_STATUS, RECEIVED_STATUS, RECEIVED_AND_DELIVERY,
CONNECTED, DISCONNECTED, PRESENCE_CHAT, INITIAL_DATA, BLOCK")]
    Create(CreateArgs),
    /// Change a webhook: only what is given changes
    #[command(after_help = "\
Examples:
  fanfare webhooks update --channel demo WEBHOOK_ID --max-in-flight 64 --restore rateLimit
  fanfare webhooks update --channel demo WEBHOOK_ID --new-secret --secret-overlap-seconds 3600")]
    Update(UpdateArgs),
    /// Deliver to a webhook again
    #[command(after_help = "\
Example:
  fanfare webhooks enable --channel demo WEBHOOK_ID")]
    Enable(OneArgs),
    /// Stop delivering to a webhook; what waits stays, events meanwhile are not kept for it
    #[command(after_help = "\
Example:
  fanfare webhooks disable --channel demo WEBHOOK_ID")]
    Disable(OneArgs),
    /// Delete a webhook and what it is owed
    #[command(after_help = "\
Example:
  fanfare webhooks delete --channel demo WEBHOOK_ID")]
    Delete(OneArgs),
    /// Send a sample event now and tell the outcome; exit 1 when it was not delivered
    #[command(after_help = "\
Example:
  fanfare webhooks test --channel demo WEBHOOK_ID --type MESSAGE_RECEIVED")]
    Test(TestArgs),
    /// Show gate, backlog, rates, latency and last failure of a webhook
    #[command(after_help = "\
Example:
  fanfare webhooks health --channel demo WEBHOOK_ID")]
    Health(OneArgs),
}

/// Whose webhooks.
#[derive(Args, Debug)]
struct ChannelArgs {
    /// The channel
    #[arg(long, value_name = "ID")]
    channel: String,
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    of: ChannelArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
struct OneArgs {
    /// Id of the webhook
    webhook_id: String,
    #[command(flatten)]
    of: ChannelArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
struct CreateArgs {
    #[command(flatten)]
    of: ChannelArgs,
    /// Where deliveries go
    #[arg(long, value_name = "URL")]
    url: String,
    /// What is delivered
    #[arg(long, required = true, value_delimiter = ',', value_name = "EVENT,...")]
    events: Vec<String>,
    /// Sign deliveries: the answer shows the secret, once
    #[arg(long)]
    signing: bool,
    #[command(flatten)]
    members: MemberArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
struct UpdateArgs {
    /// Id of the webhook
    webhook_id: String,
    #[command(flatten)]
    of: ChannelArgs,
    /// Where deliveries go from now on
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// What is delivered from now on: replaces the whole list
    #[arg(long, value_delimiter = ',', value_name = "EVENT,...")]
    events: Vec<String>,
    /// Sign with a new secret, shown this once; turns signing on
    #[arg(long, visible_alias = "signing", conflicts_with = "no_signing")]
    new_secret: bool,
    /// Let the old secret be valid for so long beside the new one
    #[arg(long, value_name = "N", requires = "new_secret")]
    secret_overlap_seconds: Option<u32>,
    /// Sign no more and forget the secret
    #[arg(long)]
    no_signing: bool,
    /// Remove the description
    #[arg(long, conflicts_with = "description")]
    no_description: bool,
    /// Restore the default of a delivery setting; may be given several times
    #[arg(long, value_name = "MEMBER")]
    restore: Vec<Restorable>,
    #[command(flatten)]
    members: MemberArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Members of `delivery`, by their names in the API.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "camelCase")]
enum Restorable {
    TimeoutMs,
    MaxInFlight,
    RateLimit,
    Ordering,
    Retry,
    Protocol,
}

#[derive(Args, Debug)]
struct TestArgs {
    /// Id of the webhook
    webhook_id: String,
    /// Kind of the sample event [default: one that the webhook asked for]
    #[arg(long, value_name = "EVENT")]
    r#type: Option<String>,
    #[command(flatten)]
    of: ChannelArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// Exit 1 when a test was not delivered, 2 when a flag cannot be used, 3 when the server is away or refuses.
pub(crate) async fn run(args: WebhooksArgs) -> Result<(), Failure> {
    let mut input = std::io::BufReader::new(std::io::stdin());
    let secrets = Secrets { variable: &|name| std::env::var(name).ok(), input: &mut input };
    carry_out(args.command, secrets, &mut std::io::stdout()).await
}

async fn carry_out(
    command: WebhooksCommand,
    secrets: Secrets<'_>,
    output: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    match command {
        WebhooksCommand::List(args) => list(&args, output).await,
        WebhooksCommand::Get(args) => get(&args, output).await,
        WebhooksCommand::Create(args) => create(&args, secrets, output).await,
        WebhooksCommand::Update(args) => update(&args, secrets, output).await,
        WebhooksCommand::Enable(args) => set_status(&args, "ENABLED", output).await,
        WebhooksCommand::Disable(args) => set_status(&args, "DISABLED", output).await,
        WebhooksCommand::Delete(args) => delete(&args, output).await,
        WebhooksCommand::Test(args) => test(&args, output).await,
        WebhooksCommand::Health(args) => health(&args, output).await,
    }
}

impl ChannelArgs {
    fn path(&self) -> Result<String, Failure> {
        Ok(format!("/v1/channels/{}/webhooks", segment("--channel", &self.channel)?))
    }

    fn path_of(&self, webhook_id: &str) -> Result<String, Failure> {
        Ok(format!("{}/{}", self.path()?, segment("the webhook's id", webhook_id)?))
    }
}

async fn list(args: &ListArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let call = bare(Method::GET, args.of.path()?);
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(call, "list the webhooks").await?;
    manager.show(&answer, || {
        let webhooks: Vec<WebhookAnswer> = answer.read("the list of webhooks")?;
        Ok(match webhooks.as_slice() {
            [] => {
                format!(
                    "channel {} has no webhooks; make one with: fanfare webhooks create\n",
                    args.of.channel
                )
            }
            webhooks => show::list(webhooks),
        })
    })
}

async fn get(args: &OneArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let call = bare(Method::GET, args.of.path_of(&args.webhook_id)?);
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(call, "show the webhook").await?;
    manager.show(&answer, || Ok(show::one(&answer.read("a webhook")?)))
}

async fn create(
    args: &CreateArgs,
    secrets: Secrets<'_>,
    output: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let mut body = Map::new();
    body.insert("url".to_owned(), args.url.as_str().into());
    body.insert("events".to_owned(), upper(&args.events));
    if args.signing {
        body.insert("signing".to_owned(), true.into());
    }
    args.members.add_to(&mut body, secrets)?;
    let call = with_body(Method::POST, args.of.path()?, body);
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(call, "make the webhook").await?;
    manager.show(&answer, || Ok(show::one(&answer.read("a new webhook")?)))
}

async fn update(
    args: &UpdateArgs,
    secrets: Secrets<'_>,
    output: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let call = with_body(Method::PATCH, args.of.path_of(&args.webhook_id)?, args.body(secrets)?);
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(call, "change the webhook").await?;
    manager.show(&answer, || Ok(show::one(&answer.read("a changed webhook")?)))
}

impl UpdateArgs {
    fn body(&self, secrets: Secrets<'_>) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        if let Some(url) = &self.url {
            body.insert("url".to_owned(), url.as_str().into());
        }
        if !self.events.is_empty() {
            body.insert("events".to_owned(), upper(&self.events));
        }
        if self.new_secret || self.no_signing {
            body.insert("signing".to_owned(), self.new_secret.into());
        }
        if let Some(seconds) = self.secret_overlap_seconds {
            body.insert("secretOverlapSeconds".to_owned(), seconds.into());
        }
        self.members.add_to(&mut body, secrets)?;
        if self.no_description {
            body.insert("description".to_owned(), Value::Null);
        }
        for member in &self.restore {
            let name =
                member.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            let delivery = body.entry("delivery").or_insert_with(|| Map::new().into());
            if let Some(delivery) = delivery.as_object_mut()
                && delivery.insert(name.clone(), Value::Null).is_some_and(|before| !before.is_null())
            {
                return Err(Failure::usage(format!("--restore {name} contradicts the flag that sets it")));
            }
        }
        if body.is_empty() {
            return Err(Failure::usage(
                "nothing is to be changed; give a flag, see fanfare webhooks update --help",
            ));
        }
        Ok(body)
    }
}

async fn set_status(args: &OneArgs, status: &str, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let body = Map::from_iter([("status".to_owned(), Value::from(status))]);
    let call = with_body(Method::PATCH, args.of.path_of(&args.webhook_id)?, body);
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(call, "change the webhook").await?;
    manager.show(&answer, || {
        let webhook: WebhookAnswer = answer.read("a changed webhook")?;
        Ok(format!("webhook {} is {}\n", args.webhook_id, crate::manage::table::clean(&webhook.status)))
    })
}

async fn delete(args: &OneArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let call = bare(Method::DELETE, args.of.path_of(&args.webhook_id)?);
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(call, "delete the webhook").await?;
    manager.show(&answer, || Ok(format!("webhook {} is deleted\n", args.webhook_id)))
}

async fn test(args: &TestArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let mut body = Map::new();
    if let Some(kind) = &args.r#type {
        body.insert("type".to_owned(), kind.to_uppercase().into());
    }
    let path = format!("{}/test", args.of.path_of(&args.webhook_id)?);
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(with_body(Method::POST, path, body), "test the webhook").await?;
    let outcome: TestAnswer = answer.read("a test")?;
    manager.show(&answer, || Ok(show::test(&outcome)))?;
    if outcome.delivered {
        Ok(())
    } else {
        Err(Failure::work(format!("the test was not delivered: {}", outcome.why())))
    }
}

async fn health(args: &OneArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let path = format!("{}/health", args.of.path_of(&args.webhook_id)?);
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(bare(Method::GET, path), "show the webhook's health").await?;
    manager.show(&answer, || {
        let health: HealthAnswer = answer.read("a webhook's health")?;
        Ok(show::health(&health))
    })
}

fn upper(words: &[String]) -> Value {
    words.iter().map(|word| word.trim().to_uppercase()).collect::<Vec<_>>().into()
}
