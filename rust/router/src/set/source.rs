//! Message sources and the routes that can match them (routing sections 1.2 and 1.3).

use crate::program::Program;
use crate::set::bucket::Bucket;
use crate::text::{fold, fold_cmp, starts_with_segments};
use crate::text_table::{Case, TextTable};

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
    /// Any other path, for embedders with sources of their own. Routes are compared with it one by one.
    Path(&'a str),
}

impl<'a> Source<'a> {
    /// The source with this path, such as `/messages/modules/m1/outputs/o1`; slashes at the ends and
    /// case do not matter.
    ///
    /// ```
    /// use edgehub_router::Source;
    ///
    /// let source = Source::Module { module: "m1", output: Some("o1") };
    /// assert_eq!(Source::parse("/messages/modules/m1/outputs/o1/"), source);
    /// assert_eq!(Source::parse("/messages"), Source::Device);
    /// assert_eq!(Source::parse("/plant/line"), Source::Path("/plant/line"));
    /// ```
    pub fn parse(path: &'a str) -> Source<'a> {
        let text = path.strip_prefix('/').unwrap_or(path);
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.eq_ignore_ascii_case("messages") {
            return Source::Device;
        }
        if text.eq_ignore_ascii_case("twinchangenotifications") {
            return Source::TwinChange;
        }
        let own = strip_word(text, "messages/").and_then(|rest| strip_word(rest, "modules/"));
        own.and_then(module_source).unwrap_or(Source::Path(path))
    }

    /// Whether the message is telemetry, as against a notification.
    pub fn is_telemetry(self) -> bool {
        match self {
            Source::Device | Source::Module { .. } => true,
            Source::TwinChange => false,
            Source::Path(path) => path.starts_with("/messages/") || path == "/messages",
        }
    }
}

/// What follows `word`, whose case does not matter.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

/// `{module}` or `{module}/outputs/{output}`.
fn module_source(text: &str) -> Option<Source<'_>> {
    let (module, output) = match text.split_once('/') {
        Some((module, rest)) => (module, Some(strip_word(rest, "outputs/")?)),
        None => (text, None),
    };
    (!module.is_empty() && output != Some("")).then_some(Source::Module { module, output })
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
pub(crate) struct Pattern {
    /// Lower-cased, without slashes at the ends.
    prefix: Box<str>,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Everything,
    Telemetry,
    Modules,
    Module(Box<str>, Outputs),
    TwinChange,
    /// Only a [`Source::Path`] can match.
    Other,
}

impl Pattern {
    /// The pattern of a source path: trailing `*` and `/` are dropped, what is left is the prefix.
    pub(crate) fn new(path: &str) -> Pattern {
        let prefix = fold(path.trim().trim_end_matches('*').trim_matches('/'));
        let segments: Vec<&str> = prefix.split('/').collect();
        let shape = match segments.as_slice() {
            [""] => Shape::Everything,
            ["messages"] => Shape::Telemetry,
            ["messages", "modules"] => Shape::Modules,
            ["messages", "modules", module] => Shape::Module((*module).into(), Outputs::Any),
            ["messages", "modules", module, "outputs"] => Shape::Module((*module).into(), Outputs::Named),
            ["messages", "modules", module, "outputs", output @ ..] => {
                Shape::Module((*module).into(), Outputs::Below(output.join("/").into()))
            }
            ["twinchangenotifications"] => Shape::TwinChange,
            _ => Shape::Other,
        };
        Pattern { prefix: prefix.into(), shape }
    }

    /// Whether no message of a hub can ever match; a `*` within the path stands for itself and does not.
    pub(crate) fn is_dead(&self) -> bool {
        match &self.shape {
            Shape::Other => true,
            Shape::Module(module, outputs) => {
                &**module == "*" || matches!(outputs, Outputs::Below(o) if o.split('/').any(|s| s == "*"))
            }
            _ => false,
        }
    }

    /// Whether only twin changes match.
    pub(crate) fn matches_only_twin_changes(&self) -> bool {
        self.shape == Shape::TwinChange
    }

    /// Whether a message from `source` matches.
    pub(crate) fn matches(&self, source: Source<'_>) -> bool {
        match (&self.shape, source) {
            (_, Source::Path(path)) => self.matches_path(path),
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

    fn matches_path(&self, path: &str) -> bool {
        let path = path.strip_prefix('/').unwrap_or(path);
        self.prefix.is_empty() || starts_with_segments(&self.prefix, path)
    }
}

/// Routes of one module.
#[derive(Debug)]
struct ModuleRoutes {
    any: Bucket,
    /// For messages that name an output.
    named: Bucket,
    by_output: TextTable<Bucket>,
    /// Segments of the longest output that a route names.
    segments_max: usize,
}

impl ModuleRoutes {
    fn new() -> Self {
        let by_output = TextTable::new(Case::Folded);
        ModuleRoutes { any: Bucket::default(), named: Bucket::default(), by_output, segments_max: 0 }
    }

    fn bucket(&mut self, outputs: &Outputs) -> &mut Bucket {
        match outputs {
            Outputs::Any => &mut self.any,
            Outputs::Named => &mut self.named,
            Outputs::Below(output) => {
                self.segments_max = self.segments_max.max(output.split('/').count());
                self.by_output.get_or_insert_with(output, Bucket::default)
            }
        }
    }

    fn visit<'i>(&'i self, output: Option<&str>, visit: &mut impl FnMut(&'i Bucket)) {
        visit(&self.any);
        let Some(output) = output else { return };
        visit(&self.named);
        let ends = output.match_indices('/').map(|(at, _)| at).chain([output.len()]);
        for end in ends.take(self.segments_max) {
            let bucket = output.get(..end).and_then(|prefix| self.by_output.get(prefix));
            bucket.into_iter().for_each(&mut *visit);
        }
    }

    fn buckets_mut(&mut self) -> impl Iterator<Item = &mut Bucket> {
        [&mut self.any, &mut self.named].into_iter().chain(self.by_output.values_mut())
    }
}

/// Routes by source, so that a message meets only those that take its source.
#[derive(Debug)]
pub(crate) struct SourceIndex {
    device: Bucket,
    twin_change: Bucket,
    /// Routes that every module matches.
    any_module: Bucket,
    /// Routes of one module each, by its lower-cased id.
    modules: TextTable<ModuleRoutes>,
    /// All routes, for sources that are none of these: pattern and rank.
    patterns: Vec<(Pattern, u32)>,
}

impl Default for SourceIndex {
    fn default() -> Self {
        SourceIndex {
            device: Bucket::default(),
            twin_change: Bucket::default(),
            any_module: Bucket::default(),
            modules: TextTable::new(Case::Folded),
            patterns: Vec::new(),
        }
    }
}

impl SourceIndex {
    /// Adds the route of the next `rank`.
    pub(crate) fn add(&mut self, rank: u32, pattern: &Pattern) {
        self.patterns.push((pattern.clone(), rank));
        match &pattern.shape {
            Shape::Module(module, outputs) => {
                self.modules.get_or_insert_with(module, ModuleRoutes::new).bucket(outputs).add(rank);
            }
            shape => {
                let everything = *shape == Shape::Everything;
                if everything || *shape == Shape::Telemetry {
                    self.device.add(rank);
                }
                if everything || matches!(shape, Shape::Telemetry | Shape::Modules) {
                    self.any_module.add(rank);
                }
                if everything || *shape == Shape::TwinChange {
                    self.twin_change.add(rank);
                }
            }
        }
    }

    /// Prepares the lists for many routes, once all are added; see [`Bucket::index`].
    pub(crate) fn index(&mut self, program: &Program, equalities: &[Vec<(u32, u32)>]) {
        let own = self.modules.values_mut().flat_map(ModuleRoutes::buckets_mut);
        let common = [&mut self.device, &mut self.twin_change, &mut self.any_module];
        for bucket in common.into_iter().chain(own) {
            bucket.index(program, equalities);
        }
    }

    /// All routes that match `source`, in the order of their ranks, where that is one ready list.
    #[inline]
    pub(crate) fn fixed(&self, source: Source<'_>) -> Option<&[u32]> {
        match source {
            Source::Device => self.device.fixed(),
            Source::TwinChange => self.twin_change.fixed(),
            Source::Module { module, .. } if self.modules.get(module).is_none() => self.any_module.fixed(),
            _ => None,
        }
    }

    /// Calls `visit` with each list of routes that match `source`; see [`SourceIndex::of_path`] for
    /// other paths.
    #[inline]
    pub(crate) fn visit<'i>(&'i self, source: Source<'_>, mut visit: impl FnMut(&'i Bucket)) {
        match source {
            Source::Device => visit(&self.device),
            Source::TwinChange => visit(&self.twin_change),
            Source::Module { module, output } => {
                visit(&self.any_module);
                if let Some(own) = self.modules.get(module) {
                    own.visit(output, &mut visit);
                }
            }
            Source::Path(_) => {}
        }
    }

    /// The ranks of the routes that match a source of any path.
    pub(crate) fn of_path<'i>(&'i self, source: Source<'i>) -> impl Iterator<Item = u32> + 'i {
        let matching = move |entry: &&(Pattern, u32)| entry.0.matches(source);
        self.patterns.iter().filter(matching).map(|(_, rank)| *rank)
    }
}
