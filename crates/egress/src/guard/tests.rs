use super::*;
use proptest::prelude::*;

mod ranges;
mod spellings;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn guard(allow: &[&str], deny: &[&str]) -> AddressGuard {
    let parse = |list: &[&str]| list.iter().map(|text| Network::parse(text).unwrap()).collect();
    AddressGuard { allow: parse(allow), deny: parse(deny) }
}

fn kind(address: &str) -> Option<&'static str> {
    AddressGuard::default().check(ip(address)).err().map(|refused| refused.kind)
}

#[test]
fn public_addresses_pass() {
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:200::1",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2a00::1",
        // Public through the two forms that name one public address.
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ] {
        assert_eq!(kind(address), None, "{address}");
    }
}

#[test]
fn special_addresses_are_refused_to_the_edges_of_their_ranges() {
    for (expected, addresses) in [
        ("this network", &["0.0.0.0", "0.255.255.255"][..]),
        (
            "private",
            &["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255"],
        ),
        ("carrier-grade nat", &["100.64.0.0", "100.127.255.255"]),
        ("loopback", &["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"]),
        ("link-local", &["169.254.0.0", "169.254.255.255", "fe80::1", "febf::1"]),
        (
            "metadata service",
            &[
                "169.254.169.254",
                "fd00:ec2::254",
                "100.100.100.200",
                "168.63.129.16",
                "192.0.0.192",
                "169.254.170.2",
            ],
        ),
        ("protocol assignments", &["192.0.0.0", "192.0.0.255", "2001:1ff::1", "2001:2::1", "2001:20::1"]),
        (
            "documentation",
            &["192.0.2.0", "192.0.2.255", "198.51.100.7", "203.0.113.9", "2001:db8::1", "3fff:fff::1"],
        ),
        ("6to4 relay", &["192.88.99.0", "192.88.99.255"]),
        ("benchmarking", &["198.18.0.0", "198.19.255.255"]),
        ("multicast", &["224.0.0.0", "239.255.255.255", "ff02::1", "ff0e::1"]),
        ("reserved or broadcast", &["240.0.0.0", "255.255.255.254", "255.255.255.255"]),
        ("unspecified", &["::"]),
        ("private", &["fc00::1", "fdff:ffff::1"]),
        ("site-local", &["fec0::1", "feff::1"]),
        ("discard-only", &["100::", "100::ffff:ffff:ffff:ffff"]),
        ("segment routing", &["5f00::1"]),
        ("not global unicast", &["100:0:0:1::", "200::1", "4000::1", "8000::1", "fe00::1"]),
    ] {
        for address in addresses {
            assert_eq!(kind(address), Some(expected), "{address}");
        }
    }
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_judged_too() {
    // Mapped and NAT64: by the address inside.
    assert_eq!(kind("::ffff:10.0.0.1"), Some("private"));
    assert_eq!(kind("::ffff:127.0.0.1"), Some("loopback"));
    assert_eq!(kind("::ffff:169.254.169.254"), Some("metadata service"));
    assert_eq!(kind("64:ff9b::192.168.1.1"), Some("private"));
    assert_eq!(kind("64:ff9b::127.0.0.1"), Some("loopback"));
    // The others: refused whatever is inside.
    for inside in ["8.8.8.8", "10.0.0.1"] {
        let [a, b, c, d] = inside.parse::<Ipv4Addr>().unwrap().octets();
        assert_eq!(kind(&format!("::{inside}")), Some("ipv4-compatible"));
        assert_eq!(kind(&format!("64:ff9b:1::{inside}")), Some("local nat64"));
        assert_eq!(kind(&format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1")), Some("6to4 tunnel"));
        assert_eq!(kind(&format!("2606:4700::5efe:{inside}")), Some("isatap tunnel"));
        assert_eq!(kind(&format!("2606:4700::200:5efe:{inside}")), Some("isatap tunnel"));
        assert_eq!(kind(&format!("2606:4700::100:5efe:{inside}")), Some("isatap tunnel"));
        let teredo = format!("2001:0:4136:e378:8000:63bf:{:02x}{:02x}:{:02x}{:02x}", !a, !b, !c, !d);
        assert_eq!(kind(&teredo), Some("protocol assignments"));
    }
}

#[test]
fn embedded_addresses_are_found() {
    let find = |text: &str| Embedded::all_in(text.parse().unwrap()).collect::<Vec<_>>();
    let inside = |form, text: &str| vec![Embedded { form, address: text.parse().unwrap() }];
    assert_eq!(find("::ffff:1.2.3.4"), inside(Form::Mapped, "1.2.3.4"));
    assert_eq!(find("::1.2.3.4"), inside(Form::Compatible, "1.2.3.4"));
    assert_eq!(find("64:ff9b::1.2.3.4"), inside(Form::Nat64, "1.2.3.4"));
    assert_eq!(find("2002:102:304::9"), inside(Form::SixToFour, "1.2.3.4"));
    let both = [inside(Form::Teredo, "1.2.3.4"), inside(Form::Teredo, "65.54.227.120")].concat();
    assert_eq!(find("2001:0:4136:e378:8000:63bf:fefd:fcfb"), both);
    assert_eq!(find("::ffff:0:1.2.3.4"), inside(Form::Translated, "1.2.3.4"));
    // RFC 6052, section 2.4: 192.0.2.33 below /48, /56, /64 and /96.
    for text in [
        "64:ff9b:1:c000:2:2100::",
        "64:ff9b:1:3c0:0:221::",
        "64:ff9b:1:344:c0:2:2100::",
        "64:ff9b:1::192.0.2.33",
    ] {
        assert!(find(text).contains(&inside(Form::LocalNat64, "192.0.2.33")[0]), "{text}");
    }
    let both = [inside(Form::SixToFour, "1.2.3.4"), inside(Form::Isatap, "5.6.7.8")].concat();
    assert_eq!(find("2002:102:304::5efe:5.6.7.8"), both);
    assert_eq!(find("fe80::5efe:1.2.3.4"), inside(Form::Isatap, "1.2.3.4"));
    assert_eq!(find("2606:4700::1"), []);
}

#[test]
fn deny_beats_allow_and_allow_beats_the_built_in_list() {
    let lists = guard(&["10.0.0.0/8", "::1"], &["10.9.0.0/16", "8.8.8.0/24"]);
    assert_eq!(lists.check(ip("10.1.2.3")), Ok(()));
    assert_eq!(lists.check(ip("::1")), Ok(()));
    assert_eq!(lists.check(ip("::ffff:10.1.2.3")), Ok(()));
    assert_eq!(lists.check(ip("1.1.1.1")), Ok(()));
    assert_eq!(lists.check(ip("127.0.0.1")), Err(Refused { kind: "loopback" }));
    let denied = Err(Refused { kind: "denied by configuration" });
    for address in [
        "10.9.1.1",
        "8.8.8.8",
        "::ffff:10.9.1.1",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
        "::8.8.8.8",
        "64:ff9b:1:a09:1:100::",
    ] {
        assert_eq!(lists.check(ip(address)), denied, "{address}");
    }
    // An allowance of the address inside does not open a tunnel to it.
    assert!(lists.check(ip("64:ff9b::10.1.2.3")).is_err());
    assert!(lists.check(ip("2002:a01:203::1")).is_err());
    assert_eq!(guard(&["64:ff9b::/96"], &[]).check(ip("64:ff9b::10.1.2.3")), Ok(()));
    // What --dev sets.
    let dev = guard(&["127.0.0.0/8", "::1/128"], &[]);
    assert_eq!(dev.check_all(&[ip("127.0.0.1"), ip("::1")]), Ok(()));
}

#[test]
fn one_bad_answer_refuses_all() {
    let lists = AddressGuard::default();
    assert_eq!(lists.check_all(&[ip("1.1.1.1"), ip("2606:4700::1111")]), Ok(()));
    let refused = lists.check_all(&[ip("1.1.1.1"), ip("10.0.0.1"), ip("8.8.8.8")]).unwrap_err();
    assert_eq!(refused.to_string(), "the address may not be called: private");
}

#[test]
fn networks_are_read_strictly() {
    let network = |text: &str| Network::parse(text);
    assert!(network("0.0.0.0/0").unwrap().contains(ip("1.2.3.4")));
    assert!(!network("0.0.0.0/0").unwrap().contains(ip("::1")));
    assert!(network("::/0").unwrap().contains(ip("ff::1")));
    assert!(network("1.2.3.4").unwrap().contains(ip("1.2.3.4")));
    assert!(!network("1.2.3.4/32").unwrap().contains(ip("1.2.3.5")));
    assert!(network("10.0.0.0/8").unwrap().contains(ip("10.255.255.255")));
    assert_eq!(network("fd00::/8").unwrap().to_string(), "fd00::/8");
    for bad in ["", "/8", "ten", "10.0.0/8", "localhost", "10.0.0.0.0/8", "[::1]"] {
        assert_eq!(network(bad), Err(NetworkError::Address(bad.to_owned())), "{bad}");
    }
    for bad in [
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "::/129",
        "10.0.0.0/8/8",
        "10.0.0.0/255.0.0.0",
    ] {
        assert_eq!(network(bad), Err(NetworkError::Prefix(bad.to_owned())), "{bad}");
    }
    for bad in ["10.0.0.1/8", "::1/64", "1.2.3.4/0"] {
        assert_eq!(network(bad), Err(NetworkError::HostBits(bad.to_owned())), "{bad}");
    }
}

proptest! {
    // The standard library knows some of the same kinds: whatever it calls special must be refused.
    #[test]
    fn nothing_the_standard_library_calls_special_passes(bits: u32) {
        let address = Ipv4Addr::from_bits(bits);
        let is_special = address.is_private() || address.is_loopback() || address.is_link_local()
            || address.is_multicast() || address.is_broadcast() || address.is_documentation()
            || address.is_unspecified();
        let verdict = AddressGuard::default().check(IpAddr::V4(address));
        prop_assert!(!is_special || verdict.is_err());
        // And the mapped form is judged alike.
        prop_assert_eq!(AddressGuard::default().check(IpAddr::V6(address.to_ipv6_mapped())), verdict);
    }

    #[test]
    fn only_global_unicast_ipv6_passes(bits: u128) {
        let address = Ipv6Addr::from_bits(bits);
        let verdict = AddressGuard::default().check(IpAddr::V6(address));
        let may_pass = address.segments()[0] & 0xe000 == 0x2000
            || address.to_ipv4_mapped().is_some()
            || address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
        prop_assert!(may_pass || verdict.is_err());
    }

    #[test]
    fn a_network_holds_its_base_and_prints_as_it_reads(bits: u32, prefix in 0..=32_u8) {
        let base = Ipv4Addr::from_bits(bits & mask_v4(prefix));
        let network = Network::parse(&format!("{base}/{prefix}")).unwrap();
        prop_assert!(network.contains(IpAddr::V4(base)));
        prop_assert!(network.contains(IpAddr::V4(Ipv4Addr::from_bits(bits))));
        prop_assert_eq!(network, network.to_string().parse().unwrap());
    }
}
