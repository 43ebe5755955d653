#![no_main]

#[path = "../../support/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| parsers::journal(data));
