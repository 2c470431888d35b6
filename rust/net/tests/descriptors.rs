//! A process out of descriptors. Alone in its file: the limit is that of the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Client, Got, Server, connect_bytes};

/// Turns of a thread that looks again now and then; one that never sleeps makes thousands.
const TURNS_MAX: u64 = 100;

fn set_descriptors_max(max: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: one valid rlimit, filled by the first call and read by the second.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}

#[test]
fn without_descriptors_the_thread_looks_again_now_and_then_and_goes_on_when_there_are() {
    let server = Server::start(1, |_| {});
    let mut first = server.client("d");
    let next_free = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    let before = set_descriptors_max(next_free as u64 + 1);
    let mut second = Client::open(server.port);
    std::thread::sleep(Duration::from_millis(100));
    let turns = server.hub.stats().turns.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(300));
    let more = server.hub.stats().turns.load(Ordering::Relaxed) - turns;
    first.publish("d", b"x", 1);
    assert_eq!(first.next(), Some(Got::PubAck(1)));
    set_descriptors_max(before);
    second.send(|out| out.extend(connect_bytes("e")));
    assert_eq!(second.next(), Some(Got::ConnAck));
    assert!(more < TURNS_MAX, "{more} turns");
    server.stop();
}
