//! The hub's messages and channel events, typed. Members that are absent or `null` are `None` or empty; members that are
//! not here are passed over. A format that needs one of them reads [`Event::payload_as`](crate::Event::payload_as) into
//! a type of its own.

use crate::event::Text;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The hub body of an event.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Payload<'a> {
    /// Of message events.
    #[serde(borrow, default)]
    pub message: Option<Message<'a>>,
    /// Of channel events.
    #[serde(borrow, default)]
    pub event: Option<ChannelEvent<'a>>,
}

/// A message.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Message<'a> {
    /// Its id.
    #[serde(rename = "_id", borrow, deserialize_with = "text")]
    pub id: Option<Cow<'a, str>>,
    /// The channel's id.
    #[serde(borrow, deserialize_with = "text")]
    pub channel_id: Option<Cow<'a, str>>,
    /// Unix ms.
    pub created: Option<u64>,
    /// Where it came from.
    #[serde(borrow, deserialize_with = "or_default")]
    pub metadata: Metadata<'a>,
    /// Who sent it.
    #[serde(borrow, deserialize_with = "or_default")]
    pub sender: Party<'a>,
    /// Whom it was sent to.
    #[serde(borrow, deserialize_with = "or_default")]
    pub recipient: Party<'a>,
    /// Text and interactive items.
    #[serde(borrow, deserialize_with = "or_default")]
    pub contents: Vec<Item<'a>>,
    /// Media items.
    #[serde(borrow, deserialize_with = "or_default")]
    pub attachments: Vec<Item<'a>>,
    /// The id of the message it answers.
    #[serde(borrow, deserialize_with = "text")]
    pub reply_to: Option<Cow<'a, str>>,
}

/// Where a message came from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Metadata<'a> {
    /// Passed on from another chat.
    pub forwarded: Option<bool>,
    /// Sent through the API.
    pub from_api: Option<bool>,
    /// Sent by the business.
    pub from_me: Option<bool>,
    /// The platform, such as `META_WHATSAPP`.
    #[serde(borrow, deserialize_with = "text")]
    pub middleware: Option<Cow<'a, str>>,
    /// Unix ms.
    pub moment: Option<u64>,
    /// In a group.
    pub group: Option<bool>,
    /// The group's identifier.
    #[serde(borrow, deserialize_with = "text")]
    pub chat: Option<Cow<'a, str>>,
}

/// Sender or recipient.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Party<'a> {
    /// A phone on WhatsApp: country, area and number.
    #[serde(borrow, deserialize_with = "text")]
    pub identifier: Option<Cow<'a, str>>,
    /// As shown.
    #[serde(borrow, deserialize_with = "text")]
    pub name: Option<Cow<'a, str>>,
}

/// One item of a message: the members of all kinds together; [`Item::kind_name`] says which of them to expect.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Item<'a> {
    /// Such as `TEXT` or `IMAGE`.
    #[serde(rename = "type", borrow, deserialize_with = "text")]
    pub kind: Option<Cow<'a, str>>,
    /// Such as `.TextContent`.
    #[serde(rename = "@class", borrow, deserialize_with = "text")]
    pub class: Option<Cow<'a, str>>,
    /// The item's id.
    #[serde(borrow, deserialize_with = "text")]
    pub identifier: Option<Cow<'a, str>>,
    /// History of states, the last one current.
    #[serde(borrow, deserialize_with = "or_default")]
    pub state_items: Vec<StateItem<'a>>,
    /// What the hub keeps beside the item.
    #[serde(borrow, deserialize_with = "or_default")]
    pub internal_information: Internal<'a>,
    /// Text of most contents.
    #[serde(borrow, deserialize_with = "text")]
    pub message: Option<Cow<'a, str>>,
    /// Of media.
    #[serde(borrow, deserialize_with = "text")]
    pub url: Option<Cow<'a, str>>,
    /// Of media.
    #[serde(borrow, deserialize_with = "text")]
    pub caption: Option<Cow<'a, str>>,
    /// Of media.
    #[serde(borrow, deserialize_with = "text")]
    pub mime_type: Option<Cow<'a, str>>,
    /// Of documents.
    #[serde(borrow, deserialize_with = "text")]
    pub file_name: Option<Cow<'a, str>>,
    /// Of documents and locations.
    #[serde(borrow, deserialize_with = "text")]
    pub name: Option<Cow<'a, str>>,
    /// Of documents, without the dot.
    #[serde(borrow, deserialize_with = "text")]
    pub extension: Option<Cow<'a, str>>,
    /// Of audio: recorded in the chat.
    pub voice: Option<bool>,
    /// Of stickers.
    pub animated: Option<bool>,
    /// Of locations: a number or a numeric string.
    #[serde(borrow)]
    pub latitude: Option<&'a RawValue>,
    /// Of locations: a number or a numeric string.
    #[serde(borrow)]
    pub longitude: Option<&'a RawValue>,
    /// Of locations.
    #[serde(borrow, deserialize_with = "text")]
    pub address: Option<Cow<'a, str>>,
    /// Of reactions: the emoji, empty when taken back.
    #[serde(borrow, deserialize_with = "text")]
    pub reaction: Option<Cow<'a, str>>,
    /// Of reactions: the message reacted to.
    #[serde(borrow, deserialize_with = "text")]
    pub message_id: Option<Cow<'a, str>>,
    /// Of replies to buttons and lists.
    #[serde(borrow, deserialize_with = "text")]
    pub id: Option<Cow<'a, str>>,
    /// Of replies to buttons and lists.
    #[serde(borrow, deserialize_with = "text")]
    pub title: Option<Cow<'a, str>>,
    /// Of replies to lists.
    #[serde(borrow, deserialize_with = "text")]
    pub description: Option<Cow<'a, str>>,
    /// Of contact cards.
    #[serde(borrow, deserialize_with = "or_default")]
    pub contacts: Vec<Contact<'a>>,
    /// Of one contact card.
    #[serde(borrow, deserialize_with = "text")]
    pub first_name: Option<Cow<'a, str>>,
    /// Of one contact card.
    #[serde(borrow, deserialize_with = "text")]
    pub last_name: Option<Cow<'a, str>>,
    /// Of one contact card.
    #[serde(borrow, deserialize_with = "texts")]
    pub phones: Vec<Cow<'a, str>>,
}

/// What the hub keeps beside an item.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Internal<'a> {
    /// The platform's id of the message.
    #[serde(borrow, deserialize_with = "text")]
    pub integration_id: Option<Cow<'a, str>>,
}

/// A contact card.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Contact<'a> {
    /// First name.
    #[serde(borrow, deserialize_with = "text")]
    pub first_name: Option<Cow<'a, str>>,
    /// Last name.
    #[serde(borrow, deserialize_with = "text")]
    pub last_name: Option<Cow<'a, str>>,
    /// Whole name.
    #[serde(borrow, deserialize_with = "text")]
    pub name: Option<Cow<'a, str>>,
    /// Phones, as the sender wrote them.
    #[serde(borrow, deserialize_with = "texts")]
    pub phones: Vec<Cow<'a, str>>,
}

/// A state an item was in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StateItem<'a> {
    /// The platform's ids of the message.
    #[serde(borrow, deserialize_with = "texts")]
    pub integration_message_ids: Vec<Cow<'a, str>>,
    /// Unix ms.
    pub moment: Option<u64>,
    /// Which state.
    #[serde(borrow, deserialize_with = "or_default")]
    pub state: State<'a>,
    /// Of a failure: its text.
    #[serde(borrow, deserialize_with = "text")]
    pub error: Option<Cow<'a, str>>,
    /// Of a failure: its code.
    #[serde(borrow, deserialize_with = "text")]
    pub error_code: Option<Cow<'a, str>>,
}

/// A state.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct State<'a> {
    /// Such as `SENT`.
    #[serde(borrow, deserialize_with = "text")]
    pub name: Option<Cow<'a, str>>,
}

/// What happened to a channel.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ChannelEvent<'a> {
    /// The channel's id.
    #[serde(borrow, deserialize_with = "text")]
    pub channel_id: Option<Cow<'a, str>>,
    /// Unix ms.
    pub moment: Option<u64>,
    /// The platform, such as `META_WHATSAPP`.
    #[serde(borrow, deserialize_with = "text")]
    pub middleware: Option<Cow<'a, str>>,
    /// Of `CONNECTED` and `DISCONNECTED`.
    pub connected: Option<bool>,
    /// Of `CONNECTED`: the channel's phone.
    #[serde(borrow, deserialize_with = "text")]
    pub phone: Option<Cow<'a, str>>,
    /// Of `DISCONNECTED`.
    #[serde(borrow, deserialize_with = "text")]
    pub reason: Option<Cow<'a, str>>,
    /// Of `PRESENCE_CHAT` and `BLOCK`: the customer.
    #[serde(borrow, deserialize_with = "text")]
    pub identifier: Option<Cow<'a, str>>,
    /// Of `PRESENCE_CHAT`.
    #[serde(borrow, deserialize_with = "text")]
    pub presence: Option<Cow<'a, str>>,
    /// Of `BLOCK`.
    pub blocked: Option<bool>,
    /// Of `INITIAL_DATA`, as it came.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    /// Whether the business sent it.
    #[must_use]
    pub fn is_from_business(&self) -> bool {
        self.metadata.from_me.unwrap_or(false)
    }

    /// Who is talked to: the recipient of what the business sent, else the sender.
    #[must_use]
    pub fn customer(&self) -> &Party<'a> {
        if self.is_from_business() { &self.recipient } else { &self.sender }
    }

    /// The other one.
    #[must_use]
    pub fn business(&self) -> &Party<'a> {
        if self.is_from_business() { &self.sender } else { &self.recipient }
    }

    /// Contents, then attachments.
    pub fn items(&self) -> impl Iterator<Item = &Item<'a>> {
        self.contents.iter().chain(&self.attachments)
    }
}

impl<'a> Item<'a> {
    /// What it is, in upper case such as `TEXT`: its `type`, else by the name of its class. Empty where nothing tells.
    #[must_use]
    pub fn kind_name(&self) -> Cow<'_, str> {
        if let Some(kind) = self.kind.as_deref().filter(|kind| !kind.is_empty()) {
            return Cow::Borrowed(kind);
        }
        let class = self.class.as_deref().unwrap_or_default();
        let class = class.rsplit('.').next().unwrap_or(class);
        let bare = ["Content", "Attachment"].iter().find_map(|ending| class.strip_suffix(ending));
        let mut name = String::new();
        for letter in bare.unwrap_or(class).chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_uppercase());
        }
        Cow::Owned(name)
    }

    /// The state it is in.
    #[must_use]
    pub fn state(&self) -> Option<&StateItem<'a>> {
        self.state_items.last()
    }

    /// The platform's ids of the message: those of the last state that has any, else the item's own.
    #[must_use]
    pub fn platform_ids(&self) -> Vec<&str> {
        let with_ids = self.state_items.iter().rev().find(|state| !state.integration_message_ids.is_empty());
        match with_ids {
            Some(state) => state.integration_message_ids.iter().map(|id| &**id).collect(),
            None => self.internal_information.integration_id.as_deref().into_iter().collect(),
        }
    }
}

fn text<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    Ok(Option::<Text<'a>>::deserialize(deserializer)?.map(|text| text.0))
}

fn texts<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Cow<'a, str>>, D::Error> {
    let list = Option::<Vec<Text<'a>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(list.into_iter().map(|text| text.0).collect())
}

/// `null` is as good as absent.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_null_are_the_same() {
        let nulls =
            r#"{"message":{"_id":null,"metadata":null,"sender":null,"contents":null,"reply_to":null}}"#;
        for text in [r#"{"message":{}}"#, nulls] {
            let message =
                serde_json::from_str::<Payload<'_>>(text).expect("a payload").message.expect("a message");
            assert_eq!((message.id, message.contents.len(), message.metadata.from_me), (None, 0, None));
        }
        assert!(serde_json::from_str::<Payload<'_>>("{}").expect("a payload").message.is_none());
    }

    #[test]
    fn members_of_another_type_are_refused() {
        for text in [r#"{"message":1}"#, r#"{"message":{"_id":1}}"#, r#"{"message":{"contents":{}}}"#] {
            assert!(serde_json::from_str::<Payload<'_>>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_customer_is_the_other_side() {
        let read = |from_me: bool| {
            let text = format!(
                r#"{{"message":{{"metadata":{{"from_me":{from_me}}},"sender":{{"identifier":"s"}},"recipient":{{"identifier":"r"}}}}}}"#
            );
            let payload: Payload<'_> = serde_json::from_str(&text).expect("a payload");
            let message = payload.message.expect("a message");
            let of = |party: &Party<'_>| party.identifier.clone().unwrap_or_default().into_owned();
            (of(message.customer()), of(message.business()))
        };
        assert_eq!(read(true), ("r".into(), "s".into()));
        assert_eq!(read(false), ("s".into(), "r".into()));
    }

    #[test]
    fn a_kind_is_told_by_the_type_or_by_the_class() {
        let kind = |text: &str| {
            let item: Item<'_> = serde_json::from_str(text).expect("an item");
            item.kind_name().into_owned()
        };
        assert_eq!(kind(r#"{"type":"TEXT","@class":".ImageAttachment"}"#), "TEXT");
        assert_eq!(kind(r#"{"@class":".ContactArrayContent"}"#), "CONTACT_ARRAY");
        assert_eq!(kind(r#"{"@class":"com.x.domain.ImageAttachment","type":""}"#), "IMAGE");
        assert_eq!(kind("{}"), "");
    }

    #[test]
    fn platform_ids_are_those_of_the_last_state_that_has_any() {
        let ids = |text: &str| {
            let item: Item<'_> = serde_json::from_str(text).expect("an item");
            item.platform_ids().join(" ")
        };
        let states = r#"{"state_items":[{"integration_message_ids":["a"]},{"integration_message_ids":["b","c"]},{}],"internal_information":{"integration_id":"d"}}"#;
        assert_eq!(ids(states), "b c");
        assert_eq!(ids(r#"{"internal_information":{"integration_id":"d"}}"#), "d");
        assert_eq!(ids("{}"), "");
    }
}
