//! Verdicts of every route on many messages.

use edgehub_router::Verdict;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::router::compiled::Compiled;
use crate::router::waiting::{BadMessage, Waiting};

/// Verdicts of many messages, one after another.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// Verdicts of one message.
    one: Vec<(u32, Verdict)>,
    all: Vec<(u32, Verdict)>,
    /// Where the verdicts of each message end.
    ends: Vec<usize>,
}

impl Verdicts {
    /// Evaluates what waits; works without the GIL.
    pub(super) fn evaluate(
        &mut self,
        compiled: &Compiled,
        waiting: &Waiting,
        before: usize,
    ) -> Result<(), BadMessage> {
        self.all.clear();
        self.ends.clear();
        for (index, msg) in waiting.messages().enumerate() {
            let msg = msg.map_err(|what| BadMessage::new(before + index, what))?;
            compiled.dry_run().verdicts(msg.source(), &msg, &mut self.one);
            self.all.append(&mut self.one);
            self.ends.push(self.all.len());
        }
        Ok(())
    }

    /// The verdicts of each message: place of the route in the declaration, verdict.
    pub(super) fn each(&self) -> impl Iterator<Item = &[(u32, Verdict)]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let verdicts = self.all.get(start..*end).unwrap_or(&[]);
            start = *end;
            verdicts
        })
    }
}

/// Name and verdict of each route.
pub(super) fn verdict_dict<'py>(
    py: Python<'py>,
    compiled: &Compiled,
    verdicts: &[(u32, Verdict)],
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (route, verdict) in verdicts {
        if let Some(name) = compiled.name(*route) {
            dict.set_item(name, verdict_text(py, *verdict))?;
        }
    }
    Ok(dict)
}

pub(super) fn verdict_text(py: Python<'_>, verdict: Verdict) -> &Bound<'_, PyString> {
    match verdict {
        Verdict::True => pyo3::intern!(py, "true"),
        Verdict::False => pyo3::intern!(py, "false"),
        Verdict::Undefined => pyo3::intern!(py, "undefined"),
    }
}
