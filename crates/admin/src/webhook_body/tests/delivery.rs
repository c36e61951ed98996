//! The `delivery` object.

use super::*;

#[test]
fn delivery_settings_are_all_optional() {
    let delivery = |object: &str| with(&format!("\"delivery\":{object}")).map(|new| new.delivery);
    for object in [
        "{}",
        r#"{"unknown":1}"#,
        r#"{"timeoutMs":null,"maxInFlight":null,"rateLimit":null,"ordering":null,"retry":null,"protocol":null}"#,
        r#"{"retry":{}}"#,
        r#"{"retry":{"scheduleSeconds":null,"maxAgeSeconds":null}}"#,
    ] {
        assert_eq!(delivery(object), Ok(DeliverySettings::default()), "{object}");
    }
    assert_eq!(
        delivery(
            r#"{"timeoutMs":1000,"maxInFlight":256,"rateLimit":{"perSecond":0.5,"burst":1000000},
                "ordering":"KEY","retry":{"scheduleSeconds":[1,604800],"maxAgeSeconds":2592000},
                "protocol":"HTTP2"}"#
        ),
        Ok(DeliverySettings {
            timeout_ms: Some(1000),
            max_in_flight: Some(256),
            rate_limit: Some(RateLimit { per_second: 0.5, burst: 1_000_000 }),
            ordering: Some(Ordering::Key),
            retry_schedule_seconds: Some(vec![1, 604_800]),
            retry_max_age_seconds: Some(2_592_000),
            protocol: Some(Protocol::Http2),
        })
    );
    assert_eq!(refused(with(r#""delivery":null"#)), "delivery must be an object");
}

#[test]
fn delivery_settings_keep_their_ranges() {
    let schedule = "delivery.retry.scheduleSeconds must be an array of 1 to 20 integers from 1 to 604800";
    let per_second = "delivery.rateLimit.perSecond must be a number above 0, at most 1000000";
    let twenty_one = format!(r#"{{"retry":{{"scheduleSeconds":[{}1]}}}}"#, "1,".repeat(20));
    for (object, text) in [
        ("[]", "delivery must be an object"),
        (r#"{"timeoutMs":999}"#, "delivery.timeoutMs must be an integer from 1000 to 30000"),
        (r#"{"timeoutMs":30001}"#, "delivery.timeoutMs must be an integer from 1000 to 30000"),
        (r#"{"timeoutMs":"2000"}"#, "delivery.timeoutMs must be an integer from 1000 to 30000"),
        (r#"{"timeoutMs":2000.0}"#, "delivery.timeoutMs must be an integer from 1000 to 30000"),
        (r#"{"maxInFlight":0}"#, "delivery.maxInFlight must be an integer from 1 to 256"),
        (r#"{"maxInFlight":257}"#, "delivery.maxInFlight must be an integer from 1 to 256"),
        (r#"{"rateLimit":5}"#, "delivery.rateLimit must be an object"),
        (r#"{"rateLimit":{}}"#, "delivery.rateLimit.perSecond is required"),
        (r#"{"rateLimit":{"perSecond":0}}"#, per_second),
        (r#"{"rateLimit":{"perSecond":-1}}"#, per_second),
        (r#"{"rateLimit":{"perSecond":1000000.5}}"#, per_second),
        (r#"{"rateLimit":{"perSecond":1e999}}"#, per_second),
        (r#"{"rateLimit":{"perSecond":"5"}}"#, per_second),
        (r#"{"rateLimit":{"perSecond":null}}"#, per_second),
        (
            r#"{"rateLimit":{"perSecond":5,"burst":0}}"#,
            "delivery.rateLimit.burst must be an integer from 1 to 1000000",
        ),
        (
            r#"{"rateLimit":{"perSecond":5,"burst":1000001}}"#,
            "delivery.rateLimit.burst must be an integer from 1 to 1000000",
        ),
        (r#"{"ordering":"key"}"#, "delivery.ordering must be NONE or KEY"),
        (r#"{"ordering":7}"#, "delivery.ordering must be NONE or KEY"),
        (r#"{"retry":[]}"#, "delivery.retry must be an object"),
        (r#"{"retry":{"scheduleSeconds":[]}}"#, schedule),
        (r#"{"retry":{"scheduleSeconds":[0]}}"#, schedule),
        (r#"{"retry":{"scheduleSeconds":[604801]}}"#, schedule),
        (r#"{"retry":{"scheduleSeconds":[1.5]}}"#, schedule),
        (r#"{"retry":{"scheduleSeconds":["1"]}}"#, schedule),
        (r#"{"retry":{"scheduleSeconds":5}}"#, schedule),
        (&twenty_one, schedule),
        (
            r#"{"retry":{"maxAgeSeconds":0}}"#,
            "delivery.retry.maxAgeSeconds must be an integer from 1 to 2592000",
        ),
        (
            r#"{"retry":{"maxAgeSeconds":2592001}}"#,
            "delivery.retry.maxAgeSeconds must be an integer from 1 to 2592000",
        ),
        (r#"{"protocol":"HTTP3"}"#, "delivery.protocol must be AUTO, HTTP1 or HTTP2"),
        (r#"{"timeoutMs":2000,"timeoutMs":3000}"#, "delivery.timeoutMs is given twice"),
    ] {
        both_refuse(&format!("\"delivery\":{object}"), text);
    }
}

#[test]
fn a_burst_left_out_is_a_second_s_worth() {
    for (per_second, burst) in [("0.001", 1), ("1", 1), ("2.1", 3), ("1000000", 1_000_000)] {
        let new = with(&format!(r#""delivery":{{"rateLimit":{{"perSecond":{per_second}}}}}"#)).unwrap();
        assert_eq!(new.delivery.rate_limit.unwrap().burst, burst, "{per_second}");
    }
}

#[test]
fn delivery_merges_member_by_member() {
    let before = stored().delivery;
    for (object, after) in [
        (r#"{"timeoutMs":3000}"#, DeliverySettings { timeout_ms: Some(3000), ..before.clone() }),
        (r#"{"timeoutMs":null}"#, DeliverySettings { timeout_ms: None, ..before.clone() }),
        (
            r#"{"retry":{"maxAgeSeconds":90}}"#,
            DeliverySettings { retry_max_age_seconds: Some(90), ..before.clone() },
        ),
        (
            r#"{"retry":{"scheduleSeconds":null}}"#,
            DeliverySettings { retry_schedule_seconds: None, ..before.clone() },
        ),
        (
            r#"{"retry":null,"ordering":null}"#,
            DeliverySettings {
                retry_schedule_seconds: None,
                retry_max_age_seconds: None,
                ordering: None,
                ..before.clone()
            },
        ),
        // A whole: the burst of before does not stay.
        (
            r#"{"rateLimit":{"perSecond":2}}"#,
            DeliverySettings { rate_limit: Some(RateLimit { per_second: 2.0, burst: 2 }), ..before.clone() },
        ),
        (r#"{"rateLimit":null}"#, DeliverySettings { rate_limit: None, ..before.clone() }),
    ] {
        assert_eq!(patched(&format!("{{\"delivery\":{object}}}")).delivery, after, "{object}");
    }
}
