//! Routes as the `$edgeHub` twin declares them (routing section 2).

use crate::error::{Problem, RouteError};

/// Priority of a route that names none: the lowest.
pub const PRIORITY_DEFAULT: u32 = 2_000_000_000;

/// Lowest priority that a route may name (0 is the highest), but for [`PRIORITY_DEFAULT`].
pub const PRIORITY_MAX: u32 = 9;

/// Which of the two forms of `routes` a schema version has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// 1.0: a route is a string; a blank one is skipped.
    V1_0,
    /// 1.1 and above: a string or an object with priority and time to live; never blank.
    V1_1,
}

/// One declared route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteDecl {
    /// Name, unique in the set.
    pub name: String,
    /// Route text, such as `FROM /messages/* INTO $upstream`.
    pub text: String,
    /// 0 (highest) to 9; `None` is [`PRIORITY_DEFAULT`], which may also be written out.
    pub priority: Option<u32>,
    /// Seconds that a message may wait for delivery; 0 takes the setting of the hub.
    pub ttl_secs: u32,
}

impl RouteDecl {
    /// A route with default priority and time to live.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        RouteDecl { name: name.into(), text: text.into(), priority: None, ttl_secs: 0 }
    }

    /// The string form. `None` where schema 1.0 skips a null or blank route.
    ///
    /// # Errors
    /// [`Problem::EmptyRoute`] for a blank route from schema 1.1 on, [`Problem::EmptyName`].
    pub fn from_text(schema: Schema, name: &str, text: Option<&str>) -> Result<Option<Self>, RouteError> {
        let text = text.unwrap_or("");
        if schema == Schema::V1_0 && text.trim().is_empty() {
            return Ok(None);
        }
        let decl = RouteDecl::new(name, text);
        decl.check_names().map(|()| Some(decl))
    }

    /// The object form `{"route", "priority", "timeToLiveSecs"}`, numbers as they stand in the JSON.
    ///
    /// # Errors
    /// [`Problem::ObjectForm`] in schema 1.0, [`Problem::Priority`], [`Problem::TimeToLive`],
    /// [`Problem::EmptyRoute`], [`Problem::EmptyName`].
    pub fn from_object(
        schema: Schema,
        name: &str,
        route: &str,
        priority: Option<i64>,
        ttl_secs: Option<i64>,
    ) -> Result<Self, RouteError> {
        if schema == Schema::V1_0 {
            return Err(error(name, Problem::ObjectForm));
        }
        let priority = priority.map(check_priority).transpose().map_err(|p| error(name, p))?;
        let ttl_secs = ttl_secs.unwrap_or(0);
        let ttl_secs = u32::try_from(ttl_secs).map_err(|_| error(name, Problem::TimeToLive { ttl_secs }))?;
        let decl = RouteDecl { priority, ttl_secs, ..RouteDecl::new(name, route) };
        decl.check_names().map(|()| decl)
    }

    fn check_names(&self) -> Result<(), RouteError> {
        if self.name.is_empty() {
            return Err(error(&self.name, Problem::EmptyName));
        }
        if self.text.trim().is_empty() {
            return Err(error(&self.name, Problem::EmptyRoute));
        }
        Ok(())
    }

    /// Checks everything but the text.
    pub(crate) fn check(&self) -> Result<(), RouteError> {
        self.check_names()?;
        let priority = self.priority.map_or(Ok(PRIORITY_DEFAULT), |p| check_priority(i64::from(p)));
        priority.map(|_| ()).map_err(|p| error(&self.name, p))
    }

    /// The priority as a number.
    pub fn priority(&self) -> u32 {
        self.priority.unwrap_or(PRIORITY_DEFAULT)
    }
}

fn check_priority(priority: i64) -> Result<u32, Problem> {
    match u32::try_from(priority) {
        Ok(number) if number <= PRIORITY_MAX || number == PRIORITY_DEFAULT => Ok(number),
        _ => Err(Problem::Priority { priority }),
    }
}

fn error(name: &str, problem: Problem) -> RouteError {
    RouteError { route: name.to_owned(), range: None, problem }
}
