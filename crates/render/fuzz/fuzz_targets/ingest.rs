//! What is accepted is JSON, and its payload stands where it is said to stand.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanfare_render::fuzzing::check_ingest(data));
