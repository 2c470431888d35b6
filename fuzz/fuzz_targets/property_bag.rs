//! Property bags of topics; see `harness/bag.rs`.
#![no_main]

#[path = "../harness/bag.rs"]
mod bag;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bag::check(data));
