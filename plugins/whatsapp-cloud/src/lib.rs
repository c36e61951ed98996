//! `WHATSAPP_CLOUD`: hub events as Meta's WhatsApp Cloud API sends them to its webhooks, so that systems written for that
//! API can be fed unchanged.
//!
//! What it is: the envelope (`object`, `entry`, `changes`, `value`) around what [`messages`] and [`statuses`] write.
//! What it is not: invention; what a hub event does not tell is left out or, where systems rely on it, taken from the
//! settings. Where to start: [`WhatsappCloud::render`]; the README has the whole table.

mod messages;
mod mime;
mod settings;
mod statuses;

use fanfare_plugin::hub::Message;
use fanfare_plugin::{Bodies, Event, Failure, Format, Kind, json};
use settings::Settings;
use std::borrow::Cow;

fanfare_plugin::export!(WhatsappCloud, include_str!("../manifest.json"));

/// The event has no form in Meta's webhooks.
const NO_COUNTERPART: &str = "no_whatsapp_cloud_counterpart";

/// The format with its settings.
#[derive(Debug)]
pub struct WhatsappCloud {
    settings: Settings,
}

impl Format for WhatsappCloud {
    fn configure(settings: &str) -> Result<Self, String> {
        Ok(WhatsappCloud { settings: Settings::read(settings)? })
    }

    fn render(&self, event: &Event<'_>) -> Result<Bodies, Failure> {
        let is_message =
            matches!(event.kind, Kind::MessageReceived | Kind::MessageDelivery | Kind::MessageStatus);
        if !is_message {
            return Err(Failure::skip(NO_COUNTERPART));
        }
        let message = event.message()?.ok_or_else(|| Failure::invalid("payload: missing message"))?;
        let platform = message.metadata.middleware.as_deref().unwrap_or_default();
        if !platform.is_empty() && !platform.to_ascii_uppercase().contains("WHATSAPP") {
            return Err(Failure::skip("not_whatsapp"));
        }
        // A status is of something that was sent, unless the hub says otherwise.
        let is_received = event.kind == Kind::MessageReceived;
        let is_ours = message.metadata.from_me.unwrap_or(!is_received);
        let business = digits_of(if is_ours { &message.sender } else { &message.recipient });
        let phone = event.channel_phone.clone().or(Some(business).filter(|phone| is_number(phone)));
        let frame = Frame { settings: &self.settings, channel: &event.channel_id, phone: phone.as_deref() };
        match (event.kind, is_ours) {
            (Kind::MessageReceived, false) => frame.write("messages", |value| {
                contacts(value, &message)?;
                messages::put(
                    value,
                    &message,
                    event,
                    &messages::Side::Customer { business: phone.as_deref() },
                )
            }),
            (Kind::MessageReceived, true) if self.settings.echoes => {
                frame.write("smb_message_echoes", |value| {
                    messages::put(
                        value,
                        &message,
                        event,
                        &messages::Side::Business { phone: phone.as_deref() },
                    )
                })
            }
            (Kind::MessageReceived, true) => Err(Failure::skip("sent_by_the_business")),
            (_, true) => frame.write("messages", |value| statuses::put(value, &message, event)),
            (_, false) => Err(Failure::skip(NO_COUNTERPART)),
        }
    }
}

/// What stands around every change.
struct Frame<'a> {
    settings: &'a Settings,
    channel: &'a str,
    phone: Option<&'a str>,
}

impl Frame<'_> {
    fn write(
        &self,
        field: &str,
        value: impl FnOnce(&mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<Bodies, Failure> {
        let own = self.settings.channels.get(self.channel);
        let account = own.and_then(|own| own.business_account_id.as_deref());
        let account = account.or(self.settings.business_account_id.as_deref()).unwrap_or(self.channel);
        let phone_id = own.and_then(|own| own.phone_number_id.as_deref()).unwrap_or(self.channel);
        let phone =
            own.and_then(|own| own.display_phone_number.as_deref()).or(self.phone).unwrap_or_default();

        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(br#"{"object":"whatsapp_business_account","entry":[{"#);
        json::put_member(&mut out, "id", account);
        out.extend_from_slice(br#","changes":[{"value":{"messaging_product":"whatsapp","metadata":{"#);
        json::put_member(&mut out, "display_phone_number", phone);
        json::put_member(&mut out, "phone_number_id", phone_id);
        out.push(b'}');
        value(&mut out)?;
        out.push(b'}');
        json::put_member(&mut out, "field", field);
        out.extend_from_slice(b"}]}]}");
        Ok(out.into())
    }
}

/// Who wrote.
fn contacts(out: &mut Vec<u8>, message: &Message<'_>) -> Result<(), Failure> {
    let id = customer_id(message)?;
    let customer = &message.sender;
    let name = customer.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&id);
    out.extend_from_slice(br#","contacts":[{"profile":{"#);
    json::put_member(out, "name", name);
    out.push(b'}');
    json::put_member(out, "wa_id", &id);
    out.extend_from_slice(b"}]");
    Ok(())
}

/// The customer's number of a message that came in.
fn customer_id<'a>(message: &'a Message<'_>) -> Result<Cow<'a, str>, Failure> {
    Some(digits_of(&message.sender))
        .filter(|id| !id.is_empty())
        .ok_or_else(|| Failure::invalid("payload: message.sender has no identifier"))
}

fn digits_of<'a>(party: &'a fanfare_plugin::hub::Party<'_>) -> Cow<'a, str> {
    digits(party.identifier.as_deref().unwrap_or_default())
}

/// A number without what people and platforms put around its digits; what is no number stays as it is.
fn digits(identifier: &str) -> Cow<'_, str> {
    let bare = ["@s.whatsapp.net", "@c.us"]
        .iter()
        .find_map(|suffix| identifier.strip_suffix(suffix))
        .unwrap_or(identifier);
    if is_number(bare) {
        return Cow::Borrowed(bare);
    }
    let is_between = |c: char| matches!(c, '+' | ' ' | '-' | '(' | ')' | '.' | '\u{a0}');
    let stripped: String = bare.chars().filter(|&c| !is_between(c)).collect();
    if is_number(&stripped) { Cow::Owned(stripped) } else { Cow::Borrowed(identifier) }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// When it was written, Unix ms, as far as anything tells.
fn moment_of(message: &Message<'_>, event: &Event<'_>) -> Option<u64> {
    message.metadata.moment.or(message.created).or(event.occurred_at_ms)
}

/// Meta's times are Unix seconds in a string.
fn put_timestamp(out: &mut Vec<u8>, unix_ms: Option<u64>) {
    if let Some(unix_ms) = unix_ms {
        json::put_member(out, "timestamp", &(unix_ms / 1000).to_string());
    }
}

#[cfg(test)]
mod tests;
