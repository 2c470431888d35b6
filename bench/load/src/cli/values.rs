//! Options as given, checked against the table of those that a command has.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::error::LoadError;

/// One option of a command.
pub struct Flag {
    /// With its dashes.
    pub name: &'static str,
    /// Name of the value in the help; empty for a switch.
    pub value: &'static str,
    /// What it means.
    pub help: &'static str,
}

/// An option.
pub const fn flag(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, value, help }
}

/// Options as given, each at most once.
pub struct Values(BTreeMap<&'static str, String>);

impl Values {
    /// Sorts arguments by the options of these tables.
    ///
    /// # Errors
    /// An option that no table has, one without its value, or one given twice.
    pub fn read(tables: &[&'static [Flag]], args: Vec<String>) -> Result<Self, LoadError> {
        let mut values = BTreeMap::new();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some(flag) = tables.iter().copied().flatten().find(|flag| flag.name == arg) else {
                return Err(LoadError::Usage(format!("unknown option {arg:?}")));
            };
            let value = match flag.value {
                "" => String::new(),
                name => {
                    args.next().ok_or_else(|| LoadError::Usage(format!("{arg} needs a value: {name}")))?
                }
            };
            if values.insert(flag.name, value).is_some() {
                return Err(LoadError::Usage(format!("{arg} is given twice")));
            }
        }
        Ok(Self(values))
    }

    /// Whether the option is given.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value of an option; `None` when it is not given.
    ///
    /// # Errors
    /// It cannot be read as what it is to be.
    pub fn get<T: FromStr>(&self, name: &str) -> Result<Option<T>, LoadError> {
        let parse = |text: &String| text.parse().map_err(|_| self.bad(name, "it cannot be read"));
        self.0.get(name).map(parse).transpose()
    }

    /// A number within bounds.
    ///
    /// # Errors
    /// It is no number, or out of bounds.
    pub fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        name: &str,
        default: T,
        bounds: RangeInclusive<T>,
    ) -> Result<T, LoadError> {
        match self.get::<T>(name)? {
            None => Ok(default),
            Some(value) if bounds.contains(&value) => Ok(value),
            Some(_) => Err(self.bad(name, &format!("expected {} to {}", bounds.start(), bounds.end()))),
        }
    }

    /// A time of at most a day.
    ///
    /// # Errors
    /// It is no number, too short or too long.
    pub fn seconds(&self, name: &str, default: f64, min: f64) -> Result<Duration, LoadError> {
        Ok(Duration::from_secs_f64(self.number(name, default, min..=86_400.0)?))
    }

    fn bad(&self, name: &str, why: &str) -> LoadError {
        let given = self.0.get(name).map_or("", String::as_str);
        LoadError::Usage(format!("{name} {given:?}: {why}"))
    }
}
