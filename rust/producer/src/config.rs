//! How clients are configured: where to and as whom; and producers: how surely, how much at a time.

use std::fmt;
use std::time::Duration;

/// One address of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Which confirmation makes a batch acknowledged (Kafka's `acks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// None: a batch counts as acknowledged when it is handed to the network.
    None = 0,
    /// That of the leader.
    Leader = 1,
    /// That of all replicas that are in sync.
    All = -1,
}

/// How a client authenticates (RFC 4616, RFC 5802 and RFC 7677).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// The password itself.
    Plain,
    /// A proof of it, by SHA-256.
    ScramSha256,
    /// A proof of it, by SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// User and password.
#[derive(Clone)]
pub struct Sasl {
    /// Mechanism.
    pub mechanism: Mechanism,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sasl({}, user and password hidden)", self.mechanism.name())
    }
}

/// How a connection is encrypted. Everything is PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// Certificates of the authorities to trust; those of the system where there are none.
    pub ca: Option<Vec<u8>>,
    /// Our own certificate chain and its key, unencrypted, where brokers ask for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether the certificate has to be for the name that we connect to.
    pub verify_name: bool,
    /// Whether the certificate has to come from a trusted authority.
    pub verify_certificate: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(keys hidden)")
    }
}

/// What every client has: where to, as whom, and how long it waits.
#[derive(Debug, Clone)]
pub struct Client {
    /// Brokers to ask for the others, one after the other until one answers.
    pub bootstrap: Vec<Address>,
    /// Name that brokers write into their logs.
    pub client_id: String,
    /// First and longest wait before another try after a failure that may pass; it doubles.
    pub retry_backoff: (Duration, Duration),
    /// How long a broker may take to answer, and a connection to be made.
    pub request_timeout: Duration,
    /// Encryption, if any.
    pub tls: Option<Tls>,
    /// Authentication, if any.
    pub sasl: Option<Sasl>,
}

impl Client {
    /// The wait after so many failures, which doubles each time.
    pub(crate) fn backoff(&self, failures: u32) -> Duration {
        let (first, longest) = self.retry_backoff;
        first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(longest)
    }
}

/// Everything about a producer.
#[derive(Debug, Clone)]
pub struct Config {
    /// How it gets to the brokers.
    pub client: Client,
    /// Which confirmation counts.
    pub acks: Acks,
    /// Whether batches are numbered, so that brokers drop one that comes twice. With `Acks::All` only.
    pub idempotent: bool,
    /// How often a batch is sent again after a failure that may pass.
    pub retries: u32,
    /// How long a partition with batches may go without an acknowledgement.
    pub delivery_timeout: Duration,
    /// How long a batch that is not full waits for more records.
    pub linger: Duration,
    /// Requests that a broker may have from us and not have answered.
    pub max_in_flight: usize,
    /// Batches are put into one request until it has so many bytes.
    pub max_request_bytes: usize,
    /// Records that may wait or be in flight before the caller has to wait.
    pub queue_records: usize,
    /// Bytes of them, as they are sent.
    pub queue_bytes: usize,
}
