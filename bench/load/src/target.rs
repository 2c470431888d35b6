//! Where and how to connect.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::config::RunConfig;
use crate::error::{ClientError, LoadError};
use crate::tls;
use crate::transport::Transport;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The broker's address, and TLS if it is to be spoken.
pub struct Target {
    address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Target {
    /// Looks the address up and loads what TLS needs.
    ///
    /// # Errors
    /// The host has no address, the server name is none, or there are no usable certificates.
    pub fn new(config: &RunConfig) -> Result<Self, LoadError> {
        let address = (config.host.as_str(), config.port)
            .to_socket_addrs()
            .and_then(|mut all| all.next().ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(|source| LoadError::System { what: "address of the broker", source })?;
        let tls = match &config.tls {
            None => None,
            Some(settings) => {
                let name = ServerName::try_from(settings.server_name.clone()).map_err(|err| {
                    LoadError::Tls(format!("server name {:?}: {err}", settings.server_name))
                })?;
                Some((tls::client_config(settings.ca_file.as_deref())?, name))
            }
        };
        Ok(Self { address, tls })
    }

    /// A connection whose TCP handshake is done.
    ///
    /// # Errors
    /// Refused, or not done in time.
    pub fn connect(&self) -> Result<Transport, ClientError> {
        let stream = std::net::TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT)?;
        stream.set_nonblocking(true)?;
        self.wrap(TcpStream::from_std(stream))
    }

    /// A connection that is under way: the first write or read tells whether it came about.
    ///
    /// # Errors
    /// The system has no socket or port left.
    pub fn begin(&self) -> Result<Transport, ClientError> {
        self.wrap(TcpStream::connect(self.address)?)
    }

    fn wrap(&self, stream: TcpStream) -> Result<Transport, ClientError> {
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Transport::Plain(stream)),
            Some((config, name)) => {
                let transport = Transport::tls(stream, Arc::clone(config), name.clone());
                transport.map_err(|err| io::Error::other(err).into())
            }
        }
    }
}
