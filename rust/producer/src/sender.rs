//! The loop that sends: leaders, connections, requests in flight, and time.
//!
//! It is an actor: callers hand it commands, tasks that use the network hand it events, and its state
//! is its own. What callers have to see is in [`Shared`].

mod broker;
mod lookup;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datagen_core::encode::kafka::{Packed, Producer as Numbering};
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::HeaderVersion;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use crate::answer::{Answer as _, Produced};
use crate::cluster;
use crate::config::{Acks, Address, Config};
use crate::connection::{Connector, open_answer, unreadable};
use crate::error::{Error, Local};
use crate::queue::Attempt;
use crate::shared::Shared;
use crate::transport::Transport;
use broker::{Broker, ConnectionEvent, Event};
use lookup::Lookup;
use topics::Topics;

/// No wait is longer, so that anything overlooked is looked at again.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What callers ask for.
pub(crate) enum Command {
    /// Find out about topics.
    Topics(Vec<Arc<str>>),
    /// Send batches of a topic, after those that were handed over before.
    Batches(Arc<str>, Vec<Packed>),
    /// Send no batch of a topic that is longer.
    Limit(Arc<str>, usize),
    /// Connect to the leaders of topics, and report those that are not reached.
    Reach(Vec<Arc<str>>),
    /// Finish batches that have waited for more records, at that moment.
    Linger(Instant),
    /// Send nothing for the moment.
    Hold,
    /// Send again.
    Open,
    /// Give up batches that wait, and with `true` also those in flight.
    GiveUp(bool),
    /// End, and forget what is left.
    Close,
}

pub(crate) struct Sender<T> {
    connector: Arc<Connector<T>>,
    config: Arc<Config>,
    shared: Arc<Shared>,
    commands: UnboundedReceiver<Command>,
    events: UnboundedReceiver<Event>,
    post: UnboundedSender<Event>,
    brokers: BTreeMap<i32, Broker>,
    topics: Topics,
    metadata: Lookup,
    producer_id: Lookup,
    open: bool,
    closed: bool,
    linger: Option<Instant>,
    /// Topics whose leaders are to be reached.
    reaching: Vec<Arc<str>>,
}

impl<T: Transport> Sender<T> {
    pub(crate) fn new(
        transport: T,
        config: Config,
        shared: Arc<Shared>,
        commands: UnboundedReceiver<Command>,
    ) -> Self {
        let (post, events) = unbounded_channel();
        let config = Arc::new(config);
        Self {
            topics: Topics::new(Arc::clone(&config), Arc::clone(&shared)),
            connector: Arc::new(Connector { config: Arc::clone(&config), transport }),
            shared,
            commands,
            events,
            post,
            brokers: BTreeMap::new(),
            metadata: Lookup::new(false),
            producer_id: Lookup::new(config.idempotent),
            open: true,
            closed: false,
            linger: None,
            reaching: Vec::new(),
            config,
        }
    }

    /// Runs until it is closed, or the last caller is gone.
    pub(crate) async fn run(mut self) {
        while !self.closed {
            let wake = self.wake_at();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                Some(event) = self.events.recv() => self.take(event),
                () = sleep_until(wake) => {}
            }
            // All that has come in the meantime, before deciding what to send.
            while let Ok(event) = self.events.try_recv() {
                self.take(event);
            }
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
            self.watch_time();
            self.look_up();
            self.send();
            self.reach();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Topics(names) => {
                self.topics.add(names);
                self.metadata.wanted = true;
            }
            Command::Batches(name, batches) => self.topics.push(&name, batches, Instant::now()),
            Command::Linger(moment) => {
                self.linger = Some(self.linger.map_or(moment, |before| before.min(moment)));
            }
            Command::Limit(name, bytes) => self.topics.limit(&name, bytes),
            Command::Reach(names) => self.reaching = names,
            Command::Hold => self.open = false,
            Command::Open => {
                self.topics.restart_clocks(Instant::now());
                self.open = true;
            }
            Command::GiveUp(also_sent) => {
                let now = Instant::now();
                self.topics.give_up(also_sent, now);
                for broker in self.brokers.values_mut().filter(|_| also_sent) {
                    broker.requests.clear();
                    broker.close(now);
                }
            }
            Command::Close => self.closed = true,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connection { node, generation, event } => {
                let broker = self.brokers.get_mut(&node);
                if let Some(broker) = broker.filter(|broker| broker.generation == generation) {
                    match event {
                        ConnectionEvent::Opened { versions, expires, throttle } => {
                            broker.error = None;
                            broker.heard(Instant::now(), throttle);
                            match versions.of::<ProduceRequest>() {
                                Ok(version) => broker.opened(version, expires),
                                Err(error) => self.shared.fail(error),
                            }
                        }
                        ConnectionEvent::Written(correlation) => self.written(node, correlation),
                        ConnectionEvent::Answered(answer) => {
                            if let Err(error) = self.answered(node, &answer) {
                                self.closed(node, &error);
                            }
                        }
                        ConnectionEvent::Closed(error) => self.closed(node, &error),
                    }
                }
            }
            Event::Metadata(Ok(found)) => {
                self.metadata.done(&self.config, found.throttle);
                self.metadata.wanted |= self.topics.update(&found, Instant::now());
                for (node, address) in found.brokers {
                    match self.brokers.get_mut(&node) {
                        // It has moved; what is in flight is answered or lost at its old address.
                        Some(known) => known.address = address,
                        None => drop(self.brokers.insert(node, Broker::new(node, address))),
                    }
                }
            }
            Event::ProducerId(Ok((id, epoch, throttle))) => {
                self.producer_id.done(&self.config, throttle);
                self.topics.set_producer(Numbering { id, epoch, sequence: 0 });
            }
            Event::Metadata(Err(error)) => {
                self.metadata.failed(&self.config);
                self.note(error);
            }
            Event::ProducerId(Err(error)) => {
                self.producer_id.failed(&self.config);
                self.note(error);
            }
        }
    }

    fn note(&self, error: Error) {
        if error.is_final() {
            self.shared.fail(error);
        } else {
            self.shared.note(error.text);
        }
    }

    fn broker(&mut self, node: i32) -> &mut Broker {
        self.brokers.get_mut(&node).expect("a broker that is known")
    }

    fn written(&mut self, node: i32, correlation: i32) {
        let answers = self.config.acks != Acks::None;
        let (broker, now) = (self.broker(node), Instant::now());
        if answers {
            let mut requests = broker.requests.iter_mut();
            if let Some(request) = requests.find(|one| one.correlation == correlation) {
                request.written = true;
            }
        } else if let Some(request) = broker.requests.pop_front() {
            broker.failures = 0;
            broker.heard(now, Duration::ZERO);
            for partition in &request.partitions {
                self.topics.complete(partition, Attempt::Acknowledged, now);
            }
            self.topics.excuse(|leader| (leader == node).then_some(now));
        }
    }

    fn answered(&mut self, node: i32, answer: &Bytes) -> Result<(), Error> {
        let (broker, now) = (self.broker(node), Instant::now());
        let Some(version) = broker.version() else { return Ok(()) };
        let (correlation, body) = open_answer(answer, ProduceResponse::header_version(version))?;
        if broker.requests.front().is_none_or(|request| request.correlation != correlation) {
            return Err(Error::new(Local::BadMessage, "a broker answered what nobody asked"));
        }
        let response = Produced::decode(&body, version).map_err(unreadable)?;
        let request = broker.requests.pop_front().expect("looked at before");
        broker.failures = 0;
        broker.heard(now, response.throttle);
        if !response.throttle.is_zero() {
            self.shared.progress(response.throttle);
        }
        let answers: BTreeMap<_, _> =
            response.partitions.iter().map(|one| ((&*one.topic, one.partition), one)).collect();
        let mut acknowledged = false;
        for of in &request.partitions {
            match answers.get(&(&*of.topic, of.partition)).map(|one| (one, one.error.err())) {
                Some((_, None)) => {
                    acknowledged = true;
                    self.topics.complete(of, Attempt::Acknowledged, now);
                }
                Some((answer, Some(error))) => {
                    // Another broker may lead the partition now.
                    self.metadata.wanted |= error.is_retriable();
                    self.topics.refused(of, error, answer.message.as_deref(), now);
                }
                // The answer leaves this one out.
                None => self.topics.complete(of, Attempt::Lost { written: true }, now),
            }
        }
        if acknowledged {
            self.topics.excuse(|leader| (leader == node).then_some(now));
        }
        Ok(())
    }

    /// A connection is gone, and with it the answers that had not come.
    fn closed(&mut self, node: i32, error: &Error) {
        let (config, now) = (Arc::clone(&self.config), Instant::now());
        let broker = self.broker(node);
        broker.failures += 1;
        broker.error = Some(error.clone());
        broker.close(now + config.backoff(broker.failures));
        let error = if error.is_final() { error.clone() } else { error.at(&broker.address) };
        for request in std::mem::take(&mut broker.requests) {
            for partition in &request.partitions {
                let attempt = Attempt::Lost { written: request.written };
                self.topics.complete(partition, attempt, now);
            }
        }
        self.metadata.wanted = true;
        self.note(error);
    }

    /// When the sender has to act although nothing happens.
    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let lookups = [&self.metadata, &self.producer_id].into_iter();
        let timeout = self.config.request_timeout;
        let brokers = self.brokers.values();
        let brokers = brokers
            .flat_map(|broker| broker.deadline(timeout).into_iter().chain(broker.wake_at(now)));
        let wake = self
            .linger
            .into_iter()
            .chain(lookups.filter_map(Lookup::starts_at))
            .chain(self.topics.wake_at(now, self.open))
            .chain(brokers)
            .fold(now + LONGEST_SLEEP, Instant::min);
        // A moment that has passed and could not be dealt with must not keep the loop busy.
        wake.max(now + Duration::from_millis(2))
    }

    fn watch_time(&mut self) {
        let now = Instant::now();
        if self.linger.is_some_and(|moment| moment <= now) {
            self.take_lingered(now);
        }
        let pause = |broker: &Broker| broker.quiet_until.min(now);
        self.topics.excuse(|leader| self.brokers.get(&leader).map(pause));
        let timeout = self.config.request_timeout;
        let overdue = |broker: &&Broker| {
            broker.deadline(timeout).is_some_and(|moment| moment <= now)
                || (!broker.requests.is_empty() && self.topics.is_overdue(broker.node, now))
        };
        let overdue = self.brokers.values().filter(overdue).map(|broker| broker.node);
        for node in overdue.collect::<Vec<_>>() {
            self.closed(node, &Error::new(Local::TimedOut, "the broker does not answer"));
        }
        if self.open {
            self.topics.expire(now);
        }
    }

    /// Takes batches that have waited long enough for more records.
    fn take_lingered(&mut self, now: Instant) {
        // What was handed over before comes first: while no caller can pack, all of it is there.
        let (shared, mut before) = (Arc::clone(&self.shared), Vec::new());
        let lingered = shared.accumulator.lingered(now, || {
            while let Ok(command) = self.commands.try_recv() {
                before.push(command);
            }
        });
        for command in before {
            self.obey(command);
        }
        let Some((all, next)) = lingered else {
            // A caller packs, and may fill these batches.
            self.linger = Some(now + Duration::from_millis(1));
            return;
        };
        self.linger = next;
        for (name, batches) in all {
            self.shared.queue(&batches);
            self.topics.push(&name, batches, now);
        }
    }

    /// Asks the cluster for what has to be known.
    fn look_up(&mut self) {
        let now = Instant::now();
        if self.metadata.start(now) {
            let topics: Vec<_> = self.topics.names().map(|name| (**name).to_owned()).collect();
            let (addresses, connector, post) = self.to_ask();
            tokio::spawn(async move {
                let found = cluster::metadata(&addresses, &connector, &topics).await;
                let _ = post.send(Event::Metadata(found));
            });
        }
        if self.producer_id.start(now) {
            let (addresses, connector, post) = self.to_ask();
            tokio::spawn(async move {
                let found = cluster::producer_id(&addresses, &connector).await;
                let _ = post.send(Event::ProducerId(found));
            });
        }
    }

    /// What a lookup takes: addresses, of brokers that answer first, and where the answer goes.
    fn to_ask(&self) -> (Vec<Address>, Arc<Connector<T>>, UnboundedSender<Event>) {
        let mut brokers: Vec<_> = self.brokers.values().collect();
        brokers.sort_by_key(|broker| broker.version().is_none());
        let mut addresses: Vec<_> = brokers.iter().map(|broker| broker.address.clone()).collect();
        addresses.extend(self.config.bootstrap.iter().cloned());
        (addresses, Arc::clone(&self.connector), self.post.clone())
    }

    /// Sends all batches that may be sent.
    fn send(&mut self) {
        if !self.open || !self.topics.may_send() {
            return;
        }
        let now = Instant::now();
        let (ready, leaderless) = self.topics.ready(now, |node| self.brokers.contains_key(&node));
        self.metadata.wanted |= leaderless;
        for (node, partitions) in ready {
            let broker = self.brokers.get_mut(&node).expect("a broker that is known");
            let topics = &mut self.topics;
            if let Err(error) = broker.send(partitions, topics, now, &self.connector, &self.post) {
                self.shared.fail(error);
            }
        }
    }

    /// Connects to the leaders that are to be reached, and reports those that are not yet.
    fn reach(&mut self) {
        if self.reaching.is_empty() {
            return;
        }
        let (now, mut unreached) = (Instant::now(), BTreeMap::new());
        for name in &self.reaching {
            let Some(leaders) = self.topics.leaders(name) else { continue };
            let mut is_unknown = true;
            for (partition, leader) in (0..).zip(leaders) {
                is_unknown = false;
                let Some(broker) = self.brokers.get_mut(&leader) else {
                    let text = format!("{name} partition {partition} has no leader");
                    let error = Error::of_broker(ResponseError::LeaderNotAvailable, text);
                    unreached.entry((-1, partition)).or_insert(error);
                    self.metadata.wanted = true;
                    continue;
                };
                broker.connect(now, &self.connector, &self.post);
                if broker.version().is_none() {
                    let silent = || {
                        let text = format!("{} does not answer", broker.address);
                        Error::new(Local::TimedOut, text)
                    };
                    let error = broker.error.clone().unwrap_or_else(silent);
                    unreached.insert((leader, 0), error.at(&broker.address));
                }
            }
            if is_unknown {
                let text = format!("topic {name} has not been found");
                unreached.insert((-1, 0), Error::new(Local::UnknownTopic, text));
            }
        }
        if unreached.is_empty() {
            self.reaching.clear();
        }
        self.shared.unreached(unreached.into_values().collect());
    }
}
