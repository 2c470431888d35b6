//! Which calls to a folder fail, and how.

use std::io;

/// A kind of call to a folder or to one of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// Opening or making a file.
    Open,
    /// Listing the names.
    List,
    /// Removing a file.
    Remove,
    /// Renaming a file.
    Rename,
    /// Making names durable.
    SyncDir,
    /// Writing to a file.
    Write,
    /// Reading from a file.
    Read,
    /// Making a file's content durable.
    SyncData,
    /// Asking for a file's length.
    Len,
    /// Allocating or cutting a file.
    SetLen,
}

impl Call {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Open,
        Self::List,
        Self::Remove,
        Self::Rename,
        Self::SyncDir,
        Self::Write,
        Self::Read,
        Self::SyncData,
        Self::Len,
        Self::SetLen,
    ];

    fn what(self) -> &'static str {
        match self {
            Self::Open => "an open",
            Self::List => "a listing",
            Self::Remove => "a removal",
            Self::Rename => "a renaming",
            Self::SyncDir => "a folder sync",
            Self::Write => "a write",
            Self::Read => "a read",
            Self::SyncData => "a sync",
            Self::Len => "a measurement",
            Self::SetLen => "an allocation",
        }
    }
}

/// What a call that is made to fail does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Fails; a write leaves half of its bytes, a sync of a file forgets what it was to make durable.
    Error,
    /// Fails for want of space; nothing is done.
    NoSpace,
    /// A write fails for want of space after all but its last byte; other calls as with [`Fault::NoSpace`].
    Short,
    /// It is done, and fails all the same.
    Late,
}

impl Fault {
    /// All ways to fail.
    pub const ALL: [Self; 4] = [Self::Error, Self::NoSpace, Self::Short, Self::Late];

    /// What the caller is told.
    pub(crate) fn error(self, call: Call) -> io::Error {
        match self {
            Self::NoSpace | Self::Short => io::ErrorKind::StorageFull.into(),
            Self::Error | Self::Late => io::Error::other(format!("planned fault of {}", call.what())),
        }
    }
}

/// Calls that fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultPlan {
    calls: Vec<Call>,
    skip: u64,
    times: u64,
    fault: Fault,
}

impl FaultPlan {
    /// Of the calls of these kinds, `skip` succeed, the next `times` fail, and all further ones succeed.
    pub fn new(calls: &[Call], skip: u64, times: u64, fault: Fault) -> Self {
        Self { calls: calls.to_vec(), skip, times, fault }
    }

    /// Whether a call fails. It is counted.
    pub(crate) fn meet(&mut self, call: Call) -> Option<Fault> {
        if !self.calls.contains(&call) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times = self.times.checked_sub(1)?;
        Some(self.fault)
    }
}

/// How many calls of each kind there were.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CallCounts([u64; Call::ALL.len()]);

impl CallCounts {
    pub fn add(&mut self, call: Call) {
        self.0[call as usize] += 1;
    }

    pub fn get(&self, call: Call) -> u64 {
        self.0[call as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_counts_its_own_calls() {
        let mut plan = FaultPlan::new(&[Call::Write, Call::Read], 1, 2, Fault::NoSpace);
        let calls = [Call::Len, Call::Write, Call::Len, Call::Read, Call::Write, Call::Write];
        let met = calls.map(|call| plan.meet(call).is_some());
        assert_eq!(met, [false, false, false, true, true, false]);
    }

    #[test]
    fn each_kind_has_its_own_count() {
        let mut counts = CallCounts::default();
        for (n, call) in Call::ALL.into_iter().enumerate() {
            (0..n).for_each(|_| counts.add(call));
        }
        assert_eq!(Call::ALL.map(|call| counts.get(call)), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
