//! One broker: its connection, the task that serves it, and the requests in flight.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::cluster::Metadata;
use crate::config::{Address, Config};
use crate::connection::{Connection, Connector, Versions, frame, lost, read_answer};
use crate::delivery::TopicPartition;
use crate::error::{Error, Local};
use crate::transport::{Stream, Transport};

use super::topics::Topics;

/// What the tasks that use the network report.
pub(super) enum Event {
    Connection { node: i32, generation: u64, event: ConnectionEvent },
    Metadata(Result<Metadata, Error>),
    ProducerId(Result<(i64, i16, Duration), Error>),
}

pub(super) enum ConnectionEvent {
    Opened {
        versions: Versions,
        expires: Option<Instant>,
        throttle: Duration,
    },
    /// The request of that number is written.
    Written(i32),
    Answered(Bytes),
    Closed(Error),
}

pub(super) struct Broker {
    pub(super) node: i32,
    pub(super) address: Address,
    link: Link,
    /// Tells the events of this connection from those of one before.
    pub(super) generation: u64,
    pub(super) requests: VecDeque<Request>,
    correlation: i32,
    /// The partition of the last batch.
    last_sent: Option<TopicPartition>,
    pub(super) failures: u32,
    /// Why there is no connection, if the last try was in vain.
    pub(super) error: Option<Error>,
    /// When it answered last, or will want to be sent to again.
    heard: Instant,
    /// The end of the pause that it has asked for.
    pub(super) quiet_until: Instant,
}

enum Link {
    Closed {
        not_before: Instant,
    },
    /// Without a version while it is being made.
    Open {
        outbox: UnboundedSender<(i32, Bytes)>,
        version: Option<i16>,
        expires: Option<Instant>,
        task: AbortHandle,
    },
}

/// A request in flight.
pub(super) struct Request {
    pub(super) correlation: i32,
    /// One batch of each of these partitions.
    pub(super) partitions: Vec<TopicPartition>,
    at: Instant,
    pub(super) written: bool,
}

impl Broker {
    pub(super) fn new(node: i32, address: Address) -> Self {
        let now = Instant::now();
        Self {
            node,
            address,
            link: Link::Closed { not_before: now },
            generation: 0,
            requests: VecDeque::new(),
            correlation: 0,
            last_sent: None,
            failures: 0,
            error: None,
            heard: now,
            quiet_until: now,
        }
    }

    /// The version of Produce to speak, once there is a connection.
    pub(super) const fn version(&self) -> Option<i16> {
        match self.link {
            Link::Open { version, .. } => version,
            Link::Closed { .. } => None,
        }
    }

    /// Its connection is there.
    pub(super) const fn opened(&mut self, version: i16, expires: Option<Instant>) {
        if let Link::Open { version: its, expires: end, .. } = &mut self.link {
            (*its, *end) = (Some(version), expires);
        }
    }

    /// It has answered, and asks for a pause of this length (KIP-219).
    pub(super) fn heard(&mut self, now: Instant, throttle: Duration) {
        if !throttle.is_zero() {
            self.quiet_until = self.quiet_until.max(now + throttle);
        }
        self.heard = now.max(self.quiet_until);
    }

    /// When its oldest request runs out of time: brokers answer one after the other, and none while
    /// they have asked for a pause.
    pub(super) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        self.requests.front().map(|request| request.at.max(self.heard) + timeout)
    }

    /// When it may be sent to or connected to, if that is later than now.
    pub(super) fn wake_at(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let reconnect = match self.link {
            Link::Closed { not_before } => Some(not_before),
            Link::Open { .. } => None,
        };
        [Some(self.quiet_until), reconnect].into_iter().flatten().filter(move |at| *at > now)
    }

    /// Connects, unless there is a connection or it is too early for another try.
    pub(super) fn connect<T: Transport>(
        &mut self,
        now: Instant,
        connector: &Arc<Connector<T>>,
        post: &UnboundedSender<Event>,
    ) {
        if matches!(self.link, Link::Closed { not_before } if not_before <= now) {
            self.open(connector, post);
        }
    }

    /// The connection to send by, as a channel and a version of Produce, once it is there. A session
    /// that has expired is renewed when all its requests are answered.
    fn link<T: Transport>(
        &mut self,
        now: Instant,
        connector: &Arc<Connector<T>>,
        post: &UnboundedSender<Event>,
    ) -> Option<(UnboundedSender<(i32, Bytes)>, i16)> {
        self.connect(now, connector, post);
        let Link::Open { outbox, version: Some(version), expires, .. } = &self.link else {
            return None;
        };
        if expires.is_none_or(|moment| moment > now) {
            return Some((outbox.clone(), *version));
        }
        if self.requests.is_empty() {
            self.close(now);
            self.open(connector, post);
        }
        None
    }

    /// Sends batches of these partitions, in as many requests as may be in flight.
    pub(super) fn send<T: Transport>(
        &mut self,
        mut ready: Vec<TopicPartition>,
        topics: &mut Topics,
        now: Instant,
        connector: &Arc<Connector<T>>,
        post: &UnboundedSender<Event>,
    ) -> Result<(), Error> {
        if self.quiet_until > now {
            return Ok(());
        }
        let Some((outbox, version)) = self.link(now, connector, post) else { return Ok(()) };
        let config = &connector.config;
        // After the partition of the last batch, so that none starves.
        let start = ready.partition_point(|of| Some(of) <= self.last_sent.as_ref());
        ready.rotate_left(start);
        let mut ready = ready.into_iter().peekable();
        while ready.peek().is_some() && self.requests.len() < config.max_in_flight {
            let (mut size, mut partitions) = (0, Vec::new());
            let mut by_topic: BTreeMap<Arc<str>, Vec<PartitionProduceData>> = BTreeMap::new();
            while size < config.max_request_bytes {
                let Some(of) = ready.next() else { break };
                let Some(batch) = topics.send(&of, self.node) else { continue };
                size += batch.len();
                let data = PartitionProduceData::default().with_index(of.partition);
                by_topic
                    .entry(Arc::clone(&of.topic))
                    .or_default()
                    .push(data.with_records(Some(batch)));
                partitions.push(of);
            }
            self.correlation = self.correlation.wrapping_add(1);
            let correlation = self.correlation;
            self.last_sent = partitions.last().cloned();
            let request = produce_request(by_topic, config);
            self.requests.push_back(Request { correlation, partitions, at: now, written: false });
            let frame = frame(&request, version, correlation, &config.client_id)?;
            // If the task has ended, the event that says why is still to be taken.
            let _ = outbox.send((correlation, frame.freeze()));
        }
        Ok(())
    }

    fn open<T: Transport>(&mut self, connector: &Arc<Connector<T>>, post: &UnboundedSender<Event>) {
        self.generation += 1;
        let (outbox, frames) = unbounded_channel();
        let task = Task { node: self.node, generation: self.generation, post: post.clone() };
        let task = tokio::spawn(task.run(self.address.clone(), Arc::clone(connector), frames));
        let task = task.abort_handle();
        self.link = Link::Open { outbox, version: None, expires: None, task };
    }

    /// Drops the connection at once: what it has not written must not arrive any more.
    pub(super) fn close(&mut self, not_before: Instant) {
        if let Link::Open { task, .. } = &self.link {
            task.abort();
        }
        self.generation += 1;
        self.link = Link::Closed { not_before };
    }
}

fn produce_request(
    by_topic: BTreeMap<Arc<str>, Vec<PartitionProduceData>>,
    config: &Config,
) -> ProduceRequest {
    let topics = by_topic.into_iter().map(|(name, partitions)| {
        TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string((*name).to_owned())))
            .with_partition_data(partitions)
    });
    let timeout = config.request_timeout.as_millis();
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(config.acks.code())
        .with_timeout_ms(i32::try_from(timeout).unwrap_or(i32::MAX))
        .with_topic_data(topics.collect())
}

/// The task that reads from and writes to one connection.
struct Task {
    node: i32,
    generation: u64,
    post: UnboundedSender<Event>,
}

impl Task {
    fn post(&self, event: ConnectionEvent) {
        let (node, generation) = (self.node, self.generation);
        let _ = self.post.send(Event::Connection { node, generation, event });
    }

    async fn run<T: Transport>(
        self,
        address: Address,
        connector: Arc<Connector<T>>,
        frames: UnboundedReceiver<(i32, Bytes)>,
    ) {
        let error = match connector.open(&address).await {
            Ok(connection) => self.serve(connection, frames).await,
            Err(error) => error,
        };
        self.post(ConnectionEvent::Closed(error));
    }

    async fn serve(
        &self,
        connection: Connection<impl Stream>,
        mut frames: UnboundedReceiver<(i32, Bytes)>,
    ) -> Error {
        let Connection { stream, versions, expires, throttle, .. } = connection;
        self.post(ConnectionEvent::Opened { versions, expires, throttle });
        let (mut reader, mut writer) = tokio::io::split(stream);
        let reading = async {
            loop {
                match read_answer(&mut reader).await {
                    Ok(answer) => self.post(ConnectionEvent::Answered(answer)),
                    Err(error) => return error,
                }
            }
        };
        let writing = async {
            while let Some((correlation, frame)) = frames.recv().await {
                if let Err(error) = writer.write_all(&frame).await {
                    return lost(&error);
                }
                if let Err(error) = writer.flush().await {
                    return lost(&error);
                }
                self.post(ConnectionEvent::Written(correlation));
            }
            let _ = writer.shutdown().await;
            Error::new(Local::Transport, "closed")
        };
        tokio::select! {
            biased;
            error = reading => error,
            error = writing => error,
        }
    }
}
