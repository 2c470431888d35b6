//! From declared routes to a set that can be evaluated; nothing applies unless everything is right.

use std::collections::{HashMap, HashSet};

use crate::condition::Verdict;
use crate::error::{Problem, RouteError, TextRange};
use crate::lang::lexer::{Token, lex};
use crate::lang::matching::{self, Clauses};
use crate::lang::parser::Stop;
use crate::lang::route::{self, RouteText};
use crate::lang::share::Sharing;
use crate::program::{Builder, Program, Routine};
use crate::set::decl::RouteDecl;
use crate::set::endpoint::Endpoint;
use crate::set::source::{Pattern, SourceIndex};
use crate::text::range_of;

/// Routes that one set may have.
pub const ROUTES_MAX: usize = 10_000;

/// Bytes that the text of one route may have; a twin holds strings of 4 KB.
pub const ROUTE_BYTES_MAX: usize = 64 << 10;

/// A route that is compiled.
#[derive(Debug)]
pub(crate) struct CompiledRoute {
    /// Place in the declaration.
    pub(crate) index: u32,
    pub(crate) endpoint: u32,
    pub(crate) priority: u32,
    pub(crate) ttl_secs: u32,
    pub(crate) routine: Routine,
    /// The verdict, if it is the same for every message.
    pub(crate) fixed: Option<Verdict>,
}

/// Compiled routes: immutable, shareable between threads, swapped as a whole.
///
/// Routes are kept in the order of evaluation, by priority and then declaration: the first one that
/// matches decides for its endpoint, and later ones to that endpoint are not looked at.
#[derive(Debug, Default)]
pub struct RouteSet {
    pub(crate) decls: Vec<RouteDecl>,
    pub(crate) routes: Vec<CompiledRoute>,
    /// Sources, by place in the declaration.
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) index: SourceIndex,
    pub(crate) program: Program,
}

impl RouteSet {
    /// Compiles all `decls` for the device `edge_device_id`.
    ///
    /// # Errors
    /// Everything that is wrong with any of them; then nothing is compiled. [`ROUTES_MAX`],
    /// [`ROUTE_BYTES_MAX`] and [`crate::EXPR_DEPTH_MAX`] are the limits.
    pub fn compile(edge_device_id: &str, decls: &[RouteDecl]) -> Result<RouteSet, Vec<RouteError>> {
        if decls.len() > ROUTES_MAX {
            let problem = Problem::TooManyRoutes { count: decls.len(), max: ROUTES_MAX };
            return Err(vec![RouteError { route: String::new(), range: None, problem }]);
        }
        let mut compiler = Compiler::default();
        let mut parsed = Vec::with_capacity(decls.len());
        let mut errors = Vec::new();
        let mut names = HashSet::new();
        for decl in decls {
            if !names.insert(decl.name.as_str()) {
                errors.push(error(decl, None, Problem::DuplicateName));
            }
            match compiler.parse(edge_device_id, decl) {
                Ok(route) => parsed.push(route),
                Err(found) => errors.extend(found),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        for (index, (decl, route)) in decls.iter().zip(parsed).enumerate() {
            compiler.add(index as u32, decl, route)?;
        }
        Ok(compiler.finish(decls))
    }

    /// The endpoints of all routes, each once, in the order of declaration.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The routes as declared; [`crate::Decision::route_index`] counts here.
    pub fn routes(&self) -> &[RouteDecl] {
        &self.decls
    }

    /// The endpoint that the route with this index leads to, as an index into [`RouteSet::endpoints`].
    pub fn endpoint_index(&self, route_index: usize) -> Option<usize> {
        let route = self.routes.iter().find(|route| route.index as usize == route_index)?;
        Some(route.endpoint as usize)
    }
}

/// A route text taken apart and checked, with its tokens.
pub(crate) fn parse(text: &str) -> Result<RouteText, Stop> {
    let start = Token { kind: crate::lang::lexer::Kind::End, start: text.len(), len: 0 };
    if text.len() > ROUTE_BYTES_MAX {
        let problem = Problem::TooLong { bytes: text.len(), max: ROUTE_BYTES_MAX };
        return Err(Stop { token: start, problem });
    }
    route::parse(text, &lex(text))
}

/// A route that is right, before the operations of its condition are made.
struct ParsedRoute {
    clauses: Clauses,
    endpoint: Endpoint,
    pattern: Pattern,
}

/// Two passes: what conditions have in common is known only when all are parsed.
#[derive(Default)]
struct Compiler {
    builder: Builder,
    sharing: Sharing,
    routes: Vec<CompiledRoute>,
    /// Slots and text constants that must be equal, by place in the declaration.
    equalities: Vec<Vec<(u32, u32)>>,
    patterns: Vec<Pattern>,
    endpoints: Vec<Endpoint>,
    endpoint_ids: HashMap<String, u32>,
}

impl Compiler {
    fn parse(&mut self, edge_device_id: &str, decl: &RouteDecl) -> Result<ParsedRoute, Vec<RouteError>> {
        decl.check().map_err(|e| vec![e])?;
        let at = |stop: Stop| stop_error(decl, stop);
        let text = parse(&decl.text).map_err(|stop| vec![at(stop)])?;
        let clauses = match &text.condition {
            Some(tree) => matching::split(tree, &decl.text, &mut self.builder, &mut self.sharing),
            None => Ok(Clauses::Fixed(Verdict::True)),
        };
        match (clauses, &text.sink) {
            (Ok(clauses), Ok(sink)) => {
                let endpoint = Endpoint::of(sink, edge_device_id);
                Ok(ParsedRoute { clauses, endpoint, pattern: Pattern::new(&text.source) })
            }
            (clauses, sink) => {
                let stops = clauses.err().into_iter().flatten().chain(sink.clone().err());
                Err(stops.map(at).collect())
            }
        }
    }

    fn add(&mut self, index: u32, decl: &RouteDecl, route: ParsedRoute) -> Result<(), Vec<RouteError>> {
        let ParsedRoute { clauses, endpoint, pattern } = route;
        let matching = matching::compile(&clauses, &decl.text, &mut self.builder, &self.sharing)
            .map_err(|stops| stops.into_iter().map(|stop| stop_error(decl, stop)).collect::<Vec<_>>())?;
        let route = CompiledRoute {
            index,
            endpoint: self.endpoint(endpoint),
            priority: decl.priority(),
            ttl_secs: decl.ttl_secs,
            routine: matching.routine,
            fixed: self.builder.program.fixed_verdict(matching.routine),
        };
        self.equalities.push(matching.equalities);
        self.routes.push(route);
        self.patterns.push(pattern);
        Ok(())
    }

    fn endpoint(&mut self, endpoint: Endpoint) -> u32 {
        let next = self.endpoints.len() as u32;
        let id = *self.endpoint_ids.entry(endpoint.id.clone()).or_insert(next);
        if id == next {
            self.endpoints.push(endpoint);
        }
        id
    }

    fn finish(mut self, decls: &[RouteDecl]) -> RouteSet {
        self.routes.sort_by_key(|route| (route.priority, route.index));
        let mut index = SourceIndex::default();
        for (rank, route) in self.routes.iter().enumerate() {
            // A route that never matches is not worth a look per message.
            let pattern = self.patterns.get(route.index as usize);
            let may_match = route.fixed.is_none_or(|verdict| verdict == Verdict::True);
            if let Some(pattern) = pattern.filter(|_| may_match) {
                index.add(rank as u32, pattern);
            }
        }
        let mut by_index = std::mem::take(&mut self.equalities);
        let of_route = |route: &CompiledRoute| by_index.get_mut(route.index as usize).map(std::mem::take);
        let equalities: Vec<_> = self.routes.iter().map(of_route).map(Option::unwrap_or_default).collect();
        index.index(&self.builder.program, &equalities);
        RouteSet {
            decls: decls.to_vec(),
            routes: self.routes,
            patterns: self.patterns,
            endpoints: self.endpoints,
            index,
            program: self.builder.program,
        }
    }
}

fn error(decl: &RouteDecl, range: Option<TextRange>, problem: Problem) -> RouteError {
    RouteError { route: decl.name.clone(), range, problem }
}

fn stop_error(decl: &RouteDecl, stop: Stop) -> RouteError {
    let Stop { token, problem } = stop;
    let range = range_of(&decl.text, token.start, token.len);
    error(decl, Some(range), problem)
}
