//! Looks at declared routes as a careful reader would: what is wrong with each, and what is allowed
//! but hardly meant.
//!
//! Errors are those of [`RouteSet::compile`]. Warnings come from the text, its tokens and its syntax
//! tree; the rules are grouped by what they look at. The work is linear in the length of all texts:
//! parts of conditions get numbers, equal for equal meaning, and routes are found by them.

mod body;
mod expr;
mod facts;
pub(crate) mod hint;
mod keys;
mod logic;
mod names;
mod notes;
mod outcome;
mod set;
mod surface;
mod types;
mod warning;

use std::collections::HashSet;

use crate::error::{Problem, RouteError};
use crate::lang::ast::{Infix, Tree};
use crate::lang::lexer::lex;
use crate::lang::route::{self, RouteText};
use crate::set::compile::{ROUTE_BYTES_MAX, ROUTES_MAX, RouteSet};
use crate::set::decl::RouteDecl;
use crate::set::endpoint::Endpoint;
use crate::set::source::Pattern;
use expr::Expr;
use keys::{Key, Keys};
use notes::Notes;
use outcome::Outcomes;
use set::SetRoute;

pub use notes::WARNINGS_MAX;
pub use warning::{RouteWarning, Warning};

/// What [`check`] found in one route.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteReport {
    /// Name of the route as declared; empty where the whole set is meant.
    pub name: String,
    /// What keeps the route from compiling.
    pub errors: Vec<RouteError>,
    /// What is hardly meant, by place in the text; at most [`WARNINGS_MAX`].
    pub warnings: Vec<RouteWarning>,
}

/// Checks all routes of the device `edge_device_id`: one report for each, in the order of
/// declaration. What is wrong with the set as a whole comes first, as a report without a name.
///
/// Every route is looked at, whatever is wrong with others. All routes are free of errors if and only
/// if [`RouteSet::compile`] accepts them.
///
/// ```
/// use edgehub_router::{RouteDecl, check};
///
/// let reports = check("gateway-7", &[
///     RouteDecl::new("up", "FROM /messages/* WHERE temp > '30' INTO $upstream"),
///     RouteDecl::new("hot", "FROM /messages/* WHERE as_nubmer(temp) > 30 INTO $upstream"),
/// ]);
/// assert_eq!(reports[0].warnings[0].warning.code(), "text-order");
/// assert_eq!(reports[0].warnings[0].range.to_string(), "1:24-1:35");
/// assert_eq!(reports[1].errors[0].problem.hint().unwrap(), "Did you mean 'as_number'?");
/// ```
pub fn check(edge_device_id: &str, decls: &[RouteDecl]) -> Vec<RouteReport> {
    let mut linter = Linter { edge_device_id, keys: Keys::default(), routes: Vec::new() };
    let mut names = HashSet::new();
    let mut all_notes: Vec<Notes<'_>> = Vec::with_capacity(decls.len());
    let mut all_errors: Vec<Vec<RouteError>> = Vec::with_capacity(decls.len());
    for (index, decl) in decls.iter().enumerate() {
        let mut notes = Notes::new(decl);
        let mut errors =
            RouteSet::compile(edge_device_id, std::slice::from_ref(decl)).err().unwrap_or_default();
        linter.route(index, decl, errors.is_empty(), &mut notes);
        if !names.insert(decl.name.as_str()) {
            let problem = Problem::DuplicateName;
            errors.insert(0, RouteError { route: decl.name.clone(), range: None, problem });
        }
        all_notes.push(notes);
        all_errors.push(errors);
    }
    set::check(decls, linter.routes, &mut all_notes);
    let found = decls.iter().zip(all_errors).zip(all_notes).map(|((decl, errors), notes)| RouteReport {
        name: decl.name.clone(),
        errors,
        warnings: notes.sorted(),
    });
    of_set(decls).into_iter().chain(found).collect()
}

/// The report about the set as a whole, if something is wrong with it.
fn of_set(decls: &[RouteDecl]) -> Option<RouteReport> {
    let problem = Problem::TooManyRoutes { count: decls.len(), max: ROUTES_MAX };
    let error = RouteError { route: String::new(), range: None, problem };
    (decls.len() > ROUTES_MAX).then(|| RouteReport { errors: vec![error], ..RouteReport::default() })
}

/// A condition that compiles, with what the rules ask of its nodes.
struct Subject<'t> {
    expr: Expr<'t>,
    keys: Vec<Key>,
    outcomes: Vec<Outcomes>,
}

impl<'t> Subject<'t> {
    fn new(text: &'t str, tree: &'t Tree, keys: &mut Keys) -> Self {
        let expr = Expr::new(text, tree);
        Subject { keys: keys.of_nodes(&expr), outcomes: outcome::of_nodes(&expr), expr }
    }

    fn key(&self, at: usize) -> Key {
        self.keys.get(at).copied().unwrap_or(Key::MAX)
    }

    fn outcomes(&self, at: usize) -> Outcomes {
        self.outcomes.get(at).copied().unwrap_or(outcome::ANY)
    }
}

/// Checks routes one by one and keeps what is needed to look at them together.
struct Linter<'d> {
    edge_device_id: &'d str,
    keys: Keys,
    routes: Vec<SetRoute>,
}

impl Linter<'_> {
    fn route(&mut self, index: usize, decl: &RouteDecl, compiles: bool, notes: &mut Notes<'_>) {
        if decl.text.len() > ROUTE_BYTES_MAX {
            return;
        }
        let tokens = lex(&decl.text);
        names::check(&decl.text, &tokens, notes);
        let Ok(text) = route::parse(&decl.text, &tokens) else { return };
        surface::check(&decl.text, &tokens, &text, notes);
        if compiles {
            self.compiled(index, decl, &text, notes);
        }
    }

    fn compiled(&mut self, index: usize, decl: &RouteDecl, text: &RouteText, notes: &mut Notes<'_>) {
        let subject = text.condition.as_ref().map(|tree| Subject::new(&decl.text, tree, &mut self.keys));
        let pattern = Pattern::new(&text.source);
        if let Some(subject) = &subject {
            logic::check(subject, notes);
            types::check(subject, notes);
            body::check(subject, pattern.matches_only_twin_changes(), notes);
        }
        let may_match = subject.as_ref().is_none_or(|s| s.outcomes(s.expr.root()).may_hold());
        if may_match && !pattern.is_dead() {
            self.keep(index, decl, text, subject.as_ref());
        }
    }

    fn keep(&mut self, index: usize, decl: &RouteDecl, text: &RouteText, subject: Option<&Subject<'_>>) {
        let Ok(sink) = &text.sink else { return };
        let endpoint = Endpoint::of(sink, self.edge_device_id).id;
        let condition = subject.filter(|s| !s.outcomes(s.expr.root()).always_holds());
        let (parts, equalities) = condition.map(|s| (parts_of(s), equalities_of(s))).unwrap_or_default();
        let route = SetRoute {
            index,
            priority: decl.priority(),
            ttl_secs: decl.ttl_secs,
            endpoint: self.keys.of(format!("endpoint {endpoint}"), Vec::new()),
            sources: set::source_keys(&text.source, &mut self.keys),
            condition: condition.map(|_| self.condition_key(&parts)),
            parts,
            equalities,
        };
        self.routes.push(route);
    }

    /// One part is its own key, so that a route of one condition is found by the part of another.
    fn condition_key(&mut self, parts: &[Key]) -> Key {
        match parts {
            [one] => *one,
            _ => self.keys.of("all".to_owned(), parts.to_vec()),
        }
    }
}

/// Keys of what `AND` joins, each once, in an order of their own.
fn parts_of(subject: &Subject<'_>) -> Vec<Key> {
    let parts = subject.expr.parts(subject.expr.root(), Infix::And);
    let mut keys: Vec<Key> = parts.into_iter().map(|part| subject.key(part)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn equalities_of(subject: &Subject<'_>) -> Vec<(Key, Key)> {
    facts::equalities(&subject.expr, &subject.keys, set::EQUALITIES_MAX)
}
