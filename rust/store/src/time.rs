//! Store time: what expiries are in. It runs with the boot clock and never steps, whatever the wall clock does.
//!
//! The rules are in `docs/store-format.md`, section 13.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use edgehub_types::{BootTime, Clock, UnixMs};

use crate::StoreError;
use crate::format::{BatchView, RecordView, put_clock};
use crate::keeper::later;
use crate::shared::Shared;
use crate::stats::add;

/// 2024-01-01: a wall clock before that has not been set.
const PLAUSIBLE_FROM: UnixMs = UnixMs(1_704_067_200_000);
/// A wall clock that is off by more than this since the last look was stepped; by less, it is being slewed.
const STEP_MS: u64 = 1000;
/// When nothing else was written for so long and messages wait, the time is: they get older also on a machine that is
/// switched off often and does not know how late it is.
const MARK_MS: u64 = 300_000;

/// Store time and what it has to do with the other clocks, as a segment header tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stamp {
    pub now: UnixMs,
    /// Wall clock minus store time, milliseconds.
    pub wall_skew_ms: i64,
    /// Boot clock minus store time, milliseconds.
    pub boot_skew_ms: i64,
    pub boot_id: [u8; 16],
}

/// What the end of a log tells of the time. Each fact is missing where damage may have taken a later word on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LastSeen {
    /// Store time of the last batch or header.
    pub at: Option<UnixMs>,
    pub wall_skew_ms: Option<i64>,
    /// Boot id and boot skew.
    pub boot: Option<([u8; 16], i64)>,
}

impl LastSeen {
    /// What a header says replaces everything.
    pub fn enter(&mut self, stamp: Option<Stamp>) {
        let Some(Stamp { now, wall_skew_ms, boot_skew_ms, boot_id }) = stamp else {
            (self.wall_skew_ms, self.boot) = (None, None);
            return;
        };
        *self = Self { at: Some(now), wall_skew_ms: Some(wall_skew_ms), boot: Some((boot_id, boot_skew_ms)) };
    }

    /// What the wall clock showed at a time near here; as it is where nothing tells.
    pub fn wall_of(&self, at: UnixMs) -> UnixMs {
        plus(at, self.wall_skew_ms.unwrap_or(0))
    }

    /// What a batch says. The last word counts, not the largest: an empty store may have gone back to the wall clock.
    pub fn pass(&mut self, batch: &BatchView<'_>) {
        self.at = Some(UnixMs(batch.header.written_ms));
        // Records of the clock come without messages.
        let own = batch.records().take_while(|_| batch.header.ranges == 0);
        for (_, _, record) in own {
            if let RecordView::Clock { wall_skew_ms } = record {
                self.wall_skew_ms = Some(wall_skew_ms);
            }
        }
    }
}

/// Store time at opening. `expiring` = there are messages that expire.
pub(crate) fn resume(seen: &LastSeen, expiring: bool, wall: UnixMs, boot: BootTime) -> UnixMs {
    let Some(at) = seen.at else { return wall };
    if !expiring && is_plausible(wall) {
        return wall;
    }
    if let Some((_, skew_ms)) = seen.boot.filter(|(id, _)| boot.is_of(*id)) {
        return plus(UnixMs(boot.ms), skew_ms.saturating_neg()).max(at);
    }
    let last_wall = seen.wall_skew_ms.map(|skew_ms| plus(at, skew_ms));
    let off_ms = match last_wall.filter(|last| is_plausible(*last) && is_plausible(wall)) {
        Some(last) => wall.0.saturating_sub(last.0),
        None => 0,
    };
    UnixMs(at.0.saturating_add(off_ms))
}

fn is_plausible(wall: UnixMs) -> bool {
    wall >= PLAUSIBLE_FROM
}

/// This time on a clock that is so much ahead.
pub(crate) fn plus(at: UnixMs, skew_ms: i64) -> UnixMs {
    if at == UnixMs::MAX { at } else { UnixMs(at.0.saturating_add_signed(skew_ms)) }
}

/// How much `clock` is ahead of `at`.
fn skew(clock: u64, at: UnixMs) -> i64 {
    let ahead = i128::from(clock) - i128::from(at.0);
    ahead.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// The time of a store that is open.
pub(crate) struct StoreTime {
    clock: Arc<dyn Clock>,
    /// Boot clock minus store time: never changes.
    boot_skew_ms: i64,
    /// Wall clock minus store time at the last look, and what the log has of it.
    wall_skew_ms: AtomicI64,
    noted_skew_ms: AtomicI64,
    /// Store time of the last batch or header written.
    written_at: AtomicU64,
}

impl StoreTime {
    /// Begins at `now`.
    pub fn starting_at(now: UnixMs, clock: Arc<dyn Clock>) -> Self {
        let wall_skew_ms = skew(clock.unix().0, now);
        Self {
            boot_skew_ms: skew(clock.boot().ms, now),
            wall_skew_ms: AtomicI64::new(wall_skew_ms),
            noted_skew_ms: AtomicI64::new(wall_skew_ms),
            written_at: AtomicU64::new(now.0),
            clock,
        }
    }

    /// Store time.
    pub fn now(&self) -> UnixMs {
        plus(UnixMs(self.clock.boot().ms), self.boot_skew_ms.saturating_neg())
    }

    /// What the wall clock shows at a store time, as far as is known now.
    pub fn wall_of(&self, at: UnixMs) -> UnixMs {
        plus(at, self.wall_skew_ms.load(Ordering::Relaxed))
    }

    /// For a batch that is about to be written.
    pub fn stamp_batch(&self) -> u64 {
        let now = self.now().0;
        self.written_at.store(now, Ordering::Relaxed);
        now
    }

    /// Store time of the last batch or header written.
    pub fn written_at(&self) -> u64 {
        self.written_at.load(Ordering::Relaxed)
    }

    /// For a segment header that is about to be written.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            now: self.now(),
            wall_skew_ms: self.wall_skew_ms.load(Ordering::Relaxed),
            boot_skew_ms: self.boot_skew_ms,
            boot_id: self.clock.boot().id,
        }
    }

    /// Looks at the wall clock. Returns by how much it was stepped, if it was.
    fn look(&self) -> Option<i64> {
        let last_ms = self.wall_skew_ms.load(Ordering::Relaxed);
        let is_step = |skew_ms: i64| skew_ms.saturating_sub(last_ms).unsigned_abs() > STEP_MS;
        let mut seen_ms = self.wall_skew_now();
        if is_step(seen_ms) {
            // Unless this thread had to wait between reading one clock and the other.
            seen_ms = self.wall_skew_now();
        }
        self.wall_skew_ms.store(seen_ms, Ordering::Relaxed);
        is_step(seen_ms).then(|| seen_ms.saturating_sub(last_ms))
    }

    fn wall_skew_now(&self) -> i64 {
        skew(self.clock.unix().0, self.now())
    }

    /// Whether the log is to be told: of a wall clock that is not where the log has it, or, for messages that wait, of
    /// the time alone.
    fn wants_note(&self, waiting: bool) -> bool {
        let noted_ms = self.noted_skew_ms.load(Ordering::Relaxed);
        let off_ms = self.wall_skew_ms.load(Ordering::Relaxed).saturating_sub(noted_ms);
        let silent_ms = self.now().0.saturating_sub(self.written_at.load(Ordering::Relaxed));
        off_ms.unsigned_abs() > STEP_MS || (waiting && silent_ms >= MARK_MS)
    }
}

impl Shared {
    /// Looks whether the wall clock was stepped, and notes it in the log. Store time goes on as ever.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`]. Want of space is none: it is tried again in the next round.
    pub fn watch_clock(&self) -> Result<(), StoreError> {
        let stepped = self.time.look();
        if let Some(step_ms) = stepped {
            add(&self.counters.clock_steps, 1);
            log::warn!("the wall clock was stepped by {step_ms} ms; messages keep the time they have left");
        }
        let load = &self.load;
        let waiting =
            load.index_entries.load(Ordering::Relaxed) + load.spill_files.load(Ordering::Relaxed) > 0;
        if !self.time.wants_note(waiting) {
            return Ok(());
        }
        later(self.note_clock())?;
        // Were it lost in a power cut, the step would count as time that has passed.
        if stepped.is_some() { self.sync(false) } else { Ok(()) }
    }

    /// # Errors
    /// As [`Shared::write_control`].
    fn note_clock(&self) -> Result<(), StoreError> {
        let skew_ms = self.time.wall_skew_ms.load(Ordering::Relaxed);
        let mut journal = self.journal.lock();
        journal.control.begin();
        put_clock(&mut journal.control.buf, skew_ms);
        journal.control.add_control();
        self.write_control(&mut journal)?;
        self.time.noted_skew_ms.store(skew_ms, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgehub_testkit::VirtualClock;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    /// In 2025.
    const THEN: u64 = 1_750_000_000_000;
    const SAME: [u8; 16] = [1; 16];
    const OTHER: [u8; 16] = [2; 16];

    /// The log ends at `at`, written by the machine's start `SAME` when the boot clock showed an hour.
    fn seen(at: u64, wall: u64) -> LastSeen {
        LastSeen {
            at: Some(UnixMs(at)),
            wall_skew_ms: Some(skew(wall, UnixMs(at))),
            boot: Some((SAME, skew(HOUR, UnixMs(at)))),
        }
    }

    fn resumed(seen: &LastSeen, wall: u64, boot: ([u8; 16], u64)) -> u64 {
        resume(seen, true, UnixMs(wall), BootTime { id: boot.0, ms: boot.1 }).0
    }

    #[test]
    fn within_one_start_of_the_machine_the_boot_clock_alone_tells() {
        for wall in [0, THEN - YEAR, THEN, THEN + 56 * YEAR] {
            assert_eq!(resumed(&seen(THEN, THEN), wall, (SAME, HOUR + 5000)), THEN + 5000);
            assert_eq!(resumed(&seen(THEN, 0), wall, (SAME, HOUR)), THEN);
            assert_eq!(resumed(&seen(THEN, THEN), wall, (SAME, 10)), THEN, "never back");
        }
    }

    #[test]
    fn after_a_start_of_the_machine_the_wall_clock_tells_unless_it_cannot_know() {
        // Store time and wall time at the end, wall time now: store time now.
        let table = [
            ("an hour off", THEN, THEN, THEN + HOUR, THEN + HOUR),
            ("years off", THEN, THEN, THEN + 3 * YEAR, THEN + 3 * YEAR),
            ("set back meanwhile", THEN, THEN, THEN - HOUR, THEN),
            ("not set now", THEN, THEN, 5000, THEN),
            ("not set then, set now", 7000, 7000, THEN, 7000),
            ("never set", 7000, 7000, 5000, 7000),
            ("begun without, set later", 7000, THEN, THEN + DAY, 7000 + DAY),
            ("begun with, lost later", THEN, 9000, THEN + DAY, THEN),
            ("store ahead of the wall", THEN + YEAR, THEN, THEN + DAY, THEN + YEAR + DAY),
        ];
        for (what, at, wall_then, wall_now, wanted) in table {
            assert_eq!(resumed(&seen(at, wall_then), wall_now, (OTHER, 0)), wanted, "{what}");
        }
        let unknown = LastSeen { boot: Some((BootTime::UNKNOWN, 0)), ..seen(THEN, THEN) };
        assert_eq!(resumed(&unknown, THEN + HOUR, (BootTime::UNKNOWN, 5 * HOUR)), THEN + HOUR);
    }

    #[test]
    fn damage_makes_messages_live_longer_not_shorter() {
        let mut damaged = seen(THEN, THEN);
        damaged.enter(None);
        assert_eq!(resumed(&damaged, THEN + YEAR, (SAME, 9 * HOUR)), THEN);
        assert_eq!(resumed(&damaged, THEN + YEAR, (OTHER, 0)), THEN);
    }

    #[test]
    fn without_anything_that_expires_the_wall_clock_is_taken_over() {
        let boot = BootTime { id: SAME, ms: HOUR };
        for wall in [THEN - YEAR / 2, THEN, THEN + YEAR] {
            assert_eq!(resume(&seen(THEN, 0), false, UnixMs(wall), boot), UnixMs(wall));
        }
        assert_eq!(resume(&seen(THEN, 0), false, UnixMs(5), boot), UnixMs(THEN), "unless it is not set");
        assert_eq!(resume(&LastSeen::default(), false, UnixMs(5), boot), UnixMs(5), "there is no log");
    }

    #[test]
    fn extreme_times_saturate() {
        let far = LastSeen { at: Some(UnixMs(u64::MAX - 1)), wall_skew_ms: Some(i64::MIN), boot: None };
        let _ = resumed(&far, u64::MAX, (OTHER, u64::MAX));
        let back = LastSeen { boot: Some((SAME, i64::MIN)), ..far };
        let _ = resumed(&back, 0, (SAME, u64::MAX));
        assert_eq!(plus(UnixMs::MAX, -5), UnixMs::MAX, "never stays never");
        assert_eq!(plus(UnixMs(3), -5), UnixMs(0));
    }

    #[test]
    fn small_deviations_are_taken_over_until_they_add_up() {
        let clock = Arc::new(VirtualClock::at(UnixMs(THEN)));
        let time = StoreTime::starting_at(UnixMs(500), Arc::<VirtualClock>::clone(&clock));
        for _ in 0..2 {
            clock.step_unix(UnixMs(clock.unix().0 + 600));
            assert_eq!((time.look(), time.now()), (None, UnixMs(500)));
        }
        assert_eq!(time.wall_of(UnixMs(500)), UnixMs(THEN + 1200));
        assert!(time.wants_note(false), "1200 ms off from what the log has");
        clock.step_unix(UnixMs(0));
        assert_eq!(time.look(), Some(-(THEN.cast_signed() + 1200)));
        assert_eq!(time.wall_of(UnixMs(500)), UnixMs(0));
    }

    #[test]
    fn a_long_silence_is_to_be_broken() {
        let clock = Arc::new(VirtualClock::at(UnixMs(THEN)));
        let time = StoreTime::starting_at(UnixMs(THEN), Arc::<VirtualClock>::clone(&clock));
        clock.advance_ms(MARK_MS - 1);
        assert!(!time.wants_note(true));
        clock.advance_ms(1);
        assert!(time.wants_note(true) && !time.wants_note(false));
        time.stamp_batch();
        assert!(!time.wants_note(true));
    }
}
