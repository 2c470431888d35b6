//! Idle connections: what each costs the broker in memory.
//!
//! Resident memory is looked at when some clients are connected, so that what the broker needs once does not count, then
//! every second after all are. Nothing is published. What the kernel keeps for a socket is no part of it.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::Clients;
use crate::clock::now_ns;
use crate::config::HoldConfig;
use crate::error::LoadError;
use crate::limits;
use crate::procfs::{self, ProcessSample};
use crate::report::SCHEMA_VERSION;
use crate::swarm::Swarm;

const SAMPLE_EVERY_NS: u64 = 1_000_000_000;
const TURN_MAX: Duration = Duration::from_millis(20);

/// Memory at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Moment, ns of the monotonic clock.
    pub at_ns: u64,
    /// The broker.
    pub broker: ProcessSample,
}

/// Everything measured.
#[derive(Debug)]
pub struct HoldOutcome {
    /// Connections before the first look.
    pub warm_up_connections: usize,
    /// Connections in the end.
    pub connections: usize,
    /// Before the bulk of the connections.
    pub before: Look,
    /// All are connected; then one each second. Never empty.
    pub held: Vec<Look>,
    /// TLS version and suite.
    pub tls: Option<String>,
}

/// Connects, holds, looks.
///
/// # Errors
/// A connection is refused or lost, there are too few clients, or the broker's process cannot be observed.
pub fn hold(config: &HoldConfig) -> Result<HoldOutcome, LoadError> {
    let clients = Clients::load(&config.run.clients)?.publishers;
    limits::allow_connections(clients.len())?;
    let Some((warm_up, rest)) =
        clients.split_at_checked(config.warm_up_connections).filter(|(_, rest)| !rest.is_empty())
    else {
        let told = format!("{} clients: not more than --warm-up-connections", clients.len());
        return Err(LoadError::Usage(told));
    };
    let mut swarm = Swarm::new(&config.run, 0, clients.len())?;
    swarm.add_all(&config.run, warm_up, deadline_ns(config))?;
    idle(&mut swarm, config.settle)?;
    let before = look(config)?;
    swarm.add_all(&config.run, rest, deadline_ns(config))?;
    let held = watch(&mut swarm, config)?;
    let tls = swarm.tls_facts();
    swarm.leave();
    Ok(HoldOutcome { warm_up_connections: warm_up.len(), connections: clients.len(), before, held, tls })
}

fn deadline_ns(config: &HoldConfig) -> u64 {
    now_ns() + config.run.ready_timeout.as_nanos() as u64
}

/// Serves the connections for so long: answers to pings are read, and a connection that is lost is an error.
fn idle(swarm: &mut Swarm, time: Duration) -> Result<(), LoadError> {
    let end_ns = now_ns() + time.as_nanos() as u64;
    while now_ns() < end_ns {
        swarm.turn(TURN_MAX)?;
    }
    Ok(())
}

fn watch(swarm: &mut Swarm, config: &HoldConfig) -> Result<Vec<Look>, LoadError> {
    let mut looks = vec![look(config)?];
    let mut left_ns = config.hold.as_nanos() as u64;
    while left_ns > 0 {
        let step_ns = left_ns.min(SAMPLE_EVERY_NS);
        idle(swarm, Duration::from_nanos(step_ns))?;
        looks.push(look(config)?);
        left_ns -= step_ns;
    }
    Ok(looks)
}

fn look(config: &HoldConfig) -> Result<Look, LoadError> {
    // The command line does not come without it.
    let pid = config.run.broker_pid.unwrap_or_default();
    let broker = ProcessSample::read(pid).map_err(|source| LoadError::BrokerProcess { pid, source })?;
    Ok(Look { at_ns: now_ns(), broker })
}

impl HoldOutcome {
    fn last(&self) -> Look {
        self.held.last().copied().unwrap_or(self.before)
    }

    fn first(&self) -> Look {
        self.held.first().copied().unwrap_or(self.before)
    }

    /// Bytes of resident memory for each connection beyond the warm-up, at this moment. Below zero when memory was given
    /// back meanwhile.
    fn bytes_per_connection(&self, look: Look) -> f64 {
        let grown_kib = look.broker.rss_kib as f64 - self.before.broker.rss_kib as f64;
        grown_kib * 1024.0 / (self.connections - self.warm_up_connections).max(1) as f64
    }

    /// Share of a core that the broker needed while nothing happened.
    fn busy(&self) -> Option<f64> {
        let (first, last) = (self.first(), self.last());
        let interval_s = last.at_ns.saturating_sub(first.at_ns) as f64 / 1e9;
        (interval_s > 0.0).then(|| (last.broker.cpu_s - first.broker.cpu_s) / interval_s)
    }

    /// For the result file.
    pub fn to_json(&self, config: &HoldConfig) -> Value {
        let (first, last) = (self.first(), self.last());
        let since_s = |look: &Look| look.at_ns.saturating_sub(first.at_ns) as f64 / 1e9;
        let samples: Vec<_> =
            self.held.iter().map(|look| json!([since_s(look), look.broker.rss_kib])).collect();
        json!({
            "schema_version": SCHEMA_VERSION,
            "label": config.run.label,
            "scenario": {
                "mode": "hold",
                "transport": config.run.transport(),
                "connections": self.connections,
                "warm_up_connections": self.warm_up_connections,
                "hold_s": config.hold.as_secs_f64(),
            },
            "connect_s": first.at_ns.saturating_sub(self.before.at_ns) as f64 / 1e9,
            "bytes_per_connection": self.bytes_per_connection(last),
            "bytes_per_connection_at_once": self.bytes_per_connection(first),
            "rss_kib": { "before": self.before.broker.rss_kib, "connected": first.broker.rss_kib,
                "end": last.broker.rss_kib },
            "rss_kib_by_second": samples,
            "broker": {
                "pid": config.run.broker_pid,
                "busy": self.busy(),
                "peak_rss_kib": last.broker.peak_rss_kib,
                "cpus_allowed": config.run.broker_pid.map(procfs::cpus_allowed),
            },
            "problems": Vec::<String>::new(),
            "tls": self.tls,
            "machine": procfs::machine(),
        })
    }

    /// For people.
    pub fn to_text(&self, config: &HoldConfig) -> String {
        let (first, last) = (self.first(), self.last());
        let mut text = String::new();
        let transport = self.tls.as_deref().unwrap_or("plain");
        let held_s = config.hold.as_secs_f64();
        let _ = writeln!(
            text,
            "{:<12} {} connections held {held_s} s, {transport}",
            "scenario", self.connections
        );
        let _ = writeln!(
            text,
            "{:<12} {} KiB with {} connections, {} KiB when all were there, {} KiB at the end",
            "broker RSS",
            self.before.broker.rss_kib,
            self.warm_up_connections,
            first.broker.rss_kib,
            last.broker.rss_kib
        );
        let _ = writeln!(
            text,
            "{:<12} {:.0} bytes each, {:.0} at once after connecting",
            "connection",
            self.bytes_per_connection(last),
            self.bytes_per_connection(first)
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};
    use crate::run::tests::mirror;

    fn config(line: &str) -> HoldConfig {
        match parse(line.split_whitespace().map(str::to_owned)) {
            Ok(Command::Hold(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    fn look_at(seconds: u64, rss_kib: u64, cpu_s: f64) -> Look {
        let broker = ProcessSample { cpu_s, rss_kib, peak_rss_kib: rss_kib + 5 };
        Look { at_ns: seconds * 1_000_000_000, broker }
    }

    #[test]
    fn connections_are_held_and_memory_is_looked_at() {
        let (port, pid) = (mirror(), std::process::id());
        let line = format!("hold --port {port} --broker-pid {pid} --connections 70");
        let config = config(&format!("{line} --warm-up-connections 10 --settle-s 0 --duration-s 0.05"));
        let outcome = hold(&config).unwrap();
        assert_eq!((outcome.connections, outcome.warm_up_connections), (70, 10));
        assert_eq!(outcome.held.len(), 2, "when all are there, and at the end");
        assert!(outcome.to_text(&config).contains("70 connections held 0.05 s, plain"));
    }

    #[test]
    fn the_price_of_a_connection_is_what_the_last_look_shows() {
        let config = config("hold --port 1 --broker-pid 1 --connections 110 --warm-up-connections 10");
        let held = vec![look_at(10, 1300, 1.0), look_at(20, 1200, 1.5)];
        let outcome = HoldOutcome {
            warm_up_connections: 10,
            connections: 110,
            before: look_at(8, 1000, 0.0),
            held,
            tls: None,
        };
        let json = outcome.to_json(&config);
        assert_eq!(json["bytes_per_connection"], 2048.0);
        assert_eq!(json["bytes_per_connection_at_once"], 3072.0);
        assert_eq!(json["rss_kib_by_second"], json!([[0.0, 1300], [10.0, 1200]]));
        assert_eq!(json["broker"]["busy"], 0.05);
        assert_eq!(json["connect_s"], 2.0);
    }

    #[test]
    fn too_few_clients_and_a_missing_process_are_errors() {
        let told = hold(&config("hold --port 1 --broker-pid 1 --connections 100")).unwrap_err().to_string();
        assert!(told.starts_with("100 clients: not more than --warm-up-connections"), "{told}");
        let line = format!("hold --port {} --broker-pid {} --connections 2", mirror(), u32::MAX);
        let gone = hold(&config(&format!("{line} --warm-up-connections 0 --settle-s 0")));
        assert!(matches!(gone, Err(LoadError::BrokerProcess { .. })));
    }
}
