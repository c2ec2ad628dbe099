//! The loop that sends: leaders, connections, requests on their way, and time.
//!
//! It is an actor. Callers hand it commands, tasks that read from the network hand it events, and
//! nobody else touches its state. What callers have to see is in [`Shared`].

mod broker;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datagen_core::encode::kafka::{Packed, Producer as Numbering, first_key};
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::{HeaderVersion, StrBytes};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use crate::answer::{Answer as _, Outcome, Produced};
use crate::cluster::{self, Metadata};
use crate::config::{Acks, Address, Config};
use crate::connection::{Connector, frame, open_answer, printable, unreadable};
use crate::error::{Error, Local};
use crate::line::{Answer, Line, Rules, is_too_large};
use crate::shared::Shared;
use crate::transport::Transport;
use broker::{Broker, Event, Link, Place, Request};

/// How long a topic may be unknown: a broker learns late of one that was just made.
const UNKNOWN_TOPIC: Duration = Duration::from_secs(30);
/// No wait is longer, so that whatever was overlooked is looked at again.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What callers ask for.
pub(crate) enum Command {
    /// Find out about topics.
    Topics(Vec<Arc<str>>),
    /// Send batches of a topic, after those that were handed over before.
    Batches(Arc<str>, Vec<Packed>),
    /// Send no batch of a topic that is longer.
    Limit(Arc<str>, usize),
    /// Connect to the leaders of topics, and tell whom that does not succeed with.
    Reach(Vec<Arc<str>>),
    /// Finish batches that have waited for more records, at that moment.
    Linger(Instant),
    /// Send nothing for the moment.
    Hold,
    /// Send again.
    Open,
    /// Give up what waits, and with `true` also what is on its way.
    GiveUp(bool),
    /// End, and forget what is left.
    Close,
}

struct Topic {
    /// Who leads each partition; empty while the topic is unknown.
    leaders: Vec<i32>,
    unknown_since: Option<Instant>,
    lines: Vec<Line>,
    /// The longest batch that the topic takes, as far as is known.
    most: usize,
}

/// Something that is asked for in the background, one at a time.
struct Asking {
    wanted: bool,
    running: bool,
    not_before: Instant,
    failures: u32,
}

pub(crate) struct Sender<T> {
    connector: Arc<Connector<T>>,
    config: Arc<Config>,
    rules: Rules,
    shared: Arc<Shared>,
    commands: UnboundedReceiver<Command>,
    events: UnboundedReceiver<Event>,
    post: UnboundedSender<Event>,
    brokers: BTreeMap<i32, Broker>,
    topics: BTreeMap<Arc<str>, Topic>,
    metadata: Asking,
    producer_id: Asking,
    numbering: Option<(i64, i16)>,
    open: bool,
    closed: bool,
    linger: Option<Instant>,
    /// Topics whose leaders somebody wants to be reached.
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
        let rules = Rules {
            idempotent: config.idempotent,
            retries: config.retries,
            timeout: config.delivery_timeout,
        };
        let asking =
            |wanted| Asking { wanted, running: false, not_before: Instant::now(), failures: 0 };
        Self {
            rules,
            shared,
            commands,
            events,
            post,
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            metadata: asking(false),
            producer_id: asking(config.idempotent),
            numbering: None,
            open: true,
            closed: false,
            linger: None,
            reaching: Vec::new(),
            connector: Arc::new(Connector { config: Arc::clone(&config), transport }),
            config,
        }
    }

    /// Runs until it is closed, or nobody can hand over anything any more.
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
            // Whatever else has come in the meantime, before deciding what to send.
            while let Ok(event) = self.events.try_recv() {
                self.take(event);
            }
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
            self.watch_time();
            self.ask();
            self.send();
            self.reach();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Topics(names) => {
                for name in names {
                    let most = self.shared.most(&name);
                    self.topics.entry(name).or_insert_with(|| Topic {
                        leaders: Vec::new(),
                        unknown_since: None,
                        lines: Vec::new(),
                        most,
                    });
                }
                self.metadata.wanted = true;
            }
            Command::Batches(name, batches) => self.queue(&name, batches),
            Command::Linger(moment) => {
                self.linger = Some(self.linger.map_or(moment, |before| before.min(moment)));
            }
            Command::Limit(name, most) => {
                if let Some(topic) = self.topics.get_mut(&name) {
                    topic.most = topic.most.min(most);
                }
            }
            Command::Reach(names) => self.reaching = names,
            Command::Hold => self.open = false,
            Command::Open => {
                let now = Instant::now();
                for topic in self.topics.values_mut() {
                    topic.unknown_since = topic.unknown_since.map(|_| now);
                    topic.lines.iter_mut().for_each(|line| line.start_clock(now));
                }
                self.open = true;
            }
            Command::GiveUp(also_sent) => self.give_up(also_sent),
            Command::Close => self.closed = true,
        }
    }

    fn queue(&mut self, name: &Arc<str>, batches: Vec<Packed>) {
        let now = Instant::now();
        let topic = self.topics.get_mut(name).expect("a topic that was asked about");
        for packed in batches {
            let partition = packed.partition;
            let fate = topic.lines[partition as usize].push(packed, now);
            if let Some(fate) = fate {
                self.shared.settle(name, partition as i32, &fate);
            }
        }
    }

    fn give_up(&mut self, also_sent: bool) {
        let now = Instant::now();
        let (queued, in_flight) = (Local::PurgedInQueue.code(), Local::PurgedInFlight.code());
        for (name, topic) in &mut self.topics {
            for (partition, line) in (0..).zip(&mut topic.lines) {
                let mut fates = line.give_up(now, Some(queued), self.rules);
                if also_sent {
                    fates.extend(line.abandon(in_flight));
                }
                for fate in &fates {
                    self.shared.settle(name, partition, fate);
                }
            }
        }
        if also_sent {
            let now = Instant::now();
            for broker in self.brokers.values_mut() {
                broker.requests.clear();
                broker.close(now);
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Opened { broker, generation, versions, expires, throttle } => {
                let Some(one) = self.current(broker, generation) else { return };
                one.error = None;
                one.heard(Instant::now(), throttle);
                match (versions.of::<ProduceRequest>(), &one.link) {
                    (Ok(version), Link::Open { outbox, task, .. }) => {
                        let (outbox, task) = (outbox.clone(), task.clone());
                        one.link = Link::Open { outbox, version: Some(version), expires, task };
                    }
                    (Err(error), _) => self.shared.fail(error),
                    _ => {}
                }
            }
            Event::Written { broker, generation, correlation } => {
                let acks = self.config.acks;
                let Some(one) = self.current(broker, generation) else { return };
                if acks != Acks::None {
                    let mut requests = one.requests.iter_mut();
                    if let Some(request) = requests.find(|r| r.correlation == correlation) {
                        request.written = true;
                    }
                    return;
                }
                // Nobody will say any more about it.
                if let Some(request) = one.requests.pop_front() {
                    one.failures = 0;
                    one.heard(Instant::now(), Duration::ZERO);
                    for place in &request.lines {
                        self.answered(place, &Answer::Taken);
                    }
                    self.excuse_lines_of(broker);
                }
            }
            Event::Answered { broker, generation, answer } => {
                if let Err(error) = self.answer(broker, generation, &answer) {
                    self.closed(broker, generation, &error);
                }
            }
            Event::Closed { broker, generation, error } => self.closed(broker, generation, &error),
            Event::Metadata(Ok(found)) => {
                self.metadata.done(&self.config, found.throttle);
                self.learn(found);
            }
            Event::ProducerId(Ok((id, epoch, throttle))) => {
                self.producer_id.done(&self.config, throttle);
                self.numbering = Some((id, epoch));
                for line in self.topics.values_mut().flat_map(|topic| &mut topic.lines) {
                    line.set_producer(Numbering { id, epoch, sequence: 0 });
                }
            }
            Event::Metadata(Err(error)) => {
                self.metadata.failed(&self.config);
                self.trouble(error);
            }
            Event::ProducerId(Err(error)) => {
                self.producer_id.failed(&self.config);
                self.trouble(error);
            }
        }
    }

    fn trouble(&self, error: Error) {
        if error.is_final() {
            self.shared.fail(error);
        } else {
            self.shared.note(error.text);
        }
    }

    fn current(&mut self, broker: i32, generation: u64) -> Option<&mut Broker> {
        self.brokers.get_mut(&broker).filter(|one| one.generation == generation)
    }

    fn answer(&mut self, broker: i32, generation: u64, answer: &Bytes) -> Result<(), Error> {
        let Some(one) = self.current(broker, generation) else { return Ok(()) };
        let Link::Open { version: Some(version), .. } = one.link else { return Ok(()) };
        let (correlation, body) = open_answer(answer, ProduceResponse::header_version(version))?;
        if one.requests.front().is_none_or(|request| request.correlation != correlation) {
            return Err(Error::new(Local::BadMessage, "a broker answered what nobody asked"));
        }
        let response = Produced::decode(&body, version).map_err(unreadable)?;
        let request = one.requests.pop_front().expect("looked at before");
        one.failures = 0;
        one.heard(Instant::now(), response.throttle);
        if !response.throttle.is_zero() {
            self.shared.progress(response.throttle);
        }
        let outcomes: BTreeMap<_, _> =
            response.partitions.iter().map(|one| ((&*one.topic, one.partition), one)).collect();
        let mut taken = false;
        for place in &request.lines {
            let outcome = outcomes.get(&(&*place.0, place.1)).copied();
            let answer = match outcome.map(|outcome| outcome.error.err()) {
                Some(None) => Answer::Taken,
                Some(Some(error)) => Answer::Refused(error),
                // It said nothing of this one.
                None => Answer::Lost { written: true },
            };
            taken |= answer == Answer::Taken;
            if let (Answer::Refused(error), Some(outcome)) = (&answer, outcome) {
                self.refused(place, *error, outcome);
            }
            self.answered(place, &answer);
        }
        if taken {
            self.excuse_lines_of(broker);
        }
        Ok(())
    }

    /// Takes note of what a refusal says of the partition and its topic.
    fn refused(&mut self, place: &Place, error: ResponseError, outcome: &Outcome) {
        let message = outcome.message.as_deref().map(printable).filter(|text| !text.is_empty());
        let message = message.unwrap_or_else(|| error.to_string());
        self.shared.note(format!("{} partition {}: {message}", place.0, place.1));
        // Somebody else may lead the partition now.
        self.metadata.wanted |= error.is_retriable();
        let Some(topic) = self.topics.get_mut(&place.0) else { return };
        if leads_no_more(error) {
            topic.leaders[place.1 as usize] = -1;
        }
        if is_too_large(error)
            && let Some((records, bytes)) = topic.lines[place.1 as usize].oldest_sent()
        {
            if records > 1 {
                // Half of it may still be too long, and then half of that is tried.
                topic.most = topic.most.min(bytes.len() / 2);
                self.shared.limit(&place.0, topic.most);
            } else {
                self.shared.rejected(too_large_alone(&place.0, bytes));
            }
        }
    }

    /// A broker has acknowledged something: what it leads has waited for that.
    fn excuse_lines_of(&mut self, broker: i32) {
        let now = Instant::now();
        for topic in self.topics.values_mut() {
            for (leader, line) in topic.leaders.iter().zip(&mut topic.lines) {
                if *leader == broker {
                    line.excuse(now);
                }
            }
        }
    }

    fn answered(&mut self, place: &Place, answer: &Answer) {
        let config = &self.config;
        let wait = |failures| backoff(config, failures);
        let Some(topic) = self.topics.get_mut(&place.0) else { return };
        let line = &mut topic.lines[place.1 as usize];
        if let Some(fate) = line.answered(answer, self.rules, Instant::now(), wait) {
            self.shared.settle(&place.0, place.1, &fate);
        }
    }

    /// A connection is gone, and with it what was not answered.
    fn closed(&mut self, broker: i32, generation: u64, error: &Error) {
        let config = Arc::clone(&self.config);
        let Some(one) = self.current(broker, generation) else { return };
        one.failures += 1;
        one.error = Some(error.clone());
        let failures = one.failures;
        one.close(Instant::now() + backoff(&config, failures));
        let address = one.address.clone();
        for request in std::mem::take(&mut one.requests) {
            for place in &request.lines {
                self.answered(place, &Answer::Lost { written: request.written });
            }
        }
        self.metadata.wanted = true;
        if error.is_final() {
            self.shared.fail(error.clone());
        } else {
            self.shared.note(error.at(&address).text);
        }
    }

    fn learn(&mut self, found: Metadata) {
        let now = Instant::now();
        for (node, address) in found.brokers {
            match self.brokers.get_mut(&node) {
                Some(known) if known.address == address => {}
                Some(known) => {
                    // It has moved; what is on its way to the old place is answered or lost there.
                    known.address = address;
                }
                None => {
                    let link = Link::Closed { not_before: now };
                    self.brokers.insert(node, Broker::new(address, link));
                }
            }
        }
        for (name, topic) in &mut self.topics {
            match found.topics.get(&**name) {
                Some(Ok(leaders)) if !leaders.is_empty() => {
                    topic.unknown_since = None;
                    if topic.lines.is_empty() {
                        topic.lines = leaders.iter().map(|_| Line::new()).collect();
                        if let Some((id, epoch)) = self.numbering {
                            for line in &mut topic.lines {
                                line.set_producer(Numbering { id, epoch, sequence: 0 });
                            }
                        }
                    }
                    // Partitions that were added meanwhile would change where keys belong.
                    topic.leaders = vec![-1; topic.lines.len()];
                    for leader in leaders {
                        if let Some(place) = topic.leaders.get_mut(leader.partition as usize) {
                            *place = leader.broker;
                        }
                    }
                    self.shared.found(name, topic.lines.len() as u32);
                    if topic.leaders.iter().any(|leader| *leader < 0) {
                        self.metadata.later(&self.config);
                    }
                }
                Some(Err(error)) if !error.is_retriable() => {
                    let error = Error::of_broker(*error, format!("topic {name}: {error}"));
                    self.shared.refused(name, error);
                }
                _ => {
                    topic.unknown_since.get_or_insert(now);
                    self.metadata.later(&self.config);
                }
            }
        }
    }

    /// When something has to be looked at even if nothing happens.
    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let mut moments = vec![now + LONGEST_SLEEP];
        moments.extend(self.linger);
        for asking in [&self.metadata, &self.producer_id] {
            if asking.wanted && !asking.running {
                moments.push(asking.not_before);
            }
        }
        for line in self.topics.values().flat_map(|topic| &topic.lines) {
            // Once it has passed, what happens at the broker is what the line waits for.
            moments.extend(line.not_before().filter(|moment| *moment > now));
            moments.extend(line.deadline(self.rules).filter(|_| self.open));
        }
        for broker in self.brokers.values() {
            if let Some(request) = broker.requests.front() {
                moments.push(broker.waits_since(request) + self.config.request_timeout);
            }
            moments.extend((broker.quiet_until > now).then_some(broker.quiet_until));
            if let Link::Closed { not_before } = broker.link {
                moments.extend((not_before > now).then_some(not_before));
            }
        }
        // A moment that has passed and could not be dealt with must not keep the loop busy.
        let soon = now + Duration::from_millis(2);
        moments.into_iter().min().unwrap_or(soon).max(soon)
    }

    fn watch_time(&mut self) {
        let now = Instant::now();
        if self.linger.is_some_and(|moment| moment <= now) {
            // What was handed over before comes first, and while nobody can pack it is all there.
            let (shared, mut older) = (Arc::clone(&self.shared), Vec::new());
            let commands = &mut self.commands;
            let found = shared.linger(now, || {
                while let Ok(command) = commands.try_recv() {
                    older.push(command);
                }
            });
            for command in older {
                self.obey(command);
            }
            match found {
                Some((all, next)) => {
                    self.linger = next;
                    for (name, batches) in all {
                        self.queue(&name, batches);
                    }
                }
                // Somebody is packing, and what that fills need not wait for us.
                None => self.linger = Some(now + Duration::from_millis(1)),
            }
        }
        for topic in self.topics.values_mut() {
            for (leader, line) in topic.leaders.iter().zip(&mut topic.lines) {
                if let Some(broker) = self.brokers.get(leader) {
                    line.excuse(broker.quiet_until.min(now));
                }
            }
        }
        let overdue: Vec<_> = self
            .brokers
            .iter()
            .filter(|(node, broker)| self.is_overdue(**node, broker, now))
            .map(|(node, broker)| (*node, broker.generation))
            .collect();
        for (node, generation) in overdue {
            let error = Error::new(Local::TimedOut, "the broker does not answer");
            self.closed(node, generation, &error);
        }
        if !self.open {
            return;
        }
        let unknown = Local::UnknownTopic.code();
        for (name, topic) in &mut self.topics {
            let gone = topic.unknown_since.is_some_and(|since| now - since >= UNKNOWN_TOPIC);
            if gone {
                let text = format!("topic {name} does not exist");
                self.shared.refused(name, Error::new(Local::UnknownTopic, text));
            }
            for (partition, line) in (0..).zip(&mut topic.lines) {
                for fate in line.give_up(now, gone.then_some(unknown), self.rules) {
                    self.shared.settle(name, partition, &fate);
                }
            }
        }
    }

    /// Whether a broker keeps a request, or a batch, longer than it may.
    fn is_overdue(&self, node: i32, broker: &Broker, now: Instant) -> bool {
        let lines = || self.topics.values().flat_map(|topic| &topic.lines);
        broker.requests.front().is_some_and(|request| {
            let late = |line: &Line| line.deadline(self.rules).is_some_and(|moment| moment <= now);
            broker.waits_since(request) + self.config.request_timeout <= now
                || lines().filter(|line| line.sent_to() == Some(node)).any(late)
        })
    }

    /// Asks the cluster whatever has to be known.
    fn ask(&mut self) {
        let now = Instant::now();
        if self.metadata.start(now) {
            let topics: Vec<_> = self.topics.keys().map(|name| (**name).to_owned()).collect();
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

    /// What a question takes: whom to ask, those that answer first, and where the answer goes.
    fn to_ask(&self) -> (Vec<Address>, Arc<Connector<T>>, UnboundedSender<Event>) {
        let mut brokers: Vec<_> = self.brokers.values().collect();
        brokers.sort_by_key(|broker| !matches!(broker.link, Link::Open { version: Some(_), .. }));
        let mut addresses: Vec<_> = brokers.iter().map(|broker| broker.address.clone()).collect();
        addresses.extend(self.config.bootstrap.iter().cloned());
        (addresses, Arc::clone(&self.connector), self.post.clone())
    }

    /// Sends whatever may be sent.
    fn send(&mut self) {
        if !self.open || (self.rules.idempotent && self.numbering.is_none()) {
            return;
        }
        let now = Instant::now();
        let mut ready: BTreeMap<i32, Vec<Place>> = BTreeMap::new();
        let mut leaderless = false;
        for (name, topic) in &self.topics {
            for (partition, line) in (0..).zip(&topic.lines) {
                if !line.is_waiting() {
                    continue;
                }
                let leader = topic.leaders.get(partition as usize).copied().unwrap_or(-1);
                if !self.brokers.contains_key(&leader) {
                    leaderless = true;
                } else if line.may_send(leader, self.rules, now) {
                    ready.entry(leader).or_default().push((Arc::clone(name), partition));
                }
            }
        }
        self.metadata.wanted |= leaderless;
        for (node, places) in ready {
            self.send_to(node, places, now);
        }
    }

    /// Connects to those leaders that somebody wants to be reached, and tells which are not yet.
    fn reach(&mut self) {
        if self.reaching.is_empty() {
            return;
        }
        let (now, mut unreached) = (Instant::now(), BTreeMap::new());
        for name in &self.reaching {
            let Some(topic) = self.topics.get(name) else { continue };
            if topic.lines.is_empty() {
                let text = format!("topic {name} has not been found");
                unreached.insert((-1, 0), Error::new(Local::UnknownTopic, text));
            }
            for (partition, leader) in (0..).zip(&topic.leaders) {
                let Some(broker) = self.brokers.get_mut(leader) else {
                    let text = format!("{name} partition {partition} has no leader");
                    let error = Error::of_broker(ResponseError::LeaderNotAvailable, text);
                    unreached.entry((-1, partition)).or_insert(error);
                    self.metadata.wanted = true;
                    continue;
                };
                match broker.link {
                    Link::Open { version: Some(_), .. } => continue,
                    Link::Closed { not_before } if not_before <= now => {
                        broker.open(*leader, &self.connector, &self.post);
                    }
                    _ => {}
                }
                let error = broker.error.clone().unwrap_or_else(|| {
                    let text = format!("{} does not answer", broker.address);
                    Error::new(Local::TimedOut, text)
                });
                unreached.insert((*leader, 0), error.at(&broker.address));
            }
        }
        if unreached.is_empty() {
            self.reaching.clear();
        }
        self.shared.unreached(unreached.into_values().collect());
    }

    fn send_to(&mut self, node: i32, mut places: Vec<Place>, now: Instant) {
        let broker = self.brokers.get_mut(&node).expect("looked at before");
        if broker.quiet_until > now {
            return;
        }
        let (outbox, version) = match &broker.link {
            Link::Open { outbox, version: Some(version), expires, .. } => {
                if expires.is_some_and(|moment| moment <= now) {
                    // It will want to know again who we are: once it owes us nothing.
                    if broker.requests.is_empty() {
                        broker.close(now);
                        broker.open(node, &self.connector, &self.post);
                    }
                    return;
                }
                (outbox.clone(), *version)
            }
            Link::Closed { not_before } if *not_before <= now => {
                broker.open(node, &self.connector, &self.post);
                return;
            }
            _ => return,
        };
        // After those that were sent to last, so that no partition starves.
        let start = places.partition_point(|place| Some(place) <= broker.last_sent.as_ref());
        places.rotate_left(start);
        let mut places = VecDeque::from(places);
        while !places.is_empty() && broker.requests.len() < self.config.max_in_flight {
            let (mut size, mut lines) = (0, Vec::new());
            let mut by_topic: BTreeMap<Arc<str>, Vec<PartitionProduceData>> = BTreeMap::new();
            while size < self.config.max_request_bytes {
                let Some((name, partition)) = places.pop_front() else { break };
                let topic = self.topics.get_mut(&name).expect("a topic with batches");
                let Some(bytes) = topic.lines[partition as usize].send(node, topic.most) else {
                    continue;
                };
                size += bytes.len();
                let data =
                    PartitionProduceData::default().with_index(partition).with_records(Some(bytes));
                by_topic.entry(Arc::clone(&name)).or_default().push(data);
                lines.push((name, partition));
            }
            let topics = by_topic.into_iter().map(|(name, parts)| {
                TopicProduceData::default()
                    .with_name(TopicName(StrBytes::from_string((*name).to_owned())))
                    .with_partition_data(parts)
            });
            let timeout = self.config.request_timeout.as_millis();
            let request = ProduceRequest::default()
                .with_transactional_id(None)
                .with_acks(self.config.acks.code())
                .with_timeout_ms(i32::try_from(timeout).unwrap_or(i32::MAX))
                .with_topic_data(topics.collect());
            broker.correlation = broker.correlation.wrapping_add(1);
            let correlation = broker.correlation;
            match frame(&request, version, correlation, &self.config.client_id) {
                Ok(frame) => {
                    // If the task is gone, its last word is on its way to us.
                    let _ = outbox.send((correlation, frame.freeze()));
                }
                Err(error) => self.shared.fail(error),
            }
            broker.last_sent = lines.last().cloned();
            broker.requests.push_back(Request { correlation, lines, at: now, written: false });
        }
    }
}

impl Asking {
    fn start(&mut self, now: Instant) -> bool {
        let starts = self.wanted && !self.running && self.not_before <= now;
        if starts {
            (self.running, self.wanted) = (true, false);
        }
        starts
    }

    fn done(&mut self, config: &Config, throttle: Duration) {
        (self.running, self.failures) = (false, 0);
        // Whoever else wants to know within this time is told the same.
        self.not_before = Instant::now() + backoff(config, 1).max(throttle);
    }

    fn failed(&mut self, config: &Config) {
        self.running = false;
        self.failures += 1;
        self.wanted = true;
        self.not_before = Instant::now() + backoff(config, self.failures);
    }

    /// Asks again although there was an answer.
    fn later(&mut self, config: &Config) {
        self.wanted = true;
        self.not_before = self.not_before.max(Instant::now() + backoff(config, 1));
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

/// Whether a broker has said that it is not the one to ask.
const fn leads_no_more(error: ResponseError) -> bool {
    matches!(
        error,
        ResponseError::NotLeaderOrFollower
            | ResponseError::FencedLeaderEpoch
            | ResponseError::UnknownLeaderEpoch
            | ResponseError::KafkaStorageError
    )
}

/// The wait after so many failures, which doubles each time.
fn backoff(config: &Config, failures: u32) -> Duration {
    let (first, longest) = config.retry_backoff;
    first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(longest)
}
