//! A batch cut into shorter ones, for a topic that takes none as long as it is.

use super::batch::{BatchBuilder, Header, Limits, set_producer};
use super::codec::{Compressor, Decompressor};
use super::varint::{self, unzigzag};

/// The records of a batch in so many batches of about as many records each, in order; with the numbers
/// of its producer, where it has one. They are what a [`BatchBuilder`] would have made of the records.
///
/// `None` if there are not two records to part, or if it is no batch that this crate has made.
pub fn split(batch: &[u8], parts: usize) -> Option<Vec<(usize, Vec<u8>)>> {
    let (header, records) = Header::read(batch)?;
    if header.records < 2 {
        return None;
    }
    let mut room = Decompressor::default();
    let records = room.decompress(header.codec()?, records)?;
    let parts = parts.clamp(2, header.records);
    let at_once = header.records.div_ceil(parts);
    let mut compressor = Compressor::new(header.codec()?);
    let mut builder = BatchBuilder::new(Limits { bytes: usize::MAX, records: i32::MAX as usize });
    let (mut left, mut out) = (records, Vec::with_capacity(parts));
    let mut producer = header.producer;
    for done in 1..=header.records {
        let record = take(&mut left)?;
        let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
        builder.append_rest(timestamp, record.rest);
        if builder.len() == at_once || done == header.records {
            let (records, mut bytes) = (builder.len(), Vec::new());
            builder.finish(&mut compressor, &mut bytes);
            set_producer(&mut bytes, producer);
            producer = producer.after(records);
            out.push((records, bytes));
        }
    }
    left.is_empty().then_some(out)
}

/// The key of the first record of a batch, and the length of the record.
///
/// `None` if it has no key, or if it is no batch that this crate has made.
pub fn first_key(batch: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (header, records) = Header::read(batch)?;
    let mut room = Decompressor::default();
    let records = room.decompress(header.codec()?, records)?;
    let record = take(&mut &*records)?;
    let mut rest = record.rest;
    let len = usize::try_from(unzigzag(varint::take(&mut rest)?)).ok()?;
    Some((rest.get(..len)?.to_vec(), record.len))
}

/// A record, taken apart so far as it depends on its batch.
struct Record<'a> {
    timestamp_delta: i64,
    /// Key, value and headers.
    rest: &'a [u8],
    len: usize,
}

fn take<'a>(records: &mut &'a [u8]) -> Option<Record<'a>> {
    let len = usize::try_from(unzigzag(varint::take(records)?)).ok()?;
    let (mut record, left) = records.split_at_checked(len)?;
    *records = left;
    record = record.get(1..)?; // attributes
    let timestamp_delta = unzigzag(varint::take(&mut record)?);
    varint::take(&mut record)?; // the place in the batch
    Some(Record { timestamp_delta, rest: record, len })
}
