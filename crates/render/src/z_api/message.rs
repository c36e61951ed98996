//! Message events: the members every `ReceivedCallback` carries, and the delivery and status callbacks.

use super::content::{self, Kind, Surroundings};
use super::status::{LastState, StatusForm, platform_ids, sent_status};
use super::{Bodies, skip};
use crate::escape::Writer;
use crate::party::{Parties, digits};
use crate::payload::{Object, Refusal};
use fanfare_core::event::Event;
use fanfare_core::limits::PARTS_MAX;
use std::borrow::Cow;

/// `error` of a failed delivery whose state does not say why.
const DEFAULT_ERROR: &str = "Message could not be delivered";

/// A message, with the values worked out that its bodies share.
pub(super) struct Message<'a> {
    message: Object<'a>,
    metadata: Option<Object<'a>>,
    parties: Parties<'a>,
    /// Identifier of who wrote.
    sender: Option<&'a str>,
    id: &'a str,
    instance_id: &'a str,
    /// The chat: the customer, or the group.
    phone: Cow<'a, str>,
    connected_phone: Cow<'a, str>,
    group: Option<Group<'a>>,
    /// When it happened: text of an integer, if anything tells.
    moment: Option<Cow<'a, str>>,
}

/// A group chat. The hub's shape for it is not documented: the identifier stands in `metadata.chat`, alone or as an
/// object with a `name`.
struct Group<'a> {
    name: &'a str,
    participant: Option<Cow<'a, str>>,
}

/// Which of the members of a `ReceivedCallback` a body is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Common {
    Content,
    /// Without `isStatusReply`, `waitingMessage`, `isEdit`.
    Notification,
}

impl<'a> Message<'a> {
    pub(super) fn of(root: Object<'a>, event: &'a Event) -> Result<Self, Refusal> {
        let message = root.object("message", "message")?.ok_or_else(|| root.required("message"))?;
        let metadata = message.object("metadata", "message.metadata")?;
        let parties = Parties::of(message, metadata)?;
        let sender = match parties.sender {
            Some(sender) => sender.text("identifier")?,
            None => None,
        };
        let group = Group::of(metadata, sender)?;

        let known_phone = event.channel_phone.as_deref();
        let connected_phone = match parties.recipient {
            Some(business) if !parties.from_me => business.text("identifier")?.or(known_phone),
            _ => known_phone,
        };
        let moment = match metadata {
            Some(metadata) => metadata.integer("moment")?,
            None => None,
        };
        let moment = match moment {
            Some(moment) => Some(moment),
            None => message.integer("created")?,
        };
        let (phone, group) = match group {
            Some((phone, group)) => (phone, Some(group)),
            None => (digits(parties.customer_identifier()?), None),
        };
        Ok(Message {
            message,
            metadata,
            parties,
            sender,
            id: message.text("_id")?.ok_or_else(|| message.required("_id"))?,
            instance_id: message.text("channel_id")?.unwrap_or(event.channel.as_str()),
            phone,
            connected_phone: connected_phone.map(digits).unwrap_or_default(),
            group,
            moment: moment
                .map(Cow::Borrowed)
                .or_else(|| event.occurred_at_ms.map(|ms| ms.to_string().into())),
        })
    }

    /// One `ReceivedCallback` per item. Items without a Z-API form are left out among others; alone they decide.
    pub(super) fn write_received(&self, out: &mut Writer<'_>, bodies: &mut Bodies) -> Result<(), Refusal> {
        let mut first_skip = None;
        for list in ["contents", "attachments"] {
            let mut items = self.items(list)?;
            while let Some(item) = items.next_object() {
                let item = item?;
                let index = bodies.len();
                if index == PARTS_MAX {
                    return Err(Refusal::Invalid(format!("message has more than {PARTS_MAX} items")));
                }
                match bodies.one(out, |out| self.write_item(out, item, index)) {
                    Err(Refusal::Skip(reason)) => {
                        first_skip.get_or_insert(reason);
                    }
                    written => written?,
                }
            }
        }
        if bodies.len() > 0 {
            return Ok(());
        }
        Err(Refusal::Skip(first_skip.unwrap_or(skip::EMPTY_MESSAGE)))
    }

    fn write_item(&self, out: &mut Writer<'_>, item: Object<'a>, index: usize) -> Result<(), Refusal> {
        let message_id = match index {
            0 => Cow::Borrowed(self.id),
            _ => match item.text("identifier")? {
                Some(identifier) => Cow::Borrowed(identifier),
                None => format!("{}-{index}", self.id).into(),
            },
        };
        let state = if self.parties.from_me { LastState::of(item)?.map(|state| state.name) } else { None };
        self.write_common(out, Common::Content, &message_id, state)?;
        let kind = Kind::of(item)?;
        // A reply names what it answers on the message; some carry it on the item.
        let reply_to = match self.message.text("reply_to")? {
            None if matches!(kind, Some(Kind::ButtonReply | Kind::ListReply)) => item.text("reply_to")?,
            reply_to => reply_to,
        };
        if let Some(reply_to) = reply_to {
            out.member_string("referenceMessageId", reply_to);
        }
        let around = Surroundings {
            moment: self.moment.as_deref(),
            from_me: self.parties.from_me,
            phone: &self.phone,
            sender: self.sender,
            connected_phone: &self.connected_phone,
        };
        content::write(out, kind, item, &around)
    }

    /// The 23 members of every `ReceivedCallback`, or the 20 of a notification.
    fn write_common(
        &self,
        out: &mut Writer<'_>,
        common: Common,
        message_id: &str,
        state: Option<&str>,
    ) -> Result<(), Refusal> {
        let Parties { from_me, sender, .. } = self.parties;
        let customer = self.parties.customer();
        out.member_raw("type", "\"ReceivedCallback\"");
        out.member_string("instanceId", self.instance_id);
        out.member_string("messageId", message_id);
        out.member_string("phone", &self.phone);
        out.member_string("connectedPhone", &self.connected_phone);
        out.member_bool("fromMe", from_me);
        out.member_bool("fromApi", self.flag("from_api")?);
        if let Some(moment) = &self.moment {
            out.member_raw("momment", moment);
        }
        out.member_string("status", if from_me { sent_status(state) } else { "RECEIVED" });
        match &self.group {
            Some(group) => out.member_string("chatName", group.name),
            None => out.member_string("chatName", name_of(customer)?),
        }
        out.member_string("senderName", name_of(sender)?);
        out.member_nullable("senderPhoto", picture_of(sender));
        out.member_nullable("photo", picture_of(customer));
        out.member_raw("chatLid", "null");
        let participant = self.group.as_ref().and_then(|group| group.participant.as_deref());
        out.member_nullable("participantPhone", participant);
        out.member_raw("participantLid", "null");
        out.member_bool("forwarded", self.flag("forwarded")?);
        if common == Common::Content {
            out.member_raw("isStatusReply", "false");
            out.member_raw("waitingMessage", "false");
            out.member_raw("isEdit", "false");
        }
        out.member_bool("isGroup", self.group.is_some());
        out.member_raw("isNewsletter", "false");
        out.member_raw("broadcast", "false");
        Ok(())
    }

    pub(super) fn write_delivery(&self, out: &mut Writer<'_>) -> Result<(), Refusal> {
        let item = self.decisive_item()?;
        let state = item.map(LastState::of).transpose()?.flatten();
        let platform_ids = item.map(platform_ids).transpose()?.unwrap_or_default();
        out.member_raw("type", "\"DeliveryCallback\"");
        out.member_string("phone", &self.phone);
        out.member_string("zaapId", self.id);
        out.member_string("messageId", platform_ids.first().copied().unwrap_or(self.id));
        out.member_string("instanceId", self.instance_id);
        self.write_state_moment(out, state)?;
        if let Some(state) = state.filter(|state| state.name == "FAILED") {
            out.member_string("error", state.error()?.unwrap_or(DEFAULT_ERROR));
        }
        Ok(())
    }

    pub(super) fn write_status(&self, out: &mut Writer<'_>) -> Result<(), Refusal> {
        let item = self.decisive_item()?;
        let state = item.map(LastState::of).transpose()?.flatten();
        let name = state.map_or("", |state| state.name);
        match StatusForm::of(name, self.parties.from_me) {
            StatusForm::Nothing => Err(Refusal::Skip(skip::NO_COUNTERPART)),
            StatusForm::Failed => self.write_delivery(out),
            StatusForm::Revoked => {
                self.write_common(out, Common::Notification, self.id, Some(name))?;
                out.member_raw("notification", "\"REVOKE\"");
                out.member_raw("notificationParameters", "[]");
                out.member_string("referenceMessageId", self.id);
                Ok(())
            }
            StatusForm::Status(status) => {
                let platform_ids = item.map(platform_ids).transpose()?.unwrap_or_default();
                out.member_raw("type", "\"MessageStatusCallback\"");
                out.member_string("instanceId", self.instance_id);
                out.member_string("status", status);
                out.member_open_array("ids");
                out.string(self.id);
                for (index, id) in platform_ids.iter().enumerate() {
                    let is_new =
                        *id != self.id && !platform_ids.iter().take(index).any(|earlier| earlier == id);
                    if is_new {
                        out.string(id);
                    }
                }
                out.close_array();
                self.write_state_moment(out, state)?;
                out.member_string("phone", &self.phone);
                out.member_raw("phoneDevice", "0");
                out.member_bool("isGroup", self.group.is_some());
                Ok(())
            }
        }
    }

    fn write_state_moment(&self, out: &mut Writer<'_>, state: Option<LastState<'a>>) -> Result<(), Refusal> {
        let moment = state.map(|state| state.moment()).transpose()?.flatten();
        if let Some(moment) = moment.or(self.moment.as_deref()) {
            out.member_raw("momment", moment);
        }
        Ok(())
    }

    /// The item an event about the whole message speaks of: the last that carries states, else the last.
    fn decisive_item(&self) -> Result<Option<Object<'a>>, Refusal> {
        let (mut last, mut last_with_state) = (None, None);
        for list in ["contents", "attachments"] {
            let mut items = self.items(list)?;
            while let Some(item) = items.next_object() {
                let item = item?;
                last = Some(item);
                if LastState::of(item)?.is_some() {
                    last_with_state = Some(item);
                }
            }
        }
        Ok(last_with_state.or(last))
    }

    fn items(&self, list: &'static str) -> Result<crate::payload::Array<'a>, Refusal> {
        let path = if list == "contents" { "message.contents" } else { "message.attachments" };
        self.message.array(list, path)
    }

    fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.metadata {
            Some(metadata) => Ok(metadata.bool(name)?.unwrap_or(false)),
            None => Ok(false),
        }
    }
}

impl<'a> Group<'a> {
    /// The chat's phone and the group, when the message is in one.
    fn of(
        metadata: Option<Object<'a>>,
        sender: Option<&'a str>,
    ) -> Result<Option<(Cow<'a, str>, Self)>, Refusal> {
        let Some(metadata) = metadata else { return Ok(None) };
        if !metadata.bool("group")?.unwrap_or(false) {
            return Ok(None);
        }
        let (identifier, name) = match metadata.string_if("chat") {
            Some(identifier) => (Some(identifier), metadata.text("chat_name")?),
            None => match metadata.object("chat", "message.metadata.chat")? {
                Some(chat) => (chat.string("identifier")?, chat.text("name")?),
                None => (None, None),
            },
        };
        let identifier = identifier.filter(|id| !id.is_empty()).ok_or_else(|| metadata.required("chat"))?;
        let number = identifier.strip_suffix("@g.us").unwrap_or(identifier);
        let number = number.strip_suffix("-group").unwrap_or(number);
        let phone = format!("{}-group", digits(number)).into();
        Ok(Some((phone, Group { name: name.unwrap_or(identifier), participant: sender.map(digits) })))
    }
}

/// `name` if it says something, else the identifier.
fn name_of(party: Option<Object<'_>>) -> Result<&str, Refusal> {
    let Some(party) = party else { return Ok("") };
    match party.text("name")? {
        Some(name) => Ok(name),
        None => Ok(party.string("identifier")?.unwrap_or_default()),
    }
}

/// `picture` when it is a web address.
fn picture_of(party: Option<Object<'_>>) -> Option<&str> {
    party?.string_if("picture").filter(|url| content::is_web_url(url))
}
