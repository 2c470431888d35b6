//! Right checksums for any bytes: they would keep a fuzzer at the door.

use edgehub_store::format::{BATCH_HEADER_BYTES, batch_salt};

/// Length of a segment header without queues.
const SEGMENT_HEADER_BYTES: usize = 112;

fn put_crc(bytes: &mut [u8], at: usize, covered: std::ops::Range<usize>) {
    let Some(crc) = bytes.get(covered).map(crc32fast::hash) else { return };
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
}

/// Makes the checksums of what looks like batches right, and their salt and addresses too.
fn repair(segment: &mut [u8]) {
    let len = segment.len();
    put_crc(segment, 12, 0..12);
    let header = u32_at(segment, 16).clamp(24, len.max(24));
    put_crc(segment, 20, 24..header.min(len));
    let field = |at: usize| segment.get(at..at + 8).map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap_or_default()));
    let salt = batch_salt(field(56), field(24)).to_le_bytes();
    let base = segment.get(32..40).map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap_or_default()));
    let mut at = header;
    while at + BATCH_HEADER_BYTES <= len {
        segment[at..at + 4].copy_from_slice(b"EHB1");
        segment[at + 8..at + 16].copy_from_slice(&salt);
        segment[at + 16..at + 24].copy_from_slice(&base.wrapping_add(at as u64).to_le_bytes());
        let records_end = (at + BATCH_HEADER_BYTES).saturating_add(u32_at(segment, at + 40)).min(len);
        let mut record = at + BATCH_HEADER_BYTES;
        while record + 12 <= records_end {
            let end = record + u32_at(segment, record + 4).max(12);
            put_crc(segment, record, record + 4..end.min(len));
            record = end;
        }
        let tables = (u32_at(segment, at + 48) + u32_at(segment, at + 52)).saturating_mul(16);
        put_crc(segment, at + 44, records_end..records_end.saturating_add(tables).min(len));
        put_crc(segment, at + 4, at + 8..at + 64);
        at += (u32_at(segment, at + 32).max(BATCH_HEADER_BYTES) + 7) & !7;
    }
}

/// Makes bytes that are long enough look like a segment of this version.
pub fn make_segment(segment: &mut [u8]) {
    if segment.len() >= SEGMENT_HEADER_BYTES {
        segment[..12].copy_from_slice(b"EDGEHUBJ\x01\0\0\0");
        repair(segment);
    }
}
