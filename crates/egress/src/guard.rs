//! Which addresses may be called. A hub's customers choose the URLs; they must not reach what only this machine or
//! its network may reach (server-side request forgery).
//!
//! Order of rules: an operator's deny list, then the operator's allow list, then the built-in refusals. An IPv6
//! address that carries IPv4 addresses is judged by them too: it never fares better than they do.
//!
//! The verdict is given once, when a connection is dialled (`connector`). A kept connection was dialled to a checked
//! address and cannot come to lead elsewhere: a later answer of the name servers changes only the next connection. The
//! lists are read at start, so a new entry meets no older connection.
//!
//! Sources of the built-in list: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890), with the
//! metadata services of clouds, which partly stand outside of them.

mod embedded;

use embedded::{Embedded, Form};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// First address, host bits zero.
    base: IpAddr,
    prefix_bits: u8,
}

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an address.
    #[error("network {0:?} does not begin with an ip address")]
    Address(String),
    /// The number behind the slash.
    #[error("network {0:?} must end with /0 to /32 (ipv4) or /0 to /128 (ipv6)")]
    Prefix(String),
    /// E.g. `10.0.0.1/8`: most likely a mistake for another range, so we do not guess.
    #[error("network {0:?} has bits set behind its prefix")]
    HostBits(String),
}

impl Network {
    /// Reads `address/prefix`, or an address alone.
    ///
    /// # Errors
    /// [`NetworkError`] names the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| NetworkError::Address(text.to_owned()))?;
        let bits_max = if base.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits_max,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|bits| *bits <= bits_max && prefix.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or_else(|| NetworkError::Prefix(text.to_owned()))?,
        };
        let network = Network { base, prefix_bits };
        let is_clean = match base {
            IpAddr::V4(base) => base.to_bits() & !mask_v4(prefix_bits) == 0,
            IpAddr::V6(base) => base.to_bits() & !mask_v6(prefix_bits) == 0,
        };
        if is_clean { Ok(network) } else { Err(NetworkError::HostBits(text.to_owned())) }
    }

    /// Whether `address` is in it. The two families never match each other.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                address.to_bits() & mask_v4(self.prefix_bits) == base.to_bits()
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                address.to_bits() & mask_v6(self.prefix_bits) == base.to_bits()
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Network::parse(text)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix_bits)
    }
}

const fn mask_v4(prefix_bits: u8) -> u32 {
    if prefix_bits == 0 { 0 } else { u32::MAX << (32 - prefix_bits as u32) }
}

const fn mask_v6(prefix_bits: u8) -> u128 {
    if prefix_bits == 0 { 0 } else { u128::MAX << (128 - prefix_bits as u32) }
}

/// An address that may not be called, and what kind it is. Prints without the address: the text reaches the webhook's
/// owner, who must not learn our network from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address may not be called: {kind}")]
pub struct Refused {
    /// E.g. `private`.
    pub kind: &'static str,
}

/// The operator's lists around the built-in refusals.
#[derive(Clone, Debug, Default)]
pub struct AddressGuard {
    /// Callable although refused by default (`egress.allow`).
    pub allow: Vec<Network>,
    /// Never callable (`egress.deny`); beats `allow`.
    pub deny: Vec<Network>,
}

impl AddressGuard {
    /// Judges one address.
    ///
    /// # Errors
    /// [`Refused`] with the kind of address.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let is_in = |list: &[Network], address: IpAddr| list.iter().any(|network| network.contains(address));
        let embedded = |is_wanted: fn(Form) -> bool, list: &[Network]| match address {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => Embedded::all_in(address)
                .any(|inside| is_wanted(inside.form) && is_in(list, IpAddr::V4(inside.address))),
        };
        // A denied IPv4 address stays denied in whatever IPv6 clothes.
        if is_in(&self.deny, address) || embedded(|_any| true, &self.deny) {
            return Err(Refused { kind: "denied by configuration" });
        }
        // A mapped address is the IPv4 address itself; other clothes need an allowance of their own.
        if is_in(&self.allow, address) || embedded(|form| form == Form::Mapped, &self.allow) {
            return Ok(());
        }
        match address {
            IpAddr::V4(address) => check_v4(address),
            IpAddr::V6(address) => check_v6(address),
        }
    }

    /// Judges all answers for one name: one bad among good ones refuses all, since a name that points inside now and
    /// then is not one to call.
    ///
    /// # Errors
    /// [`Refused`] by the first bad one.
    pub fn check_all(&self, addresses: &[IpAddr]) -> Result<(), Refused> {
        addresses.iter().try_for_each(|address| self.check(*address))
    }
}

type RangeV4 = (Ipv4Addr, u8, &'static str);
type RangeV6 = (Ipv6Addr, u8, &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix_bits: u8, kind: &'static str) -> RangeV4 {
    (Ipv4Addr::new(a, b, c, d), prefix_bits, kind)
}

const fn v6(a: u16, b: u16, c: u16, prefix_bits: u8, kind: &'static str) -> RangeV6 {
    (Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix_bits, kind)
}

/// First match names the kind, so narrow ranges stand before those that hold them.
const REFUSED_V4: [RangeV4; 20] = [
    v4(169, 254, 169, 254, 32, "metadata service"),
    v4(169, 254, 170, 2, 32, "metadata service"),
    v4(100, 100, 100, 200, 32, "metadata service"),
    v4(192, 0, 0, 192, 32, "metadata service"),
    v4(168, 63, 129, 16, 32, "metadata service"),
    v4(0, 0, 0, 0, 8, "this network"),
    v4(10, 0, 0, 0, 8, "private"),
    v4(100, 64, 0, 0, 10, "carrier-grade nat"),
    v4(127, 0, 0, 0, 8, "loopback"),
    v4(169, 254, 0, 0, 16, "link-local"),
    v4(172, 16, 0, 0, 12, "private"),
    v4(192, 0, 0, 0, 24, "protocol assignments"),
    v4(192, 0, 2, 0, 24, "documentation"),
    v4(192, 88, 99, 0, 24, "6to4 relay"),
    v4(192, 168, 0, 0, 16, "private"),
    v4(198, 18, 0, 0, 15, "benchmarking"),
    v4(198, 51, 100, 0, 24, "documentation"),
    v4(203, 0, 113, 0, 24, "documentation"),
    v4(224, 0, 0, 0, 4, "multicast"),
    v4(240, 0, 0, 0, 4, "reserved or broadcast"),
];

const REFUSED_V6: [RangeV6; 14] = [
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, "metadata service"),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, "metadata service"),
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    v6(0x64, 0xff9b, 1, 48, "local nat64"),
    v6(0x100, 0, 0, 64, "discard-only"),
    v6(0x2001, 0, 0, 23, "protocol assignments"),
    v6(0x2001, 0xdb8, 0, 32, "documentation"),
    v6(0x3fff, 0, 0, 20, "documentation"),
    v6(0x5f00, 0, 0, 16, "segment routing"),
    v6(0xfc00, 0, 0, 7, "private"),
    v6(0xfe80, 0, 0, 10, "link-local"),
    v6(0xfec0, 0, 0, 10, "site-local"),
    v6(0xff00, 0, 0, 8, "multicast"),
];

fn check_v4(address: Ipv4Addr) -> Result<(), Refused> {
    let bits = address.to_bits();
    let found = REFUSED_V4.iter().find(|(base, prefix, _)| bits & mask_v4(*prefix) == base.to_bits());
    found.map_or(Ok(()), |(_, _, kind)| Err(Refused { kind }))
}

fn check_v6(address: Ipv6Addr) -> Result<(), Refused> {
    let bits = address.to_bits();
    // Before the forms: `::` and `::1` would else be taken for compatible addresses.
    if let Some((_, _, kind)) =
        REFUSED_V6.iter().find(|(base, prefix, _)| bits & mask_v6(*prefix) == base.to_bits())
    {
        return Err(Refused { kind });
    }
    match Embedded::all_in(address).next() {
        // These two name exactly one IPv4 address, which is what is called in the end.
        Some(Embedded { form: Form::Mapped | Form::Nat64, address }) => check_v4(address),
        // Tunnels: where the packet comes out is not ours to know, even behind a public address.
        Some(Embedded { form, .. }) => Err(Refused { kind: form.kind() }),
        // Only 2000::/3 is handed out for the public internet.
        None if bits >> 125 == 0b001 => Ok(()),
        None => Err(Refused { kind: "not global unicast" }),
    }
}

#[cfg(test)]
mod tests;
