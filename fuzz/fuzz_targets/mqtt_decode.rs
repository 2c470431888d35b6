//! MQTT decoder on a stream of any bytes; see `harness/decode.rs`.
#![no_main]

#[path = "../harness/decode.rs"]
mod decode;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| decode::check(data));
