//! One connection to one broker: API versions, SASL; then requests and their answers.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, FetchRequest, RequestHeader, SaslAuthenticateRequest,
    SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::answer::{self, Answer, ApiVersions, Fetched, Malformed, Question};
use crate::config::{Address, Client, Mechanism, Sasl};
use crate::error::{Error, Local};
use crate::scram::Scram;
use crate::transport::{Stream, Transport};

/// A longer answer is none: most likely the other side speaks another protocol.
pub(crate) const LONGEST_ANSWER: usize = 16 << 20;
/// The same for answers with batches, once the other side has shown that it is a broker.
const LONGEST_BATCH: usize = 1 << 30;
/// Bytes that are allocated for an answer before any of it has come.
const ANSWER_CAPACITY: usize = 16 << 10;

/// The newest version that names topics of requests that number them later, Produce and Fetch.
const LAST_BY_NAME: i16 = 12;

/// Opens connections.
pub(crate) struct Connector<T> {
    pub(crate) client: Client,
    pub(crate) transport: T,
}

impl<T: Transport> Connector<T> {
    /// Connects, and waits as long as an answer may take.
    pub(crate) async fn open(&self, address: &Address) -> Result<Connection<T::Stream>, Error> {
        let limit = self.client.request_timeout;
        let late = |_| {
            Error::new(Local::TimedOut, format!("{address} did not let us in within {limit:?}"))
        };
        let opening = async {
            let mut connection = Connection {
                stream: self.transport.connect(address).await?,
                versions: BTreeMap::new(),
                expires: None,
                throttle: Duration::ZERO,
                client_id: self.client.client_id.clone(),
            };
            connection.ask_versions().await.map_err(|error| error.at(address))?;
            if let Some(sasl) = &self.client.sasl {
                connection.authenticate(sasl).await.map_err(|error| error.at(address))?;
            }
            Ok(connection)
        };
        timeout(limit, opening).await.map_err(late)?
    }
}

/// A connection that is authenticated.
pub(crate) struct Connection<S> {
    pub(crate) stream: S,
    /// Of each request the oldest and newest version that the broker takes.
    versions: BTreeMap<i16, (i16, i16)>,
    /// When the broker will ask for authentication again.
    pub(crate) expires: Option<Instant>,
    /// How long a pause the broker has asked for.
    pub(crate) throttle: Duration,
    client_id: String,
}

impl<S: Stream> Connection<S> {
    /// The newest version that both sides know.
    pub(crate) fn version<R: Request>(&self) -> Result<i16, Error> {
        let ours = R::VERSIONS;
        let numbers_topics = [ApiKey::Produce as i16, ApiKey::Fetch as i16].contains(&R::KEY);
        let newest = if numbers_topics { LAST_BY_NAME } else { ours.max };
        self.versions
            .get(&R::KEY)
            .map(|&(oldest, latest)| (oldest.max(ours.min), latest.min(newest)))
            .filter(|(oldest, latest)| oldest <= latest)
            .map(|(_, version)| version)
            .ok_or_else(|| {
                let name = ApiKey::try_from(R::KEY)
                    .map_or_else(|()| R::KEY.to_string(), |key| format!("{key:?}"));
                let text = format!("the broker takes no version of {name} that we know");
                Error::new(Local::UnsupportedFeature, text)
            })
    }

    /// Sends a request and waits for its answer so long. No other request may be in flight.
    pub(crate) async fn call<R: Question>(
        &mut self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Found, Error> {
        let version = self.version::<R>()?;
        let late = |_| Error::new(Local::TimedOut, "the broker does not answer");
        let answer = timeout(limit, self.exchange(request, version)).await.map_err(late)??;
        R::Found::decode(&answer, version).map_err(unreadable)
    }

    /// Asks for batches and waits for them so long. No other request may be in flight.
    pub(crate) async fn fetch(
        &mut self,
        request: &FetchRequest,
        limit: Duration,
    ) -> Result<Fetched, Error> {
        let version = self.version::<FetchRequest>()?;
        let late = |_| Error::new(Local::TimedOut, "the broker does not answer");
        let answer = timeout(limit, self.exchange(request, version)).await.map_err(late)??;
        Fetched::decode(&answer, version).map_err(unreadable)
    }

    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<Bytes, Error> {
        let frame = frame(request, version, 0, &self.client_id)?;
        write_frame(&mut self.stream, &frame).await?;
        // A batch comes whole, however long it is.
        let longest = if R::KEY == ApiKey::Fetch as i16 { LONGEST_BATCH } else { LONGEST_ANSWER };
        let answer = read_answer(&mut self.stream, longest).await?;
        let (_, body) = open_answer(&answer, R::Response::header_version(version))?;
        Ok(body)
    }

    /// KIP-511: a broker that does not know the version of the question answers in version 0.
    async fn ask_versions(&mut self) -> Result<(), Error> {
        const VERSION: i16 = 3;
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("datagen"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let answer = self.exchange(&request, VERSION).await?;
        let refused = answer.len() >= 2
            && (&answer[..]).get_i16() == ResponseError::UnsupportedVersion.code();
        let version = if refused { 0 } else { VERSION };
        let found = ApiVersions::decode(&answer, version).map_err(unreadable)?;
        if !refused && let Some(error) = found.error.err() {
            return Err(Error::of_broker(error, format!("API versions: {error}")));
        }
        let ranges = found.ranges.into_iter().map(|(key, oldest, newest)| (key, (oldest, newest)));
        (self.versions, self.throttle) = (ranges.collect(), found.throttle);
        Ok(())
    }

    async fn authenticate(&mut self, sasl: &Sasl) -> Result<(), Error> {
        let mechanism = sasl.mechanism.name();
        let hello =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
        let found = self.call(&hello, Duration::MAX).await?;
        if let Some(error) = found.error.err() {
            let offered = printable(&found.mechanisms.join(", "));
            return Err(Error::of_broker(
                error,
                format!("the broker does not take {mechanism}, but {offered}"),
            ));
        }
        if sasl.mechanism == Mechanism::Plain {
            // RFC 4616: no other identity than the user's.
            let message = format!("\0{}\0{}", sasl.user, sasl.password);
            self.say(message.into_bytes()).await?;
            return Ok(());
        }
        let mut nonce = [0; 18];
        getrandom::fill(&mut nonce)
            .map_err(|_| Error::new(Local::Authentication, "the system has no random numbers"))?;
        let scram = Scram::new(sasl.clone(), BASE64.encode(nonce));
        let first = self.say(scram.first()).await?;
        let broken = |what| {
            Error::new(Local::Authentication, format!("{mechanism}: the broker's answer: {what}"))
        };
        // Thousands of hashes take their time, in which other tasks have to run.
        let answered = tokio::task::spawn_blocking(move || scram.answer(&first)).await;
        let (last, verifier) = answered.unwrap_or(Err("it led nowhere")).map_err(broken)?;
        if self.say(last).await? != verifier {
            return Err(broken("it does not prove that it knows the password"));
        }
        Ok(())
    }

    async fn say(&mut self, message: Vec<u8>) -> Result<Vec<u8>, Error> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
        let answer = self.call(&request, Duration::MAX).await?;
        if let Some(error) = answer.error.err() {
            // The broker's own words may be anything; they are not needed.
            return Err(Error::of_broker(error, "the broker refused user or password"));
        }
        if let Ok(lifetime @ 1..) = u64::try_from(answer.lifetime_ms) {
            // Early enough for the requests in flight.
            self.expires = Instant::now().checked_add(Duration::from_millis(lifetime / 5 * 4));
        }
        Ok(answer.bytes)
    }
}

/// A request with its length before it.
pub(crate) fn frame<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Result<BytesMut, Error> {
    let invalid = |_| Error::new(Local::InvalidArgument, "a request that cannot be put into words");
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    let header_version = R::header_version(version);
    let size = header.compute_size(header_version).map_err(invalid)?
        + request.compute_size(version).map_err(invalid)?;
    let mut out = BytesMut::with_capacity(4 + size);
    out.put_i32(i32::try_from(size).expect("a request below 2 GiB"));
    header.encode(&mut out, header_version).map_err(invalid)?;
    request.encode(&mut out, version).map_err(invalid)?;
    Ok(out)
}

pub(crate) async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &[u8],
) -> Result<(), Error> {
    stream.write_all(frame).await.map_err(|e| lost(&e))?;
    stream.flush().await.map_err(|e| lost(&e))
}

/// The bytes of the next answer.
pub(crate) async fn read_answer<S: AsyncRead + Unpin>(
    stream: &mut S,
    longest: usize,
) -> Result<Bytes, Error> {
    let size = stream.read_u32().await.map_err(|e| lost(&e))? as usize;
    if size > longest {
        return Err(Error::new(
            Local::BadMessage,
            "the other side does not answer as a Kafka broker does; does it want TLS?",
        ));
    }
    // What is announced has not come yet, and may never come.
    let mut answer = BytesMut::with_capacity(size.min(ANSWER_CAPACITY));
    let mut rest = stream.take(size as u64);
    while answer.len() < size {
        if rest.read_buf(&mut answer).await.map_err(|e| lost(&e))? == 0 {
            return Err(lost(&io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(answer.freeze())
}

/// The number of the request that an answer is for, and its body.
pub(crate) fn open_answer(answer: &Bytes, header_version: i16) -> Result<(i32, Bytes), Error> {
    let (number, body) = answer::correlation(answer, header_version).map_err(unreadable)?;
    Ok((number, answer.slice_ref(body)))
}

fn lost(error: &io::Error) -> Error {
    let text = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the broker hung up".to_owned(),
        _ => error.to_string(),
    };
    Error::new(Local::Transport, text)
}

#[allow(clippy::needless_pass_by_value, reason = "to map an error by its name")]
pub(crate) fn unreadable(_: Malformed) -> Error {
    Error::new(Local::BadMessage, "the broker's answer cannot be read")
}

/// A broker's own words, as far as a terminal may show them.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests;
