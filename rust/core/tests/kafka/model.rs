//! Records as plain values, and the check that their batches read back as the same. The fuzz
//! target has it from here too.

use bytes::Bytes;
use datagen_core::encode::Encoded;
use datagen_core::encode::kafka::{
    BatchBuilder, Codec, Compressor, Decompressor, Header, Limits, Producer, Records, StoredBatch,
    Timestamps, set_base_offset, set_producer,
};
use kafka_protocol::records::{Compression, Record, RecordBatchDecoder};

/// Records and how to batch them.
#[derive(Debug)]
pub struct Case {
    pub codec: Codec,
    pub limits: Limits,
    pub producer: Producer,
    /// Whether the first record's timestamp is that of all.
    pub one_timestamp: bool,
    /// Names, all different, and values.
    pub headers: Vec<(String, HeaderValue)>,
    /// Key, value and timestamp.
    pub records: Vec<(Vec<u8>, Vec<u8>, i64)>,
}

#[derive(Debug, Clone)]
pub enum HeaderValue {
    Same(Vec<u8>),
    /// One value after the other, and again.
    Cycle(Vec<Vec<u8>>),
}

impl HeaderValue {
    fn of(&self, row: usize) -> &[u8] {
        match self {
            Self::Same(value) => value,
            Self::Cycle(values) => &values[row % values.len()],
        }
    }
}

pub fn encoded<T: AsRef<[u8]>>(rows: &[T]) -> Encoded {
    let mut all = Encoded { bytes: Vec::new(), offsets: vec![0] };
    for row in rows {
        all.bytes.extend_from_slice(row.as_ref());
        all.offsets.push(all.bytes.len() as i64);
    }
    all
}

/// The records of a batch, by a reader that shares nothing with the encoder but crates.
pub fn read(batch: &Bytes) -> Vec<Record> {
    let mut rest = batch.clone();
    let set = RecordBatchDecoder::decode(&mut rest).expect("a batch");
    assert!(rest.is_empty(), "bytes after the batch");
    set.records
}

fn number<const N: usize>(batch: &[u8], at: usize) -> [u8; N] {
    batch[at..at + N].try_into().expect("a header")
}

/// This crate's reader takes a batch apart into the same records.
fn check_stored(batch: &[u8], wanted: &[Record]) {
    let (mut left, mut room) = (batch, Decompressor::default());
    let stored = StoredBatch::take(&mut left).expect("a batch").expect("all of it");
    assert!(left.is_empty());
    let mut records = stored.records(&mut room).expect("records that are whole");
    for record in wanted {
        let found = records.next().expect("a record").expect("as many");
        assert_eq!((found.offset, found.timestamp), (record.offset, record.timestamp));
        assert_eq!((found.key, found.value), (record.key.as_deref(), record.value.as_deref()));
        let headers = records.headers().iter().copied();
        let same = record.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref()));
        assert!(headers.eq(same), "headers");
    }
    assert_eq!(records.next(), Ok(None));
}

impl Case {
    fn timestamp(&self, row: usize) -> i64 {
        self.records[if self.one_timestamp { 0 } else { row }].2
    }

    /// One batch after the other, with offsets and sequence numbers that go on.
    pub fn batches(&self) -> Vec<Bytes> {
        let column = |of: &dyn Fn(usize) -> Vec<u8>| {
            encoded(&(0..self.records.len()).map(of).collect::<Vec<_>>())
        };
        let keys = column(&|row| self.records[row].0.clone());
        let values = column(&|row| self.records[row].1.clone());
        let columns: Vec<Encoded> =
            self.headers.iter().map(|(_, value)| column(&|row| value.of(row).to_vec())).collect();
        let headers: Vec<Header> = self
            .headers
            .iter()
            .zip(&columns)
            .map(|((name, value), column)| match value {
                HeaderValue::Same(value) => Header::same(name, value),
                HeaderValue::Cycle(_) => Header::each(name, column),
            })
            .collect();
        let stamps: Vec<i64> = self.records.iter().map(|record| record.2).collect();
        let timestamps = match stamps.first() {
            Some(first) if self.one_timestamp => Timestamps::Same(*first),
            _ => Timestamps::Each(&stamps),
        };
        let records = Records::new(&keys, &values, &headers, timestamps);
        assert_eq!(records.len(), self.records.len());

        let mut builder = BatchBuilder::new(self.limits);
        let mut compressor = Compressor::new(self.codec);
        let rows: Vec<u32> = (0..records.len() as u32).collect();
        let (mut batches, mut rest, mut done) = (Vec::new(), &rows[..], 0);
        while !rest.is_empty() {
            // In two steps, as when columns end before a batch is full.
            let half = builder.append(&records, &rest[..rest.len() / 2]);
            let taken = half + builder.append(&records, &rest[half..]);
            assert_eq!(builder.len(), taken);
            assert!(taken == 1 || builder.size() <= self.limits.bytes);
            assert!(taken <= self.limits.records);
            let mut batch = Vec::new();
            builder.finish(&mut compressor, &mut batch);
            if self.producer != Producer::NONE {
                set_producer(&mut batch, self.producer.after(done));
            }
            set_base_offset(&mut batch, done as i64);
            batches.push(batch.into());
            rest = &rest[taken..];
            done += taken;
        }
        batches
    }

    /// Encodes the records, reads them, and compares.
    pub fn check(&self) {
        let mut row = 0;
        for batch in self.batches() {
            let records = read(&batch);
            self.check_header(&batch, row, records.len());
            check_stored(&batch, &records);
            let sequence = records[0].sequence;
            assert_eq!(sequence, self.producer.after(row).sequence, "base sequence");
            for record in records {
                self.check_record(&record, row);
                row += 1;
            }
        }
        assert_eq!(row, self.records.len());
    }

    /// What the reader passes over.
    fn check_header(&self, batch: &[u8], first: usize, count: usize) {
        let info = RecordBatchDecoder::decode_batch_info(&mut Bytes::copy_from_slice(batch))
            .expect("a header");
        let codec = match self.codec {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd,
        };
        assert_eq!(info[0].compression, codec);
        assert_eq!(info[0].partition_leader_epoch, -1);
        assert_eq!(i32::from_be_bytes(number(batch, 23)) + 1, count as i32, "last offset delta");
        assert_eq!(i64::from_be_bytes(number(batch, 27)), self.timestamp(first));
        let latest = (first..first + count).map(|row| self.timestamp(row)).max();
        assert_eq!(Some(i64::from_be_bytes(number(batch, 35))), latest);
    }

    fn check_record(&self, record: &Record, row: usize) {
        let (key, value, _) = &self.records[row];
        assert_eq!(record.key.as_deref(), Some(&key[..]));
        assert_eq!(record.value.as_deref(), Some(&value[..]));
        assert_eq!(record.timestamp, self.timestamp(row));
        assert_eq!(record.offset, row as i64);
        assert_eq!(record.producer_id, self.producer.id);
        assert_eq!(record.producer_epoch, self.producer.epoch);
        assert!(!record.transactional && !record.control);
        let found: Vec<(&str, Option<&[u8]>)> =
            record.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        let expected: Vec<(&str, Option<&[u8]>)> =
            self.headers.iter().map(|(name, value)| (&**name, Some(value.of(row)))).collect();
        assert_eq!(found, expected);
    }
}
