//! A wait is at most a day and says what its value says.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanfare_egress::fuzzing::check_retry_after(data));
