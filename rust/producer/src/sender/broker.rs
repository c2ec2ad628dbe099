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

use super::topics::Topics;
use crate::answer::{Metadata, ProducerId};
use crate::config::{Address, Client, Config};
use crate::connection::{Connection, Connector, LONGEST_ANSWER, frame, read_answer, write_frame};
use crate::delivery::TopicPartition;
use crate::error::{Error, Local};
use crate::transport::Transport;

/// What tasks report that use the network.
pub(super) enum Event {
    /// Of a connection to the broker of that number, by its generation.
    Connection(i32, u64, ConnectionEvent),
    Metadata(Result<Metadata, Error>),
    ProducerId(Result<ProducerId, Error>),
}

pub(super) enum ConnectionEvent {
    Opened(Session),
    /// The request of that number is written.
    Written(i32),
    Answered(Bytes),
    Closed(Error),
}

/// What starts tasks that use the network.
pub(super) struct Dialer<T> {
    pub(super) connector: Arc<Connector<T>>,
    pub(super) config: Arc<Config>,
    pub(super) events: UnboundedSender<Event>,
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
    failures: u32,
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
    /// Without a session while it is being made.
    Open {
        outbox: UnboundedSender<(i32, Bytes)>,
        task: AbortHandle,
        session: Option<Session>,
    },
}

/// What a broker has said of a connection.
#[derive(Clone, Copy)]
pub(super) struct Session {
    /// The version of Produce to speak.
    pub(super) version: i16,
    /// When the broker will ask for authentication again.
    expires: Option<Instant>,
    throttle: Duration,
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

    pub(super) const fn session(&self) -> Option<Session> {
        match self.link {
            Link::Open { session, .. } => session,
            Link::Closed { .. } => None,
        }
    }

    /// Its connection is there.
    pub(super) fn opened(&mut self, now: Instant, by: Session) {
        if let Link::Open { session, .. } = &mut self.link {
            *session = Some(by);
        }
        self.error = None;
        self.heard(now, by.throttle);
    }

    /// It asks for a pause of this length (KIP-219).
    fn heard(&mut self, now: Instant, throttle: Duration) {
        if !throttle.is_zero() {
            self.quiet_until = self.quiet_until.max(now + throttle);
        }
        self.heard = now.max(self.quiet_until);
    }

    /// Its oldest request, which it has answered.
    pub(super) fn answered(&mut self, now: Instant, throttle: Duration) -> Option<Request> {
        self.failures = 0;
        self.heard(now, throttle);
        self.requests.pop_front()
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
    pub(super) fn connect<T: Transport>(&mut self, now: Instant, dialer: &Dialer<T>) {
        if matches!(self.link, Link::Closed { not_before } if not_before <= now) {
            self.open(dialer);
        }
    }

    /// Sends batches of these partitions, in as many requests as may be in flight.
    pub(super) fn send<T: Transport>(
        &mut self,
        mut ready: Vec<TopicPartition>,
        topics: &mut Topics,
        now: Instant,
        dialer: &Dialer<T>,
    ) -> Result<(), Error> {
        if self.quiet_until > now {
            return Ok(());
        }
        self.connect(now, dialer);
        let Link::Open { outbox, session: Some(session), .. } = &self.link else {
            return Ok(());
        };
        if session.expires.is_some_and(|moment| moment <= now) {
            // The session is renewed when all its requests are answered.
            if self.requests.is_empty() {
                self.close(now);
                self.open(dialer);
            }
            return Ok(());
        }
        let config = &dialer.config;
        // After the partition of the last batch, so that none starves.
        let start = ready.partition_point(|of| Some(of) <= self.last_sent.as_ref());
        ready.rotate_left(start);
        let mut ready = ready.into_iter().peekable();
        while ready.peek().is_some() && self.requests.len() < config.max_in_flight {
            let (mut size, mut partitions) = (0, Vec::new());
            let mut data: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
            while size < config.max_request_bytes {
                let Some(of) = ready.next() else { break };
                let Some(batch) = topics.send(&of, self.node) else { continue };
                size += batch.len();
                let batch = PartitionProduceData::default()
                    .with_index(of.partition)
                    .with_records(Some(batch));
                data.entry(Arc::clone(&of.topic)).or_default().push(batch);
                partitions.push(of);
            }
            let data = data.into_iter().map(|(name, batches)| {
                let name = TopicName(StrBytes::from_string((*name).to_owned()));
                TopicProduceData::default().with_name(name).with_partition_data(batches)
            });
            let timeout = config.client.request_timeout.as_millis();
            let request = ProduceRequest::default()
                .with_transactional_id(None)
                .with_acks(config.acks as i16)
                .with_timeout_ms(i32::try_from(timeout).unwrap_or(i32::MAX))
                .with_topic_data(data.collect());
            self.correlation = self.correlation.wrapping_add(1);
            let correlation = self.correlation;
            self.last_sent = partitions.last().cloned();
            self.requests.push_back(Request { correlation, partitions, at: now, written: false });
            let frame = frame(&request, session.version, correlation, &config.client.client_id)?;
            // If the task has ended, the event that says why is still to be taken.
            let _ = outbox.send((correlation, frame.freeze()));
        }
        Ok(())
    }

    fn open<T: Transport>(&mut self, dialer: &Dialer<T>) {
        self.generation += 1;
        let (outbox, frames) = unbounded_channel();
        let (node, generation, events) = (self.node, self.generation, dialer.events.clone());
        let (address, connector) = (self.address.clone(), Arc::clone(&dialer.connector));
        let report = move |event| drop(events.send(Event::Connection(node, generation, event)));
        let task = tokio::spawn(async move {
            if let Err(error) = serve(&address, &connector, frames, &report).await {
                report(ConnectionEvent::Closed(error));
            }
        });
        let task = task.abort_handle();
        self.link = Link::Open { outbox, task, session: None };
    }

    /// The connection is gone, or could not be made.
    pub(super) fn lost(&mut self, now: Instant, error: &Error, client: &Client) {
        self.failures += 1;
        self.error = Some(error.clone());
        self.close(now + client.backoff(self.failures));
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

/// Reads from and writes to one connection until it ends.
async fn serve<T: Transport>(
    address: &Address,
    connector: &Connector<T>,
    mut frames: UnboundedReceiver<(i32, Bytes)>,
    report: &impl Fn(ConnectionEvent),
) -> Result<(), Error> {
    let connection = connector.open(address).await?;
    let version = connection.version::<ProduceRequest>()?;
    let Connection { stream, expires, throttle, .. } = connection;
    report(ConnectionEvent::Opened(Session { version, expires, throttle }));
    let (mut reader, mut writer) = tokio::io::split(stream);
    let reading = async {
        loop {
            match read_answer(&mut reader, LONGEST_ANSWER).await {
                Ok(answer) => report(ConnectionEvent::Answered(answer)),
                Err(error) => return Err(error),
            }
        }
    };
    let writing = async {
        while let Some((correlation, frame)) = frames.recv().await {
            write_frame(&mut writer, &frame).await?;
            report(ConnectionEvent::Written(correlation));
        }
        let _ = writer.shutdown().await;
        Err(Error::new(Local::Transport, "closed"))
    };
    tokio::select! {
        biased;
        ended = reading => ended,
        ended = writing => ended,
    }
}
