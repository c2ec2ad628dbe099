//! Topics, and for each of their partitions the leader and the queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datagen_core::encode::kafka::{Packed, Producer, first_key};
use kafka_protocol::error::ResponseError;
use tokio::time::Instant;

use crate::cluster::Metadata;
use crate::config::Config;
use crate::connection::printable;
use crate::delivery::TopicPartition;
use crate::error::{Error, Local};
use crate::queue::{Attempt, PartitionQueue, is_too_large};
use crate::shared::Shared;

/// How long a topic may be unknown: a broker learns late of one that was just made.
const UNKNOWN_TOPIC: Duration = Duration::from_secs(30);
/// The number of no broker.
const NONE: i32 = -1;

pub(super) struct Topics {
    config: Arc<Config>,
    shared: Arc<Shared>,
    by_name: BTreeMap<Arc<str>, Topic>,
    producer: Producer,
}

struct Topic {
    unknown_since: Option<Instant>,
    /// Empty while the topic is unknown.
    partitions: Vec<Partition>,
    /// The longest batch that the topic takes, as far as is known.
    max_batch_bytes: usize,
}

struct Partition {
    leader: i32,
    queue: PartitionQueue,
}

impl Topics {
    pub(super) const fn new(config: Arc<Config>, shared: Arc<Shared>) -> Self {
        Self { config, shared, by_name: BTreeMap::new(), producer: Producer::NONE }
    }

    pub(super) fn add(&mut self, names: Vec<Arc<str>>) {
        for name in names {
            let max_batch_bytes = self.shared.max_batch_bytes(&name);
            self.by_name.entry(name).or_insert_with(|| Topic {
                unknown_since: None,
                partitions: Vec::new(),
                max_batch_bytes,
            });
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_name.keys()
    }

    /// Takes note of leaders, and says whether some are not known yet.
    pub(super) fn update(&mut self, found: &Metadata, now: Instant) -> bool {
        let mut incomplete = false;
        for (name, topic) in &mut self.by_name {
            match found.topics.get(&**name) {
                Some(Ok(leaders)) if !leaders.is_empty() => {
                    topic.unknown_since = None;
                    if topic.partitions.is_empty() {
                        let queue = || PartitionQueue::new(Arc::clone(&self.config), self.producer);
                        let partition = |_| Partition { leader: NONE, queue: queue() };
                        topic.partitions = leaders.iter().map(partition).collect();
                    }
                    // Partitions that were added meanwhile would change where keys belong.
                    let partitions = &mut topic.partitions;
                    for partition in &mut *partitions {
                        partition.leader = NONE;
                    }
                    for leader in leaders {
                        if let Some(partition) = partitions.get_mut(leader.partition as usize) {
                            partition.leader = leader.broker;
                        }
                    }
                    incomplete |= partitions.iter().any(|partition| partition.leader < 0);
                    self.shared.found(name, topic.partitions.len() as u32);
                }
                Some(Err(error)) if !error.is_retriable() => {
                    let error = Error::of_broker(*error, format!("topic {name}: {error}"));
                    self.shared.refused(name, error);
                }
                _ => {
                    topic.unknown_since.get_or_insert(now);
                    incomplete = true;
                }
            }
        }
        incomplete
    }

    /// Numbers the batches that are sent from here on.
    pub(super) fn set_producer(&mut self, producer: Producer) {
        self.producer = producer;
        self.partitions_mut().for_each(|partition| partition.queue.set_producer(producer));
    }

    /// Whether batches may be sent: numbered ones need a producer's id.
    pub(super) fn may_send(&self) -> bool {
        !self.config.idempotent || self.producer != Producer::NONE
    }

    /// Sends no batch of a topic that is longer.
    pub(super) fn limit(&mut self, name: &Arc<str>, bytes: usize) {
        if let Some(topic) = self.by_name.get_mut(name) {
            topic.max_batch_bytes = topic.max_batch_bytes.min(bytes);
        }
    }

    pub(super) fn push(&mut self, name: &Arc<str>, batches: Vec<Packed>, now: Instant) {
        let topic = self.by_name.get_mut(name).expect("a topic that was found");
        for packed in batches {
            let partition = packed.partition as i32;
            let delivery = topic.partitions[partition as usize].queue.push(packed, now);
            self.shared.settle(name, partition, delivery);
        }
    }

    /// The partitions with a batch that may be sent now, by leader, and whether any partition with a
    /// batch has no leader that is known.
    pub(super) fn ready(
        &self,
        now: Instant,
        is_known: impl Fn(i32) -> bool,
    ) -> (BTreeMap<i32, Vec<TopicPartition>>, bool) {
        let (mut ready, mut leaderless) = (BTreeMap::<_, Vec<_>>::new(), false);
        for (name, topic) in &self.by_name {
            for (index, partition) in (0..).zip(&topic.partitions) {
                if !partition.queue.is_waiting() {
                    continue;
                }
                if !is_known(partition.leader) {
                    leaderless = true;
                } else if partition.queue.may_send(partition.leader, now) {
                    let partitions = ready.entry(partition.leader).or_default();
                    partitions.push(TopicPartition { topic: Arc::clone(name), partition: index });
                }
            }
        }
        (ready, leaderless)
    }

    /// The bytes of the next batch of a partition, which is in flight from now on.
    pub(super) fn send(&mut self, of: &TopicPartition, broker: i32) -> Option<Bytes> {
        let topic = self.by_name.get_mut(&of.topic)?;
        topic.partitions[of.partition as usize].queue.send(broker, topic.max_batch_bytes)
    }

    /// Takes note of what a refusal says of a partition and its topic, and then ends the attempt.
    pub(super) fn refused(
        &mut self,
        of: &TopicPartition,
        error: ResponseError,
        message: Option<&str>,
        now: Instant,
    ) {
        let message = message.map(printable).filter(|text| !text.is_empty());
        let message = message.unwrap_or_else(|| error.to_string());
        self.shared.note(format!("{of}: {message}"));
        let Some(topic) = self.by_name.get_mut(&of.topic) else { return };
        let partition = &mut topic.partitions[of.partition as usize];
        if leads_no_more(error) {
            partition.leader = NONE;
        }
        if is_too_large(error)
            && let Some((records, batch)) = partition.queue.oldest_in_flight()
        {
            if records > 1 {
                // Half of it may still be too long, and then half of that is tried.
                topic.max_batch_bytes = topic.max_batch_bytes.min(batch.len() / 2);
                self.shared.limit(&of.topic, topic.max_batch_bytes);
            } else {
                self.shared.rejected(too_large_alone(&of.topic, batch));
            }
        }
        self.complete(of, Attempt::Refused(error), now);
    }

    /// Ends the attempt of the oldest batch of a partition in flight.
    pub(super) fn complete(&mut self, of: &TopicPartition, attempt: Attempt, now: Instant) {
        let Some(topic) = self.by_name.get_mut(&of.topic) else { return };
        let delivery = topic.partitions[of.partition as usize].queue.complete(attempt, now);
        self.shared.settle(&of.topic, of.partition, delivery);
    }

    /// Partitions have waited for their leader until the moment that `until` gives for it.
    pub(super) fn excuse(&mut self, until: impl Fn(i32) -> Option<Instant>) {
        for partition in self.partitions_mut() {
            if let Some(moment) = until(partition.leader) {
                partition.queue.excuse(moment);
            }
        }
    }

    pub(super) fn restart_clocks(&mut self, now: Instant) {
        for topic in self.by_name.values_mut() {
            topic.unknown_since = topic.unknown_since.map(|_| now);
        }
        self.partitions_mut().for_each(|partition| partition.queue.restart_clock(now));
    }

    /// Gives up batches whose time is over, or whose topic stays unknown.
    pub(super) fn expire(&mut self, now: Instant) {
        for (name, topic) in &mut self.by_name {
            let gone = topic.unknown_since.is_some_and(|since| now - since >= UNKNOWN_TOPIC);
            if gone {
                let text = format!("topic {name} does not exist");
                self.shared.refused(name, Error::new(Local::UnknownTopic, text));
            }
            let code = gone.then_some(Local::UnknownTopic.code());
            for (index, partition) in (0..).zip(&mut topic.partitions) {
                let given_up = partition.queue.give_up(now, code);
                self.shared.settle(name, index, given_up);
            }
        }
    }

    /// Gives up all batches that wait, and with `also_sent` those in flight.
    pub(super) fn give_up(&mut self, also_sent: bool, now: Instant) {
        for (name, topic) in &mut self.by_name {
            for (index, Partition { queue, .. }) in (0..).zip(&mut topic.partitions) {
                let given_up = queue.give_up(now, Some(Local::PurgedInQueue.code()));
                self.shared.settle(name, index, given_up);
                if also_sent {
                    let given_up = queue.abandon(Local::PurgedInFlight.code());
                    self.shared.settle(name, index, given_up);
                }
            }
        }
    }

    /// When queues have to be looked at although nothing happens.
    pub(super) fn wake_at(&self, now: Instant, open: bool) -> impl Iterator<Item = Instant> {
        self.partitions().flat_map(move |Partition { queue, .. }| {
            // After that moment the queue waits for what happens at the broker.
            let retry = queue.retry_at().filter(|moment| *moment > now);
            retry.into_iter().chain(queue.deadline().filter(|_| open))
        })
    }

    /// Whether a broker has had a batch longer than it may.
    pub(super) fn is_overdue(&self, broker: i32, now: Instant) -> bool {
        let mut queues = self.partitions().map(|partition| &partition.queue);
        let late = |queue: &PartitionQueue| queue.deadline().is_some_and(|moment| moment <= now);
        queues.any(|queue| queue.sent_to() == Some(broker) && late(queue))
    }

    /// The leaders of a topic, by partition: none while it is unknown.
    pub(super) fn leaders(&self, name: &Arc<str>) -> Option<impl Iterator<Item = i32>> {
        let topic = self.by_name.get(name)?;
        Some(topic.partitions.iter().map(|partition| partition.leader))
    }

    fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.by_name.values().flat_map(|topic| &topic.partitions)
    }

    fn partitions_mut(&mut self) -> impl Iterator<Item = &mut Partition> {
        self.by_name.values_mut().flat_map(|topic| &mut topic.partitions)
    }
}

/// What to say of an event that a topic does not even take alone.
fn too_large_alone(topic: &str, batch: &[u8]) -> String {
    let (key, len) = first_key(batch).unwrap_or_default();
    let key = printable(&String::from_utf8_lossy(&key));
    // As much as it takes however well it is compressed, and some more.
    let enough = (batch.len().max(len + 100)).next_multiple_of(1_000);
    format!(
        "topic {topic} takes no event of {} bytes, which that of key {key} has: raise its limit \
         (--topic-config max.message.bytes={enough}, or message.max.bytes of the broker)",
        batch.len()
    )
}

/// Whether a broker has said that it does not lead the partition.
const fn leads_no_more(error: ResponseError) -> bool {
    matches!(
        error,
        ResponseError::NotLeaderOrFollower
            | ResponseError::FencedLeaderEpoch
            | ResponseError::UnknownLeaderEpoch
            | ResponseError::KafkaStorageError
    )
}
