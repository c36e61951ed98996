//! Events of a channel, without a message: connection, presence, first data, block.

use super::skip;
use crate::escape::Writer;
use crate::party::digits;
use crate::payload::{Object, Refusal};
use fanfare_core::event::{Event, EventKind};

/// `error` of a `DisconnectedCallback` when the hub gives no reason.
const DEFAULT_REASON: &str = "Channel disconnected";

pub(super) fn write(out: &mut Writer<'_>, root: Object<'_>, event: &Event) -> Result<(), Refusal> {
    let body = root.object("event", "event")?.ok_or_else(|| root.required("event"))?;
    let instance_id = body.text("channel_id")?.unwrap_or(event.channel.as_str());
    match event.kind {
        EventKind::Connected => {
            out.member_raw("type", "\"ConnectedCallback\"");
            out.member_raw("connected", "true");
            write_moment(out, body, event)?;
            out.member_string("instanceId", instance_id);
            let phone = body.text("phone")?.or(event.channel_phone.as_deref());
            out.member_string("phone", &phone.map(digits).unwrap_or_default());
        }
        EventKind::Disconnected => {
            out.member_raw("type", "\"DisconnectedCallback\"");
            out.member_raw("disconnected", "true");
            write_moment(out, body, event)?;
            out.member_string("instanceId", instance_id);
            out.member_string("error", body.text("reason")?.unwrap_or(DEFAULT_REASON));
        }
        EventKind::PresenceChat => {
            let presence = body.text("presence")?.ok_or_else(|| body.required("presence"))?;
            let status = presence_status(presence).ok_or(Refusal::Skip(skip::NO_COUNTERPART))?;
            out.member_raw("type", "\"PresenceChatCallback\"");
            out.member_string("instanceId", instance_id);
            out.member_string("phone", &digits(identifier(body)?));
            out.member_raw("lastSeen", body.integer("last_seen")?.unwrap_or("null"));
            out.member_string("status", status);
        }
        EventKind::InitialData => {
            out.member_raw("type", "\"InitialDataCallback\"");
            out.member_string("instanceId", instance_id);
            write_moment(out, body, event)?;
            out.member_raw("data", body.raw("data").unwrap_or("{}"));
        }
        EventKind::Block => {
            out.member_raw("type", "\"BlockCallback\"");
            out.member_string("instanceId", instance_id);
            out.member_string("phone", &digits(identifier(body)?));
            out.member_bool("blocked", body.bool("blocked")?.unwrap_or(true));
            write_moment(out, body, event)?;
        }
        EventKind::MessageReceived | EventKind::MessageDelivery | EventKind::MessageStatus => {
            return Err(Refusal::Skip(skip::NO_COUNTERPART));
        }
    }
    Ok(())
}

fn identifier<'a>(body: Object<'a>) -> Result<&'a str, Refusal> {
    body.text("identifier")?.ok_or_else(|| body.required("identifier"))
}

fn write_moment(out: &mut Writer<'_>, body: Object<'_>, event: &Event) -> Result<(), Refusal> {
    match (body.integer("moment")?, event.occurred_at_ms) {
        (Some(moment), _) => out.member_raw("momment", moment),
        (None, Some(ms)) => out.member_raw("momment", &ms.to_string()),
        (None, None) => {}
    }
    Ok(())
}

/// Z-API's word for a presence, read in any case.
fn presence_status(presence: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 10] = [
        ("AVAILABLE", "AVAILABLE"),
        ("UNAVAILABLE", "UNAVAILABLE"),
        ("COMPOSING", "COMPOSING"),
        ("PAUSED", "PAUSED"),
        ("RECORDING", "RECORDING"),
        ("ONLINE", "AVAILABLE"),
        ("OFFLINE", "UNAVAILABLE"),
        ("TYPING", "COMPOSING"),
        ("STOPPED", "PAUSED"),
        ("RECORDING_AUDIO", "RECORDING"),
    ];
    WORDS.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(presence)).map(|(_, status)| status)
}
