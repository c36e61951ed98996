//! JSON text out: strings that need it are escaped, everything else is copied.
//!
//! [`Writer`] appends to a reused buffer. It keeps no state of its own: whether a comma is due is read off the last
//! byte, so a half-written object can be dropped by truncating the buffer.

/// The short escape of a byte, 0 when it stands for itself, `u` when it needs `\u00XX`.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which rejects an index out of bounds"
)]
const ESCAPES: [u8; 256] = {
    let mut table = [0_u8; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0A] = b'n';
    table[0x0C] = b'f';
    table[0x0D] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

const HEX: [u8; 16] = *b"0123456789abcdef";

/// Appends `text` as the inside of a JSON string: only what must be escaped is.
pub(crate) fn escape_into(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| escape_of(byte) != 0) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        match escape_of(byte) {
            b'u' => {
                let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0xF)]);
            }
            short => out.extend_from_slice(&[b'\\', short]),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

fn escape_of(byte: u8) -> u8 {
    ESCAPES.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Writes JSON values one after the other. Names of members are ours and need no escape.
pub(crate) struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Self {
        Writer { out }
    }

    /// Everything written so far.
    pub(crate) fn written(&self) -> &[u8] {
        self.out
    }

    /// `{` of a new body, whatever stands before it; returns where the body begins.
    pub(crate) fn begin(&mut self) -> usize {
        let start = self.out.len();
        self.out.push(b'{');
        start
    }

    /// Drops everything after `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// `{`, as a member's value or an element.
    pub(crate) fn open(&mut self) {
        self.comma();
        self.out.push(b'{');
    }

    pub(crate) fn close(&mut self) {
        self.out.push(b'}');
    }

    pub(crate) fn open_array(&mut self) {
        self.out.push(b'[');
    }

    pub(crate) fn close_array(&mut self) {
        self.out.push(b']');
    }

    /// `"name":`, with a comma when something stands before it.
    pub(crate) fn name(&mut self, name: &'static str) {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A string value.
    pub(crate) fn string(&mut self, text: &str) {
        self.comma();
        self.out.push(b'"');
        escape_into(self.out, text);
        self.out.push(b'"');
    }

    /// Bytes that are JSON already: numbers as they came, literals, a value passed on.
    pub(crate) fn raw(&mut self, json: &str) {
        self.comma();
        self.out.extend_from_slice(json.as_bytes());
    }

    pub(crate) fn member_string(&mut self, name: &'static str, text: &str) {
        self.name(name);
        self.string(text);
    }

    pub(crate) fn member_raw(&mut self, name: &'static str, json: &str) {
        self.name(name);
        self.raw(json);
    }

    pub(crate) fn member_bool(&mut self, name: &'static str, value: bool) {
        self.member_raw(name, if value { "true" } else { "false" });
    }

    /// The string, or `null`.
    pub(crate) fn member_nullable(&mut self, name: &'static str, text: Option<&str>) {
        self.name(name);
        match text {
            Some(text) => self.string(text),
            None => self.raw("null"),
        }
    }

    pub(crate) fn member_open(&mut self, name: &'static str) {
        self.name(name);
        self.open();
    }

    pub(crate) fn member_open_array(&mut self, name: &'static str) {
        self.name(name);
        self.open_array();
    }

    /// A value follows the last byte directly after an opening, a colon, or at the start; else a comma is due.
    /// Strings end in `"`, so their content cannot mislead.
    fn comma(&mut self) {
        if matches!(self.out.last(), Some(b'"' | b'}' | b']' | b'0'..=b'9' | b'e' | b'l')) {
            self.out.push(b',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        Writer::new(&mut out).string(text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_what_must_be_escaped_is() {
        assert_eq!(escaped("a/é\u{7f}\u{2028}🙂"), "\"a/é\u{7f}\u{2028}🙂\"");
        assert_eq!(escaped("\"\\\u{8}\t\n\u{c}\r\u{0}\u{1f}"), r#""\"\\\b\t\n\f\r\u0000\u001f""#);
    }

    #[test]
    fn commas_stand_between_values_whatever_a_string_ends_in() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.begin();
        writer.member_string("a", "{");
        writer.member_string("b", "[:");
        writer.member_open("c");
        writer.close();
        writer.member_open_array("d");
        for number in ["1", "-2.5e-3"] {
            writer.raw(number);
        }
        writer.open();
        writer.close();
        writer.string("");
        writer.close_array();
        writer.member_bool("e", true);
        writer.member_nullable("f", None);
        writer.member_nullable("g", Some("x"));
        writer.close();
        let expected = r#"{"a":"{","b":"[:","c":{},"d":[1,-2.5e-3,{},""],"e":true,"f":null,"g":"x"}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn strings_survive(text in any::<String>()) {
            prop_assert_eq!(serde_json::from_str::<String>(&escaped(&text)).unwrap(), text);
        }
    }
}
