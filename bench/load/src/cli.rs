//! Command line: one table of options drives the parser and the help.
//!
//! Written by hand because two commands with twenty plain `--name value` options do not pay for a parser library and its
//! compile time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::config::{ClientSource, Limit, RunConfig, TlsConfig};
use crate::error::LoadError;
use crate::payload::STAMP_BYTES;
use edgehub_mqtt::QoS;

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Load a broker and report.
    Run(Box<RunConfig>),
    /// Be the broker that measures the generator itself.
    Mirror {
        /// Port to listen on, 0 = any.
        port: u16,
    },
    /// Print this text.
    Help(String),
}

struct Flag {
    name: &'static str,
    /// Name of the value in the help; empty for a switch.
    value: &'static str,
    help: &'static str,
}

const fn flag(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, value, help }
}

const RUN_FLAGS: &[Flag] = &[
    flag("--host", "HOST", "address of the broker (127.0.0.1)"),
    flag("--port", "PORT", "port of the broker; required"),
    flag("--tls", "", "speak TLS; needs --ca-file"),
    flag("--ca-file", "PEM", "certificates that the broker's must descend from"),
    flag("--server-name", "NAME", "name to expect in the broker's certificate (the host)"),
    flag("--clients", "FILE", "clients with their credentials, JSON lines; see below"),
    flag("--publishers", "N", "publishers without credentials (1); with --clients: use the first N"),
    flag("--subscribers", "N", "subscribers without credentials (1); with --clients: use the first N"),
    flag("--fanout", "N", "subscribers that get each message (all subscribers)"),
    flag("--qos", "0|1", "QoS of messages and subscriptions (1)"),
    flag("--window", "N", "messages in flight for each publisher (20)"),
    flag("--payload-bytes", "N", "size of a message, at least 20 (256)"),
    flag("--duration-s", "S", "length of the measured interval (5)"),
    flag("--count", "N", "measure this many messages in all instead of a time"),
    flag("--warm-up-s", "S", "time before the measured interval (1)"),
    flag("--rate", "N", "messages per second in all, open loop; without it each window is kept full"),
    flag("--drain-s", "S", "longest wait at the end for what is still under way (10)"),
    flag("--ready-timeout-s", "S", "longest wait for all clients to be connected and subscribed (30)"),
    flag("--keep-alive-s", "S", "keep alive of the clients, 0 = off (60)"),
    flag("--broker-pid", "PID", "process whose CPU time and memory are measured"),
    flag("--json", "FILE", "write the result here"),
    flag("--label", "TEXT", "name of the run in the result"),
];

const MIRROR_FLAGS: &[Flag] = &[flag("--port", "PORT", "port to listen on, 0 = any free one (0)")];

const HEAD: &str = "\
edgehub-load: MQTT load generator that counts what is delivered

usage: edgehub-load run --port PORT [options]
       edgehub-load mirror [--port PORT]
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
  how much the generator itself can do
    edgehub-load mirror --port 1999 &
    edgehub-load run --port 1999 --publishers 100 --window 20
"#;

/// Clients in one run; beyond it the poll loop of one thread is not what should be measured.
const CLIENTS_MAX: usize = 20_000;

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
        "run" => Ok(Command::Run(Box::new(run_config(&Values::read(RUN_FLAGS, rest)?)?))),
        "mirror" => {
            Ok(Command::Mirror { port: Values::read(MIRROR_FLAGS, rest)?.get("--port")?.unwrap_or(0) })
        }
        other => Err(LoadError::Usage(format!("unknown command {other:?}; expected run or mirror"))),
    }
}

/// The whole help text.
fn help() -> String {
    let mut text = HEAD.to_owned();
    for (title, flags) in [("run", RUN_FLAGS), ("mirror", MIRROR_FLAGS)] {
        let _ = writeln!(text, "\noptions of {title} (default in brackets):");
        for Flag { name, value, help } in flags {
            let _ = writeln!(text, "  {:<24} {help}", format!("{name} {value}"));
        }
    }
    text + TAIL
}

/// Options as given, each at most once.
struct Values(BTreeMap<&'static str, String>);

impl Values {
    fn read(flags: &[Flag], args: Vec<String>) -> Result<Self, LoadError> {
        let mut values = BTreeMap::new();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some(flag) = flags.iter().find(|flag| flag.name == arg) else {
                return Err(LoadError::Usage(format!("unknown option {arg:?}")));
            };
            let value = match flag.value {
                "" => String::new(),
                name => {
                    args.next().ok_or_else(|| LoadError::Usage(format!("{arg} needs a value: {name}")))?
                }
            };
            if values.insert(flag.name, value).is_some() {
                return Err(LoadError::Usage(format!("{arg} is given twice")));
            }
        }
        Ok(Self(values))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn get<T: FromStr>(&self, name: &str) -> Result<Option<T>, LoadError> {
        let parse = |text: &String| text.parse().map_err(|_| self.bad(name, "it cannot be read"));
        self.0.get(name).map(parse).transpose()
    }

    /// A number within bounds.
    fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        name: &str,
        default: T,
        bounds: RangeInclusive<T>,
    ) -> Result<T, LoadError> {
        match self.get::<T>(name)? {
            None => Ok(default),
            Some(value) if bounds.contains(&value) => Ok(value),
            Some(_) => Err(self.bad(name, &format!("expected {} to {}", bounds.start(), bounds.end()))),
        }
    }

    fn seconds(&self, name: &str, default: f64, min: f64) -> Result<Duration, LoadError> {
        Ok(Duration::from_secs_f64(self.number(name, default, min..=86_400.0)?))
    }

    fn bad(&self, name: &str, why: &str) -> LoadError {
        let given = self.0.get(name).map_or("", String::as_str);
        LoadError::Usage(format!("{name} {given:?}: {why}"))
    }
}

fn run_config(values: &Values) -> Result<RunConfig, LoadError> {
    let port = values.get("--port")?.ok_or_else(|| LoadError::Usage("run needs --port PORT".to_owned()))?;
    let host: String = values.get("--host")?.unwrap_or_else(|| "127.0.0.1".to_owned());
    Ok(RunConfig {
        tls: tls_config(values, &host)?,
        host,
        port,
        clients: client_source(values)?,
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
        drain: values.seconds("--drain-s", 10.0, 0.0)?,
        ready_timeout: values.seconds("--ready-timeout-s", 30.0, 0.1)?,
        keep_alive_s: values.number("--keep-alive-s", 60, 0..=u16::MAX)?,
        broker_pid: values.get("--broker-pid")?,
        json: values.get("--json")?,
        label: values.get("--label")?.unwrap_or_default(),
    })
}

fn tls_config(values: &Values, host: &str) -> Result<Option<TlsConfig>, LoadError> {
    let ca_file: Option<PathBuf> = values.get("--ca-file")?;
    let server_name: Option<String> = values.get("--server-name")?;
    match (values.has("--tls"), ca_file) {
        (true, Some(ca_file)) => {
            let server_name = server_name.unwrap_or_else(|| host.to_owned());
            Ok(Some(TlsConfig { ca_file, server_name }))
        }
        (true, None) => Err(LoadError::Usage("--tls needs --ca-file PEM".to_owned())),
        (false, None) if server_name.is_none() => Ok(None),
        (false, _) => Err(LoadError::Usage("--ca-file and --server-name need --tls".to_owned())),
    }
}

fn client_source(values: &Values) -> Result<ClientSource, LoadError> {
    let count = |name, default| values.number(name, default, 1..=CLIENTS_MAX);
    Ok(match values.get("--clients")? {
        Some(path) => ClientSource::File {
            path,
            publishers_max: count("--publishers", CLIENTS_MAX)?,
            subscribers_max: count("--subscribers", CLIENTS_MAX)?,
        },
        None => ClientSource::Plain {
            publishers: count("--publishers", 1)?,
            subscribers: count("--subscribers", 1)?,
        },
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
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, LoadError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn run(line: &str) -> RunConfig {
        match parse_line(line) {
            Ok(Command::Run(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    fn usage(line: &str) -> String {
        parse_line(line).unwrap_err().to_string()
    }

    #[test]
    fn defaults() {
        let config = run("run --port 1883");
        assert_eq!((config.host.as_str(), config.port, config.window), ("127.0.0.1", 1883, 20));
        assert_eq!((config.qos, config.payload_bytes), (QoS::AtLeastOnce, 256));
        assert_eq!(config.limit, Limit::Time(Duration::from_secs(5)));
        assert_eq!(config.clients, ClientSource::Plain { publishers: 1, subscribers: 1 });
        assert_eq!((config.tls, config.rate_per_s, config.broker_pid), (None, None, None));
    }

    #[test]
    fn everything_set() {
        let config = run("run --host h --port 1 --tls --ca-file ca.pem --server-name n --clients c.jsonl \
            --publishers 3 --fanout 2 --qos 0 --window 5 --payload-bytes 20 --count 7 --warm-up-s 0 --rate 2.5 \
            --drain-s 0 --ready-timeout-s 3 --keep-alive-s 0 --broker-pid 9 --json o.json --label l");
        let tls = TlsConfig { ca_file: "ca.pem".into(), server_name: "n".to_owned() };
        assert_eq!(config.tls, Some(tls));
        let clients =
            ClientSource::File { path: "c.jsonl".into(), publishers_max: 3, subscribers_max: CLIENTS_MAX };
        assert_eq!(config.clients, clients);
        assert_eq!(config.limit, Limit::Messages(7));
        assert_eq!((config.qos, config.fanout, config.broker_pid), (QoS::AtMostOnce, Some(2), Some(9)));
        assert_eq!((config.rate_per_s, config.warm_up, config.keep_alive_s), (Some(2.5), Duration::ZERO, 0));
    }

    #[test]
    fn the_server_name_is_the_host_unless_given() {
        let config = run("run --host broker.test --port 1 --tls --ca-file ca.pem");
        assert_eq!(config.tls.unwrap().server_name, "broker.test");
    }

    #[test]
    fn wrong_usage_names_the_argument() {
        for (line, part) in [
            ("fly", "unknown command \"fly\""),
            ("run", "--port"),
            ("run --port x", "--port \"x\""),
            ("run --port 1 --colour red", "unknown option \"--colour\""),
            ("run --port", "--port needs a value: PORT"),
            ("run --port 1 --port 2", "--port is given twice"),
            ("run --port 1 --qos 2", "--qos \"2\": expected 0 to 1"),
            ("run --port 1 --window 0", "--window \"0\": expected 1 to 65535"),
            ("run --port 1 --payload-bytes 19", "expected 20 to"),
            ("run --port 1 --rate NaN", "--rate \"NaN\""),
            ("run --port 1 --drain-s -1", "--drain-s \"-1\""),
            ("run --port 1 --tls", "--tls needs --ca-file"),
            ("run --port 1 --ca-file f", "need --tls"),
            ("run --port 1 --count 1 --duration-s 1", "not both"),
            ("mirror --host h", "unknown option \"--host\""),
        ] {
            assert!(usage(line).contains(part), "{line}: {}", usage(line));
        }
    }

    #[test]
    fn help_names_every_option() {
        for line in ["", "--help", "run --help", "mirror --port 1 --help"] {
            let Ok(Command::Help(text)) = parse_line(line) else { panic!("{line}") };
            assert!(RUN_FLAGS.iter().all(|flag| text.contains(flag.name)));
        }
    }

    #[test]
    fn mirror_port() {
        assert_eq!(parse_line("mirror").unwrap(), Command::Mirror { port: 0 });
        assert_eq!(parse_line("mirror --port 9").unwrap(), Command::Mirror { port: 9 });
    }
}
