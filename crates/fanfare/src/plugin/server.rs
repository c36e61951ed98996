//! The formats of a running server.

use super::files;
use crate::client::Call;
use crate::exit::Failure;
use crate::manage::table::{Table, clean, or_dash};
use crate::manage::{Manager, ServerArgs, bare, segment};
use bytes::Bytes;
use clap::Args;
use fanfare_plugin_host::inspect_component;
use http::Method;
use serde::Deserialize;
use std::io::Write;
use std::path::PathBuf;

/// Flags of `list`.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Flags of `put`.
#[derive(Args, Debug)]
pub(super) struct PutArgs {
    /// The plugin
    file: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

/// Flags of what is done with one format.
#[derive(Args, Debug)]
pub(super) struct OneArgs {
    /// Name of the format
    name: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// A format, as the API answers it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FormatAnswer {
    name: String,
    source: String,
    version: String,
    generation: u64,
    quarantined: bool,
    former_version: Option<String>,
}

impl FormatAnswer {
    fn row(&self) -> Vec<String> {
        vec![
            clean(&self.name),
            clean(&self.source),
            clean(&self.version),
            self.generation.to_string(),
            if self.quarantined { "LEFT ALONE" } else { "READY" }.to_owned(),
            or_dash(self.former_version.as_deref()),
        ]
    }
}

fn table(formats: &[FormatAnswer]) -> String {
    let rows: Vec<_> = formats.iter().map(FormatAnswer::row).collect();
    Table::new(&["NAME", "SOURCE", "VERSION", "GENERATION", "STATE", "FORMER"]).page(&rows)
}

pub(super) async fn list(args: &ListArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    const WHAT: &str = "list formats";
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(bare(Method::GET, "/v1/formats"), WHAT).await?;
    manager.show(&answer, || Ok(table(&answer.read::<Vec<FormatAnswer>>(WHAT)?)))
}

pub(super) async fn put(args: &PutArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    const WHAT: &str = "put the plugin";
    let bytes = files::read_plugin(&args.file)?;
    let shown = args.file.display();
    let manifest = inspect_component(&bytes)
        .and_then(|found| found.manifest)
        .map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
    let signature = files::read_signature(&args.file)?;
    let mut manager = Manager::new(&args.server, output)?;
    let call = Call {
        method: Method::PUT,
        path: format!("/v1/formats/{}", segment("the plugin's name", &manifest.name)?),
        body: Some(("application/wasm", Bytes::from(bytes))),
        plugin_signature: signature.map(hex::encode),
    };
    let answer = manager.call(call, WHAT).await?;
    manager.show(&answer, || Ok(table(&[answer.read(WHAT)?])))
}

async fn one(
    args: &OneArgs,
    (method, action): (Method, &str),
    purpose: &str,
    output: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let name = segment("NAME", &args.name)?;
    let mut manager = Manager::new(&args.server, output)?;
    let answer = manager.call(bare(method, format!("/v1/formats/{name}{action}")), purpose).await?;
    manager.show(&answer, || {
        if answer.body.is_empty() {
            return Ok(format!("{name} is deleted\n"));
        }
        Ok(table(&[answer.read(purpose)?]))
    })
}

pub(super) async fn delete(args: &OneArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    one(args, (Method::DELETE, ""), "delete the format", output).await
}

pub(super) async fn roll_back(args: &OneArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    one(args, (Method::POST, "/rollback"), "roll the format back", output).await
}

pub(super) async fn lift(args: &OneArgs, output: &mut (dyn Write + Send)) -> Result<(), Failure> {
    one(args, (Method::POST, "/lift"), "lift the format", output).await
}
