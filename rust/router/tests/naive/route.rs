//! Whole routes (routing sections 1 and 10.4).

use edgehub_router::{OwnedMessage, RouteDecl, Verdict};

use super::Condition;
use super::lexer::{self, Kind, Token};
use super::names;
use super::parser::Parser;
use super::types;

/// A route ready for messages.
#[derive(Debug)]
pub struct Route {
    prefix: String,
    /// `None`: the route has no condition.
    condition: Option<Condition>,
    endpoint: String,
    priority: u32,
    ttl_secs: u32,
}

/// Where a message goes and which route says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub endpoint: String,
    pub priority: u32,
    pub ttl_secs: u32,
    /// Place of the route in the declaration.
    pub route_index: usize,
}

impl Route {
    /// Compiles one declared route for the device.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn compile(edge_device_id: &str, decl: &RouteDecl) -> Result<Route, String> {
        let tokens = lexer::lex(&decl.text);
        let mut rest = tokens.as_slice();
        if take(&mut rest, |t| t.kind == Kind::Select).is_some() {
            take(&mut rest, |t| t.text == "*").ok_or("SELECT takes *")?;
        }
        take(&mut rest, |t| t.kind == Kind::From).ok_or("no FROM")?;
        let source = source(&mut rest)?;
        let condition = condition(&mut rest)?;
        take(&mut rest, |t| t.kind == Kind::Into).ok_or("no INTO")?;
        Ok(Route {
            prefix: normalised(&source),
            condition,
            endpoint: endpoint(edge_device_id, rest)?,
            priority: decl.priority(),
            ttl_secs: decl.ttl_secs,
        })
    }

    /// The verdict on a message, if it comes from where the route takes messages.
    pub fn verdict(&self, source: &str, msg: &OwnedMessage) -> Option<Verdict> {
        let always = Verdict::True;
        starts_with(source, &self.prefix).then(|| self.condition.as_ref().map_or(always, |c| c.verdict(msg)))
    }
}

fn take<'t>(rest: &mut &'t [Token], wanted: impl Fn(&Token) -> bool) -> Option<&'t Token> {
    let (token, behind) = rest.split_first().filter(|(token, _)| wanted(token))?;
    *rest = behind;
    Some(token)
}

fn source(rest: &mut &[Token]) -> Result<String, String> {
    let mut path = String::new();
    while take(rest, |t| t.text == "/").is_some() {
        let segment = take(rest, |t| t.kind == Kind::Name || t.text == "*").ok_or("no segment")?;
        path = format!("{path}/{}", segment.text);
    }
    if path.is_empty() { Err("no source".to_owned()) } else { Ok(path) }
}

fn condition(rest: &mut &[Token]) -> Result<Option<Condition>, String> {
    if take(rest, |t| t.kind == Kind::Where).is_none() {
        return Ok(None);
    }
    let mut parser = Parser::new(rest, false);
    let tree = parser.expression()?;
    *rest = parser.rest();
    types::type_of(&tree)?;
    Ok(Some(Condition { tree: Some(tree) }))
}

/// What follows the sink is ignored.
fn endpoint(edge_device_id: &str, sink: &[Token]) -> Result<String, String> {
    match sink {
        [system, ..] if system.kind == Kind::SystemName => match system.text.to_ascii_lowercase().as_str() {
            "$upstream" => Ok("iothub".to_owned()),
            other => Err(format!("no system endpoint {other}")),
        },
        [function, open, address, close, ..]
            if function.text.eq_ignore_ascii_case("BrokeredEndpoint")
                && open.text == "("
                && address.kind == Kind::Text
                && close.text == ")" =>
        {
            input(edge_device_id, &address.text)
        }
        _ => Err("no sink".to_owned()),
    }
}

fn input(edge_device_id: &str, quoted: &str) -> Result<String, String> {
    let address = quoted[1..quoted.len() - 1].trim();
    let address = address.strip_prefix('/').unwrap_or(address);
    let address = address.strip_suffix('/').unwrap_or(address);
    match address.split('/').collect::<Vec<_>>()[..] {
        [_, module, _, input] if !module.is_empty() && !input.is_empty() => {
            Ok(format!("{edge_device_id}/{module}/{input}"))
        }
        _ => Err(format!("no address: {address}")),
    }
}

fn normalised(source: &str) -> String {
    format!("{}/", source.trim().trim_end_matches('*').trim_end_matches('/'))
}

fn starts_with(text: &str, prefix: &str) -> bool {
    let start: String = text.chars().take(prefix.chars().count()).collect();
    names::same(&start, prefix)
}

/// Whether a route from `route_source` takes messages from `source`, such as `/messages/`.
pub fn source_matches(route_source: &str, source: &str) -> bool {
    starts_with(source, &normalised(route_source))
}

/// The deliveries of a message by priority, then declaration; each endpoint once.
pub fn deliver(routes: &[Route], source: &str, msg: &OwnedMessage) -> Vec<Delivery> {
    let mut order: Vec<usize> = (0..routes.len()).collect();
    order.sort_by_key(|index| (routes[*index].priority, *index));
    let mut deliveries: Vec<Delivery> = Vec::new();
    for route_index in order {
        let Route { endpoint, priority, ttl_secs, .. } = &routes[route_index];
        let taken = deliveries.iter().any(|delivery| delivery.endpoint == *endpoint);
        if !taken && routes[route_index].verdict(source, msg) == Some(Verdict::True) {
            let (endpoint, priority, ttl_secs) = (endpoint.clone(), *priority, *ttl_secs);
            deliveries.push(Delivery { endpoint, priority, ttl_secs, route_index });
        }
    }
    deliveries
}
