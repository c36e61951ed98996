//! Contacts: `displayName`, `phones`, and a vCard 3.0 with real line feeds.

use crate::escape::Writer;
use crate::party::{digits, is_number};
use crate::payload::{Object, Refusal};
use std::borrow::Cow;

/// Writes the object of one contact as the next value.
pub(crate) fn write_contact(out: &mut Writer<'_>, contact: Object<'_>) -> Result<(), Refusal> {
    let mut phones = Vec::new();
    let mut told = contact.array("phones", "contact.phones")?;
    while let Some(phone) = told.next_string() {
        let phone = digits(phone?);
        if !phone.is_empty() {
            phones.push(phone);
        }
    }
    let first_name = contact.text("first_name")?;
    let last_name = contact.text("last_name")?;
    let display_name: Cow<'_, str> = match (contact.text("name")?, first_name, last_name, phones.first()) {
        (Some(name), ..) => name.into(),
        (None, Some(first), Some(last), _) => format!("{first} {last}").into(),
        (None, Some(only), None, _) | (None, None, Some(only), _) => only.into(),
        (None, None, None, Some(phone)) => phone.clone(),
        (None, None, None, None) => "Unknown".into(),
    };

    out.open();
    out.member_string("displayName", &display_name);
    out.member_open_array("phones");
    for phone in &phones {
        out.string(phone);
    }
    out.close_array();
    out.member_string("vCard", &v_card(&display_name, first_name, last_name, &phones));
    out.close();
    Ok(())
}

/// Built as a string of its own: contacts are rare, and its escapes are escaped once more in JSON.
fn v_card(
    display_name: &str,
    first_name: Option<&str>,
    last_name: Option<&str>,
    phones: &[Cow<'_, str>],
) -> String {
    let mut card = String::from("BEGIN:VCARD\nVERSION:3.0\nN:");
    escape_text(&mut card, last_name.unwrap_or_default());
    card.push(';');
    escape_text(&mut card, first_name.unwrap_or(display_name));
    card.push_str(";;;\nFN:");
    escape_text(&mut card, display_name);
    for phone in phones {
        card.push_str("\nTEL;type=CELL;type=VOICE");
        if is_number(phone) {
            card.push_str(";waid=");
            card.push_str(phone);
            card.push_str(":+");
            card.push_str(phone);
        } else {
            // Not a number: no WhatsApp id to name, and it may hold what would end the line.
            card.push(':');
            escape_text(&mut card, phone);
        }
    }
    card.push_str("\nEND:VCARD");
    card
}

/// RFC 2426, section 4: text values.
fn escape_text(card: &mut String, text: &str) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' | ';' | ',' => {
                card.push('\\');
                card.push(c);
            }
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' | '\n' => card.push_str("\\n"),
            _ => card.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_cannot_be_broken_by_what_it_holds() {
        let phones = [Cow::Borrowed("5531977110099"), Cow::Borrowed("ramal;7\nEND:VCARD")];
        let card = v_card("Ana, \"A\\B\"; C\r\nD\rE\nF", Some("Ana;"), Some("B,C"), &phones);
        assert_eq!(
            card,
            "BEGIN:VCARD\nVERSION:3.0\nN:B\\,C;Ana\\;;;;\nFN:Ana\\, \"A\\\\B\"\\; C\\nD\\nE\\nF\n\
             TEL;type=CELL;type=VOICE;waid=5531977110099:+5531977110099\n\
             TEL;type=CELL;type=VOICE:ramal\\;7\\nEND:VCARD\nEND:VCARD"
        );
    }
}
