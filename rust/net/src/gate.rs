//! When a connection may be taken from a listener. What may not come in yet stays with the kernel, whose backlog
//! is the only queue, and whose clients try again when that is full.

use edgehub_types::MonoTime;

/// A wait is at least so long: one look then lets several in.
const WAIT_MS_MIN: u64 = 10;
/// Thousandths in one.
const MILLI: u64 = 1000;

/// A token bucket: so many a second, and as many at once after a quiet second.
#[derive(Debug)]
pub(crate) struct ConnectRate {
    /// 0 for no limit.
    per_s: u64,
    /// Thousandths of a connection that may come now.
    milli: u64,
    counted: MonoTime,
}

impl ConnectRate {
    /// A full bucket; `per_s` 0 is no limit.
    pub fn new(per_s: u32, now: MonoTime) -> Self {
        let per_s = u64::from(per_s);
        Self { per_s, milli: per_s * MILLI, counted: now }
    }

    /// Whether a connection may come now.
    ///
    /// # Errors
    /// When to ask again.
    pub fn check(&mut self, now: MonoTime) -> Result<(), MonoTime> {
        if self.per_s == 0 {
            return Ok(());
        }
        let gained = now.since(self.counted).as_millis() as u64;
        self.milli = self.milli.saturating_add(gained.saturating_mul(self.per_s)).min(self.per_s * MILLI);
        self.counted = now;
        if self.milli >= MILLI {
            return Ok(());
        }
        let missing_ms = (MILLI - self.milli).div_ceil(self.per_s);
        Err(now.plus_ms(missing_ms.max(WAIT_MS_MIN)))
    }

    /// One came.
    pub fn count(&mut self) {
        self.milli = self.milli.saturating_sub(MILLI);
    }
}

/// Counts what happens often and tells it seldom.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    untold: u64,
    told: Option<MonoTime>,
}

impl Pace {
    /// Least time between two log lines.
    const QUIET_MS: u64 = 10_000;

    /// Counts one; how many to tell of, if it is time.
    pub fn count(&mut self, now: MonoTime) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now < told.plus_ms(Self::QUIET_MS)) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admitted(rate: &mut ConnectRate, from_ms: u64, to_ms: u64) -> u64 {
        let (mut now, mut count) = (MonoTime(from_ms), 0);
        while now.0 < to_ms {
            match rate.check(now) {
                Ok(()) => {
                    rate.count();
                    count += 1;
                }
                Err(again) => now = again,
            }
        }
        count
    }

    #[test]
    fn without_a_rate_everything_comes_in() {
        let mut rate = ConnectRate::new(0, MonoTime(0));
        assert!((0..100_000).all(|_| rate.check(MonoTime(0)).map(|()| rate.count()).is_ok()));
    }

    #[test]
    fn a_second_is_let_in_at_once_and_then_so_many_a_second() {
        let mut rate = ConnectRate::new(50, MonoTime(0));
        assert_eq!(admitted(&mut rate, 0, 1), 50);
        assert_eq!(admitted(&mut rate, 1, 2001), 100);
        assert_eq!(admitted(&mut rate, 60_000, 60_001), 50, "what was not used is not kept for ever");
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_never_much_less(
            per_s in 1..20_000_u32, steps in prop::collection::vec(0..3000_u64, 1..20)
        ) {
            let mut rate = ConnectRate::new(per_s, MonoTime(0));
            let (mut now, mut count, mut busy_ms) = (0, 0, 0);
            for (index, step) in steps.iter().enumerate() {
                if index % 2 == 0 {
                    count += admitted(&mut rate, now, now + step);
                    busy_ms += step;
                }
                now += step;
            }
            let most = u64::from(per_s) * now / 1000 + u64::from(per_s) + 1;
            let least = (u64::from(per_s) * busy_ms / 1000).saturating_sub(u64::from(per_s));
            prop_assert!(count <= most, "{} of {}", count, most);
            prop_assert!(count >= least, "{} of {}", count, least);
        }
    }

    #[test]
    fn a_flood_is_told_seldom_and_in_full() {
        let mut pace = Pace::default();
        assert_eq!(pace.count(MonoTime(5)), Some(1));
        assert!((0..99).all(|n| pace.count(MonoTime(5 + n)).is_none()));
        assert_eq!(pace.count(MonoTime(5 + Pace::QUIET_MS)), Some(100));
    }
}
