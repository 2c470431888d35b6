//! What routing costs: nanoseconds per message for 1, 10 and 100 routes, printed as a table.
//!
//! `cargo run --release --example route_cost`
//!
//! Every route is to an endpoint of its own and evaluates both of its clauses, with constants of its
//! own: `as_number(temperature) > k AND <name> = 'x'`, where the name is one of four properties or
//! one of four body paths. The best of several runs is taken.
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![allow(clippy::print_stdout, reason = "it prints its result")]
#![allow(clippy::expect_used, reason = "its routes are its own")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use edgehub_router::{Decisions, Lookup, MessageView, RouteDecl, RouteSet, Source};

const ROUTE_COUNTS: [usize; 3] = [1, 10, 100];
const ROUNDS: u32 = 200;
const MESSAGES: u32 = 2_000;

/// A message with its properties in a list, their keys in lower case, as the hub keeps them.
struct Message {
    application: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
}

impl MessageView for Message {
    fn application_property(&self, name: &str) -> Lookup<'_> {
        match self.application.iter().find(|(key, _)| *key == name) {
            Some((_, text)) => Lookup::Text(text),
            None => Lookup::Absent,
        }
    }

    fn system_property(&self, name: &str) -> Lookup<'_> {
        match name {
            "contenttype" => Lookup::Text("application/json"),
            "contentencoding" => Lookup::Text("utf-8"),
            _ => Lookup::Absent,
        }
    }

    fn body(&self) -> &[u8] {
        &self.body
    }
}

fn routes(count: usize, condition: impl Fn(usize) -> String) -> RouteSet {
    let decls: Vec<RouteDecl> = (0..count)
        .map(|i| {
            let sink = format!("BrokeredEndpoint(\"/modules/m{i}/inputs/in\")");
            RouteDecl::new(format!("r{i}"), format!("FROM /messages/* WHERE {} INTO {sink}", condition(i)))
        })
        .collect();
    RouteSet::compile("edge", &decls).expect("the routes are right")
}

fn ns_per_message(routes: &RouteSet, msg: &Message) -> f64 {
    let mut decisions = Decisions::new();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..MESSAGES {
            routes.evaluate(Source::Device, black_box(msg), &mut decisions);
            black_box(decisions.len());
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(MESSAGES));
    }
    best
}

fn row(name: &str, msg: &Message, condition: impl Fn(usize) -> String) {
    let cells: Vec<String> = ROUTE_COUNTS
        .iter()
        .map(|count| format!("{:>8.0}", ns_per_message(&routes(*count, &condition), msg)))
        .collect();
    println!("{name:<44}{}", cells.join(""));
}

/// A reading of the wanted size: the wanted paths are in it, the rest is filling.
fn body(bytes: usize) -> Vec<u8> {
    let head = r#"{"machine":{"id":"press-7","line":{"no":4,"site":"north"}},"temperature":31.5,"#;
    let tail = r#""state":"ok"}"#;
    let mut text = head.to_owned();
    let mut n = 0;
    while text.len() + tail.len() + 24 < bytes {
        write!(text, "\"sensor{n:03}\":{{\"v\":{n}.25}},").expect("writing to a string");
        n += 1;
    }
    text.push_str(tail);
    text.into_bytes()
}

fn main() {
    let application = vec![
        ("machine", "press-7"),
        ("line", "4"),
        ("site", "north"),
        ("state", "ok"),
        ("temperature", "31.5"),
    ];
    println!("{:<44}{:>8}{:>8}{:>8}", "ns/message, by number of routes", 1, 10, 100);
    let plain = Message { application: application.clone(), body: Vec::new() };
    row("no condition", &plain, |_| "true".to_owned());
    let number = |i: usize| format!("as_number(temperature) > {}", i % 30);
    row("one clause: number property", &plain, number);
    let names = ["machine", "line", "site", "state"];
    let both = |i: usize| format!("{} AND {} = 'x{i}'", number(i), names[i % 4]);
    row("two clauses: number and text property", &plain, both);
    let paths = ["machine.id", "machine.line.site", "state", "temperature"];
    for bytes in [181, 874] {
        let msg = Message { application: application.clone(), body: body(bytes) };
        let name = format!("two clauses: number property, body {} B", msg.body.len());
        row(&name, &msg, |i| format!("{} AND $body.{} = 'x{i}'", number(i), paths[i % 4]));
    }
}
