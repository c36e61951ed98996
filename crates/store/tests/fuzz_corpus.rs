//! The fuzz target without a fuzzer: over its corpus, mutations of it, and random bytes; every run is the same.

use fanfare_store::fuzzing::check_record;
use fanfare_testkit::fuzz::run_corpus;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::path::Path;

const MUTATIONS: usize = 500;

#[test]
fn record_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join("record");
    run_corpus(&corpus, MUTATIONS, check_record);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1024, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn record_bytes(kind in 0..10_u8, version in 0..4_u8, body in prop::collection::vec(any::<u8>(), 0..160)) {
        check_record(&[[kind, version].as_slice(), &body].concat());
    }
}
