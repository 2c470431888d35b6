//! Messages as Python mappings, and as bytes.

use edgehub_router::{EncodedError, MessageWriter};
use pyo3::create_exception;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyString};

create_exception!(
    edgehub.router,
    MessageError,
    PyValueError,
    "A message that cannot be read. The text names the key, and the place in a batch."
);

const KEYS: &str = "source, systemProperties, properties, body or bodyBase64";

/// Source of a message that names none: telemetry of a device.
const SOURCE_DEFAULT: &str = "/messages/";

/// Encodes one message, to be matched later, elsewhere, or many times.
///
/// Raises `MessageError` if it is no message.
#[pyfunction]
pub(crate) fn encode<'py>(message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let mut out = Vec::new();
    encode_into(message, &mut out)?;
    Ok(PyBytes::new(message.py(), &out))
}

/// Encodes messages one after another, as `Router.match_encoded` takes them.
///
/// Raises `MessageError` if one of them is no message; the text says which.
#[pyfunction]
pub(crate) fn encode_many<'py>(messages: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let mut out = Vec::new();
    for (index, message) in each(messages)?.enumerate() {
        encode_into(&message?, &mut out).map_err(|error| at_index(messages.py(), index, &error))?;
    }
    Ok(PyBytes::new(messages.py(), &out))
}

/// The items of a sequence of messages; refuses what could only be one message by mistake.
pub(crate) fn each<'py>(
    messages: &Bound<'py, PyAny>,
) -> PyResult<impl Iterator<Item = PyResult<Bound<'py, PyAny>>> + use<'py>> {
    let single = messages.is_instance_of::<PyBytes>()
        || messages.is_instance_of::<PyString>()
        || messages.is_instance_of::<PyDict>();
    if single {
        let kind = messages.get_type().name()?;
        return Err(PyTypeError::new_err(format!("messages must be a sequence of messages, not {kind}")));
    }
    messages.try_iter()
}

/// The error with the place of its message in a batch; other errors than ours stay as they are.
pub(crate) fn at_index(py: Python<'_>, index: usize, error: &PyErr) -> PyErr {
    if error.is_instance_of::<MessageError>(py) {
        MessageError::new_err(format!("messages[{index}]: {}", error.value(py)))
    } else {
        error.clone_ref(py)
    }
}

/// Appends the encoded message to `out`, which stays as it is if that fails.
///
/// # Errors
/// `MessageError`; any error that a foreign mapping raises.
pub(crate) fn encode_into(message: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let fields = Fields::of(&mapping(message, || "a message".to_owned())?)?;
    let source = match &fields.source {
        Some(source) => text(source, || "key 'source'".to_owned())?,
        None => SOURCE_DEFAULT,
    };
    let count = |bag: &Option<Bound<'_, PyDict>>| bag.as_ref().map_or(0, PyDictMethods::len);
    let (system, application) = (count(&fields.system), count(&fields.application));
    let mut writer = MessageWriter::begin(out, source, system, application).map_err(|e| plain_error(&e))?;
    write_properties(&mut writer, "systemProperties", fields.system.as_ref())?;
    write_properties(&mut writer, "properties", fields.application.as_ref())?;
    let body = match &fields.body {
        Body::Empty => &[][..],
        Body::Text(body) => text(body, || "key 'body'".to_owned())?.as_bytes(),
        Body::Bytes(body) => body.as_bytes(),
    };
    writer.finish(body).map_err(|e| plain_error(&e))
}

enum Body<'py> {
    Empty,
    Text(Bound<'py, PyString>),
    Bytes(Bound<'py, PyBytes>),
}

/// The values of a message's keys.
struct Fields<'py> {
    source: Option<Bound<'py, PyString>>,
    system: Option<Bound<'py, PyDict>>,
    application: Option<Bound<'py, PyDict>>,
    body: Body<'py>,
}

impl<'py> Fields<'py> {
    fn of(message: &Bound<'py, PyDict>) -> PyResult<Fields<'py>> {
        let mut fields = Fields { source: None, system: None, application: None, body: Body::Empty };
        for (key, value) in message.iter() {
            let Ok(name) = key.cast::<PyString>() else {
                return Err(error(format!("keys must be str, not {}; expected {KEYS}", kind(&key)?)));
            };
            fields.take(text(name, || "a key".to_owned())?, value)?;
        }
        Ok(fields)
    }

    fn take(&mut self, key: &str, value: Bound<'py, PyAny>) -> PyResult<()> {
        match key {
            "source" => self.source = Some(string(value, key)?),
            "systemProperties" => self.system = Some(mapping(&value, || format!("key '{key}'"))?),
            "properties" => self.application = Some(mapping(&value, || format!("key '{key}'"))?),
            "body" | "bodyBase64" if !matches!(self.body, Body::Empty) => {
                return Err(error("keys 'body' and 'bodyBase64' exclude each other".to_owned()));
            }
            "body" => self.body = body(value)?,
            "bodyBase64" => self.body = Body::Bytes(base64(&string(value, key)?)?),
            _ => return Err(error(format!("unknown key '{key}'; expected {KEYS}"))),
        }
        Ok(())
    }
}

fn string<'py>(value: Bound<'py, PyAny>, key: &str) -> PyResult<Bound<'py, PyString>> {
    match value.cast_into::<PyString>() {
        Ok(text) => Ok(text),
        Err(wrong) => Err(error(format!("key '{key}' must be str, not {}", kind(&wrong.into_inner())?))),
    }
}

fn body(value: Bound<'_, PyAny>) -> PyResult<Body<'_>> {
    let value = match value.cast_into::<PyString>() {
        Ok(text) => return Ok(Body::Text(text)),
        Err(other) => other.into_inner(),
    };
    match value.cast_into::<PyBytes>() {
        Ok(bytes) => Ok(Body::Bytes(bytes)),
        Err(wrong) => {
            Err(error(format!("key 'body' must be str or bytes, not {}", kind(&wrong.into_inner())?)))
        }
    }
}

/// Padding is needed, and nothing but the alphabet is allowed (RFC 4648 section 4).
fn base64<'py>(value: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyBytes>> {
    let py = value.py();
    let strict = PyDict::new(py);
    strict.set_item("strict_mode", true)?;
    let decoded = py.import("binascii")?.call_method("a2b_base64", (value,), Some(&strict));
    let wrong = |e: PyErr| error(format!("key 'bodyBase64' is not base64: {}", e.value(py)));
    Ok(decoded.map_err(wrong)?.cast_into::<PyBytes>()?)
}

/// A dictionary, or a copy of another mapping as one.
fn mapping<'py>(value: &Bound<'py, PyAny>, what: impl Fn() -> String) -> PyResult<Bound<'py, PyDict>> {
    if let Ok(dict) = value.cast::<PyDict>() {
        return Ok(dict.clone());
    }
    let Ok(mapping) = value.cast::<PyMapping>() else {
        return Err(error(format!("{} must be a mapping, not {}", what(), kind(value)?)));
    };
    let dict = PyDict::new(value.py());
    dict.update(mapping)?;
    Ok(dict)
}

fn write_properties(
    writer: &mut MessageWriter<'_>,
    key: &str,
    properties: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    for (name, value) in properties.into_iter().flatten() {
        let Ok(name) = name.cast::<PyString>() else {
            return Err(error(format!("key '{key}': names must be str, not {}", kind(&name)?)));
        };
        let name = text(name, || format!("key '{key}': a name"))?;
        let value = match value.cast::<PyString>() {
            Ok(value) => Some(text(value, || format!("key '{key}': the value of '{name}'"))?),
            Err(_) if value.is_none() => None,
            Err(_) => {
                let kind = kind(&value)?;
                return Err(error(format!(
                    "key '{key}': the value of '{name}' must be str or None, not {kind}"
                )));
            }
        };
        writer.property(name, value).map_err(|e| error(format!("key '{key}': {e}")))?;
    }
    Ok(())
}

/// The text as UTF-8, in place: Python keeps it with the string.
fn text<'a>(value: &'a Bound<'_, PyString>, what: impl Fn() -> String) -> PyResult<&'a str> {
    value.to_str().map_err(|_| error(format!("{} holds half a surrogate pair, which is no text", what())))
}

fn kind(value: &Bound<'_, PyAny>) -> PyResult<String> {
    if value.is_none() {
        return Ok("None".to_owned());
    }
    Ok(value.get_type().name()?.to_string())
}

fn plain_error(wrong: &EncodedError) -> PyErr {
    error(wrong.to_string())
}

fn error(text: String) -> PyErr {
    MessageError::new_err(text)
}
