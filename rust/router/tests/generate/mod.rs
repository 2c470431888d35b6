//! Conditions, messages and routes made at random, as text that can be read when a test fails.

#![allow(dead_code, reason = "each test binary uses a part")]

pub mod conditions;
pub mod messages;
pub mod routes;
