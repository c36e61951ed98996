//! The commands against a server whose answers are prepared.

use super::*;
use crate::exit::Exit;
use crate::manage::double::Double;
use clap::Parser;

/// 2026-11-24T20:00:00Z.
const NOW_MS: u64 = 1_795_550_400_000;
const WEBHOOK: &str = "0190F3A27C5B7E118D2A4C6B9E01F3D5";

#[derive(Parser, Debug)]
struct Line {
    #[command(flatten)]
    args: DeliveriesArgs,
}

async fn ran(server: &Double, words: &[&str]) -> (Result<(), Failure>, String) {
    let mut line = words.to_vec();
    line.extend(["--channel", "c1", "--webhook", WEBHOOK]);
    let line = Line::try_parse_from(server.line(&line)).unwrap_or_else(|error| panic!("{error}"));
    let mut output = Vec::new();
    let ended = carry_out(line.args.command, NOW_MS, &mut output).await;
    (ended, String::from_utf8(output).unwrap())
}

fn item(event: &str, status: &str, members: &str) -> String {
    format!(
        r#"{{"id":"{event}-{WEBHOOK}","eventId":"{event}","type":"BLOCK","status":"{status}",{members},"createdAt":"2026-11-24T19:00:00.000Z"}}"#
    )
}

fn delivered(event: &str) -> String {
    let members = r#""reason":null,"endedAt":"2026-11-24T19:00:00.003Z","attemptCount":2,"nextAttemptAt":null,"lastFailure":"status","lastStatus":500"#;
    item(event, "DELIVERED", members)
}

fn dead(event: &str) -> String {
    let members = r#""reason":"exhausted","endedAt":"2026-11-24T19:30:00Z","attemptCount":12,"nextAttemptAt":null,"lastFailure":"timeout","lastStatus":null"#;
    item(event, "DEAD", members)
}

fn page(items: &[String], cursor: &str) -> String {
    format!(r#"{{"items":[{}],"nextCursor":{cursor}}}"#, items.join(","))
}

#[tokio::test]
async fn a_page_is_a_table_and_tells_how_to_go_on() {
    let answer = page(&[delivered("e1"), dead("event-2")], r#""next+1""#);
    let server = Double::start(&[(200, &answer)]).await;
    let words =
        ["list", "--status", "dead", "--from", "2h", "--to", "2026-11-24T20:00:00+01:00", "--limit", "2"];
    let (ended, text) = ran(&server, &words).await;
    ended.unwrap();
    assert_eq!(
        text,
        "DELIVERY  TYPE   STATUS     ATTEMPTS  CREATED (UTC)        WHY\n\
         e1        BLOCK  DELIVERED  2         2026-11-24 19:00:00  -\n\
         event-2   BLOCK  DEAD       12        2026-11-24 19:00:00  exhausted timeout\n\
         \nThere are more: add --cursor next+1 for the next page, or --all.\n"
    );
    assert_eq!(
        server.calls(),
        [format!(
            "GET /v1/channels/c1/webhooks/{WEBHOOK}/deliveries\
             ?status=DEAD&from=2026-11-24T18%3A00%3A00Z&to=2026-11-24T19%3A00%3A00Z&limit=2"
        )]
    );
}

#[tokio::test]
async fn all_pages_are_one_table_or_one_object() {
    let pages = [page(&[delivered("e1")], r#""a b""#), page(&[], r#""c""#), page(&[dead("e2")], "null")];
    let answers: Vec<(u16, &str)> = pages.iter().map(|page| (200, page.as_str())).collect();
    let server = Double::start(&answers).await;
    let (ended, text) = ran(&server, &["list", "--all"]).await;
    ended.unwrap();
    assert_eq!((text.matches("DELIVERY").count(), text.lines().count()), (1, 3), "{text}");
    let path = format!("GET /v1/channels/c1/webhooks/{WEBHOOK}/deliveries");
    assert_eq!(server.calls(), [path.clone(), format!("{path}?cursor=a+b"), format!("{path}?cursor=c")]);

    let server = Double::start(&answers).await;
    let (ended, text) = ran(&server, &["list", "--all", "--json"]).await;
    ended.unwrap();
    assert_eq!(text, format!("{}\n", page(&[delivered("e1"), dead("e2")], "null")));
    let server = Double::start(&answers).await;
    let (_, text) = ran(&server, &["list", "--json"]).await;
    assert_eq!(text, format!("{}\n", pages[0]), "one page as it is");
}

#[tokio::test]
async fn nothing_and_a_list_without_end_are_told() {
    let nothing = page(&[], "null");
    let server = Double::start(&[(200, &nothing), (200, &nothing)]).await;
    assert_eq!(ran(&server, &["list"]).await.1, "no deliveries\n");
    assert_eq!(ran(&server, &["list", "--all", "--json"]).await.1, format!("{nothing}\n"));
    let stuck = page(&[dead("e")], r#""x""#);
    let server = Double::start(&[(200, &stuck), (200, &stuck), (200, &stuck)]).await;
    let (ended, _) = ran(&server, &["list", "--all"]).await;
    assert_eq!(ended.unwrap_err().exit, Exit::Server);
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn a_delivery_whose_record_is_damaged_is_listed_all_the_same() {
    let answer = page(&[r#"{"id":null,"eventId":null,"type":null,"status":"DEAD","reason":"damaged_record","createdAt":"2026-11-24T19:00:00Z","endedAt":null,"attemptCount":0,"nextAttemptAt":null,"lastFailure":null,"lastStatus":null}"#.to_owned()], "null");
    let server = Double::start(&[(200, &answer)]).await;
    let (ended, text) = ran(&server, &["list"]).await;
    ended.unwrap();
    assert!(
        text.ends_with("-         -     DEAD    0         2026-11-24 19:00:00  damaged_record\n"),
        "{text}"
    );
}

#[tokio::test]
async fn one_delivery_is_shown_with_its_attempts() {
    let attempts = r#"[{"number":1,"startedAt":"2026-11-24T19:00:00Z","durationMs":12.5,"status":500,"failure":"status","detail":null,"response":"oh\n\u001b[2Jno"},{"number":2,"startedAt":"2026-11-24T19:00:05Z","durationMs":15000,"status":null,"failure":"timeout","detail":"no answer within 15000 ms","response":null}]"#;
    let members = format!(
        r#""reason":null,"endedAt":null,"attemptCount":2,"nextAttemptAt":"2026-11-24T19:00:35Z","lastFailure":"timeout","lastStatus":null,"attempts":{attempts}"#
    );
    let answer = item("e1", "PENDING", &members);
    let server = Double::start(&[(200, &answer), (200, &answer)]).await;
    let (ended, text) = ran(&server, &["get", "e1"]).await;
    ended.unwrap();
    for part in [
        &format!("id            e1-{WEBHOOK}\n"),
        "next attempt  2026-11-24 19:00:35\n",
        "ATTEMPT  STARTED (UTC)        TOOK      STATUS  FAILURE  DETAIL\n",
        "1        2026-11-24 19:00:00  12.5 ms   500     status   -\n",
        "2        2026-11-24 19:00:05  15000 ms  -       timeout  no answer within 15000 ms\n",
        "response to attempt 1:\n  oh\\n\u{FFFD}[2Jno\n",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    ran(&server, &["get", "e1/2"]).await.0.unwrap();
    let path = format!("GET /v1/channels/c1/webhooks/{WEBHOOK}/deliveries/e1-{WEBHOOK}");
    assert_eq!(server.calls(), [path.clone(), format!("{path}-2")]);
    let (ended, _) = ran(&server, &["get", "a/b"]).await;
    assert_eq!(ended.unwrap_err().exit, Exit::Usage);
}

#[tokio::test]
async fn one_or_many_are_put_back() {
    let server = Double::start(&[(202, r#"{"redriven":1}"#), (202, r#"{"redriven":3}"#)]).await;
    assert_eq!(ran(&server, &["redrive", "e1"]).await.1, "1 delivery is put back\n");
    let (ended, text) = ran(&server, &["redrive", "--status", "DEAD", "--from", "24h"]).await;
    ended.unwrap();
    assert_eq!(text, "3 deliveries are put back\n");
    let path = format!("POST /v1/channels/c1/webhooks/{WEBHOOK}");
    assert_eq!(
        server.calls(),
        [
            format!("{path}/deliveries/e1-{WEBHOOK}/redrive {{}}"),
            format!(r#"{path}/redrive {{"from":"2026-11-23T20:00:00Z","status":"DEAD"}}"#)
        ]
    );
    for words in [&["redrive"][..], &["redrive", "e1", "--status", "DEAD"], &["redrive", "--from", "2h"]] {
        let mut line = words.to_vec();
        line.extend(["--channel", "c1", "--webhook", WEBHOOK]);
        Line::try_parse_from(server.line(&line)).expect_err("one or the other");
    }
}

#[tokio::test]
async fn refusals_and_bad_times_have_their_exit_codes() {
    let server =
        Double::start(&[(400, r#"{"error":400,"message":"cursor is not one of ours"}"#), (200, "[]")]).await;
    let (ended, _) = ran(&server, &["list", "--cursor", "x"]).await;
    let failure = ended.unwrap_err();
    assert_eq!(failure.exit, Exit::Server);
    assert_eq!(failure.message, "the server refused to list the deliveries: 400 cursor is not one of ours");
    let (ended, text) = ran(&server, &["list"]).await;
    assert_eq!((ended.unwrap_err().exit, text.as_str()), (Exit::Server, ""), "an answer of another shape");
    let (ended, _) = ran(&server, &["list", "--from", "yesterday"]).await;
    assert_eq!(ended.unwrap_err().exit, Exit::Usage);
    assert_eq!(server.calls().len(), 2);
}
