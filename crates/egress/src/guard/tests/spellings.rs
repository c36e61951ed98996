//! Every spelling of an address in a URL: what it is read as, and what becomes of it.

use super::*;
use crate::fuzzing::{literal_addresses, spell};
use crate::{UrlError, check_url};

/// What becomes of a URL with this host, on the way a connection takes.
fn verdict(host: &str) -> Result<(), String> {
    let url = format!("https://{host}/hook");
    check_url(&url, false).map_err(|error| error.to_string())?;
    let addresses = literal_addresses(&url).ok_or("a name")?;
    AddressGuard::default().check_all(&addresses).map_err(|refused| refused.kind.to_owned())
}

#[test]
fn every_literal_form_is_judged_as_the_address_it_is() {
    for (form, kind, hosts) in [
        ("plain", "loopback", &["127.0.0.1", "127.255.255.254"][..]),
        ("decimal", "loopback", &["2130706433", "2130706433."]),
        ("octal", "loopback", &["0177.0.0.1", "017700000001", "00000177.00.000.0001"]),
        ("hex", "loopback", &["0x7f.0.0.1", "0x7f000001", "0X7F.0X0.0x0.0x1", "0x0000007f.1"]),
        (
            "mixed",
            "metadata service",
            &["0xa9.0376.169.254", "169.0xfe.0251.0xfe", "0xa9fea9fe", "2852039166"],
        ),
        ("short", "loopback", &["127.1", "127.0.1", "0x7f.1", "0177.0.0x1"]),
        ("zero", "this network", &["0", "0x0", "00", "0.0", "0.0.0.0", "0x"]),
        ("trailing dot", "private", &["10.0.0.1.", "10.1.", "0xa000001."]),
        (
            "full width",
            "loopback",
            &["１２７.0.0.1", "127。0。0。1", "１２７．０．０．１", "127｡0｡0｡1", "０ｘ７ｆ．１"],
        ),
        ("other digits", "loopback", &["①②⑦.⓪.⓪.①", "𝟏𝟐𝟕.0.0.1", "¹²⁷.0.0.1"]),
        ("percent", "loopback", &["%31%32%37.0.0.1", "127%2e0%2e0%2e1", "%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1"]),
        ("invisible", "loopback", &["127\u{ad}.0.0.1", "12\u{200b}7.0.0.1", "127.0\u{2060}.0.1"]),
        (
            "name",
            "loopback",
            &["localhost", "LocalHost.", "a.localhost", "%6cocalhost", "ｌｏｃａｌｈｏｓｔ"],
        ),
        ("ipv6", "loopback", &["[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000::0001]"]),
        ("unspecified", "unspecified", &["[::]", "[0:0:0:0:0:0:0:0]", "[::0.0.0.0]"]),
        ("mapped", "private", &["[::ffff:10.0.0.1]", "[::ffff:a00:1]", "[0:0:0:0:0:FFFF:A00:1]"]),
        ("compatible", "ipv4-compatible", &["[::10.0.0.1]", "[::a00:1]", "[::8.8.8.8]"]),
        ("translated", "ipv4-translated", &["[::ffff:0:10.0.0.1]", "[::ffff:0:8.8.8.8]"]),
        ("nat64", "private", &["[64:ff9b::10.0.0.1]", "[64:ff9b::a00:1]", "[0064:FF9B::192.168.0.1]"]),
        ("local nat64", "local nat64", &["[64:ff9b:1::10.0.0.1]", "[64:ff9b:1:a00:0:100::]"]),
        ("6to4", "6to4 tunnel", &["[2002:a00:1::]", "[2002:7f00:1::1]", "[2002:808:808::1]"]),
        ("teredo", "protocol assignments", &["[2001:0:4136:e378:8000:63bf:f5ff:fffe]", "[2001::1]"]),
        ("isatap", "isatap tunnel", &["[2606:4700::5efe:10.0.0.1]", "[2606:4700::200:5efe:a00:1]"]),
        ("link-local", "link-local", &["169.254.1.1", "[fe80::1]", "[FE80:0::1]"]),
        ("site-local", "site-local", &["[fec0::1]"]),
        ("unique local", "private", &["[fc00::1]", "[fd12:3456::1]"]),
        ("multicast", "multicast", &["224.0.0.1", "[ff02::1]"]),
    ] {
        for host in hosts {
            assert_eq!(verdict(host), Err(kind.to_owned()), "{form}: {host}");
            // The port is no way around it.
            for port in ["80", "443", "8443", "00080", "65535", ""] {
                assert_eq!(verdict(&format!("{host}:{port}")), Err(kind.to_owned()), "{form}: {host}:{port}");
            }
        }
    }
}

#[test]
fn the_same_spellings_of_public_addresses_pass() {
    for host in [
        "8.8.8.8",
        "0x8080808",
        "134744072",
        "010.8.8.8",
        "8.526344",
        "８.8.8.8.",
        "%38.8.8.8",
        "[2606:4700::1111]",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::8.8.8.8]",
    ] {
        assert_eq!(verdict(host), Ok(()), "{host}");
    }
}

#[test]
fn what_is_no_address_and_no_name_is_refused_as_a_url() {
    let malformed = |host: &str| {
        let refused = check_url(&format!("https://{host}/"), false);
        assert!(matches!(refused, Err(UrlError::Malformed(_) | UrlError::NoHost)), "{host}: {refused:?}");
    };
    for host in [
        // Zone ids, plain and encoded, and the form reserved for later versions.
        "[fe80::1%eth0]",
        "[fe80::1%25eth0]",
        "[::1%251]",
        "[v1.fe80::a]",
        "[vF.::1]",
        // Numbers that overflow; more than four parts; letters among digits.
        "256.0.0.1",
        "4294967296",
        "127.0.0.256",
        "1.2.3.4.5",
        "0x100000000",
        "127.0.0.0x100",
        "0178.0.0.1",
        "127.0.0.1.0x",
        "1.2.3.08",
        "foo.127",
        "a.0x7f",
        // Brackets and characters of other parts.
        "[::1",
        "::1",
        "[127.0.0.1]",
        "[::1]x",
        "[::ffff:127.1]",
        "[1:2:3:4:5:6:7:8:9]",
        "[::1::]",
        "[]",
        "127.0.0.1%00.example.com",
        "127.0.0.1%2f.example.com",
        "127.0.0.1%23.example.com",
        "a%40127.0.0.1",
        "exa%5cmple.com",
        "a b",
        "a%20b",
        "a<b",
        "a^b",
        "a|b",
        "xn--0",
        "％00",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:80x",
        "127.0.0.1:80:80",
        "127.0.0.1:٨٠",
    ] {
        malformed(host);
    }
    for host in ["127.0.0.1..", "10.0.0.1...", "localhost..", "a..b"] {
        assert_eq!(check_url(&format!("https://{host}/"), false), Err(UrlError::EmptyLabel), "{host}");
    }
}

// Two readers of one text must not see two hosts: the one that is shown, and the one that is called.
#[test]
fn tricks_with_user_names_and_separators_are_refused() {
    for (text, expected) in [
        ("https://example.com@127.0.0.1/", UrlError::UserInfo),
        ("https://127.0.0.1@example.com/", UrlError::UserInfo),
        ("https://example.com:443@127.0.0.1:8080/", UrlError::UserInfo),
        ("https://a:b@c:d@127.0.0.1/", UrlError::UserInfo),
        ("https://@127.0.0.1/", UrlError::UserInfo),
        ("https://:@127.0.0.1/", UrlError::UserInfo),
        ("https://example.com%2f@127.0.0.1/", UrlError::UserInfo),
        ("https://[::1]@example.com/", UrlError::UserInfo),
        ("https://example.com\\@127.0.0.1/", UrlError::Backslash),
        ("https:\\\\127.0.0.1/", UrlError::Backslash),
        ("https:/127.0.0.1/", UrlError::Scheme),
        ("https:127.0.0.1", UrlError::Scheme),
        ("https:///127.0.0.1/", UrlError::NoHost),
        ("https:////127.0.0.1/", UrlError::NoHost),
        ("https://\t127.0.0.1/", UrlError::ControlCharacter),
        ("https://127.0.\r\n0.1/", UrlError::ControlCharacter),
        ("https://127.0.0.1:0/", UrlError::PortZero),
        ("//127.0.0.1/", UrlError::Scheme),
        ("gopher://127.0.0.1/", UrlError::Scheme),
        ("javascript://127.0.0.1/", UrlError::Scheme),
        ("view-source:https://127.0.0.1/", UrlError::Scheme),
    ] {
        assert_eq!(check_url(text, true), Err(expected), "{text:?}");
    }
    // What looks like a host behind the host is not one.
    for text in [
        "https://127.0.0.1#@example.com/",
        "https://127.0.0.1?@example.com/",
        "https://127.0.0.1/@example.com",
        "https://127.0.0.1#.example.com/",
        "https://127.0.0.1:443?x=https://example.com",
    ] {
        assert_eq!(literal_addresses(text), Some(vec![ip("127.0.0.1")]), "{text}");
    }
    for text in [
        "https://example.com#@127.0.0.1/",
        "https://example.com/?@127.0.0.1",
        "https://127.0.0.1.example.com/",
    ] {
        assert_eq!(literal_addresses(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn an_address_in_any_spelling_gets_the_verdict_of_the_plain_one(
        bits: u32,
        choices in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let address = Ipv4Addr::from_bits(bits);
        let plain = AddressGuard::default().check(IpAddr::V4(address)).map_err(|refused| refused.kind.to_owned());
        let host = spell(address, &choices);
        prop_assert_eq!(verdict(&host), plain, "{}", host);
    }

    #[test]
    fn an_ipv6_address_in_any_spelling_gets_its_verdict(bits: u128, is_upper: bool, is_long: bool) {
        let address = Ipv6Addr::from_bits(bits);
        let plain = AddressGuard::default().check(IpAddr::V6(address)).map_err(|refused| refused.kind.to_owned());
        let mut host = if is_long {
            address.segments().map(|segment| format!("{segment:04x}")).join(":")
        } else {
            address.to_string()
        };
        if is_upper {
            host = host.to_uppercase();
        }
        prop_assert_eq!(verdict(&format!("[{host}]")), plain, "{}", host);
    }
}
