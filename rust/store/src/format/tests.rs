//! The bytes against vectors that were made from `docs/store-format.md` alone, and against damage.

use edgehub_types::UnixMs;
use proptest::prelude::*;

use super::*;
use crate::batch::{Batch, Placement, QueueId, Target};

const MESSAGE: &str = "410553cd2900000001000200030000007b68e5cf8b01000009000000ffffffffffffffff68656c6c6f";
const DEFINED: &str = "dd941a8318000000020000000300000007000000c3a42f62";
const REMOVED: &str = "86fe28441800000003000000030000002a00000000000000";
const SPILLED: &str = "f306d1b91800000004000000030000002a00000000000000";
const CLOCK: &str = "eff4a4f614000000050000008011c9ffffffffff";
const BATCH: &str = "45484231864acb8f88776655443322110010000000000000a00f000000000000\
    a00000000100000029000000ec1d664302000000010000000068e5cf8b010000\
    410553cd2900000001000200030000007b68e5cf8b01000009000000ffffffffffffffff68656c6c6f\
    03000000010000002a00000000000000090000000100000000000000000000000300000000000000\
    280000000000000000000000000000";
const SEGMENT: &str = "454447454855424a01000000d1a51d3eb80000000e51146d05000000000000000000010000000000\
    e8fd00000000000000fa00000000000088776655443322110068e5cf8b0100000200000000000000\
    8011c9ffffffffff40da293074feffff101112131415161718191a1b1c1d1e1f\
    01000000009435770a00000000000000070000000000000000000600696f74687562\
    02000000000000000300000000000000030000000000000001000600642f6d2f696e00000000";
pub(super) const SALT: u64 = 0x1122_3344_5566_7788;

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.bytes().filter_map(|digit| (digit as char).to_digit(16).map(|d| d as u8)).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
}

fn sample_batch() -> Vec<u8> {
    let mut batch = Batch::new();
    let targets = [
        Target { queue: QueueId(3), expires_at: UnixMs(1_700_000_000_123) },
        Target { queue: QueueId(9), expires_at: UnixMs::MAX },
    ];
    batch.push(&targets, 5, |out| out.extend_from_slice(b"hello")).unwrap();
    let mut inner = std::mem::take(&mut batch.inner);
    inner.slots[0].first_seq = 42;
    let place = Placement { salt: SALT, address: 4096, durable: 4000, written_ms: 1_700_000_000_000 };
    inner.seal(&place, &[Checkpoint { queue: 3, head_seq: 40 }]);
    inner.buf
}

fn sample_segment() -> SegmentHeader {
    let row = |id, priority, next_seq, head_seq, removed, endpoint: &str| QueueRow {
        id,
        priority,
        next_seq,
        head_seq,
        removed,
        endpoint: endpoint.to_owned(),
        spilled_seq: 0,
    };
    SegmentHeader {
        header_bytes: 184,
        number: 5,
        base: 65536,
        prev_end: 65000,
        durable: 64000,
        salt: SALT,
        created_ms: 1_700_000_000_000,
        wall_skew_ms: -3_600_000,
        boot_skew_ms: -1_699_999_000_000,
        boot_id: std::array::from_fn(|n| n as u8 + 16),
        reused: false,
        queues: vec![row(1, 2_000_000_000, 10, 7, false, "iothub"), row(2, 0, 3, 3, true, "d/m/in")],
    }
}

#[test]
fn records_are_as_documented() {
    let message = bytes(MESSAGE);
    let view = RecordView::decode(&message).unwrap();
    let RecordView::Message { payload, .. } = view else { panic!("{view:?}") };
    assert_eq!(payload, b"hello");
    let targets: Vec<_> = view.targets().collect();
    assert_eq!(targets, [(3, UnixMs(1_700_000_000_123)), (9, UnixMs::MAX)]);
    let mut own = Vec::new();
    put_queue_defined(&mut own, 3, 7, "ä/b");
    assert_eq!(own, bytes(DEFINED));
    let defined = RecordView::QueueDefined { id: 3, priority: 7, endpoint: "ä/b" };
    assert_eq!(RecordView::decode(&own), Some(defined));
    own.clear();
    put_queue_removed(&mut own, 3, 42);
    assert_eq!(own, bytes(REMOVED));
    assert_eq!(RecordView::decode(&own), Some(RecordView::QueueRemoved { id: 3, below: 42 }));
    own.clear();
    put_queue_spilled(&mut own, 3, 42);
    assert_eq!(own, bytes(SPILLED));
    assert_eq!(RecordView::decode(&own), Some(RecordView::QueueSpilled { id: 3, below: 42 }));
    own.clear();
    put_clock(&mut own, -3_600_000);
    assert_eq!(own, bytes(CLOCK));
    assert_eq!(RecordView::decode(&own), Some(RecordView::Clock { wall_skew_ms: -3_600_000 }));
}

#[test]
fn batches_are_as_documented() {
    let own = sample_batch();
    assert_eq!(own, bytes(BATCH));
    let header = BatchHeader::decode(&own).unwrap();
    assert_eq!((header.salt, header.address, header.durable), (SALT, 4096, 4000));
    let view = BatchView::decode(header, &own).unwrap();
    let ranges: Vec<_> = view.ranges().collect();
    let wanted = [Range { queue: 3, count: 1, first_seq: 42 }, Range { queue: 9, count: 1, first_seq: 0 }];
    assert_eq!(ranges, wanted);
    assert_eq!(view.checkpoints().collect::<Vec<_>>(), [Checkpoint { queue: 3, head_seq: 40 }]);
    let records: Vec<_> = view.records().map(|(offset, bytes, _)| (offset, bytes.to_vec())).collect();
    assert_eq!(records, [(0, bytes(MESSAGE))]);
}

#[test]
fn segment_headers_are_as_documented() {
    let mut own = Vec::new();
    sample_segment().encode(&mut own);
    assert_eq!(own, bytes(SEGMENT));
    assert_eq!(SegmentHeader::decode(&own), Ok(sample_segment()));
}

#[test]
fn a_cut_anywhere_is_noticed() {
    let (message, batch, segment) = (bytes(MESSAGE), bytes(BATCH), bytes(SEGMENT));
    for len in 0..message.len() {
        assert_eq!(RecordView::decode(&message[..len]), None);
    }
    let header = BatchHeader::decode(&batch).unwrap();
    for len in 0..batch.len() {
        assert_eq!(BatchHeader::decode(&batch[..len]).is_some(), len >= BATCH_HEADER_BYTES);
        // What follows the tables is padding, which may be missing.
        assert_eq!(BatchView::decode(header, &batch[..len]).is_some(), len >= 64 + 41 + 48);
    }
    for len in 0..segment.len() {
        let wanted = if len < 20 {
            SegmentHeaderError::Damaged
        } else {
            SegmentHeaderError::Short { needed: segment.len() }
        };
        assert_eq!(SegmentHeader::decode(&segment[..len]), Err(wanted));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for at in 0..bytes(BATCH).len() * 8 {
        let mut batch = bytes(BATCH);
        batch[at / 8] ^= 1 << (at % 8);
        let view = BatchHeader::decode(&batch).and_then(|header| BatchView::decode(header, &batch).map(drop));
        assert_eq!(view.is_some(), at / 8 >= 64 + 41 + 48, "bit {at}");
    }
    for at in 0..bytes(SEGMENT).len() * 8 {
        let mut segment = bytes(SEGMENT);
        segment[at / 8] ^= 1 << (at % 8);
        let error = SegmentHeader::decode(&segment).unwrap_err();
        assert!(!matches!(error, SegmentHeaderError::Newer { .. }), "bit {at}");
    }
}

proptest! {
    #[test]
    fn any_message_is_read_as_it_was_written(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        targets in prop::collection::btree_map(1_u32..5000, any::<u64>(), 1..20),
    ) {
        let targets: Vec<_> =
            targets.into_iter().map(|(id, ms)| Target { queue: QueueId(id), expires_at: UnixMs(ms) }).collect();
        let mut batch = Batch::new();
        batch.push(&targets, 0, |out| out.extend_from_slice(&payload)).unwrap();
        let record = &batch.inner.buf[BATCH_HEADER_BYTES..];
        let view = RecordView::decode(record).unwrap();
        let read: Vec<_> =
            view.targets().map(|(id, expires_at)| Target { queue: QueueId(id), expires_at }).collect();
        prop_assert_eq!(read, targets);
        let RecordView::Message { payload: read, .. } = view else { panic!("{view:?}") };
        prop_assert_eq!(read, &payload[..]);
    }

    #[test]
    fn random_bytes_never_panic(random in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = RecordView::decode(&random);
        let _ = RecordView::decode_trusted(&random);
        let _ = SegmentHeader::decode(&random);
        let _ = Records::new(&random).count();
        if let Some(header) = BatchHeader::decode(&bytes(BATCH)) {
            let _ = BatchView::decode(header, &random);
        }
    }

    /// Fields that no honest writer writes, with the right checksums.
    #[test]
    fn lying_lengths_never_panic(fields in prop::collection::vec(any::<u32>(), 8), cut in 0_usize..200) {
        let mut batch = bytes(BATCH);
        batch.truncate(cut.max(64));
        for (field, at) in fields.iter().zip([16, 24, 32, 36, 40, 44, 48, 52]) {
            batch[at..at + 4].copy_from_slice(&(field % 200).to_le_bytes());
        }
        let crc = crc32fast::hash(&batch[8..64]);
        batch[4..8].copy_from_slice(&crc.to_le_bytes());
        if let Some(header) = BatchHeader::decode(&batch) {
            let _ = BatchView::decode(header, &batch);
        }
    }
}
