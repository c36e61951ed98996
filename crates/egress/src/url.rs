//! Which URLs a webhook may have. Pure: admin asks when a webhook is made, the transport when it is first called.

use fanfare_core::limits::URL_CHARS_MAX;
use url::{Host, Url};

/// Why a URL is refused. The text names the problem and never repeats the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than the contract allows.
    #[error("url of {chars} characters exceeds {URL_CHARS_MAX}")]
    TooLong {
        /// Its length.
        chars: usize,
    },
    /// A control character, in the text as given: parsers drop some silently.
    #[error("url must not contain control characters")]
    ControlCharacter,
    /// A backslash: parsers read it as a slash, so the host one sees is not the host one calls.
    #[error("url must not contain backslashes")]
    Backslash,
    /// White space around it, which parsers drop.
    #[error("url must not begin or end with white space")]
    OuterSpace,
    /// Not absolute, or another scheme.
    #[error("url must begin with https:// or http://")]
    Scheme,
    /// Cleartext where it is not allowed.
    #[error("url must use https; plain http is not allowed here")]
    PlainHttp,
    /// A name or password in front of the host.
    #[error("url must not contain a user name or password; use auth instead")]
    UserInfo,
    /// Nothing to call.
    #[error("url has no host")]
    NoHost,
    /// `a..b`, or a second dot at its end: no name server knows such a name, and readers differ over what it means.
    #[error("url has a host with an empty part between its dots")]
    EmptyLabel,
    /// No one listens there.
    #[error("url has port 0")]
    PortZero,
    /// Everything else.
    #[error("url is malformed: {0}")]
    Malformed(url::ParseError),
}

/// Checks the text of a webhook's URL and parses it.
///
/// The raw text is checked before it is parsed, because the parser forgives: it drops tabs and outer white space,
/// reads `\` as `/`, skips extra slashes and an empty `user@`. The host comes back normalised: decimal, octal, hex and
/// short forms of IPv4 addresses are IPv4 addresses. Whether an address may be called is not decided here but for each
/// connection, by [`crate::guard`].
///
/// # Errors
/// [`UrlError`] names the problem.
pub fn check_url(text: &str, allow_http: bool) -> Result<Url, UrlError> {
    let chars = text.chars().count();
    if chars > URL_CHARS_MAX {
        return Err(UrlError::TooLong { chars });
    }
    if text.chars().any(char::is_control) {
        return Err(UrlError::ControlCharacter);
    }
    if text.contains('\\') {
        return Err(UrlError::Backslash);
    }
    if text.trim() != text {
        return Err(UrlError::OuterSpace);
    }
    let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
    let is_http = scheme.eq_ignore_ascii_case("http");
    if !is_http && !scheme.eq_ignore_ascii_case("https") {
        return Err(UrlError::Scheme);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(UrlError::UserInfo);
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(UrlError::NoHost);
    }
    let url = Url::parse(text).map_err(UrlError::Malformed)?;
    match url.host() {
        None | Some(Host::Domain("" | ".")) => return Err(UrlError::NoHost),
        Some(Host::Domain(name)) if has_empty_label(name) => return Err(UrlError::EmptyLabel),
        Some(_) => {}
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::UserInfo);
    }
    if url.port() == Some(0) {
        return Err(UrlError::PortZero);
    }
    if is_http && !allow_http {
        return Err(UrlError::PlainHttp);
    }
    Ok(url)
}

fn has_empty_label(name: &str) -> bool {
    name.strip_suffix('.').unwrap_or(name).split('.').any(str::is_empty)
}

/// The host of a checked URL as [`crate::resolve`] takes it: a name in ASCII, or an address in its one plain spelling.
pub(crate) fn host_of(url: &Url) -> Option<Box<str>> {
    Some(match url.host()? {
        Host::Domain(name) => name.into(),
        Host::Ipv4(address) => address.to_string().into(),
        Host::Ipv6(address) => address.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn refusal(text: &str) -> UrlError {
        check_url(text, true).expect_err(text)
    }

    #[test]
    fn good_urls_pass() {
        for text in [
            "https://example.com",
            "HTTPS://Example.com:8443/hook?a=b#c",
            "https://bücher.example/ä",
            "https://[2606:4700::1111]:8443/x",
            "http://192.0.2.1/",
            "https://example.com/user@host",
            "https://example.com?at=a@b",
        ] {
            assert!(check_url(text, true).is_ok(), "{text}");
        }
        let longest = format!("https://example.com/{}", "a".repeat(URL_CHARS_MAX - 20));
        assert!(check_url(&longest, false).is_ok());
        assert_eq!(refusal(&format!("{longest}a")), UrlError::TooLong { chars: URL_CHARS_MAX + 1 });
    }

    #[test]
    fn what_a_parser_would_forgive_is_refused() {
        for text in
            ["https://exam\tple.com", "https://example.com/\n", "https://example.com/\u{7f}", "\0https://a"]
        {
            assert_eq!(refusal(text), UrlError::ControlCharacter, "{text:?}");
        }
        for text in ["https:\\\\example.com", "https://example.com\\@evil.test/", "https://a/b\\c"] {
            assert_eq!(refusal(text), UrlError::Backslash, "{text}");
        }
        for text in [" https://example.com", "https://example.com "] {
            assert_eq!(refusal(text), UrlError::OuterSpace, "{text:?}");
        }
        for text in [
            "",
            "example.com",
            "//example.com/x",
            "/x",
            "ftp://example.com",
            "https:example.com",
            "file:///x",
        ] {
            assert_eq!(refusal(text), UrlError::Scheme, "{text}");
        }
        for text in
            ["https://u@example.com", "https://u:p@example.com", "https://@example.com", "https://a@b@c/"]
        {
            assert_eq!(refusal(text), UrlError::UserInfo, "{text}");
        }
        for text in ["https://", "https:///example.com", "https://?x", "https://:443/", "https://./x"] {
            assert_eq!(refusal(text), UrlError::NoHost, "{text}");
        }
        for text in
            ["https://a..b/", "https://.a/", "https://a../", "http://127.0.0.1../", "http://localhost../"]
        {
            assert_eq!(refusal(text), UrlError::EmptyLabel, "{text}");
        }
        for text in ["https://example.com:0/", "https://example.com:00000/"] {
            assert_eq!(refusal(text), UrlError::PortZero, "{text}");
        }
        for text in
            ["https://exa mple.com", "https://example.com:99999/", "https://[::1", "https://1.2.3.256/"]
        {
            assert!(matches!(refusal(text), UrlError::Malformed(_)), "{text}");
        }
    }

    #[test]
    fn plain_http_needs_permission() {
        assert_eq!(check_url("http://example.com", false), Err(UrlError::PlainHttp));
        assert!(check_url("http://example.com", true).is_ok());
    }

    #[test]
    fn every_spelling_of_an_address_is_that_address() {
        for text in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "2130706433",
            "0x7f000001",
            "017700000001",
            "0177.0.0.1",
            "127.0.0.1.",
        ] {
            let url = check_url(&format!("http://{text}/"), true).unwrap();
            assert_eq!(url.host(), Some(Host::Ipv4(Ipv4Addr::LOCALHOST)), "{text}");
        }
        for text in ["１２７.0.0.1", "127。0。0。1", "%31%32%37.0.0.1"] {
            let url = check_url(&format!("http://{text}/"), true).unwrap();
            assert_eq!(url.host(), Some(Host::Ipv4(Ipv4Addr::LOCALHOST)), "{text}");
        }
    }

    #[test]
    fn errors_do_not_repeat_the_url() {
        let error = refusal("https://user:hunter2@example.com/?token=abc");
        assert!(!error.to_string().contains("hunter2") && !error.to_string().contains("token"));
    }
}
