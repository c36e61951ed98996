//! Deliveries as people read them, and their short names.

use crate::manage::table::{Table, clean, members, or_dash};
use crate::manage::times::{shown, shown_or_dash};
use serde::Deserialize;

/// A delivery as the API shows it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    /// Missing when its record is too damaged to tell.
    id: Option<String>,
    event_id: Option<String>,
    r#type: Option<String>,
    status: String,
    reason: Option<String>,
    created_at: Option<String>,
    ended_at: Option<String>,
    attempt_count: u64,
    next_attempt_at: Option<String>,
    last_failure: Option<String>,
    last_status: Option<u16>,
    /// Of one delivery only.
    #[serde(default)]
    attempts: Vec<Attempt>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attempt {
    number: u64,
    started_at: String,
    duration_ms: f64,
    status: Option<u16>,
    failure: Option<String>,
    detail: Option<String>,
    response: Option<String>,
}

/// The short name of a delivery of this webhook: the event, and which body when it is not the first. A `/` stands in no
/// id, so a short name is never taken for another id.
fn short_id(id: &str, webhook: &str) -> String {
    let split = id.rsplit_once(&format!("-{}", webhook.to_uppercase()));
    match split.map(|(event, rest)| (event, rest.strip_prefix('-'), rest)) {
        Some((event, None, "")) if !event.is_empty() => clean(event),
        Some((event, Some(body), _)) if !event.is_empty() && is_number(body) => {
            clean(&format!("{event}/{body}"))
        }
        _ => clean(id),
    }
}

/// The id of a delivery of this webhook from either of its names.
pub(super) fn long_id(name: &str, webhook: &str) -> String {
    let webhook = webhook.to_uppercase();
    if let Some((event, body)) = name.split_once('/') {
        return if is_number(body) { format!("{event}-{webhook}-{body}") } else { name.to_owned() };
    }
    let is_long = name.rsplit_once(&format!("-{webhook}")).is_some_and(|(event, rest)| {
        !event.is_empty() && (rest.is_empty() || rest.strip_prefix('-').is_some_and(is_number))
    });
    if is_long { name.to_owned() } else { format!("{name}-{webhook}") }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The table that [`row`] fills.
pub(super) fn table() -> Table {
    Table::new(&["DELIVERY", "TYPE", "STATUS", "ATTEMPTS", "CREATED (UTC)", "WHY"])
}

/// One line of the list.
pub(super) fn row(item: &Item, webhook: &str) -> Vec<String> {
    vec![
        item.id.as_deref().map_or_else(|| "-".to_owned(), |id| short_id(id, webhook)),
        or_dash(item.r#type.as_deref()),
        clean(&item.status),
        item.attempt_count.to_string(),
        shown_or_dash(item.created_at.as_deref()),
        why(item),
    ]
}

/// The reason it ended, or what the last attempt met.
fn why(item: &Item) -> String {
    let mut parts = Vec::new();
    parts.extend(item.reason.as_deref().map(clean));
    // A failed attempt long delivered by now is no news.
    if item.status != "DELIVERED" {
        match (item.last_failure.as_deref(), item.last_status) {
            (_, Some(status)) => parts.push(status.to_string()),
            (Some(failure), None) => parts.push(clean(failure)),
            (None, None) => {}
        }
    }
    if parts.is_empty() { "-".to_owned() } else { parts.join(" ") }
}

/// Everything about one delivery.
pub(super) fn one(item: &Item) -> String {
    let mut text = members(&[
        ("id", or_dash(item.id.as_deref())),
        ("event", or_dash(item.event_id.as_deref())),
        ("type", or_dash(item.r#type.as_deref())),
        ("status", clean(&item.status)),
        ("reason", or_dash(item.reason.as_deref())),
        ("created", shown_or_dash(item.created_at.as_deref())),
        ("ended", shown_or_dash(item.ended_at.as_deref())),
        ("next attempt", shown_or_dash(item.next_attempt_at.as_deref())),
        ("attempts", item.attempt_count.to_string()),
        ("last failure", or_dash(item.last_failure.as_deref())),
        ("last status", item.last_status.map_or_else(|| "-".to_owned(), |status| status.to_string())),
    ]);
    if item.attempts.is_empty() {
        return text;
    }
    let rows: Vec<Vec<String>> = item
        .attempts
        .iter()
        .map(|attempt| {
            vec![
                attempt.number.to_string(),
                shown(&attempt.started_at),
                format!("{} ms", attempt.duration_ms),
                attempt.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
                or_dash(attempt.failure.as_deref()),
                or_dash(attempt.detail.as_deref()),
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(
        &Table::new(&["ATTEMPT", "STARTED (UTC)", "TOOK", "STATUS", "FAILURE", "DETAIL"]).page(&rows),
    );
    for attempt in &item.attempts {
        if let Some(response) = attempt.response.as_deref().filter(|response| !response.is_empty()) {
            text.push_str(&format!("\nresponse to attempt {}:\n  {}\n", attempt.number, clean(response)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEBHOOK: &str = "0190F3A27C5B7E118D2A4C6B9E01F3D5";

    #[test]
    fn short_names_and_ids_are_the_same_deliveries() {
        for (short, event) in [("e1", "e1"), ("a-1", "a-1"), ("0190F3A2-x_y", "0190F3A2-x_y")] {
            let id = format!("{event}-{WEBHOOK}");
            assert_eq!(short_id(&id, WEBHOOK), short);
            assert_eq!(long_id(short, WEBHOOK), id);
            assert_eq!(long_id(&id, WEBHOOK), id);
            let id = format!("{id}-12");
            assert_eq!(short_id(&id, WEBHOOK), format!("{short}/12"));
            assert_eq!(long_id(&format!("{short}/12"), WEBHOOK), id);
            assert_eq!(long_id(&id, WEBHOOK), id);
        }
        let lower = WEBHOOK.to_lowercase();
        assert_eq!(long_id("e1", &lower), format!("e1-{WEBHOOK}"));
        assert_eq!(short_id(&format!("e1-{WEBHOOK}"), &lower), "e1");
    }

    #[test]
    fn what_is_no_delivery_of_the_webhook_stays_as_it_is() {
        for other in ["e1-OTHER", &format!("e1-{WEBHOOK}-x"), &format!("-{WEBHOOK}"), ""] {
            assert_eq!(short_id(other, WEBHOOK), other);
        }
        assert_eq!(long_id("e1/x", WEBHOOK), "e1/x", "refused as a path");
        // An event may be named like a webhook.
        assert_eq!(long_id(WEBHOOK, WEBHOOK), format!("{WEBHOOK}-{WEBHOOK}"));
    }
}
