//! The scenarios by name.

use std::hint::black_box;

use edgehub_router::{Decisions, EncodedMessages, MessageView, RouteDecl, RouteSet, Source};

use crate::message::{Message, encoded, messages};
use crate::rules::{Shape, compile, declare};

/// What one step of a scenario does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Finds the endpoints of one message.
    Evaluate {
        /// Form of the conditions.
        shape: Shape,
        /// Number of routes.
        routes: usize,
        /// Modules that the routes take from by turns; 0 for all telemetry.
        sources: usize,
        /// Bytes of the body, about.
        body_bytes: usize,
    },
    /// Reads the next message of a flat run of encoded ones and finds its endpoints.
    EvaluateEncoded {
        /// Form of the conditions.
        shape: Shape,
        /// Number of routes.
        routes: usize,
        /// Bytes of the body, about.
        body_bytes: usize,
    },
    /// Compiles a set of routes with two clauses each.
    Compile {
        /// Number of routes.
        routes: usize,
    },
    /// Parses one body with `serde_json`, as a measure to compare with.
    SerdeJson {
        /// Bytes of the body, about.
        body_bytes: usize,
    },
}

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Name, also that of its criterion bench.
    pub name: &'static str,
    /// Nanoseconds that one step may take; `None` for what is only shown.
    pub bar_ns: Option<u32>,
    /// Whether its instructions are counted too.
    pub counted: bool,
    /// What it does.
    pub work: Work,
}

const fn on_properties(name: &'static str, bar_ns: Option<u32>, shape: Shape, routes: usize) -> Scenario {
    let work = Work::Evaluate { shape, routes, sources: 0, body_bytes: 100 };
    Scenario { name, bar_ns, counted: true, work }
}

const fn on_body(
    name: &'static str,
    bar_ns: Option<u32>,
    shape: Shape,
    routes: usize,
    body_bytes: usize,
) -> Scenario {
    let work = Work::Evaluate { shape, routes, sources: 0, body_bytes };
    Scenario { name, bar_ns, counted: true, work }
}

const fn by_source(name: &'static str, bar_ns: u32, routes: usize, sources: usize) -> Scenario {
    let work = Work::Evaluate { shape: Shape::TwoClauses, routes, sources, body_bytes: 100 };
    Scenario { name, bar_ns: Some(bar_ns), counted: true, work }
}

const fn on_encoded(name: &'static str, shape: Shape, routes: usize) -> Scenario {
    let work = Work::EvaluateEncoded { shape, routes, body_bytes: 100 };
    Scenario { name, bar_ns: None, counted: true, work }
}

const fn compiling(name: &'static str, bar_ns: u32, routes: usize) -> Scenario {
    Scenario { name, bar_ns: Some(bar_ns), counted: false, work: Work::Compile { routes } }
}

const fn serde(name: &'static str, body_bytes: usize) -> Scenario {
    Scenario { name, bar_ns: None, counted: false, work: Work::SerdeJson { body_bytes } }
}

const ONE_NS: Option<u32> = Some(60);
const TEN_NS: Option<u32> = Some(150);
const HUNDRED_NS: Option<u32> = Some(1_200);

/// All scenarios. Steps are one message, but for compiling.
pub const SCENARIOS: [Scenario; 34] = [
    on_properties("always/1", ONE_NS, Shape::Always, 1),
    on_properties("always/10", TEN_NS, Shape::Always, 10),
    on_properties("always/100", HUNDRED_NS, Shape::Always, 100),
    on_properties("two_clauses/1", ONE_NS, Shape::TwoClauses, 1),
    on_properties("two_clauses/10", TEN_NS, Shape::TwoClauses, 10),
    on_properties("two_clauses/100", HUNDRED_NS, Shape::TwoClauses, 100),
    by_source("two_clauses/10_of_1000", 250, 1_000, 100),
    on_properties("one_number/1", ONE_NS, Shape::OneNumber, 1),
    on_properties("one_number/10", TEN_NS, Shape::OneNumber, 10),
    on_properties("one_number/100", HUNDRED_NS, Shape::OneNumber, 100),
    on_properties("kind/1", ONE_NS, Shape::Kind, 1),
    on_properties("kind/10", TEN_NS, Shape::Kind, 10),
    on_properties("kind/100", HUNDRED_NS, Shape::Kind, 100),
    on_properties("kind/1000", None, Shape::Kind, 1_000),
    on_properties("either/1", ONE_NS, Shape::Either, 1),
    on_properties("either/10", TEN_NS, Shape::Either, 10),
    on_properties("either/100", HUNDRED_NS, Shape::Either, 100),
    on_properties("identical/10", TEN_NS, Shape::Identical, 10),
    on_properties("identical/100", HUNDRED_NS, Shape::Identical, 100),
    on_body("body_180B/1", Some(150), Shape::Body, 1, 180),
    on_body("body_180B/10_paths_10", None, Shape::Body, 10, 180),
    on_body("body_180B/10_paths_100", Some(2_500), Shape::Body, 100, 180),
    on_body("body_900B/1", Some(900), Shape::Body, 1, 900),
    on_body("body_900B/10_paths_100", None, Shape::Body, 100, 900),
    on_body("property_and_body_180B/1", None, Shape::PropertyAndBody, 1, 180),
    on_body("property_and_body_180B/10", None, Shape::PropertyAndBody, 10, 180),
    on_body("property_and_body_180B/100", None, Shape::PropertyAndBody, 100, 180),
    on_encoded("encoded_two_clauses/1", Shape::TwoClauses, 1),
    on_encoded("encoded_two_clauses/10", Shape::TwoClauses, 10),
    on_encoded("encoded_two_clauses/100", Shape::TwoClauses, 100),
    serde("serde_json_180B", 180),
    serde("serde_json_900B", 900),
    compiling("compile/100", 5_000_000, 100),
    compiling("compile/1000", 50_000_000, 1_000),
];

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// A scenario with everything made that its steps do not pay for.
#[derive(Debug)]
pub struct Prepared {
    messages: Vec<Message>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Evaluate(Box<Evaluation>, Source<'static>),
    EvaluateEncoded(Box<Evaluation>, Vec<u8>),
    Compile(Vec<RouteDecl>),
    SerdeJson,
}

/// Routes, and the buffers for one message after another.
#[derive(Debug)]
struct Evaluation {
    routes: RouteSet,
    decisions: Decisions,
}

impl Evaluation {
    fn of(shape: Shape, routes: usize, sources: usize) -> Box<Self> {
        let routes = compile(&declare(shape, routes, sources));
        Box::new(Evaluation { routes, decisions: Decisions::new() })
    }

    /// Evaluates one message; the number of its endpoints.
    #[inline]
    fn step(&mut self, source: Source<'_>, msg: &impl MessageView) -> usize {
        self.routes.evaluate(black_box(source), black_box(msg), &mut self.decisions);
        black_box(self.decisions.len())
    }
}

impl Scenario {
    /// Makes routes, messages and buffers.
    pub fn prepare(&self) -> Prepared {
        match self.work {
            Work::Evaluate { shape, routes, sources, body_bytes } => {
                let source = match sources {
                    0 => Source::Device,
                    _ => Source::Module { module: "source0", output: Some("out") },
                };
                let step = Step::Evaluate(Evaluation::of(shape, routes, sources), source);
                Prepared { messages: messages(body_bytes), step }
            }
            Work::EvaluateEncoded { shape, routes, body_bytes } => {
                let messages = messages(body_bytes);
                let step = Step::EvaluateEncoded(Evaluation::of(shape, routes, 0), encoded(&messages));
                Prepared { messages, step }
            }
            Work::Compile { routes } => Prepared {
                messages: messages(100),
                step: Step::Compile(declare(Shape::TwoClauses, routes, 0)),
            },
            Work::SerdeJson { body_bytes } => {
                Prepared { messages: messages(body_bytes), step: Step::SerdeJson }
            }
        }
    }
}

impl Prepared {
    /// Does `steps` steps, going round in the messages.
    ///
    /// Not inlined: callgrind counts what happens in here.
    #[inline(never)]
    pub fn run(&mut self, steps: u64) {
        let messages = self.messages.iter().cycle();
        let messages = (0..steps).zip(messages).map(|(_, msg)| msg);
        match &mut self.step {
            Step::Evaluate(evaluation, source) => {
                for msg in messages {
                    evaluation.step(*source, msg);
                }
            }
            Step::EvaluateEncoded(evaluation, data) => {
                let round = std::iter::repeat(&*data).flat_map(|data| EncodedMessages::new(data));
                for msg in (0..steps).zip(round).filter_map(|(_, msg)| msg.ok()) {
                    evaluation.step(msg.source(), &msg);
                }
            }
            Step::Compile(decls) => messages.for_each(|_| drop(black_box(compile(black_box(decls))))),
            Step::SerdeJson => {
                for msg in messages {
                    drop(black_box(serde_json::from_slice::<serde_json::Value>(black_box(msg.body()))));
                }
            }
        }
    }

    /// How many endpoints each message goes to; empty if the scenario evaluates none.
    pub fn matches(&mut self) -> Vec<usize> {
        match &mut self.step {
            Step::Evaluate(evaluation, source) => {
                self.messages.iter().map(|msg| evaluation.step(*source, msg)).collect()
            }
            Step::EvaluateEncoded(evaluation, data) => {
                let messages = EncodedMessages::new(data).filter_map(Result::ok);
                messages.map(|msg| evaluation.step(msg.source(), &msg)).collect()
            }
            Step::Compile(_) | Step::SerdeJson => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(name: &str) -> Vec<usize> {
        find(name).unwrap().prepare().matches()
    }

    #[test]
    fn names_are_unique() {
        for (i, scenario) in SCENARIOS.iter().enumerate() {
            assert!(!SCENARIOS[..i].iter().any(|other| other.name == scenario.name), "{}", scenario.name);
        }
    }

    #[test]
    fn every_scenario_runs() {
        for scenario in &SCENARIOS {
            scenario.prepare().run(3);
        }
    }

    #[test]
    fn messages_match_what_the_shapes_say() {
        assert_eq!(matches("always/100"), [100; 16]);
        assert_eq!(matches("identical/100"), [100; 16]);
        // Every fourth route asks for `machine`, and one of these for the value of the message.
        let fourth = |i: usize| usize::from(i.is_multiple_of(4));
        assert_eq!(matches("two_clauses/100"), (0..16).map(fourth).collect::<Vec<_>>());
        assert_eq!(matches("encoded_two_clauses/100"), matches("two_clauses/100"));
        assert_eq!(matches("either/100"), (0..16).map(fourth).collect::<Vec<_>>());
        assert_eq!(matches("kind/1000"), [1; 16]);
        // temperature is 31.5 and up, one degree per message
        assert_eq!(matches("one_number/100"), (32..48).collect::<Vec<_>>());
        assert_eq!(matches("body_180B/1")[..2], [1, 0]);
    }

    #[test]
    fn only_routes_of_the_source_are_met() {
        let first_ten = |i: usize| usize::from(i < 10 && i.is_multiple_of(4));
        assert_eq!(matches("two_clauses/10_of_1000"), (0..16).map(first_ten).collect::<Vec<_>>());
    }
}
