//! Byte streams to brokers: TCP, with TLS over it where that is configured.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::{Address, Client};
use crate::error::{Error, Local};
use crate::tls;

/// How long one address may take to answer at all.
const CONNECT: Duration = Duration::from_secs(5);

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens byte streams to addresses.
pub(crate) trait Transport: Send + Sync + 'static {
    type Stream: Stream + 'static;

    fn connect(
        &self,
        address: &Address,
    ) -> impl Future<Output = Result<Self::Stream, Error>> + Send;
}

/// TCP, and TLS if there is a connector for it.
pub(crate) struct Network {
    tls: Option<TlsConnector>,
}

impl Network {
    /// Reads all certificates and keys.
    pub(crate) fn new(client: &Client) -> Result<Self, Error> {
        Ok(Self { tls: client.tls.as_ref().map(tls::connector).transpose()? })
    }
}

impl Transport for Network {
    type Stream = Box<dyn Stream>;

    async fn connect(&self, address: &Address) -> Result<Self::Stream, Error> {
        let tcp = connect(address).await?;
        // Requests are written whole.
        let _ = tcp.set_nodelay(true);
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(address.host.clone()).map_err(|_| {
            Error::new(Local::Ssl, format!("{address} is no name for a certificate"))
        })?;
        let stream = tls.connect(name, tcp).await.map_err(|error| {
            // A broker that goes away in the midst of the handshake may come back.
            let kind = match error.kind() {
                io::ErrorKind::InvalidData => Local::Ssl,
                _ => Local::Transport,
            };
            Error::new(kind, format!("{address}: TLS failed: {error}"))
        })?;
        Ok(Box::new(stream))
    }
}

async fn connect(address: &Address) -> Result<TcpStream, Error> {
    let found = tokio::net::lookup_host((address.host.as_str(), address.port))
        .await
        .map_err(|error| Error::new(Local::Resolve, format!("{address}: {error}")))?;
    let mut last = Error::new(Local::Resolve, format!("{address}: the name has no address"));
    for one in found {
        // A name may have several addresses, of which one leads nowhere.
        match timeout(CONNECT, TcpStream::connect(one)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                last = Error::new(Local::Transport, format!("{address}: {error}"));
            }
            Err(_) => last = Error::new(Local::TimedOut, format!("{address} does not answer")),
        }
    }
    Err(last)
}
