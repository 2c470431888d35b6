//! Test helpers: virtual clock, faulty storage, message generators.

mod clock;
mod storage;
mod storage_crash;

pub use clock::VirtualClock;
pub use storage::{Fault, FaultyStorage};
pub use storage_crash::{Dice, PowerCut};
