//! Generators and oracles of the fuzz targets (`fuzz/`), used by the tests over their corpus too. Not part of the
//! crate's interface.
//!
//! Each `check_…` takes any bytes and panics when a promise is broken. The oracles are written apart from what they
//! judge, from the standard library's notions: two lists that must agree.

use crate::guard::AddressGuard;
use crate::resolve::without_lookup;
use crate::retry_after;
use crate::url::{UrlError, check_url, host_of};
use fanfare_core::limits::RETRY_AFTER_SECONDS_MAX;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::Url;

/// What a URL that passes leads to: the addresses named without asking a name server; `None` when it must be asked.
///
/// The way of the transport itself: `check_url`, its host, `without_lookup`.
///
/// # Panics
/// When the URL is refused.
#[must_use]
pub fn literal_addresses(url: &str) -> Option<Vec<IpAddr>> {
    addresses_of(&check_url(url, true).expect("a url that passes"))
}

fn addresses_of(url: &Url) -> Option<Vec<IpAddr>> {
    without_lookup(&host_of(url).expect("a checked url has a host"))
}

/// Target `guard`. The first byte chooses: a URL as text, an IPv4 address in some spelling, an IPv6 address.
///
/// # Panics
/// When an address that may not be called would be.
pub fn check_guard(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    match choice % 3 {
        0 => check_guard_url(&String::from_utf8_lossy(rest)),
        1 => {
            let Some((bits, choices)) = rest.split_first_chunk() else { return };
            check_guard_spelling(Ipv4Addr::from_octets(*bits), choices);
        }
        _ => {
            let Some(bits) = rest.first_chunk() else { return };
            let address = Ipv6Addr::from_octets(*bits);
            assert_eq!(literal_addresses(&format!("https://[{address}]/")), Some(vec![IpAddr::V6(address)]));
            check_verdict(IpAddr::V6(address));
        }
    }
}

fn check_verdict(address: IpAddr) {
    let verdict = AddressGuard::default().check(address);
    assert!(verdict.is_err() || !is_forbidden(address), "{address} may not be called and passes");
}

fn check_guard_url(text: &str) {
    let Ok(url) = check_url(text, true) else { return };
    let host = host_of(&url).expect("a checked url has a host");
    assert!(
        !host.is_empty() && host.is_ascii() && !host.contains(['@', '\\', '/', '%', ' ']),
        "host {host:?}"
    );
    assert!(url.username().is_empty() && url.password().is_none(), "a user in {text:?}");
    assert_ne!(url.port(), Some(0), "port 0 in {text:?}");
    let addresses = without_lookup(&host);
    // A resolver of the C library would read these as addresses, past the guard's eyes.
    if let Some(address) = inet_aton(&host) {
        assert_eq!(addresses, Some(vec![IpAddr::V4(address)]), "host {host:?} of {text:?}");
    }
    for address in addresses.into_iter().flatten() {
        check_verdict(address);
    }
    // Written out and parsed once more it is the same; percent-encoding may have made it too long for that.
    match check_url(url.as_str(), true) {
        Ok(again) => assert_eq!(host_of(&again), Some(host), "{text:?}"),
        Err(error) => assert!(matches!(error, UrlError::TooLong { .. }), "{text:?}: {error}"),
    }
}

fn check_guard_spelling(address: Ipv4Addr, choices: &[u8]) {
    let host = spell(address, choices);
    let url = format!("http://{host}/");
    assert_eq!(literal_addresses(&url), Some(vec![IpAddr::V4(address)]), "{url}");
    check_verdict(IpAddr::V4(address));
}

/// Writes an IPv4 address in one of the many ways a URL parser reads: one to four parts, each decimal, octal or hex
/// with zeros in front, in full-width or percent-encoded characters, with a soft hyphen between or a dot at its end.
/// `choices` decide, for as long as they last; then it goes on plainly.
#[must_use]
pub fn spell(address: Ipv4Addr, choices: &[u8]) -> String {
    let mut choices = choices.iter().copied();
    let mut choose = |count: u8| choices.next().map_or(0, |byte| byte % count);
    let octets = address.octets().map(u32::from);
    let part_count = 4 - usize::from(choose(4));
    let mut plain = String::new();
    for place in 0..part_count {
        // The last part holds all octets that are left.
        let end = if place + 1 == part_count { 4 } else { place + 1 };
        let value =
            octets.get(place..end).unwrap_or_default().iter().fold(0, |value, octet| value << 8 | octet);
        let zeros = "0".repeat(usize::from(choose(4)));
        let dot = if place == 0 { "" } else { "." };
        let written = match choose(4) {
            0 => write!(plain, "{dot}{value}"),
            1 => write!(plain, "{dot}0{zeros}{value:o}"),
            2 => write!(plain, "{dot}0x{zeros}{value:x}"),
            _ => write!(plain, "{dot}0X{zeros}{value:X}"),
        };
        written.expect("a string takes everything");
    }
    if choose(4) == 1 {
        plain.push('.');
    }
    let mut text = String::new();
    for char in plain.chars() {
        match choose(6) {
            // Full-width forms stand in the order of ASCII.
            1 => text.extend(char::from_u32(u32::from(char) - 0x20 + 0xff00)),
            2 => write!(text, "%{:02x}", u32::from(char)).expect("a string takes everything"),
            3 if char == '.' => text.push('\u{3002}'),
            4 => {
                text.push('\u{ad}');
                text.push(char);
            }
            _ => text.push(char),
        }
    }
    text
}

/// What the C library's `inet_aton` reads: one to four numbers, decimal, octal or hex.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    let (last, firsts) = parts.split_last()?;
    let number = |part: &str| {
        // Rust reads a sign in front of a number, C does not here.
        let lower = Some(part.to_ascii_lowercase()).filter(|part| !part.contains('+'))?;
        if let Some(digits) = lower.strip_prefix("0x") {
            return u64::from_str_radix(digits, 16).ok();
        }
        let radix = if lower.len() > 1 && lower.starts_with('0') { 8 } else { 10 };
        u64::from_str_radix(&lower, radix).ok()
    };
    let mut bits = 0;
    for part in firsts {
        bits = bits << 8 | number(part).filter(|octet| *octet < 256)?;
    }
    let left_bits = 32_u32.checked_sub(u32::try_from(firsts.len()).ok()? * 8).filter(|bits| *bits > 0)?;
    let low = number(last).filter(|low| *low < 1 << left_bits)?;
    u32::try_from(bits << left_bits | low).ok().map(Ipv4Addr::from_bits)
}

/// Written apart from the guard's list.
fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_forbidden_v4(address),
        IpAddr::V6(address) => is_forbidden_v6(address),
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_unspecified()
        || a == 0
        || a >= 240
        || a == 100 && (64..128).contains(&b)
        || a == 198 && (b == 18 || b == 19)
        || a == 192 && b == 0 && c == 0
        || address == Ipv4Addr::new(168, 63, 129, 16)
}

fn is_forbidden_v6(address: Ipv6Addr) -> bool {
    if let Some(inside) = address.to_ipv4_mapped() {
        return is_forbidden_v4(inside);
    }
    let [a, b, c, d, e, f, ..] = address.segments();
    let [.., i, j, k, l] = address.octets();
    let inside = Ipv4Addr::new(i, j, k, l);
    if [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_forbidden_v4(inside);
    }
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || !(0x2000..0x4000).contains(&a)
        || a == 0x2002
        || a == 0x2001 && (b < 0x200 || b == 0xdb8)
        || a == 0x3fff && b < 0x1000
        || f == 0x5efe && matches!(e, 0 | 0x100 | 0x200 | 0x300)
}

/// Target `retry_after`. Eight bytes of time, then the header's value.
///
/// # Panics
/// When the wait is longer than a day, grows with time, or differs from what its digits say.
pub fn check_retry_after(data: &[u8]) {
    let Some((now, value)) = data.split_first_chunk() else { return };
    let now_s = u64::from_le_bytes(*now);
    let wait_s = |now_s| retry_after::parse(value, now_s).map(|wait| wait.as_secs());
    let wait = wait_s(now_s);
    assert!(wait.is_none_or(|wait| wait <= RETRY_AFTER_SECONDS_MAX), "{wait:?} s");
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    let digits = value.get(start..end).unwrap_or_default();
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        let expected = digits
            .iter()
            .fold(0_u64, |sum, digit| (sum * 10 + u64::from(digit - b'0')).min(RETRY_AFTER_SECONDS_MAX + 1));
        assert_eq!(wait, Some(expected.min(RETRY_AFTER_SECONDS_MAX)));
    } else if let Some(wait) = wait {
        // A date: each second that passes takes one off, until none is left.
        let later = wait_s(now_s.saturating_add(1)).expect("still a date");
        assert!(later == wait || later + 1 == wait, "{wait} s, and a second later {later} s");
        assert_eq!(wait_s(u64::MAX), Some(0));
    }
}
