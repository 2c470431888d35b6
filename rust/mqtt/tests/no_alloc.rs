//! Publishing and acknowledging in a steady stream allocates nothing once its buffers have grown.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::num::NonZeroU16;

use edgehub_mqtt::{InFlight, Packet, QoS, decode, encode_puback, encode_publish_header};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // Not reachable while the thread is torn down; nothing is counted then.
    let _ = ALLOCATIONS.try_with(|counter| counter.set(counter.get() + 1));
}

// SAFETY: every call is handed to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is passed on.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WINDOW: u16 = 20;

/// Sends a window of messages, decodes them, acknowledges them, decodes the acknowledgements; gives how many were acked.
fn exchange(inflight: &mut InFlight<u64>, wire: &mut Vec<u8>, acks: &mut Vec<u8>) -> usize {
    wire.clear();
    acks.clear();
    for value in 0..u64::from(WINDOW) {
        let id = inflight.insert(value).unwrap();
        let topic: [&[u8]; 2] = [b"devices/d/messages/events/", b"%24.ct=json"];
        encode_publish_header(wire, false, QoS::AtLeastOnce, false, &topic, Some(id), 64).unwrap();
        wire.extend_from_slice(&[b'x'; 64]);
    }
    let mut left = wire.as_slice();
    while let Some((Packet::Publish(publish), used)) = decode(left, 1000).unwrap() {
        encode_puback(acks, publish.packet_id.unwrap());
        left = &left[used..];
    }
    let mut left = acks.as_slice();
    let mut acked = 0;
    while let Some((Packet::PubAck(id), used)) = decode(left, 1000).unwrap() {
        acked += usize::from(inflight.ack(id).is_some());
        left = &left[used..];
    }
    acked
}

#[test]
fn nothing_is_allocated_after_warm_up() {
    let mut inflight = InFlight::new(NonZeroU16::new(WINDOW).unwrap());
    let (mut wire, mut acks) = (Vec::new(), Vec::new());
    exchange(&mut inflight, &mut wire, &mut acks);
    let before = ALLOCATIONS.get();
    assert!(before > 0, "the counter works");
    let acked: usize = (0..10_000).map(|_| exchange(&mut inflight, &mut wire, &mut acks)).sum();
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(acked, 10_000 * usize::from(WINDOW));
}
