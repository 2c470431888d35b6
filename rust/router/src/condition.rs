//! A condition on its own, without a route around it.

use crate::error::ConditionError;
use crate::lang::ast::Tree;
use crate::lang::check::{self, Options};
use crate::lang::lexer::{Kind, lex};
use crate::lang::parser::{Parser, Stop};
use crate::machine::{Buffers, Machine};
use crate::message::MessageView;
use crate::program::{Builder, Program, Routine};
use crate::set::compile::ROUTE_BYTES_MAX;
use crate::text::range_of;

/// What became of a condition. Only `True` matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The condition holds.
    True,
    /// It does not.
    False,
    /// It cannot be told, because something it needs is not there.
    Undefined,
}

impl From<Option<bool>> for Verdict {
    fn from(verdict: Option<bool>) -> Self {
        match verdict {
            Some(true) => Verdict::True,
            Some(false) => Verdict::False,
            None => Verdict::Undefined,
        }
    }
}

/// What a condition may use beyond what routes may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// `twin_change_includes(path)`: whether the body, a twin change, has something at the path.
    pub twin_change_includes: bool,
}

/// A compiled condition.
///
/// ```
/// use edgehub_router::{Condition, Features, OwnedMessage, Verdict};
///
/// let hot = Condition::compile("as_number(temp) > 30", Features::default()).unwrap();
/// let mut msg = OwnedMessage::default();
/// assert_eq!(hot.evaluate(&msg), Verdict::Undefined);
/// msg.application.push(("temp".into(), Some("31.5".into())));
/// assert_eq!(hot.evaluate(&msg), Verdict::True);
/// ```
#[derive(Debug)]
pub struct Condition {
    program: Program,
    routine: Routine,
    complexity: usize,
}

impl Condition {
    /// Compiles `text`. What follows a complete condition is ignored; an empty one is undefined.
    ///
    /// # Errors
    /// Everything that is wrong with it, or the first break of the grammar.
    pub fn compile(text: &str, features: Features) -> Result<Condition, Vec<ConditionError>> {
        let errors =
            |stops: Vec<Stop>| stops.into_iter().map(|stop| condition_error(text, stop)).collect::<Vec<_>>();
        let tree = parse(text).map_err(|stop| errors(vec![stop]))?;
        let options = Options { twin_change_includes: features.twin_change_includes, tracing: false };
        let mut builder = Builder::default();
        let routine = check::compile(&tree, text, options, &mut builder).map_err(errors)?;
        // An empty condition still has its end as a leaf.
        Ok(Condition { program: builder.program, routine, complexity: tree.tokens.max(1) })
    }

    /// Evaluates it on a message.
    pub fn evaluate<M: MessageView + ?Sized>(&self, msg: &M) -> Verdict {
        Machine::new(&self.program, msg, &mut Buffers::default()).run(self.routine)
    }

    /// Number of leaves of its parse tree: names, literals, operators and parentheses.
    pub fn complexity(&self) -> usize {
        self.complexity
    }
}

fn parse(text: &str) -> Result<Tree, Stop> {
    let tokens = lex(text);
    let mut parser = Parser::new(text, &tokens);
    if text.len() > ROUTE_BYTES_MAX {
        let problem = crate::Problem::TooLong { bytes: text.len(), max: ROUTE_BYTES_MAX };
        return Err(Stop { token: parser.peek(), problem });
    }
    if parser.peek().kind == Kind::End {
        return Ok(Tree::default());
    }
    parser.condition()
}

fn condition_error(text: &str, stop: Stop) -> ConditionError {
    ConditionError { range: range_of(text, stop.token.start, stop.token.len), problem: stop.problem }
}
