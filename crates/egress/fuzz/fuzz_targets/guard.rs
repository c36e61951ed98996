//! No URL and no address that passes leads where it may not.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanfare_egress::fuzzing::check_guard(data));
