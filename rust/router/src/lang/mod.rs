//! The language: tokens, grammar, static types, and what each construct compiles to.

pub(crate) mod ast;
pub(crate) mod branch;
pub(crate) mod builtin;
pub(crate) mod check;
pub(crate) mod emit;
pub(crate) mod lexer;
pub(crate) mod literal;
pub(crate) mod matching;
pub(crate) mod names;
pub(crate) mod parser;
pub(crate) mod route;
pub(crate) mod share;
pub(crate) mod types;
