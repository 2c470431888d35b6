//! Command line.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::BenchError;
use crate::contender::{About, CONTENDERS, Kind, Mode};
use crate::scenario::{SCENARIOS, Scenario, Work, find};

/// Far more than a run needs; keeps the arithmetic of times and bytes safe.
const MESSAGES_MAX: u64 = 1_000_000_000;

/// What to do.
#[derive(Debug, Clone)]
pub enum Command {
    /// Measure, and print the result as JSON or as lines of text.
    Run(RunOptions, Format),
    /// Fill the store of a backlog and end.
    Fill(RunOptions),
    /// Print scenarios and contenders as JSON.
    List,
    /// Print this text.
    Help(String),
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// A line for each figure.
    Text,
}

/// One run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// What is done.
    pub scenario: &'static Scenario,
    /// With which store.
    pub kind: Kind,
    /// Used how.
    pub mode: Mode,
    /// With how many messages.
    pub messages: u64,
    /// Where; decides which disk is measured.
    pub folder: PathBuf,
}

const HELP: &str = "\
store-bench: one scenario with one store; --list tells scenarios and stores as JSON

usage: store-bench --scenario NAME --contender NAME [options]

  --mode NAME     how the store is used (its first mode)
  --messages N    number of messages (the scenario's)
  --dir DIR       folder on the disk to be measured; a new one is made in it and removed (the temporary folder)
  --json          print the result as JSON
  --fill-only     open_backlog: make the store in DIR itself, leave it there and end

Exit status: 0 = measured and all messages delivered right; 1 = not; 2 = wrong usage.

";

/// Reads the arguments after the program's name.
///
/// # Errors
/// [`BenchError::Usage`], [`BenchError::NotBuilt`].
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, BenchError> {
    let mut given = Given::default();
    let mut arguments = arguments.into_iter();
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--list" => return Ok(Command::List),
            "--help" => return Ok(Command::Help(help())),
            "--json" => given.json = true,
            "--fill-only" => given.fill_only = true,
            _ => given.take(&name, arguments.next())?,
        }
    }
    given.finish()
}

fn usage(problem: String) -> BenchError {
    BenchError::Usage(problem)
}

fn one_of(what: &str, value: Option<&str>, known: &[&str]) -> BenchError {
    let given = value.map_or_else(|| "is missing".to_owned(), |value| format!("{value:?} is unknown"));
    usage(format!("{what} {given}; expected one of {}", known.join(", ")))
}

fn help() -> String {
    let mut text = HELP.to_owned();
    for About { name, modes, built, .. } in &CONTENDERS {
        let modes: Vec<&str> = modes.iter().map(|mode| mode.name()).collect();
        let missing = if *built { "" } else { " (not built in)" };
        let _ = writeln!(text, "  {name}{missing}: {}", modes.join(", "));
    }
    text
}

#[derive(Default)]
struct Given {
    scenario: Option<String>,
    contender: Option<String>,
    mode: Option<String>,
    messages: Option<String>,
    folder: Option<String>,
    json: bool,
    fill_only: bool,
}

impl Given {
    fn take(&mut self, name: &str, value: Option<String>) -> Result<(), BenchError> {
        let place = match name {
            "--scenario" => &mut self.scenario,
            "--contender" => &mut self.contender,
            "--mode" => &mut self.mode,
            "--messages" => &mut self.messages,
            "--dir" => &mut self.folder,
            _ => return Err(usage(format!("unknown option {name:?}; --help tells them all"))),
        };
        *place = Some(value.ok_or_else(|| usage(format!("{name} needs a value")))?);
        Ok(())
    }

    fn scenario(&self) -> Result<&'static Scenario, BenchError> {
        let known = SCENARIOS.map(|scenario| scenario.name);
        let name = self.scenario.as_deref();
        name.and_then(find).ok_or_else(|| one_of("--scenario", name, &known))
    }

    fn contender(&self) -> Result<&'static About, BenchError> {
        let name = self.contender.as_deref();
        let found = CONTENDERS.iter().find(|about| Some(about.name) == name);
        let about = found.ok_or_else(|| one_of("--contender", name, &CONTENDERS.map(|about| about.name)))?;
        if about.built { Ok(about) } else { Err(BenchError::NotBuilt { contender: about.name }) }
    }

    fn mode(&self, about: &About) -> Result<Mode, BenchError> {
        let name = self.mode.as_deref();
        let known: Vec<&str> = about.modes.iter().map(|mode| mode.name()).collect();
        let found = match name {
            None => about.modes.first(),
            Some(name) => about.modes.iter().find(|mode| mode.name() == name),
        };
        found.copied().ok_or_else(|| one_of("--mode", name, &known))
    }

    fn messages(&self, scenario: &Scenario) -> Result<u64, BenchError> {
        let Some(text) = &self.messages else { return Ok(scenario.messages) };
        let found = text.parse().ok().filter(|count| (1..=MESSAGES_MAX).contains(count));
        found.ok_or_else(|| usage(format!("--messages {text:?} is not a number from 1 to {MESSAGES_MAX}")))
    }

    fn finish(self) -> Result<Command, BenchError> {
        let (scenario, about) = (self.scenario()?, self.contender()?);
        let (mode, messages) = (self.mode(about)?, self.messages(scenario)?);
        if scenario.work.is_own() && about.kind != Kind::Edgehub {
            return Err(usage(format!("--scenario {} goes with --contender edgehub", scenario.name)));
        }
        if self.fill_only && (scenario.work != Work::Backlog || self.folder.is_none()) {
            return Err(usage("--fill-only goes with --scenario open_backlog and --dir".to_owned()));
        }
        let folder = self.folder.map_or_else(std::env::temp_dir, PathBuf::from);
        let options = RunOptions { scenario, kind: about.kind, mode, messages, folder };
        let format = if self.json { Format::Json } else { Format::Text };
        Ok(if self.fill_only { Command::Fill(options) } else { Command::Run(options, format) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, BenchError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_run_has_defaults() {
        let Ok(Command::Run(options, Format::Text)) = parsed("--scenario append_100B --contender edgehub")
        else {
            panic!("expected a run")
        };
        assert_eq!((options.mode, options.messages), (Mode::None, 5_000_000));
        assert_eq!(options.folder, std::env::temp_dir());
    }

    #[test]
    fn everything_can_be_told() {
        let line = "--scenario open_backlog --contender edgehub --mode group --messages 7 --dir /x --json";
        let Ok(Command::Run(options, Format::Json)) = parsed(line) else { panic!("expected a run") };
        assert_eq!((options.mode, options.messages), (Mode::Group, 7));
        assert_eq!(options.folder, PathBuf::from("/x"));
        assert!(matches!(parsed(&format!("{line} --fill-only")), Ok(Command::Fill(_))));
        assert!(matches!(parsed("--list"), Ok(Command::List)));
        assert!(matches!(parsed("--help"), Ok(Command::Help(text)) if text.contains("edgehub: none")));
    }

    #[test]
    fn mistakes_are_told() {
        let run = "--scenario append_100B --contender edgehub";
        for (line, told) in [
            (String::new(), "--scenario is missing; expected one of append_100B"),
            ("--scenario x --contender edgehub".to_owned(), "\"x\" is unknown"),
            ("--scenario append_100B --contender x".to_owned(), "expected one of edgehub, rocksdb, sqlite"),
            (format!("{run} --mode put"), "expected one of none, interval, group"),
            (format!("{run} --messages 0"), "not a number from 1 to"),
            (format!("{run} --messages"), "--messages needs a value"),
            (format!("{run} --speed 1"), "unknown option"),
            (format!("{run} --fill-only"), "goes with --scenario open_backlog"),
            #[cfg(feature = "sqlite")]
            ("--scenario ttl --contender sqlite".to_owned(), "goes with --contender edgehub"),
        ] {
            let error = parsed(&line).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
