//! Test helpers: virtual clock, faulty storage, message generators.

mod clock;
mod disk;
mod fault;
mod history;
mod storage;
mod storage_crash;

pub use clock::VirtualClock;
pub use fault::{Call, Fault, FaultPlan};
pub use history::{Moment, Moments};
pub use storage::FaultyStorage;
pub use storage_crash::{Dice, PowerCut};
