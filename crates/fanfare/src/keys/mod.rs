//! `fanfare keys`: API keys of an account, over the API, and the master key of a data directory, without one
//! ([`rotate`]).

mod rotate;

use crate::exit::Failure;
use crate::manage::table::{Table, clean, members};
use crate::manage::times::shown;
use crate::manage::{Manager, ServerArgs, bare, segment, with_body};
use clap::{Args, Subcommand, ValueEnum};
use http::{Method, StatusCode};
use rotate::RotateArgs;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io::Write;

/// Flags of `fanfare keys`.
#[derive(Args, Debug)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand, Debug)]
enum KeysCommand {
    /// List the keys of an account; a key's text is never shown again
    #[command(after_help = "\
Example:
  fanfare keys list --account acme")]
    List(ListArgs),
    /// Make a key and show it, this once
    #[command(after_help = "\
Examples:
  fanfare keys create --account acme --scopes manage,ingest
  fanfare keys create --account acme --scopes ingest --make-account ENTERPRISE")]
    Create(CreateArgs),
    /// Show one key's record
    #[command(after_help = "\
Example:
  fanfare keys get --account acme KEY_ID")]
    Get(OneArgs),
    /// Delete a key: from now on it is refused
    #[command(after_help = "\
Example:
  fanfare keys delete --account acme KEY_ID")]
    Delete(OneArgs),
    /// Seal everything secret in a data directory under another master key, while no server uses it
    #[command(after_help = "\
Examples:
  (umask 077; openssl rand -hex 32 > new.key)
  fanfare keys rotate-master --data-dir fanfare-data --new-key-file new.key

The old key is found as `fanfare serve` finds it. API keys stay valid. Free pages of the data file keep
what the old key sealed until they are used again: if that key has leaked, rotate the secrets of the
webhooks too (fanfare webhooks update --new-secret).")]
    RotateMaster(RotateArgs),
}

#[derive(Args, Debug)]
struct AccountArgs {
    /// The account
    #[arg(long, value_name = "ID")]
    account: String,
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    of: AccountArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
struct OneArgs {
    /// Id of the key (not its text)
    key_id: String,
    #[command(flatten)]
    of: AccountArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
struct CreateArgs {
    /// What the key may do: manage (webhooks), ingest (events), operate (accounts, keys, channels)
    #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPE,...")]
    scopes: Vec<Scope>,
    /// Make the account with this role when it is not there; webhooks need ENTERPRISE
    #[arg(long, value_name = "ROLE")]
    make_account: Option<String>,
    #[command(flatten)]
    of: AccountArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scope {
    Manage,
    Ingest,
    Operate,
}

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Scope::Manage => "manage",
            Scope::Ingest => "ingest",
            Scope::Operate => "operate",
        }
    }
}

/// A key's record, as the API shows it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyRecord {
    id: String,
    account_id: String,
    scopes: Vec<String>,
    created_at: String,
}

/// A key just made.
#[derive(Deserialize)]
struct NewKey {
    id: String,
    key: String,
}

/// Runs the command.
///
/// # Errors
/// Exit 2 when a flag cannot be used, 3 when the server is away or refuses, 4 for the data directory and the master key.
pub(crate) async fn run(args: KeysArgs) -> Result<(), Failure> {
    carry_out(args.command, &mut std::io::stdout()).await
}

async fn carry_out(command: KeysCommand, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    match command {
        KeysCommand::List(args) => list(&args, output).await,
        KeysCommand::Create(args) => create(&args, output).await,
        KeysCommand::Get(args) => get(&args, output).await,
        KeysCommand::Delete(args) => delete(&args, output).await,
        KeysCommand::RotateMaster(args) => rotate::run(&args, output),
    }
}

impl AccountArgs {
    fn path(&self) -> Result<String, Failure> {
        Ok(format!("/v1/accounts/{}", segment("--account", &self.account)?))
    }
}

impl OneArgs {
    fn path(&self) -> Result<String, Failure> {
        Ok(format!("{}/keys/{}", self.of.path()?, segment("the key's id", &self.key_id)?))
    }
}

async fn list(args: &ListArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let path = format!("{}/keys", args.of.path()?);
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(bare(Method::GET, path), "list the keys").await?;
    manager.show(&answer, || {
        let records: Vec<KeyRecord> = answer.read("the list of keys")?;
        let rows: Vec<Vec<String>> = records
            .iter()
            .map(|record| vec![clean(&record.id), shown(&record.created_at), clean(&record.scopes.join(","))])
            .collect();
        Ok(if rows.is_empty() {
            format!("account {} has no keys\n", args.of.account)
        } else {
            Table::new(&["ID", "CREATED (UTC)", "SCOPES"]).page(&rows)
        })
    })
}

async fn create(args: &CreateArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let path = args.of.path()?;
    let mut manager = Manager::new(&args.server, output)?;
    if let Some(role) = &args.make_account {
        let found = manager.try_call(bare(Method::GET, path.as_str())).await?;
        if found.status == StatusCode::NOT_FOUND {
            let body = Map::from_iter([("role".to_owned(), Value::from(role.as_str()))]);
            manager.call(with_body(Method::PUT, path.as_str(), body), "make the account").await?;
        } else if !found.status.is_success() {
            return Err(found.refusal("show the account"));
        }
    }
    let scopes: Vec<&str> = args.scopes.iter().map(|scope| scope.name()).collect();
    let body = Map::from_iter([("scopes".to_owned(), Value::from(scopes.clone()))]);
    let call = with_body(Method::POST, format!("{path}/keys"), body);
    let answer = manager.call(call, "make a key").await.map_err(|mut failure| {
        if failure.message.contains(": 404 ") && args.make_account.is_none() {
            failure.message.push_str("; --make-account ROLE makes an account that is not there");
        }
        failure
    })?;
    manager.show(&answer, || {
        let made: NewKey = answer.read("a new key")?;
        let text = members(&[
            ("key", clean(&made.key)),
            ("id", clean(&made.id)),
            ("account", args.of.account.clone()),
            ("scopes", scopes.join(", ")),
        ]);
        Ok(format!("{text}\nThe key is shown this once and cannot be had again: keep it now.\n"))
    })
}

async fn get(args: &OneArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let path = args.path()?;
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(bare(Method::GET, path), "show the key").await?;
    manager.show(&answer, || {
        let record: KeyRecord = answer.read("a key")?;
        Ok(members(&[
            ("id", clean(&record.id)),
            ("account", clean(&record.account_id)),
            ("scopes", clean(&record.scopes.join(", "))),
            ("created", shown(&record.created_at)),
        ]))
    })
}

async fn delete(args: &OneArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let path = args.path()?;
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(bare(Method::DELETE, path), "delete the key").await?;
    manager.show(&answer, || Ok(format!("key {} is deleted and refused from now on\n", args.key_id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::manage::double::Double;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: KeysArgs,
    }

    async fn ran(server: &Double, words: &[&str]) -> (Result<(), Failure>, String) {
        let line = Line::try_parse_from(server.line(words)).unwrap_or_else(|error| panic!("{error}"));
        let mut output = Vec::new();
        let ended = carry_out(line.args.command, &mut output).await;
        (ended, String::from_utf8(output).unwrap())
    }

    const RECORD: &str = r#"{"id":"K1","accountId":"acme","scopes":["manage","ingest"],"createdAt":"2026-11-24T20:00:00.000Z"}"#;

    #[tokio::test]
    async fn a_new_key_is_shown_once_with_what_it_is_for() {
        let server = Double::start(&[(201, r#"{"id":"K1","key":"fk_new"}"#)]).await;
        let (ended, text) = ran(&server, &["create", "--account", "acme", "--scopes", "manage,ingest"]).await;
        ended.unwrap();
        assert_eq!(server.calls(), [r#"POST /v1/accounts/acme/keys {"scopes":["manage","ingest"]}"#]);
        assert_eq!(
            text,
            "key      fk_new\nid       K1\naccount  acme\nscopes   manage, ingest\n\n\
             The key is shown this once and cannot be had again: keep it now.\n"
        );
    }

    #[tokio::test]
    async fn an_account_is_made_only_when_it_is_not_there() {
        let made = (201, r#"{"id":"K1","key":"fk_new"}"#);
        let words =
            ["create", "--account", "acme", "--scopes", "ingest", "--make-account", "ENTERPRISE", "--json"];
        let missing = (404, r#"{"error":404,"message":"Account not found"}"#);
        let server = Double::start(&[missing, (200, "{}"), made]).await;
        let (ended, text) = ran(&server, &words).await;
        ended.unwrap();
        assert_eq!(text, "{\"id\":\"K1\",\"key\":\"fk_new\"}\n", "--json shows the answer as it is");
        assert_eq!(
            server.calls(),
            [
                "GET /v1/accounts/acme",
                r#"PUT /v1/accounts/acme {"role":"ENTERPRISE"}"#,
                r#"POST /v1/accounts/acme/keys {"scopes":["ingest"]}"#
            ]
        );
        let server = Double::start(&[(200, r#"{"id":"acme","role":"OTHER"}"#), made]).await;
        ran(&server, &words).await.0.unwrap();
        assert_eq!(server.calls().len(), 2, "its role stays: {:?}", server.calls());

        let server = Double::start(&[missing]).await;
        let (ended, _) = ran(&server, &["create", "--account", "acme", "--scopes", "ingest"]).await;
        let failure = ended.unwrap_err();
        assert_eq!(failure.exit, Exit::Server);
        assert!(
            failure.message.ends_with("--make-account ROLE makes an account that is not there"),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn keys_are_listed_shown_and_deleted() {
        let list = format!("[{RECORD}]");
        let server = Double::start(&[(200, &list), (200, RECORD), (204, ""), (204, ""), (200, "[]")]).await;
        let (ended, text) = ran(&server, &["list", "--account", "acme"]).await;
        ended.unwrap();
        assert_eq!(text, "ID  CREATED (UTC)        SCOPES\nK1  2026-11-24 20:00:00  manage,ingest\n");
        let (_, text) = ran(&server, &["get", "--account", "acme", "K1"]).await;
        assert_eq!(
            text,
            "id       K1\naccount  acme\nscopes   manage, ingest\ncreated  2026-11-24 20:00:00\n"
        );
        let (_, text) = ran(&server, &["delete", "--account", "acme", "K1"]).await;
        assert_eq!(text, "key K1 is deleted and refused from now on\n");
        let (_, text) = ran(&server, &["delete", "--account", "acme", "K1", "--json"]).await;
        assert_eq!(text, "", "204 has no JSON");
        let (_, text) = ran(&server, &["list", "--account", "acme"]).await;
        assert_eq!(text, "account acme has no keys\n");
        assert_eq!(
            server.calls()[1..3],
            ["GET /v1/accounts/acme/keys/K1", "DELETE /v1/accounts/acme/keys/K1"]
        );
    }

    #[tokio::test]
    async fn a_slip_of_the_hand_is_told_before_anything_is_called() {
        let server = Double::start(&[]).await;
        let (ended, _) = ran(&server, &["delete", "--account", "acme", "../K1"]).await;
        assert_eq!(ended.unwrap_err().message, "the key's id must be 1 to 128 of A-Z a-z 0-9 _ -");
        let (ended, _) = ran(&server, &["list", "--account", ""]).await;
        assert_eq!(ended.unwrap_err().exit, Exit::Usage);
        assert_eq!(server.calls(), Vec::<String>::new());
    }
}
