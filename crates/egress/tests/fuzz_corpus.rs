//! The fuzz targets without a fuzzer: over their corpus, mutations of it, and random bytes; every run is the same.

use fanfare_egress::fuzzing::{check_guard, check_retry_after};
use fanfare_testkit::fuzz::run_corpus;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::path::Path;

const MUTATIONS: usize = 300;

fn corpus(target: &str, check: fn(&[u8])) {
    run_corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target), MUTATIONS, check);
}

#[test]
fn guard_corpus() {
    corpus("guard", check_guard);
}

#[test]
fn retry_after_corpus() {
    corpus("retry_after", check_retry_after);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn guard_bytes(data in prop::collection::vec(any::<u8>(), 0..48)) {
        check_guard(&data);
    }

    // Texts of the characters that matter come nearer to a URL than bytes do.
    #[test]
    fn guard_texts(text in "(https?://)?[0-9a-fxX.:@%\\[\\]/\\\\?#１２。ａ-]{0,24}") {
        let data = [&[0], text.as_bytes()].concat();
        check_guard(&data);
    }

    #[test]
    fn retry_after_texts(now: u64, text in "[0-9 ]{0,24}|(Sun|Mon|Sat), [0-9]{2} (Nov|Feb) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
        let data = [&now.to_le_bytes(), text.as_bytes()].concat();
        check_retry_after(&data);
    }
}
