//! UNSUBSCRIBE (OASIS MQTT 3.1.1 section 3.10).

use std::iter::FusedIterator;

use super::header::write_header;
use super::read::Reader;
use super::write::{check_filter_field, prefixed_len, put_binary, put_u16};
use crate::error::{DecodeError, EncodeError};
use crate::packet::{PacketId, PacketType};

/// Ends subscriptions. All filters were validated when it was decoded; they are parsed again as they are iterated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// To be repeated in the UNSUBACK.
    pub packet_id: PacketId,
    /// The validated payload.
    entries: &'a [u8],
}

impl<'a> Unsubscribe<'a> {
    /// The topic filters, at least one, in the order of the packet.
    pub const fn filters(&self) -> UnsubscribeFilters<'a> {
        UnsubscribeFilters { reader: Reader::new(PacketType::Unsubscribe, self.entries) }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        write_header(out, PacketType::Unsubscribe, 0, 2 + self.entries.len())?;
        put_u16(out, self.packet_id.get());
        out.extend_from_slice(self.entries);
        Ok(())
    }
}

/// Filters of an [`Unsubscribe`].
#[derive(Debug, Clone)]
pub struct UnsubscribeFilters<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for UnsubscribeFilters<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<Self::Item> {
        self.reader.filter().ok()
    }
}

impl FusedIterator for UnsubscribeFilters<'_> {}

pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<Unsubscribe<'a>, DecodeError> {
    let packet_id = reader.packet_id()?;
    let entries = reader.rest();
    if entries.is_empty() {
        return Err(DecodeError::NoFilters { packet: PacketType::Unsubscribe });
    }
    while !reader.is_empty() {
        reader.filter()?;
    }
    Ok(Unsubscribe { packet_id, entries })
}

/// Appends an UNSUBSCRIBE.
///
/// # Errors
/// No filter, a filter that is not valid, more than [`REMAINING_LEN_MAX`](crate::REMAINING_LEN_MAX) bytes.
pub fn encode_unsubscribe(out: &mut Vec<u8>, id: PacketId, filters: &[&str]) -> Result<(), EncodeError> {
    let packet = PacketType::Unsubscribe;
    if filters.is_empty() {
        return Err(EncodeError::NoEntries { packet });
    }
    filters.iter().try_for_each(|filter| check_filter_field(packet, filter))?;
    let entries_len: usize = filters.iter().map(|filter| prefixed_len(filter.as_bytes())).sum();
    write_header(out, packet, 0, 2 + entries_len)?;
    put_u16(out, id.get());
    for filter in filters {
        put_binary(out, filter.as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_said_is_refused_and_nothing_is_written() {
        let mut out = vec![1];
        let none = encode_unsubscribe(&mut out, PacketId::MIN, &[]);
        assert_eq!(none, Err(EncodeError::NoEntries { packet: PacketType::Unsubscribe }));
        assert!(matches!(
            encode_unsubscribe(&mut out, PacketId::MIN, &["a", ""]),
            Err(EncodeError::Topic { .. })
        ));
        assert_eq!(out, [1]);
    }
}
