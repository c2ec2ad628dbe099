//! What can go wrong, by the number that librdkafka gives it.

use std::fmt;

use kafka_protocol::error::ResponseError;

use crate::config::Address;

/// Failures on our side of the connection. Their numbers are those of librdkafka's
/// `rd_kafka_resp_err_t`, so that they have the same names and meanings in both clients; positive
/// numbers are error codes of Kafka's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Local {
    /// The answer could not be read.
    BadMessage = -199,
    /// The connection failed.
    Transport = -195,
    /// The name of a host is not known.
    Resolve = -193,
    /// A batch was not acknowledged in time.
    MessageTimedOut = -192,
    /// The topic does not exist.
    UnknownTopic = -188,
    /// A setting cannot work.
    InvalidArgument = -186,
    /// No answer came in time.
    TimedOut = -185,
    /// The encrypted connection could not be made.
    Ssl = -181,
    /// The broker did not accept user or password.
    Authentication = -169,
    /// The broker is too old or too new.
    UnsupportedFeature = -165,
    /// Given up before it was sent.
    PurgedInQueue = -152,
    /// Given up after it was sent, so that it may have arrived.
    PurgedInFlight = -151,
}

impl Local {
    pub(crate) const fn code(self) -> i32 {
        self as i32
    }
}

/// A failure: what kind, and in words where and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Number, see [`Local`].
    pub code: i32,
    /// What happened, in a few words and without secrets.
    pub text: String,
}

impl Error {
    pub(crate) fn new(kind: Local, text: impl Into<String>) -> Self {
        Self { code: kind.code(), text: text.into() }
    }

    pub(crate) fn of_broker(error: ResponseError, text: impl Into<String>) -> Self {
        Self { code: error.code().into(), text: text.into() }
    }

    /// The same, and which broker it is about.
    #[must_use]
    pub(crate) fn at(&self, address: &Address) -> Self {
        let address = address.to_string();
        if self.text.starts_with(&address) {
            return self.clone();
        }
        Self { code: self.code, text: format!("{address}: {}", self.text) }
    }

    /// Whether the name of a host is not known.
    pub fn is_unknown_name(&self) -> bool {
        self.code == Local::Resolve.code()
    }

    /// Whether no other attempt can help: the configuration is wrong.
    pub(crate) fn is_final(&self) -> bool {
        const LOCAL: [Local; 4] =
            [Local::InvalidArgument, Local::Ssl, Local::Authentication, Local::UnsupportedFeature];
        const OF_BROKERS: [ResponseError; 5] = [
            ResponseError::UnsupportedSaslMechanism,
            ResponseError::IllegalSaslState,
            ResponseError::SaslAuthenticationFailed,
            ResponseError::ClusterAuthorizationFailed,
            ResponseError::UnsupportedVersion,
        ];
        LOCAL.iter().any(|kind| kind.code() == self.code)
            || OF_BROKERS.iter().any(|error| i32::from(error.code()) == self.code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
