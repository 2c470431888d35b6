//! Test helpers: virtual clock, faulty storage, runs made of seeds.

mod clock;
mod disk;
mod fault;
mod history;
mod seeds;
mod storage;
mod storage_crash;

pub use clock::VirtualClock;
pub use fault::{Call, Fault, FaultPlan};
pub use history::{Moment, Moments};
pub use seeds::{Owner, Suite};
pub use storage::FaultyStorage;
pub use storage_crash::{Dice, PowerCut};
