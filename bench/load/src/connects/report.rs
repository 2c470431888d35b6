//! The result of connecting, as JSON and as text.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{ConnectsOutcome, Mark};
use crate::config::ConnectsConfig;
use crate::latency::LatencySummary;
use crate::procfs;
use crate::report::{SCHEMA_VERSION, latency_text, ratio};

impl ConnectsOutcome {
    fn interval_s(&self) -> f64 {
        self.end.at_ns.saturating_sub(self.start.at_ns) as f64 / 1e9
    }

    fn connected(&self) -> u64 {
        self.end.connected - self.start.connected
    }

    /// CPU time in the interval: of the broker, if it is observed, and of the generator.
    fn cpu_s(&self) -> (Option<f64>, f64) {
        let Mark { broker, generator, .. } = &self.end;
        let of_broker = broker.zip(self.start.broker).map(|(end, start)| end.cpu_s - start.cpu_s);
        (of_broker, generator.cpu_s - self.start.generator.cpu_s)
    }

    /// What is wrong with the result.
    pub fn problems(&self) -> Vec<String> {
        if self.connected() == 0 { vec!["no connection was made".to_owned()] } else { Vec::new() }
    }

    /// For the result file.
    pub fn to_json(&self, config: &ConnectsConfig) -> Value {
        let (interval_s, connected) = (self.interval_s(), self.connected() as f64);
        let (broker_s, generator_s) = self.cpu_s();
        let broker = broker_s.map(|cpu_s| {
            json!({
                "pid": config.run.broker_pid,
                "cpu_s": cpu_s,
                "busy": cpu_s / interval_s,
                "cpu_us_per_connection": ratio(cpu_s * 1e6, connected),
                "peak_rss_kib": self.end.broker.map(|sample| sample.peak_rss_kib),
                "cpus_allowed": config.run.broker_pid.map(procfs::cpus_allowed),
            })
        });
        json!({
            "schema_version": SCHEMA_VERSION,
            "label": config.run.label,
            "scenario": {
                "mode": "connects",
                "transport": config.run.transport(),
                "identities": self.identities,
                "parallel": config.parallel,
                "warm_up_s": config.run.warm_up.as_secs_f64(),
                "duration_s": config.measured.as_secs_f64(),
                "certificate_verified": config.run.tls.as_ref().map(|tls| tls.ca_file.is_some()),
            },
            "interval_s": interval_s,
            "connected": self.connected(),
            "connected_per_s": connected / interval_s,
            "latency_us": self.latency.map(LatencySummary::to_json),
            "broker": broker,
            "generator": {
                "cpu_s": generator_s,
                "busy": generator_s / interval_s,
                "cpus_allowed": procfs::cpus_allowed(std::process::id()),
            },
            "problems": self.problems(),
            "tls": self.tls,
            "machine": procfs::machine(),
        })
    }

    /// For people.
    pub fn to_text(&self, config: &ConnectsConfig) -> String {
        let (interval_s, connected) = (self.interval_s(), self.connected());
        let (broker_s, generator_s) = self.cpu_s();
        let transport = self.tls.as_deref().unwrap_or("plain");
        let of_broker = broker_s.map(|cpu_s| {
            let each_us = ratio(cpu_s * 1e6, connected as f64).unwrap_or_default();
            format!("{each_us:.1} us CPU per connection, {:.0} % of a core", 100.0 * cpu_s / interval_s)
        });
        let rows = [
            ("scenario", Some(format!("{} at a time, {transport}", config.parallel))),
            (
                "connected",
                Some(format!("{connected} in {interval_s:.2} s = {:.0}/s", connected as f64 / interval_s)),
            ),
            ("to CONNACK", self.latency.map(latency_text)),
            ("broker", of_broker),
            ("generator", Some(format!("{:.0} % of a core", 100.0 * generator_s / interval_s))),
        ];
        let mut text = String::new();
        for (name, row) in rows {
            if let Some(row) = row {
                let _ = writeln!(text, "{name:<12} {row}");
            }
        }
        text
    }
}
