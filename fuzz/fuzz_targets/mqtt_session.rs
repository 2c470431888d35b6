//! A connection of the hub: bytes, commands and time; see `harness/session.rs`.
#![no_main]

#[path = "../harness/session.rs"]
mod session;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| session::check(data));
