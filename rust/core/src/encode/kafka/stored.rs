//! Record batches as a log has them, of any producer, taken apart again without a copy of what they hold.

use std::fmt;

use super::batch::{CRC, HEADER_LEN, Header, LENGTH_END, MAGIC};
use super::codec::Decompressor;
use super::varint::{self, unzigzag};

/// Where a batch, or a message of an older format, says what format it has.
const MAGIC_AT: usize = LENGTH_END + 4;
/// Bits of the attributes beside the codec's.
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// Why a batch cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It says that it is shorter than a header.
    Length,
    /// It has the format of this number, from before Kafka 0.11.
    Format(u8),
    /// Its CRC-32C is another.
    Crc,
    /// Its records are compressed by no codec that is known, or cannot be decompressed.
    Codec,
    /// Its records are not as many or not as long as they say.
    Records,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("its length is that of no batch"),
            Self::Format(magic) => write!(f, "it has format {magic}, from before Kafka 0.11"),
            Self::Crc => f.write_str("its CRC is wrong"),
            Self::Codec => f.write_str("it cannot be decompressed"),
            Self::Records => f.write_str("its records cannot be told apart"),
        }
    }
}

/// A batch, of which nothing but the header was looked at.
#[derive(Debug, Clone, Copy)]
pub struct StoredBatch<'a> {
    header: Header,
    bytes: &'a [u8],
}

/// What a transaction ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// Its records count.
    Commit,
    /// They do not.
    Abort,
}

impl<'a> StoredBatch<'a> {
    /// Takes a batch off the front of `log`: none where less is left than the batch has, since a broker cuts off what
    /// does not fit into its answer.
    ///
    /// # Errors
    /// [`Flaw::Length`], behind which nothing can be read, and [`Flaw::Format`], with the offset of its last
    /// record, behind which `log` goes on.
    pub fn take(log: &mut &'a [u8]) -> Result<Option<Self>, (Flaw, i64)> {
        let Some(start) = log.first_chunk::<HEADER_START>() else { return Ok(None) };
        let number = |at: usize| i32::from_be_bytes([0, 1, 2, 3].map(|byte| start[at + byte]));
        let offset = i64::from_be_bytes(*start.first_chunk().expect("as long as it is"));
        let magic = start[MAGIC_AT];
        let len = usize::try_from(number(LENGTH_END - 4)).map_err(|_| (Flaw::Length, offset))?;
        let len = len + LENGTH_END;
        if len < if magic == MAGIC { HEADER_LEN } else { HEADER_START } {
            return Err((Flaw::Length, offset));
        }
        let Some((bytes, left)) = log.split_at_checked(len) else { return Ok(None) };
        *log = left;
        if magic != MAGIC {
            return Err((Flaw::Format(magic), offset));
        }
        let (header, _) = Header::read(bytes).expect("as long as a header");
        Ok(Some(Self { header, bytes }))
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The offset of its first record, as the producer sent it.
    pub const fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    /// The offset of its last record, whether that is still there or not.
    pub const fn last_offset(&self) -> i64 {
        self.header.base_offset.wrapping_add(self.header.last_offset_delta as i64)
    }

    /// Who sent it; -1 without an id.
    pub const fn producer_id(&self) -> i64 {
        self.header.producer.id
    }

    /// Whether it is part of a transaction.
    pub const fn is_transactional(&self) -> bool {
        self.header.attributes & TRANSACTIONAL != 0
    }

    /// Whether it has no records of anyone, but says how a transaction has ended.
    pub const fn is_control(&self) -> bool {
        self.header.attributes & CONTROL != 0
    }

    /// How a transaction has ended, where this says so.
    pub fn marker(&self) -> Option<Marker> {
        if !self.is_control() {
            return None;
        }
        let mut room = Decompressor::default();
        let record = self.records(&mut room).ok()?.next().ok()??;
        match record.key? {
            // The version of the marker, and its kind.
            [_, _, 0, 0, ..] => Some(Marker::Abort),
            [_, _, 0, 1, ..] => Some(Marker::Commit),
            _ => None,
        }
    }

    /// Checks the CRC, and decompresses the records.
    ///
    /// # Errors
    /// If its bytes are not those that were written.
    pub fn records<'r>(&self, room: &'r mut Decompressor) -> Result<StoredRecords<'r>, Flaw>
    where
        'a: 'r,
    {
        let (covered, crc) = (&self.bytes[CRC + 4..], &self.bytes[CRC..CRC + 4]);
        if crc32c::crc32c(covered).to_be_bytes() != crc {
            return Err(Flaw::Crc);
        }
        let codec = self.header.codec().ok_or(Flaw::Codec)?;
        let records = room.decompress(codec, &self.bytes[HEADER_LEN..]).ok_or(Flaw::Codec)?;
        Ok(StoredRecords { header: self.header, left: records, read: 0, headers: Vec::new() })
    }
}

/// What formats have in common: offset, length, four bytes, and the format.
const HEADER_START: usize = MAGIC_AT + 1;

/// The records of a batch, one after the other.
#[derive(Debug)]
pub struct StoredRecords<'r> {
    header: Header,
    left: &'r [u8],
    read: usize,
    headers: Vec<(&'r [u8], Option<&'r [u8]>)>,
}

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRecord<'r> {
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970, or -1.
    pub timestamp: i64,
    /// The key.
    pub key: Option<&'r [u8]>,
    /// The value.
    pub value: Option<&'r [u8]>,
}

impl<'r> StoredRecords<'r> {
    /// The next record; none after the last.
    ///
    /// # Errors
    /// [`Flaw::Records`], after which there is none.
    #[allow(clippy::should_implement_trait, reason = "an iterator cannot give the headers as well")]
    pub fn next(&mut self) -> Result<Option<StoredRecord<'r>>, Flaw> {
        let Some((record, headers)) = self.next_folded()? else { return Ok(None) };
        self.unfold(headers)?;
        Ok(Some(record))
    }

    /// The next record, and its headers as they are stored: they may be anything until [`Self::unfold`] has read them.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(crate) fn next_folded(&mut self) -> Result<Option<(StoredRecord<'r>, &'r [u8])>, Flaw> {
        if self.read == self.header.records {
            return if self.left.is_empty() { Ok(None) } else { Err(Flaw::Records) };
        }
        self.read += 1;
        self.parsed().map(Some).ok_or(Flaw::Records)
    }

    /// Reads the headers of a record.
    ///
    /// # Errors
    /// [`Flaw::Records`], if they are none.
    pub(crate) fn unfold(&mut self, mut folded: &'r [u8]) -> Result<(), Flaw> {
        self.headers.clear();
        self.unfolded(&mut folded).filter(|()| folded.is_empty()).ok_or(Flaw::Records)
    }

    /// For how many records to have room: as many as are said to be left, unless that is more than batches have.
    pub(crate) fn room(&self) -> usize {
        const USUAL_MOST: usize = 1 << 14;
        (self.header.records - self.read).min(USUAL_MOST)
    }

    /// Names and values of the headers that were read last.
    pub fn headers(&self) -> &[(&'r [u8], Option<&'r [u8]>)] {
        &self.headers
    }

    fn unfolded(&mut self, folded: &mut &'r [u8]) -> Option<()> {
        for _ in 0..usize::try_from(number(folded)?).ok()? {
            let name = bytes(folded)??;
            self.headers.push((name, bytes(folded)?));
        }
        Some(())
    }

    fn parsed(&mut self) -> Option<(StoredRecord<'r>, &'r [u8])> {
        let len = usize::try_from(number(&mut self.left)?).ok()?;
        let (mut record, left) = self.left.split_at_checked(len)?;
        self.left = left;
        record = record.get(1..)?; // attributes, of which there are none
        let timestamp_delta = number(&mut record)?;
        let offset_delta = number(&mut record)?;
        let (key, value) = (bytes(&mut record)?, bytes(&mut record)?);
        let timestamp = if self.header.attributes & LOG_APPEND_TIME != 0 {
            self.header.max_timestamp
        } else {
            self.header.base_timestamp.wrapping_add(timestamp_delta)
        };
        let offset = self.header.base_offset.wrapping_add(offset_delta);
        Some((StoredRecord { offset, timestamp, key, value }, record))
    }
}

#[inline]
fn number(bytes: &mut &[u8]) -> Option<i64> {
    varint::take(bytes).map(unzigzag)
}

/// Bytes behind their length; a length of -1 is none.
#[inline]
#[allow(clippy::option_option, reason = "the outer one is that there are not so many bytes")]
fn bytes<'r>(record: &mut &'r [u8]) -> Option<Option<&'r [u8]>> {
    let len = number(record)?;
    if len == -1 {
        return Some(None);
    }
    let (found, left) = record.split_at_checked(usize::try_from(len).ok()?)?;
    *record = left;
    Some(Some(found))
}

#[cfg(test)]
mod tests;
