//! Routes as Python declares them: a mapping of names to strings or objects.

use edgehub_router::{RouteDecl, RouteSet, Schema};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyMapping, PyString};

use crate::door::without_gil;
use crate::routes::{RouteFault, route_error};

/// Code of a route whose value has the wrong form.
const MALFORMED: &str = "malformed";

/// Routes taken from a mapping, those with faults left out.
#[derive(Default)]
pub(super) struct Declared {
    /// Names in the order of the mapping; schema 1.0 skips blank routes.
    pub(super) names: Vec<String>,
    pub(super) decls: Vec<RouteDecl>,
    /// Routes whose text can be looked at, though something beside it is wrong.
    pub(super) texts: Vec<RouteDecl>,
    /// What is wrong with the form of routes.
    pub(super) faults: Vec<RouteFault>,
    /// Keys that mean nothing.
    pub(super) warnings: Vec<RouteFault>,
}

impl Declared {
    /// Reads `routes`; what is wrong with single routes is in the answer.
    ///
    /// # Errors
    /// `TypeError` if it is no mapping with names, `ValueError` for an unknown schema.
    pub(super) fn read(routes: &Bound<'_, PyAny>, schema: &str) -> PyResult<Declared> {
        let schema = schema_of(schema)?;
        let Ok(routes) = routes.cast::<PyMapping>() else {
            let kind = routes.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "routes must be a mapping of names to routes, not {kind}"
            )));
        };
        let mut declared = Declared::default();
        for item in routes.items()? {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
            let Ok(name) = name.cast::<PyString>() else {
                let (shown, kind) = (name.repr()?, name.get_type().name()?);
                return Err(PyTypeError::new_err(format!(
                    "names of routes must be str, not {kind}: {shown}"
                )));
            };
            declared.add(schema, &text_of(name)?, &value)?;
        }
        Ok(declared)
    }

    fn add(&mut self, schema: Schema, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let read = if let Ok(text) = value.cast::<PyString>() {
            from_text(schema, name, Some(&text_of(text)?))
        } else if value.is_none() && schema == Schema::V1_0 {
            from_text(schema, name, None)
        } else if let Ok(object) = value.cast::<PyMapping>() {
            let object = as_dict(object)?;
            self.warn_of_keys(name, &object)?;
            from_object(schema, name, &object)?.map(Some)
        } else {
            Err(malformed(name, &format!("expected a string or an object, found {}", kind(value)?)))
        };
        match read {
            Ok(None) => return Ok(()),
            Ok(Some(decl)) => self.decls.push(decl),
            Err(fault) => {
                self.faults.push(fault);
                self.texts.extend(text_alone(name, value)?);
            }
        }
        self.names.push(name.to_owned());
        Ok(())
    }

    fn warn_of_keys(&mut self, name: &str, object: &Bound<'_, PyDict>) -> PyResult<()> {
        for key in object.keys() {
            let text = key.str()?;
            let known =
                KEYS.iter().any(|known| text.to_str().is_ok_and(|text| text.eq_ignore_ascii_case(known)));
            if !known {
                let message = format!("Key {} is ignored; expected {}.", key.repr()?, KEYS.join(", "));
                self.warnings.push(RouteFault::new(name, "unknown-key", message, None));
            }
        }
        Ok(())
    }

    /// Compiles the routes, the GIL released.
    ///
    /// # Errors
    /// `RouteError` with all that is wrong, in the order of the mapping.
    pub(super) fn compile(self, py: Python<'_>, edge_device_id: &str) -> PyResult<RouteSet> {
        let Declared { names, decls, mut faults, .. } = self;
        match without_gil(py, || Ok::<_, PyErr>(RouteSet::compile(edge_device_id, &decls)))? {
            Ok(set) if faults.is_empty() => return Ok(set),
            Ok(_) => {}
            Err(errors) => faults.extend(errors.iter().map(RouteFault::from)),
        }
        let place = |fault: &RouteFault| names.iter().position(|name| *name == fault.route);
        faults.sort_by_cached_key(place);
        Err(route_error(py, faults))
    }
}

const KEYS: [&str; 3] = ["route", "priority", "timeToLiveSecs"];

fn from_text(schema: Schema, name: &str, text: Option<&str>) -> Result<Option<RouteDecl>, RouteFault> {
    RouteDecl::from_text(schema, name, text).map_err(|error| RouteFault::from(&error))
}

/// The inner error is one of the route, the outer one of Python.
fn from_object(
    schema: Schema,
    name: &str,
    object: &Bound<'_, PyDict>,
) -> PyResult<Result<RouteDecl, RouteFault>> {
    let text = match find(object, "route")? {
        None => return Ok(Err(malformed(name, "key 'route' is missing"))),
        Some(value) => match value.cast::<PyString>() {
            Ok(text) => text_of(text)?,
            Err(_) => {
                return Ok(Err(malformed(name, &format!("key 'route' must be str, not {}", kind(&value)?))));
            }
        },
    };
    let numbers = (number(name, object, "priority")?, number(name, object, "timeToLiveSecs")?);
    let (priority, ttl_secs) = match numbers {
        (Ok(priority), Ok(ttl_secs)) => (priority, ttl_secs),
        (Err(fault), _) | (_, Err(fault)) => return Ok(Err(fault)),
    };
    let decl = RouteDecl::from_object(schema, name, &text, priority, ttl_secs);
    Ok(decl.map_err(|error| RouteFault::from(&error)))
}

/// The text of a route in object form, if it has one.
fn text_alone(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<RouteDecl>> {
    let Ok(object) = value.cast::<PyMapping>() else { return Ok(None) };
    let Some(text) = find(&as_dict(object)?, "route")? else { return Ok(None) };
    let Ok(text) = text.cast::<PyString>() else { return Ok(None) };
    Ok(text.to_str().ok().filter(|text| !text.trim().is_empty()).map(|text| RouteDecl::new(name, text)))
}

/// A whole number, or nothing where the key is absent or null.
fn number(name: &str, object: &Bound<'_, PyDict>, key: &str) -> PyResult<Result<Option<i64>, RouteFault>> {
    let Some(value) = find(object, key)?.filter(|value| !value.is_none()) else { return Ok(Ok(None)) };
    if !value.is_instance_of::<PyInt>() || value.is_instance_of::<PyBool>() {
        let problem = format!("key '{key}' must be a whole number, not {}", kind(&value)?);
        return Ok(Err(malformed(name, &problem)));
    }
    match value.extract::<i64>() {
        Ok(number) => Ok(Ok(Some(number))),
        Err(_) => Ok(Err(malformed(name, &format!("key '{key}' is out of range: {}", value.repr()?)))),
    }
}

/// The value of a key: as written first, then in any case, as the hub reads it.
fn find<'py>(object: &Bound<'py, PyDict>, key: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    if let Some(value) = object.get_item(key)? {
        return Ok(Some(value));
    }
    let same = |other: &Bound<'py, PyAny>| {
        other.cast::<PyString>().is_ok_and(|other| other.to_str().is_ok_and(|o| o.eq_ignore_ascii_case(key)))
    };
    Ok(object.iter().find(|(other, _)| same(other)).map(|(_, value)| value))
}

fn as_dict<'py>(mapping: &Bound<'py, PyMapping>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(mapping.py());
    dict.update(mapping)?;
    Ok(dict)
}

fn malformed(name: &str, problem: &str) -> RouteFault {
    RouteFault::new(name, MALFORMED, format!("Malformed route specification: {problem}."), None)
}

fn text_of(text: &Bound<'_, PyString>) -> PyResult<String> {
    let half =
        |_| PyValueError::new_err(format!("half a surrogate pair is no text: {:?}", text.to_string_lossy()));
    text.to_str().map(str::to_owned).map_err(half)
}

fn kind(value: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(if value.is_none() { "None".to_owned() } else { value.get_type().name()?.to_string() })
}

/// Any 1.x is read with what is known of it.
fn schema_of(version: &str) -> PyResult<Schema> {
    let mut parts = version.split('.');
    let digits =
        |part: &str| (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.to_owned());
    match (parts.next(), parts.next().and_then(digits), parts.all(|part| digits(part).is_some())) {
        (Some("1"), Some(minor), true) if minor.bytes().all(|b| b == b'0') => Ok(Schema::V1_0),
        (Some("1"), Some(_), true) => Ok(Schema::V1_1),
        _ => Err(PyValueError::new_err(format!(
            "schema {version:?} is not known; expected 1.0 or a later 1.x"
        ))),
    }
}
