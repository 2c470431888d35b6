//! What a run is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use edgehub_mqtt::QoS;
use serde_json::{Value, json};

/// All settings of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunConfig {
    /// Host name or address of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// TLS, if it is to be spoken.
    pub tls: Option<TlsConfig>,
    /// Where the clients come from.
    pub clients: ClientSource,
    /// Subscribers that get each message; all of them when not given.
    pub fanout: Option<u64>,
    /// QoS of messages and subscriptions.
    pub qos: QoS,
    /// Messages in flight for each publisher. With QoS 0, where nothing is acknowledged, a message is in flight until a
    /// subscriber has it.
    pub window: u16,
    /// Size of a message.
    pub payload_bytes: usize,
    /// What ends the measured interval.
    pub limit: Limit,
    /// Time before the measured interval.
    pub warm_up: Duration,
    /// Messages per second in all, `None` = closed loop.
    pub rate_per_s: Option<f64>,
    /// Open loop: how often to look for messages that are due; zero = all the time, which takes a whole core and is exact.
    pub step: Duration,
    /// Longest wait at the end without any progress.
    pub drain: Duration,
    /// Longest wait at the end in all.
    pub drain_max: Duration,
    /// Longest wait for the clients to be ready.
    pub ready_timeout: Duration,
    /// Keep alive of the clients, 0 = off.
    pub keep_alive_s: u16,
    /// Process to observe.
    pub broker_pid: Option<u32>,
    /// Result file.
    pub json: Option<PathBuf>,
    /// Name of the run.
    pub label: String,
}

/// How to verify the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM file of the trusted certificates; `None` = any certificate is taken without a look.
    pub ca_file: Option<PathBuf>,
    /// Name expected in the certificate.
    pub server_name: String,
}

/// Where the clients come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientSource {
    /// JSON lines with credentials.
    File {
        /// The file.
        path: PathBuf,
        /// Use at most this many of its publishers.
        publishers_max: usize,
        /// Use at most this many of its subscribers; 0 = it needs none.
        subscribers_max: usize,
    },
    /// Made up, without credentials: publisher `i` on `bench/i`, subscribers on `bench/#`.
    Plain {
        /// Publishers.
        publishers: usize,
        /// Subscribers.
        subscribers: usize,
    },
}

impl ClientSource {
    /// The most subscribers that there can be.
    pub const fn subscribers_max(&self) -> usize {
        match self {
            Self::File { subscribers_max: count, .. } | Self::Plain { subscribers: count, .. } => *count,
        }
    }
}

/// What ends the measured interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// A time.
    Time(Duration),
    /// This many messages published in all after the warm-up, and delivered.
    Messages(u64),
}

/// Idle connections and the memory that the broker needs for them.
#[derive(Debug, Clone, PartialEq)]
pub struct HoldConfig {
    /// Where and how to connect; the publishers are the clients.
    pub run: RunConfig,
    /// Of the clients, as many are connected before the first look at the memory, so that what the broker needs once,
    /// for the first client, is not counted as the price of each.
    pub warm_up_connections: usize,
    /// Wait before the first look.
    pub settle: Duration,
    /// How long all of them are held.
    pub hold: Duration,
}

/// Connections made and ended, over and over.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectsConfig {
    /// Where and how to connect; the publishers are the clients.
    pub run: RunConfig,
    /// Connections under way at the same time.
    pub parallel: usize,
    /// Length of the measured interval.
    pub measured: Duration,
}

impl RunConfig {
    /// `plain` or `tls`.
    pub const fn transport(&self) -> &'static str {
        if self.tls.is_some() { "tls" } else { "plain" }
    }

    /// The scenario for the result file. No credentials are in it.
    pub fn to_json(&self, publishers: usize, subscribers: usize) -> Value {
        let (duration_s, count) = match self.limit {
            Limit::Time(time) => (Some(time.as_secs_f64()), None),
            Limit::Messages(count) => (None, Some(count)),
        };
        json!({
            "transport": self.transport(),
            "qos": self.qos.bits(),
            "publishers": publishers,
            "subscribers": subscribers,
            "fanout": self.fanout.unwrap_or(subscribers as u64),
            "window": self.window,
            "payload_bytes": self.payload_bytes,
            "rate_per_s": self.rate_per_s,
            "step_ms": self.step.as_millis() as u64,
            "warm_up_s": self.warm_up.as_secs_f64(),
            "duration_s": duration_s,
            "count": count,
        })
    }
}
