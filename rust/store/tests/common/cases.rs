//! Ways for a disk to fail, and many checks at once.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

use edgehub_testkit::{Call, Fault, FaultPlan, FaultyStorage};

/// One way for one call to fail.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub call: Call,
    pub skip: u64,
    pub times: u64,
    pub fault: Fault,
}

impl Case {
    pub fn plan(&self) -> FaultPlan {
        FaultPlan::new(&[self.call], self.skip, self.times, self.fault)
    }

    /// Whether bytes cannot be read however often it is tried: then they are damaged.
    pub fn never_ends(&self) -> bool {
        self.call == Call::Read && self.times == u64::MAX
    }

    /// Every call of a disk that made so many of each kind. Twice in a row only reads fail, which are tried again.
    pub fn all(disk: &FaultyStorage, times: &[u64]) -> Vec<Self> {
        let mut cases = Vec::new();
        for call in Call::ALL {
            let faults = Fault::ALL.into_iter().filter(|fault| *fault != Fault::Short || call == Call::Write);
            for fault in faults {
                for skip in 0..disk.calls(call) {
                    let times = times.iter().filter(|times| **times != 2 || call == Call::Read);
                    cases.extend(times.map(|times| Self { call, skip, times: *times, fault }));
                }
            }
        }
        cases
    }
}

/// Says which one it was when a check fails.
pub struct Told<T: Debug>(pub T);

impl<T: Debug> Drop for Told<T> {
    #[allow(clippy::print_stderr)] // the panic that is on its way says what, this says where
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in {:?}", self.0);
        }
    }
}

/// All cases on all cores.
pub fn for_all<T: Sync>(cases: &[T], check: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(case);
                }
            });
        }
    });
}
