//! Kafka's record batches as pieces.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use datagen_core::column::Batch;
use datagen_core::encode::Format;
use datagen_core::encode::kafka::{Codec, EventFormat, Events, Packed, Packer};

use crate::output::{Encode, Piece, Size};

impl Piece for Packed {
    fn size(&self) -> Size {
        Size { records: self.records, bytes: self.bytes.len() }
    }
}

/// What all records have beside their key and value.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// Whether there are `CloudEvents` headers.
    pub cloudevents: bool,
    /// Whether a header says what the value is.
    pub content_type: bool,
    /// Whether records bear the time of their event, or else that of their production.
    pub event_time: bool,
}

impl Stamp {
    /// The format of what is made now: Avro with a schema id, JSON without.
    pub fn format(self, schema_id: Option<u32>) -> EventFormat {
        let now = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_millis() as i64
        };
        EventFormat {
            value: schema_id.map_or(Format::Json, |id| Format::Avro { schema_id: Some(id) }),
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
    /// The topic of the task.
    topic: Topic,
    /// A task leaves nothing in its packer, so that one does for all topics of so many partitions.
    packers: BTreeMap<u32, Packer>,
}

impl RecordBatches {
    /// An encoder for a topic of each stream, and batches of about `size` compressed bytes.
    pub fn new(topics: Vec<Topic>, size: usize, codec: Codec, stamp: Stamp) -> Self {
        let topic = Topic { partitions: 0, schema_id: None };
        Self { topics, size, codec, stamp, topic, packers: BTreeMap::new() }
    }

    fn packer(&mut self) -> &mut Packer {
        let partitions = self.topic.partitions;
        let (size, codec) = (self.size, self.codec);
        self.packers.entry(partitions).or_insert_with(|| Packer::new(partitions, size, codec))
    }
}

impl Encode for RecordBatches {
    type Piece = Packed;

    fn begin(&mut self, stream: usize, longest: usize) {
        self.topic = self.topics[stream];
        let packer = self.packer();
        packer.restart();
        packer.set_most(longest);
    }

    fn push(&mut self, batch: &Batch, pieces: &mut Vec<Packed>) {
        let format = self.stamp.format(self.topic.schema_id);
        self.packer().push(&Events::new(batch, format), pieces);
    }

    fn finish(&mut self, pieces: &mut Vec<Packed>) {
        let partitions = self.topic.partitions;
        let packer = self.packer();
        (0..partitions).for_each(|partition| packer.finish(partition, pieces));
    }
}
