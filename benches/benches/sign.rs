//! What does it cost to sign a delivery, both signatures, beside hmac+sha2, ring and aws-lc-rs on the same bytes?
//!
//! Unit: time per delivery, for bodies of 200 B, 1.2 KB and 64 KB; bytes a second are the body's. All keep the state of
//! their keys. `fanfare` gives the header values (two MACs, hex, base64, two allocations); the others give the two MACs of
//! the same bytes and no text, so the comparison is the harder one for us, most of all with small bodies.
//! `hmac_sha2_text` tells how much of the difference is the text: the same MACs and the same header values.
//!
//! The table before it takes turns between them, so that a minute in which the machine is slow is slow for all: there
//! stands how many times the fastest of the MACs without text `fanfare` takes. The bar is 1.1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare_benches::MachineClock;
use fanfare_benches::allocations::{Allocations, CountingAllocator};
use fanfare_core::ports::Clock as _;
use fanfare_signing::{SigningKeys, secret_hex};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::hint::black_box;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const SECRET: [u8; 32] = [0x5a; 32];
/// As long as a `webhook-id` is.
const ID: &[u8] = b"0190F3B140007E11AA00BB01009E1966-0190F3A27C5B7E118D2A4C6B9E01F3D5";
const TIMESTAMP_S: u64 = 1_790_000_000;
const TIMESTAMP: &[u8] = b"1790000000";
const SIZES: [(&str, usize); 3] = [("200b", 200), ("1200b", 1200), ("64kib", 64 * 1024)];
/// Turns that each has, and how long one is about.
const TURNS: usize = 101;
const TURN_NS: u64 = 300_000;

/// The MAC of the body under the hub's key, and that of `id.timestamp.body` under the standard one.
type Macs = [[u8; 32]; 2];

/// Somebody's HMAC with SHA-256, keyed with each of the two keys.
struct Rival<K> {
    hub: K,
    standard: K,
    mac: fn(&K, &[&[u8]]) -> [u8; 32],
}

impl<K> Rival<K> {
    fn new(key: impl Fn(&[u8]) -> K, mac: fn(&K, &[&[u8]]) -> [u8; 32]) -> Self {
        Rival { hub: key(secret_hex(&SECRET).as_bytes()), standard: key(&SECRET), mac }
    }

    fn macs(&self, body: &[u8]) -> Macs {
        [(self.mac)(&self.hub, &[body]), (self.mac)(&self.standard, &[ID, b".", TIMESTAMP, b".", body])]
    }
}

fn hmac_sha2() -> Rival<Hmac<Sha256>> {
    Rival::new(
        |key| Hmac::new_from_slice(key).expect("a key of any length"),
        |key, parts| {
            let mut state = key.clone();
            parts.iter().for_each(|part| state.update(part));
            state.finalize().into_bytes().into()
        },
    )
}

fn ring() -> Rival<ring::hmac::Key> {
    Rival::new(
        |key| ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key),
        |key, parts| {
            let mut state = ring::hmac::Context::with_key(key);
            parts.iter().for_each(|part| state.update(part));
            state.sign().as_ref().try_into().expect("32 bytes")
        },
    )
}

fn aws_lc_rs() -> Rival<aws_lc_rs::hmac::Key> {
    Rival::new(
        |key| aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key),
        |key, parts| {
            let mut state = aws_lc_rs::hmac::Context::with_key(key);
            parts.iter().for_each(|part| state.update(part));
            state.sign().as_ref().try_into().expect("32 bytes")
        },
    )
}

/// The header values, as `fanfare` makes them.
fn texts([hub, standard]: Macs) -> [String; 2] {
    let mut digits = [0; 64];
    hex::encode_to_slice(hub, &mut digits).expect("two digits a byte");
    let mut texts = [String::with_capacity(7 + 64), String::with_capacity(3 + 44)];
    let [hub_text, standard_text] = &mut texts;
    hub_text.push_str("sha256=");
    hub_text.push_str(str::from_utf8(&digits).expect("digits"));
    standard_text.push_str("v1,");
    BASE64.encode_string(standard, standard_text);
    texts
}

/// Everybody who signs.
struct Field {
    keys: SigningKeys,
    hmac_sha2: Rival<Hmac<Sha256>>,
    ring: Rival<ring::hmac::Key>,
    aws_lc_rs: Rival<aws_lc_rs::hmac::Key>,
}

/// Ours, the others without text, and one with it.
const NAMES: [&str; 5] = ["fanfare", "hmac_sha2", "ring", "aws_lc_rs", "hmac_sha2_text"];

impl Field {
    fn new() -> Self {
        let keys = SigningKeys::new(&SECRET, None);
        Field { keys, hmac_sha2: hmac_sha2(), ring: ring(), aws_lc_rs: aws_lc_rs() }
    }

    fn sign(&self, name: &str, body: &[u8]) {
        match name {
            "fanfare" => {
                black_box(self.keys.sign(ID, TIMESTAMP_S, body));
            }
            "hmac_sha2" => {
                black_box(self.hmac_sha2.macs(body));
            }
            "ring" => {
                black_box(self.ring.macs(body));
            }
            "aws_lc_rs" => {
                black_box(self.aws_lc_rs.macs(body));
            }
            _ => {
                black_box(texts(self.hmac_sha2.macs(body)));
            }
        }
    }

    /// All come to the same.
    fn check(&self, body: &[u8]) {
        let headers = self.keys.sign(ID, TIMESTAMP_S, body);
        for macs in [self.hmac_sha2.macs(body), self.ring.macs(body), self.aws_lc_rs.macs(body)] {
            assert_eq!([headers.hub.clone(), headers.standard.clone()], texts(macs));
        }
    }

    /// Mean time of one signing in this turn, ns.
    fn turn_ns(&self, clock: MachineClock, name: &str, body: &[u8], times: u64) -> f64 {
        let began_ns = clock.now().mono_ns;
        (0..times).for_each(|_| self.sign(name, black_box(body)));
        (clock.now().mono_ns - began_ns) as f64 / times as f64
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The table: medians of the turns, and the medians of what `fanfare` took to the others in the same round.
fn compare(field: &Field, label: &str, body: &[u8]) {
    let clock = MachineClock::default();
    let times = (TURN_NS as f64 / field.turn_ns(clock, "ring", body, 20)).ceil() as u64;
    let rounds: Vec<[f64; NAMES.len()]> =
        (0..TURNS).map(|_| NAMES.map(|name| field.turn_ns(clock, name, body, times))).collect();
    let to_macs =
        |[ours, macs @ .., _]: &[f64; NAMES.len()]| ours / macs.iter().copied().fold(f64::INFINITY, f64::min);
    let to_text = |[ours, .., text]: &[f64; NAMES.len()]| ours / text;
    let columns: Vec<String> = NAMES
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let of_name = rounds.iter().filter_map(|round| round.get(index).copied()).collect();
            format!("{name} {:.0} ns", median(of_name))
        })
        .collect();
    println!(
        "sign/{label}: {}; fanfare is {:.2} x the fastest without text, {:.2} x hmac_sha2_text",
        columns.join(", "),
        median(rounds.iter().map(to_macs).collect()),
        median(rounds.iter().map(to_text).collect()),
    );
}

fn benches(criterion: &mut Criterion) {
    let field = Field::new();
    let largest: Vec<u8> =
        (0_u32..64 * 1024).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let bodies = SIZES.map(|(label, bytes)| (label, largest.get(..bytes).unwrap_or_default()));
    for (label, body) in bodies {
        field.check(body);
        compare(&field, label, body);
    }
    let of_each = Allocations::of_each(|| field.sign("fanfare", &largest));
    of_each.print("sign/fanfare");

    for (label, body) in bodies {
        let mut group = criterion.benchmark_group(format!("sign_{label}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        for name in NAMES {
            group.bench_function(name, |bencher| bencher.iter(|| field.sign(name, black_box(body))));
        }
        group.finish();
    }
}

criterion_group! {
    name = sign;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = benches
}
criterion_main!(sign);
