//! Routes as a set: declared, compiled together, indexed by source, evaluated in one pass.

pub(crate) mod bucket;
pub(crate) mod compile;
pub(crate) mod decl;
pub(crate) mod dry_run;
pub(crate) mod endpoint;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod source;
