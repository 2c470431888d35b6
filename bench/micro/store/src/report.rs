//! The result of a run.

use serde_json::{Map, Value, json};

use crate::cli::RunOptions;
use crate::contender::CONTENDERS;
use crate::expiry::{Expiry, Latency};
use crate::meter::Usage;
use crate::scenario::{SCENARIOS, Work};

/// What opening a backlog took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Time to open the store, ns.
    pub open_ns: u64,
    /// Time from then to the first delivery, ns.
    pub first_delivery_ns: u64,
    /// Resident memory once open, over that with an empty store open, bytes.
    pub memory_bytes: u64,
    /// The most on the way there, over the same, bytes.
    pub peak_memory_bytes: u64,
}

/// Messages that are where old ones stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// How many.
    pub messages: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// What one run measured. For a backlog, usage and peak are those of draining it, the bytes on disk those before. For an
/// expiry, usage is from the time of expiry until the backlog is gone, and the messages are those of the backlog.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was run.
    pub options: RunOptions,
    /// Time, CPU time, bytes written.
    pub usage: Usage,
    /// The most resident memory of the process, bytes.
    pub peak_bytes: u64,
    /// Bytes that the files occupied at the end.
    pub disk_bytes: u64,
    /// Only of a backlog.
    pub backlog: Option<Backlog>,
    /// Only of an expiry.
    pub expiry: Option<Expiry>,
    /// Only where old messages are kept apart from new ones.
    pub kept: Option<Kept>,
}

impl Report {
    fn per_message(&self, total: u64) -> f64 {
        total as f64 / self.options.messages as f64
    }

    /// All figures by name; seconds are `_s`, bytes `_bytes`.
    pub fn to_json(&self) -> Value {
        let RunOptions { scenario, kind, mode, messages, .. } = &self.options;
        let elapsed_s = self.usage.elapsed_ns as f64 / 1e9;
        let mut figures = json!({
            "scenario": scenario.name,
            "contender": kind.about().name,
            "mode": mode.name(),
            "messages": messages,
            "payload_bytes": scenario.payload_bytes,
            "endpoints": scenario.endpoints,
            "batch_messages": scenario.batch_msgs,
            "elapsed_s": elapsed_s,
            "messages_per_s": *messages as f64 / elapsed_s,
            "cpu_ns_per_message": self.per_message(self.usage.cpu_ns),
            "peak_rss_bytes": self.peak_bytes,
            "disk_bytes": self.disk_bytes,
        });
        if let Some(fields) = figures.as_object_mut() {
            self.add_own(fields);
        }
        figures
    }

    /// Figures that only some scenarios have.
    fn add_own(&self, fields: &mut Map<String, Value>) {
        if let Some(Expiry { quiet, expiring }) = self.expiry {
            add_latency(fields, "append", quiet);
            add_latency(fields, "expiring_append", expiring);
            return;
        }
        let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        if let Some(backlog) = self.backlog {
            add("open_s", json!(backlog.open_ns as f64 / 1e9));
            add("first_delivery_s", json!(backlog.first_delivery_ns as f64 / 1e9));
            add("open_memory_bytes", json!(backlog.memory_bytes));
            add("open_peak_memory_bytes", json!(backlog.peak_memory_bytes));
        } else {
            let payload_bytes = self.options.scenario.payload_bytes as f64;
            let per_message = self.per_message(self.usage.written_bytes);
            add("written_bytes", json!(self.usage.written_bytes));
            add("written_per_payload_byte", json!(per_message / payload_bytes));
            if let Some(Kept { messages, bytes }) = self.kept.filter(|kept| kept.messages > 0) {
                add("kept_messages", json!(messages));
                add("kept_per_payload_byte", json!(bytes as f64 / messages as f64 / payload_bytes));
            }
        }
    }

    /// A line for each figure.
    pub fn to_text(&self) -> String {
        let figures = self.to_json();
        let fields = figures.as_object().into_iter().flatten();
        let lines: Vec<String> = fields.map(|(name, value)| format!("{name:<26} {value}\n")).collect();
        lines.concat()
    }
}

fn add_latency(fields: &mut Map<String, Value>, what: &str, latency: Latency) {
    let Latency { p50_ns, p99_ns, p999_ns, max_ns } = latency;
    for (name, ns) in [("p50", p50_ns), ("p99", p99_ns), ("p999", p999_ns), ("max", max_ns)] {
        fields.insert(format!("{what}_{name}_s"), json!(ns as f64 / 1e9));
    }
}

/// Scenarios and contenders, for tools.
pub fn listing() -> Value {
    let scenarios = SCENARIOS.iter().map(|scenario| {
        let (backlog, own) = (scenario.work == Work::Backlog, scenario.work.is_own());
        json!({"name": scenario.name, "messages": scenario.messages, "backlog": backlog, "own": own})
    });
    let contenders = CONTENDERS.iter().map(|about| {
        let modes: Vec<&str> = about.modes.iter().map(|mode| mode.name()).collect();
        json!({"name": about.name, "modes": modes, "built": about.built})
    });
    json!({"scenarios": scenarios.collect::<Vec<_>>(), "contenders": contenders.collect::<Vec<_>>()})
}
