//! Command line: one table of options drives the parser and the help.
//!
//! Written by hand because a few commands with thirty plain `--name value` options do not pay for a parser library and its
//! compile time.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use edgehub_mqtt::QoS;

use crate::config::{ClientSource, ConnectsConfig, HoldConfig, Limit, RunConfig, TlsConfig};
use crate::error::LoadError;
use crate::payload::STAMP_BYTES;
use values::{Flag, Values, flag};

mod values;

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Load a broker and report.
    Run(Box<RunConfig>),
    /// Hold idle connections and look at the broker's memory.
    Hold(Box<HoldConfig>),
    /// Connect and leave, over and over.
    Connects(Box<ConnectsConfig>),
    /// Be the broker that measures the generator itself.
    Mirror {
        /// Port to listen on, 0 = any.
        port: u16,
    },
    /// Print this text.
    Help(String),
}

const COMMON_FLAGS: &[Flag] = &[
    flag("--host", "HOST", "address of the broker (127.0.0.1)"),
    flag("--port", "PORT", "port of the broker; required"),
    flag("--tls", "", "speak TLS; needs --ca-file or --skip-verify. Sessions are never resumed"),
    flag("--ca-file", "PEM", "certificates that the broker's must descend from"),
    flag(
        "--skip-verify",
        "",
        "take any certificate without a look, which saves the generator two signature checks",
    ),
    flag("--server-name", "NAME", "name to expect in the broker's certificate (the host)"),
    flag("--clients", "FILE", "clients with their credentials, JSON lines; see below"),
    flag("--ready-timeout-s", "S", "longest wait for clients to be connected and subscribed (30)"),
    flag("--keep-alive-s", "S", "keep alive of the clients, 0 = off (60)"),
    flag("--broker-pid", "PID", "process whose CPU time and memory are measured"),
    flag("--json", "FILE", "write the result here"),
    flag("--label", "TEXT", "name of the run in the result"),
];

const RUN_FLAGS: &[Flag] = &[
    flag("--publishers", "N", "publishers without credentials (1); with --clients: use the first N"),
    flag(
        "--subscribers",
        "N",
        "subscribers without credentials (1); with --clients: use the first N; 0 = publish only",
    ),
    flag("--fanout", "N", "subscribers that get each message (all subscribers)"),
    flag("--qos", "0|1", "QoS of messages and subscriptions (1)"),
    flag("--window", "N", "messages in flight for each publisher (20)"),
    flag("--payload-bytes", "N", "size of a message, at least 20 (256)"),
    flag("--duration-s", "S", "length of the measured interval (5)"),
    flag("--count", "N", "measure this many messages in all instead of a time"),
    flag("--warm-up-s", "S", "time before the measured interval (1)"),
    flag("--rate", "N", "messages per second in all, open loop; without it each window is kept full"),
    flag(
        "--step-ms",
        "MS",
        "with --rate: look this often for what is due, instead of spinning, 0 to 100 (0)",
    ),
    flag("--drain-s", "S", "longest wait at the end for the next message of what is still under way (10)"),
    flag("--drain-max-s", "S", "longest wait at the end in all; what has not come then is lost (120)"),
];

const HOLD_FLAGS: &[Flag] = &[
    flag(
        "--connections",
        "N",
        "connections without credentials (1000); with --clients: publishers of the file",
    ),
    flag("--warm-up-connections", "N", "of these, as many before the first look at the memory (100)"),
    flag("--settle-s", "S", "wait before the first look (3)"),
    flag("--duration-s", "S", "how long all connections are held (15)"),
];

const CONNECTS_FLAGS: &[Flag] = &[
    flag(
        "--connections",
        "N",
        "identities without credentials (1000); with --clients: publishers of the file",
    ),
    flag("--parallel", "N", "connections under way at the same time (64)"),
    flag("--duration-s", "S", "length of the measured interval (5)"),
    flag("--warm-up-s", "S", "time before the measured interval (1)"),
];

const MIRROR_FLAGS: &[Flag] = &[flag("--port", "PORT", "port to listen on, 0 = any free one (0)")];

const TABLES: [(&str, &[Flag]); 5] = [
    ("run, hold and connects", COMMON_FLAGS),
    ("run", RUN_FLAGS),
    ("hold", HOLD_FLAGS),
    ("connects", CONNECTS_FLAGS),
    ("mirror", MIRROR_FLAGS),
];

const HEAD: &str = "\
edgehub-load: MQTT load generator that counts what is delivered

usage: edgehub-load run --port PORT [options]        messages, and what becomes of them
       edgehub-load hold --port PORT --broker-pid PID [options]   memory of idle connections
       edgehub-load connects --port PORT [options]   fresh connections, as many as the broker takes
       edgehub-load mirror [--port PORT]             a broker to measure the generator with
";

const TAIL: &str = r#"
The file of --clients has one JSON object a line:
  {"role":"pub","clientId":"d1","username":"hub/d1/?api-version=2018-06-30","password":"...","topic":"devices/d1/messages/events/"}
  {"role":"sub","clientId":"d2","username":"...","password":"...","filter":"devices/d2/modules/m/inputs/#"}

Exit status: 0 = clean; 1 = no result, or messages were lost, reordered or not acknowledged; 2 = wrong usage.

Examples:
  one publisher, one subscriber, 20 in flight, 5 s against a broker with process id 1234
    edgehub-load run --port 1883 --broker-pid 1234
  100 publishers over TLS with credentials, result to a file
    edgehub-load run --port 8883 --tls --ca-file ca.pem --clients clients.jsonl --publishers 100 --json out.json
  latency at 5000 messages per second from 1000 clients
    edgehub-load run --port 1883 --publishers 1000 --rate 5000 --window 10 --duration-s 20
  what 9000 idle connections cost
    edgehub-load hold --port 1883 --broker-pid 1234 --connections 9000
  TLS handshakes with CONNECT, 64 at a time
    edgehub-load connects --port 8883 --tls --skip-verify --clients clients.jsonl --broker-pid 1234
  how much the generator itself can do
    edgehub-load mirror --port 1999 &
    edgehub-load run --port 1999 --publishers 100 --window 20
"#;

/// Clients in one run; beyond it the poll loop of one thread is not what should be measured.
const CLIENTS_MAX: usize = 20_000;
/// Connections under way at the same time that `connects` may be asked for.
const PARALLEL_MAX: usize = 4096;

/// Reads the arguments after the program name.
///
/// # Errors
/// [`LoadError::Usage`] with the argument that is wrong and what would be right.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, LoadError> {
    let mut args = args.into_iter();
    let command = args.next().unwrap_or_else(|| "--help".to_owned());
    let rest: Vec<String> = args.collect();
    if command == "--help" || rest.iter().any(|arg| arg == "--help") {
        return Ok(Command::Help(help()));
    }
    match command.as_str() {
        "run" => {
            let values = Values::read(&[COMMON_FLAGS, RUN_FLAGS], rest)?;
            Ok(Command::Run(Box::new(run_config(&values, client_source(&values)?)?)))
        }
        "hold" => {
            Ok(Command::Hold(Box::new(hold_config(&Values::read(&[COMMON_FLAGS, HOLD_FLAGS], rest)?)?)))
        }
        "connects" => {
            let values = Values::read(&[COMMON_FLAGS, CONNECTS_FLAGS], rest)?;
            Ok(Command::Connects(Box::new(connects_config(&values)?)))
        }
        "mirror" => {
            Ok(Command::Mirror { port: Values::read(&[MIRROR_FLAGS], rest)?.get("--port")?.unwrap_or(0) })
        }
        other => Err(LoadError::Usage(format!(
            "unknown command {other:?}; expected run, hold, connects or mirror"
        ))),
    }
}

/// The whole help text.
fn help() -> String {
    let mut text = HEAD.to_owned();
    for (title, flags) in TABLES {
        let _ = writeln!(text, "\noptions of {title} (default in brackets):");
        for Flag { name, value, help } in flags {
            let _ = writeln!(text, "  {:<24} {help}", format!("{name} {value}"));
        }
    }
    text + TAIL
}

/// The settings that all commands share, and those of `run`, which have their defaults when another command is asked for.
fn run_config(values: &Values, clients: ClientSource) -> Result<RunConfig, LoadError> {
    let port = values.get("--port")?.ok_or_else(|| LoadError::Usage("--port PORT is needed".to_owned()))?;
    let host: String = values.get("--host")?.unwrap_or_else(|| "127.0.0.1".to_owned());
    let config = RunConfig {
        tls: tls_config(values, &host)?,
        host,
        port,
        clients,
        fanout: values.get("--fanout")?,
        qos: match values.number("--qos", 1, 0..=1)? {
            0 => QoS::AtMostOnce,
            _ => QoS::AtLeastOnce,
        },
        window: values.number("--window", 20, 1..=u16::MAX)?,
        payload_bytes: values.number("--payload-bytes", 256, STAMP_BYTES..=250_000)?,
        limit: limit(values)?,
        warm_up: values.seconds("--warm-up-s", 1.0, 0.0)?,
        rate_per_s: values.has("--rate").then(|| values.number("--rate", 1.0, 0.001..=1e8)).transpose()?,
        step: Duration::from_millis(values.number("--step-ms", 0, 0..=100)?),
        drain: values.seconds("--drain-s", 10.0, 0.0)?,
        drain_max: values.seconds("--drain-max-s", 120.0, 0.0)?,
        ready_timeout: values.seconds("--ready-timeout-s", 30.0, 0.1)?,
        keep_alive_s: values.number("--keep-alive-s", 60, 0..=u16::MAX)?,
        broker_pid: values.get("--broker-pid")?,
        json: values.get("--json")?,
        label: values.get("--label")?.unwrap_or_default(),
    };
    if config.qos == QoS::AtMostOnce && config.clients.subscribers_max() == 0 {
        let told = "--qos 0 needs a subscriber: without acknowledgements its deliveries open the window";
        return Err(LoadError::Usage(told.to_owned()));
    }
    Ok(config)
}

fn hold_config(values: &Values) -> Result<HoldConfig, LoadError> {
    let run = run_config(values, connection_source(values)?)?;
    if run.broker_pid.is_none() {
        return Err(LoadError::Usage("hold needs --broker-pid PID: its memory is the result".to_owned()));
    }
    Ok(HoldConfig {
        warm_up_connections: values.number("--warm-up-connections", 100, 0..=CLIENTS_MAX)?,
        settle: values.seconds("--settle-s", 3.0, 0.0)?,
        hold: values.seconds("--duration-s", 15.0, 0.0)?,
        run,
    })
}

fn connects_config(values: &Values) -> Result<ConnectsConfig, LoadError> {
    let run = run_config(values, connection_source(values)?)?;
    let Limit::Time(measured) = run.limit else {
        return Err(LoadError::Usage("connects takes --duration-s".to_owned()));
    };
    Ok(ConnectsConfig { parallel: values.number("--parallel", 64, 1..=PARALLEL_MAX)?, measured, run })
}

/// Clients that only connect.
fn connection_source(values: &Values) -> Result<ClientSource, LoadError> {
    let file: Option<PathBuf> = values.get("--clients")?;
    let default = if file.is_some() { CLIENTS_MAX } else { 1000 };
    let publishers = values.number("--connections", default, 1..=CLIENTS_MAX)?;
    Ok(match file {
        Some(path) => ClientSource::File { path, publishers_max: publishers, subscribers_max: 0 },
        None => ClientSource::Plain { publishers, subscribers: 0 },
    })
}

fn tls_config(values: &Values, host: &str) -> Result<Option<TlsConfig>, LoadError> {
    let ca_file: Option<PathBuf> = values.get("--ca-file")?;
    let server_name: Option<String> = values.get("--server-name")?;
    let skip_verify = values.has("--skip-verify");
    if !values.has("--tls") {
        return match (ca_file, server_name, skip_verify) {
            (None, None, false) => Ok(None),
            _ => Err(LoadError::Usage("--ca-file, --skip-verify and --server-name need --tls".to_owned())),
        };
    }
    if ca_file.is_some() == skip_verify {
        return Err(LoadError::Usage("--tls needs either --ca-file PEM or --skip-verify".to_owned()));
    }
    Ok(Some(TlsConfig { ca_file, server_name: server_name.unwrap_or_else(|| host.to_owned()) }))
}

fn client_source(values: &Values) -> Result<ClientSource, LoadError> {
    let publishers = |default| values.number("--publishers", default, 1..=CLIENTS_MAX);
    let subscribers = |default| values.number("--subscribers", default, 0..=CLIENTS_MAX);
    Ok(match values.get("--clients")? {
        Some(path) => ClientSource::File {
            path,
            publishers_max: publishers(CLIENTS_MAX)?,
            subscribers_max: subscribers(CLIENTS_MAX)?,
        },
        None => ClientSource::Plain { publishers: publishers(1)?, subscribers: subscribers(1)? },
    })
}

fn limit(values: &Values) -> Result<Limit, LoadError> {
    match (values.has("--duration-s"), values.has("--count")) {
        (true, true) => Err(LoadError::Usage("give --duration-s or --count, not both".to_owned())),
        (_, true) => Ok(Limit::Messages(values.number("--count", 1, 1..=u64::MAX)?)),
        _ => Ok(Limit::Time(values.seconds("--duration-s", 5.0, 0.01)?)),
    }
}

#[cfg(test)]
mod tests;
