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
use crate::text::Ruler;
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
    /// Its text; what is beyond [`EXPLAINED_TEXT_BYTES_MAX`] is cut off.
    pub text: String,
    /// Where it is in the route text.
    pub range: TextRange,
    /// Levels below the whole condition, which has depth 0. Operands of one chain, as in `a AND b AND
    /// c`, are on one level.
    pub depth: u32,
    /// Whether it is the beginning of a chain, such as `a AND b` in `a AND b AND c`.
    pub chained: bool,
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
    /// A text; what is beyond [`EXPLAINED_TEXT_BYTES_MAX`] is cut off.
    Text(String),
}

/// Bytes of a part's text or value that an explanation repeats. A long condition has as many parts as
/// words, and each may be a long text.
pub const EXPLAINED_TEXT_BYTES_MAX: usize = 1024;

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
        let starts = operand_starts(&tree.nodes);
        let levels = levels(&tree.nodes, &starts);
        let ruler = Ruler::new(text);
        let part = |(node, value): &(u32, Val<'_>)| {
            let level = levels.get(*node as usize).copied().unwrap_or_default();
            let node = tree.nodes.get(*node as usize)?;
            Some(part(node, level, &ruler, value_of(*value, machine.text(*value))))
        };
        let parts: Vec<Part> = values.iter().filter_map(part).collect();
        let deciding = deciding(&tree.nodes, &starts, &values);
        let place = values.iter().position(|(node, _)| deciding == Some(*node as usize));
        Some(Trace { verdict, parts, deciding: place, body: machine.body_state() })
    }
}

fn part(node: &Node, level: Level, ruler: &Ruler<'_>, value: Value) -> Part {
    Part {
        text: clipped(ruler.text().get(node.start..node.end).unwrap_or("")),
        range: ruler.range(node.start, node.end - node.start),
        depth: level.depth,
        chained: level.chained,
        literal: is_literal(node.kind),
        value,
    }
}

fn clipped(text: &str) -> String {
    let mut end = text.len().min(EXPLAINED_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("").to_owned()
}

fn is_literal(kind: NodeKind) -> bool {
    use NodeKind::{False, Hex, Integer, Null, Real, Text, True, Undefined};
    matches!(kind, Text | Integer | Hex | Real | True | False | Null | Undefined)
}

/// Where a node stands below the root.
#[derive(Clone, Copy, Default)]
struct Level {
    depth: u32,
    chained: bool,
}

/// The levels of all nodes; the root is the last one.
fn levels(nodes: &[Node], starts: &[usize]) -> Vec<Level> {
    let mut levels = vec![Level::default(); nodes.len()];
    // From the root down: what the operands of the nodes seen so far get, the next one last.
    let mut waiting = vec![Level::default()];
    for (index, node) in nodes.iter().enumerate().rev() {
        let level = waiting.pop().unwrap_or_default();
        let below = Level { depth: level.depth + 1, chained: false };
        waiting.extend(std::iter::repeat_n(below, node.kind.arity()));
        let left = left_operand(node, index, starts);
        if left.and_then(|left| nodes.get(left)).is_some_and(|left| left.kind == node.kind) {
            let first = waiting.len().saturating_sub(2);
            if let Some(operand) = waiting.get_mut(first) {
                *operand = Level { depth: level.depth, chained: true };
            }
        }
        if let Some(place) = levels.get_mut(index) {
            *place = level;
        }
    }
    levels
}

/// The left operand of an infix operator.
fn left_operand(node: &Node, index: usize, starts: &[usize]) -> Option<usize> {
    let infix = matches!(node.kind, NodeKind::Infix(_));
    let right = index.checked_sub(1).filter(|_| infix)?;
    starts.get(right)?.checked_sub(1)
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
        Val::Text(_) | Val::Built(_) => Value::Text(clipped(text.unwrap_or(""))),
    }
}

/// The node that decided: from the root, down into the first operand of an `AND` that is as untrue
/// as the whole, or of an `OR` that is true.
fn deciding(nodes: &[Node], starts: &[usize], values: &[(u32, Val<'_>)]) -> Option<usize> {
    // Values are recorded in the order of the nodes.
    let verdict = |node: usize| {
        let place = values.binary_search_by_key(&node, |(node, _)| *node as usize).ok()?;
        values.get(place).and_then(|(_, value)| value.as_bool())
    };
    let mut at = nodes.len().checked_sub(1)?;
    loop {
        let whole = verdict(at);
        let node = nodes.get(at)?;
        let splits = match node.kind {
            NodeKind::Infix(Infix::And) => whole != Some(true),
            NodeKind::Infix(Infix::Or) => whole == Some(true),
            _ => false,
        };
        if !splits {
            return Some(at);
        }
        let operands = [left_operand(node, at, starts), at.checked_sub(1)];
        match operands.into_iter().flatten().find(|operand| verdict(*operand) == whole) {
            Some(operand) => at = operand,
            None => return Some(at),
        }
    }
}
