//! Connecting over loopback sockets, to the mirror and to brokers that misbehave.

use std::net::TcpListener;

use super::*;
use crate::cli::{Command, parse};
use crate::run::tests::{broker_answering, mirror};

fn config(port: u16, options: &str) -> ConnectsConfig {
    let line = format!("connects --port {port} --warm-up-s 0 {options}");
    match parse(line.split_whitespace().map(str::to_owned)) {
        Ok(Command::Connects(config)) => *config,
        other => panic!("{other:?}"),
    }
}

fn mark(seconds: u64, connected: u64, cpu_s: f64) -> Mark {
    let sample = ProcessSample { cpu_s, ..ProcessSample::default() };
    let generator = ProcessSample { cpu_s: cpu_s / 2.0, ..sample };
    Mark { at_ns: seconds * 1_000_000_000, connected, broker: Some(sample), generator }
}

#[test]
fn connections_are_made_over_and_over() {
    let config = config(mirror(), "--connections 5 --parallel 3 --duration-s 0.2");
    let outcome = connects(&config).unwrap();
    let made = outcome.end.connected - outcome.start.connected;
    assert!(made > 5, "each client came back: {made}");
    assert_eq!(outcome.problems(), Vec::<String>::new());
    assert!(outcome.to_text(&config).contains("3 at a time, plain"));
}

#[test]
fn more_places_than_clients_are_not_taken() {
    let config = config(mirror(), "--connections 2 --parallel 50 --duration-s 0.05");
    let storm = Storm::new(&config, Clients::load(&config.run.clients).unwrap().publishers).unwrap();
    assert_eq!(storm.places.len(), 2);
    assert!(connects(&config).is_ok());
}

#[test]
fn each_place_has_clients_of_its_own() {
    let config = config(1, "--connections 5 --parallel 2");
    let storm = Storm::new(&config, Clients::load(&config.run.clients).unwrap().publishers).unwrap();
    let of = |index| -> Vec<_> { (0..4).map(|round| storm.spec(index, round).client_id).collect() };
    assert_eq!(of(0), ["load-pub-0", "load-pub-2", "load-pub-4", "load-pub-0"]);
    assert_eq!(of(1), ["load-pub-1", "load-pub-3", "load-pub-1", "load-pub-3"]);
}

#[test]
fn rates_are_of_the_interval() {
    let config = config(1, "--broker-pid 1 --parallel 7 --tls --skip-verify");
    let (start, end) = (mark(10, 100, 1.0), mark(12, 2100, 1.5));
    let outcome = ConnectsOutcome { identities: 9, start, end, latency: None, tls: None };
    let json = outcome.to_json(&config);
    assert_eq!((&json["connected"], &json["connected_per_s"]), (&2000.into(), &1000.0.into()));
    assert_eq!(json["broker"]["cpu_us_per_connection"], 250.0);
    assert_eq!(json["generator"]["busy"], 0.125);
    assert_eq!(json["scenario"]["certificate_verified"], false);
    let idle = ConnectsOutcome { end: mark(12, 100, 1.5), ..outcome };
    assert_eq!(idle.problems(), ["no connection was made"]);
}

#[test]
fn a_refusal_and_a_close_are_errors_with_the_client() {
    for (answer, expected) in [
        (&[0x20, 2, 0, 5][..], "client load-pub-0: the broker refused the connection with code 5"),
        (&[], "client load-pub-0: "),
    ] {
        let err = connects(&config(broker_answering(answer), "--parallel 1")).unwrap_err().to_string();
        assert!(err.starts_with(expected), "{err}");
    }
}

#[test]
fn nobody_there_and_nobody_answering_are_errors() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = connects(&config(port, "--parallel 4 --ready-timeout-s 0.1")).unwrap_err();
    assert!(matches!(silent, LoadError::Stalled { connected: 0, waiting: 4, .. }), "{silent}");
    drop(listener);
    let refused = connects(&config(port, "--parallel 1")).unwrap_err();
    assert!(matches!(refused, LoadError::Client { source: ClientError::Io(_), .. }), "{refused}");
}
