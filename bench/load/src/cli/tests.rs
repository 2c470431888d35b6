//! The command line as users write it.

use std::time::Duration;

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
    let tls = TlsConfig { ca_file: Some("ca.pem".into()), server_name: "n".to_owned() };
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
        ("run --port 1 --tls", "--tls needs either --ca-file"),
        ("run --port 1 --tls --ca-file f --skip-verify", "--tls needs either --ca-file"),
        ("run --port 1 --skip-verify", "need --tls"),
        ("run --port 1 --subscribers 0 --qos 0", "--qos 0 needs a subscriber"),
        ("run --port 1 --parallel 2", "unknown option \"--parallel\""),
        ("hold --port 1", "hold needs --broker-pid"),
        ("connects --port 1 --parallel 0", "expected 1 to 4096"),
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
        let flags = TABLES.iter().flat_map(|(_, flags)| *flags);
        assert!(flags.into_iter().all(|flag| text.contains(flag.name)));
    }
}

#[test]
fn mirror_port() {
    assert_eq!(parse_line("mirror").unwrap(), Command::Mirror { port: 0 });
    assert_eq!(parse_line("mirror --port 9").unwrap(), Command::Mirror { port: 9 });
}

#[test]
fn holding_and_connecting() {
    let Ok(Command::Hold(hold)) = parse_line("hold --port 1 --broker-pid 2 --connections 9000") else {
        panic!()
    };
    assert_eq!((hold.warm_up_connections, hold.hold), (100, Duration::from_secs(15)));
    assert_eq!(hold.run.clients, ClientSource::Plain { publishers: 9000, subscribers: 0 });
    let Ok(Command::Connects(connects)) = parse_line("connects --port 1 --clients c --duration-s 2") else {
        panic!()
    };
    assert_eq!((connects.parallel, connects.measured), (64, Duration::from_secs(2)));
    assert_eq!(connects.run.clients.subscribers_max(), 0);
}
