//! The logs of a cluster in memory, as those who read find them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use datagen_core::encode::kafka::{Producer, set_base_offset, set_producer};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, ProducerId,
};
use tokio::time::Instant;

use super::cluster::{NOT_LEADER, State};
use super::packed;

const OUT_OF_RANGE: i16 = 1;
const TRANSACTIONAL: u8 = 1 << 4;
const CONTROL: u8 = 1 << 5;

/// The log of a partition.
#[derive(Default)]
pub(crate) struct Log {
    /// First and last offset of each batch, and its bytes.
    batches: Vec<(i64, i64, Vec<u8>)>,
    /// Where it begins, if that is behind its first batch.
    pub(crate) start: i64,
    /// What is of no open transaction ends here, if that is before its end.
    pub(crate) last_stable: Option<i64>,
    /// Producer and first offset of transactions that were given up.
    pub(crate) aborted: Vec<(i64, i64)>,
    /// Errors of the next answers.
    pub(crate) errors: VecDeque<i16>,
    /// If not 0, an answer has this part of the bytes that it may have, and ends even within its first batch.
    pub(crate) share: usize,
}

impl Log {
    pub(crate) fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.1 + 1)
    }

    /// Appends records whose keys are their offsets.
    pub(crate) fn append(&mut self, records: usize) -> &mut Self {
        self.append_of(records, None, false)
    }

    /// The same by a transaction of this producer.
    pub(crate) fn append_in(&mut self, producer: i64, records: usize) -> &mut Self {
        self.append_of(records, Some(producer), false)
    }

    /// Ends the transaction of a producer.
    pub(crate) fn end_transaction(&mut self, producer: i64, commit: bool) -> &mut Self {
        self.append_of(1, Some(producer), true);
        let bytes = &mut self.batches.last_mut().unwrap().2;
        // Attributes, deltas, and a key of 4 bytes: the version, and how it has ended.
        let record = [0, 0, 0, 8, 0, 0, 0, u8::from(commit), 1, 0];
        bytes.truncate(61);
        bytes.push(2 * record.len() as u8);
        bytes.extend(record);
        seal(bytes);
        self
    }

    /// Offsets whose records were compacted away, with their batch.
    pub(crate) fn skip(&mut self, offsets: i64) -> &mut Self {
        self.append(1);
        let (first, last, bytes) = self.batches.last_mut().unwrap();
        *last = *first + offsets - 1;
        // The last offset stays that of the batch, and there is no record any more.
        bytes.truncate(61);
        bytes[23..27].copy_from_slice(&(offsets as i32 - 1).to_be_bytes());
        bytes[57..61].copy_from_slice(&0_i32.to_be_bytes());
        seal(bytes);
        self
    }

    /// Damages the last batch.
    pub(crate) fn damage(&mut self) -> &mut Self {
        *self.batches.last_mut().unwrap().2.last_mut().unwrap() ^= 1;
        self
    }

    /// Says that the last batch is of another format.
    pub(crate) fn set_format(&mut self, magic: u8) -> &mut Self {
        let last = self.batches.last_mut().unwrap();
        last.2[16] = magic;
        // Then the offset of a set of messages is that of its last one.
        last.2[..8].copy_from_slice(&last.1.to_be_bytes());
        self
    }

    fn append_of(&mut self, records: usize, producer: Option<i64>, control: bool) -> &mut Self {
        let first = self.end();
        let mut bytes = packed(0, first as usize..first as usize + records).bytes;
        set_base_offset(&mut bytes, first);
        if let Some(id) = producer {
            bytes[22] |= TRANSACTIONAL | if control { CONTROL } else { 0 };
            set_producer(&mut bytes, Producer { id, epoch: 0, sequence: 0 });
        }
        self.batches.push((first, first + records as i64 - 1, bytes));
        self
    }

    fn read(&self, from: i64, committed: bool, most: usize) -> Bytes {
        let stable = self.last_stable.filter(|_| committed).unwrap_or(i64::MAX);
        let wanted = self.batches.iter().filter(|(_, last, _)| *last >= from && *last < stable);
        let mut out = BytesMut::new();
        for (_, _, bytes) in wanted {
            let left = (most / self.share.max(1)).saturating_sub(out.len());
            if left < bytes.len() && (self.share > 0 || !out.is_empty()) {
                out.extend_from_slice(&bytes[..left]);
                break;
            }
            out.extend_from_slice(bytes);
        }
        out.freeze()
    }
}

/// Writes length and CRC anew.
fn seal(bytes: &mut [u8]) {
    let len = (bytes.len() - 12) as u32;
    bytes[8..12].copy_from_slice(&len.to_be_bytes());
    let id = i64::from_be_bytes(bytes[43..51].try_into().unwrap());
    set_producer(bytes, Producer { id, epoch: 0, sequence: -1 });
}

impl State {
    pub(crate) fn fetched(&mut self, node: i32, request: &FetchRequest) -> FetchResponse {
        self.fetches.push((Instant::now(), node));
        let leaders = self.leaders.clone();
        let committed = request.isolation_level == 1;
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let log = self.logs.get_mut(&asked.partition).expect("a log");
                let (from, end) = (asked.fetch_offset, log.end());
                let error = match log.errors.pop_front() {
                    Some(error) => error,
                    None if leaders[asked.partition as usize] != node => NOT_LEADER,
                    None if from < log.start || from > end => OUT_OF_RANGE,
                    None => 0,
                };
                let part = PartitionData::default()
                    .with_partition_index(asked.partition)
                    .with_error_code(error);
                if error != 0 {
                    return part;
                }
                let aborted = log.aborted.iter().map(|(producer, first)| {
                    AbortedTransaction::default()
                        .with_producer_id(ProducerId(*producer))
                        .with_first_offset(*first)
                });
                let most = asked.partition_max_bytes as usize;
                part.with_high_watermark(end)
                    .with_last_stable_offset(log.last_stable.unwrap_or(end))
                    .with_log_start_offset(log.start)
                    .with_aborted_transactions(committed.then(|| aborted.collect()))
                    .with_records(Some(log.read(from, committed, most)))
            });
            FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_partitions(partitions.collect())
        });
        FetchResponse::default().with_responses(topics.collect())
    }

    pub(crate) fn listed(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(asked.partition_index)
                    .with_offset(self.logs[&asked.partition_index].start)
            });
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }
}
