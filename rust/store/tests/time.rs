//! Steps of the wall clock, and starts of the machine, under messages that expire.
#![allow(clippy::unwrap_used)] // a test may panic

mod common;

use std::sync::Arc;

use common::{NEVER, NO_SPILL, Rig, SPILL_ALL, START, config, lease, payloads};
use edgehub_store::inspect::Inspection;
use edgehub_store::{LossCause, Queue, StoreConfig, SyncPolicy};
use edgehub_testkit::{FaultyStorage, PowerCut, VirtualClock};
use edgehub_types::{Clock, UnixMs};
use proptest::prelude::*;

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
/// Steps by less than this come to pass too.
const STEP_MAX_MS: i64 = 3 * HOUR.cast_signed();
const YEAR: u64 = 365 * 24 * HOUR;
const POLICIES: [SyncPolicy; 3] =
    [SyncPolicy::Group, SyncPolicy::Interval { interval_ms: 50 }, SyncPolicy::None];
/// Wall clocks to be stepped to: hours and years away, and never set.
const WALLS: [u64; 5] =
    [START.0 + 2 * HOUR, START.0 - 2 * HOUR, START.0 + 56 * YEAR, START.0 - 10 * YEAR, 5 * SECOND];

/// A store on disk under each policy, and one in memory.
fn rigs(clock: &VirtualClock) -> Vec<Rig> {
    let on_disk = POLICIES.map(|policy| Rig::on(FaultyStorage::new(), config(policy), clock_like(clock)));
    on_disk.into_iter().chain([Rig::in_memory(config(SyncPolicy::None))]).collect()
}

/// Another clock at the same wall time.
fn clock_like(clock: &VirtualClock) -> Arc<VirtualClock> {
    Arc::new(VirtualClock::at(clock.unix()))
}

fn at_start() -> VirtualClock {
    VirtualClock::at(START)
}

/// Two messages: one that lives for `ttl_ms`, one for ever.
fn append_mortal(rig: &mut Rig, ttl_ms: u64) -> Queue {
    let queue = rig.store.open_queue("a", 0).unwrap();
    let until = UnixMs(rig.now().0 + ttl_ms);
    rig.append_until(&[&queue], &[b"mortal"], until);
    rig.append(&[&queue], &[b"immortal"]);
    queue
}

/// Has the store run for so long, a second at a time.
fn run(rig: &Rig, ms: u64) {
    (0..ms / SECOND).for_each(|_| rig.pass(SECOND));
    rig.pass(ms % SECOND);
}

fn queue(rig: &Rig) -> Queue {
    rig.store.open_queue("a", 0).unwrap()
}

/// What could be delivered now, without taking it.
fn deliverable(rig: &Rig, queue: &Queue) -> Vec<Vec<u8>> {
    let got = lease(queue, rig.now(), 10);
    queue.release_all();
    payloads(&got).into_iter().map(<[u8]>::to_vec).collect()
}

fn assert_alive(rig: &Rig, queue: &Queue) {
    assert_eq!(deliverable(rig, queue), [&b"mortal"[..], b"immortal"]);
    assert_eq!(queue.expired(), 0);
}

fn assert_dead(rig: &Rig, queue: &Queue) {
    assert_eq!(deliverable(rig, queue), [b"immortal"]);
}

#[test]
fn a_step_while_the_store_runs_changes_nothing() {
    for wall in WALLS {
        for mut rig in rigs(&at_start()) {
            let queue = append_mortal(&mut rig, 60 * SECOND);
            rig.pass(SECOND);
            rig.clock.step_unix(UnixMs(wall));
            run(&rig, 58 * SECOND);
            assert_alive(&rig, &queue);
            run(&rig, 2 * SECOND);
            assert_dead(&rig, &queue);
            assert_eq!(rig.store.stats().clock_steps, 1);
            assert_eq!(rig.store.wall_of(rig.now()), rig.clock.unix());
        }
    }
}

#[test]
fn a_step_while_the_process_is_down_changes_nothing() {
    for wall in WALLS {
        for policy in POLICIES {
            let mut rig = Rig::new(config(policy));
            append_mortal(&mut rig, 60 * SECOND);
            rig.clock.step_unix(UnixMs(wall));
            rig.clock.advance_ms(59 * SECOND);
            let rig = rig.killed();
            assert_alive(&rig, &queue(&rig));
            rig.pass(SECOND);
            assert_dead(&rig, &queue(&rig));
        }
    }
}

#[test]
fn what_is_in_spill_files_keeps_its_time_too() {
    for wall in WALLS {
        let mut rig = Rig::new(StoreConfig { spill: SPILL_ALL, ..config(SyncPolicy::Group) });
        append_mortal(&mut rig, 60 * SECOND);
        run(&rig, 10 * SECOND);
        assert_eq!(rig.store.stats().spilled, 2);
        rig.clock.step_unix(UnixMs(wall));
        let rig = rig.killed();
        run(&rig, 49 * SECOND);
        assert_alive(&rig, &queue(&rig));
        run(&rig, SECOND);
        assert_dead(&rig, &queue(&rig));
    }
}

#[test]
fn time_goes_on_while_the_machine_is_off_if_the_wall_clock_does() {
    for (off_ms, alive) in [(HOUR - SECOND, true), (HOUR + SECOND, false), (3 * YEAR, false)] {
        for policy in POLICIES {
            let mut rig = Rig::new(config(policy));
            append_mortal(&mut rig, HOUR);
            rig.store.close().unwrap();
            rig.clock.reboot_after(off_ms);
            let rig = rig.killed();
            if alive { assert_alive(&rig, &queue(&rig)) } else { assert_dead(&rig, &queue(&rig)) }
        }
    }
}

/// A board without a battery: every start of the machine is in 1970, and a time server jumps to the right time later.
#[test]
fn a_board_without_a_battery_loses_nothing_and_keeps_nothing_for_ever() {
    let unset = UnixMs(5 * SECOND);
    for policy in POLICIES {
        let clock = Arc::new(VirtualClock::at(unset));
        let mut rig = Rig::on(FaultyStorage::new(), config(policy), clock);
        append_mortal(&mut rig, HOUR + 30 * SECOND);
        let mut real = START.0;
        for _ in 0..3 {
            run(&rig, 10 * 60 * SECOND);
            rig.clock.step_unix(UnixMs(real));
            // Nothing is written, but the time is, every five minutes.
            run(&rig, (10 * 60 + 1) * SECOND);
            assert_alive(&rig, &queue(&rig));
            rig.clock.reboot_after(0);
            real = rig.clock.unix().0 + 60 * SECOND;
            rig.clock.step_unix(unset);
            rig = rig.killed();
            assert_alive(&rig, &queue(&rig));
        }
        run(&rig, 60 * SECOND);
        assert_dead(&rig, &queue(&rig));
    }
}

#[test]
fn a_step_that_was_noted_is_known_after_a_power_cut() {
    for policy in POLICIES {
        let mut rig = Rig::new(config(policy));
        append_mortal(&mut rig, HOUR);
        rig.pass(SECOND);
        rig.clock.step_unix(UnixMs(START.0 + 5 * HOUR));
        // One round is enough to have it on disk.
        rig.store.tick();
        let disk = rig.disk.after_power_cut(PowerCut::all_lost());
        rig.clock.reboot_after(10 * SECOND);
        let rig = Rig::on(disk, config(policy), rig.clock);
        if policy == SyncPolicy::Group {
            assert_alive(&rig, &queue(&rig));
        }
        assert!(rig.now().0 <= START.0 + 12 * SECOND, "{policy:?}: {:?}", rig.now());
    }
}

#[test]
fn a_store_without_anything_that_expires_goes_by_the_wall_clock_again() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let q = append_mortal(&mut rig, SECOND);
    rig.clock.step_unix(UnixMs(START.0 - HOUR));
    run(&rig, 2 * SECOND);
    assert_dead(&rig, &q);
    let ahead = rig.now();
    let mut rig = rig.killed();
    assert_eq!(rig.now(), rig.clock.unix());
    assert!(rig.now() < ahead);
    // What is stored now counts from there, although the log has later times.
    let q = queue(&rig);
    rig.append_until(&[&q], &[b"next"], UnixMs(rig.now().0 + 60 * SECOND));
    rig.clock.reboot_after(SECOND);
    let rig = rig.killed();
    assert_eq!(deliverable(&rig, &queue(&rig)), [&b"immortal"[..], b"next"]);
    rig.pass(58 * SECOND);
    assert_eq!(deliverable(&rig, &queue(&rig)).len(), 2);
    rig.pass(SECOND);
    assert_dead(&rig, &queue(&rig));
}

#[test]
fn an_idle_machine_that_is_switched_off_daily_gets_older_too() {
    let mut rig =
        Rig::on(FaultyStorage::new(), config(SyncPolicy::Group), Arc::new(VirtualClock::at(UnixMs(0))));
    // Each day costs what was not written down before the cut: five minutes at most.
    append_mortal(&mut rig, 29 * HOUR + HOUR / 2);
    for day in 0..6 {
        let here = queue(&rig);
        assert_eq!(deliverable(&rig, &here).len(), if day < 4 { 2 } else { 1 }, "day {day}");
        for _ in 0..(7 * HOUR + HOUR / 2) / (60 * SECOND) {
            rig.pass(60 * SECOND);
        }
        rig.pass(2 * SECOND);
        rig.clock.reboot();
        rig.clock.step_unix(UnixMs(0));
        let disk = rig.disk.after_power_cut(PowerCut::all_lost());
        rig = Rig::on(disk, config(SyncPolicy::Group), rig.clock);
    }
}

#[test]
fn losses_are_stamped_by_the_wall_clock() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    append_mortal(&mut rig, SECOND);
    rig.clock.step_unix(UnixMs(START.0 + YEAR));
    run(&rig, 3 * SECOND);
    let [loss] = &rig.store.losses()[..] else { panic!("{:?}", rig.store.losses()) };
    assert_eq!(loss.cause, LossCause::Expired);
    assert!((START.0 + YEAR..START.0 + YEAR + 4 * SECOND).contains(&loss.at.0));
}

#[test]
fn tools_show_the_wall_clock_of_their_place() {
    let mut rig = Rig::new(config(SyncPolicy::Group));
    let q = rig.store.open_queue("a", 0).unwrap();
    rig.append_until(&[&q], &[b"before"], UnixMs(START.0 + HOUR));
    rig.clock.step_unix(UnixMs(START.0 + YEAR));
    rig.store.tick();
    rig.append_until(&[&q], &[b"after"], UnixMs(rig.now().0 + 2 * HOUR));
    rig.append_until(&[&q], &[b"never"], NEVER);
    rig.store.close().unwrap();
    let inspection = Inspection::of_storage(&rig.disk).unwrap();
    let [info] = inspection.queues() else { panic!() };
    assert_eq!((info.oldest_enqueued, info.newest_enqueued), (Some(START), Some(UnixMs(START.0 + YEAR))));
    let last_wall = |ms| Some(UnixMs(START.0 + YEAR + ms));
    assert_eq!((info.first_expiry, info.last_expiry), (last_wall(HOUR), last_wall(2 * HOUR)));
    let mut messages = inspection.messages(q.id()).unwrap();
    let mut expiries = Vec::new();
    while let Some(message) = messages.read_next().unwrap() {
        expiries.push(message.expires_at);
    }
    assert_eq!(expiries, [UnixMs(START.0 + YEAR + HOUR), UnixMs(START.0 + YEAR + 2 * HOUR), NEVER]);
}

/// What happens to a clock and a store.
#[derive(Debug, Clone)]
enum Event {
    Append {
        ttl_ms: u64,
    },
    Wait {
        ms: u64,
    },
    StepTo {
        wall_ms: u64,
    },
    StepBy {
        ms: i64,
    },
    Restart,
    /// In order, or by a cut.
    Reboot {
        off_ms: u64,
        battery: bool,
        orderly: bool,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..40 * SECOND).prop_map(|ttl_ms| Event::Append { ttl_ms }),
        5 => (1..15 * SECOND).prop_map(|ms| Event::Wait { ms }),
        1 => prop_oneof![Just(0), Just(START.0), START.0 - 9 * YEAR..START.0 + 60 * YEAR]
            .prop_map(|wall_ms| Event::StepTo { wall_ms }),
        1 => (-STEP_MAX_MS..STEP_MAX_MS).prop_map(|ms| Event::StepBy { ms }),
        1 => (-900..900_i64).prop_map(|ms| Event::StepBy { ms }),
        1 => Just(Event::Restart),
        1 => (0..20 * SECOND, any::<bool>(), any::<bool>())
            .prop_map(|(off_ms, battery, orderly)| Event::Reboot { off_ms, battery, orderly }),
    ]
}

/// Messages by number, and the running time that each has left. Time that the machine was off is known to lie
/// between nothing and what it was.
#[derive(Default)]
struct Expected {
    sent: Vec<(u64, u64, u64)>,
    /// Running time so far, and that with the time that the machine was off.
    ran_ms: u64,
    with_off_ms: u64,
    /// What slewing can have come to: as much as is taken over silently, for each start.
    slewed_ms: u64,
    /// Running time that no write told of before the machine was cut off.
    unknown_ms: u64,
}

impl Expected {
    fn send(&mut self, seq: u64, ttl_ms: u64) {
        self.sent.push((seq, self.ran_ms + ttl_ms, self.with_off_ms + ttl_ms));
    }

    fn wait(&mut self, ms: u64) {
        self.ran_ms += ms;
        self.with_off_ms += ms;
    }

    /// Every message that must be there is, and none that must not.
    fn check(&self, found: &[u64]) {
        for (seq, dead_ran, dead_off) in &self.sent {
            let there = found.contains(seq);
            assert!(there || self.with_off_ms + self.slewed_ms >= *dead_off, "{seq} is lost");
            assert!(
                !there || self.ran_ms < *dead_ran + self.slewed_ms + self.unknown_ms,
                "{seq} should be gone"
            );
        }
    }
}

struct Steps {
    rig: Rig,
    queue: Queue,
    expected: Expected,
    next_seq: u64,
}

impl Steps {
    fn begin(config: StoreConfig) -> Self {
        let rig = Rig::new(config);
        let queue = queue(&rig);
        Self { rig, queue, expected: Expected::default(), next_seq: 0 }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Append { ttl_ms } => {
                let until = UnixMs(self.rig.now().0 + ttl_ms);
                self.rig.append_until(&[&self.queue], &[b"x"], until);
                self.expected.send(self.next_seq, ttl_ms);
                self.next_seq += 1;
            }
            Event::Wait { ms } => {
                run(&self.rig, ms);
                self.expected.wait(ms);
            }
            Event::StepTo { wall_ms } => self.step(wall_ms),
            Event::StepBy { ms } => self.step(self.rig.clock.unix().0.saturating_add_signed(ms)),
            Event::Restart => self.restart(|_| {}),
            Event::Reboot { off_ms, battery, orderly } => {
                if orderly {
                    self.rig.store.close().unwrap();
                } else {
                    self.expected.unknown_ms += 300 * SECOND;
                }
                self.expected.slewed_ms += 2 * SECOND;
                self.expected.with_off_ms += off_ms;
                self.restart(|clock| {
                    clock.reboot_after(off_ms);
                    if !battery {
                        clock.step_unix(UnixMs(0));
                    }
                });
            }
        }
        self.check();
    }

    fn step(&mut self, wall_ms: u64) {
        self.rig.clock.step_unix(UnixMs(wall_ms));
        self.rig.store.tick();
    }

    fn restart(&mut self, meanwhile: impl FnOnce(&VirtualClock)) {
        meanwhile(&self.rig.clock);
        let disk = self.rig.disk.after_kill();
        self.rig = Rig::on(disk, self.rig.config.clone(), Arc::clone(&self.rig.clock));
        self.queue = queue(&self.rig);
    }

    fn check(&self) {
        let found = lease(&self.queue, self.rig.now(), usize::MAX);
        self.queue.release_all();
        let found: Vec<u64> = found.iter().map(|got| got.seq).collect();
        self.expected.check(&found);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A message is there exactly as long as its time to live is not over, whatever the wall clock does.
    #[test]
    fn no_step_loses_a_message_or_keeps_a_dead_one(
        events in prop::collection::vec(event(), 1..40),
        policy in 0..3_usize,
        spill in prop::sample::select(vec![NO_SPILL, SPILL_ALL]),
    ) {
        let mut steps = Steps::begin(StoreConfig { spill, ..config(POLICIES[policy]) });
        for event in &events {
            steps.apply(event);
        }
        run(&steps.rig, 60 * SECOND);
        steps.expected.wait(60 * SECOND);
        steps.check();
        prop_assert!(steps.queue.is_empty());
    }
}
