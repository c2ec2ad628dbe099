//! One broker: its connection, the task that carries it, and the requests on their way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::cluster::Metadata;
use crate::config::Address;
use crate::connection::{Connection, Connector, Versions, lost, read_answer};
use crate::error::{Error, Local};
use crate::transport::{Stream, Transport};

/// What comes from the network.
pub(super) enum Event {
    Opened {
        broker: i32,
        generation: u64,
        versions: Versions,
        expires: Option<Instant>,
        throttle: Duration,
    },
    Written {
        broker: i32,
        generation: u64,
        correlation: i32,
    },
    Answered {
        broker: i32,
        generation: u64,
        answer: Bytes,
    },
    Closed {
        broker: i32,
        generation: u64,
        error: Error,
    },
    Metadata(Result<Metadata, Error>),
    ProducerId(Result<(i64, i16, Duration), Error>),
}

/// A partition of a topic.
pub(super) type Place = (Arc<str>, i32);

pub(super) struct Broker {
    pub(super) address: Address,
    pub(super) link: Link,
    /// Tells the events of this connection from those of one before.
    pub(super) generation: u64,
    pub(super) requests: VecDeque<Request>,
    pub(super) correlation: i32,
    /// The partition of the last batch.
    pub(super) last_sent: Option<Place>,
    pub(super) failures: u32,
    /// Why there is no connection, if the last try was in vain.
    pub(super) error: Option<Error>,
    /// When it answered last, or will want to be sent to again.
    pub(super) heard: Instant,
    /// Until when it wants to be left alone.
    pub(super) quiet_until: Instant,
}

pub(super) enum Link {
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

/// A request on its way.
pub(super) struct Request {
    pub(super) correlation: i32,
    /// One batch of each of these lines.
    pub(super) lines: Vec<Place>,
    pub(super) at: Instant,
    pub(super) written: bool,
}

impl Broker {
    pub(super) fn new(address: Address, link: Link) -> Self {
        let now = Instant::now();
        Self {
            address,
            link,
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

    /// It has answered, and wants to be left alone for so long (KIP-219).
    pub(super) fn heard(&mut self, now: Instant, throttle: Duration) {
        if !throttle.is_zero() {
            self.quiet_until = self.quiet_until.max(now + throttle);
        }
        self.heard = now.max(self.quiet_until);
    }

    /// From when on the time of a request counts: brokers answer one after the other, and none while
    /// they want to be left alone.
    pub(super) fn waits_since(&self, request: &Request) -> Instant {
        request.at.max(self.heard)
    }

    pub(super) fn open<T: Transport>(
        &mut self,
        node: i32,
        connector: &Arc<Connector<T>>,
        post: &UnboundedSender<Event>,
    ) {
        self.generation += 1;
        let (outbox, frames) = unbounded_channel();
        let task = Task { node, generation: self.generation, post: post.clone() };
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

/// What carries one connection.
struct Task {
    node: i32,
    generation: u64,
    post: UnboundedSender<Event>,
}

impl Task {
    async fn run<T: Transport>(
        self,
        address: Address,
        connector: Arc<Connector<T>>,
        frames: UnboundedReceiver<(i32, Bytes)>,
    ) {
        let (broker, generation) = (self.node, self.generation);
        let error = match connector.open(&address).await {
            Ok(connection) => self.carry(connection, frames).await,
            Err(error) => error,
        };
        let _ = self.post.send(Event::Closed { broker, generation, error });
    }

    async fn carry(
        &self,
        connection: Connection<impl Stream>,
        mut frames: UnboundedReceiver<(i32, Bytes)>,
    ) -> Error {
        let (broker, generation) = (self.node, self.generation);
        let Connection { stream, versions, expires, throttle, .. } = connection;
        let _ = self.post.send(Event::Opened { broker, generation, versions, expires, throttle });
        let (mut reader, mut writer) = tokio::io::split(stream);
        let reading = async {
            loop {
                match read_answer(&mut reader).await {
                    Ok(answer) => {
                        let _ = self.post.send(Event::Answered { broker, generation, answer });
                    }
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
                let _ = self.post.send(Event::Written { broker, generation, correlation });
            }
            let _ = writer.shutdown().await;
            Error::new(Local::Transport, "closed")
        };
        tokio::select! {
            error = reading => error,
            error = writing => error,
        }
    }
}
