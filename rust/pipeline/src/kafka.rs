//! Kafka's record batches as pieces.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use datagen_core::column::Batch;
use datagen_core::encode::Format;
use datagen_core::encode::kafka::{Codec, EventFormat, Events, Packed, Packer};

use crate::output::{Encode, Lane, Piece, Size};

impl Piece for Packed {
    fn size(&self) -> Size {
        Size { records: self.records, bytes: self.bytes.len() }
    }
}

/// What all records have beside their key and value.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Stamp {
    /// Whether there are `CloudEvents` headers.
    pub cloudevents: bool,
    /// Whether a header says what the value is.
    pub content_type: bool,
    /// Whether records bear the time of their event, or else that of their production.
    pub event_time: bool,
    /// Whether the symbols of enumerations are strings in Avro.
    pub avro_strings: bool,
}

impl Stamp {
    /// The format of what is made now: Avro with a schema id, JSON without.
    pub fn format(self, schema_id: Option<u32>) -> EventFormat {
        let now = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_millis() as i64
        };
        EventFormat {
            value: match schema_id {
                None => Format::Json,
                Some(_) if self.avro_strings => Format::AvroStrings { schema_id },
                Some(_) => Format::Avro { schema_id },
            },
            cloudevents: self.cloudevents,
            content_type: self.content_type,
            timestamp: (!self.event_time).then(now),
        }
    }
}

/// The topic of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    /// Number of partitions.
    pub partitions: u32,
    /// The id of the Avro schema of its values; JSON without.
    pub schema_id: Option<u32>,
}

/// Packs events into record batches, for each partition of their topic.
pub struct RecordBatches {
    topics: Vec<Topic>,
    size: usize,
    codec: Codec,
    stamp: Stamp,
    /// The topic of the task, and the partition where it has but one.
    topic: Topic,
    partition: Option<u32>,
    /// A task leaves nothing in its packer, so that one does for all topics of so many partitions.
    packers: BTreeMap<u32, Packer>,
}

impl RecordBatches {
    /// An encoder for a topic of each stream, and batches of about `size` compressed bytes.
    pub fn new(topics: Vec<Topic>, size: usize, codec: Codec, stamp: Stamp) -> Self {
        let topic = Topic { partitions: 0, schema_id: None };
        let (partition, packers) = Default::default();
        Self { topics, size, codec, stamp, topic, partition, packers }
    }

    /// The packer of the task; in order of time of one partition alone.
    fn packer(&mut self) -> &mut Packer {
        let partitions = if self.partition.is_some() { 1 } else { self.topic.partitions };
        let (size, codec) = (self.size, self.codec);
        self.packers.entry(partitions).or_insert_with(|| Packer::new(partitions, size, codec))
    }

    /// Says of pieces of which partition they are, where the packer knew of one alone.
    fn place(&self, pieces: &mut [Packed]) {
        if let Some(partition) = self.partition {
            for piece in pieces {
                piece.partition = partition;
            }
        }
    }
}

impl Encode for RecordBatches {
    type Piece = Packed;

    fn begin(&mut self, lane: Lane, longest: usize) {
        self.topic = self.topics[lane.stream];
        self.partition = lane.partition;
        let packer = self.packer();
        packer.restart();
        packer.set_most(longest);
    }

    fn push(&mut self, batch: &Batch, pieces: &mut Vec<Packed>) {
        let (format, before) = (self.stamp.format(self.topic.schema_id), pieces.len());
        self.packer().push(&Events::new(batch, format), pieces);
        self.place(&mut pieces[before..]);
    }

    fn finish(&mut self, pieces: &mut Vec<Packed>) {
        let (packer, before) = (self.packer(), pieces.len());
        (0..packer.partitions()).for_each(|partition| packer.finish(partition, pieces));
        self.place(&mut pieces[before..]);
    }
}
