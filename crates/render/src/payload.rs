//! Reading a payload: simd-json's tape over a private copy, with this thread's buffers.
//!
//! simd-json parses in place, so it is given a copy, never the event's bytes. A tape holds strings decoded but numbers
//! as machine numbers, which would change `-19.9167000` or `18446744073709551616`. A string in the tape begins at the
//! very byte where it began in the source (in-place decoding only shortens it), so the text of a member's value is
//! found in the source behind the member's name: [`Object::number`] and [`Object::raw`] are exact.
//!
//! What simd-json refuses though JSON allows it is mended in the copy and read again, see `payload/mend.rs`.

mod mend;

use mend::{is_json, mend};
use simd_json::{Buffers, INPUT_PADDING, Node, StaticNode, Tape, fill_tape_padded};
use std::cell::Cell;

/// Buffers that grew beyond this by one large event are given back instead of being kept by the thread.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// Why an event has no body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has no form in the format: a reason code.
    Skip(&'static str),
    /// It is not what an event of its kind looks like: a text naming the member.
    Invalid(String),
}

#[derive(Default)]
struct Scratch {
    text: Vec<u8>,
    buffers: Buffers,
    tape: Option<Tape<'static>>,
    out: Vec<u8>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Parses `payload` and hands its root object to `read`, with an empty buffer to write to.
///
/// # Errors
/// [`Refusal::Invalid`] when it is not a JSON object; whatever `read` refuses.
pub(crate) fn with_payload<T>(
    payload: &[u8],
    read: impl FnOnce(Object<'_>, &mut Vec<u8>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    // Taken, not borrowed: should `read` panic, the buffers are lost and the next call makes new ones.
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let Scratch { text, buffers, tape: kept_tape, out } = &mut *scratch;
    out.clear();
    let mut tape = kept_tape.take().unwrap_or_else(Tape::null).reset();

    text.clear();
    text.extend_from_slice(payload);
    text.resize(payload.len() + INPUT_PADDING, 0);
    // The addresses of both buffers are noted before they are lent to the tape.
    let mut base = text.as_ptr().addr();
    let mut mended;
    let mut parsed = fill_tape_padded(text, payload.len(), buffers, &mut tape);
    if parsed.is_err() && is_json(payload) {
        mended = mend(payload);
        base = mended.as_ptr().addr();
        parsed = fill_tape_padded(&mut mended, payload.len(), buffers, &mut tape);
    }

    let result = match parsed {
        Ok(()) => {
            let source = Source { bytes: payload, base };
            match tape.0.first() {
                Some(Node::Object { .. }) => {
                    read(Object { nodes: &tape.0, source: &source, path: Path::root() }, out)
                }
                _ => Err(Refusal::Invalid("payload must be a JSON object".to_owned())),
            }
        }
        Err(_) => Err(Refusal::Invalid("payload is not valid JSON".to_owned())),
    };

    *kept_tape = Some(tape.reset());
    if text.capacity() <= KEPT_BYTES_MAX && out.capacity() <= KEPT_BYTES_MAX {
        SCRATCH.set(Some(scratch));
    }
    result
}

/// The number at the start of `bytes`.
fn number_text(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| !matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default()
}

/// The untouched payload, and where the copy stood that the tape's strings point into.
struct Source<'a> {
    bytes: &'a [u8],
    base: usize,
}

impl<'a> Source<'a> {
    /// The source from the first byte of the value of the member named by `name`, a string of the tape.
    fn value_after(&self, name: &str) -> Option<&'a [u8]> {
        let start = name.as_ptr().addr().checked_sub(self.base)?;
        let name_and_rest = self.bytes.get(start..)?;
        let after_name = name_and_rest.get(string_end(name_and_rest)..)?;
        let value = after_name.iter().position(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b':'))?;
        after_name.get(value..)
    }
}

/// The index behind the closing quote of a string whose text `bytes` begins with.
fn string_end(bytes: &[u8]) -> usize {
    let mut escaped = false;
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    bytes.len()
}

/// The length of the JSON value (of a text known to be JSON) that `bytes` begins with.
fn value_len(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at += string_end(bytes.get(at + 1..).unwrap_or_default()),
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            b',' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
        if depth == 0 && matches!(byte, b'"' | b'}' | b']') {
            return at;
        }
    }
    at
}

/// What an object is called in an error: `message.contents[0]`.
#[derive(Clone, Copy)]
struct Path {
    name: &'static str,
    index: Option<usize>,
}

impl Path {
    const fn root() -> Self {
        Path { name: "", index: None }
    }

    /// The text for `member` of this object.
    fn member(self, member: &str) -> String {
        match self {
            Path { name: "", .. } => member.to_owned(),
            Path { name, index: None } => format!("{name}.{member}"),
            Path { name, index: Some(index) } => format!("{name}[{index}].{member}"),
        }
    }
}

/// A JSON object on the tape. Of a repeated member the last one counts, as for most readers of the DEFAULT body.
/// Every getter takes an absent member and `null` for the same.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a> {
    /// From the object's own node to at least its last; nodes behind it are never reached.
    nodes: &'a [Node<'a>],
    source: &'a Source<'a>,
    path: Path,
}

/// A member found: its name as it stands in the copy, and its value's nodes.
struct Member<'a> {
    name: &'a str,
    nodes: &'a [Node<'a>],
}

impl<'a> Object<'a> {
    /// The member's last value, unless absent or `null`.
    fn find(&self, wanted: &str) -> Option<Member<'a>> {
        let Some(Node::Object { len, .. }) = self.nodes.first() else { return None };
        let mut rest = self.nodes.get(1..)?;
        let mut found = None;
        for _ in 0..*len {
            let (Node::String(name), value) = rest.split_first()? else { return None };
            if *name == wanted {
                found = Some(Member { name, nodes: value });
            }
            rest = value.get(node_count(value.first()?)..)?;
        }
        found.filter(|member| !matches!(member.nodes.first(), Some(Node::Static(StaticNode::Null))))
    }

    /// An error text naming `member`.
    pub(crate) fn invalid(&self, member: &str, rule: &str) -> Refusal {
        Refusal::Invalid(format!("{} {rule}", self.path.member(member)))
    }

    /// For a member that must be there.
    pub(crate) fn required(&self, member: &str) -> Refusal {
        self.invalid(member, "is required")
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.find(name).as_ref().and_then(|member| member.nodes.first()) {
            None => Ok(None),
            Some(Node::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(name, "must be a string")),
        }
    }

    /// A string that is not empty.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        Ok(self.string(name)?.filter(|text| !text.is_empty()))
    }

    /// The member when it is a string, whatever else may stand there.
    pub(crate) fn string_if(&self, name: &str) -> Option<&'a str> {
        match self.find(name)?.nodes.first() {
            Some(Node::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn bool(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.find(name).as_ref().and_then(|member| member.nodes.first()) {
            None => Ok(None),
            Some(Node::Static(StaticNode::Bool(value))) => Ok(Some(*value)),
            Some(_) => Err(self.invalid(name, "must be a boolean")),
        }
    }

    /// The text of a number, exactly as it stands in the source.
    pub(crate) fn number(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let Some(member) = self.find(name) else { return Ok(None) };
        self.number_of(&member).map(Some).ok_or_else(|| self.invalid(name, "must be a number"))
    }

    /// The text of an integer, of any size.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let Some(member) = self.find(name) else { return Ok(None) };
        self.number_of(&member)
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
            .map(Some)
            .ok_or_else(|| self.invalid(name, "must be an integer"))
    }

    /// The member's number, or the text of its string.
    pub(crate) fn number_or_text(&self, name: &str) -> Option<NumberOrText<'a>> {
        let member = self.find(name)?;
        match member.nodes.first() {
            Some(Node::String(text)) => Some(NumberOrText::Text(text)),
            _ => self.number_of(&member).map(NumberOrText::Number),
        }
    }

    fn number_of(&self, member: &Member<'a>) -> Option<&'a str> {
        let Some(Node::Static(StaticNode::I64(_) | StaticNode::U64(_) | StaticNode::F64(_))) =
            member.nodes.first()
        else {
            return None;
        };
        std::str::from_utf8(number_text(self.source.value_after(member.name)?)).ok()
    }

    /// The member's own JSON text, whatever it is.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        let value = self.source.value_after(self.find(name)?.name)?;
        std::str::from_utf8(value.get(..value_len(value))?).ok()
    }

    /// A member that is an object; `path` is what errors call it.
    pub(crate) fn object(&self, name: &str, path: &'static str) -> Result<Option<Object<'a>>, Refusal> {
        let Some(member) = self.find(name) else { return Ok(None) };
        match member.nodes.first() {
            Some(Node::Object { .. }) => Ok(Some(Object {
                nodes: member.nodes,
                source: self.source,
                path: Path { name: path, index: None },
            })),
            _ => Err(self.invalid(name, "must be an object")),
        }
    }

    /// A member that is an array (absent: an empty one); `path` is what errors call it.
    pub(crate) fn array(&self, name: &str, path: &'static str) -> Result<Array<'a>, Refusal> {
        let (len, nodes) = match self.find(name) {
            None => (0, Default::default()),
            Some(member) => match member.nodes.split_first() {
                Some((Node::Array { len, .. }, elements)) => (*len, elements),
                _ => return Err(self.invalid(name, "must be an array")),
            },
        };
        Ok(Array { nodes, source: self.source, path, next: 0, len })
    }
}

/// What a hub may send where a number is meant.
pub(crate) enum NumberOrText<'a> {
    /// A JSON number.
    Number(&'a str),
    /// A string.
    Text(&'a str),
}

/// The elements of an array not yet taken.
#[derive(Clone)]
pub(crate) struct Array<'a> {
    nodes: &'a [Node<'a>],
    source: &'a Source<'a>,
    path: &'static str,
    next: usize,
    len: usize,
}

impl<'a> Array<'a> {
    /// How many elements are left.
    pub(crate) fn len(&self) -> usize {
        self.len - self.next
    }

    fn take(&mut self) -> Option<&'a [Node<'a>]> {
        if self.next == self.len {
            return None;
        }
        let element = self.nodes;
        self.nodes = element.get(node_count(element.first()?)..)?;
        self.next += 1;
        Some(element)
    }

    /// The next element, which must be an object.
    pub(crate) fn next_object(&mut self) -> Option<Result<Object<'a>, Refusal>> {
        let path = Path { name: self.path, index: Some(self.next) };
        let nodes = self.take()?;
        Some(match nodes.first() {
            Some(Node::Object { .. }) => Ok(Object { nodes, source: self.source, path }),
            _ => Err(self.invalid(path, "must be an object")),
        })
    }

    /// The next element, which must be a string.
    pub(crate) fn next_string(&mut self) -> Option<Result<&'a str, Refusal>> {
        let path = Path { name: self.path, index: Some(self.next) };
        Some(match self.take()?.first() {
            Some(Node::String(text)) => Ok(text),
            _ => Err(self.invalid(path, "must be a string")),
        })
    }

    fn invalid(&self, path: Path, rule: &str) -> Refusal {
        Refusal::Invalid(format!("{}[{}] {rule}", path.name, path.index.unwrap_or_default()))
    }
}

/// Nodes a value takes on the tape, its own included.
fn node_count(node: &Node<'_>) -> usize {
    match node {
        Node::Object { count, .. } | Node::Array { count, .. } => *count + 1,
        Node::String(_) | Node::Static(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `read` finds in `payload`; the event's own bytes must be the same afterwards.
    fn read<T>(payload: &str, read: impl FnOnce(Object<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let before = payload.as_bytes().to_vec();
        let result = with_payload(payload.as_bytes(), |root, _| read(root));
        assert_eq!(payload.as_bytes(), before);
        result
    }

    fn number(payload: &str) -> String {
        read(payload, |root| Ok(root.number("n")?.unwrap_or("none").to_owned())).unwrap()
    }

    #[test]
    fn numbers_keep_their_text() {
        for text in
            ["0", "-0", "-19.9167000", "1E5", "1.0", "18446744073709551616", "1e400", "-1e-999", "0.1e+1"]
        {
            assert_eq!(number(&format!(r#"{{"a":"\u0041\n\\\"","n":{text}}}"#)), text);
            assert_eq!(number(&format!("{{\"a\":{text}, \"\\u006e\" \n:\t {text}\r,\"b\":[{text}]}}")), text);
        }
    }

    #[test]
    fn of_a_repeated_member_the_last_counts() {
        assert_eq!(number(r#"{"n":1,"n":{"n":5},"n":[3],"n":2}"#), "2");
        assert_eq!(number(r#"{"n":1,"n":null}"#), "none");
    }

    #[test]
    fn raw_values_keep_their_bytes() {
        for value in [
            r#"{ "a" : [1 , 2.50, "]}\"" ], "a":{} }"#,
            "[[],[{}]]",
            r#""x\"y""#,
            "17.0",
            "true",
            "{}",
            r#""""#,
        ] {
            let payload = format!("{{\"z\":\"\\t\",\"data\" :  {value} , \"y\":0}}");
            let raw = read(&payload, |root| Ok(root.raw("data").map(str::to_owned))).unwrap();
            assert_eq!(raw.as_deref(), Some(value));
            let last = format!("{{\"data\":{value}}}");
            let raw = read(&last, |root| Ok(root.raw("data").map(str::to_owned))).unwrap();
            assert_eq!(raw.as_deref(), Some(value));
        }
    }

    #[test]
    fn a_lone_surrogate_is_replaced_and_a_pair_is_not() {
        let text = r#"{"s":"a\ud83db \uDE42\ud83d\ud83d\uDE42 \\ud83d","n":1.50}"#;
        let (string, number) = read(text, |root| {
            Ok((root.string("s")?.unwrap().to_owned(), root.number("n")?.unwrap().to_owned()))
        })
        .unwrap();
        assert_eq!(string, "a\u{fffd}b \u{fffd}\u{fffd}🙂 \\ud83d");
        assert_eq!(number, "1.50");
    }

    #[test]
    fn wrong_types_name_the_member() {
        let payload = r#"{"s":1,"b":"x","n":"1","i":1.5,"o":[],"a":{},"l":[{"s":"x"},{"s":2}],"k":["a",1]}"#;
        let invalid = |text: &str| Err(Refusal::Invalid(text.to_owned()));
        assert_eq!(read(payload, |root| root.string("s").map(drop)), invalid("s must be a string"));
        assert_eq!(read(payload, |root| root.bool("b").map(drop)), invalid("b must be a boolean"));
        assert_eq!(read(payload, |root| root.number("n").map(drop)), invalid("n must be a number"));
        assert_eq!(read(payload, |root| root.integer("i").map(drop)), invalid("i must be an integer"));
        assert_eq!(read(payload, |root| root.object("o", "o").map(drop)), invalid("o must be an object"));
        assert_eq!(read(payload, |root| root.array("a", "a").map(drop)), invalid("a must be an array"));
        let second = read(payload, |root| {
            let mut list = root.array("l", "list")?;
            assert!(list.next_object().unwrap()?.string("s")?.is_some());
            list.next_object().unwrap()?.string("s").map(drop)
        });
        assert_eq!(second, invalid("list[1].s must be a string"));
        let element = read(payload, |root| {
            let mut list = root.array("k", "k")?;
            assert_eq!(list.next_string().unwrap()?, "a");
            assert_eq!(list.len(), 1);
            list.next_string().unwrap().map(drop)
        });
        assert_eq!(element, invalid("k[1] must be a string"));
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for payload in ["", "[]", "7", "{", "{\"a\":}", "\"\\ud83d", "-", "{\"a\":-}", "nul"] {
            assert!(matches!(read(payload, |_| Ok(())), Err(Refusal::Invalid(_))), "{payload}");
        }
    }

    #[test]
    fn a_large_payload_leaves_nothing_for_the_thread_to_keep() {
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(KEPT_BYTES_MAX));
        read(&large, |_| Ok(())).unwrap();
        assert!(SCRATCH.take().is_none());
        read("{}", |_| Ok(())).unwrap();
        assert!(SCRATCH.take().is_some());
    }
}
