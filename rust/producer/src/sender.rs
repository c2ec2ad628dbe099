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
use kafka_protocol::messages::ProduceResponse;
use kafka_protocol::protocol::HeaderVersion;
use tokio::sync::mpsc::{UnboundedReceiver, WeakUnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use crate::answer::{Answer as _, Metadata, Produced, ProducerId};
use crate::cluster;
use crate::config::{Acks, Address, Config};
use crate::connection::{Connector, open_answer, unreadable};
use crate::error::{Error, Local};
use crate::queue::Attempt;
use crate::shared::Shared;
use crate::transport::Transport;
use broker::{Broker, ConnectionEvent, Dialer, Event, Session};
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
    /// Connect to the leaders of topics, and report those that are not reached.
    Reach(Vec<Arc<str>>),
    /// Batches wait for more records: finish them in time.
    Linger,
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
    dialer: Dialer<T>,
    config: Arc<Config>,
    shared: Arc<Shared>,
    commands: UnboundedReceiver<Command>,
    /// Where lingered batches go, after those that were handed over before.
    own_commands: WeakUnboundedSender<Command>,
    events: UnboundedReceiver<Event>,
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
        (own_commands, commands): (WeakUnboundedSender<Command>, UnboundedReceiver<Command>),
    ) -> Self {
        let config = Arc::new(config);
        let connector = Arc::new(Connector { client: config.client.clone(), transport });
        let (sender, events) = unbounded_channel();
        Self {
            topics: Topics::new(Arc::clone(&config), Arc::clone(&shared)),
            dialer: Dialer { connector, config: Arc::clone(&config), events: sender },
            shared,
            commands,
            own_commands,
            events,
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
            Command::Linger => {
                self.linger.get_or_insert_with(|| Instant::now() + self.config.linger);
            }
            Command::Reach(names) => self.reaching = names,
            Command::Hold => self.open = false,
            Command::Open => {
                self.topics.restart_clocks(Instant::now());
                self.open = true;
            }
            Command::GiveUp(also_sent) => {
                let now = Instant::now();
                self.topics.give_up(also_sent, now);
                if also_sent {
                    for broker in self.brokers.values_mut() {
                        broker.requests.clear();
                        broker.close(now);
                    }
                }
            }
            Command::Close => self.closed = true,
        }
    }

    fn take(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Connection(node, generation, event) => {
                let broker = self.brokers.get_mut(&node);
                if let Some(broker) = broker.filter(|broker| broker.generation == generation) {
                    match event {
                        ConnectionEvent::Opened(session) => broker.opened(now, session),
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
            Event::Metadata(found) => {
                let throttle = found.as_ref().ok().map(|found| found.throttle);
                self.metadata.end(throttle, &self.config.client);
                match found {
                    Ok(found) => self.learn(found, now),
                    Err(error) => self.note(error),
                }
            }
            Event::ProducerId(found) => {
                let throttle = found.as_ref().ok().map(|found| found.throttle);
                self.producer_id.end(throttle, &self.config.client);
                match found {
                    Ok(ProducerId { id, epoch, .. }) => {
                        self.topics.set_producer(Numbering { id, epoch, sequence: 0 });
                    }
                    Err(error) => self.note(error),
                }
            }
        }
    }

    fn learn(&mut self, found: Metadata, now: Instant) {
        self.metadata.wanted |= self.topics.update(&found, now);
        for (node, host, port) in found.brokers {
            let Ok(port) = u16::try_from(port) else { continue };
            let address = Address { host, port };
            // If it has moved, what is in flight is answered or lost at its old address.
            let known =
                self.brokers.entry(node).or_insert_with(|| Broker::new(node, address.clone()));
            known.address = address;
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
        let (now, silent) = (Instant::now(), self.config.acks == Acks::None);
        let broker = self.broker(node);
        if !silent {
            let mut requests = broker.requests.iter_mut();
            if let Some(request) = requests.find(|one| one.correlation == correlation) {
                request.written = true;
            }
        } else if let Some(request) = broker.answered(now, Duration::ZERO) {
            for partition in &request.partitions {
                self.topics.complete(partition, Attempt::Acknowledged, now);
            }
            self.topics.excuse(|leader| (leader == node).then_some(now));
        }
    }

    fn answered(&mut self, node: i32, answer: &Bytes) -> Result<(), Error> {
        let (broker, now) = (self.broker(node), Instant::now());
        let Some(Session { version, .. }) = broker.session() else { return Ok(()) };
        let (correlation, body) = open_answer(answer, ProduceResponse::header_version(version))?;
        if broker.requests.front().is_none_or(|request| request.correlation != correlation) {
            return Err(Error::new(Local::BadMessage, "a broker answered another request"));
        }
        let response = Produced::decode(&body, version).map_err(unreadable)?;
        let Some(request) = broker.answered(now, response.throttle) else { return Ok(()) };
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
        broker.lost(now, error, &config.client);
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
        let timeout = self.config.client.request_timeout;
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
            self.finish_lingered(now);
        }
        let pause = |broker: &Broker| broker.quiet_until.min(now);
        self.topics.excuse(|leader| self.brokers.get(&leader).map(pause));
        let timeout = self.config.client.request_timeout;
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

    /// Hands over batches that have waited long enough for more records.
    fn finish_lingered(&mut self, now: Instant) {
        let Some(commands) = self.own_commands.upgrade() else { return };
        self.linger = self.shared.accumulator.finish_lingered(now, |topic, batches| {
            self.shared.queue(&batches);
            let _ = commands.send(Command::Batches(Arc::clone(topic), batches));
        });
    }

    /// Asks the cluster for what has to be known.
    fn look_up(&mut self) {
        let now = Instant::now();
        if self.metadata.start(now) {
            let topics = self.topics.names().cloned().collect();
            self.ask(|addresses, connector| async {
                // As other producers do: the broker decides.
                Event::Metadata(cluster::metadata(addresses, connector, topics, true).await)
            });
        }
        if self.producer_id.start(now) {
            self.ask(|addresses, connector| async {
                Event::ProducerId(cluster::producer_id(addresses, connector).await)
            });
        }
    }

    /// Asks any broker, those first that are connected.
    fn ask<F>(&self, ask: impl FnOnce(Vec<Address>, Arc<Connector<T>>) -> F)
    where
        F: Future<Output = Event> + Send + 'static,
    {
        let mut brokers: Vec<_> = self.brokers.values().collect();
        brokers.sort_by_key(|broker| broker.session().is_none());
        let mut addresses: Vec<_> = brokers.iter().map(|broker| broker.address.clone()).collect();
        addresses.extend(self.config.client.bootstrap.iter().cloned());
        let event = ask(addresses, Arc::clone(&self.dialer.connector));
        let events = self.dialer.events.clone();
        tokio::spawn(async move { events.send(event.await) });
    }

    /// Sends all batches that may be sent.
    fn send(&mut self) {
        if !self.open {
            return;
        }
        let now = Instant::now();
        let (ready, leaderless) = self.topics.ready(now, |node| self.brokers.contains_key(&node));
        self.metadata.wanted |= leaderless;
        for (node, partitions) in ready {
            let broker = self.brokers.get_mut(&node).expect("a broker that is known");
            let topics = &mut self.topics;
            if let Err(error) = broker.send(partitions, topics, now, &self.dialer) {
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
            let leaders = self.topics.leaders(name);
            if leaders.is_empty() {
                let text = format!("topic {name} has not been found");
                unreached.insert((-1, 0), Error::new(Local::UnknownTopic, text));
            }
            for (partition, leader) in (0..).zip(leaders) {
                let Some(broker) = self.brokers.get_mut(&leader) else {
                    let text = format!("{name} partition {partition} has no leader");
                    let error = Error::of_broker(ResponseError::LeaderNotAvailable, text);
                    unreached.entry((-1, partition)).or_insert(error);
                    self.metadata.wanted = true;
                    continue;
                };
                broker.connect(now, &self.dialer);
                if broker.session().is_none() {
                    let error = broker.error.clone().unwrap_or_else(|| {
                        let text = format!("{} does not answer", broker.address);
                        Error::new(Local::TimedOut, text)
                    });
                    unreached.insert((leader, 0), error.at(&broker.address));
                }
            }
        }
        if unreached.is_empty() {
            self.reaching.clear();
        }
        self.shared.unreached(unreached.into_values().collect());
    }
}

#[cfg(test)]
mod tests;
