//! How much of the disk (or of the memory) messages may take, and what happens when they take it all.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::StoreError;
use crate::config::SpillConfig;
use crate::shared::Shared;
use crate::stats::add;

/// With a quota a file has about this part of it at most, so that freeing one has an effect.
const QUOTA_FILES: u64 = 8;
/// But not less than this, unless the store is configured for less.
const QUOTA_FILE_BYTES_MIN: u64 = 256 << 10;
/// Load that keeps the pressure on where it is and does not begin it.
const LOAD_NEARLY_FULL_PERCENT: u64 = 90;

/// What is done with messages for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverflowPolicy {
    /// New ones are refused with a retryable error.
    #[default]
    RejectNew,
    /// The oldest ones are dropped.
    DropOldest,
    /// The least important ones are dropped, the oldest of them first.
    DropLowestPriority,
}

impl OverflowPolicy {
    const ALL: [Self; 3] = [Self::RejectNew, Self::DropOldest, Self::DropLowestPriority];

    /// Name in settings; stays the same in later versions.
    pub fn name(self) -> &'static str {
        match self {
            Self::RejectNew => "rejectNew",
            Self::DropOldest => "dropOldest",
            Self::DropLowestPriority => "dropLowestPriority",
        }
    }

    /// The policy with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// Whether stored messages are dropped.
    pub fn drops(self) -> bool {
        self != Self::RejectNew
    }
}

/// Limit for what messages take; see [`crate::Store::set_quota`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of files in which something is wanted, without what is only prepared. 0 and 1: always full, and nothing
    /// is dropped. `u64::MAX`: no limit but the disk, and `policy` says what happens when that is full.
    pub bytes_max: u64,
    /// What happens to messages for which there is no room.
    pub policy: OverflowPolicy,
}

impl Quota {
    /// No quota.
    pub(crate) const NONE: Self = Self { bytes_max: u64::MAX, policy: OverflowPolicy::RejectNew };

    pub(crate) fn is_limit(self) -> bool {
        self.bytes_max < u64::MAX
    }

    /// Such a quota says that nothing may be stored. No dropping would change that.
    fn is_always_full(self) -> bool {
        self.bytes_max <= 1
    }

    /// Whether new messages are refused.
    pub(crate) fn is_full(self, used: u64) -> bool {
        used >= self.bytes_max || self.is_always_full()
    }

    /// From nine tenths on the log says so.
    pub(crate) fn is_nearly_full(self, used: u64) -> bool {
        self.is_limit() && used >= self.bytes_max - self.bytes_max / 10
    }

    /// Pressure that began ends at 95 percent; dropping goes down to it.
    fn relief_bytes(self) -> u64 {
        self.bytes_max - self.bytes_max / 20
    }

    /// Dropping begins at 98 percent, so that senders do not notice.
    fn alert_bytes(self) -> u64 {
        if self.policy.drops() { self.bytes_max - self.bytes_max / 50 } else { self.bytes_max }
    }

    /// Whether an estimate is so large that it matters how much is used exactly.
    fn needs_measuring(self, estimate: u64) -> bool {
        self.is_limit() && (estimate >= self.alert_bytes() || self.is_always_full())
    }

    /// Bytes to be freed by dropping messages; 0 = nothing is to be dropped.
    pub(crate) fn bytes_to_free(self, used: u64) -> u64 {
        let drops = self.policy.drops() && self.is_limit() && !self.is_always_full();
        if drops && used >= self.alert_bytes() { used - self.relief_bytes() } else { 0 }
    }

    /// For [`Shared::pressure`].
    fn load_percent(self, used: u64) -> u64 {
        match used {
            _ if self.is_full(used) => 100,
            used if used > self.relief_bytes() => LOAD_NEARLY_FULL_PERCENT,
            _ => 0,
        }
    }

    fn segment_bytes(self, configured: u64) -> u64 {
        (self.bytes_max / QUOTA_FILES).max(QUOTA_FILE_BYTES_MIN).min(configured)
    }

    /// The same for spill files.
    pub(crate) fn spill_config(self, configured: SpillConfig) -> SpillConfig {
        let file_bytes = self.segment_bytes(u64::from(configured.file_bytes));
        SpillConfig { file_bytes: u32::try_from(file_bytes).unwrap_or(u32::MAX), ..configured }
    }
}

/// The quota in force, read by every append. The two halves may be of two settings for a moment.
pub(crate) struct QuotaCell {
    bytes_max: AtomicU64,
    policy: AtomicU8,
}

impl Default for QuotaCell {
    fn default() -> Self {
        let Quota { bytes_max, policy } = Quota::NONE;
        Self { bytes_max: AtomicU64::new(bytes_max), policy: AtomicU8::new(policy as u8) }
    }
}

impl QuotaCell {
    pub fn get(&self) -> Quota {
        let policy = OverflowPolicy::ALL.get(usize::from(self.policy.load(Ordering::Relaxed)));
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        Quota { bytes_max, policy: policy.copied().unwrap_or_default() }
    }

    fn set(&self, quota: Quota) {
        self.policy.store(quota.policy as u8, Ordering::Relaxed);
        self.bytes_max.store(quota.bytes_max, Ordering::Relaxed);
    }
}

impl Shared {
    /// See [`crate::Store::set_quota`].
    pub fn set_quota(&self, quota: Option<Quota>) {
        let quota = quota.unwrap_or(Quota::NONE);
        self.quota.set(quota);
        let segment_bytes = quota.segment_bytes(u64::from(self.config.segment_bytes));
        self.journal.lock().set_segment_bytes(segment_bytes);
        self.measure_usage();
        self.relieve();
        self.kick_upkeep();
    }

    /// # Errors
    /// [`StoreError::QuotaFull`].
    pub fn check_quota(&self) -> Result<(), StoreError> {
        let quota = self.quota.get();
        if !quota.needs_measuring(self.estimated_usage()) {
            return Ok(());
        }
        self.measure_usage();
        let used = self.estimated_usage();
        if quota.bytes_to_free(used) > 0 {
            self.kick_upkeep();
        }
        if !quota.is_full(used) {
            return Ok(());
        }
        add(&self.counters.quota_refused, 1);
        Err(StoreError::QuotaFull { used, max: quota.bytes_max })
    }

    /// How near the quota is, for [`Shared::pressure`].
    pub fn quota_percent(&self) -> u64 {
        let quota = self.quota.get();
        if quota.is_limit() { quota.load_percent(self.estimated_usage()) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(bytes_max: u64, policy: OverflowPolicy) -> Quota {
        Quota { bytes_max, policy }
    }

    #[test]
    fn names_lead_back_to_their_policies() {
        for policy in OverflowPolicy::ALL {
            assert_eq!(OverflowPolicy::from_name(policy.name()), Some(policy));
            let cell = QuotaCell::default();
            cell.set(quota(7, policy));
            assert_eq!(cell.get(), quota(7, policy));
        }
        assert_eq!(OverflowPolicy::from_name("dropoldest"), None);
    }

    #[test]
    fn thresholds_follow_one_another() {
        let quota = quota(1000, OverflowPolicy::DropOldest);
        let row = |used| (quota.is_nearly_full(used), quota.load_percent(used), quota.bytes_to_free(used));
        assert_eq!(row(899), (false, 0, 0));
        assert_eq!(row(900), (true, 0, 0));
        assert_eq!(row(951), (true, LOAD_NEARLY_FULL_PERCENT, 0));
        assert_eq!(row(980), (true, LOAD_NEARLY_FULL_PERCENT, 30));
        assert_eq!(row(1000), (true, 100, 50));
        assert!(!quota.is_full(999));
    }

    #[test]
    fn a_quota_of_nothing_is_full_and_drops_nothing() {
        for bytes_max in [0, 1] {
            let quota = quota(bytes_max, OverflowPolicy::DropOldest);
            assert!(quota.is_full(0));
            assert_eq!((quota.load_percent(0), quota.bytes_to_free(5000)), (100, 0));
        }
    }

    #[test]
    fn without_a_limit_nothing_is_ever_full() {
        let quota = quota(u64::MAX, OverflowPolicy::DropOldest);
        assert!(!quota.is_full(1 << 60) && !quota.is_nearly_full(u64::MAX) && !Quota::NONE.is_limit());
        assert_eq!(quota.bytes_to_free(1 << 60), 0);
    }

    #[test]
    fn segments_are_an_eighth_of_the_quota_within_bounds() {
        let bytes = |max, configured| quota(max, OverflowPolicy::RejectNew).segment_bytes(configured);
        assert_eq!(bytes(2 << 20, 64 << 20), 256 << 10);
        assert_eq!(bytes(80 << 20, 64 << 20), 10 << 20);
        assert_eq!(bytes(u64::MAX, 64 << 20), 64 << 20);
        assert_eq!(bytes(0, 4096), 4096);
    }
}
