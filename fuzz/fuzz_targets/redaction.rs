#![no_main]

#[allow(dead_code, reason = "each target takes one of the checks")]
#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::redaction(input));
