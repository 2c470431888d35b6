//! Where the journal's files are.

mod file;
mod memory;

pub use file::FileStorage;
pub(crate) use memory::MemoryStorage;
