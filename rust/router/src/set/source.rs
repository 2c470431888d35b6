//! Message sources and the routes that can match them (routing sections 1.2 and 1.3).

use crate::text::{fold, fold_cmp, starts_with_segments};

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source<'a> {
    /// Telemetry of a device: `/messages/`.
    Device,
    /// Telemetry of a module: `/messages/modules/{module}/[outputs/{output}/]`.
    Module {
        /// Module id; it holds no `/`.
        module: &'a str,
        /// Output, if the message named one.
        output: Option<&'a str>,
    },
    /// An update of reported properties: `/twinChangeNotifications/`.
    TwinChange,
}

impl Source<'_> {
    /// Whether the message is telemetry, as against a notification.
    pub fn is_telemetry(self) -> bool {
        self != Source::TwinChange
    }
}

/// Which outputs of a module a route takes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outputs {
    /// Any, or none.
    Any,
    /// Any, but one must be named.
    Named,
    /// This one, lower-cased (and what is below it).
    Below(Box<str>),
}

impl Outputs {
    fn admits(&self, output: Option<&str>) -> bool {
        match (self, output) {
            (Outputs::Any, _) | (Outputs::Named, Some(_)) => true,
            (Outputs::Below(wanted), Some(output)) => starts_with_segments(wanted, output),
            (_, None) => false,
        }
    }
}

/// The sources that a route takes: a prefix of whole segments, without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Shape);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Everything,
    Telemetry,
    Modules,
    Module(Box<str>, Outputs),
    TwinChange,
    /// No message has such a source.
    Nothing,
}

impl Pattern {
    /// The pattern of a source path: trailing `*` and `/` are dropped, what is left is the prefix.
    pub(crate) fn new(path: &str) -> Pattern {
        let prefix = fold(path.trim().trim_end_matches('*').trim_matches('/'));
        let segments: Vec<&str> = prefix.split('/').collect();
        Pattern(match segments.as_slice() {
            [""] => Shape::Everything,
            ["messages"] => Shape::Telemetry,
            ["messages", "modules"] => Shape::Modules,
            ["messages", "modules", module] => Shape::Module((*module).into(), Outputs::Any),
            ["messages", "modules", module, "outputs"] => Shape::Module((*module).into(), Outputs::Named),
            ["messages", "modules", module, "outputs", output @ ..] => {
                Shape::Module((*module).into(), Outputs::Below(output.join("/").into()))
            }
            ["twinchangenotifications"] => Shape::TwinChange,
            _ => Shape::Nothing,
        })
    }

    /// Whether no message can ever match; a `*` within the path stands for itself and does not.
    pub(crate) fn is_dead(&self) -> bool {
        match &self.0 {
            Shape::Nothing => true,
            Shape::Module(module, outputs) => {
                &**module == "*" || matches!(outputs, Outputs::Below(o) if o.split('/').any(|s| s == "*"))
            }
            _ => false,
        }
    }

    /// Whether only twin changes match.
    pub(crate) fn matches_only_twin_changes(&self) -> bool {
        self.0 == Shape::TwinChange
    }

    /// Whether a message from `source` matches.
    pub(crate) fn matches(&self, source: Source<'_>) -> bool {
        match (&self.0, source) {
            (Shape::Everything, _)
            | (Shape::Telemetry, Source::Device | Source::Module { .. })
            | (Shape::Modules, Source::Module { .. })
            | (Shape::TwinChange, Source::TwinChange) => true,
            (Shape::Module(wanted, outputs), Source::Module { module, output }) => {
                fold_cmp(wanted, module).is_eq() && outputs.admits(output)
            }
            _ => false,
        }
    }
}

/// A route that takes messages of one module.
#[derive(Debug)]
struct OwnRoute {
    rank: u32,
    outputs: Outputs,
}

/// Routes by source; each list in the order of evaluation, by rank.
#[derive(Debug, Default)]
pub(crate) struct SourceIndex {
    device: Vec<u32>,
    twin_change: Vec<u32>,
    /// Routes that every module matches.
    any_module: Vec<u32>,
    /// Routes of one module each, by its lower-cased id, sorted.
    modules: Vec<(Box<str>, Vec<OwnRoute>)>,
}

impl SourceIndex {
    /// Adds the route of the next `rank`.
    pub(crate) fn add(&mut self, rank: u32, pattern: &Pattern) {
        match &pattern.0 {
            Shape::Module(module, outputs) => {
                self.own(module).push(OwnRoute { rank, outputs: outputs.clone() });
            }
            shape => {
                let everything = *shape == Shape::Everything;
                if everything || *shape == Shape::Telemetry {
                    self.device.push(rank);
                }
                if everything || matches!(shape, Shape::Telemetry | Shape::Modules) {
                    self.any_module.push(rank);
                }
                if everything || *shape == Shape::TwinChange {
                    self.twin_change.push(rank);
                }
            }
        }
    }

    fn own(&mut self, module: &str) -> &mut Vec<OwnRoute> {
        let at = match self.modules.binary_search_by(|(known, _)| (**known).cmp(module)) {
            Ok(at) => at,
            Err(at) => {
                self.modules.insert(at, (module.into(), Vec::new()));
                at
            }
        };
        &mut self.modules[at].1
    }

    /// The routes that match `source`, in the order of their rank.
    pub(crate) fn candidates<'i>(&'i self, source: Source<'i>) -> Candidates<'i> {
        let (common, own, output) = match source {
            Source::Device => (&self.device, &[][..], None),
            Source::TwinChange => (&self.twin_change, &[][..], None),
            Source::Module { module, output } => (&self.any_module, self.own_routes(module), output),
        };
        Candidates { common, own, output }
    }

    fn own_routes(&self, module: &str) -> &[OwnRoute] {
        let found = self.modules.binary_search_by(|(known, _)| fold_cmp(known, module));
        found.ok().and_then(|at| self.modules.get(at)).map_or(&[], |(_, routes)| routes)
    }
}

/// Ranks of matching routes: two sorted lists merged.
#[derive(Debug)]
pub(crate) struct Candidates<'i> {
    common: &'i [u32],
    own: &'i [OwnRoute],
    output: Option<&'i str>,
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while let Some((first, rest)) = self.own.split_first() {
            if self.common.first().is_some_and(|rank| *rank < first.rank) {
                break;
            }
            self.own = rest;
            if first.outputs.admits(self.output) {
                return Some(first.rank);
            }
        }
        let (first, rest) = self.common.split_first()?;
        self.common = rest;
        Some(*first)
    }
}
