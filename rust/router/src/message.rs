//! What the router needs to see of a message.

use crate::text::names_equal;

/// Result of asking a message for a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// No such property.
    Absent,
    /// The property is there but holds no text (an AMQP application property that is a number).
    Null,
    /// Its text.
    Text(&'a str),
}

/// A message as conditions see it.
///
/// Names are asked for lower-cased (see [`crate::fold`]) and match without regard to case: compare
/// keys with [`names_equal`], or keep them folded. Each name is asked for once per evaluation.
pub trait MessageView {
    /// The application property `name`.
    fn application_property(&self, name: &str) -> Lookup<'_>;
    /// The system property `name`, such as `messageid`, without a `$`.
    fn system_property(&self, name: &str) -> Lookup<'_>;
    /// The body.
    fn body(&self) -> &[u8];
}

/// A message that owns its parts, for tests, tools and embedders without a type of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedMessage {
    /// Application properties; `None` is a property without a text.
    pub application: Vec<(String, Option<String>)>,
    /// System properties, as above.
    pub system: Vec<(String, Option<String>)>,
    /// The body.
    pub body: Vec<u8>,
}

fn find<'a>(bag: &'a [(String, Option<String>)], name: &str) -> Lookup<'a> {
    match bag.iter().find(|(key, _)| names_equal(name, key)) {
        Some((_, Some(text))) => Lookup::Text(text),
        Some((_, None)) => Lookup::Null,
        None => Lookup::Absent,
    }
}

impl MessageView for OwnedMessage {
    fn application_property(&self, name: &str) -> Lookup<'_> {
        find(&self.application, name)
    }

    fn system_property(&self, name: &str) -> Lookup<'_> {
        find(&self.system, name)
    }

    fn body(&self) -> &[u8] {
        &self.body
    }
}
