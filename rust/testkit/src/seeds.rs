//! Runs that are made from seeds: many at once on all cores, and of one that fails the shortest list of actions that
//! still does.
//!
//! A seed means the same as long as the code that makes runs of seeds stays as it is. What a seed found is therefore
//! also worth a test of its own.
#![allow(clippy::unwrap_used)] // it is part of tests, which may panic

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt::{Debug, Write};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// Runs spent on shortening a list of actions.
const SHRINK_RUNS_MAX: usize = 3000;
/// One run in so many is the same every day.
const FIXED_SHARE: u64 = 5;

/// Whose tests they are.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// The crate, as `cargo test -p` takes it.
    pub package: &'static str,
    /// Its folder of tests, from the root of the repository. In it, `seeds` has the lists of seeds that failed once.
    pub folder: &'static str,
    /// Before the names of environment variables: `STORE` for `STORE_SEEDS` and `STORE_SEED_START`.
    pub prefix: &'static str,
}

/// How runs are made of seeds, and made.
pub struct Suite<C, A> {
    /// The crate that is tested.
    pub owner: Owner,
    /// Name of the test file, and of its list of seeds.
    pub name: &'static str,
    /// The list: seeds that failed once, one per line, with `#` before a remark.
    pub regressions: &'static str,
    /// Environment variable with the number of seeds, and that number without it.
    pub count_variable: &'static str,
    /// Seeds without that variable.
    pub count: u64,
    /// The same for every call with a seed.
    pub plan: fn(u64) -> (C, Vec<A>),
    /// Panics when something is wrong.
    pub run: fn(&C, &[A]),
}

impl<C: Debug + Sync, A: Debug + Clone + Sync> Suite<C, A> {
    /// Tries all seeds. With `PREFIX_SEEDS=1,2` only those, with `PREFIX_SEED_START=n` those from `n` on instead of today's.
    ///
    /// # Panics
    /// When one fails: with the command that runs it alone and the shortest list of actions found.
    pub fn check(&self) {
        silence_on_demand();
        let seeds = self.seeds();
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let failed = Mutex::new(None);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed))
                        && !stop.load(Ordering::Relaxed)
                    {
                        let (config, actions) = (self.plan)(*seed);
                        if let Some(what) = self.failure(&config, &actions) {
                            stop.store(true, Ordering::Relaxed);
                            failed.lock().get_or_insert((*seed, what));
                        }
                    }
                });
            }
        });
        if let Some((seed, what)) = failed.into_inner() {
            panic!("{}", self.explain(seed, &what));
        }
    }

    fn seeds(&self) -> Vec<u64> {
        if let Ok(chosen) = std::env::var(self.variable("SEEDS")) {
            return chosen.split(',').map(|seed| seed.trim().parse().unwrap()).collect();
        }
        let count = number(self.count_variable).unwrap_or(self.count);
        let fixed = count / FIXED_SHARE;
        let start = number(&self.variable("SEED_START")).unwrap_or_else(todays_start);
        let Range { start, end } = start..start.saturating_add(count - fixed);
        self.regressions().chain(0..fixed).chain(start..end).collect()
    }

    fn variable(&self, name: &str) -> String {
        format!("{}_{name}", self.owner.prefix)
    }

    fn regressions(&self) -> impl Iterator<Item = u64> {
        let lines = self.regressions.lines().map(|line| line.split('#').next().unwrap().trim());
        lines.filter(|line| !line.is_empty()).map(|line| line.parse().unwrap())
    }

    fn failure(&self, config: &C, actions: &[A]) -> Option<String> {
        QUIET.set(true);
        let ended = catch_unwind(AssertUnwindSafe(|| (self.run)(config, actions)));
        QUIET.set(false);
        ended.err().map(|panic| LAST.take().unwrap_or_else(|| text_of(&*panic)))
    }

    /// Leaves out as many actions as it can, in ever smaller pieces.
    fn shrink(&self, config: &C, mut actions: Vec<A>) -> Vec<A> {
        let (mut piece, mut runs) = (actions.len().div_ceil(2), 0);
        while piece > 0 && runs < SHRINK_RUNS_MAX {
            let (mut at, mut shorter) = (0, false);
            while at < actions.len() && runs < SHRINK_RUNS_MAX {
                let mut fewer = actions.clone();
                fewer.drain(at..(at + piece).min(actions.len()));
                runs += 1;
                if self.failure(config, &fewer).is_some() {
                    (actions, shorter) = (fewer, true);
                } else {
                    at += piece;
                }
            }
            piece = if shorter { piece.min(actions.len()) } else { piece / 2 };
        }
        actions
    }

    fn explain(&self, seed: u64, what: &str) -> String {
        let Self { name, owner: Owner { package, folder, prefix }, .. } = self;
        let (config, actions) = (self.plan)(seed);
        let all = actions.len();
        let fewest = self.shrink(&config, actions);
        let still = self.failure(&config, &fewest).unwrap_or_default();
        let mut text = format!("seed {seed} fails: {what}\n");
        let _ = writeln!(text, "alone: {prefix}_SEEDS={seed} cargo test -p {package} --test {name}");
        let _ = writeln!(text, "once mended, it belongs into {folder}/seeds/{name}.txt");
        let _ = writeln!(text, "{config:#?}\nof {all} actions {} fail: {still}", fewest.len());
        for action in &fewest {
            let _ = writeln!(text, "    {action:?}");
        }
        text
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Another range of seeds for every day.
#[allow(clippy::disallowed_methods)] // which day it is changes nothing but the choice of seeds
fn todays_start() -> u64 {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    days * 1_000_000_000
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics of runs are kept instead of printed: shrinking makes thousands of them.
fn silence_on_demand() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                let at = info.location().map(ToString::to_string).unwrap_or_default();
                LAST.set(Some(format!("{} ({at})", text_of(info.payload()))));
            } else {
                loud(info);
            }
        }));
    });
}

fn text_of(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without text").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails as soon as it meets a number that is divisible by 19.
    fn suite() -> Suite<(), u64> {
        let run = |(): &(), actions: &[u64]| assert!(actions.iter().all(|n| n % 19 != 0), "a 19");
        let owner = Owner { package: "edgehub-x", folder: "rust/x/tests", prefix: "NOT_SET" };
        let plan = |seed| ((), (seed..seed + 20).collect());
        let regressions = "# none\n3 # a remark\n\n";
        Suite { owner, name: "sim", regressions, count_variable: "NOT_SET_X", count: 10, plan, run }
    }

    #[test]
    fn a_failure_is_told_with_its_shortest_list() {
        silence_on_demand();
        let text = suite().explain(15, "a 19");
        assert!(text.contains("alone: NOT_SET_SEEDS=15 cargo test -p edgehub-x --test sim"), "{text}");
        assert!(text.contains("rust/x/tests/seeds/sim.txt"), "{text}");
        assert!(text.contains("of 20 actions 1 fail") && text.contains("\n    19\n"), "{text}");
    }

    #[test]
    fn seeds_that_failed_once_come_first() {
        let seeds = suite().seeds();
        assert_eq!((seeds.len(), &seeds[..3]), (11, &[3, 0, 1][..]));
    }
}
