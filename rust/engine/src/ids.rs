//! Connection numbers that are never reused.

/// Number of a connection: which I/O thread owns it, which slot there, and a serial that makes it unique,
/// so that an answer to a closed connection can never reach its successor in the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

const SLOT_BITS: u32 = 20;
const SERIAL_BITS: u32 = 39;

/// Slots that one shard can number.
pub const SLOTS_MAX: usize = 1 << SLOT_BITS;

impl ConnId {
    /// Composes a number; `serial` counts the connections of the shard and outlasts any uptime.
    pub fn new(shard: usize, slot: usize, serial: u64) -> Self {
        let serial = serial & ((1 << SERIAL_BITS) - 1);
        Self((shard as u64) << (SLOT_BITS + SERIAL_BITS) | serial << SLOT_BITS | slot as u64)
    }

    /// The shard that owns the connection.
    pub fn shard(self) -> usize {
        (self.0 >> (SLOT_BITS + SERIAL_BITS)) as usize
    }

    /// The slot in that shard.
    pub fn slot(self) -> usize {
        (self.0 & (SLOTS_MAX as u64 - 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_and_serials_keep_numbers_apart() {
        let id = ConnId::new(3, SLOTS_MAX - 1, 77);
        assert_eq!((id.shard(), id.slot()), (3, SLOTS_MAX - 1));
        assert_ne!(id, ConnId::new(3, SLOTS_MAX - 1, 78));
        assert!(i64::try_from(ConnId::new(7, 5, u64::MAX).0).is_ok());
    }
}
