//! The ledger as a text file: what is described in `docs/store-format.md`, section 10.

use std::fmt::Write as _;
use std::str::{FromStr, SplitN};
use std::sync::Arc;

use edgehub_types::UnixMs;

use super::{LOSSES_KEPT, Loss, LossCause};
use crate::batch::QueueId;

/// Version of the file.
const VERSION: u32 = 1;
/// Text of the totals by queue; what is beyond goes into totals of queue 0, one for each cause.
const TOTALS_BYTES_MAX: usize = 2 << 20;
/// A longer file is not read: 1000 losses with the longest endpoints, every byte of them escaped, and the totals.
pub(crate) const BOOK_BYTES_MAX: usize =
    TOTALS_BYTES_MAX + LOSSES_KEPT * (2 * crate::ENDPOINT_BYTES_MAX + 128);

/// Messages that left one queue undelivered for one cause since the folder of the store was made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LossTotal {
    /// Id of the queue; 0 stands for all queues that are not listed, because there are too many.
    pub queue: QueueId,
    /// Its endpoint; empty when its definition is lost.
    pub endpoint: Arc<str>,
    /// Its priority, 0 is the highest.
    pub priority: u32,
    /// Why.
    pub cause: LossCause,
    /// Messages.
    pub count: u64,
}

/// The losses of a store over all its runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LossBook {
    /// By queue and cause.
    pub totals: Vec<LossTotal>,
    /// The last [`LOSSES_KEPT`], oldest first.
    pub last: Vec<Loss>,
    /// When this was written, by the wall clock; `None` when nothing was lost so far.
    pub written_at: Option<UnixMs>,
}

/// Why the text of a [`LossBook`] cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LossBookError {
    /// The last line with the checksum is missing or does not fit: the file was written half, or changed.
    #[error("its checksum is wrong")]
    Checksum,
    /// Another version of this program wrote it.
    #[error("format version {found}; this program reads version {VERSION}")]
    Version {
        /// Version in the file.
        found: u32,
    },
    /// The system does not give it.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// What the system says.
        reason: String,
    },
    /// It belongs to another folder.
    #[error("it is of another store")]
    OtherStore,
    /// A line does not say what it should.
    #[error("line {line}: {wanted} expected")]
    Line {
        /// Its number, 1 is the first.
        line: usize,
        /// What should be there.
        wanted: &'static str,
    },
}

impl LossBook {
    /// Its text; `salt` is that of the store.
    pub fn to_text(&self, salt: u64) -> String {
        let mut text =
            format!("edgehub losses\t{VERSION}\t{salt:016x}\t{}\n", self.written_at.unwrap_or(UnixMs(0)).0);
        let mut beyond = [0_u64; LossCause::ALL.len()];
        for LossTotal { queue, endpoint, priority, cause, count } in &self.totals {
            if text.len() >= TOTALS_BYTES_MAX || queue.0 == 0 {
                let slot = &mut beyond[*cause as usize];
                *slot = slot.saturating_add(*count);
                continue;
            }
            let _ = write!(text, "total\t{}\t{priority}\t{cause}\t{count}\t", queue.0);
            put_escaped(&mut text, endpoint);
        }
        for (cause, count) in LossCause::ALL.into_iter().zip(beyond).filter(|(_, count)| *count > 0) {
            let _ = writeln!(text, "total\t0\t0\t{cause}\t{count}\t");
        }
        for Loss { queue, endpoint, priority, first_seq, count, cause, at } in &self.last {
            let _ = write!(text, "loss\t{}\t{}\t{priority}\t{cause}\t{first_seq}\t{count}\t", at.0, queue.0);
            put_escaped(&mut text, endpoint);
        }
        let crc = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "end\t{crc:08x}");
        text
    }

    /// Reads such a text; with a salt, only that of this store.
    ///
    /// # Errors
    /// [`LossBookError`].
    pub fn from_text(text: &str, salt: Option<u64>) -> Result<Self, LossBookError> {
        let lines = checked_lines(text)?;
        let mut lines = lines.lines().zip(1..);
        let head = Fields::of(lines.next().unwrap_or_default(), 4);
        let mut book = Self { written_at: Some(read_head(head, salt)?), ..Self::default() };
        for line in lines {
            let mut fields = Fields::of(line, 8);
            match fields.next("a word")? {
                "total" => book.totals.push(fields.total()?),
                "loss" if book.last.len() < LOSSES_KEPT => book.last.push(fields.loss()?),
                _ => return Err(fields.failed("total or loss")),
            }
        }
        Ok(book)
    }
}

/// What the checksum in the last line covers.
fn checked_lines(text: &str) -> Result<&str, LossBookError> {
    let (lines, crc) = text.rsplit_once("end\t").ok_or(LossBookError::Checksum)?;
    let crc = crc.strip_suffix('\n').filter(|digits| digits.len() == 8).ok_or(LossBookError::Checksum)?;
    let fits = u32::from_str_radix(crc, 16).is_ok_and(|crc| crc == crc32fast::hash(lines.as_bytes()));
    if fits && lines.ends_with('\n') { Ok(lines) } else { Err(LossBookError::Checksum) }
}

fn read_head(mut fields: Fields<'_>, salt: Option<u64>) -> Result<UnixMs, LossBookError> {
    if fields.next("edgehub losses")? != "edgehub losses" {
        return Err(fields.failed("edgehub losses"));
    }
    let found = fields.number("a version")?;
    if found != VERSION {
        return Err(LossBookError::Version { found });
    }
    let digits = fields.next("the salt")?;
    let found = u64::from_str_radix(digits, 16).map_err(|_| fields.failed("a salt of 16 digits"))?;
    if salt.is_some_and(|salt| salt != found) {
        return Err(LossBookError::OtherStore);
    }
    fields.number("a time").map(UnixMs)
}

/// Tabs part the fields and line feeds the lines, so neither may be in an endpoint.
fn put_escaped(text: &mut String, endpoint: &str) {
    for char in endpoint.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            other => text.push(other),
        }
    }
    text.push('\n');
}

fn unescaped(text: &str) -> Option<Arc<str>> {
    let (mut plain, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(char) = chars.next() {
        plain.push(match char {
            '\\' => match chars.next()? {
                '\\' => '\\',
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(Arc::from(plain))
}

/// The fields of one line.
struct Fields<'a> {
    fields: SplitN<'a, char>,
    line: usize,
}

impl<'a> Fields<'a> {
    fn of((text, line): (&'a str, usize), fields_max: usize) -> Self {
        Self { fields: text.splitn(fields_max, '\t'), line }
    }

    fn failed(&self, wanted: &'static str) -> LossBookError {
        LossBookError::Line { line: self.line, wanted }
    }

    fn next(&mut self, wanted: &'static str) -> Result<&'a str, LossBookError> {
        self.fields.next().ok_or_else(|| self.failed(wanted))
    }

    fn number<T: FromStr>(&mut self, wanted: &'static str) -> Result<T, LossBookError> {
        self.next(wanted)?.parse().map_err(|_| self.failed(wanted))
    }

    fn cause(&mut self) -> Result<LossCause, LossBookError> {
        let name = self.next("a cause")?;
        LossCause::ALL.into_iter().find(|cause| cause.name() == name).ok_or_else(|| self.failed("a cause"))
    }

    fn endpoint(&mut self) -> Result<Arc<str>, LossBookError> {
        let endpoint = unescaped(self.next("an endpoint")?).ok_or_else(|| self.failed("an endpoint"))?;
        match self.fields.next() {
            None => Ok(endpoint),
            Some(_) => Err(self.failed("no further field")),
        }
    }

    fn total(mut self) -> Result<LossTotal, LossBookError> {
        Ok(LossTotal {
            queue: QueueId(self.number("a queue")?),
            priority: self.number("a priority")?,
            cause: self.cause()?,
            count: self.number("a count")?,
            endpoint: self.endpoint()?,
        })
    }

    fn loss(mut self) -> Result<Loss, LossBookError> {
        Ok(Loss {
            at: UnixMs(self.number("a time")?),
            queue: QueueId(self.number("a queue")?),
            priority: self.number("a priority")?,
            cause: self.cause()?,
            first_seq: self.number("a number")?,
            count: self.number("a count")?,
            endpoint: self.endpoint()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn causes() -> impl Strategy<Value = LossCause> {
        proptest::sample::select(LossCause::ALL.to_vec())
    }

    prop_compose! {
        fn totals()(queue in 1..9_u32, endpoint in "[\\PC\t\n\r\\\\]{0,12}", priority: u32, cause in causes(), count: u64) -> LossTotal {
            LossTotal { queue: QueueId(queue), endpoint: Arc::from(endpoint), priority, cause, count }
        }
    }

    prop_compose! {
        fn books()(
            totals in proptest::collection::vec(totals(), 0..6),
            last in proptest::collection::vec((totals(), any::<u64>(), any::<u64>()), 0..6),
            at: u64,
        ) -> LossBook {
            let last = last.into_iter().map(|(total, first_seq, at)| {
                let LossTotal { queue, endpoint, priority, cause, count } = total;
                Loss { queue, endpoint, priority, first_seq, count, cause, at: UnixMs(at) }
            });
            LossBook { totals, last: last.collect(), written_at: Some(UnixMs(at)) }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(book in books(), salt: u64) {
            let text = book.to_text(salt);
            prop_assert_eq!(LossBook::from_text(&text, Some(salt)), Ok(book.clone()));
            prop_assert_eq!(LossBook::from_text(&text, None), Ok(book));
            let other = LossBook::from_text(&text, Some(salt ^ 1));
            prop_assert_eq!(other, Err(LossBookError::OtherStore));
        }

        #[test]
        fn a_part_of_it_is_refused(book in books(), part in 0.0..1.0) {
            let text = book.to_text(7);
            let chars: Vec<_> = text.chars().collect();
            let part: String = chars[..(chars.len() as f64 * part) as usize].iter().collect();
            prop_assert_eq!(LossBook::from_text(&part, None), Err(LossBookError::Checksum));
        }
    }

    fn sealed(lines: &str) -> String {
        format!("{lines}end\t{:08x}\n", crc32fast::hash(lines.as_bytes()))
    }

    #[test]
    fn the_format_is_this_one() {
        let text = sealed(concat!(
            "edgehub losses\t1\t00000000000000ff\t1700000000000\n",
            "total\t3\t5\texpired\t12\tedge1/filter/a\\tb\n",
            "loss\t1699999999999\t3\t5\tquota\t100\t7\tedge1/filter/a\\tb\n",
        ));
        let (queue, endpoint, priority) = (QueueId(3), Arc::from("edge1/filter/a\tb"), 5);
        let total = LossTotal {
            queue,
            endpoint: Arc::clone(&endpoint),
            priority,
            cause: LossCause::Expired,
            count: 12,
        };
        let at = UnixMs(1_699_999_999_999);
        let loss = Loss { queue, endpoint, priority, first_seq: 100, count: 7, cause: LossCause::Quota, at };
        let written_at = Some(UnixMs(1_700_000_000_000));
        let book = LossBook { totals: vec![total], last: vec![loss], written_at };
        assert_eq!(LossBook::from_text(&text, Some(255)), Ok(book.clone()));
        assert_eq!(book.to_text(255), text);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let head = "edgehub losses\t1\t0000000000000000\t5\n";
        let cases = [
            ("", "line 1: edgehub losses expected"),
            ("edgehub losses\t2\n", "format version 2; this program reads version 1"),
            ("edgehub losses\t1\tx\t5\n", "line 1: a salt of 16 digits expected"),
            ("edgehub losses\t1\t0\n", "line 1: a time expected"),
            ("H\nmore\t1\n", "line 2: total or loss expected"),
            ("H\ntotal\t1\t0\texpired\t-1\te\n", "line 2: a count expected"),
            ("H\ntotal\t1\t0\tstolen\t1\te\n", "line 2: a cause expected"),
            ("H\ntotal\t1\t0\tquota\t1\n", "line 2: an endpoint expected"),
            ("H\ntotal\t1\t0\tquota\t1\te\\\n", "line 2: an endpoint expected"),
            ("H\ntotal\t1\t0\tquota\t1\te\tf\n", "line 2: no further field expected"),
            ("H\nloss\t1\t0\tquota\t1\te\n", "line 2: a priority expected"),
        ];
        for (lines, wanted) in cases {
            let text = sealed(&lines.replace("H\n", head));
            let found = LossBook::from_text(&text, Some(0)).unwrap_err().to_string();
            let wanted = if lines.is_empty() { "its checksum is wrong" } else { wanted };
            assert_eq!(found, wanted, "{lines:?}");
        }
    }

    #[test]
    fn queues_without_number_are_summed_up_where_there_are_too_many() {
        let total = |n: u32| LossTotal {
            queue: QueueId(n),
            endpoint: Arc::from("\n".repeat(1000)),
            priority: 0,
            cause: LossCause::Expired,
            count: 2,
        };
        let book = LossBook { totals: (1..=2000).map(total).collect(), ..LossBook::default() };
        let text = book.to_text(1);
        assert!(text.len() < BOOK_BYTES_MAX);
        let read = LossBook::from_text(&text, None).unwrap();
        let rest = read.totals.last().unwrap();
        assert_eq!((rest.queue, &*rest.endpoint, rest.cause), (QueueId(0), "", LossCause::Expired));
        assert_eq!(read.totals.iter().map(|total| total.count).sum::<u64>(), 4000);
        assert_eq!(rest.count, (2000 - (read.totals.len() as u64 - 1)) * 2);
        assert_eq!(LossBook::from_text(&read.to_text(1), None).unwrap().totals, read.totals);
    }
}
