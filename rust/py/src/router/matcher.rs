//! Messages through a route set, and the tuples of deliveries that come out.

use edgehub_router::{Decisions, EncodedError, EncodedMessage, EncodedMessages, RouteSet, Source};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::door::without_gil;
use crate::router::compiled::Compiled;
use crate::router::lists::{LISTS_MAX, Lists};
use crate::router::waiting::{BadMessage, Waiting};

/// Evaluates messages and gives a tuple of deliveries for each.
#[derive(Default)]
pub(super) struct Matcher {
    decisions: Decisions,
    lists: Lists,
    /// The tuple of each list, made when first needed.
    tuples: Vec<Py<PyTuple>>,
    list: Vec<u32>,
    /// Number of the list of each message of a batch.
    results: Vec<u32>,
}

impl Matcher {
    /// Forgets what an abandoned batch left, and lists when there are too many of them.
    pub(super) fn begin(&mut self) {
        self.results.clear();
        if self.lists.len() > LISTS_MAX {
            self.lists.clear();
            self.tuples.clear();
        }
    }

    /// Matches one encoded message.
    #[inline]
    pub(super) fn one(&mut self, set: &RouteSet, source: Source<'_>, msg: &EncodedMessage<'_>) -> u32 {
        set.evaluate(source, msg, &mut self.decisions);
        self.list.clear();
        self.list.extend(self.decisions.iter().map(|decision| decision.route_index));
        self.lists.id_of(&self.list)
    }

    /// Matches what waits, the GIL released, and appends the results to `list`. `before` is the number
    /// of messages that came before in the batch.
    pub(super) fn waiting(
        &mut self,
        compiled: &Compiled,
        waiting: &Waiting,
        before: usize,
        list: &Bound<'_, PyList>,
    ) -> PyResult<()> {
        let py = list.py();
        without_gil(py, || self.evaluate(&compiled.set, waiting.messages(), before))?;
        self.make_tuples(py, compiled)?;
        for id in &self.results {
            list.append(self.tuple(py, *id))?;
        }
        self.results.clear();
        Ok(())
    }

    /// Matches messages that lie one after another, the GIL released.
    pub(super) fn encoded<'py>(
        &mut self,
        py: Python<'py>,
        compiled: &Compiled,
        data: &[u8],
    ) -> PyResult<Bound<'py, PyList>> {
        let messages = || EncodedMessages::new(data).map(|msg| msg.map_err(|e: EncodedError| e.to_string()));
        without_gil(py, || self.evaluate(&compiled.set, messages(), 0))?;
        self.make_tuples(py, compiled)?;
        let tuples = self.results.iter().map(|id| self.tuple(py, *id));
        let list = PyList::new(py, tuples)?;
        self.results.clear();
        Ok(list)
    }

    fn evaluate<'m>(
        &mut self,
        set: &RouteSet,
        messages: impl Iterator<Item = Result<EncodedMessage<'m>, String>>,
        before: usize,
    ) -> Result<(), BadMessage> {
        // Messages of one source come in runs.
        let mut last = ("", Source::parse(""));
        for (index, msg) in messages.enumerate() {
            let msg = msg.map_err(|what| BadMessage::new(before + index, what))?;
            if msg.source_path() != last.0 {
                last = (msg.source_path(), msg.source());
            }
            let id = self.one(set, last.1, &msg);
            self.results.push(id);
        }
        Ok(())
    }

    /// The deliveries of a list that has its tuple; see [`Matcher::make_tuples`].
    pub(super) fn tuple<'py>(&self, py: Python<'py>, id: u32) -> Bound<'py, PyTuple> {
        self.tuples.get(id as usize).map_or_else(|| PyTuple::empty(py), |tuple| tuple.bind(py).clone())
    }

    /// Makes the tuples of lists that are new.
    pub(super) fn make_tuples(&mut self, py: Python<'_>, compiled: &Compiled) -> PyResult<()> {
        for id in self.tuples.len()..self.lists.len() {
            let deliveries =
                self.lists.get(id as u32).iter().filter_map(|route| compiled.delivery(py, *route));
            let tuple = PyTuple::new(py, deliveries.collect::<Vec<_>>())?;
            self.tuples.push(tuple.unbind());
        }
        Ok(())
    }
}
