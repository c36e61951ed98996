//! Writing JSON without building a tree.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a string with its quotes. Runs without a character to escape are copied whole.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = from.split_first() else { break };
        put_escape(out, byte);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn put_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            for digit in [byte >> 4, byte & 15] {
                out.extend(HEX.get(usize::from(digit)));
            }
        }
    }
}

/// Appends `"name":`, after a comma unless it opens an object. `name` must need no escape.
pub fn put_name(out: &mut Vec<u8>, name: &str) {
    if out.last().is_some_and(|&last| last != b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends `"name":"text"`, after a comma unless it opens an object.
pub fn put_member(out: &mut Vec<u8>, name: &str, text: &str) {
    put_name(out, name);
    put_text(out, text);
}

/// Appends `"name":` and JSON that is there already, after a comma unless it opens an object.
pub fn put_raw(out: &mut Vec<u8>, name: &str, json: &str) {
    put_name(out, name);
    out.extend_from_slice(json.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let every: String = (0..0x80_u8).map(char::from).chain("ü𝄞\u{2028}".chars()).collect();
        for text in ["", "plain", "\"", "a\\b", &every] {
            let mut out = Vec::new();
            put_text(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).expect("a string"), text);
        }
    }

    #[test]
    fn members_are_parted_by_commas() {
        let mut out = b"{".to_vec();
        put_member(&mut out, "a", "x\n");
        put_raw(&mut out, "b", "[1]");
        out.push(b'}');
        assert_eq!(out, br#"{"a":"x\n","b":[1]}"#);
    }
}
