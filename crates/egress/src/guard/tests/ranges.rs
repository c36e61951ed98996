//! Every refused range: its first and last address, the one before and the one after.

use super::*;

/// Network, what its first and last address are refused as, and what its neighbours are (`PASSES`, or another kind).
type Row = (&'static str, &'static str, &'static str, &'static str);

const PASSES: &str = "passes";
/// No address stands there.
const NONE: &str = "none";
const NOT_GLOBAL: &str = "not global unicast";

const V4: [Row; 20] = [
    ("0.0.0.0/8", "this network", NONE, PASSES),
    ("10.0.0.0/8", "private", PASSES, PASSES),
    ("100.64.0.0/10", "carrier-grade nat", PASSES, PASSES),
    ("100.100.100.200/32", "metadata service", "carrier-grade nat", "carrier-grade nat"),
    ("127.0.0.0/8", "loopback", PASSES, PASSES),
    ("168.63.129.16/32", "metadata service", PASSES, PASSES),
    ("169.254.0.0/16", "link-local", PASSES, PASSES),
    ("169.254.169.254/32", "metadata service", "link-local", "link-local"),
    ("169.254.170.2/32", "metadata service", "link-local", "link-local"),
    ("172.16.0.0/12", "private", PASSES, PASSES),
    ("192.0.0.0/24", "protocol assignments", PASSES, PASSES),
    ("192.0.0.192/32", "metadata service", "protocol assignments", "protocol assignments"),
    ("192.0.2.0/24", "documentation", PASSES, PASSES),
    ("192.88.99.0/24", "6to4 relay", PASSES, PASSES),
    ("192.168.0.0/16", "private", PASSES, PASSES),
    ("198.18.0.0/15", "benchmarking", PASSES, PASSES),
    ("198.51.100.0/24", "documentation", PASSES, PASSES),
    ("203.0.113.0/24", "documentation", PASSES, PASSES),
    ("224.0.0.0/4", "multicast", PASSES, "reserved or broadcast"),
    ("240.0.0.0/4", "reserved or broadcast", "multicast", NONE),
];

const V6: [Row; 19] = [
    ("::/128", "unspecified", NONE, "loopback"),
    ("::1/128", "loopback", "unspecified", "ipv4-compatible"),
    ("::ffff:0:0:0/96", "ipv4-translated", NOT_GLOBAL, NOT_GLOBAL),
    ("64:ff9b:1::/48", "local nat64", NOT_GLOBAL, NOT_GLOBAL),
    ("100::/64", "discard-only", NOT_GLOBAL, NOT_GLOBAL),
    ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", NOT_GLOBAL, NOT_GLOBAL, PASSES),
    ("2001::/23", "protocol assignments", PASSES, PASSES),
    ("2001:db8::/32", "documentation", PASSES, PASSES),
    ("2002::/16", "6to4 tunnel", PASSES, PASSES),
    ("3fff::/20", "documentation", PASSES, PASSES),
    ("4000::/128", NOT_GLOBAL, PASSES, NOT_GLOBAL),
    ("5f00::/16", "segment routing", NOT_GLOBAL, NOT_GLOBAL),
    ("fc00::/7", "private", NOT_GLOBAL, NOT_GLOBAL),
    ("fd00:ec2::254/128", "metadata service", "private", "private"),
    ("fd20:ce::254/128", "metadata service", "private", "private"),
    ("fe80::/10", "link-local", NOT_GLOBAL, "site-local"),
    ("fec0::/10", "site-local", "link-local", "multicast"),
    ("ff00::/8", "multicast", "site-local", NONE),
    ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "multicast", "multicast", NONE),
];

fn kind_of(address: IpAddr) -> &'static str {
    AddressGuard::default().check(address).map_or_else(|refused| refused.kind, |()| PASSES)
}

#[test]
fn every_ipv4_range_is_refused_to_its_edges_and_no_further() {
    for (text, kind, before, after) in V4 {
        let Network { base: IpAddr::V4(first), prefix_bits } = Network::parse(text).unwrap() else {
            panic!()
        };
        let (first, last) = (first.to_bits(), first.to_bits() | !mask_v4(prefix_bits));
        let kind_of =
            |bits: Option<u32>| bits.map_or(NONE, |bits| kind_of(IpAddr::V4(Ipv4Addr::from_bits(bits))));
        let found = [first.checked_sub(1), Some(first), Some(last), last.checked_add(1)].map(kind_of);
        assert_eq!(found, [before, kind, kind, after], "{text}");
    }
}

#[test]
fn every_ipv6_range_is_refused_to_its_edges_and_no_further() {
    for (text, kind, before, after) in V6 {
        let Network { base: IpAddr::V6(first), prefix_bits } = Network::parse(text).unwrap() else {
            panic!()
        };
        let (first, last) = (first.to_bits(), first.to_bits() | !mask_v6(prefix_bits));
        let kind_of =
            |bits: Option<u128>| bits.map_or(NONE, |bits| kind_of(IpAddr::V6(Ipv6Addr::from_bits(bits))));
        let found = [first.checked_sub(1), Some(first), Some(last), last.checked_add(1)].map(kind_of);
        assert_eq!(found, [before, kind, kind, after], "{text}");
    }
}

// The table above and the list in the code are two lists: neither may hold what the other lacks.
#[test]
fn the_table_holds_every_range_of_the_code() {
    let has = |table: &[Row], range: String| table.iter().any(|(text, ..)| *text == range);
    for (base, prefix_bits, kind) in REFUSED_V4 {
        assert!(has(&V4, format!("{base}/{prefix_bits}")), "{kind} {base}/{prefix_bits}");
    }
    for (base, prefix_bits, kind) in REFUSED_V6 {
        assert!(has(&V6, format!("{base}/{prefix_bits}")), "{kind} {base}/{prefix_bits}");
    }
    assert_eq!(V4.len(), REFUSED_V4.len());
}

/// All IPv6 addresses that carry `inside`, by the form's name.
fn clothes(inside: Ipv4Addr) -> Vec<(&'static str, Ipv6Addr)> {
    let [a, b, c, d] = inside.octets().map(u16::from);
    let (high, low) = (a << 8 | b, c << 8 | d);
    let v6 = |segments: [u16; 8]| Ipv6Addr::from(segments);
    vec![
        ("mapped", v6([0, 0, 0, 0, 0, 0xffff, high, low])),
        ("compatible", v6([0, 0, 0, 0, 0, 0, high, low])),
        ("translated", v6([0, 0, 0, 0, 0xffff, 0, high, low])),
        ("nat64", v6([0x64, 0xff9b, 0, 0, 0, 0, high, low])),
        ("local nat64 /48", v6([0x64, 0xff9b, 1, high, c, d << 8, 0, 0])),
        ("local nat64 /56", v6([0x64, 0xff9b, 1, a, b, low, 0, 0])),
        ("local nat64 /64", v6([0x64, 0xff9b, 1, 0, a, b << 8 | c, d << 8, 0])),
        ("local nat64 /96", v6([0x64, 0xff9b, 1, 0, 0, 0, high, low])),
        ("6to4", v6([0x2002, high, low, 0, 0, 0, 0, 1])),
        ("teredo client", v6([0x2001, 0, 0x4136, 0xe378, 0x8000, 0x63bf, !high, !low])),
        ("teredo server", v6([0x2001, 0, high, low, 0x8000, 0x63bf, 1, 1])),
        ("isatap", v6([0x2606, 0x4700, 0, 0, 0, 0x5efe, high, low])),
        ("isatap universal", v6([0x2606, 0x4700, 0, 7, 0x200, 0x5efe, high, low])),
        ("isatap group", v6([0x2a00, 0, 0, 0, 0x100, 0x5efe, high, low])),
        ("isatap behind 6to4", v6([0x2002, 0x808, 0x808, 0, 0, 0x5efe, high, low])),
        ("isatap, link-local", v6([0xfe80, 0, 0, 0, 0x300, 0x5efe, high, low])),
    ]
}

/// An IPv6 address never fares better than the IPv4 address inside.
fn check_clothes(lists: &AddressGuard, inside: Ipv4Addr) {
    let verdict = lists.check(IpAddr::V4(inside));
    for (form, address) in clothes(inside) {
        let clothed = lists.check(IpAddr::V6(address));
        assert!(
            verdict.is_ok() || clothed.is_err(),
            "{form} {address}: {clothed:?}, but {inside}: {verdict:?}"
        );
        // Denied inside: denied outside, whatever else is allowed.
        let is_denied = lists.deny.iter().any(|network| network.contains(IpAddr::V4(inside)));
        let denied = Err(Refused { kind: "denied by configuration" });
        assert!(!is_denied || clothed == denied, "{form} {address}: {clothed:?}");
        if form == "mapped" || form == "nat64" && lists.allow.is_empty() && lists.deny.is_empty() {
            assert_eq!(clothed, verdict, "{form} {address}");
        }
    }
}

#[test]
fn the_edges_of_every_range_are_refused_in_every_clothing() {
    let everything_allowed = guard(&["::/0"], &["10.0.0.0/8", "127.0.0.0/8"]);
    for (text, ..) in V4 {
        let Network { base: IpAddr::V4(first), prefix_bits } = Network::parse(text).unwrap() else {
            panic!()
        };
        for bits in [first.to_bits(), first.to_bits() | !mask_v4(prefix_bits)] {
            check_clothes(&AddressGuard::default(), Ipv4Addr::from_bits(bits));
        }
    }
    for inside in ["10.0.0.0", "10.255.255.255", "127.0.0.1"] {
        check_clothes(&guard(&["2000::/3"], &["10.0.0.0/8", "127.0.0.0/8"]), inside.parse().unwrap());
        for (form, address) in clothes(inside.parse().unwrap()) {
            assert!(everything_allowed.check(IpAddr::V6(address)).is_err(), "{form} {address}");
        }
    }
}

proptest! {
    #[test]
    fn no_clothing_makes_an_address_better(bits: u32) {
        let inside = Ipv4Addr::from_bits(bits);
        check_clothes(&AddressGuard::default(), inside);
        check_clothes(&guard(&["127.0.0.0/8"], &["128.0.0.0/1"]), inside);
    }

    // Bits that a form says nothing about: whatever stands there, the address inside counts.
    #[test]
    fn noise_around_an_embedded_address_hides_nothing(inside: u32, noise: u128) {
        let inside = Ipv4Addr::from_bits(inside);
        let is_refused = AddressGuard::default().check(IpAddr::V4(inside)).is_err();
        let bits = u128::from(inside.to_bits());
        let noise_of = |mask: u128| noise & mask;
        for address in [
            // 6to4: everything behind the address.
            0x2002_u128 << 112 | bits << 80 | noise_of((1 << 80) - 1),
            // ISATAP: any prefix, the universal and group bits.
            noise_of(!((1 << 64) - 1)) | noise_of(0x0300_u128 << 48) | 0x5efe << 32 | bits,
            // Teredo: server, flags and port.
            0x2001_u128 << 112 | noise_of(((1 << 64) - 1) << 32) | u128::from(!inside.to_bits()),
        ] {
            let clothed = AddressGuard::default().check(IpAddr::V6(Ipv6Addr::from_bits(address)));
            prop_assert!(!is_refused || clothed.is_err(), "{}", Ipv6Addr::from_bits(address));
        }
    }
}
