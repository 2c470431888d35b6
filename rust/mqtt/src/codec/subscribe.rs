//! SUBSCRIBE (OASIS MQTT 3.1.1 section 3.8).

use std::iter::FusedIterator;

use super::header::write_header;
use super::read::Reader;
use super::write::{check_filter_field, prefixed_len, put_binary, put_u16};
use crate::error::{DecodeError, EncodeError};
use crate::packet::{PacketId, PacketType, QoS};

/// Asks for messages. All filters were validated when it was decoded; they are parsed again as they are iterated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// To be repeated in the SUBACK.
    pub packet_id: PacketId,
    /// The validated payload.
    entries: &'a [u8],
}

impl<'a> Subscribe<'a> {
    /// The topic filters with the QoS asked for, at least one, in the order of the packet.
    pub const fn filters(&self) -> SubscribeFilters<'a> {
        SubscribeFilters { reader: Reader::new(PacketType::Subscribe, self.entries) }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        write_header(out, PacketType::Subscribe, 0, 2 + self.entries.len())?;
        put_u16(out, self.packet_id.get());
        out.extend_from_slice(self.entries);
        Ok(())
    }
}

/// Filters of a [`Subscribe`].
#[derive(Debug, Clone)]
pub struct SubscribeFilters<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for SubscribeFilters<'a> {
    type Item = (&'a str, QoS);

    fn next(&mut self) -> Option<Self::Item> {
        read_entry(&mut self.reader).ok()
    }
}

impl FusedIterator for SubscribeFilters<'_> {}

pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<Subscribe<'a>, DecodeError> {
    let packet_id = reader.packet_id()?;
    let entries = reader.rest();
    if entries.is_empty() {
        return Err(DecodeError::NoFilters { packet: PacketType::Subscribe });
    }
    while !reader.is_empty() {
        read_entry(reader)?;
    }
    Ok(Subscribe { packet_id, entries })
}

fn read_entry<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, QoS), DecodeError> {
    let filter = reader.filter()?;
    let byte = reader.u8("requested QoS")?;
    let qos = QoS::from_bits(byte).ok_or(DecodeError::RequestedQos { byte })?;
    Ok((filter, qos))
}

/// Appends a SUBSCRIBE.
///
/// # Errors
/// No filter, a filter that is not valid, more than [`REMAINING_LEN_MAX`](crate::REMAINING_LEN_MAX) bytes.
pub fn encode_subscribe(out: &mut Vec<u8>, id: PacketId, filters: &[(&str, QoS)]) -> Result<(), EncodeError> {
    let packet = PacketType::Subscribe;
    if filters.is_empty() {
        return Err(EncodeError::NoEntries { packet });
    }
    filters.iter().try_for_each(|(filter, _)| check_filter_field(packet, filter))?;
    let entries_len: usize = filters.iter().map(|(filter, _)| prefixed_len(filter.as_bytes()) + 1).sum();
    write_header(out, packet, 0, 2 + entries_len)?;
    put_u16(out, id.get());
    for (filter, qos) in filters {
        put_binary(out, filter.as_bytes());
        out.push(qos.bits());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_said_is_refused_and_nothing_is_written() {
        let mut out = vec![1];
        let qos = QoS::AtLeastOnce;
        let none = encode_subscribe(&mut out, PacketId::MIN, &[]);
        assert_eq!(none, Err(EncodeError::NoEntries { packet: PacketType::Subscribe }));
        let bad = encode_subscribe(&mut out, PacketId::MIN, &[("a", qos), ("a/#/b", qos)]);
        assert!(matches!(bad, Err(EncodeError::Topic { .. })));
        assert_eq!(out, [1]);
    }
}
