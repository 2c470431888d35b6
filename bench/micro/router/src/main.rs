//! Runs one scenario a given number of times, for counting its instructions.
//!
//! `router-scenario NAME STEPS`, or `router-scenario --list` for all scenarios as JSON.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::process::ExitCode;

use edgehub_bench_router::{SCENARIOS, find};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match given.as_slice() {
        ["--list"] => {
            println!("{}", list());
            ExitCode::SUCCESS
        }
        [name, steps] => match (find(name), steps.parse()) {
            (Some(scenario), Ok(steps)) => {
                scenario.prepare().run(steps);
                ExitCode::SUCCESS
            }
            (None, _) => usage(&format!("no scenario '{name}'; --list tells them all")),
            (_, Err(_)) => usage(&format!("STEPS is a number, not '{steps}'")),
        },
        _ => usage("expected NAME STEPS, or --list"),
    }
}

fn list() -> Value {
    let scenarios = SCENARIOS.iter();
    scenarios.map(|s| json!({"name": s.name, "bar_ns": s.bar_ns, "counted": s.counted})).collect()
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("router-scenario: {problem}");
    ExitCode::from(2)
}
