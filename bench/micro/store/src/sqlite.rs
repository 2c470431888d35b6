//! `SQLite`: a table of messages and one of references, a transaction for each call.

use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, Error, params};

use crate::BenchError;
use crate::contender::{Contender, OpenOptions};
use crate::payload::Payloads;

const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS message (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS reference (
    endpoint INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (endpoint, number)) WITHOUT ROWID;
";
const PUT_MESSAGE: &str = "INSERT INTO message VALUES (?1, ?2)";
const PUT_REFERENCE: &str = "INSERT INTO reference VALUES (?1, ?2)";
const NEXT: &str = "SELECT reference.number, body FROM reference JOIN message USING (number) \
    WHERE endpoint = ?1 AND reference.number >= ?2 ORDER BY reference.number LIMIT ?3";
const DELETE_REFERENCES: &str = "DELETE FROM reference WHERE endpoint = ?1 AND number < ?2";
const DELETE_MESSAGES: &str = "DELETE FROM message WHERE number < ?1";
const FIRST: &str = "SELECT coalesce(min(number), 0) FROM reference WHERE endpoint = ?1";

fn failed(action: &'static str) -> impl Fn(Error) -> BenchError {
    move |error| BenchError::Contender { contender: "sqlite", action, reason: error.to_string() }
}

/// As the library takes it; larger ones do not occur.
fn integer(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The database as a set of queues.
pub struct Sqlite {
    connection: Connection,
    /// For each endpoint the number of its next message.
    heads: Vec<i64>,
    body: Vec<u8>,
}

impl Sqlite {
    /// Opens or makes the database.
    ///
    /// # Errors
    /// [`BenchError::Contender`].
    pub fn open(folder: &Path, options: OpenOptions) -> Result<Self, BenchError> {
        let failed = failed("open");
        let connection = Connection::open(folder.join("store.sqlite")).map_err(&failed)?;
        connection.execute_batch(SCHEMA).map_err(&failed)?;
        let first = |endpoint: usize| connection.query_row(FIRST, [integer(endpoint)], |row| row.get(0));
        let heads = (0..options.endpoints).map(first).collect::<Result<_, _>>().map_err(&failed)?;
        Ok(Self { connection, heads, body: Vec::new() })
    }

    fn insert(&mut self, numbers: Range<u64>, payloads: &Payloads) -> Result<(), Error> {
        let transaction = self.connection.transaction()?;
        {
            let mut put_message = transaction.prepare_cached(PUT_MESSAGE)?;
            let mut put_reference = transaction.prepare_cached(PUT_REFERENCE)?;
            for number in numbers {
                self.body.clear();
                payloads.write(number, &mut self.body);
                put_message.execute(params![number.cast_signed(), self.body])?;
                for endpoint in 0..self.heads.len() {
                    put_reference.execute([integer(endpoint), number.cast_signed()])?;
                }
            }
        }
        transaction.commit()
    }

    fn deliver(
        &mut self,
        endpoint: usize,
        max: usize,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Error> {
        let Some(head) = self.heads.get_mut(endpoint) else { return Ok(0) };
        let mut next = self.connection.prepare_cached(NEXT)?;
        let mut rows = next.query([integer(endpoint), *head, integer(max)])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            deliver(row.get_ref(1)?.as_blob()?);
            *head = row.get::<_, i64>(0)? + 1;
            count += 1;
        }
        Ok(count)
    }

    /// Removes what is below the heads.
    fn delete(&mut self, endpoint: usize) -> Result<(), Error> {
        let lowest = self.heads.iter().copied().min().unwrap_or_default();
        let head = self.heads.get(endpoint).copied().unwrap_or_default();
        let transaction = self.connection.transaction()?;
        transaction.prepare_cached(DELETE_REFERENCES)?.execute([integer(endpoint), head])?;
        transaction.prepare_cached(DELETE_MESSAGES)?.execute([lowest])?;
        transaction.commit()
    }
}

impl Contender for Sqlite {
    fn append(&mut self, numbers: Range<u64>, payloads: &Payloads) -> Result<(), BenchError> {
        self.insert(numbers, payloads).map_err(failed("insert"))
    }

    fn settle(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    fn consume(
        &mut self,
        endpoint: usize,
        max: usize,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, BenchError> {
        let count = self.deliver(endpoint, max, deliver).map_err(failed("select"))?;
        if count > 0 {
            self.delete(endpoint).map_err(failed("delete"))?;
        }
        Ok(count)
    }

    fn close(self: Box<Self>) -> Result<(), BenchError> {
        self.connection.close().map_err(|(_, error)| failed("close")(error))
    }
}
