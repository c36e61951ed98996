//! The fuzz targets without a fuzzer: over their corpus, mutations of it, and random bytes; every run is the same.

use fanfare_render::fuzzing::{check_ingest, check_z_api};
use fanfare_testkit::fuzz::run_corpus;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::path::Path;

const MUTATIONS: usize = 200;

fn corpus(target: &str, check: fn(&[u8])) {
    run_corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target), MUTATIONS, check);
}

#[test]
fn ingest_corpus() {
    corpus("ingest", check_ingest);
}

#[test]
fn z_api_corpus() {
    corpus("z_api", check_z_api);
}

// The two targets take the same bytes: what is interesting for one is for the other.
#[test]
fn each_corpus_for_the_other_target() {
    corpus("z_api", check_ingest);
    corpus("ingest", check_z_api);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn ingest_bytes(data in prop::collection::vec(any::<u8>(), 0..96)) {
        check_ingest(&data);
    }

    // Envelopes put together of pieces, good and bad, in any order.
    #[test]
    fn ingest_pieces(pieces in prop::collection::vec(proptest::sample::select(PIECES), 0..14)) {
        check_ingest(pieces.concat().as_bytes());
        check_z_api(pieces.concat().as_bytes());
    }
}

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    "\n",
    " ",
    "\u{feff}",
    "null",
    "\"id\":\"e1\"",
    "\"type\":\"BLOCK\"",
    "\"type\":\"RECEIVED_STATUS\"",
    "\"channelId\":\"c\"",
    "\"payload\":{}",
    "\"payload\":{\"event\":{\"identifier\":\"a\"}}",
    "\"\\u0070ayload\":{\"a\":1e999}",
    "\"payload\":[]",
    "\"key\":\"k\"",
    "\"occurredAt\":1",
    "\"occurredAt\":-1",
    "\"\\ud800\":0",
    "{\"type\":\"BLOCK\",\"channelId\":\"c\",\"payload\":{\"event\":{\"identifier\":\"a\",\"identifier\":\"b\"}}",
];
