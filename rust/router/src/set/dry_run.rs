//! What every route says of a message, beyond which ones it takes: for tools that try routes out.

use crate::condition::Verdict;
use crate::lang::check::{self, Options};
use crate::lang::route::RouteText;
use crate::lang::share::Sharing;
use crate::machine::{Buffers, Machine};
use crate::message::MessageView;
use crate::program::{Builder, Program, Routine};
use crate::set::compile::{RouteSet, parse};
use crate::set::source::{Pattern, Source};

/// The conditions of a [`RouteSet`], compiled to tell false from undefined.
///
/// ```
/// use edgehub_router::{OwnedMessage, RouteDecl, RouteSet, Source, Verdict};
///
/// let hot = RouteDecl::new("hot", "FROM /messages/* WHERE as_number(temp) > 30 INTO $upstream");
/// let set = RouteSet::compile("gateway-7", &[hot]).unwrap();
/// let mut verdicts = Vec::new();
/// set.dry_run().verdicts(Source::Device, &OwnedMessage::default(), &mut verdicts);
/// assert_eq!(verdicts, [(0, Verdict::Undefined)]);
/// ```
#[derive(Debug)]
pub struct DryRun {
    program: Program,
    routes: Vec<TriedRoute>,
}

#[derive(Debug)]
struct TriedRoute {
    pattern: Pattern,
    /// `None` without a condition.
    routine: Option<Routine>,
}

impl RouteSet {
    /// Compiles the conditions once more, for [`DryRun::verdicts`].
    pub fn dry_run(&self) -> DryRun {
        let texts: Vec<Option<RouteText>> = self.decls.iter().map(|decl| parse(&decl.text).ok()).collect();
        let mut sharing = Sharing::default();
        let mut count = |(text, decl): (&Option<RouteText>, &crate::RouteDecl)| {
            let nodes = text.as_ref().and_then(|text| text.condition.as_ref()).map_or(&[][..], |c| &c.nodes);
            let numbers = sharing.count(nodes, &decl.text);
            numbers.last().into_iter().for_each(|root| sharing.want(*root));
            numbers
        };
        let numbers: Vec<Vec<u32>> = texts.iter().zip(&self.decls).map(&mut count).collect();
        let mut builder = Builder::default();
        let mut routine = |index: usize| {
            let (decl, numbers) = (self.decls.get(index)?, numbers.get(index)?);
            let nodes = &texts.get(index)?.as_ref()?.condition.as_ref()?.nodes;
            let shared = |at: usize, _| sharing.shared(nodes.get(at)?, *numbers.get(at)?);
            check::compile_nodes(nodes, &decl.text, Options::default(), &mut builder, shared).ok()
        };
        let tried = |(index, pattern): (usize, &Pattern)| TriedRoute {
            pattern: pattern.clone(),
            routine: routine(index),
        };
        let routes = self.patterns.iter().enumerate().map(tried).collect();
        DryRun { program: builder.program, routes }
    }
}

impl DryRun {
    /// Puts the verdict of every route whose source matches into `verdicts`, with its place in
    /// [`RouteSet::routes`], in that order. A route without a condition is true.
    pub fn verdicts<M: MessageView + ?Sized>(
        &self,
        source: Source<'_>,
        msg: &M,
        verdicts: &mut Vec<(u32, Verdict)>,
    ) {
        verdicts.clear();
        let mut buffers = Buffers::default();
        let mut machine = Machine::new(&self.program, msg, &mut buffers);
        for (index, route) in self.routes.iter().enumerate().filter(|(_, r)| r.pattern.matches(source)) {
            let verdict = route.routine.map_or(Verdict::True, |routine| machine.run(routine));
            verdicts.push((index as u32, verdict));
        }
    }
}
