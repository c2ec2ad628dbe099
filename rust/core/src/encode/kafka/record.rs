//! Records, from columns.

use super::varint::{self, zigzag};
use crate::encode::Encoded;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy)]
pub enum Timestamps<'a> {
    /// One for all records.
    Same(i64),
    /// One for each.
    Each(&'a [i64]),
}

/// A header that every record has.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    name: &'a str,
    value: Value<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Same(&'a [u8]),
    Each(&'a Encoded),
}

impl<'a> Header<'a> {
    /// A header whose value is the same in all records.
    pub const fn same(name: &'a str, value: &'a [u8]) -> Self {
        Self { name, value: Value::Same(value) }
    }

    /// A header with a value of each record's own.
    pub const fn each(name: &'a str, values: &'a Encoded) -> Self {
        Self { name, value: Value::Each(values) }
    }
}

/// Columns of equal length, whose rows are the parts of records.
#[derive(Debug)]
pub struct Records<'a> {
    timestamps: Timestamps<'a>,
    /// After the numbers at its start a record is a sequence of these, and then `tail`.
    parts: Vec<Part<'a>>,
    tail: Vec<u8>,
    /// Bytes of the tail and of the constants of all parts.
    constant_len: usize,
}

/// Bytes that are the same in every record, and a value of its own with its length before it.
#[derive(Debug)]
struct Part<'a> {
    constant: Vec<u8>,
    column: &'a Encoded,
}

impl<'a> Records<'a> {
    /// Record `i` has key `i`, value `i`, these headers in this order, and timestamp `i`.
    ///
    /// # Panics
    /// If there are not as many of one as of another.
    pub fn new(
        keys: &'a Encoded,
        values: &'a Encoded,
        headers: &[Header<'a>],
        timestamps: Timestamps<'a>,
    ) -> Self {
        let mut parts = Vec::with_capacity(2 + headers.len());
        parts.push(Part { constant: Vec::new(), column: keys });
        parts.push(Part { constant: Vec::new(), column: values });
        let mut constant = Vec::new();
        varint::put(&mut constant, zigzag(headers.len() as i64));
        for header in headers {
            put_bytes(&mut constant, header.name.as_bytes());
            match header.value {
                Value::Same(value) => put_bytes(&mut constant, value),
                Value::Each(column) => {
                    parts.push(Part { constant: std::mem::take(&mut constant), column });
                }
            }
        }
        for part in &parts {
            assert_eq!(part.column.len(), keys.len(), "columns of equal length");
        }
        if let Timestamps::Each(each) = timestamps {
            assert_eq!(each.len(), keys.len(), "a timestamp for each record");
        }
        let constant_len =
            constant.len() + parts.iter().map(|part| part.constant.len()).sum::<usize>();
        Self { timestamps, parts, tail: constant, constant_len }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.parts[0].column.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When record `row` was made.
    #[inline]
    pub(super) fn timestamp(&self, row: usize) -> i64 {
        match self.timestamps {
            Timestamps::Same(timestamp) => timestamp,
            Timestamps::Each(each) => each[row],
        }
    }

    /// Record `row`, measured for a place in a batch.
    #[inline]
    pub(super) fn measure(&self, row: usize, place: Place) -> Measured<'_> {
        let Place { timestamp_delta, offset_delta } = place;
        let (timestamp_delta, offset_delta) = (zigzag(timestamp_delta), zigzag(offset_delta));
        let mut body = ATTRIBUTES.len()
            + varint::len(timestamp_delta)
            + varint::len(offset_delta)
            + self.constant_len;
        for part in &self.parts {
            let len = part.column.get(row).len();
            body += varint::len(zigzag(len as i64)) + len;
        }
        Measured { records: self, row, timestamp_delta, offset_delta, body }
    }
}

/// No attribute of a record is in use.
const ATTRIBUTES: [u8; 1] = [0];

/// What in a record depends on the batch that it is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i64,
}

/// A record about to be written.
pub(super) struct Measured<'a> {
    records: &'a Records<'a>,
    row: usize,
    timestamp_delta: u64,
    offset_delta: u64,
    /// Bytes after the length.
    body: usize,
}

impl Measured<'_> {
    /// Bytes of the record.
    #[inline]
    pub(super) fn len(&self) -> usize {
        varint::len(zigzag(self.body as i64)) + self.body
    }

    #[inline]
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.reserve(self.len());
        varint::put(out, zigzag(self.body as i64));
        out.extend_from_slice(&ATTRIBUTES);
        varint::put(out, self.timestamp_delta);
        varint::put(out, self.offset_delta);
        for part in &self.records.parts {
            out.extend_from_slice(&part.constant);
            put_bytes(out, part.column.get(self.row));
        }
        out.extend_from_slice(&self.records.tail);
    }
}

/// A record of which all but the numbers at its start is known.
pub(super) fn put_rest(out: &mut Vec<u8>, place: Place, rest: &[u8]) {
    let (timestamp, offset) = (zigzag(place.timestamp_delta), zigzag(place.offset_delta));
    let body = ATTRIBUTES.len() + varint::len(timestamp) + varint::len(offset) + rest.len();
    varint::put(out, zigzag(body as i64));
    out.extend_from_slice(&ATTRIBUTES);
    varint::put(out, timestamp);
    varint::put(out, offset);
    out.extend_from_slice(rest);
}

#[inline]
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, zigzag(bytes.len() as i64));
    out.extend_from_slice(bytes);
}
