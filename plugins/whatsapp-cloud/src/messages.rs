//! `value.messages` (what customers sent) and `value.message_echoes` (what the business sent).

use crate::{customer_id, digits, digits_of, mime, moment_of, put_timestamp};
use fanfare_plugin::hub::{Contact, Item, Message};
use fanfare_plugin::{Event, Failure, RawValue, json};
use std::borrow::Cow;

/// Who sent it.
pub(crate) enum Side<'a> {
    /// The customer; the business' number, if known.
    Customer { business: Option<&'a str> },
    /// The business; its number, if known.
    Business { phone: Option<&'a str> },
}

/// Meta's own notice of something that its webhooks cannot tell.
const UNSUPPORTED: &str = r#"[{"code":131051,"title":"Message type unknown","message":"Message type unknown","error_data":{"details":"Message type is currently not supported."}}]"#;

/// Writes every item as a message of one body, contents first.
pub(crate) fn put(
    out: &mut Vec<u8>,
    message: &Message<'_>,
    event: &Event<'_>,
    side: &Side<'_>,
) -> Result<(), Failure> {
    let list = match side {
        Side::Customer { .. } => "messages",
        Side::Business { .. } => "message_echoes",
    };
    json::put_raw(out, list, "[");
    let mut count = 0_usize;
    for item in message.items() {
        out.extend_from_slice(if count == 0 { b"{" } else { b",{" });
        match side {
            Side::Customer { .. } => json::put_member(out, "from", &customer_id(message)?),
            Side::Business { phone } => {
                json::put_member(out, "from", phone.unwrap_or_default());
                json::put_member(out, "to", &digits_of(&message.recipient));
            }
        }
        json::put_member(out, "id", &id(message, item, count)?);
        put_timestamp(out, moment_of(message, event));
        put_context(out, message, item, side);
        if message.metadata.group == Some(true)
            && let Some(chat) = &message.metadata.chat
        {
            json::put_member(out, "group_id", chat);
        }
        put_content(out, item);
        out.push(b'}');
        count += 1;
    }
    if count == 0 {
        return Err(Failure::skip("empty_message"));
    }
    out.push(b']');
    Ok(())
}

/// The platform's id, which Meta's own calls take; else the hub's, for further items with what tells them apart.
fn id<'a>(message: &'a Message<'_>, item: &'a Item<'_>, index: usize) -> Result<Cow<'a, str>, Failure> {
    if let Some(id) = item.platform_ids().first().filter(|id| !id.is_empty()) {
        return Ok(Cow::Owned((*id).to_owned()));
    }
    let own = message.id.as_deref().filter(|id| !id.is_empty());
    let further = item.identifier.as_deref().filter(|id| index > 0 && !id.is_empty());
    match (own, further) {
        (_, Some(further)) => Ok(Cow::Borrowed(further)),
        (Some(own), None) if index > 0 => Ok(Cow::Owned(format!("{own}-{index}"))),
        (Some(own), None) => Ok(Cow::Borrowed(own)),
        (None, None) => Err(Failure::invalid("payload: message has no id")),
    }
}

/// What it answers, and whether it was passed on. `from` is told only where it is certain: a reply to buttons or to a
/// list answers the business.
fn put_context(out: &mut Vec<u8>, message: &Message<'_>, item: &Item<'_>, side: &Side<'_>) {
    let reply_to = message.reply_to.as_deref().filter(|id| !id.is_empty());
    let is_forwarded = message.metadata.forwarded == Some(true);
    if reply_to.is_none() && !is_forwarded {
        return;
    }
    json::put_raw(out, "context", "{");
    if is_forwarded {
        json::put_raw(out, "forwarded", "true");
    }
    if let Some(reply_to) = reply_to {
        let is_reply = matches!(&*item.kind_name(), "BUTTON_REPLY" | "LIST_REPLY");
        if let (Side::Customer { business: Some(business) }, true) = (side, is_reply) {
            json::put_member(out, "from", business);
        }
        json::put_member(out, "id", reply_to);
    }
    out.push(b'}');
}

fn put_content(out: &mut Vec<u8>, item: &Item<'_>) {
    let is_put = match &*item.kind_name() {
        "TEXT" => put_text(out, item),
        "IMAGE" => put_media(out, item, "image", Some("image"), "image/jpeg"),
        "VIDEO" => put_media(out, item, "video", Some("video"), "video/mp4"),
        "AUDIO" => put_media(out, item, "audio", Some("audio"), "audio/ogg; codecs=opus"),
        "STICKER" => put_media(out, item, "sticker", Some("image"), "image/webp"),
        "DOCUMENT" => put_media(out, item, "document", None, "application/octet-stream"),
        "LOCATION" => put_location(out, item),
        "CONTACT_ARRAY" => put_contacts(out, &item.contacts),
        "CONTACT" => put_contacts(out, &[one_contact(item)]),
        "REACTION" => put_reaction(out, item),
        "BUTTON_REPLY" => put_reply(out, item, "button_reply"),
        "LIST_REPLY" => put_reply(out, item, "list_reply"),
        // Kinds of the hub that Meta's webhooks do not know: their text or file, if they have one.
        _ => put_text(out, item) || put_media(out, item, "document", None, "application/octet-stream"),
    };
    if !is_put {
        json::put_member(out, "type", "unsupported");
        json::put_raw(out, "errors", UNSUPPORTED);
    }
}

fn put_text(out: &mut Vec<u8>, item: &Item<'_>) -> bool {
    let Some(text) = item.message.as_deref().filter(|text| !text.is_empty()) else { return false };
    json::put_member(out, "type", "text");
    json::put_raw(out, "text", "{");
    json::put_member(out, "body", text);
    out.push(b'}');
    true
}

/// `url` is where the hub keeps it; Meta's `sha256` is unknown.
fn put_media(
    out: &mut Vec<u8>,
    item: &Item<'_>,
    name: &str,
    class: Option<&str>,
    fallback: &'static str,
) -> bool {
    let is_http = |url: &&str| url.starts_with("https://") || url.starts_with("http://");
    let Some(url) = item.url.as_deref().filter(is_http) else { return false };
    let extension = item.extension.as_deref();
    json::put_member(out, "type", name);
    json::put_raw(out, name, "{");
    if let Some(caption) = item.caption.as_deref().filter(|caption| !caption.is_empty()) {
        json::put_member(out, "caption", caption);
    }
    if name == "document"
        && let Some(file_name) = file_name(item, url)
    {
        json::put_member(out, "filename", &file_name);
    }
    json::put_member(out, "mime_type", mime::of(item.mime_type.as_deref(), extension, url, class, fallback));
    if let Some(id) = item.identifier.as_deref() {
        json::put_member(out, "id", id);
    }
    json::put_member(out, "url", url);
    match name {
        "audio" => json::put_raw(out, "voice", bool_text(item.voice)),
        "sticker" => json::put_raw(out, "animated", bool_text(item.animated)),
        _ => {}
    }
    out.push(b'}');
    true
}

const fn bool_text(value: Option<bool>) -> &'static str {
    if matches!(value, Some(true)) { "true" } else { "false" }
}

fn file_name<'a>(item: &'a Item<'_>, url: &'a str) -> Option<Cow<'a, str>> {
    let filled = |text: &'a Option<Cow<'_, str>>| text.as_deref().filter(|text| !text.is_empty());
    if let Some(name) = filled(&item.file_name) {
        return Some(Cow::Borrowed(name));
    }
    match (filled(&item.name), filled(&item.extension)) {
        (Some(name), Some(extension)) => Some(Cow::Owned(format!("{name}.{extension}"))),
        (Some(name), None) => Some(Cow::Borrowed(name)),
        (None, _) => mime::last_segment(url).map(Cow::Borrowed),
    }
}

fn put_location(out: &mut Vec<u8>, item: &Item<'_>) -> bool {
    let (Some(latitude), Some(longitude)) = (degrees(item.latitude, 90.0), degrees(item.longitude, 180.0))
    else {
        return false;
    };
    json::put_member(out, "type", "location");
    json::put_raw(out, "location", "{");
    json::put_raw(out, "latitude", latitude);
    json::put_raw(out, "longitude", longitude);
    for (name, text) in [("name", &item.name), ("address", &item.address), ("url", &item.url)] {
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            json::put_member(out, name, text);
        }
    }
    out.push(b'}');
    true
}

/// A number as JSON, digits as they came; the hub also writes it as a string.
fn degrees(told: Option<&RawValue>, most: f64) -> Option<&str> {
    let text = told?.get();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).trim();
    // What JSON takes as a number, and nothing else that Rust takes as one.
    let number: f64 = serde_json::from_str(text).ok()?;
    (-most..=most).contains(&number).then_some(text)
}

fn one_contact<'a>(item: &Item<'a>) -> Contact<'a> {
    Contact {
        first_name: item.first_name.clone(),
        last_name: item.last_name.clone(),
        name: item.name.clone(),
        phones: item.phones.clone(),
    }
}

fn put_contacts(out: &mut Vec<u8>, contacts: &[Contact<'_>]) -> bool {
    if contacts.is_empty() {
        return false;
    }
    json::put_member(out, "type", "contacts");
    json::put_raw(out, "contacts", "[");
    for (index, contact) in contacts.iter().enumerate() {
        out.extend_from_slice(if index == 0 { br#"{"name":{"# } else { br#",{"name":{"# });
        json::put_member(out, "formatted_name", &shown_name(contact));
        for (name, text) in [("first_name", &contact.first_name), ("last_name", &contact.last_name)] {
            if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                json::put_member(out, name, text);
            }
        }
        out.push(b'}');
        json::put_raw(out, "phones", "[");
        for (index, phone) in contact.phones.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
            json::put_member(out, "phone", phone);
            let id = digits(phone);
            if crate::is_number(&id) {
                json::put_member(out, "wa_id", &id);
            }
            json::put_member(out, "type", "CELL");
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
    }
    out.push(b']');
    true
}

fn shown_name<'a>(contact: &'a Contact<'_>) -> Cow<'a, str> {
    let filled = |text: &'a Option<Cow<'_, str>>| text.as_deref().filter(|text| !text.is_empty());
    match (filled(&contact.name), filled(&contact.first_name), filled(&contact.last_name)) {
        (Some(name), _, _) => Cow::Borrowed(name),
        (None, Some(first), Some(last)) => Cow::Owned(format!("{first} {last}")),
        (None, Some(name), None) | (None, None, Some(name)) => Cow::Borrowed(name),
        (None, None, None) => Cow::Borrowed(contact.phones.first().map_or("", |phone| &**phone)),
    }
}

/// One that was taken back has no emoji.
fn put_reaction(out: &mut Vec<u8>, item: &Item<'_>) -> bool {
    let Some(message_id) = item.message_id.as_deref().filter(|id| !id.is_empty()) else { return false };
    json::put_member(out, "type", "reaction");
    json::put_raw(out, "reaction", "{");
    json::put_member(out, "message_id", message_id);
    if let Some(emoji) = item.reaction.as_deref().filter(|emoji| !emoji.is_empty()) {
        json::put_member(out, "emoji", emoji);
    }
    out.push(b'}');
    true
}

fn put_reply(out: &mut Vec<u8>, item: &Item<'_>, name: &str) -> bool {
    let Some(id) = item.id.as_deref() else { return false };
    json::put_member(out, "type", "interactive");
    json::put_raw(out, "interactive", "{");
    json::put_member(out, "type", name);
    json::put_raw(out, name, "{");
    json::put_member(out, "id", id);
    json::put_member(out, "title", item.title.as_deref().unwrap_or_default());
    if let Some(description) = item.description.as_deref().filter(|text| !text.is_empty()) {
        json::put_member(out, "description", description);
    }
    out.extend_from_slice(b"}}");
    true
}
