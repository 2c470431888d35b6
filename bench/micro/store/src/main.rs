//! `store-bench`: one scenario with one store; `store-bench --help` has the options.

use std::io::Write;
use std::process::ExitCode;

use edgehub_bench_store::{BenchError, Command, Format, fill_backlog, listing, parse, run};

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(execute) {
        Ok(text) => say(&text),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "store-bench: {error}");
            ExitCode::from(if matches!(error, BenchError::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// Does what was asked; gives what is to be printed.
fn execute(command: Command) -> Result<String, BenchError> {
    match command {
        Command::Help(text) => Ok(text),
        Command::List => Ok(format!("{}\n", listing())),
        Command::Fill(options) => fill_backlog(&options).map(|()| String::new()),
        Command::Run(options, Format::Json) => Ok(format!("{}\n", run(&options)?.to_json())),
        Command::Run(options, Format::Text) => Ok(run(&options)?.to_text()),
    }
}

fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Who closed the pipe does not want the rest.
        Err(_) => ExitCode::FAILURE,
    }
}
