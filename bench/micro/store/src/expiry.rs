//! What it costs a sender when a backlog expires.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use edgehub_types::UnixMs;

use crate::BenchError;
use crate::check::Checker;
use crate::cli::RunOptions;
use crate::contender::{Contender, Mode, OpenOptions};
use crate::edgehub::Edgehub;
use crate::meter::{Meter, Usage, now_ns};
use crate::payload::Payloads;

/// Time between two batches of a sender, and of one that waits for syncs.
const PACE_NS: u64 = 1_000_000;
const SYNC_PACE_NS: u64 = 10_000_000;
/// Messages appended together while the backlog is made.
const FILL_MSGS: u64 = 1_000;
/// The backlog is made at this rate at least.
const FILL_MSGS_PER_S: u64 = 200_000;
/// Time for either half of the measurement: this much for each message of the backlog, within the limits.
const PHASE_NS_PER_MSG: u64 = 4_000;
const PHASE_NS_MIN: u64 = 200_000_000;
const PHASE_NS_MAX: u64 = 4_000_000_000;
/// No backlog takes so long to go; if it does, it never will.
const EXPIRY_NS_MAX: u64 = 60_000_000_000;

/// How long appending took, from the time at which it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Half of the batches took no longer, ns.
    pub p50_ns: u64,
    /// 99 of 100.
    pub p99_ns: u64,
    /// 999 of 1000.
    pub p999_ns: u64,
    /// All.
    pub max_ns: u64,
}

impl Latency {
    /// Of measured times, which are sorted by it; zeros without any.
    fn of(times_ns: &mut [u64]) -> Self {
        times_ns.sort_unstable();
        let last = times_ns.len().saturating_sub(1);
        let at = |per_mille: usize| times_ns.get(last * per_mille / 1000).copied().unwrap_or_default();
        Self { p50_ns: at(500), p99_ns: at(990), p999_ns: at(999), max_ns: at(1000) }
    }
}

/// Appending while nothing expires and while the backlog does, in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// Before the backlog expires.
    pub quiet: Latency,
    /// From the time of its expiry until it is gone.
    pub expiring: Latency,
}

/// A sender with a steady pace, beside a backlog.
struct Sender<'a> {
    store: Edgehub,
    payloads: &'a Payloads,
    batch_msgs: u64,
    pace_ns: u64,
    next: u64,
}

impl Sender<'_> {
    /// Appends from now on, until `done` says so; it is asked after every batch.
    fn run(&mut self, mut done: impl FnMut(&Edgehub, u64) -> bool) -> Result<Latency, BenchError> {
        let (start, mut times_ns) = (now_ns(), Vec::new());
        for n in 0.. {
            let due = start + n * self.pace_ns;
            sleep(Duration::from_nanos(due.saturating_sub(now_ns())));
            self.store.append(self.next..self.next + self.batch_msgs, self.payloads)?;
            self.store.settle()?;
            self.next += self.batch_msgs;
            let end = now_ns();
            times_ns.push(end - due);
            if done(&self.store, end - start) {
                break;
            }
        }
        Ok(Latency::of(&mut times_ns))
    }
}

fn phase_ns(messages: u64) -> u64 {
    (messages * PHASE_NS_PER_MSG).clamp(PHASE_NS_MIN, PHASE_NS_MAX)
}

/// Makes a backlog, and appends what never expires to the same queue, before and while the backlog does.
/// What was used is counted from the time of expiry until the backlog is gone.
///
/// # Errors
/// When the store fails, when the backlog does not go, or when what remains is not delivered right.
pub fn measure(
    options: &RunOptions,
    open: OpenOptions,
    folder: &Path,
) -> Result<(Expiry, Usage), BenchError> {
    let payloads = Payloads::new(options.scenario.payload_bytes);
    let mut store = Edgehub::open(folder, open)?;
    let phase_ns = phase_ns(options.messages);
    let ahead_ms = phase_ns / 1_000_000 + options.messages * 1000 / FILL_MSGS_PER_S + 500;
    let expires_at = UnixMs(store.now().0 + ahead_ms);
    for first in (0..options.messages).step_by(FILL_MSGS as usize) {
        store.append_until(first..options.messages.min(first + FILL_MSGS), &payloads, expires_at)?;
    }
    store.settle()?;
    let pace_ns = if options.mode == Mode::Group { SYNC_PACE_NS } else { PACE_NS };
    let batch_msgs = options.scenario.batch_msgs;
    let mut sender = Sender { store, payloads: &payloads, batch_msgs, pace_ns, next: 0 };
    let quiet = sender.run(|_, elapsed_ns| elapsed_ns >= phase_ns)?;
    let left_ms =
        expires_at.0.checked_sub(sender.store.now().0).ok_or_else(|| stuck("make the backlog in time"))?;
    sleep(Duration::from_millis(left_ms));
    let (meter, mut usage) = (Meter::start()?, None);
    let expiring = sender.run(|store, elapsed_ns| {
        if usage.is_none() && store.expired() >= options.messages {
            usage = Some(meter.stop());
        }
        (usage.is_some() && elapsed_ns >= phase_ns) || elapsed_ns >= EXPIRY_NS_MAX
    })?;
    let usage = usage.ok_or_else(|| stuck("drop an expired backlog"))??;
    check(sender, options)?;
    Ok((Expiry { quiet, expiring }, usage))
}

fn stuck(action: &'static str) -> BenchError {
    BenchError::Contender { contender: "edgehub", action, reason: "it takes too long".to_owned() }
}

/// What did not expire is all there, and nothing else.
fn check(sender: Sender<'_>, options: &RunOptions) -> Result<(), BenchError> {
    let Sender { mut store, payloads, next, .. } = sender;
    let mut checker = Checker::new(payloads, 1);
    while store.consume(0, 1000, &mut |body| checker.delivered(0, body))? > 0 {}
    let expired = store.expired();
    Box::new(store).close()?;
    if expired != options.messages {
        let problem = format!("{expired} messages of {} expired", options.messages);
        return Err(BenchError::WrongDelivery { endpoint: 0, problem });
    }
    checker.finish(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut times: Vec<u64> = (1..=1001).rev().collect();
        let wanted = Latency { p50_ns: 501, p99_ns: 991, p999_ns: 1000, max_ns: 1001 };
        assert_eq!(Latency::of(&mut times), wanted);
        assert_eq!(Latency::of(&mut [7]), Latency { p50_ns: 7, p99_ns: 7, p999_ns: 7, max_ns: 7 });
        assert_eq!(Latency::of(&mut []).max_ns, 0);
    }
}
