//! Answers to those who read: batches of partitions, and where their logs begin.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ListOffsetsRequest;

use super::{Answer, Duration, Malformed, Question, Read, Reader};

/// What partitions had.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) throttle: Duration,
    pub(crate) error: i16,
    pub(crate) partitions: Vec<Part>,
}

/// What a partition had.
#[derive(Debug)]
pub(crate) struct Part {
    /// Shared, since one name may come with any number of partitions.
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) error: i16,
    /// What all replicas have ends here.
    pub(crate) high_watermark: i64,
    /// What is of no open transaction ends here.
    pub(crate) last_stable: i64,
    /// Producer and first offset of each transaction that was given up.
    pub(crate) aborted: Vec<(i64, i64)>,
    /// Batches, of which the last one may be cut off. They are parts of the answer.
    pub(crate) records: Bytes,
}

impl Fetched {
    /// Flexible since version 12, which is the last that names topics.
    const FLEXIBLE: i16 = 12;

    /// Reads the body of an answer in a version from 4 on.
    pub(crate) fn decode(body: &Bytes, version: i16) -> Read<Self> {
        let mut reader = Reader { left: body, flexible: version >= Self::FLEXIBLE };
        let reader = &mut reader;
        let throttle = reader.throttle()?;
        let error = if version >= 7 { reader.i16()? } else { 0 };
        if version >= 7 {
            reader.i32()?; // session
        }
        let mut partitions = Vec::new();
        reader.list(|reader| {
            let topic: Arc<str> = reader.text()?.ok_or(Malformed)?.into();
            reader.list(|reader| {
                partitions.push(Part::read(reader, version, &topic, body)?);
                Ok(())
            })?;
            reader.tags()
        })?;
        Ok(Self { throttle, error, partitions })
    }
}

impl Part {
    fn read(reader: &mut Reader<'_>, version: i16, topic: &Arc<str>, body: &Bytes) -> Read<Self> {
        let (partition, error) = (reader.i32()?, reader.i16()?);
        let (high_watermark, last_stable) = (reader.i64()?, reader.i64()?);
        if version >= 5 {
            reader.i64()?; // where the log begins
        }
        let aborted = reader.list(|reader| {
            let transaction = (reader.i64()?, reader.i64()?);
            reader.tags()?;
            Ok(transaction)
        })?;
        if version >= 11 {
            reader.i32()?; // a replica that is nearer
        }
        let len = reader.len(false)?.unwrap_or(0);
        let records = body.slice_ref(reader.take(len)?);
        reader.tags()?;
        let topic = Arc::clone(topic);
        Ok(Self { topic, partition, error, high_watermark, last_stable, aborted, records })
    }
}

/// The offsets that were asked for.
#[derive(Debug)]
pub(crate) struct Listed {
    /// Topic, partition, error and offset.
    pub(crate) partitions: Vec<(Arc<str>, i32, i16, i64)>,
}

impl Question for ListOffsetsRequest {
    type Found = Listed;
}

impl Answer for Listed {
    const FLEXIBLE: i16 = 6;

    fn read(reader: &mut Reader<'_>, version: i16) -> Read<Self> {
        if version >= 2 {
            reader.throttle()?;
        }
        let mut partitions = Vec::new();
        reader.list(|reader| {
            let topic: Arc<str> = reader.text()?.ok_or(Malformed)?.into();
            reader.list(|reader| {
                let (partition, error) = (reader.i32()?, reader.i16()?);
                reader.i64()?; // the time of the record
                let offset = reader.i64()?;
                if version >= 4 {
                    reader.i32()?; // epoch of the leader
                }
                reader.tags()?;
                partitions.push((Arc::clone(&topic), partition, error, offset));
                Ok(())
            })?;
            reader.tags()
        })?;
        Ok(Self { partitions })
    }
}
