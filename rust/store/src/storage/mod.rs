//! Where the journal's files are.

mod file;
mod memory;
mod reader;

pub use file::FileStorage;
pub(crate) use memory::MemoryStorage;
pub(crate) use reader::FolderReader;
