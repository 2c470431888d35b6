//! Test helpers: virtual clock, faulty storage, message generators.

mod clock;

pub use clock::VirtualClock;
