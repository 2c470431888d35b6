//! What routing costs: named scenarios, each with the bar that it is held to.
//!
//! The same scenarios are timed by criterion (`benches/router.rs`) and counted by callgrind (the
//! program `router-scenario`, run by `bench/micro/callgrind.py`).

mod message;
mod rules;
mod scenario;

pub use message::{MESSAGES, Message, messages};
pub use rules::{Shape, compile, declare};
pub use scenario::{Prepared, SCENARIOS, Scenario, Work, find};
