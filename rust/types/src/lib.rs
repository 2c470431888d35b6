//! Messages, properties, identifiers, units and the seams for time and storage.
//!
//! Nothing here does input or output, reads a clock or starts a thread: [`Clock`] and [`Storage`] are
//! the doors through which the rest of the workspace reaches time and files, so that tests put a
//! virtual clock and a faulty disk behind them.

mod message;
mod properties;
mod storage;
mod system_property;
mod time;

pub use message::{MessageError, MessageHead, MessageView, encode_message};
pub use properties::{Iter as PropertiesIter, Key as PropertyKey, Properties, PropertiesBuf, PropertyError};
pub use storage::{Storage, StorageFile};
pub use system_property::SystemProperty;
pub use time::{BootTime, Clock, MonoTime, UnixMs};
