//! Every scenario with every contender that was built in, in all modes, with few messages: `run` fails unless what was
//! delivered is what was appended. A backlog needs the program itself, so it runs as one.

use std::process::Command;

use edgehub_bench_store::{About, CONTENDERS, Kind, RunOptions, SCENARIOS, Work, run};
use serde_json::Value;

const FEW: u64 = 2_345;

fn combinations() -> impl Iterator<Item = (&'static About, RunOptions)> {
    let built = CONTENDERS.iter().filter(|about| about.built);
    built.flat_map(|about| {
        let runs =
            SCENARIOS.iter().flat_map(|scenario| about.modes.iter().map(move |mode| (scenario, *mode)));
        let runs = runs.filter(|(scenario, _)| about.kind == Kind::Edgehub || !scenario.work.is_own());
        runs.map(move |(scenario, mode)| {
            let folder = std::env::temp_dir();
            (about, RunOptions { scenario, kind: about.kind, mode, messages: FEW, folder })
        })
    })
}

#[test]
fn what_is_appended_is_delivered() {
    let plain = |work| matches!(work, Work::Append | Work::Steady);
    for (about, options) in combinations().filter(|(_, options)| plain(options.scenario.work)) {
        let report = run(&options).unwrap_or_else(|error| panic!("{} {options:?}: {error}", about.name));
        let figures = report.to_json();
        assert_eq!(figures["messages"], FEW);
        assert!(figures["messages_per_s"].as_f64().unwrap() > 0.0, "{figures}");
        assert!(figures["disk_bytes"].as_u64().unwrap() > 0, "{figures}");
        assert!(figures["written_per_payload_byte"].as_f64().unwrap() > 0.5, "{figures}");
    }
}

#[test]
fn a_backlog_is_opened_and_drained() {
    for (about, options) in combinations().filter(|(_, options)| options.scenario.work == Work::Backlog) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_store-bench"));
        command.args(["--scenario", options.scenario.name, "--contender", about.name]);
        command.args(["--mode", options.mode.name(), "--messages", &FEW.to_string(), "--json"]);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{options:?}: {}", String::from_utf8_lossy(&done.stderr));
        let figures: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(figures["messages"], FEW);
        assert!(figures["open_s"].as_f64().unwrap() > 0.0, "{figures}");
        assert!(figures["first_delivery_s"].as_f64().unwrap() > 0.0, "{figures}");
    }
}

#[test]
fn old_telemetry_is_kept_small_and_delivered() {
    for (about, options) in combinations().filter(|(_, options)| options.scenario.work == Work::Keep) {
        let figures = run(&options).unwrap_or_else(|error| panic!("{options:?}: {error}")).to_json();
        assert_eq!(figures["messages"], FEW);
        let kept = figures["kept_per_payload_byte"].as_f64();
        assert_eq!(kept.is_some(), about.kind == Kind::Edgehub, "{figures}");
        assert!(kept.is_none_or(|kept| (0.01..0.6).contains(&kept)), "{figures}");
    }
}

#[test]
fn a_backlog_expires_beside_a_sender() {
    for (_, options) in combinations().filter(|(_, options)| options.scenario.work == Work::Expire) {
        let figures = run(&options).unwrap_or_else(|error| panic!("{options:?}: {error}")).to_json();
        assert_eq!(figures["messages"], FEW);
        for name in ["append_p50_s", "append_max_s", "expiring_append_p999_s", "expiring_append_max_s"] {
            assert!(figures[name].as_f64().unwrap() > 0.0, "{name}: {figures}");
        }
    }
}

#[test]
fn wrong_usage_has_its_own_status() {
    let status = |arguments: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_store-bench")).args(arguments).output().unwrap();
        done.status.code()
    };
    assert_eq!(status(&["--scenario", "x"]), Some(2));
    let missing = ["--scenario", "append_100B", "--contender", "edgehub", "--dir", "/nonexistent/folder"];
    assert_eq!(status(&missing), Some(1));
    assert_eq!(status(&["--list"]), Some(0));
}
