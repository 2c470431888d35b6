//! Routes that take messages of one source, and which of them are worth a look for a message.
//!
//! Many routes often ask one property for equality, each with another text (`kind = 'a'`,
//! `kind = 'b'`, ...). They are put into a table by that text, so that one look finds those that can
//! match. The conditions found are still evaluated as a whole.

use std::collections::HashMap;

use crate::machine::Machine;
use crate::message::MessageView;
use crate::program::Program;
use crate::text_table::{Case, TextTable};

/// Routes that ask one operand for equality before a table pays.
const TABLE_ROUTES_MIN: usize = 2;

/// The same for a path in the body, which the table reads even if no other clause would.
const BODY_TABLE_ROUTES_MIN: usize = 8;

/// Routes, by rank, each in exactly one of the lists.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Routes to look at for every message, in the order of their ranks.
    always: Vec<u32>,
    tables: Vec<EqualityTable>,
}

/// Routes that can match only if the value of a slot is a certain text.
#[derive(Debug)]
struct EqualityTable {
    slot: u32,
    by_text: TextTable<Vec<u32>>,
}

impl Bucket {
    /// Adds a route; ranks come in ascending order.
    pub(crate) fn add(&mut self, rank: u32) {
        self.always.push(rank);
    }

    /// Moves routes into tables where that pays. `equalities` are, by rank, slots and text constants
    /// that must be equal.
    pub(crate) fn index(&mut self, program: &Program, equalities: &[Vec<(u32, u32)>]) {
        let mut popularity: HashMap<u32, usize> = HashMap::new();
        let keys = |rank: u32| equalities.get(rank as usize).map_or(&[][..], Vec::as_slice);
        for (slot, _) in self.always.iter().flat_map(|rank| keys(*rank)) {
            *popularity.entry(*slot).or_default() += 1;
        }
        let pays = |slot: u32| {
            let min = if program.reads_body(slot) { BODY_TABLE_ROUTES_MIN } else { TABLE_ROUTES_MIN };
            popularity.get(&slot).copied().filter(|routes| *routes >= min)
        };
        let ranks = std::mem::take(&mut self.always);
        for rank in ranks {
            let best = keys(rank).iter().max_by_key(|(slot, _)| (pays(*slot), std::cmp::Reverse(*slot)));
            match best.filter(|(slot, _)| pays(*slot).is_some()) {
                Some((slot, text)) => self.table(*slot, program, *text).push(rank),
                None => self.always.push(rank),
            }
        }
    }

    fn table(&mut self, slot: u32, program: &Program, text: u32) -> &mut Vec<u32> {
        let known = self.tables.iter().position(|table| table.slot == slot);
        let at = known.unwrap_or_else(|| {
            self.tables.push(EqualityTable { slot, by_text: TextTable::new(Case::Exact) });
            self.tables.len() - 1
        });
        self.tables[at].by_text.get_or_insert_with(program.text(text), Vec::new)
    }

    /// The routes to look at, in the order of their ranks, if they are the same for every message.
    #[inline]
    pub(crate) fn fixed(&self) -> Option<&[u32]> {
        self.tables.is_empty().then_some(&self.always)
    }

    /// Puts the routes that can match into `ranks`; not in order if it holds more than one run.
    #[inline]
    pub(crate) fn gather<M: MessageView + ?Sized>(
        &self,
        machine: &mut Machine<'_, '_, M>,
        ranks: &mut Gathered,
    ) {
        ranks.extend(&self.always);
        for table in &self.tables {
            let value = machine.slot(table.slot);
            if let Some(found) = machine.text(value).and_then(|text| table.by_text.get(text)) {
                ranks.extend(found);
            }
        }
    }
}

/// Ranks gathered from several lists.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    ranks: Vec<u32>,
    runs: usize,
}

impl Gathered {
    pub(crate) fn clear(&mut self) {
        self.ranks.clear();
        self.runs = 0;
    }

    #[inline]
    pub(crate) fn extend(&mut self, run: &[u32]) {
        if !run.is_empty() {
            self.runs += 1;
            self.ranks.extend_from_slice(run);
        }
    }

    /// Adds one more rank of the last run.
    pub(crate) fn push(&mut self, rank: u32) {
        self.ranks.push(rank);
    }

    /// All ranks in ascending order.
    #[inline]
    pub(crate) fn sorted(&mut self) -> &[u32] {
        if self.runs > 1 {
            self.ranks.sort_unstable();
        }
        &self.ranks
    }
}
