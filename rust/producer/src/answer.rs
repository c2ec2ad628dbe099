//! Answers of brokers, read without trust in what they claim: no count is believed beyond what the
//! bytes that have come can hold.
//!
//! The crate `kafka-protocol` allocates for as many elements as an answer announces before it reads
//! the first, which an answer of a few bytes can use to end the process. So these few answers are
//! read here, of which only some fields are needed.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{
    InitProducerIdRequest, MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::Request;

/// More brokers than any cluster has, and more partitions than any topic.
const MOST: usize = 100_000;
/// No pause is longer, whatever an answer asks for.
const LONGEST_THROTTLE: Duration = Duration::from_secs(600);

/// The bytes are no answer of this kind and version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

type Read<T> = Result<T, Malformed>;

/// An answer, or a part of one.
pub(crate) trait Answer: Sized {
    /// The first version with compact lengths and tagged fields (KIP-482).
    const FLEXIBLE: i16;

    /// Reads what is needed; more bytes may follow.
    fn read(reader: &mut Reader<'_>, version: i16) -> Read<Self>;

    /// Reads the body of an answer in this version.
    fn decode(body: &[u8], version: i16) -> Read<Self> {
        let flexible = version >= Self::FLEXIBLE;
        Self::read(&mut Reader { left: body, flexible }, version)
    }
}

/// A request whose answer is read here.
pub(crate) trait Question: Request {
    /// Its answer.
    type Found: Answer;
}

impl Question for MetadataRequest {
    type Found = Metadata;
}

impl Question for InitProducerIdRequest {
    type Found = ProducerId;
}

impl Question for SaslHandshakeRequest {
    type Found = SaslHandshake;
}

impl Question for SaslAuthenticateRequest {
    type Found = SaslAuthenticate;
}

/// The number of the request that an answer is for, and the rest of the answer.
pub(crate) fn correlation(answer: &[u8], header_version: i16) -> Read<(i32, &[u8])> {
    let mut reader = Reader { left: answer, flexible: header_version >= 1 };
    let correlation = reader.i32()?;
    reader.tags()?;
    Ok((correlation, reader.left))
}

/// What is left of an answer.
pub(crate) struct Reader<'a> {
    left: &'a [u8],
    flexible: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(len).ok_or(Malformed)?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (taken, left) = self.left.split_first_chunk().ok_or(Malformed)?;
        self.left = left;
        Ok(*taken)
    }

    fn i16(&mut self) -> Read<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Read<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Read<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// Seven bits a byte, the lowest first; 32 at most.
    fn varint(&mut self) -> Read<u32> {
        let mut n = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(n).map_err(|_| Malformed);
            }
        }
        Err(Malformed)
    }

    /// A length or a count; `None` for what is null.
    fn len(&mut self, short: bool) -> Read<Option<usize>> {
        let len = if self.flexible {
            i64::from(self.varint()?) - 1
        } else if short {
            self.i16()?.into()
        } else {
            self.i32()?.into()
        };
        // Null is -1, and no other length is negative.
        if len < -1 { Err(Malformed) } else { Ok(usize::try_from(len).ok()) }
    }

    fn text(&mut self) -> Read<Option<String>> {
        let Some(len) = self.len(true)? else { return Ok(None) };
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map(|text| Some(text.to_owned())).map_err(|_| Malformed)
    }

    fn bytes(&mut self) -> Read<Vec<u8>> {
        let len = self.len(false)?.unwrap_or(0);
        self.take(len).map(<[u8]>::to_vec)
    }

    /// Each element has a byte at least, so that no count leads further than the bytes do; and memory
    /// is taken for elements as they come.
    fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let count = self.len(false)?.unwrap_or(0);
        if count > self.left.len() || count > MOST {
            return Err(Malformed);
        }
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(element(self)?);
        }
        Ok(all)
    }

    /// Passes over integers of four bytes.
    fn skip_integers(&mut self) -> Read<()> {
        let count = self.len(false)?.unwrap_or(0);
        self.take(count.checked_mul(4).ok_or(Malformed)?)?;
        Ok(())
    }

    /// Passes over tagged fields, where there may be any.
    fn tags(&mut self) -> Read<()> {
        if self.flexible {
            // Each takes bytes, so that these end before any count does.
            for _ in 0..self.varint()? {
                self.varint()?;
                let len = self.varint()?;
                self.take(len as usize)?;
            }
        }
        Ok(())
    }

    fn throttle(&mut self) -> Read<Duration> {
        let millis = u64::try_from(self.i32()?).unwrap_or(0);
        Ok(Duration::from_millis(millis).min(LONGEST_THROTTLE))
    }
}

/// The versions of requests that a broker takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ApiVersions {
    pub(crate) error: i16,
    /// Key, oldest and newest version.
    pub(crate) ranges: Vec<(i16, i16, i16)>,
    pub(crate) throttle: Duration,
}

impl Answer for ApiVersions {
    const FLEXIBLE: i16 = 3;

    fn read(reader: &mut Reader<'_>, version: i16) -> Read<Self> {
        let error = reader.i16()?;
        let ranges = reader.list(|reader| {
            let range = (reader.i16()?, reader.i16()?, reader.i16()?);
            reader.tags()?;
            Ok(range)
        })?;
        let throttle = if version >= 1 { reader.throttle()? } else { Duration::ZERO };
        Ok(Self { error, ranges, throttle })
    }
}

/// Whether a broker takes a SASL mechanism, and which it takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SaslHandshake {
    pub(crate) error: i16,
    pub(crate) mechanisms: Vec<String>,
}

impl Answer for SaslHandshake {
    const FLEXIBLE: i16 = i16::MAX;

    fn read(reader: &mut Reader<'_>, _: i16) -> Read<Self> {
        let error = reader.i16()?;
        let mechanisms = reader.list(|reader| reader.text()?.ok_or(Malformed))?;
        Ok(Self { error, mechanisms })
    }
}

/// A broker's part of an authentication.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SaslAuthenticate {
    pub(crate) error: i16,
    pub(crate) bytes: Vec<u8>,
    pub(crate) lifetime_ms: i64,
}

impl Answer for SaslAuthenticate {
    const FLEXIBLE: i16 = 2;

    fn read(reader: &mut Reader<'_>, version: i16) -> Read<Self> {
        let error = reader.i16()?;
        reader.text()?;
        let bytes = reader.bytes()?;
        let lifetime_ms = if version >= 1 { reader.i64()? } else { 0 };
        Ok(Self { error, bytes, lifetime_ms })
    }
}

/// An id for an idempotent producer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProducerId {
    pub(crate) throttle: Duration,
    pub(crate) error: i16,
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

impl Answer for ProducerId {
    const FLEXIBLE: i16 = 2;

    fn read(reader: &mut Reader<'_>, _: i16) -> Read<Self> {
        let (throttle, error) = (reader.throttle()?, reader.i16()?);
        Ok(Self { throttle, error, id: reader.i64()?, epoch: reader.i16()? })
    }
}

/// Brokers, and the leader of each partition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) throttle: Duration,
    /// Number, host and port.
    pub(crate) brokers: Vec<(i32, String, i32)>,
    pub(crate) topics: Vec<TopicMetadata>,
}

/// A topic, or why nothing is said of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TopicMetadata {
    pub(crate) error: i16,
    pub(crate) name: Option<String>,
    /// Number and leader.
    pub(crate) partitions: Vec<(i32, i32)>,
}

impl Answer for Metadata {
    const FLEXIBLE: i16 = 9;

    fn read(reader: &mut Reader<'_>, version: i16) -> Read<Self> {
        let throttle = if version >= 3 { reader.throttle()? } else { Duration::ZERO };
        let brokers = reader.list(|reader| {
            let node = reader.i32()?;
            let host = reader.text()?.ok_or(Malformed)?;
            let port = reader.i32()?;
            if version >= 1 {
                reader.text()?; // rack
            }
            reader.tags()?;
            Ok((node, host, port))
        })?;
        if version >= 2 {
            reader.text()?; // cluster
        }
        if version >= 1 {
            reader.i32()?; // controller
        }
        let topics = reader.list(|reader| {
            let (error, name) = (reader.i16()?, reader.text()?);
            if version >= 10 {
                reader.take(16)?; // id
            }
            if version >= 1 {
                reader.take(1)?; // internal
            }
            let partitions = reader.list(|reader| {
                reader.i16()?; // error
                let found = (reader.i32()?, reader.i32()?);
                if version >= 7 {
                    reader.i32()?; // epoch
                }
                reader.skip_integers()?; // replicas
                reader.skip_integers()?; // replicas in sync
                if version >= 5 {
                    reader.skip_integers()?; // replicas that are away
                }
                reader.tags()?;
                Ok(found)
            })?;
            if version >= 8 {
                reader.i32()?; // what we may do
            }
            reader.tags()?;
            Ok(TopicMetadata { error, name, partitions })
        })?;
        Ok(Self { throttle, brokers, topics })
    }
}

/// What became of the batches of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(crate) partitions: Vec<Outcome>,
    pub(crate) throttle: Duration,
}

/// What became of the batch of a partition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Shared, since one name may come with any number of partitions.
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) error: i16,
    /// In the broker's own words.
    pub(crate) message: Option<String>,
}

impl Answer for Produced {
    const FLEXIBLE: i16 = 9;

    fn read(reader: &mut Reader<'_>, version: i16) -> Read<Self> {
        let mut partitions = Vec::new();
        reader.list(|reader| {
            let topic: Arc<str> = reader.text()?.ok_or(Malformed)?.into();
            reader.list(|reader| {
                let (partition, error) = (reader.i32()?, reader.i16()?);
                // The offset, the time, and since version 5 the first offset that is kept.
                reader.take(if version >= 5 { 24 } else { 16 })?;
                let mut message = None;
                if version >= 8 {
                    reader.list(|reader| {
                        reader.i32()?; // which record
                        message = reader.text()?;
                        reader.tags()
                    })?;
                    message = reader.text()?.or(message.take());
                }
                reader.tags()?;
                partitions.push(Outcome { topic: Arc::clone(&topic), partition, error, message });
                Ok(())
            })?;
            reader.tags()
        })?;
        Ok(Self { partitions, throttle: reader.throttle()? })
    }
}

// By its path, so that the fuzz target, which takes this file by its own, finds it too.
#[path = "answer/fetch.rs"]
mod fetch;

pub(crate) use fetch::{Fetched, Part};

#[cfg(test)]
mod tests;
