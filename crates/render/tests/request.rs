//! Request bodies: one event, an array, lines.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside the functions that are exempt")]

use bytes::Bytes;
use fanfare_core::limits::REQUEST_BYTES_MAX;
use fanfare_render::RequestForm::{Json, Ndjson};
use fanfare_render::{EventError, EventErrorKind, RequestForm, split_request};

const ONE: &str = r#"{"type":"BLOCK","channelId":"c","payload":{"n":1}}"#;
const TWO: &str = r#"{"type":"CONNECTED","channelId":"d","payload":{"n":2}}"#;

fn split(body: &str, form: RequestForm) -> Result<Vec<Result<String, String>>, String> {
    let events = split_request(Bytes::from(body.to_owned()), form).map_err(|error| error.to_string())?;
    Ok(events
        .into_iter()
        .map(|event| match event {
            Ok(event) => Ok(String::from_utf8(event.envelope.to_vec()).unwrap()),
            Err(error) => Err(error.to_string()),
        })
        .collect())
}

fn good(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn bad(text: &str) -> Result<String, String> {
    Err(text.to_owned())
}

#[test]
fn json_is_one_event_or_an_array() {
    assert_eq!(split(&format!("\u{FEFF} {ONE}\n"), Json), Ok(vec![good(ONE)]));
    assert_eq!(split(&format!("[ {ONE} ,\n{TWO}]"), Json), Ok(vec![good(ONE), good(TWO)]));
}

#[test]
fn a_bad_element_is_an_error_in_its_place() {
    let body = format!(r#"[{ONE},7,{{"channelId":"c","payload":{{}}}},{TWO}]"#);
    assert_eq!(
        split(&body, Json),
        Ok(vec![good(ONE), bad("event must be a JSON object"), bad("type is required"), good(TWO)])
    );
    assert_eq!(split(r#"{"type":"BLOCK"}"#, Json), Ok(vec![bad("channelId is required")]));
}

#[test]
fn broken_json_fails_the_whole_request_by_place() {
    let body = format!("[{ONE},\n{{\"type\":\"BLOCK\",\"channelId\":hunter2}}]");
    assert_eq!(split(&body, Json), Err("not valid JSON: expected value at line 2 column 29".to_owned()));
    assert_eq!(
        split("{\"a\":", Json),
        Err("not valid JSON: EOF while parsing a value at line 1 column 5".to_owned())
    );
    for body in [format!("{ONE}{TWO}"), format!("[{ONE}]{TWO}"), format!("[{ONE},]")] {
        assert!(split(&body, Json).unwrap_err().starts_with("not valid JSON: "), "{body}");
    }
    assert_eq!(split("\"x\"", Json), Err("request must be a JSON object or an array of objects".to_owned()));
}

#[test]
fn lines_are_events_and_blank_ones_are_not() {
    let body = format!("\u{FEFF}\r\n{ONE}\r\n   \n\n{TWO} \t");
    assert_eq!(split(&body, Ndjson), Ok(vec![good(ONE), good(TWO)]));
}

#[test]
fn a_bad_line_hurts_no_other() {
    let body = format!("{ONE}\n{{\"type\":\n[{TWO}]\n{TWO}\n");
    assert_eq!(
        split(&body, Ndjson),
        Ok(vec![
            good(ONE),
            bad("not valid JSON: EOF while parsing a value at line 1 column 8"),
            bad("event must be a JSON object"),
            good(TWO)
        ])
    );
    let body = [ONE.as_bytes(), b"\n\xFF\n", TWO.as_bytes()].concat();
    let events = split_request(Bytes::from(body), Ndjson).unwrap();
    assert_eq!(events.len(), 3);
    assert_eq!(events[1].as_ref().unwrap_err(), &EventError::Utf8 { offset: 0 });
}

#[test]
fn no_event_is_an_error() {
    for (body, form) in
        [("", Json), (" \n", Json), ("[]", Json), ("[ ]", Json), ("", Ndjson), ("\u{FEFF}\r\n \n", Ndjson)]
    {
        assert_eq!(split(body, form), Err("no event in the request".to_owned()), "{body:?} {form:?}");
    }
}

#[test]
fn sizes_are_checked_per_event_and_per_request() {
    let large =
        format!(r#"{{"type":"BLOCK","channelId":"c","payload":{{"a":"{}"}}}}"#, "x".repeat(1024 * 1024));
    for (body, form) in [(format!("[{ONE},{large}]"), Json), (format!("{ONE}\n{large}"), Ndjson)] {
        let events = split_request(Bytes::from(body), form).unwrap();
        assert!(events[0].is_ok());
        assert_eq!(events[1].as_ref().unwrap_err().kind(), EventErrorKind::TooLarge);
    }
    let events = split_request(Bytes::from(large), Json).unwrap();
    assert_eq!(events[0].as_ref().unwrap_err().kind(), EventErrorKind::TooLarge);

    let body = Bytes::from(vec![b'\n'; REQUEST_BYTES_MAX + 1]);
    let error = split_request(body, Ndjson).unwrap_err();
    assert_eq!(error.to_string(), "request of 16777217 bytes exceeds 16777216");
}

#[test]
fn events_share_the_bodys_memory() {
    let body = Bytes::from(format!("{ONE}\n{TWO}"));
    for event in split_request(body.clone(), Ndjson).unwrap() {
        assert!(body.as_ptr_range().contains(&event.unwrap().envelope.as_ptr()));
    }
}
