//! Why a message goes where it goes: the same evaluation, with every value on the way.

use crate::body::BodyState;
use crate::condition::Verdict;
use crate::error::TextRange;
use crate::lang::ast::{Infix, Node, NodeKind, Tree, operand_starts};
use crate::lang::check::{self, Options};
use crate::machine::{Buffers, Machine};
use crate::message::MessageView;
use crate::program::Builder;
use crate::set::compile::{CompiledRoute, RouteSet, parse};
use crate::set::decl::RouteDecl;
use crate::set::evaluate::{Decision, Decisions};
use crate::set::source::Source;
use crate::text::range_of;
use crate::value::Val;

/// What all routes make of one message. `Display` gives it as text for people,
/// [`Explanation::to_json`] for tools.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Path of the source that the message came from.
    pub source: String,
    /// Every route, in the order of declaration.
    pub routes: Vec<RouteExplanation>,
    /// What became of the body.
    pub body: BodyState,
    /// Where the message goes.
    pub decisions: Vec<Decision>,
}

/// What one route makes of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteExplanation {
    /// Name of the route; its place here is its place in the declaration.
    pub name: String,
    /// Its source as written, without blanks and comments.
    pub source: String,
    /// Id of the endpoint that it leads to.
    pub endpoint: String,
    /// Its priority: 0 (highest) to 9, or [`crate::PRIORITY_DEFAULT`].
    pub priority: u32,
    /// Its time to live in seconds; 0 takes the setting of the hub.
    pub ttl_secs: u32,
    /// Whether and why the route counts.
    pub outcome: Outcome,
    /// The condition's verdict; `None` if the source did not match and it was not looked at.
    pub verdict: Option<Verdict>,
    /// The parts of the condition that were evaluated, innermost first; none without a `WHERE`.
    pub parts: Vec<Part>,
    /// Place in `parts` of the first clause that decided: one that is not true in a condition that
    /// does not hold, one that is true among alternatives.
    pub deciding: Option<usize>,
}

/// Whether a route counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The route takes messages from other sources.
    OtherSource,
    /// The condition is false or undefined.
    NoMatch,
    /// The message takes this route.
    Chosen,
    /// It matches, but a route to the same endpoint has a better priority or is declared before.
    Outranked {
        /// Place of that route in the declaration.
        by: usize,
    },
}

/// A part of a condition and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its text.
    pub text: String,
    /// Where it is in the route text.
    pub range: TextRange,
    /// Levels below the whole condition, which has depth 0.
    pub depth: u32,
    /// Whether it is written out, so that its value tells nothing new: a number, a text, `true`.
    pub literal: bool,
    /// Its value.
    pub value: Value,
}

/// A value within a condition.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing that could be compared.
    Undefined,
    /// Null.
    Null,
    /// A body path that leads nowhere, which counts as null.
    MissingPath,
    /// A property that holds no text.
    NullProperty,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl RouteExplanation {
    /// Whether the route takes messages from the source.
    pub fn source_matches(&self) -> bool {
        self.outcome != Outcome::OtherSource
    }
}

impl RouteSet {
    /// Evaluates like [`RouteSet::evaluate`] and tells why. For people and tools: it compiles anew
    /// and allocates.
    pub fn explain<M: MessageView + ?Sized>(&self, source: Source<'_>, msg: &M) -> Explanation {
        let mut decisions = Decisions::new();
        self.evaluate(source, msg, &mut decisions);
        let mut body = BodyState::Unread;
        let mut in_order: Vec<&CompiledRoute> = self.routes.iter().collect();
        in_order.sort_by_key(|route| route.index);
        let explain = |route: &&CompiledRoute| {
            let matches = self.patterns.get(route.index as usize).is_some_and(|p| p.matches(source));
            let traced = matches.then(|| self.trace(route, msg));
            let outcome = outcome(route, traced.as_ref().map(|t| t.verdict), decisions.as_slice(), self);
            let traced = traced.unwrap_or_default();
            if traced.body != BodyState::Unread {
                body = traced.body;
            }
            let verdict = matches.then_some(traced.verdict);
            let Trace { parts, deciding, .. } = traced;
            RouteExplanation { outcome, verdict, parts, deciding, ..self.facts(route) }
        };
        let routes = in_order.iter().map(explain).collect();
        Explanation { source: path_of(source), routes, body, decisions: decisions.as_slice().to_vec() }
    }

    /// What is the same for every message.
    fn facts(&self, route: &CompiledRoute) -> RouteExplanation {
        let unknown = RouteDecl::default();
        let decl = self.decl_of(route).unwrap_or(&unknown);
        let endpoint = self.endpoints.get(route.endpoint as usize);
        RouteExplanation {
            name: decl.name.clone(),
            source: parse(&decl.text).map(|text| text.source).unwrap_or_default(),
            endpoint: endpoint.map_or_else(String::new, |endpoint| endpoint.id.clone()),
            priority: decl.priority(),
            ttl_secs: decl.ttl_secs,
            outcome: Outcome::OtherSource,
            verdict: None,
            parts: Vec::new(),
            deciding: None,
        }
    }

    fn decl_of(&self, route: &CompiledRoute) -> Option<&RouteDecl> {
        self.decls.get(route.index as usize)
    }

    fn trace<M: MessageView + ?Sized>(&self, route: &CompiledRoute, msg: &M) -> Trace {
        let always = Trace { verdict: Verdict::True, ..Trace::default() };
        let Some(decl) = self.decl_of(route) else { return always };
        match parse(&decl.text).ok().and_then(|text| text.condition) {
            Some(tree) => Trace::of(&tree, &decl.text, msg).unwrap_or(always),
            None => always,
        }
    }
}

fn outcome(
    route: &CompiledRoute,
    verdict: Option<Verdict>,
    decisions: &[Decision],
    set: &RouteSet,
) -> Outcome {
    let endpoint = |decision: &&Decision| decision.endpoint_index == route.endpoint;
    match (verdict, decisions.iter().find(endpoint)) {
        (None, _) => Outcome::OtherSource,
        (Some(Verdict::True), Some(decision)) if decision.route_index == route.index => Outcome::Chosen,
        (Some(Verdict::True), Some(decision)) => {
            Outcome::Outranked { by: (decision.route_index as usize).min(set.decls.len()) }
        }
        _ => Outcome::NoMatch,
    }
}

/// One condition evaluated with every value recorded.
struct Trace {
    verdict: Verdict,
    parts: Vec<Part>,
    deciding: Option<usize>,
    body: BodyState,
}

impl Default for Trace {
    fn default() -> Self {
        Trace { verdict: Verdict::Undefined, parts: Vec::new(), deciding: None, body: BodyState::Unread }
    }
}

impl Trace {
    /// `None` if the condition does not compile, which a compiled route's always does.
    fn of<M: MessageView + ?Sized>(tree: &Tree, text: &str, msg: &M) -> Option<Trace> {
        let mut builder = Builder::default();
        let options = Options { twin_change_includes: false, tracing: true };
        let routine = check::compile(tree, text, options, &mut builder).ok()?;
        let mut buffers = Buffers::default();
        let mut machine = Machine::new(&builder.program, msg, &mut buffers);
        let verdict = machine.run(routine);
        let values = machine.take_trace();
        let depths = depths(&tree.nodes);
        let part = |(node, value): &(u32, Val<'_>)| {
            let depth = depths.get(*node as usize).copied().unwrap_or(0);
            let node = tree.nodes.get(*node as usize)?;
            Some(part(node, depth, text, value_of(*value, machine.text(*value))))
        };
        let parts: Vec<Part> = values.iter().filter_map(part).collect();
        let deciding = deciding(&tree.nodes, &values);
        let place = values.iter().position(|(node, _)| deciding == Some(*node as usize));
        Some(Trace { verdict, parts, deciding: place, body: machine.body_state() })
    }
}

fn part(node: &Node, depth: u32, text: &str, value: Value) -> Part {
    Part {
        text: text.get(node.start..node.end).unwrap_or("").to_owned(),
        range: range_of(text, node.start, node.end - node.start),
        depth,
        literal: is_literal(node.kind),
        value,
    }
}

fn is_literal(kind: NodeKind) -> bool {
    use NodeKind::{False, Hex, Integer, Null, Real, Text, True, Undefined};
    matches!(kind, Text | Integer | Hex | Real | True | False | Null | Undefined)
}

/// Levels of each node below the root, which is the last one.
fn depths(nodes: &[Node]) -> Vec<u32> {
    let mut depths = vec![0; nodes.len()];
    // From the root down: the nodes that wait for their parents' depth, deepest last.
    let mut waiting = vec![0];
    for (depth, node) in depths.iter_mut().zip(nodes).rev() {
        *depth = waiting.pop().unwrap_or(0);
        waiting.extend(std::iter::repeat_n(*depth + 1, node.kind.arity()));
    }
    depths
}

/// The path that a source stands for (routing section 1.3).
fn path_of(source: Source<'_>) -> String {
    match source {
        Source::Device => "/messages/".to_owned(),
        Source::Module { module, output: None } => format!("/messages/modules/{module}/"),
        Source::Module { module, output: Some(output) } => {
            format!("/messages/modules/{module}/outputs/{output}/")
        }
        Source::TwinChange => "/twinChangeNotifications/".to_owned(),
        Source::Path(path) => path.to_owned(),
    }
}

fn value_of(value: Val<'_>, text: Option<&str>) -> Value {
    match value {
        Val::Undefined | Val::Composite => Value::Undefined,
        Val::Null => Value::Null,
        Val::Missing => Value::MissingPath,
        Val::NullText => Value::NullProperty,
        Val::Bool(b) => Value::Bool(b),
        Val::Num(n) => Value::Number(n),
        Val::Text(_) | Val::Built(_) => Value::Text(text.unwrap_or("").to_owned()),
    }
}

/// The node that decided: from the root, down into the first operand of an `AND` that is as untrue
/// as the whole, or of an `OR` that is true.
fn deciding(nodes: &[Node], values: &[(u32, Val<'_>)]) -> Option<usize> {
    let starts = operand_starts(nodes);
    let verdict = |node: usize| {
        let value = values.iter().find(|(n, _)| *n as usize == node);
        value.and_then(|(_, value)| value.as_bool())
    };
    let mut at = nodes.len().checked_sub(1)?;
    loop {
        let whole = verdict(at);
        let splits = match nodes.get(at)?.kind {
            NodeKind::Infix(Infix::And) => whole != Some(true),
            NodeKind::Infix(Infix::Or) => whole == Some(true),
            _ => false,
        };
        if !splits {
            return Some(at);
        }
        let right = at.checked_sub(1)?;
        let left = starts.get(right)?.checked_sub(1)?;
        match [left, right].into_iter().find(|operand| verdict(*operand) == whole) {
            Some(operand) => at = operand,
            None => return Some(at),
        }
    }
}
