//! Every body is one JSON object without duplicate members, and the same again on a retry.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanfare_render::fuzzing::check_z_api(data));
