//! What a row holds, as a hash.
//!
//! A record of an event that is as planned has nothing but its value that does not follow from four things: its id, its key, its
//! time, and the timestamp. [`Usual`] says whether a record has its headers that way, and then no other hash than that of
//! these is needed: the plan's side never writes headers, keys or times as text, and what is there is compared with
//! what is the same in all records. Any other record is hashed part by part, and so is none of the plan's.

use twox_hash::XxHash3_128;

use super::{Record, Shape};
use crate::catalog::Relation;
use crate::encode::Format;
use crate::encode::kafka::varint;

/// Who sends events, as the header `ce_source` says.
pub(super) const SOURCE: &[u8] = b"data-gen/financial";

/// Bytes that XXH3 hashes by vectors: more than 240.
const LONG: usize = 256;
/// Characters of an id and of an instant.
const ID_LEN: usize = 36;
const INSTANT_LEN: usize = 24;

/// What a usual record says, beside its value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    pub id: u128,
    pub key: u128,
    /// When its event happened; 0 for a row of a table.
    pub time: i64,
    /// Its timestamp, where that says when its event happened, or else 0.
    pub timestamp: i64,
}

impl Marks {
    const LEN: usize = 2 * size_of::<u128>() + 3 * size_of::<u64>();

    /// The hash of a usual record with this value; `scratch` is memory.
    pub(super) fn content(&self, value: &[u8], scratch: &mut Vec<u8>) -> u128 {
        let mut head = [0; Self::LEN];
        let mut left = &mut head[..];
        let mut put = |bytes: &[u8]| {
            left[..bytes.len()].copy_from_slice(bytes);
            left = &mut std::mem::take(&mut left)[bytes.len()..];
        };
        put(&self.id.to_le_bytes());
        put(&self.key.to_le_bytes());
        put(&self.time.to_le_bytes());
        put(&self.timestamp.to_le_bytes());
        put(&(value.len() as u64).to_le_bytes());
        scratch.clear();
        scratch.extend_from_slice(&head);
        scratch.extend_from_slice(value);
        // Zeros behind a length change nothing, and what is long is hashed by vectors, several times as fast.
        if scratch.len() < LONG {
            scratch.resize(LONG, 0);
        }
        XxHash3_128::oneshot(scratch)
    }
}

/// The hash of a record that is not usual; `scratch` is memory.
pub(super) fn of_parts(record: &Record<'_>, timestamp: Option<i64>, scratch: &mut Vec<u8>) -> u128 {
    scratch.clear();
    put(scratch, record.key);
    put(scratch, record.value);
    for (name, value) in record.headers {
        put(scratch, Some(name));
        put(scratch, *value);
    }
    scratch.extend_from_slice(&timestamp.unwrap_or(0).to_le_bytes());
    XxHash3_128::oneshot(scratch)
}

/// Appends bytes with their length before them, so that no two lists of bytes are alike.
fn put(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let len = bytes.map_or(u32::MAX, |bytes| bytes.len() as u32);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// The headers that records of a relation have.
#[derive(Debug, Default)]
pub(super) struct Usual {
    headers: Vec<(&'static [u8], Part)>,
    /// As they are stored: what is before the id, time and key, which are in this order, and behind them; a
    /// single part where they have none of these.
    stored: Vec<Vec<u8>>,
}

/// The value of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Same(&'static [u8]),
    Id,
    Time,
    Key,
}

/// The texts of id and time in headers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub id: &'a [u8],
    pub time: &'a [u8],
}

impl Usual {
    pub(super) fn new(relation: &Relation, shape: Shape) -> Self {
        let Shape::Records { value, cloudevents, content_type, .. } = shape else {
            return Self::default();
        };
        let mut headers: Vec<(&[u8], Part)> = Vec::new();
        if let Some(topic) = relation.topic().filter(|_| cloudevents) {
            headers.extend([
                (&b"ce_specversion"[..], Part::Same(b"1.0")),
                (b"ce_type", Part::Same(topic.ce_type.as_bytes())),
                (b"ce_source", Part::Same(SOURCE)),
                (b"ce_id", Part::Id),
                (b"ce_time", Part::Time),
                (b"ce_subject", Part::Key),
            ]);
        }
        if content_type {
            let json = value == Format::Json;
            let kind: &[u8] = if json { b"application/json" } else { b"application/avro" };
            headers.push((b"content-type", Part::Same(kind)));
        }
        let mut stored = vec![Vec::new()];
        put_number(&mut stored[0], headers.len());
        for (name, part) in &headers {
            let before = stored.last_mut().expect("one at least");
            put_number(before, name.len());
            before.extend_from_slice(name);
            let (len, same) = match part {
                Part::Same(same) => (same.len(), Some(same)),
                Part::Id | Part::Key => (ID_LEN, None),
                Part::Time => (INSTANT_LEN, None),
            };
            put_number(before, len);
            match same {
                Some(same) => before.extend_from_slice(same),
                None => stored.push(Vec::new()),
            }
        }
        Self { headers, stored }
    }

    /// Whether headers say id and time.
    pub(super) const fn says(&self) -> bool {
        self.stored.len() > 1
    }

    /// Whether a record with this key has these headers as they are stored, and what they say: nothing where none says
    /// anything.
    #[inline]
    pub(super) fn read_stored<'a>(&self, headers: &'a [u8], key: &[u8]) -> Option<Said<'a>> {
        match &self.stored[..] {
            [before_id, before_time, before_key, behind] => {
                let (id, rest) = headers.strip_prefix(&before_id[..])?.split_at_checked(ID_LEN)?;
                let rest = rest.strip_prefix(&before_time[..])?;
                let (time, rest) = rest.split_at_checked(INSTANT_LEN)?;
                let rest = rest.strip_prefix(&before_key[..])?.strip_prefix(key)?;
                (rest == behind && key.len() == ID_LEN).then_some(Said { id, time })
            }
            [all] => (headers == all).then_some(Said { id: &[], time: &[] }),
            _ => None,
        }
    }

    /// The same of headers that were read.
    pub(super) fn read<'a>(&self, record: &Record<'a>) -> Option<Said<'a>> {
        let mut said = Said { id: &[], time: &[] };
        if record.headers.len() != self.headers.len() {
            return None;
        }
        for ((name, value), (planned, part)) in record.headers.iter().zip(&self.headers) {
            let value = value.filter(|_| name == planned)?;
            match part {
                Part::Same(same) if value == *same => {}
                Part::Key if Some(value) == record.key => {}
                Part::Id => said.id = value,
                Part::Time => said.time = value,
                _ => return None,
            }
        }
        Some(said)
    }
}

/// A length, as records have it.
fn put_number(out: &mut Vec<u8>, number: usize) {
    varint::put(out, varint::zigzag(number as i64));
}
