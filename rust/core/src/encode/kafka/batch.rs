//! Batches of records: the header, and when a batch is full.

use super::codec::{Codec, Compressor};
use super::record::{self, Place, Records};

/// Bytes before the records. In order: base offset 8, length of what follows 4, partition leader
/// epoch 4, magic 1, CRC 4, attributes 2, last offset delta 4, base timestamp 8, maximal timestamp 8,
/// producer id 8, producer epoch 2, base sequence 4, number of records 4; all big-endian.
pub(super) const HEADER_LEN: usize = 61;
/// Where the length ends and what it counts begins.
pub(super) const LENGTH_END: usize = 12;
pub(super) const CRC: usize = 17;
/// What the CRC covers begins here and goes on to the end.
const ATTRIBUTES: usize = 21;
const PRODUCER: usize = 43;

pub(super) const MAGIC: u8 = 2;
/// The broker sets it.
const NO_LEADER_EPOCH: i32 = -1;

/// How long a batch may get. One record always fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes with the header, before compression.
    pub bytes: usize,
    /// Records.
    pub records: usize,
}

impl Default for Limits {
    /// 512 KiB, and any number of records.
    fn default() -> Self {
        Self { bytes: 512 * 1024, records: i32::MAX as usize }
    }
}

/// An idempotent producer, and its number for the first record of a batch (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// Id that a broker gave.
    pub id: i64,
    /// Epoch of the id.
    pub epoch: i16,
    /// Sequence number within the partition, from 0 for each epoch.
    pub sequence: i32,
}

impl Producer {
    /// No producer: the broker takes the batch as often as it comes.
    pub const NONE: Self = Self { id: -1, epoch: -1, sequence: -1 };

    /// What comes after so many records: sequence numbers go on from 0 after the greatest `i32`
    /// (Kafka's `DefaultRecordBatch.incrementSequence`). No producer stays none.
    #[must_use]
    pub const fn after(self, records: usize) -> Self {
        const NUMBERS: u64 = 1 << 31;
        if self.sequence < 0 {
            return self;
        }
        let sequence = (self.sequence as u64 + records as u64) % NUMBERS;
        Self { sequence: sequence as i32, ..self }
    }
}

/// Takes records until a batch is full. Its memory is kept from one batch to the next.
#[derive(Debug)]
pub struct BatchBuilder {
    limits: Limits,
    /// Records, not compressed.
    records: Vec<u8>,
    count: usize,
    /// Of the first record.
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// No records yet.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, records: Vec::new(), count: 0, base_timestamp: 0, max_timestamp: 0 }
    }

    /// Changes how long the batch may get.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Number of records.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes with the header, before compression.
    pub const fn size(&self) -> usize {
        HEADER_LEN + self.records.len()
    }

    /// Adds the records of these rows, in order, and returns how many fitted: fewer than `rows` if
    /// and only if the batch is full.
    pub fn append(&mut self, records: &Records, rows: &[u32]) -> usize {
        for (taken, row) in rows.iter().enumerate() {
            let row = *row as usize;
            let timestamp = records.timestamp(row);
            if self.is_empty() {
                (self.base_timestamp, self.max_timestamp) = (timestamp, timestamp);
            }
            let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
            let place = Place { timestamp_delta, offset_delta: self.count as i64 };
            let record = records.measure(row, place);
            if !self.is_empty() && !self.has_room_for(record.len()) {
                return taken;
            }
            record.put(&mut self.records);
            self.count += 1;
            self.max_timestamp = self.max_timestamp.max(timestamp);
        }
        rows.len()
    }

    /// Adds a record that was in another batch: `rest` is what follows the numbers at its start.
    pub(super) fn append_rest(&mut self, timestamp: i64, rest: &[u8]) {
        if self.is_empty() {
            (self.base_timestamp, self.max_timestamp) = (timestamp, timestamp);
        }
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let place = Place { timestamp_delta, offset_delta: self.count as i64 };
        record::put_rest(&mut self.records, place, rest);
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    #[inline]
    const fn has_room_for(&self, len: usize) -> bool {
        self.count < self.limits.records && self.size() + len <= self.limits.bytes
    }

    /// Appends the batch to `out`, unless there are no records, and starts another.
    ///
    /// It has offset 0 and no producer: see [`set_base_offset`] and [`set_producer`].
    ///
    /// # Panics
    /// If it is longer than 2 GiB, which no broker takes.
    pub fn finish(&mut self, compressor: &mut Compressor, out: &mut Vec<u8>) {
        if self.is_empty() {
            return;
        }
        let start = out.len();
        out.extend_from_slice(&self.header(compressor.codec().id()));
        compressor.compress(&self.records, out);
        let batch = &mut out[start..];
        let len = i32::try_from(batch.len() - LENGTH_END).expect("a batch below 2 GiB");
        put(batch, LENGTH_END - 4, len.to_be_bytes());
        put_crc(batch);
        self.records.clear();
        self.count = 0;
    }

    /// The header, but for the length and the CRC.
    fn header(&self, attributes: i16) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        put(&mut header, LENGTH_END, NO_LEADER_EPOCH.to_be_bytes());
        put(&mut header, LENGTH_END + 4, [MAGIC]);
        put(&mut header, ATTRIBUTES, attributes.to_be_bytes());
        let count = i32::try_from(self.count).expect("fewer than 2^31 records");
        put(&mut header, 23, (count - 1).to_be_bytes());
        put(&mut header, 27, self.base_timestamp.to_be_bytes());
        put(&mut header, 35, self.max_timestamp.to_be_bytes());
        put_producer(&mut header, Producer::NONE);
        put(&mut header, 57, count.to_be_bytes());
        header
    }
}

/// What the header of a batch says of its records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) base_offset: i64,
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer: Producer,
    pub(super) records: usize,
}

impl Header {
    /// The header, and the records as they are in the batch.
    pub(super) fn read(batch: &[u8]) -> Option<(Self, &[u8])> {
        let (header, records) = batch.split_first_chunk::<HEADER_LEN>()?;
        let header = Self {
            base_offset: i64::from_be_bytes(get(header, 0)),
            attributes: i16::from_be_bytes(get(header, ATTRIBUTES)),
            last_offset_delta: i32::from_be_bytes(get(header, 23)),
            base_timestamp: i64::from_be_bytes(get(header, 27)),
            max_timestamp: i64::from_be_bytes(get(header, 35)),
            producer: Producer {
                id: i64::from_be_bytes(get(header, PRODUCER)),
                epoch: i16::from_be_bytes(get(header, PRODUCER + 8)),
                sequence: i32::from_be_bytes(get(header, PRODUCER + 10)),
            },
            // A negative number is none of records.
            records: i32::from_be_bytes(get(header, 57)).try_into().unwrap_or(0),
        };
        Some((header, records))
    }

    /// How the records are compressed, if by a codec that is known.
    pub(super) fn codec(&self) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.id() == self.attributes & 7)
    }
}

fn get<const N: usize>(header: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    header[at..at + N].try_into().expect("as long as it is")
}

/// Gives the first record of a batch this offset. In what a producer sends it is 0.
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn set_base_offset(batch: &mut [u8], offset: i64) {
    put(batch, 0, offset.to_be_bytes());
}

/// Writes who sends a batch and anew its CRC: once before it is sent, and again if it has to be
/// sent under another epoch.
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn set_producer(batch: &mut [u8], producer: Producer) {
    put_producer(batch, producer);
    put_crc(batch);
}

fn put_producer(batch: &mut [u8], producer: Producer) {
    put(batch, PRODUCER, producer.id.to_be_bytes());
    put(batch, PRODUCER + 8, producer.epoch.to_be_bytes());
    put(batch, PRODUCER + 10, producer.sequence.to_be_bytes());
}

fn put_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[ATTRIBUTES..]);
    put(batch, CRC, crc.to_be_bytes());
}

fn put<const N: usize>(batch: &mut [u8], at: usize, bytes: [u8; N]) {
    batch[at..at + N].copy_from_slice(&bytes);
}
