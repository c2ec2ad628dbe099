//! Topics, and for each of their partitions the leader and the queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datagen_core::encode::kafka::{Packed, Producer, first_key};
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use tokio::time::Instant;

use crate::answer::Metadata;
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

#[derive(Default)]
struct Topic {
    unknown_since: Option<Instant>,
    /// Empty while the topic is unknown.
    partitions: Vec<Partition>,
}

struct Partition {
    of: TopicPartition,
    leader: i32,
    queue: PartitionQueue,
}

impl Topics {
    pub(super) const fn new(config: Arc<Config>, shared: Arc<Shared>) -> Self {
        Self { config, shared, by_name: BTreeMap::new(), producer: Producer::NONE }
    }

    pub(super) fn add(&mut self, names: Vec<Arc<str>>) {
        for name in names {
            self.by_name.entry(name).or_default();
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_name.keys()
    }

    /// Takes note of leaders, and says whether some are not known yet.
    pub(super) fn update(&mut self, found: &Metadata, now: Instant) -> bool {
        let found = found.topics.iter().filter_map(|topic| Some((topic.name.as_deref()?, topic)));
        let found: BTreeMap<_, _> = found.collect();
        let mut incomplete = false;
        for (name, topic) in &mut self.by_name {
            match found.get(&**name).map(|found| (found.error.err(), &found.partitions)) {
                Some((None, leaders)) if !leaders.is_empty() => {
                    topic.unknown_since = None;
                    if topic.partitions.is_empty() {
                        let partition = |partition| Partition {
                            of: TopicPartition { topic: Arc::clone(name), partition },
                            leader: NONE,
                            queue: PartitionQueue::new(Arc::clone(&self.config), self.producer),
                        };
                        topic.partitions = (0..leaders.len() as i32).map(partition).collect();
                    }
                    for partition in &mut topic.partitions {
                        partition.leader = NONE;
                    }
                    for (partition, leader) in leaders {
                        // Partitions that were added meanwhile would change where keys belong.
                        if let Some(known) = topic.partitions.get_mut(*partition as usize) {
                            known.leader = *leader;
                        }
                    }
                    incomplete |= topic.partitions.iter().any(|partition| partition.leader < 0);
                    self.shared.found(name, topic.partitions.len() as u32);
                }
                Some((Some(error), _)) if !error.is_retriable() => {
                    let error = Error::of_broker(error, format!("topic {name}: {error}"));
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

    pub(super) fn push(&mut self, name: &Arc<str>, batches: Vec<Packed>, now: Instant) {
        let topic = self.by_name.get_mut(name).expect("a topic that was found");
        for packed in batches {
            let Partition { of, queue, .. } = &mut topic.partitions[packed.partition as usize];
            if let Some(delivery) = queue.push(packed, now) {
                self.shared.settle(of, &delivery);
            }
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
        for Partition { of, leader, queue } in self.partitions() {
            if queue.is_waiting() && !is_known(*leader) {
                leaderless = true;
            } else if queue.may_send(*leader, now) {
                ready.entry(*leader).or_default().push(of.clone());
            }
        }
        (ready, leaderless)
    }

    fn queue(&mut self, of: &TopicPartition) -> &mut PartitionQueue {
        let topic = self.by_name.get_mut(&of.topic).expect("a topic that was found");
        &mut topic.partitions[of.partition as usize].queue
    }

    /// The bytes of the next batch of a partition, which is in flight from now on.
    pub(super) fn send(&mut self, of: &TopicPartition, broker: i32) -> Option<Bytes> {
        let limit = self.shared.max_batch_bytes(&of.topic);
        self.queue(of).send(broker, limit)
    }

    /// Ends the attempt of the oldest batch of a partition in flight.
    pub(super) fn complete(&mut self, of: &TopicPartition, attempt: Attempt, now: Instant) {
        if let Some(delivery) = self.queue(of).complete(attempt, now) {
            self.shared.settle(of, &delivery);
        }
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
        self.shared.note(format!("{} partition {}: {message}", of.topic, of.partition));
        if leads_no_more(error)
            && let Some(topic) = self.by_name.get_mut(&of.topic)
        {
            topic.partitions[of.partition as usize].leader = NONE;
        }
        let shared = Arc::clone(&self.shared);
        match self.queue(of).oldest_in_flight().filter(|_| is_too_large(error)) {
            // Half of it may still be too long, and then half of that is tried.
            Some((2.., batch)) => shared.limit(&of.topic, batch.len() / 2),
            Some((_, batch)) => shared.rejected(too_large_alone(&of.topic, batch)),
            None => {}
        }
        self.complete(of, Attempt::Refused(error), now);
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
            for Partition { of, queue, .. } in &mut topic.partitions {
                for delivery in queue.give_up(now, code) {
                    self.shared.settle(of, &delivery);
                }
            }
        }
    }

    /// Gives up all batches that wait, and with `also_sent` those in flight.
    pub(super) fn give_up(&mut self, also_sent: bool, now: Instant) {
        let shared = Arc::clone(&self.shared);
        for Partition { of, queue, .. } in self.partitions_mut() {
            let mut given_up = queue.give_up(now, Some(Local::PurgedInQueue.code()));
            if also_sent {
                given_up.extend(queue.abandon(Local::PurgedInFlight.code()));
            }
            for delivery in given_up {
                shared.settle(of, &delivery);
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
    pub(super) fn leaders(&self, name: &Arc<str>) -> Vec<i32> {
        let partitions = self.by_name.get(name).into_iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.leader).collect()
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
