//! Listening sockets.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use mio::net::TcpListener;

use crate::error::NetError;
use crate::tls::TlsAcceptor;

/// A listening socket and what its connections are to be.
pub(crate) struct Listener {
    pub id: u32,
    pub socket: TcpListener,
    pub tls: Option<Arc<TlsAcceptor>>,
}

/// Binds `host:port`. An empty host means every address, IPv6 with IPv4 where the system has both.
pub(crate) fn bind(host: &str, port: u16, backlog: u32) -> Result<(TcpListener, u16), NetError> {
    let address = format!("{}:{port}", if host.is_empty() { "*" } else { host });
    let fail = |source| NetError::Listen { address: address.clone(), source };
    let socket = match host {
        "" => bind_any(port).map_err(fail)?,
        _ => bind_first((host, port).to_socket_addrs().map_err(fail)?).map_err(fail)?,
    };
    set_backlog(&socket, backlog).map_err(fail)?;
    let port = socket.local_addr().map_err(fail)?.port();
    Ok((socket, port))
}

fn bind_any(port: u16) -> io::Result<TcpListener> {
    let [v6, v4] = [SocketAddr::from(([0_u16; 8], port)), SocketAddr::from(([0_u8; 4], port))];
    TcpListener::bind(v6).or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
        _ => TcpListener::bind(v4),
    })
}

fn bind_first(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in addresses {
        match TcpListener::bind(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Listening again on a listening socket changes nothing but the length of its queue.
fn set_backlog(socket: &TcpListener, backlog: u32) -> io::Result<()> {
    let backlog = libc::c_int::try_from(backlog).unwrap_or(libc::c_int::MAX);
    // SAFETY: the descriptor is open for the life of `socket`.
    if unsafe { libc::listen(socket.as_raw_fd(), backlog) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_zero_is_any_free_port_and_a_taken_one_is_named() {
        let (socket, port) = bind("127.0.0.1", 0, 8).unwrap();
        assert_ne!(port, 0);
        let error = bind("127.0.0.1", port, 8).unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
        drop(socket);
    }
}
