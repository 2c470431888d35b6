//! Whole runs over loopback sockets, against the mirror and against brokers that misbehave.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::*;
use crate::cli::{Command, parse};
use crate::error::ClientError;
use crate::mirror::Mirror;
use crate::report::Report;

/// A run against this port.
fn config(port: u16, options: &str) -> RunConfig {
    let line = format!("run --port {port} --warm-up-s 0 {options}");
    match parse(line.split_whitespace().map(str::to_owned)) {
        Ok(Command::Run(config)) => *config,
        other => panic!("{other:?}"),
    }
}

/// A mirror that serves until the test process ends.
pub fn mirror() -> u16 {
    let mut mirror = Mirror::bind(0).unwrap();
    let port = mirror.port().unwrap();
    thread::spawn(move || mirror.serve());
    port
}

/// A broker that reads once from each connection, answers this, and closes.
pub fn broker_answering(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1000]);
            let _ = stream.write_all(answer);
        }
    });
    port
}

#[test]
fn every_message_is_counted_once() {
    let port = mirror();
    for options in [
        "--count 1000",
        "--publishers 7 --window 3 --count 700 --payload-bytes 20",
        "--publishers 3 --subscribers 2 --count 300",
        "--qos 0 --publishers 2 --count 500",
        "--rate 1e5 --publishers 4 --count 400",
        "--rate 1e5 --step-ms 2 --publishers 4 --count 400",
        "--count 20 --payload-bytes 250000",
    ] {
        let config = config(port, options);
        let outcome = run(&config).unwrap_or_else(|err| panic!("{options}: {err}"));
        let report = Report::new(&config, &outcome);
        assert_eq!(report.problems(), Vec::<String>::new(), "{options}");
        let Limit::Messages(count) = config.limit else { panic!("{options}") };
        assert_eq!(outcome.drained.published, count, "{options}");
        assert_eq!(outcome.drained.streams.unique, count * outcome.subscribers as u64, "{options}");
        assert_eq!(outcome.latency.unwrap().count, outcome.drained.streams.unique, "{options}");
        assert_eq!(outcome.lateness.is_some(), options.contains("--rate"), "{options}");
    }
}

#[test]
fn who_only_publishes_waits_for_acknowledgements_alone() {
    let config = config(mirror(), "--subscribers 0 --publishers 2 --count 100");
    let outcome = run(&config).unwrap();
    let report = Report::new(&config, &outcome);
    assert_eq!((report.problems(), outcome.drained.acked), (Vec::new(), 100));
    assert_eq!(report.to_json()["after_drain"]["by_subscriber"], serde_json::Value::Null);
}

#[test]
fn each_subscriber_is_counted_by_itself() {
    let config = config(mirror(), "--subscribers 3 --count 50");
    let outcome = run(&config).unwrap();
    assert_eq!(outcome.received.iter().map(|counts| counts.unique).collect::<Vec<_>>(), [50; 3]);
    assert_eq!(Report::new(&config, &outcome).problems(), Vec::<String>::new());
}

#[test]
fn a_timed_run_ends_and_drains() {
    let config = config(mirror(), "--duration-s 0.05 --publishers 5");
    let outcome = run(&config).unwrap();
    assert!(outcome.end.at_ns - outcome.start.at_ns >= 50_000_000);
    assert!(outcome.drained.streams.unique > 0);
    assert_eq!(Report::new(&config, &outcome).problems(), Vec::<String>::new());
}

#[test]
fn the_broker_process_is_sampled() {
    let pid = std::process::id();
    let config = config(mirror(), &format!("--count 100 --broker-pid {pid}"));
    let outcome = run(&config).unwrap();
    assert!(outcome.end.broker.unwrap().rss_kib > 0);
    let gone = RunConfig { broker_pid: Some(u32::MAX), ..config };
    assert!(matches!(run(&gone), Err(LoadError::BrokerProcess { pid: u32::MAX, .. })));
}

#[test]
fn a_drain_that_goes_on_and_on_is_ended() {
    // Two fan-outs are awaited where one comes; without the limit the wait would take the usual ten seconds.
    let config = config(mirror(), "--duration-s 0.01 --fanout 2 --drain-max-s 0.05");
    let began_ns = now_ns();
    let outcome = run(&config).unwrap();
    assert!(now_ns() - began_ns < 5_000_000_000);
    assert_eq!(Report::new(&config, &outcome).problems().len(), 1);
}

#[test]
fn a_fan_out_that_is_not_met_is_loss() {
    let config = config(mirror(), "--count 10 --fanout 2 --drain-s 0.05");
    let outcome = run(&config).unwrap();
    assert_eq!(Report::new(&config, &outcome).problems(), ["10 messages lost"]);
}

#[test]
fn a_refusal_and_a_close_are_errors_with_the_client() {
    for (answer, expected) in [
        (&[0x20, 2, 0, 5][..], "client load-sub-0: the broker refused the connection with code 5"),
        (&[], "client load-sub-0: the broker closed the connection without a word"),
        (&[0xff], "client load-sub-0: the broker sent an invalid packet: packet type 15 is reserved"),
        (
            &[0x20, 2, 0, 0, 0x90, 3, 0, 1, 0x80],
            "client load-sub-0: the broker refused the subscription to bench/#",
        ),
        (&[0xd0, 0], "client load-sub-0: unexpected PINGRESP while waiting for CONNACK"),
    ] {
        let err = run(&config(broker_answering(answer), "--count 1")).unwrap_err().to_string();
        assert!(err.starts_with(expected), "{err}");
    }
}

#[test]
fn a_port_without_broker_is_an_error() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let err = run(&config(port, "--count 1")).unwrap_err();
    assert!(matches!(err, LoadError::Client { source: ClientError::Io(_), .. }), "{err}");
}

#[test]
fn a_silent_broker_is_an_error() {
    // The backlog takes the connection; nobody ever answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let err = run(&config(port, "--count 1 --ready-timeout-s 0.1")).unwrap_err();
    let LoadError::ReadyTimeout { waiting: 1, first, .. } = &err else { panic!("{err}") };
    assert_eq!(first, "load-sub-0");
}

#[test]
fn tls_against_a_plain_broker_is_an_error() {
    let ca_file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ca.pem");
    let port = broker_answering(&[0x20, 2, 0, 0]);
    let err = run(&config(port, &format!("--count 1 --tls --ca-file {ca_file}"))).unwrap_err();
    assert!(matches!(err, LoadError::Client { source: ClientError::Io(_), .. }), "{err}");
}
