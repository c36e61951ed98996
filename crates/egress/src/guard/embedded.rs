//! IPv4 addresses inside IPv6 addresses: every form in which a router, a tunnel or a translator may read one.

use std::net::{Ipv4Addr, Ipv6Addr};

/// How an IPv6 address carries an IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `::ffff:a.b.c.d` (RFC 4291).
    Mapped,
    /// `::a.b.c.d`, long deprecated (RFC 4291).
    Compatible,
    /// `::ffff:0:a.b.c.d`, of stateless translators (RFC 2765).
    Translated,
    /// `64:ff9b::a.b.c.d` (RFC 6052).
    Nat64,
    /// `64:ff9b:1::/48`, in each of the four places RFC 6052 gives an address below it (RFC 8215).
    LocalNat64,
    /// `2002:aabb:ccdd::` (RFC 3056).
    SixToFour,
    /// `2001:0:…`: the server's address, and the client's inverted at the end (RFC 4380).
    Teredo,
    /// Interface id `[02]00:5efe:a.b.c.d` under any prefix (RFC 5214).
    Isatap,
}

impl Form {
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Form::Mapped => "ipv4-mapped",
            Form::Compatible => "ipv4-compatible",
            Form::Translated => "ipv4-translated",
            Form::Nat64 => "nat64",
            Form::LocalNat64 => "local nat64",
            Form::SixToFour => "6to4 tunnel",
            Form::Teredo => "teredo tunnel",
            Form::Isatap => "isatap tunnel",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Embedded {
    pub(super) form: Form,
    pub(super) address: Ipv4Addr,
}

impl Embedded {
    /// All readings of `address`, that of its prefix first: one may carry several, e.g. an ISATAP interface id behind a
    /// 6to4 prefix.
    pub(super) fn all_in(address: Ipv6Addr) -> impl Iterator<Item = Embedded> {
        let [a, b, c, d, e, f, g, h] = address.segments();
        let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
        let by_prefix = match (a, b, c, d, e, f) {
            (0, 0, 0, 0, 0, 0xffff) => Some((Form::Mapped, join(g, h))),
            (0, 0, 0, 0, 0, 0) => Some((Form::Compatible, join(g, h))),
            (0, 0, 0, 0, 0xffff, 0) => Some((Form::Translated, join(g, h))),
            (0x64, 0xff9b, 0, 0, 0, 0) => Some((Form::Nat64, join(g, h))),
            (0x64, 0xff9b, 1, ..) => Some((Form::LocalNat64, join(g, h))),
            (0x2002, high, low, ..) => Some((Form::SixToFour, join(high, low))),
            (0x2001, 0, ..) => Some((Form::Teredo, join(!g, !h))),
            _ => None,
        };
        let others = match by_prefix {
            Some((Form::Teredo, _)) => [Some((Form::Teredo, join(c, d))), None, None],
            Some((Form::LocalNat64, _)) => {
                // Below /48, /56 and /64; bits 64 to 71 are always passed over (RFC 6052, section 2.2).
                let [_, _, _, _, _, _, i, j, _, k, l, m, n, ..] = address.octets();
                [[i, j, k, l], [j, k, l, m], [k, l, m, n]]
                    .map(|octets| Some((Form::LocalNat64, Ipv4Addr::from_octets(octets))))
            }
            _ => [None; 3],
        };
        // The bits for universal and group in the interface id say nothing about the form.
        let is_isatap = e & !0x0300 == 0 && f == 0x5efe;
        let isatap = is_isatap.then(|| (Form::Isatap, join(g, h)));
        let found = std::iter::once(by_prefix).chain(others).chain(std::iter::once(isatap));
        found.flatten().map(|(form, address)| Embedded { form, address })
    }
}
