//! Test helpers: virtual clock, faulty storage, message generators.
