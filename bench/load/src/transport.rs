//! A non-blocking TCP or TLS connection that reads and writes in large pieces.

use std::io::{self, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::error::ClientError;

/// Bytes asked from a socket at once.
pub const READ_BYTES: usize = 256 * 1024;

/// Read buffers shared by all connections of a thread.
#[derive(Debug)]
pub struct Buffers {
    /// What the protocol sees. Has room for a whole read behind an incomplete packet.
    pub plain: Box<[u8]>,
    /// What a TLS socket gave.
    cipher: Box<[u8]>,
}

impl Default for Buffers {
    fn default() -> Self {
        let zeros = |len| vec![0; len].into_boxed_slice();
        Self { plain: zeros(READ_BYTES + crate::conn::PACKET_BYTES_MAX + 5), cipher: zeros(READ_BYTES) }
    }
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes put into the buffer.
    pub bytes: usize,
    /// Whether the socket may have more at once.
    pub more: bool,
}

/// A connection.
#[derive(Debug)]
pub enum Transport {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream>),
}

/// TLS over TCP.
#[derive(Debug)]
pub struct TlsStream {
    stream: TcpStream,
    session: ClientConnection,
}

impl Transport {
    /// TLS on a connected socket; the handshake goes on as it is read and written.
    ///
    /// # Errors
    /// rustls refuses the configuration.
    pub fn tls(
        stream: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let mut session = ClientConnection::new(config, name)?;
        // What is written is bounded by the windows of the publishers already.
        session.set_buffer_limit(None);
        Ok(Self::Tls(Box::new(TlsStream { stream, session })))
    }

    /// The socket, to register it.
    pub const fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &mut tls.stream,
        }
    }

    /// TLS version and cipher suite once agreed.
    pub fn tls_facts(&self) -> Option<String> {
        let Self::Tls(tls) = self else { return None };
        let suite = tls.session.negotiated_cipher_suite()?.suite();
        Some(format!("{:?} {suite:?}", tls.session.protocol_version()?))
    }

    /// Reads once from the socket, and puts what comes of it at the start of `buffers.plain[from..]`.
    ///
    /// # Errors
    /// The connection failed or was closed.
    pub fn receive(&mut self, buffers: &mut Buffers, from: usize) -> Result<Received, ClientError> {
        let plain = buffers.plain.get_mut(from..).unwrap_or_default();
        match self {
            Self::Plain(stream) => {
                let asked = plain.len().min(READ_BYTES);
                let bytes = read_socket(stream, &mut plain[..asked])?;
                Ok(Received { bytes, more: bytes == asked })
            }
            Self::Tls(tls) => tls.receive(plain, &mut buffers.cipher),
        }
    }

    /// Writes `out` as far as the socket takes it; true when nothing is left to be written.
    ///
    /// # Errors
    /// The connection failed.
    pub fn send(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Self::Plain(stream) => {
                while !out.is_empty() {
                    match again_is_none(stream.write(out))? {
                        Some(count) => drop(out.drain(..count)),
                        None => return Ok(false),
                    }
                }
                Ok(true)
            }
            Self::Tls(tls) => tls.send(out),
        }
    }

    /// Says that nothing more will be sent; for TLS only, TCP says it by closing.
    pub fn finish(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
        }
    }
}

impl TlsStream {
    fn receive(&mut self, plain: &mut [u8], cipher: &mut [u8]) -> Result<Received, ClientError> {
        // Never more ciphertext than there is room for plaintext: the session then keeps none of it back.
        let asked = plain.len().min(cipher.len());
        let count = read_socket(&mut self.stream, &mut cipher[..asked])?;
        let mut rest = &cipher[..count];
        let mut bytes = 0;
        while !rest.is_empty() {
            self.session.read_tls(&mut rest)?;
            let state = self.session.process_new_packets().map_err(io::Error::other)?;
            let available = state.plaintext_bytes_to_read();
            if available > 0 {
                let target = plain.get_mut(bytes..bytes + available).unwrap_or_default();
                self.session.reader().read_exact(target)?;
                bytes += target.len();
            }
            if state.peer_has_closed() {
                return Err(ClientError::Closed("by a TLS close_notify"));
            }
        }
        Ok(Received { bytes, more: count == asked })
    }

    fn send(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        if !out.is_empty() {
            self.session.writer().write_all(out)?;
            out.clear();
        }
        while self.session.wants_write() {
            if again_is_none(self.session.write_tls(&mut self.stream))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Bytes read; 0 when the socket has none now.
fn read_socket(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<usize, ClientError> {
    match again_is_none(stream.read(buffer))? {
        Some(0) => Err(ClientError::Closed("without a word")),
        Some(count) => Ok(count),
        None => Ok(0),
    }
}

/// A call that would block is `None`.
fn again_is_none(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(err) => Err(err),
    }
}
