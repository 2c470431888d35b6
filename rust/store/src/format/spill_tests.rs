//! Spill files against vectors that were made from `docs/store-format.md` and the reference LZ4 library alone, and against
//! damage.

use edgehub_types::UnixMs;
use proptest::prelude::*;

use super::spill::{FooterTail, SpillEntries, SpillEntry, SpillHeader};
use super::tests::{SALT, bytes};
use super::*;

const HEADER: &str = "502a4d18300000004544474548554253010000002250ed5378e5617f070000002a00000000000000\
    88776655443322110068e5cf8b010000";
const BLOCK: &str = "512a4d1858000000454853314d032f62887766554433221138000000000000000a00000000000000\
    0e00000000000000020000002d000000420000006523f2fb1864e5cf8b0100001265e5cf8b010000\
    7b68e5cf8b010000ffffffffffffffff";
/// As the reference library compressed [`ENTRIES`].
const FRAME: &str = "04224d186c402d0000000000000071270000002605000100d07b68e5cf8b01000068656c6c6f1700\
    f00103000000fa000000ffffffffffffffff000000000f92e869";
const ENTRIES: &str = "0500000000000000000000007b68e5cf8b01000068656c6c6f\
    0000000003000000fa000000ffffffffffffffff";
const FOOTER: &str = "522a4d1868000000454853314d032f62887766554433221138000000000000000a00000000000000\
    0e00000000000000020000002d000000420000006523f2fb1864e5cf8b0100001265e5cf8b010000\
    7b68e5cf8b010000ffffffffffffffff01000000c747242d454853464f4f5431";
/// Magic and length of a skippable frame.
const HEAD_BYTES: usize = 8;

fn sample_header() -> SpillHeader {
    SpillHeader { queue: 7, number: 42, salt: SALT, created_ms: 1_700_000_000_000 }
}

fn sample_block() -> BlockHeader {
    BlockHeader {
        salt: SALT,
        offset: 56,
        first_seq: 10,
        end_seq: 14,
        count: 2,
        raw_bytes: 45,
        frame_bytes: 66,
        frame_crc: crc32fast::hash(&bytes(FRAME)),
        first_written_ms: 1_699_999_999_000,
        last_written_ms: 1_699_999_999_250,
        first_expiry: UnixMs(1_700_000_000_123),
        last_expiry: UnixMs::MAX,
    }
}

fn sample_entries() -> [SpillEntry<'static>; 2] {
    let expires_at = UnixMs(1_700_000_000_123);
    [
        SpillEntry { seq_delta: 0, written_delta_ms: 0, expires_at, payload: b"hello" },
        SpillEntry { seq_delta: 3, written_delta_ms: 250, expires_at: UnixMs::MAX, payload: b"" },
    ]
}

fn footer(bytes: &[u8]) -> Option<Vec<BlockHeader>> {
    let (content, tail) = bytes.split_at_checked(bytes.len().checked_sub(FOOTER_TAIL_BYTES)?)?;
    let tail = FooterTail::decode(tail)?;
    let at = content.len().checked_sub(usize::try_from(tail.headers_bytes()).ok()?)?;
    tail.headers(content.get(at..)?)
}

#[test]
fn frames_are_as_documented() {
    let mut own = Vec::new();
    sample_header().encode(&mut own);
    assert_eq!(own, bytes(HEADER));
    assert_eq!(SpillHeader::decode(&own), Ok(sample_header()));
    own.clear();
    sample_block().encode(&mut own);
    assert_eq!(own, bytes(BLOCK));
    assert_eq!(BlockHeader::decode(&own), Some(sample_block()));
    own.clear();
    put_footer(&mut own, &[sample_block()]);
    assert_eq!(own, bytes(FOOTER));
    assert_eq!(footer(&own), Some(vec![sample_block()]));
}

#[test]
fn entries_are_as_documented() {
    let mut own = Vec::new();
    for entry in &sample_entries() {
        put_entry(&mut own, entry);
    }
    assert_eq!(own, bytes(ENTRIES));
    let read: Vec<_> = SpillEntries::new(&own).collect();
    let [first, second] = sample_entries();
    assert_eq!(read, [(0, first), (25, second)]);
    assert_eq!(decompress(&sample_block(), &bytes(FRAME)), Some(own));
}

#[test]
fn a_cut_anywhere_is_noticed() {
    let (header, block, frame, all) = (bytes(HEADER), bytes(BLOCK), bytes(FRAME), bytes(FOOTER));
    for len in 0..header.len() {
        assert_eq!(SpillHeader::decode(&header[..len]), Err(SegmentHeaderError::Damaged));
    }
    for len in 0..block.len() {
        assert_eq!(BlockHeader::decode(&block[..len]), None);
    }
    for len in 0..frame.len() {
        assert_eq!(decompress(&sample_block(), &frame[..len]), None);
        // Also when the checksum is that of what is left, but for LZ4's own end mark and checksum.
        let block = BlockHeader { frame_crc: crc32fast::hash(&frame[..len]), ..sample_block() };
        assert!(len >= frame.len() - 8 || decompress(&block, &frame[..len]).is_none(), "{len} bytes");
    }
    for len in 0..all.len() {
        assert_eq!(footer(&all[..len]), None);
    }
    let entries = bytes(ENTRIES);
    for len in 0..entries.len() {
        assert_eq!(SpillEntries::new(&entries[..len]).count(), usize::from(len >= 25));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let flipped = |hex: &str, at: usize| {
        let mut bytes = bytes(hex);
        bytes[at / 8] ^= 1 << (at % 8);
        bytes
    };
    for at in 0..bytes(HEADER).len() * 8 {
        assert_eq!(SpillHeader::decode(&flipped(HEADER, at)), Err(SegmentHeaderError::Damaged), "bit {at}");
    }
    for at in 0..bytes(BLOCK).len() * 8 {
        assert_eq!(BlockHeader::decode(&flipped(BLOCK, at)), None, "bit {at}");
    }
    for at in 0..bytes(FRAME).len() * 8 {
        assert_eq!(decompress(&sample_block(), &flipped(FRAME, at)), None, "bit {at}");
    }
    // The head of the frame is for LZ4 tools alone: the footer is found from its end.
    for at in HEAD_BYTES * 8..bytes(FOOTER).len() * 8 {
        assert_eq!(footer(&flipped(FOOTER, at)), None, "bit {at}");
    }
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let mut header = bytes(HEADER);
    header[16..20].copy_from_slice(&9_u32.to_le_bytes());
    let crc = crc32fast::hash(&header[8..20]);
    header[20..24].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(SpillHeader::decode(&header), Err(SegmentHeaderError::Newer { found: 9 }));
}

#[test]
fn a_frame_of_another_length_than_promised_is_damage() {
    let frame = bytes(FRAME);
    for raw_bytes in [0, 44, 46, 1 << 20] {
        assert_eq!(decompress(&BlockHeader { raw_bytes, ..sample_block() }, &frame), None);
    }
}

/// A block header with these fields and the right checksum.
fn forged(fields: [u64; 4], numbers: [u32; 4]) -> Vec<u8> {
    let mut block = bytes(BLOCK);
    for (at, field) in (16..).step_by(8).zip(fields) {
        block[at..at + 8].copy_from_slice(&field.to_le_bytes());
    }
    for (at, number) in (48..).step_by(4).zip(numbers) {
        block[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    let crc = crc32fast::hash(&block[HEAD_BYTES + 8..]);
    block[HEAD_BYTES + 4..HEAD_BYTES + 8].copy_from_slice(&crc.to_le_bytes());
    block
}

proptest! {
    #[test]
    fn any_block_is_read_as_it_was_written(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 1..50),
        deltas in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u64>()), 50),
    ) {
        let entry = |(payload, (seq_delta, written_delta_ms, expires_ms)): (&'_ Vec<u8>, &(u32, u32, u64))| {
            (*seq_delta, *written_delta_ms, UnixMs(*expires_ms), payload.clone())
        };
        let wanted: Vec<_> = payloads.iter().zip(&deltas).map(entry).collect();
        let mut raw = Vec::new();
        for (seq_delta, written_delta_ms, expires_at, payload) in &wanted {
            let (seq_delta, written_delta_ms, expires_at) = (*seq_delta, *written_delta_ms, *expires_at);
            put_entry(&mut raw, &SpillEntry { seq_delta, written_delta_ms, expires_at, payload });
        }
        let mut frame = Vec::new();
        FrameMaker::new().compress(&raw, &mut frame);
        let block = BlockHeader {
            raw_bytes: raw.len() as u32,
            frame_bytes: frame.len() as u32,
            frame_crc: crc32fast::hash(&frame),
            ..sample_block()
        };
        let read = decompress(&block, &frame).unwrap();
        prop_assert_eq!(&read, &raw);
        let read = SpillEntries::new(&read).map(|(_, entry)| {
            (entry.seq_delta, entry.written_delta_ms, entry.expires_at, entry.payload.to_vec())
        });
        prop_assert_eq!(read.collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn random_bytes_never_panic(random in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = SpillHeader::decode(&random);
        let _ = BlockHeader::decode(&random);
        let _ = SpillEntries::new(&random).count();
        let _ = footer(&random);
        let block = BlockHeader { frame_crc: crc32fast::hash(&random), ..sample_block() };
        let _ = decompress(&block, &random);
        let mut frame = bytes(FRAME);
        let at = random.len() % frame.len();
        frame.splice(at.., random);
        let _ = decompress(&BlockHeader { frame_crc: crc32fast::hash(&frame), ..block }, &frame);
    }

    /// Fields that no honest writer writes, with the right checksums.
    #[test]
    fn lying_lengths_never_panic(
        fields in prop::array::uniform4(prop_oneof![0_u64..100, any::<u64>()]),
        numbers in prop::array::uniform4(prop_oneof![0_u32..100, any::<u32>()]),
        blocks in any::<u32>(),
    ) {
        if let Some(block) = BlockHeader::decode(&forged(fields, numbers)) {
            prop_assert!(block.first_seq <= block.end_seq);
            prop_assert!(u64::from(block.count) <= block.end_seq - block.first_seq);
            let _ = decompress(&block, &bytes(FRAME));
        }
        let mut all = bytes(FOOTER);
        let at = all.len() - FOOTER_TAIL_BYTES;
        all[at..at + 4].copy_from_slice(&blocks.to_le_bytes());
        prop_assert_eq!(footer(&all).is_some(), blocks == 1);
        let mut entry = bytes(ENTRIES);
        entry[..4].copy_from_slice(&blocks.to_le_bytes());
        let _ = SpillEntries::new(&entry).count();
    }
}
