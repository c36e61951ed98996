//! The commands against a server whose answers are prepared.

use super::*;
use crate::exit::Exit;
use crate::manage::double::Double;
use clap::Parser;

const ID: &str = "0190F3A27C5B7E118D2A4C6B9E01F3D5";
const CREDENTIAL: &str = "hunter2-hunter2";

#[derive(Parser, Debug)]
struct Line {
    #[command(flatten)]
    args: WebhooksArgs,
}

/// Runs a command line for channel c1 with this standard input; one variable is set, `TOKEN`.
async fn ran_with(server: &Double, words: &[&str], input: &str) -> (Result<(), Failure>, String) {
    let mut line = words.to_vec();
    line.extend(["--channel", "c1"]);
    let line = Line::try_parse_from(server.line(&line)).unwrap_or_else(|error| panic!("{error}"));
    let mut output = Vec::new();
    let variable = |name: &str| (name == "TOKEN").then(|| CREDENTIAL.to_owned());
    let secrets = Secrets { variable: &variable, input: &mut input.as_bytes() };
    let ended = carry_out(line.args.command, secrets, &mut output).await;
    (ended, String::from_utf8(output).unwrap())
}

async fn ran(server: &Double, words: &[&str]) -> (Result<(), Failure>, String) {
    ran_with(server, words, "").await
}

fn webhook(members: &str) -> String {
    format!(
        r#"{{"id":"{ID}","channelId":"c1","instanceId":"c1","url":"https://r.test/in?k=v","description":null,"events":["BLOCK","CONNECTED"],{members},"auth":{{"type":"BEARER","configured":true}},"payloadFormat":"DEFAULT","customAttributes":{{"a":1.50}},"delivery":{{"timeoutMs":15000,"maxInFlight":16,"rateLimit":{{"perSecond":0.5,"burst":1}},"ordering":"NONE","retry":{{"scheduleSeconds":[5,30],"maxAgeSeconds":432000}},"protocol":"AUTO"}},"createdAt":"2026-03-09T14:05:00.000+0000","updatedAt":"2026-03-09T14:05:01.000+0000"}}"#
    )
}

fn enabled() -> String {
    webhook(r#""status":"ENABLED","signing":false"#)
}

/// The body that a line makes.
async fn sent(words: &[&str]) -> String {
    let answer = enabled();
    let server = Double::start(&[(200, &answer)]).await;
    let (ended, _) = ran(&server, words).await;
    ended.unwrap_or_else(|failure| panic!("{words:?}: {failure}"));
    let call = server.calls().remove(0);
    call.splitn(3, ' ').nth(2).unwrap_or_default().to_owned()
}

async fn refused(words: &[&str]) -> String {
    let server = Double::start(&[]).await;
    let failure = ran(&server, words).await.0.unwrap_err();
    assert_eq!((failure.exit, server.calls().len()), (Exit::Usage, 0), "{failure}");
    failure.message
}

#[tokio::test]
async fn webhooks_are_listed_a_line_each() {
    let list = format!("[{}]", enabled());
    let server = Double::start(&[(200, &list), (200, "[]"), (200, &list)]).await;
    let (ended, text) = ran(&server, &["list"]).await;
    ended.unwrap();
    assert_eq!(
        text,
        format!(
            "ID                                STATUS   FORMAT   EVENTS    URL\n\
             {ID}  ENABLED  DEFAULT  BLOCK +1  https://r.test/in?…\n"
        )
    );
    assert!(ran(&server, &["list"]).await.1.starts_with("channel c1 has no webhooks; "));
    assert_eq!(ran(&server, &["list", "--json"]).await.1, format!("{list}\n"));
    assert_eq!(server.calls()[0], "GET /v1/channels/c1/webhooks");
}

#[tokio::test]
async fn a_secret_is_shown_once_and_that_is_said() {
    let members = r#""status":"ENABLED","signing":true,"secret":"5ec2e7","standardSecret":"whsec_x""#;
    let made = webhook(members);
    let server = Double::start(&[(201, &made), (200, &made)]).await;
    let words = ["create", "--url", "https://r.test/in?k=v", "--events", "block,CONNECTED", "--signing"];
    let (ended, text) = ran(&server, &words).await;
    ended.unwrap();
    assert!(text.contains("signing      on\n"), "{text}");
    assert!(
        text.ends_with(
            "\nsecret           5ec2e7\nstandard secret  whsec_x\n\n\
             The secret is shown this once and cannot be had again: give it to the receiver now.\n"
        ),
        "{text}"
    );
    let (_, text) = ran(&server, &["update", ID, "--new-secret", "--secret-overlap-seconds", "60"]).await;
    assert!(text.contains("5ec2e7"), "{text}");
    assert_eq!(
        server.calls(),
        [
            r#"POST /v1/channels/c1/webhooks {"events":["BLOCK","CONNECTED"],"signing":true,"url":"https://r.test/in?k=v"}"#,
            &format!(r#"PATCH /v1/channels/c1/webhooks/{ID} {{"secretOverlapSeconds":60,"signing":true}}"#),
        ]
    );
}

#[tokio::test]
async fn one_webhook_is_shown_whole_without_a_word_on_secrets() {
    let answer = webhook(r#""status":"DISABLED","disabledReason":"gone","signing":true"#);
    let server = Double::start(&[(200, &answer)]).await;
    let (_, text) = ran(&server, &["get", ID]).await;
    assert_eq!(
        text,
        format!(
            "id           {ID}\nchannel      c1\nurl          https://r.test/in?k=v\ndescription  -\n\
             status       DISABLED (gone)\nevents       BLOCK, CONNECTED\nformat       DEFAULT\nsigning      on\n\
             auth         BEARER\nattributes   {{\"a\":1.50}}\ntimeout      15000 ms\nin flight    at most 16\n\
             rate limit   0.5 per second, burst 1\nordering     NONE\nretries      after 5, 30 s\n\
             gives up     after 5 d\nprotocol     AUTO\ncreated      2026-03-09 14:05:00\n\
             updated      2026-03-09 14:05:01\n"
        )
    );
}

#[tokio::test]
async fn every_member_has_its_flag() {
    let words = [
        "create",
        "--url",
        "u",
        "--events",
        "BLOCK",
        "--format",
        "Z_API",
        "--description",
        "till",
        "--custom-attributes",
        "{\"a\": {\"b\": 1}}",
        "--timeout-ms",
        "2000",
        "--max-in-flight",
        "4",
        "--rate-per-second",
        "10",
        "--rate-burst",
        "5",
        "--ordering",
        "key",
        "--retry-schedule",
        "5,30",
        "--retry-max-age",
        "60",
        "--protocol",
        "http2",
    ];
    assert_eq!(
        sent(&words).await,
        r#"{"customAttributes":{"a":{"b":1}},"delivery":{"maxInFlight":4,"ordering":"KEY","protocol":"HTTP2","rateLimit":{"burst":5,"perSecond":10},"retry":{"maxAgeSeconds":60,"scheduleSeconds":[5,30]},"timeoutMs":2000},"description":"till","events":["BLOCK"],"payloadFormat":"Z_API","url":"u"}"#
    );
    assert_eq!(
        sent(&["update", ID, "--url", "u", "--events", "BLOCK", "--no-signing", "--no-description"]).await,
        r#"{"description":null,"events":["BLOCK"],"signing":false,"url":"u"}"#
    );
    assert_eq!(
        sent(&["update", ID, "--restore", "rateLimit", "--restore", "retry", "--max-in-flight", "9"]).await,
        r#"{"delivery":{"maxInFlight":9,"rateLimit":null,"retry":null}}"#
    );
    assert_eq!(
        sent(&["update", ID, "--rate-per-second", "0.5"]).await,
        r#"{"delivery":{"rateLimit":{"perSecond":0.5}}}"#
    );
    assert_eq!(sent(&["enable", ID]).await, r#"{"status":"ENABLED"}"#);
    assert_eq!(sent(&["disable", ID]).await, r#"{"status":"DISABLED"}"#);
}

#[tokio::test]
async fn credentials_come_from_the_environment_or_standard_input() {
    let with = |flags: &[&'static str]| [&["update", ID, "--auth-type"], flags].concat();
    for (flags, expected) in [
        (&["BEARER", "--credential-env", "TOKEN"][..], r#"{"token":"hunter2-hunter2","type":"BEARER"}"#),
        (&["api_key", "--credential-env", "TOKEN"], r#"{"key":"hunter2-hunter2","type":"API_KEY"}"#),
        (
            &["CUSTOM_HEADER", "--auth-header", "X-Shop", "--credential-env", "TOKEN"],
            r#"{"headerName":"X-Shop","headerValue":"hunter2-hunter2","type":"CUSTOM_HEADER"}"#,
        ),
        (&["NONE"], r#"{"type":"NONE"}"#),
    ] {
        assert_eq!(sent(&with(flags)).await, format!(r#"{{"auth":{expected}}}"#));
    }
    let answer = enabled();
    let server = Double::start(&[(200, &answer)]).await;
    let words = with(&["BASIC", "--credential-stdin"]);
    ran_with(&server, &words, "user:pass:word\r\nnot this\n").await.0.unwrap();
    assert!(
        server.calls()[0].ends_with(r#"{"auth":{"password":"pass:word","type":"BASIC","username":"user"}}"#),
        "{:?}",
        server.calls()
    );
    for (flags, message) in [
        (&["BEARER"][..], "the credential is missing: give --credential-env VARIABLE or --credential-stdin"),
        (
            &["BEARER", "--credential-env", "OTHER"],
            "the variable OTHER of --credential-env is not set, or is not UTF-8",
        ),
        (&["BEARER", "--credential-stdin"], "the credential is empty"),
        (
            &["BASIC", "--credential-env", "TOKEN"],
            "the credential of --auth-type BASIC must be USER:PASSWORD",
        ),
        (
            &["CUSTOM_HEADER", "--credential-env", "TOKEN"],
            "--auth-header is for --auth-type CUSTOM_HEADER, which needs it",
        ),
        (
            &["BEARER", "--auth-header", "X", "--credential-env", "TOKEN"],
            "--auth-header is for --auth-type CUSTOM_HEADER, which needs it",
        ),
        (&["NONE", "--credential-env", "TOKEN"], "--auth-type NONE takes no credential and no header"),
    ] {
        assert_eq!(refused(&with(flags)).await, message);
    }
}

#[tokio::test]
async fn flags_that_cannot_be_used_are_named_and_nothing_is_called() {
    assert_eq!(
        refused(&["update", ID]).await,
        "nothing is to be changed; give a flag, see fanfare webhooks update --help"
    );
    assert_eq!(
        refused(&["update", ID, "--rate-per-second", "1", "--restore", "rateLimit"]).await,
        "--restore rateLimit contradicts the flag that sets it"
    );
    assert_eq!(
        refused(&["update", ID, "--custom-attributes", "[]"]).await,
        "--custom-attributes must be a JSON object, such as '{\"shop\": 7}'"
    );
    assert_eq!(
        refused(&["update", ID, "--rate-per-second", "inf"]).await,
        "--rate-per-second must be a number, such as 10 or 0.5"
    );
    assert!(refused(&["get", "a/b"]).await.starts_with("the webhook's id must be"));
    let server = Double::start(&[]).await;
    for words in [
        &["create", "--url", "u"][..],
        &["update", ID, "--new-secret", "--no-signing"],
        &["update", ID, "--rate-burst", "1"],
        &["update", ID, "--secret-overlap-seconds", "1"],
        &["update", ID, "--credential-stdin"],
    ] {
        let line = [words, &["--channel", "c1"]].concat();
        Line::try_parse_from(server.line(&line)).expect_err("flags that do not go together");
    }
}

#[tokio::test]
async fn a_test_that_was_not_delivered_is_a_failure() {
    let members = r#""type":"BLOCK","deliveryId":"T-1","durationMs":12,"bodies":1"#;
    let good = format!(
        r#"{{{members},"delivered":true,"status":200,"failure":null,"detail":null,"response":"ok"}}"#
    );
    let bad = format!(
        r#"{{{members},"delivered":false,"status":null,"failure":"refused","detail":"connection refused","response":null}}"#
    );
    let server = Double::start(&[(200, &good), (200, &bad), (200, &bad)]).await;
    let (ended, text) = ran(&server, &["test", ID, "--type", "block"]).await;
    ended.unwrap();
    assert_eq!(
        text,
        "outcome   delivered\nstatus    200\nfailure   -\ndetail    -\ntook      12 ms\nevent     BLOCK\nbodies    1\n\
         delivery  T-1\nresponse  ok\n"
    );
    for flags in [&["test", ID][..], &["test", ID, "--json"]] {
        let (ended, text) = ran(&server, flags).await;
        assert_eq!(ended.unwrap_err(), Failure::work("the test was not delivered: connection refused"));
        assert!(text.contains("connection refused"), "{text}");
    }
    let skipped = format!(
        r#"{{{members},"delivered":false,"status":null,"failure":null,"detail":"nothing was sent: no_z_api_counterpart","response":null}}"#
    );
    let refusing = Double::start(&[(200, &skipped)]).await;
    let (ended, _) = ran(&refusing, &["test", ID]).await;
    assert_eq!(
        ended.unwrap_err().message,
        "the test was not delivered: nothing was sent: no_z_api_counterpart"
    );
    let path = format!("POST /v1/channels/c1/webhooks/{ID}/test");
    assert_eq!(server.calls()[..2], [format!(r#"{path} {{"type":"BLOCK"}}"#), format!("{path} {{}}")]);
}

#[tokio::test]
async fn health_is_shown_for_people() {
    let busy = r#"{"status":"ENABLED","disabledReason":null,"gate":{"state":"SHUT","until":"2026-11-24T20:00:00Z","failuresInARow":7,"failingSince":"2026-11-24T19:00:00Z"},"backlog":{"deliveries":1000,"isAtLeast":true,"oldestPendingAt":"2026-11-24T18:00:00Z","oldestPendingAgeSeconds":7260},"inFlight":1,"rates":{"deliveredPerSecond":0,"failedPerSecond":1.25,"windowSeconds":60},"latencyMs":{"p50":1.5,"p90":2,"p99":30,"samples":1024},"lastFailure":{"at":"2026-11-24T19:59:00Z","failure":"status","status":500,"detail":null}}"#;
    let idle = r#"{"status":"DISABLED","disabledReason":"gone","gate":{"state":"OPEN","until":null,"failuresInARow":0,"failingSince":null},"backlog":{"deliveries":0,"isAtLeast":false,"oldestPendingAt":null,"oldestPendingAgeSeconds":null},"inFlight":0,"rates":{"deliveredPerSecond":0,"failedPerSecond":0,"windowSeconds":60},"latencyMs":{"p50":null,"p90":null,"p99":null,"samples":0},"lastFailure":null}"#;
    let server = Double::start(&[(200, busy), (200, idle)]).await;
    let (_, text) = ran(&server, &["health", ID]).await;
    assert_eq!(
        text,
        "status        ENABLED\n\
         gate          SHUT until 2026-11-24 20:00:00, 7 failures in a row, failing since 2026-11-24 19:00:00\n\
         backlog       at least 1000 deliveries\noldest        2 h 1 min\nin flight     1\n\
         rates         0.0 delivered, 1.2 failed per second over 60 s\n\
         latency       p50 1.5 ms, p90 2 ms, p99 30 ms, of 1024 samples\n\
         last failure  2026-11-24 19:59:00  status  500\n"
    );
    let (_, text) = ran(&server, &["health", ID]).await;
    assert!(
        text.contains("status        DISABLED (gone)\ngate          OPEN\nbacklog       0 deliveries\n"),
        "{text}"
    );
    assert_eq!(server.calls()[0], format!("GET /v1/channels/c1/webhooks/{ID}/health"));
}

#[tokio::test]
async fn refusals_are_the_servers_words_and_hold_no_credential() {
    let server = Double::start(&[(404, r#"{"error":404,"message":"Webhook not found"}"#), (204, "")]).await;
    let words = ["update", ID, "--auth-type", "BEARER", "--credential-env", "TOKEN"];
    let failure = ran(&server, &words).await.0.unwrap_err();
    assert_eq!(
        failure.message,
        "the server refused to change the webhook: 404 Webhook not found; check the url and the ids"
    );
    assert_eq!(ran(&server, &["delete", ID]).await.1, format!("webhook {ID} is deleted\n"));
    let line = server.line(&["list", "--channel", "c1"]);
    let shown = format!("{:?}", Line::try_parse_from(line).unwrap());
    assert!(!shown.contains(crate::manage::double::KEY), "{shown}");
}
