//! The `auth` object.

use super::*;

#[test]
fn credentials_are_complete_for_their_type() {
    let auth = |object: &str| with(&format!("\"auth\":{object}")).map(|new| new.auth);
    let secret = Secret::new;
    for (object, expected) in [
        (r#"{"type":"NONE","token":"left out"}"#, Auth::None),
        (r#"{"type":"BEARER","token":"a b","key":7}"#, Auth::Bearer { token: secret("a b") }),
        (r#"{"type":"API_KEY","key":"k"}"#, Auth::ApiKey { key: secret("k") }),
        (
            r#"{"type":"BASIC","username":"é","password":" : "}"#,
            Auth::Basic { username: secret("é"), password: secret(" : ") },
        ),
        (
            r#"{"type":"CUSTOM_HEADER","headerName":"Authorization","headerValue":"Token x"}"#,
            Auth::CustomHeader { name: "Authorization".into(), value: secret("Token x") },
        ),
    ] {
        assert_eq!(auth(object), Ok(expected), "{object}");
    }

    let types = "NONE, BEARER, API_KEY, BASIC, CUSTOM_HEADER";
    for (object, text) in [
        ("null", "auth must be an object"),
        ("\"NONE\"", "auth must be an object"),
        ("[]", "auth must be an object"),
        ("{}", "auth.type is required"),
        (r#"{"token":"t"}"#, "auth.type is required"),
        (r#"{"type":null}"#, "auth.type must be a string"),
        (r#"{"type":"DIGEST"}"#, &*format!("unknown auth.type `DIGEST`: known are {types}")),
        (r#"{"type":"BEARER"}"#, "auth.token is required"),
        (r#"{"type":"BEARER","token":null}"#, "auth.token must be a string"),
        (r#"{"type":"BEARER","token":""}"#, "auth.token must not be empty"),
        (r#"{"type":"API_KEY","token":"t"}"#, "auth.key is required"),
        (r#"{"type":"BASIC","username":"u"}"#, "auth.password is required"),
        (r#"{"type":"BASIC","password":"p"}"#, "auth.username is required"),
        (r#"{"type":"BASIC","username":"u","password":""}"#, "auth.password must not be empty"),
        (r#"{"type":"BASIC","username":"a:b","password":"p"}"#, "auth.username must not hold a colon"),
        (r#"{"type":"CUSTOM_HEADER","headerName":"X-A"}"#, "auth.headerValue is required"),
        (r#"{"type":"CUSTOM_HEADER","headerValue":"v"}"#, "auth.headerName is required"),
    ] {
        both_refuse(&format!("\"auth\":{object}"), text);
    }
}

#[test]
fn credentials_can_stand_in_a_header() {
    for (escaped, rule) in [
        (r"a\u000ab", "must not hold control characters"),
        (r"a\u0000", "must not hold control characters"),
        (r"\ta", "must not hold control characters"),
        (r"a\u007f", "must not hold control characters"),
        ("é", "must be visible ASCII characters and spaces"),
        (" a", "must not begin or end with a space"),
        ("a ", "must not begin or end with a space"),
        (&"a".repeat(4097), "of 4097 characters exceeds 4096"),
    ] {
        for (field, object) in [
            ("token", format!(r#"{{"type":"BEARER","token":"{escaped}"}}"#)),
            ("key", format!(r#"{{"type":"API_KEY","key":"{escaped}"}}"#)),
            (
                "headerValue",
                format!(r#"{{"type":"CUSTOM_HEADER","headerName":"X-A","headerValue":"{escaped}"}}"#),
            ),
        ] {
            both_refuse(&format!("\"auth\":{object}"), &format!("auth.{field} {rule}"));
        }
    }
    let basic = |password: &str| {
        with(&format!(r#""auth":{{"type":"BASIC","username":"u","password":"{password}"}}"#))
    };
    assert!(basic(&"é".repeat(4096)).is_ok());
    assert_eq!(refused(basic(r"a\u000d")), "auth.password must not hold control characters");
    assert_eq!(refused(basic(&"é".repeat(4097))), "auth.password of 4097 characters exceeds 4096");
}

#[test]
fn custom_headers_take_no_name_that_is_not_theirs() {
    let named = |name: &str| {
        with(&format!(r#""auth":{{"type":"CUSTOM_HEADER","headerName":"{name}","headerValue":"v"}}"#))
    };
    for name in ["X-Api-Key", "authorization", "x-hubble", "Cookie", "a", "!#$%&'*+-.^_`|~9"] {
        assert!(named(name).is_ok(), "{name}");
    }
    for name in [
        "Connection",
        "keep-alive",
        "Proxy-Authorization",
        "proxy-connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "HTTP2-Settings",
        "Host",
        "Content-Type",
        "content-length",
        "Content-Anything",
        "Expect",
        "User-Agent",
        "webhook-id",
        "Webhook-Anything",
        "X-Hub-Event",
        "x-acme-signature",
    ] {
        assert_eq!(refused(named(name)), format!("auth.headerName must not be {name}"));
    }
    let token = "auth.headerName must be a header name: letters, digits and !#$%&'*+-.^_`|~";
    for name in ["X A", "X:", "X(A)", "é", "a/b", "[a]"] {
        assert_eq!(refused(named(name)), token, "{name}");
    }
    assert_eq!(refused(named("")), "auth.headerName must not be empty");
    assert_eq!(refused(named(&"a".repeat(257))), "auth.headerName of 257 characters exceeds 256");
}

#[test]
fn a_refused_credential_is_never_repeated() {
    for object in [
        r#"{"type":"BEARER","token":"hunter2\n"}"#,
        r#"{"type":"BASIC","username":"hunter2:","password":"p"}"#,
        r#"{"type":"CUSTOM_HEADER","headerName":"X-A","headerValue":" hunter2"}"#,
    ] {
        assert!(!refused(with(&format!("\"auth\":{object}"))).contains("hunter2"));
    }
}
