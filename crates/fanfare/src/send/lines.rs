//! Event lines, made fit to be sent again: every event gets an id, so that a batch whose answer was lost can be
//! repeated and counts as duplicates instead of being delivered twice.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead};

/// Longest line sent, bytes: what the server takes in one request, less the batch's other lines.
pub(crate) const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What is done to each event.
#[derive(Clone, Debug)]
pub(crate) struct Rewrite {
    /// Begins every id made: differs from run to run, so that ids do too.
    pub(crate) run: String,
    /// Whether ids given are replaced as well.
    pub(crate) renews_ids: bool,
    /// Put in place of `channelId`.
    pub(crate) channel: Option<String>,
}

impl Rewrite {
    /// Appends the event of `line` to `body`. A line that is no JSON object goes as it is: the server says by its
    /// index what is wrong with it. The payload's bytes stay as they are.
    pub(crate) fn append(&self, line: &[u8], pass: u64, line_number: u64, body: &mut Vec<u8>) {
        let Ok(members) = serde_json::from_slice::<Members<'_>>(line) else {
            body.extend_from_slice(line);
            return;
        };
        let has_id = members.0.iter().any(|(name, value)| name == "id" && value.get() != "null");
        if has_id && !self.renews_ids && self.channel.is_none() {
            body.extend_from_slice(line);
            return;
        }
        body.push(b'{');
        if !has_id || self.renews_ids {
            body.extend_from_slice(format!("\"id\":\"{}-{pass}-{line_number}\"", self.run).as_bytes());
        }
        for (name, value) in &members.0 {
            let replaced = match (name.as_ref(), &self.channel) {
                ("id", _) if !has_id || self.renews_ids => continue,
                ("channelId", Some(channel)) => Some(serde_json::Value::from(channel.as_str()).to_string()),
                _ => None,
            };
            if body.last() != Some(&b'{') {
                body.push(b',');
            }
            body.extend_from_slice(serde_json::Value::from(name.as_ref()).to_string().as_bytes());
            body.push(b':');
            body.extend_from_slice(replaced.as_deref().unwrap_or(value.get()).as_bytes());
        }
        if let Some(channel) =
            self.channel.as_ref().filter(|_| members.0.iter().all(|(name, _)| name != "channelId"))
        {
            body.extend_from_slice(
                format!(",\"channelId\":{}", serde_json::Value::from(channel.as_str())).as_bytes(),
            );
        }
        body.push(b'}');
    }
}

/// The members of an object in their order, repeated ones too, values as they were written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(6);
                while let Some(member) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((member.0.0, member.1));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// A member's name, borrowed unless it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// One line read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Its bytes are in the buffer.
    Event,
    /// Nothing but white space.
    Blank,
    /// Longer than [`LINE_BYTES_MAX`]; passed over.
    TooLong,
    /// No more.
    End,
}

/// Reads the next line into `buffer`, without its end; never more than [`LINE_BYTES_MAX`] is held.
pub(crate) fn read_line(input: &mut dyn BufRead, buffer: &mut Vec<u8>) -> io::Result<Line> {
    buffer.clear();
    let mut is_too_long = false;
    let mut is_end = true;
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            break;
        }
        is_end = false;
        let (piece, used, is_whole) = match available.iter().position(|byte| *byte == b'\n') {
            Some(at) => (available.get(..at).unwrap_or_default(), at + 1, true),
            None => (available, available.len(), false),
        };
        is_too_long |= buffer.len() + piece.len() > LINE_BYTES_MAX;
        if !is_too_long {
            buffer.extend_from_slice(piece);
        }
        input.consume(used);
        if is_whole {
            break;
        }
    }
    if buffer.last() == Some(&b'\r') {
        buffer.pop();
    }
    Ok(match (is_end, is_too_long) {
        (true, _) => Line::End,
        (_, true) => Line::TooLong,
        _ if buffer.iter().all(u8::is_ascii_whitespace) => Line::Blank,
        _ => Line::Event,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn rewritten(line: &str, renews_ids: bool, channel: Option<&str>) -> String {
        let rewrite = Rewrite { run: "R".into(), renews_ids, channel: channel.map(str::to_owned) };
        let mut body = Vec::new();
        rewrite.append(line.as_bytes(), 2, 7, &mut body);
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn an_event_with_an_id_goes_as_it_is() {
        let line = r#" { "id" : "a", "type":"BLOCK","payload":{ "x" : 1.0 } } "#;
        assert_eq!(rewritten(line, false, None), line);
    }

    #[test]
    fn missing_ids_are_made_and_given_ones_renewed_on_demand() {
        let payload = r#"{ "n" : 12345678901234567890123, "n":1 }"#;
        let with = format!(r#"{{"type":"BLOCK","id":"a","payload":{payload}}}"#);
        let without = format!(r#"{{"type":"BLOCK","payload":{payload}}}"#);
        let null = format!(r#"{{"type":"BLOCK","id":null,"payload":{payload}}}"#);
        let made = format!(r#"{{"id":"R-2-7","type":"BLOCK","payload":{payload}}}"#);
        assert_eq!(rewritten(&without, false, None), made);
        assert_eq!(rewritten(&null, false, None), made);
        assert_eq!(rewritten(&with, true, None), made);
        assert_eq!(rewritten("{}", false, None), r#"{"id":"R-2-7"}"#);
    }

    #[test]
    fn the_channel_is_replaced_or_added() {
        assert_eq!(
            rewritten(r#"{"id":"a","channelId":"x","k\u0022":1}"#, false, Some("C")),
            r#"{"id":"a","channelId":"C","k\"":1}"#
        );
        assert_eq!(rewritten(r#"{"id":"a"}"#, false, Some("C")), r#"{"id":"a","channelId":"C"}"#);
    }

    #[test]
    fn what_is_no_object_goes_as_it_is() {
        for line in ["[1]", "{\"a\":", "nonsense", "{} trailing"] {
            assert_eq!(rewritten(line, true, Some("C")), line);
        }
    }

    #[test]
    fn lines_are_read_in_bounds() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let longest = "y".repeat(LINE_BYTES_MAX);
        let text = format!("one\r\n\n  \n{long}\n{longest}\nlast");
        let mut input = BufReader::with_capacity(1000, text.as_bytes());
        let mut buffer = Vec::new();
        let mut next = || {
            let line = read_line(&mut input, &mut buffer).unwrap();
            assert!(buffer.len() <= LINE_BYTES_MAX);
            (line, String::from_utf8(buffer.clone()).unwrap())
        };
        assert_eq!(next(), (Line::Event, "one".into()));
        assert_eq!(next().0, Line::Blank);
        assert_eq!(next().0, Line::Blank);
        assert_eq!(next().0, Line::TooLong);
        assert_eq!(next(), (Line::Event, longest));
        assert_eq!(next(), (Line::Event, "last".into()));
        assert_eq!(next().0, Line::End);
    }
}
