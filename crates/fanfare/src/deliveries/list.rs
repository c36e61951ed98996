//! `fanfare deliveries list`: one page, or all of them one after another without holding them.

use super::show::{self, Item};
use super::{FilterArgs, WebhookArgs};
use crate::exit::Failure;
use crate::manage::{Manager, ServerArgs, bare};
use clap::Args;
use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::Write;

/// Flags of `fanfare deliveries list`.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Deliveries in one page [default: the server's]
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Go on where a page ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// All pages
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    of: WebhookArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// A page as the API gives it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

pub(super) async fn run(
    args: &ListArgs,
    now_ms: u64,
    output: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let mut query: Vec<(&str, String)> = args.filter.members(now_ms)?;
    query.extend(args.limit.map(|limit| ("limit", limit.to_string())));
    let path = format!("{}/deliveries", args.of.path()?);
    let path = |cursor: Option<&str>| {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(&query);
        form.extend_pairs(cursor.map(|cursor| ("cursor", cursor)));
        let query = form.finish();
        if query.is_empty() { path.clone() } else { format!("{path}?{query}") }
    };
    let mut manager = Manager::new(&args.server, output)?;
    match (args.all, manager.is_json()) {
        (false, true) => {
            let answer = manager.call(bare(Method::GET, path(args.cursor.as_deref())), PURPOSE).await?;
            manager.show(&answer, || Ok(String::new()))
        }
        (true, true) => all_as_json(args, &mut manager, path).await,
        (_, false) => as_table(args, &mut manager, path).await,
    }
}

const PURPOSE: &str = "list the deliveries";

/// Pages below each other. A page that was asked for alone is followed by how to get the next.
async fn as_table(
    args: &ListArgs,
    manager: &mut Manager<'_>,
    path: impl Fn(Option<&str>) -> String,
) -> Result<(), Failure> {
    let mut table = show::table();
    let mut cursor = args.cursor.clone();
    loop {
        let answer = manager.call(bare(Method::GET, path(cursor.as_deref())), PURPOSE).await?;
        let page: Page<Item> = answer.read("the list of deliveries")?;
        let rows: Vec<Vec<String>> =
            page.items.iter().map(|item| show::row(item, &args.of.webhook)).collect();
        manager.print(&table.page(&rows));
        cursor = next(page.next_cursor, cursor)?;
        match &cursor {
            Some(_) if args.all => {}
            Some(cursor) => {
                let cursor = crate::manage::table::clean(cursor);
                manager.print(&format!(
                    "\nThere are more: add --cursor {cursor} for the next page, or --all.\n"
                ));
                return Ok(());
            }
            None => break,
        }
    }
    if !table.is_begun() {
        manager.print("no deliveries\n");
    }
    Ok(())
}

/// One object in the API's shape with the items of every page in it.
async fn all_as_json(
    args: &ListArgs,
    manager: &mut Manager<'_>,
    path: impl Fn(Option<&str>) -> String,
) -> Result<(), Failure> {
    let mut cursor = args.cursor.clone();
    let mut before = "{\"items\":[";
    loop {
        let answer = manager.call(bare(Method::GET, path(cursor.as_deref())), PURPOSE).await?;
        let page: Page<&RawValue> = answer.read("the list of deliveries")?;
        for item in page.items {
            manager.print(before);
            manager.print(item.get());
            before = ",";
        }
        cursor = next(page.next_cursor, cursor)?;
        if cursor.is_none() {
            break;
        }
    }
    if before != "," {
        manager.print(before);
    }
    manager.print("],\"nextCursor\":null}\n");
    Ok(())
}

/// A server whose cursor stands still would be asked for ever.
fn next(next: Option<String>, cursor: Option<String>) -> Result<Option<String>, Failure> {
    if next.is_some() && next == cursor {
        return Err(Failure::server(
            "the server's list does not go on: its next cursor is the one it was asked for",
        ));
    }
    Ok(next)
}
