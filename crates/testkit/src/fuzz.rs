//! Runs a fuzz target without a fuzzer: over its committed corpus and a bounded number of mutations of it, the same ones
//! on every run and on the stable toolchain.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Largest input a mutation may grow to, bytes.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Bytes that parsers treat in a way of their own.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff \t\r\n\"'\\/{}[]:,;.@#?%-+0159aefnutxEX";

/// Gives every file of `folder` and `mutations` of each to `check`, a fuzz target's function.
///
/// # Panics
/// When `check` does, after telling the input that made it; when the folder holds no file.
pub fn run_corpus(folder: &Path, mutations: usize, check: fn(&[u8])) {
    let entries = std::fs::read_dir(folder).expect("a corpus folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry of the corpus").path()).collect();
    paths.sort();
    let files: Vec<Vec<u8>> =
        paths.iter().map(|path| std::fs::read(path).expect("a file of the corpus")).collect();
    assert!(!files.is_empty(), "no corpus in {}", folder.display());
    let mut dice = Dice(0x5EED);
    for (path, file) in paths.iter().zip(&files) {
        run_one(file, check, &format!("{}", path.display()));
        for number in 0..mutations {
            let mut input = file.clone();
            for _ in 0..=dice.below(4) {
                mutate(&mut input, &files, &mut dice);
            }
            input.truncate(INPUT_BYTES_MAX);
            run_one(&input, check, &format!("mutation {number} of {}", path.display()));
        }
    }
}

fn run_one(input: &[u8], check: fn(&[u8]), what: &str) {
    let outcome = catch_unwind(AssertUnwindSafe(|| check(input)));
    assert!(outcome.is_ok(), "{what} breaks a promise: b\"{}\"", input.escape_ascii());
}

/// A sequence that is the same on every machine (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// 0 to `end` - 1; 0 when `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or_default()
    }

    /// A range of at most 16 within `length`.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        start..length.min(start + 1 + self.below(16))
    }
}

fn mutate(input: &mut Vec<u8>, files: &[Vec<u8>], dice: &mut Dice) {
    let length = input.len();
    let telling = TELLING.get(dice.below(TELLING.len())).copied().unwrap_or_default();
    let at = dice.below(length);
    match dice.below(8) {
        0 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << dice.below(8)),
        1 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = telling),
        2 => input.insert(at, telling),
        3 => drop(input.drain(dice.range(length))),
        4 => input.truncate(at),
        5 => {
            // Something said twice.
            let copy = input.get(dice.range(length)).unwrap_or_default().to_vec();
            input.splice(at..at, copy);
        }
        6 => {
            // The end of another file behind the beginning of this one.
            let other = files.get(dice.below(files.len())).map_or(&[][..], Vec::as_slice);
            let from = dice.below(other.len());
            input.truncate(at);
            input.extend_from_slice(other.get(from..).unwrap_or_default());
        }
        _ => {
            let random = dice.next().to_le_bytes();
            input.splice(at..at, random);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> std::path::PathBuf {
        let name = format!("fanfare-fuzz-{}-{}", std::process::id(), files.len());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (number, text) in files.iter().enumerate() {
            std::fs::write(folder.join(number.to_string()), text).unwrap();
        }
        folder
    }

    #[test]
    fn mutations_find_what_the_corpus_is_near_to() {
        let folder = folder(&["abcd"]);
        run_corpus(&folder, 0, |input| assert_eq!(input, b"abcd"));
        // Not in the corpus, but one byte away from it.
        let outcome =
            catch_unwind(|| run_corpus(&folder, 2000, |input| assert!(!input.starts_with(b"abc{"))));
        assert!(outcome.is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_run_repeats_itself() {
        fn sum(seed: u64) -> u64 {
            let (mut dice, mut input) = (Dice(seed), b"some words to change".to_vec());
            let files = [input.clone(), b"others".to_vec()];
            (0..50).for_each(|_| mutate(&mut input, &files, &mut dice));
            input.iter().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
        }
        assert_eq!(sum(1), sum(1));
        assert_ne!(sum(1), sum(2));
    }
}
