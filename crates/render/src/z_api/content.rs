//! The content member of a `ReceivedCallback`, one function per kind of item.

use super::contact::write_contact;
use super::mime::{Media, last_segment, mime_of, stem};
use super::skip;
use crate::escape::Writer;
use crate::party::digits;
use crate::payload::{NumberOrText, Object, Refusal};
use std::borrow::Cow;

/// What an item's content needs of its message.
pub(super) struct Surroundings<'m> {
    pub(super) moment: Option<&'m str>,
    pub(super) from_me: bool,
    /// The chat.
    pub(super) phone: &'m str,
    /// Identifier of who wrote.
    pub(super) sender: Option<&'m str>,
    /// Our own phone, empty when not known.
    pub(super) connected_phone: &'m str,
}

/// The kinds of item the mapping knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Image,
    Audio,
    Video,
    Sticker,
    Document,
    Contact,
    ContactArray,
    Location,
    Reaction,
    ButtonReply,
    ListReply,
    InteractiveButton,
    InteractiveAction,
    Template,
}

impl Kind {
    /// By `type`, else by the last word of `@class` (short `.TextContent` or a full Java name).
    pub(super) fn of(item: Object<'_>) -> Result<Option<Self>, Refusal> {
        let by_type = match item.string("type")?.unwrap_or_default() {
            "TEXT" => Kind::Text,
            "IMAGE" => Kind::Image,
            "AUDIO" => Kind::Audio,
            "VIDEO" => Kind::Video,
            "STICKER" => Kind::Sticker,
            "DOCUMENT" => Kind::Document,
            "CONTACT" => Kind::Contact,
            "CONTACT_ARRAY" => Kind::ContactArray,
            "LOCATION" => Kind::Location,
            "REACTION" => Kind::Reaction,
            "BUTTON_REPLY" => Kind::ButtonReply,
            "LIST_REPLY" => Kind::ListReply,
            "INTERACTIVE_BUTTON" => Kind::InteractiveButton,
            "INTERACTIVE_ACTION" => Kind::InteractiveAction,
            "TEMPLATE" => Kind::Template,
            _ => return Self::of_class(item.string("@class")?.unwrap_or_default()),
        };
        Ok(Some(by_type))
    }

    fn of_class(class: &str) -> Result<Option<Self>, Refusal> {
        Ok(Some(match class.rsplit('.').next().unwrap_or_default() {
            "TextContent" => Kind::Text,
            "ImageAttachment" => Kind::Image,
            "AudioAttachment" => Kind::Audio,
            "VideoAttachment" => Kind::Video,
            "StickerAttachment" => Kind::Sticker,
            "DocumentAttachment" => Kind::Document,
            "ContactContent" => Kind::Contact,
            "ContactArrayContent" => Kind::ContactArray,
            "LocationContent" => Kind::Location,
            "ReactionContent" => Kind::Reaction,
            "ButtonReplyContent" => Kind::ButtonReply,
            "ListReplyContent" => Kind::ListReply,
            "InteractiveButtonContent" => Kind::InteractiveButton,
            "InteractiveActionContent" => Kind::InteractiveAction,
            "TemplateContent" => Kind::Template,
            _ => return Ok(None),
        }))
    }
}

/// Writes the item's content member (and its extension, for several contacts); `kind` is [`Kind::of`] it.
pub(super) fn write(
    out: &mut Writer<'_>,
    kind: Option<Kind>,
    item: Object<'_>,
    around: &Surroundings<'_>,
) -> Result<(), Refusal> {
    match kind {
        Some(Kind::Text) => write_text(out, item.string("message")?.ok_or(UNSUPPORTED)?),
        Some(Kind::Image) => write_media(out, "image", item, write_image)?,
        Some(Kind::Audio) => write_media(out, "audio", item, write_audio)?,
        Some(Kind::Video) => write_media(out, "video", item, write_video)?,
        Some(Kind::Sticker) => write_media(out, "sticker", item, write_sticker)?,
        Some(Kind::Document) => write_media(out, "document", item, write_document)?,
        Some(Kind::Contact) => {
            out.name("contact");
            write_contact(out, item)?;
        }
        Some(Kind::ContactArray) => write_contacts(out, item)?,
        Some(Kind::Location) => {
            out.name("location");
            write_location(out, item)?;
        }
        Some(Kind::Reaction) => write_reaction(out, item, around)?,
        Some(Kind::ButtonReply) => write_button_reply(out, item)?,
        Some(Kind::ListReply) => write_list_reply(out, item)?,
        Some(Kind::InteractiveButton) => write_buttons_message(out, item)?,
        Some(Kind::InteractiveAction) => write_hydrated_template(out, item, Template::Action)?,
        Some(Kind::Template) => write_hydrated_template(out, item, Template::Named)?,
        None => write_unknown(out, item)?,
    }
    Ok(())
}

/// What is required of an item is not there.
const UNSUPPORTED: Refusal = Refusal::Skip(skip::UNSUPPORTED_CONTENT);

pub(super) fn is_web_url(url: &str) -> bool {
    ["http://", "https://"]
        .into_iter()
        .any(|scheme| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

fn write_text(out: &mut Writer<'_>, message: &str) {
    out.member_open("text");
    out.member_string("message", message);
    out.close();
}

/// A class nobody mapped still delivers what it says or links to.
fn write_unknown(out: &mut Writer<'_>, item: Object<'_>) -> Result<(), Refusal> {
    if let Some(message) = item.string_if("message").filter(|message| !message.is_empty()) {
        write_text(out, message);
        return Ok(());
    }
    let url = item.string_if("url").filter(|url| is_web_url(url)).ok_or(UNSUPPORTED)?;
    let file_name = last_segment(url);
    out.member_open("document");
    out.member_string("documentUrl", url);
    out.member_string("mimeType", mime_of(Media::Document, item.text("mime_type")?, None, url));
    out.member_string("fileName", file_name);
    out.member_string("title", stem(file_name));
    out.member_raw("pageCount", "0");
    write_if_text(out, "caption", item, "caption")?;
    out.close();
    Ok(())
}

/// `"member":{…}` of an item that has a `url`.
fn write_media(
    out: &mut Writer<'_>,
    member: &'static str,
    item: Object<'_>,
    write: fn(&mut Writer<'_>, Object<'_>, &str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let url = item.text("url")?.ok_or(UNSUPPORTED)?;
    out.member_open(member);
    write(out, item, url)?;
    out.close();
    Ok(())
}

fn write_image(out: &mut Writer<'_>, item: Object<'_>, url: &str) -> Result<(), Refusal> {
    out.member_string("imageUrl", url);
    write_if_text(out, "thumbnailUrl", item, "thumbnail_url")?;
    out.member_string("caption", item.string("caption")?.unwrap_or_default());
    out.member_string("mimeType", mime_of(Media::Image, item.text("mime_type")?, None, url));
    write_if_number(out, "width", item, "width")?;
    write_if_number(out, "height", item, "height")?;
    out.member_bool("viewOnce", item.bool("view_once")?.unwrap_or(false));
    Ok(())
}

fn write_audio(out: &mut Writer<'_>, item: Object<'_>, url: &str) -> Result<(), Refusal> {
    out.member_string("audioUrl", url);
    out.member_string("mimeType", mime_of(Media::Audio, item.text("mime_type")?, None, url));
    if let Some(voice) = item.bool("voice")? {
        out.member_bool("ptt", voice);
    }
    write_if_number(out, "seconds", item, "seconds")?;
    out.member_raw("viewOnce", "false");
    Ok(())
}

fn write_video(out: &mut Writer<'_>, item: Object<'_>, url: &str) -> Result<(), Refusal> {
    out.member_string("videoUrl", url);
    out.member_string("caption", item.string("caption")?.unwrap_or_default());
    out.member_string("mimeType", mime_of(Media::Video, item.text("mime_type")?, None, url));
    write_if_number(out, "seconds", item, "seconds")?;
    out.member_raw("viewOnce", "false");
    Ok(())
}

fn write_sticker(out: &mut Writer<'_>, item: Object<'_>, url: &str) -> Result<(), Refusal> {
    out.member_string("stickerUrl", url);
    out.member_string("mimeType", mime_of(Media::Sticker, item.text("mime_type")?, None, url));
    Ok(())
}

fn write_document(out: &mut Writer<'_>, item: Object<'_>, url: &str) -> Result<(), Refusal> {
    let name = item.text("name")?;
    let extension = item.text("extension")?;
    let file_name: Cow<'_, str> = match (item.text("file_name")?, name, extension) {
        (Some(file_name), ..) => file_name.into(),
        (None, Some(name), Some(extension)) => {
            format!("{name}.{}", extension.strip_prefix('.').unwrap_or(extension)).into()
        }
        (None, ..) => last_segment(url).into(),
    };
    out.member_string("documentUrl", url);
    out.member_string("mimeType", mime_of(Media::Document, item.text("mime_type")?, extension, url));
    out.member_string("fileName", &file_name);
    out.member_string("title", name.unwrap_or_else(|| stem(&file_name)));
    out.member_raw("pageCount", "0");
    write_if_text(out, "caption", item, "caption")
}

fn write_contacts(out: &mut Writer<'_>, item: Object<'_>) -> Result<(), Refusal> {
    let contacts = item.array("contacts", "contacts")?;
    let first = contacts.clone().next_object().ok_or(UNSUPPORTED)??;
    out.name("contact");
    write_contact(out, first)?;
    if contacts.len() > 1 {
        let mut all = contacts;
        out.member_open_array("contacts");
        while let Some(contact) = all.next_object() {
            write_contact(out, contact?)?;
        }
        out.close_array();
    }
    Ok(())
}

/// The object of a location as the next value.
fn write_location(out: &mut Writer<'_>, item: Object<'_>) -> Result<(), Refusal> {
    out.open();
    out.member_raw("longitude", &coordinate(item, "longitude", 180.0)?);
    out.member_raw("latitude", &coordinate(item, "latitude", 90.0)?);
    out.member_string("address", item.string("address")?.unwrap_or_default());
    out.member_string("url", item.string("url")?.unwrap_or_default());
    write_if_text(out, "name", item, "name")?;
    out.close();
    Ok(())
}

/// A coordinate within `±max`: a number as it came; a numeric string as the number it spells, its digits kept when
/// JSON writes them the same way.
fn coordinate<'a>(item: Object<'a>, name: &str, max: f64) -> Result<Cow<'a, str>, Refusal> {
    const BAD: Refusal = Refusal::Skip(skip::BAD_LOCATION);
    let (text, is_json) = match item.number_or_text(name).ok_or(BAD)? {
        NumberOrText::Number(text) => (text, true),
        NumberOrText::Text(text) => {
            let text = text.trim();
            (text, serde_json::from_str::<serde_json::Number>(text).is_ok())
        }
    };
    let value: f64 = text.parse().map_err(|_| BAD)?;
    if !(-max..=max).contains(&value) {
        return Err(BAD);
    }
    // `+23.5`, `.5` and `7.` are numbers to people, not to JSON.
    Ok(if is_json { Cow::Borrowed(text) } else { Cow::Owned(value.to_string()) })
}

fn write_reaction(out: &mut Writer<'_>, item: Object<'_>, around: &Surroundings<'_>) -> Result<(), Refusal> {
    let value = item.string("reaction")?.ok_or(UNSUPPORTED)?;
    let message_id = item.text("message_id")?.ok_or(UNSUPPORTED)?;
    let reaction_by = match around.from_me {
        true => Some(Cow::Borrowed(around.connected_phone)).filter(|phone| !phone.is_empty()),
        false => around.sender.map(digits),
    };
    out.member_open("reaction");
    out.member_string("value", value);
    if let Some(moment) = around.moment {
        out.member_raw("time", moment);
    }
    if let Some(phone) = &reaction_by {
        out.member_string("reactionBy", phone);
    }
    out.member_open("referencedMessage");
    out.member_string("messageId", message_id);
    out.member_bool("fromMe", item.bool("from_me")?.unwrap_or(!around.from_me));
    out.member_string("phone", around.phone);
    out.member_raw("participant", "null");
    out.close();
    out.close();
    Ok(())
}

fn write_button_reply(out: &mut Writer<'_>, item: Object<'_>) -> Result<(), Refusal> {
    let id = item.string("id")?.ok_or(UNSUPPORTED)?;
    out.member_open("buttonsResponseMessage");
    out.member_string("buttonId", id);
    out.member_string("message", item.string("title")?.unwrap_or_default());
    out.close();
    Ok(())
}

fn write_list_reply(out: &mut Writer<'_>, item: Object<'_>) -> Result<(), Refusal> {
    let id = item.string("id")?.ok_or(UNSUPPORTED)?;
    out.member_open("listResponseMessage");
    out.member_string("selectedRowId", id);
    out.member_string("title", item.string("title")?.unwrap_or_default());
    out.member_string("message", item.string("description")?.unwrap_or_default());
    out.close();
    Ok(())
}

fn write_buttons_message(out: &mut Writer<'_>, item: Object<'_>) -> Result<(), Refusal> {
    let message = item.string("message")?;
    let mut buttons = item.array("buttons", "buttons")?;
    if message.is_none() && buttons.len() == 0 {
        return Err(UNSUPPORTED);
    }
    let media = match item.object("internal_information", "internal_information")? {
        Some(information) => information.string("mediaButtonType")?.unwrap_or_default(),
        None => "",
    };
    let thumbnail = item.text("thumbnail")?;
    out.member_open("buttonsMessage");
    out.member_nullable("imageUrl", thumbnail.filter(|_| media == "IMAGE"));
    out.member_nullable("videoUrl", thumbnail.filter(|_| media == "VIDEO"));
    out.member_string("message", message.unwrap_or_default());
    out.member_open_array("buttons");
    while let Some(button) = buttons.next_object() {
        let button = button?;
        out.open();
        out.member_string("buttonId", button.string("id")?.unwrap_or_default());
        out.member_raw("type", "1");
        out.member_open("buttonText");
        out.member_string("displayText", button.string("title")?.unwrap_or_default());
        out.close();
        out.close();
    }
    out.close_array();
    out.close();
    Ok(())
}

/// Which hub item a `hydratedTemplate` is made from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Template {
    /// INTERACTIVE_ACTION: no template behind it, no media header.
    Action,
    /// TEMPLATE.
    Named,
}

fn write_hydrated_template(
    out: &mut Writer<'_>,
    item: Object<'_>,
    template: Template,
) -> Result<(), Refusal> {
    let header = item.object("header", "header")?;
    let footer = item.object("footer", "footer")?;
    let mut buttons = item.array("buttons", "buttons")?;
    let message = item.string("message")?;
    let named = match template {
        Template::Action if message.is_none() && buttons.len() == 0 => return Err(UNSUPPORTED),
        Template::Action => None,
        Template::Named => item.object("template", "template")?,
    };
    let template_id = match named {
        Some(named) => match named.text("id")? {
            Some(id) => id,
            None => named.string("name")?.unwrap_or_default(),
        },
        None => "",
    };

    out.member_open("hydratedTemplate");
    out.member_open("header");
    if let Some(header) = header.filter(|_| template == Template::Named) {
        write_media_header(out, header)?;
    }
    out.close();
    out.member_string("message", message.unwrap_or_default());
    out.member_string("title", said_by(header)?);
    out.member_string("footer", said_by(footer)?);
    out.member_string("templateId", template_id);
    out.member_open_array("hydratedButtons");
    let mut index = 0;
    while let Some(button) = buttons.next_object() {
        write_hydrated_button(out, button?, index)?;
        index += 1;
    }
    out.close_array();
    out.close();
    Ok(())
}

/// A header that is a media item itself; one that lacks its source leaves the header empty.
fn write_media_header(out: &mut Writer<'_>, header: Object<'_>) -> Result<(), Refusal> {
    let start = out.written().len();
    let written = match header.string("type")?.unwrap_or_default() {
        "IMAGE" => write_media(out, "image", header, write_image),
        "VIDEO" => write_media(out, "video", header, write_video),
        "DOCUMENT" => write_media(out, "document", header, write_document),
        "LOCATION" => {
            out.name("location");
            write_location(out, header)
        }
        _ => Ok(()),
    };
    match written {
        Err(Refusal::Skip(_)) => {
            out.truncate(start);
            Ok(())
        }
        written => written,
    }
}

fn said_by<'a>(part: Option<Object<'a>>) -> Result<&'a str, Refusal> {
    match part {
        Some(part) => Ok(part.string("message")?.unwrap_or_default()),
        None => Ok(""),
    }
}

fn write_hydrated_button(out: &mut Writer<'_>, button: Object<'_>, index: usize) -> Result<(), Refusal> {
    let title = button.string("title")?.unwrap_or_default();
    let url = button.string("url")?;
    out.open();
    out.member_raw("index", &index.to_string());
    match button.string("type")?.unwrap_or_default() {
        "CALL" | "PHONE_NUMBER" => {
            out.member_open("callButton");
            out.member_string("displayText", title);
            out.member_string("phoneNumber", button.string("phone")?.unwrap_or_default());
        }
        // One-time-password buttons are links in Z-API as well, so a link decides where the type does not.
        kind if kind == "URL" || url.is_some() => {
            out.member_open("urlButton");
            out.member_string("displayText", title);
            out.member_string("url", url.unwrap_or_default());
        }
        _ => {
            out.member_open("quickReplyButton");
            out.member_string("displayText", title);
            out.member_string("id", button.string("id")?.unwrap_or_default());
        }
    }
    out.close();
    out.close();
    Ok(())
}

fn write_if_text(
    out: &mut Writer<'_>,
    name: &'static str,
    item: Object<'_>,
    from: &str,
) -> Result<(), Refusal> {
    if let Some(text) = item.text(from)? {
        out.member_string(name, text);
    }
    Ok(())
}

fn write_if_number(
    out: &mut Writer<'_>,
    name: &'static str,
    item: Object<'_>,
    from: &str,
) -> Result<(), Refusal> {
    if let Some(number) = item.number(from)? {
        out.member_raw(name, number);
    }
    Ok(())
}
