//! `edgehub-load`: MQTT load generator that counts what is delivered.
//!
//! `edgehub-load --help` has the options and examples; README.md beside it has the method.

mod cli;
mod client;
mod clients;
mod clock;
mod config;
mod conn;
mod connects;
mod error;
mod hold;
mod latency;
mod limits;
mod mirror;
mod payload;
mod procfs;
mod publisher;
mod report;
mod run;
mod sequence;
mod subscriber;
mod swarm;
mod tally;
mod target;
mod tls;
mod transport;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use crate::cli::Command;
use crate::config::RunConfig;
use crate::error::LoadError;
use crate::mirror::Mirror;
use crate::report::Report;

fn main() -> ExitCode {
    match cli::parse(std::env::args().skip(1)).and_then(|command| execute(&command)) {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            complain(&format!("the result has problems: {}", problems.join(", ")));
            ExitCode::from(1)
        }
        Err(err @ LoadError::Usage(_)) => {
            complain(&err.to_string());
            ExitCode::from(2)
        }
        Err(err) => {
            complain(&err.to_string());
            ExitCode::from(1)
        }
    }
}

/// Does what was asked; gives the problems of the result.
fn execute(command: &Command) -> Result<Vec<String>, LoadError> {
    match command {
        Command::Help(text) => say(text),
        Command::Mirror { port } => serve_mirror(*port)?,
        Command::Run(config) => return load(config),
        Command::Hold(config) => {
            let outcome = hold::hold(config)?;
            say(&outcome.to_text(config));
            write_json(config.run.json.as_deref(), &outcome.to_json(config))?;
        }
        Command::Connects(config) => {
            let outcome = connects::connects(config)?;
            say(&outcome.to_text(config));
            write_json(config.run.json.as_deref(), &outcome.to_json(config))?;
            return Ok(outcome.problems());
        }
    }
    Ok(Vec::new())
}

fn load(config: &RunConfig) -> Result<Vec<String>, LoadError> {
    let outcome = run::run(config)?;
    let report = Report::new(config, &outcome);
    say(&report.to_text());
    write_json(config.json.as_deref(), &report.to_json())?;
    Ok(report.problems())
}

fn write_json(path: Option<&Path>, result: &Value) -> Result<(), LoadError> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, format!("{result:#}\n"))
        .map_err(|source| LoadError::File { path: path.to_owned(), source })
}

fn serve_mirror(port: u16) -> Result<(), LoadError> {
    let failed = |source| LoadError::System { what: "mirror", source };
    let mut mirror = Mirror::bind(port).map_err(failed)?;
    say(&format!("listening on 127.0.0.1:{}\n", mirror.port().map_err(failed)?));
    mirror.serve().map_err(failed)
}

/// Writes to standard output; a closed pipe is not worth a failure of the measurement.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "edgehub-load: {text}");
}
