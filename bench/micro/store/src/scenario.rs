//! The scenarios.

use std::path::Path;
use std::process::Command;

use crate::BenchError;
use crate::check::Checker;
use crate::cli::RunOptions;
use crate::contender::{self, Contender, OpenOptions};
use crate::expiry;
use crate::meter::{Meter, Usage, disk_bytes, forget_peak, now_ns, peak_bytes, resident_bytes};
use crate::payload::{Payloads, Text};
use crate::report::{Backlog, Report};
use crate::workspace::Workspace;

/// Messages that a consumer takes at a time.
const CONSUME_MSGS: usize = 100;

/// What a scenario does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Appends all messages; delivers them afterwards, unmeasured, to check them.
    Append,
    /// Appends, delivers and removes by turns.
    Steady,
    /// Opens a store with a backlog, which another process made, and drains it.
    Backlog,
    /// Appends all messages, waits until they are where they stay, and delivers them afterwards, unmeasured.
    Keep,
    /// Appends at a steady pace, before and while a backlog expires. Only for stores in which messages do.
    Expire,
}

impl Work {
    /// Whether the store of this project alone can do it.
    pub fn is_own(self) -> bool {
        self == Self::Expire
    }
}

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// Number of endpoints; every message goes to each of them.
    pub endpoints: usize,
    /// Bytes of each message.
    pub payload_bytes: usize,
    /// Messages appended together.
    pub batch_msgs: u64,
    /// Messages that may wait for a sync, where the sender waits for it.
    pub outstanding_max: u64,
    /// Messages of a run unless it is told otherwise.
    pub messages: u64,
    /// What it does.
    pub work: Work,
}

/// All scenarios.
pub const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "append_100B",
        endpoints: 1,
        payload_bytes: 100,
        batch_msgs: 100,
        outstanding_max: 20_000,
        messages: 5_000_000,
        work: Work::Append,
    },
    Scenario {
        name: "group_1000_outstanding",
        endpoints: 1,
        payload_bytes: 100,
        batch_msgs: 20,
        outstanding_max: 1_000,
        messages: 2_000_000,
        work: Work::Append,
    },
    Scenario {
        name: "steady_1KB_two_endpoints",
        endpoints: 2,
        payload_bytes: 1024,
        batch_msgs: 100,
        outstanding_max: 1_000,
        messages: 1_000_000,
        work: Work::Steady,
    },
    Scenario {
        name: "open_backlog",
        endpoints: 1,
        payload_bytes: 200,
        batch_msgs: 100,
        outstanding_max: 20_000,
        messages: 1_000_000,
        work: Work::Backlog,
    },
    Scenario {
        name: "keep_telemetry_200B",
        endpoints: 1,
        payload_bytes: 200,
        batch_msgs: 100,
        outstanding_max: 20_000,
        messages: 2_000_000,
        work: Work::Keep,
    },
    Scenario {
        name: "ttl",
        endpoints: 1,
        payload_bytes: 100,
        batch_msgs: 20,
        outstanding_max: 20_000,
        messages: 1_000_000,
        work: Work::Expire,
    },
];

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// Runs one scenario with one contender.
///
/// # Errors
/// When the contender fails, or delivers anything but what was appended.
pub fn run(options: &RunOptions) -> Result<Report, BenchError> {
    let workspace = Workspace::new(&options.folder)?;
    match options.scenario.work {
        Work::Append => append(options, &workspace.part("store")?),
        Work::Steady => steady(options, &workspace.part("store")?),
        Work::Backlog => backlog(options, &workspace),
        Work::Keep => keep(options, &workspace.part("store")?),
        Work::Expire => expire(options, &workspace.part("store")?),
    }
}

/// Fills a store in `options.folder` itself and closes it; what [`run`] has another process do for a backlog.
///
/// # Errors
/// When the contender fails.
pub fn fill_backlog(options: &RunOptions) -> Result<(), BenchError> {
    let payloads = Payloads::new(options.scenario.payload_bytes);
    let mut store = contender::open(&options.folder, open_options(options))?;
    append_all(&mut *store, options, &payloads)?;
    // A backlog is old.
    store.rest()?;
    store.close()
}

fn open_options(options: &RunOptions) -> OpenOptions {
    let RunOptions { scenario, kind, mode, .. } = *options;
    let Scenario { endpoints, outstanding_max, work, .. } = *scenario;
    OpenOptions { kind, mode, endpoints, outstanding_max, all_is_old: work == Work::Keep }
}

/// The numbers of the messages, batch by batch.
fn batches(options: &RunOptions) -> impl Iterator<Item = std::ops::Range<u64>> + use<> {
    let (messages, size) = (options.messages, options.scenario.batch_msgs);
    (0..messages).step_by(size as usize).map(move |start| start..messages.min(start + size))
}

fn append_all(
    store: &mut dyn Contender,
    options: &RunOptions,
    payloads: &Payloads,
) -> Result<(), BenchError> {
    for numbers in batches(options) {
        store.append(numbers, payloads)?;
    }
    store.settle()
}

/// Takes what there is for an endpoint, up to one consumer's batch.
fn consume(
    store: &mut dyn Contender,
    endpoint: usize,
    checker: &mut Checker<'_>,
) -> Result<usize, BenchError> {
    store.consume(endpoint, CONSUME_MSGS, &mut |body| checker.delivered(endpoint, body))
}

fn drain(
    store: &mut dyn Contender,
    options: &RunOptions,
    checker: &mut Checker<'_>,
) -> Result<(), BenchError> {
    for endpoint in 0..options.scenario.endpoints {
        while checker.count(endpoint) < options.messages && consume(store, endpoint, checker)? > 0 {}
        // What comes beyond the last message would be a duplicate; the checker counts it.
        consume(store, endpoint, checker)?;
    }
    Ok(())
}

fn append(options: &RunOptions, folder: &Path) -> Result<Report, BenchError> {
    let payloads = Payloads::new(options.scenario.payload_bytes);
    let mut store = contender::open(folder, open_options(options))?;
    forget_peak()?;
    let meter = Meter::start()?;
    append_all(&mut *store, options, &payloads)?;
    let report = measured(options, meter.stop()?, folder)?;
    let mut checker = Checker::new(&payloads, options.scenario.endpoints);
    drain(&mut *store, options, &mut checker)?;
    store.close()?;
    checker.finish(options.messages)?;
    Ok(report)
}

fn keep(options: &RunOptions, folder: &Path) -> Result<Report, BenchError> {
    let payloads = Payloads::of(options.scenario.payload_bytes, Text::Telemetry);
    let mut store = contender::open(folder, open_options(options))?;
    forget_peak()?;
    let meter = Meter::start()?;
    append_all(&mut *store, options, &payloads)?;
    store.rest()?;
    let report = Report { kept: store.kept(), ..measured(options, meter.stop()?, folder)? };
    let mut checker = Checker::new(&payloads, options.scenario.endpoints);
    drain(&mut *store, options, &mut checker)?;
    store.close()?;
    checker.finish(options.messages)?;
    Ok(report)
}

fn steady(options: &RunOptions, folder: &Path) -> Result<Report, BenchError> {
    let payloads = Payloads::new(options.scenario.payload_bytes);
    let mut checker = Checker::new(&payloads, options.scenario.endpoints);
    let mut store = contender::open(folder, open_options(options))?;
    forget_peak()?;
    let meter = Meter::start()?;
    for numbers in batches(options) {
        store.append(numbers, &payloads)?;
        for endpoint in 0..options.scenario.endpoints {
            consume(&mut *store, endpoint, &mut checker)?;
        }
    }
    store.settle()?;
    drain(&mut *store, options, &mut checker)?;
    let report = measured(options, meter.stop()?, folder)?;
    store.close()?;
    checker.finish(options.messages)?;
    Ok(report)
}

fn expire(options: &RunOptions, folder: &Path) -> Result<Report, BenchError> {
    forget_peak()?;
    let (expiry, usage) = expiry::measure(options, open_options(options), folder)?;
    Ok(Report { expiry: Some(expiry), ..measured(options, usage, folder)? })
}

fn measured(options: &RunOptions, usage: Usage, folder: &Path) -> Result<Report, BenchError> {
    Ok(Report {
        options: options.clone(),
        usage,
        peak_bytes: peak_bytes()?,
        disk_bytes: disk_bytes(folder)?,
        backlog: None,
        expiry: None,
        kept: None,
    })
}

/// Has another process of this program fill the store: its memory is not that of who opens it.
fn fill_elsewhere(options: &RunOptions, folder: &Path) -> Result<(), BenchError> {
    let program = std::env::current_exe().map_err(BenchError::file(Path::new("/proc/self/exe")))?;
    let mut command = Command::new(&program);
    command.args(["--scenario", options.scenario.name, "--contender", options.kind.about().name]);
    command.args(["--mode", options.mode.name(), "--messages", &options.messages.to_string()]);
    command.arg("--dir").arg(folder).arg("--fill-only");
    let status = command.status().map_err(BenchError::file(&program))?;
    if status.success() { Ok(()) } else { Err(BenchError::Fill(status.to_string())) }
}

/// Resident memory with an empty store open, bytes.
fn empty_store_bytes(options: &RunOptions, folder: &Path) -> Result<u64, BenchError> {
    let store = contender::open(folder, open_options(options))?;
    let bytes = resident_bytes()?;
    store.close()?;
    Ok(bytes)
}

fn backlog(options: &RunOptions, workspace: &Workspace) -> Result<Report, BenchError> {
    let folder = workspace.part("store")?;
    fill_elsewhere(options, &folder)?;
    let payloads = Payloads::new(options.scenario.payload_bytes);
    let mut checker = Checker::new(&payloads, options.scenario.endpoints);
    let empty_bytes = empty_store_bytes(options, &workspace.part("empty")?)?;
    forget_peak()?;
    let start_ns = now_ns();
    let mut store = contender::open(&folder, open_options(options))?;
    let opened_ns = now_ns();
    let (open_bytes, open_peak_bytes) = (resident_bytes()?, peak_bytes()?);
    let full_disk_bytes = disk_bytes(&folder)?;
    let meter = Meter::start()?;
    let ready_ns = now_ns();
    store.consume(0, 1, &mut |body| checker.delivered(0, body))?;
    let first_delivery_ns = now_ns() - ready_ns;
    drain(&mut *store, options, &mut checker)?;
    let mut report = measured(options, meter.stop()?, &folder)?;
    store.close()?;
    checker.finish(options.messages)?;
    report.disk_bytes = full_disk_bytes;
    report.backlog = Some(Backlog {
        open_ns: opened_ns - start_ns,
        first_delivery_ns,
        memory_bytes: open_bytes.saturating_sub(empty_bytes),
        peak_memory_bytes: open_peak_bytes.saturating_sub(empty_bytes),
    });
    Ok(report)
}
