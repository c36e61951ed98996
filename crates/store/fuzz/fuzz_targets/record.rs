//! Rows of the store: what is read is what was written, and damage is noticed.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanfare_store::fuzzing::check_record(data));
