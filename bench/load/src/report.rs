//! The result: judged, as JSON and as text.

use std::fmt::Write as _;

use edgehub_mqtt::QoS;
use serde_json::{Value, json};

use crate::config::RunConfig;
use crate::latency::LatencySummary;
use crate::procfs::{self, ProcessSample};
use crate::run::{Outcome, Snapshot};
use crate::sequence::StreamCounts;

/// Version of the result format.
pub const SCHEMA_VERSION: u32 = 1;

/// An outcome with the settings that it belongs to.
#[derive(Debug)]
pub struct Report<'a> {
    config: &'a RunConfig,
    outcome: &'a Outcome,
}

impl<'a> Report<'a> {
    /// Joins both.
    pub const fn new(config: &'a RunConfig, outcome: &'a Outcome) -> Self {
        Self { config, outcome }
    }

    /// What is wrong with the result; empty when everything was delivered once and in order. With QoS 0 loss is allowed.
    pub fn problems(&self) -> Vec<String> {
        let drained = &self.outcome.drained;
        let acknowledged = self.config.qos != QoS::AtMostOnce;
        let streams = drained.streams;
        let checks = [
            (acknowledged, self.lost(), "messages lost"),
            (acknowledged, drained.published.saturating_sub(drained.acked), "messages not acknowledged"),
            (true, streams.late, "messages out of order"),
            (true, streams.duplicates, "duplicates"),
            (true, self.surplus(), "messages more than the fan-out asks for"),
            (acknowledged, self.subscribers_short(), "subscribers without all messages"),
        ];
        let wrong = checks.iter().filter(|(applies, count, _)| *applies && *count > 0);
        wrong.map(|(_, count, what)| format!("{count} {what}")).collect()
    }

    /// Subscribers that lack messages, when each is to get all of them.
    fn subscribers_short(&self) -> u64 {
        let Outcome { fanout, subscribers, received, drained, .. } = self.outcome;
        if *subscribers < 2 || *fanout != *subscribers as u64 {
            return 0;
        }
        received.iter().filter(|counts| counts.unique < drained.published).count() as u64
    }

    /// How evenly the subscribers were served; `null` without subscribers.
    fn by_subscriber_json(&self) -> Option<Value> {
        let received = &self.outcome.received;
        let having = |count: fn(&StreamCounts) -> u64| received.iter().filter(|one| count(one) > 0).count();
        Some(json!({
            "fewest": received.iter().map(|counts| counts.unique).min()?,
            "most": received.iter().map(|counts| counts.unique).max()?,
            "short": self.subscribers_short(),
            "with_duplicates": having(|counts| counts.duplicates),
            "with_disorder": having(|counts| counts.late),
        }))
    }

    fn expected(&self) -> u64 {
        self.outcome.drained.published * self.outcome.fanout
    }

    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.outcome.drained.streams.unique)
    }

    fn surplus(&self) -> u64 {
        self.outcome.drained.streams.unique.saturating_sub(self.expected())
    }

    fn interval_s(&self) -> f64 {
        self.outcome.end.at_ns.saturating_sub(self.outcome.start.at_ns) as f64 / 1e9
    }

    /// How much a counter grew in the measured interval.
    fn grown(&self, counter: impl Fn(&Snapshot) -> u64) -> u64 {
        counter(&self.outcome.end) - counter(&self.outcome.start)
    }

    fn delivered(&self) -> u64 {
        self.grown(|at| at.streams.unique)
    }

    /// Deliveries of acknowledged messages that were still to come at the end of the interval.
    fn acked_ahead(&self) -> u64 {
        let Snapshot { acked, streams, .. } = self.outcome.end;
        (acked * self.outcome.fanout).saturating_sub(streams.unique)
    }

    fn delivered_per_s(&self) -> f64 {
        self.delivered() as f64 / self.interval_s()
    }

    /// CPU time and last sample of the broker.
    fn broker(&self) -> Option<(f64, ProcessSample)> {
        let (start, end) = (self.outcome.start.broker?, self.outcome.end.broker?);
        Some((end.cpu_s - start.cpu_s, end))
    }

    fn generator_cpu_s(&self) -> f64 {
        self.outcome.end.generator.cpu_s - self.outcome.start.generator.cpu_s
    }

    /// For the result file.
    pub fn to_json(&self) -> Value {
        let end = &self.outcome.end;
        let (interval_s, delivered) = (self.interval_s(), self.delivered());
        let acked = (self.config.qos != QoS::AtMostOnce).then(|| self.grown(|at| at.acked));
        json!({
            "schema_version": SCHEMA_VERSION,
            "label": self.config.label,
            "scenario": self.config.to_json(self.outcome.publishers, self.outcome.subscribers),
            "interval_s": interval_s,
            "published": self.grown(|at| at.published),
            "acked": acked,
            "delivered": delivered,
            "delivered_per_s": self.delivered_per_s(),
            "acked_per_s": acked.map(|acked| acked as f64 / interval_s),
            "latency_us": self.outcome.latency.map(LatencySummary::to_json),
            "send_lateness_us": self.outcome.lateness.map(LatencySummary::to_json),
            "end_of_interval": {
                "unacked": acked.map(|_| end.published.saturating_sub(end.acked)),
                "undelivered": (end.published * self.outcome.fanout).saturating_sub(end.streams.unique),
                "acked_ahead_of_delivered": acked.map(|_| self.acked_ahead()),
            },
            "after_drain": self.drained_json(),
            "problems": self.problems(),
            "broker": self.broker_json(),
            "generator": {
                "cpu_s": self.generator_cpu_s(),
                "busy": self.generator_cpu_s() / interval_s,
                "cpus_allowed": procfs::cpus_allowed(std::process::id()),
            },
            "tls": self.outcome.tls,
            "machine": procfs::machine(),
        })
    }

    fn drained_json(&self) -> Value {
        let Snapshot { published, acked, streams, .. } = self.outcome.drained;
        json!({
            "published": published,
            "acked": (self.config.qos != QoS::AtMostOnce).then_some(acked),
            "delivered": streams.unique,
            "lost": self.lost(),
            "duplicates": streams.duplicates,
            "out_of_order": streams.late,
            "by_subscriber": self.by_subscriber_json(),
            "stale": self.outcome.stale,
        })
    }

    fn broker_json(&self) -> Option<Value> {
        let (cpu_s, sample) = self.broker()?;
        let pid = self.config.broker_pid?;
        let delivered = self.delivered() as f64;
        Some(json!({
            "pid": pid,
            "cpu_s": cpu_s,
            "busy": cpu_s / self.interval_s(),
            "cpu_us_per_delivered": ratio(cpu_s * 1e6, delivered),
            "delivered_per_cpu_s": ratio(delivered, cpu_s),
            "rss_kib": sample.rss_kib,
            "peak_rss_kib": sample.peak_rss_kib,
            "cpus_allowed": procfs::cpus_allowed(pid),
        }))
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let acked = (self.config.qos != QoS::AtMostOnce).then(|| self.acked_text());
        let rows = [
            ("scenario", Some(self.scenario_text())),
            ("delivered", Some(self.delivered_text())),
            ("acked", acked),
            ("latency", self.outcome.latency.map(latency_text)),
            ("sent late", self.outcome.lateness.map(latency_text)),
            ("broker", self.broker().map(|(cpu_s, sample)| self.broker_text(cpu_s, sample))),
            ("generator", Some(format!("{:.0} % of a core", self.busy_percent(self.generator_cpu_s())))),
            ("after drain", Some(self.drain_text())),
        ];
        let mut text = String::new();
        for (name, row) in rows {
            if let Some(row) = row {
                let _ = writeln!(text, "{name:<12} {row}");
            }
        }
        text
    }

    fn scenario_text(&self) -> String {
        let Outcome { publishers, subscribers, tls, .. } = self.outcome;
        let RunConfig { qos, window, payload_bytes, rate_per_s, .. } = self.config;
        let transport = tls.as_deref().unwrap_or("plain");
        let rate = rate_per_s.map_or_else(String::new, |rate| format!(", {rate}/s"));
        let qos = qos.bits();
        format!(
            "{publishers}->{subscribers}, QoS {qos}, window {window}, {payload_bytes} bytes, {transport}{rate}"
        )
    }

    fn delivered_text(&self) -> String {
        let (count, interval_s, rate) = (self.delivered(), self.interval_s(), self.delivered_per_s());
        format!("{count} in {interval_s:.2} s = {rate:.0}/s")
    }

    fn acked_text(&self) -> String {
        let count = self.grown(|at| at.acked);
        let (rate, ahead) = (count as f64 / self.interval_s(), self.acked_ahead());
        format!("{count} = {rate:.0}/s; {ahead} acked and not delivered at the end of the interval")
    }

    fn broker_text(&self, cpu_s: f64, sample: ProcessSample) -> String {
        let ProcessSample { rss_kib, peak_rss_kib, .. } = sample;
        let busy = self.busy_percent(cpu_s);
        let each = ratio(cpu_s * 1e6, self.delivered() as f64)
            .map_or_else(String::new, |us| format!("{us:.2} us CPU per delivered message, "));
        format!("{each}{busy:.0} % of a core, RSS {rss_kib} KiB, peak {peak_rss_kib} KiB")
    }

    fn drain_text(&self) -> String {
        let Snapshot { published, streams, .. } = self.outcome.drained;
        let StreamCounts { unique, duplicates, late, .. } = streams;
        let lost = self.lost();
        format!(
            "{published} published, {unique} delivered, {lost} lost, {duplicates} duplicates, {late} out of order"
        )
    }

    fn busy_percent(&self, cpu_s: f64) -> f64 {
        100.0 * cpu_s / self.interval_s()
    }
}

/// The percentiles of a row.
pub fn latency_text(summary: LatencySummary) -> String {
    let LatencySummary { p50_us, p99_us, p999_us, max_us, .. } = summary;
    format!("p50 {p50_us:.0} us, p99 {p99_us:.0}, p99.9 {p999_us:.0}, longest {max_us:.0}")
}

/// A quotient, `None` where there is none.
pub fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator > 0.0).then(|| numerator / denominator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    fn config(line: &str) -> RunConfig {
        match parse(line.split(' ').map(str::to_owned)) {
            Ok(Command::Run(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    fn at(seconds: u64, published: u64, acked: u64, unique: u64, broker_cpu_s: f64) -> Snapshot {
        Snapshot {
            at_ns: seconds * 1_000_000_000,
            published,
            acked,
            streams: StreamCounts { unique, ..StreamCounts::default() },
            broker: Some(ProcessSample { cpu_s: broker_cpu_s, rss_kib: 10, peak_rss_kib: 20 }),
            generator: ProcessSample { cpu_s: broker_cpu_s / 2.0, rss_kib: 1, peak_rss_kib: 1 },
        }
    }

    fn outcome() -> Outcome {
        Outcome {
            publishers: 2,
            subscribers: 1,
            fanout: 1,
            start: at(10, 1000, 990, 980, 1.0),
            end: at(12, 5000, 4990, 4980, 2.0),
            drained: at(13, 5000, 5000, 5000, 2.5),
            latency: None,
            lateness: None,
            received: Vec::new(),
            stale: 0,
            tls: None,
        }
    }

    #[test]
    fn rates_are_of_the_interval() {
        let config = config("run --port 1 --broker-pid 1");
        let outcome = outcome();
        let report = Report::new(&config, &outcome);
        let json = report.to_json();
        assert_eq!(json["delivered"], 4000);
        assert_eq!(json["delivered_per_s"], 2000.0);
        assert_eq!(json["acked_per_s"], 2000.0);
        assert_eq!(json["broker"]["cpu_us_per_delivered"], 250.0);
        assert_eq!(json["broker"]["delivered_per_cpu_s"], 4000.0);
        assert_eq!(json["generator"]["busy"], 0.25);
        assert_eq!(json["end_of_interval"]["acked_ahead_of_delivered"], 10);
        assert_eq!(json["after_drain"]["lost"], 0);
        assert_eq!(report.problems(), Vec::<String>::new());
        assert!(report.to_text().contains("4000 in 2.00 s = 2000/s"), "{}", report.to_text());
    }

    #[test]
    fn problems_are_named() {
        let config = config("run --port 1");
        let mut outcome = outcome();
        outcome.drained.streams = StreamCounts { unique: 4997, late: 2, duplicates: 1, skipped: 5 };
        outcome.drained.acked = 4999;
        let expected =
            ["3 messages lost", "1 messages not acknowledged", "2 messages out of order", "1 duplicates"];
        assert_eq!(Report::new(&config, &outcome).problems(), expected);
        outcome.drained = at(13, 5000, 5000, 5001, 0.0);
        let surplus = Report::new(&config, &outcome).problems();
        assert_eq!(surplus, ["1 messages more than the fan-out asks for"]);
    }

    #[test]
    fn qos_0_may_lose_and_has_no_acks() {
        let config = config("run --port 1 --qos 0");
        let mut outcome = outcome();
        outcome.drained = at(13, 5000, 0, 4990, 0.0);
        let report = Report::new(&config, &outcome);
        assert_eq!(report.problems(), Vec::<String>::new());
        assert_eq!(report.to_json()["acked"], Value::Null);
        assert_eq!(report.to_json()["after_drain"]["lost"], 10);
    }

    #[test]
    fn fan_out_multiplies_what_is_expected() {
        let config = config("run --port 1 --subscribers 2");
        let mut outcome = outcome();
        outcome.fanout = 2;
        assert_eq!(Report::new(&config, &outcome).problems(), ["5000 messages lost"]);
        outcome.drained.streams.unique = 10_000;
        assert_eq!(Report::new(&config, &outcome).problems(), Vec::<String>::new());
    }

    #[test]
    fn each_subscriber_is_held_against_what_was_published() {
        let config = config("run --port 1 --subscribers 2");
        let counts = |unique, duplicates| StreamCounts { unique, duplicates, ..StreamCounts::default() };
        let mut outcome = outcome();
        (outcome.fanout, outcome.subscribers) = (2, 2);
        outcome.drained.streams.unique = 10_000;
        outcome.received = vec![counts(5001, 0), counts(4999, 1)];
        let report = Report::new(&config, &outcome);
        assert_eq!(report.problems(), ["1 subscribers without all messages"]);
        let shown = &report.to_json()["after_drain"]["by_subscriber"];
        assert_eq!((&shown["fewest"], &shown["most"]), (&4999.into(), &5001.into()));
        assert_eq!((&shown["with_duplicates"], &shown["with_disorder"]), (&1.into(), &0.into()));
    }

    #[test]
    fn no_credentials_are_in_the_result() {
        let config = config("run --port 1 --clients secret.jsonl");
        let outcome = outcome();
        assert!(!Report::new(&config, &outcome).to_json().to_string().contains("secret"));
    }
}
