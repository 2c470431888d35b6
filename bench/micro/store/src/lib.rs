//! The store beside `RocksDB` and `SQLite`.
//!
//! The program `store-bench` runs one scenario with one contender, so that CPU time and peak memory of the process are those of
//! the contender; `bench/micro/store_report.py` runs all of them in turns. Every run checks that what was delivered is
//! what was appended.

mod check;
mod cli;
mod contender;
mod edgehub;
mod error;
mod expiry;
mod meter;
mod payload;
mod report;
#[cfg(feature = "rocksdb")]
mod rocks;
mod scenario;
#[cfg(feature = "sqlite")]
mod sqlite;
mod workspace;

pub use cli::{Command, Format, RunOptions, parse};
pub use contender::{About, CONTENDERS, Kind, Mode};
pub use error::BenchError;
pub use expiry::{Expiry, Latency};
pub use meter::Usage;
pub use report::{Backlog, Report, listing};
pub use scenario::{SCENARIOS, Scenario, Work, fill_backlog, find, run};
