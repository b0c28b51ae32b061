//! What is done with an input is `outband_fuzz_cases::unit`'s.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| outband_fuzz_cases::unit::run(input));
