//! `value.statuses`: what became of a message that was sent.

use crate::{NO_COUNTERPART, digits_of, moment_of, put_timestamp};
use fanfare_plugin::hub::{Message, StateItem};
use fanfare_plugin::{Event, Failure, Kind, json};

/// Meta's code for a failure that nothing is known of.
const UNKNOWN_ERROR: u64 = 131_000;
const UNKNOWN_TITLE: &str = "Something went wrong";

pub(crate) fn put(out: &mut Vec<u8>, message: &Message<'_>, event: &Event<'_>) -> Result<(), Failure> {
    // The last item that has a state tells the message's.
    let item = message.items().filter(|item| item.state().is_some()).last();
    let state = item.and_then(|item| item.state());
    let status = match state.and_then(|state| state.state.name.as_deref()) {
        Some("SENT") => "sent",
        Some("DELIVERED" | "RECEIVED") => "delivered",
        // Whoever played it has read it; systems know no further word.
        Some("READ" | "PLAYED") => "read",
        Some("FAILED") => "failed",
        // A confirmation without a state is one all the same.
        None if event.kind == Kind::MessageDelivery => "delivered",
        _ => return Err(Failure::skip(NO_COUNTERPART)),
    };
    let mut ids: Vec<&str> = Vec::new();
    for id in item.map(|item| item.platform_ids()).unwrap_or_default() {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if ids.is_empty() {
        ids.extend(message.id.as_deref());
    }
    if ids.is_empty() {
        return Err(Failure::invalid("payload: message has no id"));
    }
    let moment = state.and_then(|state| state.moment).or_else(|| moment_of(message, event));
    out.extend_from_slice(br#","statuses":["#);
    for (index, id) in ids.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
        json::put_member(out, "id", id);
        json::put_member(out, "status", status);
        put_timestamp(out, moment);
        json::put_member(out, "recipient_id", &digits_of(&message.recipient));
        if status == "failed" {
            put_errors(out, state);
        }
        out.push(b'}');
    }
    out.push(b']');
    Ok(())
}

fn put_errors(out: &mut Vec<u8>, state: Option<&StateItem<'_>>) {
    let text = state.and_then(|state| state.error.as_deref()).filter(|text| !text.is_empty());
    let told = state.and_then(|state| state.error_code.as_deref()).filter(|code| !code.is_empty());
    let code = told.and_then(|code| code.parse().ok()).unwrap_or(UNKNOWN_ERROR);
    let title = text.unwrap_or(UNKNOWN_TITLE);
    json::put_raw(out, "errors", "[{");
    json::put_raw(out, "code", &code.to_string());
    json::put_member(out, "title", title);
    json::put_member(out, "message", title);
    json::put_raw(out, "error_data", "{");
    // A code that is no number is kept where people look.
    let details = match told.filter(|_| code == UNKNOWN_ERROR) {
        Some(told) if told != "131000" => format!("{told}: {title}"),
        _ => title.to_owned(),
    };
    json::put_member(out, "details", &details);
    out.extend_from_slice(b"}}]");
}
