//! The route language written down a second time, slowly and plainly: an oracle for the crate.
//!
//! It follows the tables of the language (routing sections 1 to 8) and shares nothing with the crate
//! but the message and the verdict. A condition becomes a boxed tree that is walked anew for every
//! message, texts are UTF-16 as the language counts them, and bodies are read by a JSON library: only
//! strict JSON, so a test that uses lenient forms must not ask here.
//!
//! Where the crate differs from the reference on purpose, so does the oracle: `%` and unary minus on
//! body values work as on numbers, a body value may stand on either side of `AND` and `OR`, and a half
//! of a surrogate pair becomes U+FFFD, for a Rust string cannot hold it.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

mod body;
mod date;
mod eval;
mod functions;
mod lexer;
mod names;
mod number;
mod parser;
mod route;
mod types;
mod value;

pub use route::{Delivery, Route, deliver, source_matches};

use edgehub_router::{OwnedMessage, Verdict};

/// A condition that parses and type-checks. Without a tree it is empty, which is undefined.
#[derive(Debug)]
pub struct Condition {
    tree: Option<parser::Expr>,
}

impl Condition {
    /// Compiles a condition on its own: what follows a complete one is ignored.
    ///
    /// # Errors
    /// The first thing that is wrong, in words of no particular form.
    pub fn compile(text: &str, twin_change_includes: bool) -> Result<Condition, String> {
        let tokens = lexer::lex(text);
        if tokens.is_empty() {
            return Ok(Condition { tree: None });
        }
        let tree = parser::Parser::new(&tokens, twin_change_includes).expression()?;
        types::type_of(&tree)?;
        Ok(Condition { tree: Some(tree) })
    }

    /// The verdict on a message.
    pub fn verdict(&self, msg: &OwnedMessage) -> Verdict {
        let message = eval::Message { msg, document: body::document(msg) };
        Verdict::from(self.tree.as_ref().and_then(|tree| eval::whole(tree, &message)))
    }
}
