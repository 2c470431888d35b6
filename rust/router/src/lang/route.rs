//! Route text: `[SELECT *] FROM source [WHERE condition] INTO sink` (routing section 1).

use crate::error::Problem;
use crate::lang::ast::Tree;
use crate::lang::lexer::{Kind, Token};
use crate::lang::parser::{Parser, Stop};
use crate::lint::hint::expected;

/// Where the messages of a route go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sink {
    Upstream,
    ModuleInput { module: String, input: String },
}

/// A route text taken apart.
#[derive(Debug, Clone)]
pub(crate) struct RouteText {
    /// Source path as written, without blanks and comments.
    pub(crate) source: String,
    /// First token of the source, for warnings.
    pub(crate) source_at: Token,
    /// Condition, if there is a `WHERE`.
    pub(crate) condition: Option<Tree>,
    /// Sink, or why a well-formed one is not supported.
    pub(crate) sink: Result<Sink, Stop>,
    /// First token after the sink: accepted, ignored, worth a warning.
    pub(crate) trailing: Option<Token>,
}

/// Parses a route text that is not blank.
pub(crate) fn parse(text: &str, tokens: &[Token]) -> Result<RouteText, Stop> {
    let mut parser = Parser::new(text, tokens);
    if parser.take(Kind::Select).is_some() {
        parser.need(Kind::Star, "'*' after SELECT")?;
        parser.need(Kind::From, "FROM")?;
    } else {
        parser.need(Kind::From, "SELECT or FROM")?;
    }
    let source_at = parser.peek();
    let source = source(&mut parser, text)?;
    let condition = match parser.take(Kind::Where) {
        Some(_) => Some(parser.condition()?),
        None => None,
    };
    let after = if condition.is_some() { expected::OPERATOR_OR_INTO } else { expected::AFTER_SOURCE };
    parser.need(Kind::Into, after)?;
    let sink = sink(&mut parser, text)?;
    let trailing = Some(parser.peek()).filter(|token| token.kind != Kind::End);
    Ok(RouteText { source, source_at, condition, sink, trailing })
}

fn source(parser: &mut Parser<'_>, text: &str) -> Result<String, Stop> {
    let mut source = String::new();
    parser.need(Kind::Slash, expected::SOURCE)?;
    loop {
        source.push('/');
        let segment = match parser.peek().kind {
            Kind::Star | Kind::Id => parser.peek(),
            _ => return Err(parser.stop(expected::SEGMENT)),
        };
        parser.take(segment.kind);
        source.push_str(segment.text(text));
        if parser.take(Kind::Slash).is_none() {
            return Ok(source);
        }
    }
}

/// The outer error is one of grammar, the inner one of meaning.
fn sink(parser: &mut Parser<'_>, text: &str) -> Result<Result<Sink, Stop>, Stop> {
    if let Some(token) = parser.take(Kind::SysProp) {
        let name = token.text(text).get(1..).unwrap_or("");
        let problem = || Problem::SystemEndpoint { name: name.to_owned() };
        let known = name.eq_ignore_ascii_case("upstream");
        return Ok(if known { Ok(Sink::Upstream) } else { Err(Stop { token, problem: problem() }) });
    }
    let function = parser.need(Kind::Id, expected::SINK)?;
    let bare_upstream = function.text(text).eq_ignore_ascii_case("upstream");
    parser.need(Kind::LParen, if bare_upstream { expected::DOLLAR } else { "'('" })?;
    let address = parser.need(Kind::Text, expected::ADDRESS)?;
    parser.need(Kind::RParen, "')'")?;
    let name = function.text(text);
    if !name.eq_ignore_ascii_case("BrokeredEndpoint") {
        let problem = Problem::FunctionEndpoint { name: name.to_owned() };
        return Ok(Err(Stop { token: function, problem }));
    }
    Ok(module_input(address, text))
}

/// `/modules/{module}/inputs/{input}`; the words in the first and third part are not checked.
fn module_input(token: Token, text: &str) -> Result<Sink, Stop> {
    let quoted = token.text(text);
    let address = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or("");
    let path = address.trim();
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        [_, module, _, input] if !module.is_empty() && !input.is_empty() => {
            Ok(Sink::ModuleInput { module: (*module).to_owned(), input: (*input).to_owned() })
        }
        _ => Err(Stop { token, problem: Problem::EndpointAddress { address: address.to_owned() } }),
    }
}
