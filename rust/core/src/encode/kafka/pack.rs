//! The records of one topic, packed into a batch for each partition until it is full.

use super::batch::{BatchBuilder, Limits};
use super::codec::{Codec, Compressor};
use super::event::Events;
use super::partition::{partition, rows_by_partition};
use super::record::Records;

/// A batch as it is sent, for one partition.
#[derive(Debug)]
pub struct Packed {
    /// Partition of the topic.
    pub partition: u32,
    /// Number of records.
    pub records: usize,
    /// The record batch: offset 0, no producer.
    pub bytes: Vec<u8>,
}

/// Fills one batch for each partition of a topic.
///
/// The size of a batch is that after compression, as Kafka's own producer counts it
/// (`batch.size`). It is estimated from the batch before, so a batch may turn out somewhat larger.
pub struct Packer {
    size: usize,
    /// What no batch should be longer than, where somebody takes no longer ones.
    most: usize,
    builders: Vec<BatchBuilder>,
    compressor: Compressor,
    /// Of the last batch that was long enough to tell.
    compression: Ratio,
}

#[derive(Clone, Copy)]
struct Ratio {
    plain: u64,
    compressed: u64,
}

impl Ratio {
    /// What our events, with their headers, come to; corrected by each batch.
    const fn expected(codec: Codec) -> Self {
        let compressed = match codec {
            Codec::None => 100,
            Codec::Lz4 | Codec::Snappy => 33,
            Codec::Gzip | Codec::Zstd => 25,
        };
        Self { plain: 100, compressed }
    }
}

impl Packer {
    /// A packer for so many partitions, and batches of so many bytes. `size` 1 makes every record a
    /// batch of its own.
    pub fn new(partitions: u32, size: usize, codec: Codec) -> Self {
        let compression = Ratio::expected(codec);
        let most = usize::MAX;
        let limits = limits(size, most, compression);
        let builders = (0..partitions).map(|_| BatchBuilder::new(limits)).collect();
        Self { size, most, builders, compressor: Compressor::new(codec), compression }
    }

    /// Forgets how well the last batches were compressed, so that what follows does not depend on
    /// them. All batches must have been finished.
    pub fn restart(&mut self) {
        self.compression = Ratio::expected(self.compressor.codec());
        for builder in &mut self.builders {
            builder.set_limits(limits(self.size, self.most, self.compression));
        }
    }

    /// Aims at batches that are not longer than this; what is estimated may still turn out longer.
    pub fn set_most(&mut self, most: usize) {
        if self.most != most {
            self.most = most;
            let limits = limits(self.size, most, self.compression);
            self.builders.iter_mut().for_each(|builder| builder.set_limits(limits));
        }
    }

    /// Number of partitions.
    pub const fn partitions(&self) -> u32 {
        self.builders.len() as u32
    }

    /// Whether a batch of this partition has been begun.
    pub fn holds(&self, partition: u32) -> bool {
        !self.builders[partition as usize].is_empty()
    }

    /// Adds events, each to the batch of its key's partition, in order; hands each batch that is full
    /// to `out`. Returns how many events each partition got.
    pub fn push(&mut self, events: &Events, out: &mut Vec<Packed>) -> Vec<usize> {
        let partitions = self.partitions();
        let rows = if partitions == 1 {
            vec![(0..events.keys().len() as u32).collect()]
        } else {
            rows_by_partition(&partition(events.keys(), partitions), partitions)
        };
        let records = events.records();
        for (number, rows) in (0..).zip(&rows) {
            self.fill(&records, number, rows, out);
        }
        rows.iter().map(Vec::len).collect()
    }

    fn fill(&mut self, records: &Records, partition: u32, mut rows: &[u32], out: &mut Vec<Packed>) {
        loop {
            let taken = self.builders[partition as usize].append(records, rows);
            if taken == rows.len() {
                return;
            }
            rows = &rows[taken..];
            self.finish(partition, out);
        }
    }

    /// Hands the batch of a partition to `out` as it is, unless it is empty.
    pub fn finish(&mut self, partition: u32, out: &mut Vec<Packed>) {
        let builder = &mut self.builders[partition as usize];
        let (records, plain) = (builder.len(), builder.size());
        if records == 0 {
            return;
        }
        let mut bytes = Vec::with_capacity(plain / 2);
        builder.finish(&mut self.compressor, &mut bytes);
        // A short batch says little about a long one.
        if records >= 16 {
            self.compression = Ratio { plain: plain as u64, compressed: bytes.len() as u64 };
        }
        builder.set_limits(limits(self.size, self.most, self.compression));
        out.push(Packed { partition, records, bytes });
    }
}

fn limits(size: usize, most: usize, compression: Ratio) -> Limits {
    // What is estimated may turn out longer, and a broker takes no more than 1 MiB by itself.
    let estimated = compression.compressed < compression.plain;
    let most = if estimated { (most / 8 * 5).min(640 << 10) } else { most };
    let size = size.min(most.max(1));
    let bytes = size as u64 * compression.plain / compression.compressed.max(1);
    // Compression is never counted on beyond what text of any kind reaches.
    let bytes = bytes.clamp(size as u64, size as u64 * 16);
    let records = if size == 1 { 1 } else { Limits::default().records };
    Limits { bytes: bytes as usize, records }
}
