//! One socket, plain or TLS: received bytes to the shard, the shard's bytes out.

use std::io::{self, BufRead, Read, Write};
use std::sync::atomic::Ordering;

use edgehub_engine::{CloseReason, ConnId, IoStats, Shard};
use rustls::ServerConnection;

use crate::stream::Stream;
use crate::tls::TlsAcceptor;

/// What a read or a write left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing more for now; the poll will tell.
    Blocked,
    /// More can be done at once.
    More,
    /// The transport is finished.
    Ended(CloseReason, String),
}

/// System calls of one thread since it last told.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub reads: u64,
    pub writes: u64,
    pub polls: u64,
}

impl Calls {
    /// Adds them to the totals of the process.
    pub fn flush(&mut self, totals: &IoStats) {
        let Self { reads, writes, polls } = std::mem::take(self);
        for (total, count) in [(&totals.reads, reads), (&totals.writes, writes), (&totals.polls, polls)] {
            if count > 0 {
                total.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

/// What is known of the end of a peer's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing.
    Open,
    /// It was sent: read on until it is seen, whatever a short read says.
    Sent,
    /// It was seen, but what came before it still waits for the control plane or the store.
    Seen,
}

struct TlsSession {
    tls: ServerConnection,
    /// The client may have sent certificates; they are handed on when the handshake is done.
    awaits_certificates: bool,
}

/// A connection's socket.
pub(crate) struct Link {
    stream: Stream,
    tls: Option<Box<TlsSession>>,
    pub id: ConnId,
    /// The socket may have bytes; an edge was seen and not yet read to its end.
    pub readable: bool,
    pub end: End,
    /// Waits in the list of sockets to read.
    pub queued: bool,
}

impl Link {
    /// `tls_out_bytes_max` bounds what a TLS session keeps while the socket takes nothing.
    pub fn new(
        stream: Stream,
        tls: Option<&TlsAcceptor>,
        tls_out_bytes_max: usize,
        id: ConnId,
    ) -> Result<Self, rustls::Error> {
        let tls = tls.map(|acceptor| TlsSession::new(acceptor, tls_out_bytes_max)).transpose()?.map(Box::new);
        Ok(Self { stream, tls, id, readable: true, end: End::Open, queued: false })
    }

    /// Reads once, at most as much as `buffer` holds and the shard takes, and feeds it to the shard.
    pub fn read(&mut self, shard: &mut Shard, buffer: &mut [u8], calls: &mut Calls) -> Progress {
        if self.end == End::Seen {
            return Progress::Ended(CloseReason::Eof, String::new());
        }
        calls.reads += 1;
        let bytes_max = shard.input_bytes_max(self.id).min(buffer.len());
        let buffer = buffer.get_mut(..bytes_max).unwrap_or_default();
        let count = match self.stream.read(buffer) {
            Ok(0) => return Progress::Ended(CloseReason::Eof, String::new()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Progress::Blocked;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Progress::More,
            Err(error) => return Progress::Ended(CloseReason::Reset, error.to_string()),
        };
        // With an edge-triggered poll a short read means the socket is empty: the next byte is a new edge.
        let drained = count < buffer.len() && self.end == End::Open;
        let bytes = buffer.get(..count).unwrap_or_default();
        match &mut self.tls {
            None => shard.feed(self.id, bytes),
            Some(tls) => match tls.feed(bytes, self.id, shard) {
                Ok(TlsEnd::Open) => {}
                Ok(TlsEnd::Announced) => return Progress::Ended(CloseReason::Eof, String::new()),
                Err(detail) => {
                    self.send_alert();
                    return Progress::Ended(CloseReason::TlsError, detail);
                }
            },
        }
        self.readable = !drained;
        if drained { Progress::Blocked } else { Progress::More }
    }

    /// Whether TLS itself has something to send, such as its part of the handshake.
    pub fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|session| session.tls.wants_write())
    }

    /// Writes as much as the socket takes; what was written leaves `out`.
    pub fn write(&mut self, out: &mut Vec<u8>, calls: &mut Calls) -> Progress {
        let result = match &mut self.tls {
            None => write_plain(&mut self.stream, out, calls),
            Some(session) => write_tls(&mut session.tls, &mut self.stream, out, calls),
        };
        match result {
            Ok(true) => Progress::More,
            Ok(false) => Progress::Blocked,
            Err(error) => Progress::Ended(CloseReason::Reset, error.to_string()),
        }
    }

    /// Ends the TLS session properly and the stream with it; errors do not matter any more.
    pub fn shut_down(&mut self) {
        if let Some(session) = &mut self.tls {
            session.tls.send_close_notify();
            let _ = session.tls.write_tls(&mut self.stream);
        }
        let _ = self.stream.shut_down();
    }

    fn send_alert(&mut self) {
        if let Some(session) = &mut self.tls {
            let _ = session.tls.write_tls(&mut self.stream);
        }
    }
}

/// Whether more may come over a TLS session.
enum TlsEnd {
    Open,
    /// The peer sent `close_notify`: the session takes no bytes any more (RFC 8446 section 6.1).
    Announced,
}

impl TlsSession {
    fn new(acceptor: &TlsAcceptor, out_bytes_max: usize) -> Result<Self, rustls::Error> {
        let mut tls = acceptor.session()?;
        tls.set_buffer_limit(Some(out_bytes_max));
        Ok(Self { tls, awaits_certificates: acceptor.asks_certificates() })
    }

    fn feed(&mut self, mut bytes: &[u8], id: ConnId, shard: &mut Shard) -> Result<TlsEnd, String> {
        let tls = &mut self.tls;
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes).map_err(|error| error.to_string())?;
            let state = tls.process_new_packets().map_err(|error| error.to_string())?;
            if self.awaits_certificates && !tls.is_handshaking() {
                self.awaits_certificates = false;
                hand_on_certificates(tls, id, shard);
            }
            feed_plaintext(tls, id, shard);
            if state.peer_has_closed() {
                return Ok(TlsEnd::Announced);
            }
        }
        Ok(TlsEnd::Open)
    }
}

/// Before the first byte of the client, which may have come in the same segment as the end of the handshake.
fn hand_on_certificates(tls: &ServerConnection, id: ConnId, shard: &mut Shard) {
    let certificates = tls.peer_certificates().unwrap_or_default();
    shard.set_certificates(id, certificates.iter().map(|certificate| certificate.to_vec()).collect());
}

/// Hands on what was decrypted, without a copy.
fn feed_plaintext(tls: &mut ServerConnection, id: ConnId, shard: &mut Shard) {
    let mut reader = tls.reader();
    // An error here means no more plaintext, or the peer's end, which the socket tells as well.
    while let Ok(chunk) = reader.fill_buf() {
        if chunk.is_empty() {
            return;
        }
        let len = chunk.len();
        shard.feed(id, chunk);
        reader.consume(len);
    }
}

/// `true` when everything was written.
fn write_plain(stream: &mut Stream, out: &mut Vec<u8>, calls: &mut Calls) -> io::Result<bool> {
    let mut written = 0;
    let result = loop {
        let Some(rest) = out.get(written..).filter(|rest| !rest.is_empty()) else { break Ok(true) };
        calls.writes += 1;
        match stream.write(rest) {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    remove_front(out, written);
    result
}

fn write_tls(
    tls: &mut ServerConnection,
    stream: &mut Stream,
    out: &mut Vec<u8>,
    calls: &mut Calls,
) -> io::Result<bool> {
    loop {
        if !out.is_empty() {
            // Takes as much as the session's own buffer allows.
            let taken = tls.writer().write(out)?;
            remove_front(out, taken);
        }
        if !tls.wants_write() {
            return Ok(out.is_empty());
        }
        calls.writes += 1;
        match tls.write_tls(stream) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn remove_front(out: &mut Vec<u8>, count: usize) {
    if count == out.len() {
        out.clear();
    } else {
        out.drain(..count);
    }
}
