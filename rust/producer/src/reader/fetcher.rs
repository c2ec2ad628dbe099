//! The loop that reads: leaders, one request at a time for each broker, and time.
//!
//! It is an actor: tasks that use the network hand it what came of them, and its state is its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::log::walk;
use super::{Asked, Block, Event, Span, Unread, Why};
use crate::answer::{Fetched, Metadata, Part};
use crate::cluster;
use crate::config::{Address, Client};
use crate::connection::{Connection, Connector};
use crate::error::{Error, Local};
use crate::transport::Transport;

/// How long a broker may wait until there is anything at all.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// Bytes of an answer, and of a partition in it at first; one batch always comes.
const ANSWER_BYTES: usize = 8 << 20;
const PARTITION_BYTES: i32 = 1 << 20;
/// Bytes that are read ahead of the caller, in units of `UNIT`, so that a semaphore can count them.
const UNIT: usize = 1 << 10;
const AHEAD: usize = (64 << 20) / UNIT;
/// Reading until the log ends means everything that all replicas have.
const UNCOMMITTED: i8 = 0;
const COMMITTED: i8 = 1;
/// What `ListOffsets` calls the beginning of a log.
const EARLIEST: i64 = -2;

pub(crate) struct Fetcher<T: Transport> {
    connector: Arc<Connector<T>>,
    asked: Asked,
    partitions: Vec<Partition>,
    brokers: BTreeMap<i32, Broker<T::Stream>>,
    tasks: JoinSet<Outcome<T::Stream>>,
    /// Whether leaders are being asked for, and when they may be again.
    asking: bool,
    ask_at: Instant,
    ask_failures: u32,
    ahead: Arc<Semaphore>,
    events: Sender<Event>,
    /// When something came last, or a pause ends that a broker has asked for.
    heard: Instant,
    last_error: Option<Error>,
}

/// How far a partition is.
struct Partition {
    leader: Option<i32>,
    next: i64,
    /// Whether nothing more comes.
    done: bool,
    /// Whether it is part of a request.
    busy: bool,
    bytes: i32,
    failures: u32,
    not_before: Instant,
}

struct Broker<S> {
    address: Address,
    /// None while a task has it, or there is none.
    connection: Option<Connection<S>>,
    busy: bool,
    failures: u32,
    not_before: Instant,
}

/// What has become of a task.
enum Outcome<S> {
    Leaders(Result<Metadata, Error>),
    Fetched { node: i32, of: Vec<usize>, answer: Result<Answer<S>, Error> },
}

struct Answer<S> {
    connection: Connection<S>,
    fetched: Fetched,
    /// Of partitions whose offset is out of the log, where the log begins.
    earliest: Vec<(Arc<str>, i32, i16, i64)>,
    permit: OwnedSemaphorePermit,
}

impl<T: Transport> Fetcher<T> {
    pub(crate) fn new(transport: T, client: Client, asked: Asked) -> (Self, Receiver<Event>) {
        let (events, received) = channel();
        let now = Instant::now();
        let partition = |span: &Span| Partition {
            leader: None,
            next: span.offsets.start,
            done: span.offsets.is_empty(),
            busy: false,
            bytes: PARTITION_BYTES,
            failures: 0,
            not_before: now,
        };
        let fetcher = Self {
            connector: Arc::new(Connector { client, transport }),
            partitions: asked.spans.iter().map(partition).collect(),
            asked,
            brokers: BTreeMap::new(),
            tasks: JoinSet::new(),
            asking: false,
            ask_at: now,
            ask_failures: 0,
            ahead: Arc::new(Semaphore::new(AHEAD)),
            events,
            heard: now,
            last_error: None,
        };
        (fetcher, received)
    }

    /// Reads until all has come, or the other end of `stop` is gone.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        self.heard = Instant::now();
        let outcome = tokio::select! {
            biased;
            _ = &mut stop => return,
            outcome = self.read() => outcome,
        };
        let _ = self.events.send(Event::Ended(outcome));
    }

    async fn read(&mut self) -> Result<(), Error> {
        while self.partitions.iter().any(|one| !one.done) {
            let now = Instant::now();
            self.ask(now);
            self.fetch(now);
            // While the caller has not taken what has come, the brokers are not waited for.
            if self.ahead.available_permits() < AHEAD / 2 {
                self.heard = self.heard.max(now);
            }
            if now >= self.heard + self.asked.silence {
                return Err(self.silent());
            }
            let wake = self.wake_at(now);
            tokio::select! {
                Some(outcome) = self.tasks.join_next() => {
                    self.take(outcome.expect("a task that does not panic"))?;
                }
                () = sleep_until(wake) => {}
            }
        }
        Ok(())
    }

    /// Asks who leads the partitions whose leader is not known.
    fn ask(&mut self, now: Instant) {
        let unled = |(one, _): &(&Partition, &Span)| !one.done && one.leader.is_none();
        let pairs = || self.partitions.iter().zip(&self.asked.spans);
        if self.asking || self.ask_at > now || !pairs().any(|pair| unled(&pair)) {
            return;
        }
        let mut topics: Vec<_> =
            pairs().filter(unled).map(|(_, span)| Arc::clone(&span.topic)).collect();
        topics.sort();
        topics.dedup();
        let known = self.brokers.values().map(|broker| broker.address.clone());
        let addresses = known.chain(self.connector.client.bootstrap.iter().cloned()).collect();
        let connector = Arc::clone(&self.connector);
        self.asking = true;
        self.tasks.spawn(async move {
            Outcome::Leaders(cluster::metadata(addresses, connector, topics, false).await)
        });
    }

    /// Sends a request to each broker that has none, for all partitions that it leads.
    fn fetch(&mut self, now: Instant) {
        for (node, broker) in &mut self.brokers {
            if broker.busy || broker.not_before > now {
                continue;
            }
            let is_ready = |one: &Partition| {
                !one.done && !one.busy && one.leader == Some(*node) && one.not_before <= now
            };
            let mut of: Vec<_> = (0..self.partitions.len())
                .filter(|index| is_ready(&self.partitions[*index]))
                .collect();
            if of.is_empty() {
                continue;
            }
            // Those that are behind first, since an answer may be full before it comes to the last.
            of.sort_by_key(|index| {
                self.partitions[*index].next - self.asked.spans[*index].offsets.start
            });
            for index in &of {
                self.partitions[*index].busy = true;
            }
            broker.busy = true;
            let request = request(&self.asked, &self.partitions, &of);
            let (connector, address) = (Arc::clone(&self.connector), broker.address.clone());
            let (connection, ahead) = (broker.connection.take(), Arc::clone(&self.ahead));
            let spans: Vec<_> = of.iter().map(|index| self.asked.spans[*index].clone()).collect();
            let node = *node;
            self.tasks.spawn(async move {
                let answer = fetched(&connector, &address, connection, &request, &spans, ahead);
                let answer = answer.await.map_err(|error| error.at(&address));
                Outcome::Fetched { node, of, answer }
            });
        }
    }

    fn take(&mut self, outcome: Outcome<T::Stream>) -> Result<(), Error> {
        let now = Instant::now();
        match outcome {
            Outcome::Leaders(found) => {
                self.asking = false;
                match found {
                    Ok(found) => self.learn(found, now)?,
                    Err(error) if error.is_final() => return Err(error),
                    Err(error) => {
                        self.ask_failures += 1;
                        self.last_error = Some(error);
                    }
                }
                self.ask_at = now + self.connector.client.backoff(self.ask_failures.max(1));
            }
            Outcome::Fetched { node, of, answer } => {
                for index in &of {
                    self.partitions[*index].busy = false;
                }
                let broker = self.brokers.get_mut(&node).expect("a broker that is known");
                broker.busy = false;
                match answer {
                    Ok(answer) => {
                        broker.failures = 0;
                        broker.not_before = now + answer.fetched.throttle;
                        broker.connection = Some(answer.connection);
                        if !answer.fetched.throttle.is_zero() {
                            // A broker that asks for a pause is not silent.
                            self.heard = self.heard.max(broker.not_before);
                        }
                        let before: Vec<_> =
                            of.iter().map(|at| self.partitions[*at].next).collect();
                        self.took(&of, answer.fetched, &answer.earliest, answer.permit, now)?;
                        let moved =
                            |(at, before): (&usize, i64)| self.partitions[*at].next > before;
                        if !of.iter().zip(before).any(moved) {
                            // A broker that does not wait until there is something is not asked all the time.
                            let pause = now + self.connector.client.backoff(1);
                            let broker =
                                self.brokers.get_mut(&node).expect("a broker that is known");
                            broker.not_before = broker.not_before.max(pause);
                        }
                    }
                    Err(error) if error.is_final() => return Err(error),
                    Err(error) => {
                        broker.failures += 1;
                        broker.not_before = now + self.connector.client.backoff(broker.failures);
                        for index in of {
                            self.partitions[index].leader = None;
                        }
                        self.last_error = Some(error);
                    }
                }
            }
        }
        Ok(())
    }

    fn learn(&mut self, found: Metadata, now: Instant) -> Result<(), Error> {
        self.ask_failures = 0;
        for (node, host, port) in found.brokers {
            let Ok(port) = u16::try_from(port) else { continue };
            let address = Address { host, port };
            let broker = self.brokers.entry(node).or_insert_with(|| Broker {
                address: address.clone(),
                connection: None,
                busy: false,
                failures: 0,
                not_before: now,
            });
            if broker.address != address {
                (broker.address, broker.connection) = (address, None);
            }
        }
        for topic in &found.topics {
            let Some(name) = topic.name.as_deref() else { continue };
            if let Some(error) = topic.error.err() {
                let error = Error::of_broker(error, format!("topic {name}: {error}"));
                let passes = topic.error.err().is_some_and(|error| error.is_retriable());
                if !passes {
                    return Err(error);
                }
                self.last_error = Some(error);
            }
            for (one, span) in self.partitions.iter_mut().zip(&self.asked.spans) {
                if &*span.topic == name && !one.busy {
                    let led = topic.partitions.iter().find(|led| led.0 == span.partition as i32);
                    let leader = led.map(|led| led.1);
                    one.leader = leader.filter(|leader| self.brokers.contains_key(leader));
                }
            }
        }
        Ok(())
    }

    /// Hands over what partitions had.
    fn took(
        &mut self,
        of: &[usize],
        fetched: Fetched,
        earliest: &[(Arc<str>, i32, i16, i64)],
        mut permit: OwnedSemaphorePermit,
        now: Instant,
    ) -> Result<(), Error> {
        if let Some(error) = fetched.error.err() {
            return self.refused(of, error, now);
        }
        for part in fetched.partitions {
            let is_it = |index: &&usize| {
                let span = &self.asked.spans[**index];
                span.partition as i32 == part.partition && *span.topic == *part.topic
            };
            let Some(index) = of.iter().find(is_it).copied() else { continue };
            match part.error.err() {
                None => self.had(index, &part, &mut permit, now)?,
                Some(ResponseError::OffsetOutOfRange) => {
                    let listed = earliest.iter().find(|(topic, partition, error, _)| {
                        *error == 0 && *partition == part.partition && **topic == *part.topic
                    });
                    self.below(index, listed.map(|listed| listed.3), now)?;
                }
                Some(error) => self.refused(&[index], error, now)?,
            }
        }
        Ok(())
    }

    /// Partitions that a broker does not let be read.
    fn refused(&mut self, of: &[usize], error: ResponseError, now: Instant) -> Result<(), Error> {
        for index in of {
            let Span { topic, partition, .. } = &self.asked.spans[*index];
            let said = Error::of_broker(error, format!("{topic} partition {partition}: {error}"));
            if !error.is_retriable() {
                return Err(said);
            }
            let one = &mut self.partitions[*index];
            one.leader = None;
            one.failures += 1;
            one.not_before = now + self.connector.client.backoff(one.failures);
            self.last_error = Some(said);
        }
        Ok(())
    }

    /// Goes on where the log begins.
    fn below(&mut self, index: usize, earliest: Option<i64>, now: Instant) -> Result<(), Error> {
        let Some(earliest) = earliest.filter(|first| *first > self.partitions[index].next) else {
            // The log has become shorter, or its new leader does not know yet how long it is.
            return self.refused(&[index], ResponseError::OffsetNotAvailable, now);
        };
        let one = &mut self.partitions[index];
        let end = self.asked.spans[index].offsets.end;
        let offsets = one.next..earliest.min(end);
        one.next = offsets.end;
        one.done = one.next >= end;
        self.heard = self.heard.max(now);
        self.send(Event::Unread(Unread { span: index, offsets, why: Why::BelowLogStart }));
        Ok(())
    }

    fn had(
        &mut self,
        index: usize,
        part: &Part,
        permit: &mut OwnedSemaphorePermit,
        now: Instant,
    ) -> Result<(), Error> {
        let one = &mut self.partitions[index];
        // A batch may begin before the offset that was asked for.
        let offsets = one.next..self.asked.spans[index].offsets.end;
        one.failures = 0;
        let found = walk(part, one.next, offsets.end, self.asked.committed).map_err(|flaw| {
            let Span { topic, partition, .. } = &self.asked.spans[index];
            let at = one.next;
            Error::new(Local::BadMessage, format!("{topic} partition {partition} at {at}: {flaw}"))
        })?;
        if found.next > one.next {
            self.heard = self.heard.max(now);
            one.next = found.next;
            one.bytes = PARTITION_BYTES;
        } else if found.cut {
            // Of an old broker, or not the first partition of its answer.
            one.bytes = one.bytes.saturating_mul(2);
        }
        let next = one.next;
        one.done = next >= offsets.end;
        // Behind an open transaction nothing comes before that has ended.
        let waits = self.asked.committed
            && part.records.is_empty()
            && part.last_stable <= next
            && part.last_stable < part.high_watermark;
        let blocked = waits && !one.done;
        one.done |= blocked;
        for (flawed, flaw) in found.flaws {
            let flawed = flawed.start..flawed.end.min(offsets.end);
            self.send(Event::Unread(Unread { span: index, offsets: flawed, why: Why::Flaw(flaw) }));
        }
        if !found.batches.is_empty() {
            let len: usize = found.batches.iter().map(bytes::Bytes::len).sum();
            let len = (len / UNIT).min(permit.num_permits());
            let permit = permit.split(len).expect("no more than there are");
            let batches = found.batches;
            let begin = offsets.clone();
            self.send(Event::Block(Block {
                span: index,
                offsets: begin,
                batches,
                _permit: permit,
            }));
        }
        if blocked {
            let offsets = next..offsets.end;
            self.send(Event::Unread(Unread { span: index, offsets, why: Why::OpenTransaction }));
        }
        Ok(())
    }

    fn send(&self, event: Event) {
        // Without a caller the thread is about to end.
        let _ = self.events.send(event);
    }

    fn silent(&self) -> Error {
        let open = self.partitions.iter().zip(&self.asked.spans).find(|(one, _)| !one.done);
        let (one, Span { topic, partition, .. }) = open.expect("a partition that is not read");
        let cause = self.last_error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        let silence = self.asked.silence;
        let text = format!(
            "{topic} partition {partition} was not read from offset {} within {silence:?}{cause}",
            one.next
        );
        Error::new(Local::TimedOut, text)
    }

    /// When to act although no task has ended.
    fn wake_at(&self, now: Instant) -> Instant {
        let partitions = self.partitions.iter().filter(|one| !one.done).map(|one| one.not_before);
        let brokers = self.brokers.values().map(|broker| broker.not_before);
        let moments = partitions.chain(brokers).chain([self.ask_at]).filter(|at| *at > now);
        moments.fold(self.heard + self.asked.silence, Instant::min)
    }
}

/// The request for what comes next of these partitions.
fn request(asked: &Asked, partitions: &[Partition], of: &[usize]) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for index in of {
        let (span, one) = (&asked.spans[*index], &partitions[*index]);
        let partition = FetchPartition::default()
            .with_partition(span.partition as i32)
            .with_fetch_offset(one.next)
            .with_partition_max_bytes(one.bytes);
        match topics.last_mut().filter(|last| *last.topic.0 == *span.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(
                FetchTopic::default()
                    .with_topic(topic_name(&span.topic))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(MAX_WAIT.as_millis() as i32)
        .with_min_bytes(1)
        .with_max_bytes(ANSWER_BYTES as i32)
        .with_isolation_level(if asked.committed { COMMITTED } else { UNCOMMITTED })
        // No session: what is wanted is in each request.
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(topics)
}

fn topic_name(name: &Arc<str>) -> TopicName {
    TopicName(StrBytes::from_string((**name).to_owned()))
}

/// What a broker has of partitions, kept until the caller has taken enough of what came before.
async fn fetched<T: Transport>(
    connector: &Connector<T>,
    address: &Address,
    connection: Option<Connection<T::Stream>>,
    request: &FetchRequest,
    spans: &[Span],
    ahead: Arc<Semaphore>,
) -> Result<Answer<T::Stream>, Error> {
    // A session is renewed by another connection.
    let valid = |one: &Connection<_>| one.expires.is_none_or(|moment| moment > Instant::now());
    let mut connection = match connection.filter(valid) {
        Some(connection) => connection,
        None => connector.open(address).await?,
    };
    let limit = connector.client.request_timeout;
    let fetched = connection.fetch(request, limit.saturating_add(MAX_WAIT)).await?;
    let out_of_range = ResponseError::OffsetOutOfRange.code();
    let lost: Vec<_> =
        fetched.partitions.iter().filter(|part| part.error == out_of_range).collect();
    let mut earliest = Vec::new();
    if !lost.is_empty() {
        let topics = spans
            .iter()
            .filter(|span| {
                let is_it = |part: &&Part| {
                    part.partition == span.partition as i32 && *part.topic == *span.topic
                };
                lost.iter().copied().any(|part| is_it(&part))
            })
            .map(|span| {
                let partition = ListOffsetsPartition::default()
                    .with_partition_index(span.partition as i32)
                    .with_current_leader_epoch(-1)
                    .with_timestamp(EARLIEST);
                ListOffsetsTopic::default()
                    .with_name(topic_name(&span.topic))
                    .with_partitions(vec![partition])
            });
        let asked = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(topics.collect());
        earliest = connection.call(&asked, limit).await?.partitions;
    }
    let bytes: usize = fetched.partitions.iter().map(|part| part.records.len()).sum();
    let units = (bytes / UNIT).min(AHEAD) as u32;
    let permit = ahead.acquire_many_owned(units).await.expect("a semaphore that stays open");
    Ok(Answer { connection, fetched, earliest, permit })
}
