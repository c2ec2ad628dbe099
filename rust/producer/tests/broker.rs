//! The producer beside a broker that does as a test says: slow, throttling, strict, dead, hostile.

#![allow(missing_docs, reason = "a test crate")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use datagen_core::encode::Encoded;
use datagen_core::encode::kafka::{
    BatchBuilder, Codec, Compressor, Limits, Packed, Records, Timestamps, first_key, split,
};
use datagen_producer::{Acks, Address, Batching, Config, Producer, Tally, Topic};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, InitProducerIdResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, ProducerId, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

const TOPIC: &str = "banking.trades";
const TOO_LARGE: i16 = 10;
const OUT_OF_ORDER: i16 = 45;
const TIMED_OUT: i32 = -192;
/// Longer than anything here takes by itself, on a machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(30);

/// What a broker does with a batch.
struct Reply {
    error: i16,
    throttle: Duration,
    after: Duration,
}

impl Default for Reply {
    fn default() -> Self {
        Self { error: 0, throttle: Duration::ZERO, after: Duration::ZERO }
    }
}

/// A batch as it came.
struct Seen {
    at: Instant,
    connection: usize,
    partition: i32,
    len: usize,
    error: i16,
    keys: Vec<Vec<u8>>,
}

type Judge = Box<dyn FnMut(i32, &[u8]) -> Reply + Send>;

struct State {
    /// The address of the leader of each partition, by its number.
    leaders: Vec<(String, u16)>,
    judge: Judge,
    seen: Vec<Seen>,
    /// The next number of each partition.
    next: BTreeMap<i32, i32>,
    connections: usize,
    /// An answer to every request of that kind instead of a proper one.
    nonsense: Option<(ApiKey, Vec<u8>)>,
}

#[derive(Clone)]
struct Broker {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Broker {
    /// A broker that leads so many partitions.
    fn start(partitions: usize, judge: impl FnMut(i32, &[u8]) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            leaders: vec![("127.0.0.1".to_owned(), port); partitions],
            judge: Box::new(judge),
            seen: Vec::new(),
            next: BTreeMap::new(),
            connections: 0,
            nonsense: None,
        };
        let broker = Self { port, state: Arc::new(Mutex::new(state)) };
        let its = broker.clone();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let its = its.clone();
                its.state.lock().unwrap().connections += 1;
                // A connection that is lost ends its thread.
                thread::spawn(move || its.serve(number, stream.unwrap()));
            }
        });
        broker
    }

    fn lead(self, partition: usize, host: &str, port: u16) -> Self {
        self.state.lock().unwrap().leaders[partition] = (host.to_owned(), port);
        self
    }

    fn serve(&self, number: usize, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        loop {
            let mut size = [0; 4];
            stream.read_exact(&mut size)?;
            let mut frame = vec![0; u32::from_be_bytes(size) as usize];
            stream.read_exact(&mut frame)?;
            let (key, version) = (
                ApiKey::try_from(i16::from_be_bytes([frame[0], frame[1]])).unwrap(),
                i16::from_be_bytes([frame[2], frame[3]]),
            );
            let mut body = Bytes::from(frame);
            let header =
                RequestHeader::decode(&mut body, key.request_header_version(version)).unwrap();
            let nonsense = self.state.lock().unwrap().nonsense.clone();
            let answer = match (key, nonsense) {
                (_, Some((hostile, answer))) if hostile == key => answer,
                (ApiKey::ApiVersions, _) => encoded(&versions(), version),
                (ApiKey::Metadata, _) => encoded(&self.metadata(body, version), version),
                (ApiKey::InitProducerId, _) => encoded(
                    &InitProducerIdResponse::default().with_producer_id(ProducerId(7)),
                    version,
                ),
                (ApiKey::Produce, _) => encoded(&self.produce(number, body, version), version),
                _ => panic!("nobody asks for {key:?}"),
            };
            let mut out = BytesMut::new();
            ResponseHeader::default()
                .with_correlation_id(header.correlation_id)
                .encode(&mut out, key.response_header_version(version))
                .unwrap();
            out.extend_from_slice(&answer);
            stream.write_all(&(out.len() as u32).to_be_bytes())?;
            stream.write_all(&out)?;
        }
    }

    fn metadata(&self, mut body: Bytes, version: i16) -> MetadataResponse {
        let request = MetadataRequest::decode(&mut body, version).unwrap();
        let leaders = self.state.lock().unwrap().leaders.clone();
        let brokers = leaders.iter().enumerate().map(|(node, (host, port))| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(node as i32))
                .with_host(StrBytes::from_string(host.clone()))
                .with_port((*port).into())
        });
        let partitions = (0..leaders.len()).map(|partition| {
            // Partitions with one address have one leader.
            let leader = leaders.iter().position(|one| *one == leaders[partition]).unwrap();
            MetadataResponsePartition::default()
                .with_partition_index(partition as i32)
                .with_leader_id(BrokerId(leader as i32))
        });
        let partitions: Vec<_> = partitions.collect();
        let topics = request.topics.unwrap().into_iter().map(|topic| {
            MetadataResponseTopic::default()
                .with_name(topic.name)
                .with_partitions(partitions.clone())
        });
        MetadataResponse::default().with_brokers(brokers.collect()).with_topics(topics.collect())
    }

    fn produce(&self, connection: usize, mut body: Bytes, version: i16) -> ProduceResponse {
        let request = ProduceRequest::decode(&mut body, version).unwrap();
        let (mut wait, mut throttle, mut topics) = (Duration::ZERO, Duration::ZERO, Vec::new());
        for topic in request.topic_data {
            let mut parts = Vec::new();
            for part in topic.partition_data {
                let records = part.records.unwrap();
                let mut state = self.state.lock().unwrap();
                let mut reply = (state.judge)(part.index, &records);
                let number =
                    |at: usize| i32::from_be_bytes(records[at..at + 4].try_into().unwrap());
                let (sequence, count) = (number(53), number(57));
                if reply.error == 0 && sequence >= 0 {
                    // As brokers do, of numbered batches only the next is taken.
                    let next = state.next.entry(part.index).or_default();
                    if sequence == *next {
                        *next += count;
                    } else {
                        reply.error = OUT_OF_ORDER;
                    }
                }
                (wait, throttle) = (wait.max(reply.after), throttle.max(reply.throttle));
                let keys = keys(&records);
                state.seen.push(Seen {
                    at: Instant::now(),
                    connection,
                    partition: part.index,
                    len: records.len(),
                    error: reply.error,
                    keys,
                });
                parts.push(
                    PartitionProduceResponse::default()
                        .with_index(part.index)
                        .with_error_code(reply.error),
                );
            }
            topics.push(
                TopicProduceResponse::default()
                    .with_name(topic.name)
                    .with_partition_responses(parts),
            );
        }
        thread::sleep(wait);
        ProduceResponse::default()
            .with_responses(topics)
            .with_throttle_time_ms(throttle.as_millis() as i32)
    }

    fn config(&self) -> Config {
        Config {
            bootstrap: vec![Address { host: "127.0.0.1".to_owned(), port: self.port }],
            client_id: "test".to_owned(),
            acks: Acks::All,
            idempotent: false,
            retries: u32::MAX,
            retry_backoff: (Duration::from_millis(50), Duration::from_millis(200)),
            request_timeout: Duration::from_secs(2),
            delivery_timeout: Duration::from_secs(3),
            linger: Duration::ZERO,
            max_in_flight: 5,
            max_request_bytes: 1 << 20,
            queue_records: usize::MAX,
            queue_bytes: usize::MAX,
            tls: None,
            sasl: None,
        }
    }

    fn with_seen<T>(&self, look: impl FnOnce(&[Seen]) -> T) -> T {
        look(&self.state.lock().unwrap().seen)
    }

    /// The keys that it took, by partition and in order.
    fn taken(&self) -> BTreeMap<i32, Vec<Vec<u8>>> {
        self.with_seen(|seen| {
            let mut taken: BTreeMap<i32, Vec<Vec<u8>>> = BTreeMap::new();
            for one in seen.iter().filter(|one| one.error == 0) {
                taken.entry(one.partition).or_default().extend(one.keys.iter().cloned());
            }
            taken
        })
    }
}

fn encoded(answer: &impl Encodable, version: i16) -> Vec<u8> {
    let mut out = BytesMut::new();
    answer.encode(&mut out, version).unwrap();
    out.to_vec()
}

fn versions() -> ApiVersionsResponse {
    let keys = [
        (ApiKey::Produce, 9),
        (ApiKey::Metadata, 9),
        (ApiKey::ApiVersions, 3),
        (ApiKey::InitProducerId, 4),
    ];
    let keys = keys.map(|(key, newest)| {
        ApiVersion::default().with_api_key(key as i16).with_min_version(0).with_max_version(newest)
    });
    ApiVersionsResponse::default().with_api_keys(keys.into())
}

fn keys(batch: &[u8]) -> Vec<Vec<u8>> {
    match split(batch, usize::MAX) {
        Some(parts) => parts.iter().map(|(_, part)| first_key(part).unwrap().0).collect(),
        None => vec![first_key(batch).unwrap().0],
    }
}

/// A batch of records of about a hundred bytes, whose keys are these numbers.
fn packed(partition: u32, keys: std::ops::Range<usize>) -> Packed {
    let rows: Vec<String> = keys.map(|key| format!("{key:050}")).collect();
    let offsets = (0..=rows.len() as i64).map(|row| row * 50).collect();
    let column = Encoded { bytes: rows.concat().into_bytes(), offsets };
    let records = Records::new(&column, &column, &[], Timestamps::Same(0));
    let mut builder = BatchBuilder::new(Limits::default());
    let all: Vec<u32> = (0..rows.len() as u32).collect();
    assert_eq!(builder.append(&records, &all), rows.len());
    let mut bytes = Vec::new();
    builder.finish(&mut Compressor::new(Codec::None), &mut bytes);
    Packed { partition, records: rows.len(), bytes }
}

/// A producer with its thread, which ends with it.
struct Running {
    producer: Producer,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn new(config: Config) -> Self {
        let (producer, driver) =
            Producer::new(config, Batching { size: 16_384, codec: Codec::None }).unwrap();
        let thread = thread::spawn(|| driver.run().unwrap());
        Self { producer, thread: Some(thread) }
    }

    fn topic(&self) -> Topic {
        let found = self.producer.find(&[TOPIC.into()], LIMIT).unwrap().unwrap();
        found.into_iter().next().unwrap()
    }

    fn total(&self) -> Tally {
        let mut total = Tally::default();
        for (_, _, one) in self.producer.report() {
            total.attempted += one.attempted;
            total.acknowledged += one.acknowledged;
            total.perhaps_twice += one.perhaps_twice;
            total.perhaps_arrived += one.perhaps_arrived;
            for (code, count) in one.failed {
                *total.failed.entry(code).or_default() += count;
            }
        }
        total
    }

    fn assert_all_acknowledged(&self, records: u64) {
        let total = self.total();
        assert_eq!(
            (total.attempted, total.acknowledged, total.perhaps_twice, &total.failed),
            (records, records, 0, &BTreeMap::new()),
            "{:?}",
            self.producer.trouble(),
        );
        assert!(!self.producer.has_failures());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.producer.close();
        let thread = self.thread.take().unwrap();
        let ended = thread.join();
        assert!(ended.is_ok() || thread::panicking(), "the driver has panicked");
    }
}

fn each_once(broker: &Broker, partitions: i32, records: usize) {
    let expected: Vec<_> = (0..records).map(|key| format!("{key:050}").into_bytes()).collect();
    let taken = broker.taken();
    assert_eq!(taken.keys().copied().collect::<Vec<_>>(), (0..partitions).collect::<Vec<_>>());
    for (partition, keys) in taken {
        assert!(keys == expected, "partition {partition}: {} of {records}", keys.len());
    }
}

#[test]
fn a_queue_that_drains_slowly_does_not_run_out_of_time() {
    for idempotent in [false, true] {
        let after = Duration::from_millis(150);
        let broker = Broker::start(8, move |_, _| Reply { after, ..Reply::default() });
        let running = Running::new(Config {
            idempotent,
            delivery_timeout: Duration::from_millis(900),
            request_timeout: Duration::from_millis(900),
            // A batch at a time, so that a partition waits for the others longer than it may.
            max_request_bytes: 1,
            ..broker.config()
        });
        let topic = running.topic();
        let began = Instant::now();
        for batch in 0..3 {
            let batches = (0..8).map(|partition| packed(partition, batch * 10..batch * 10 + 10));
            running.producer.send_packed(&topic, batches.collect());
        }
        assert!(running.producer.flush(LIMIT));
        assert!(began.elapsed() > Duration::from_millis(24 * 150), "it was not slow");
        running.assert_all_acknowledged(240);
        each_once(&broker, 8, 30);
        let connections = broker.with_seen(|seen| {
            seen.iter().map(|one| one.connection).collect::<std::collections::BTreeSet<_>>()
        });
        assert_eq!(connections.len(), 1, "a connection was closed though it answered");
    }
}

#[test]
fn a_broker_that_asks_for_a_pause_gets_it() {
    let pause = Duration::from_millis(1_200);
    let broker = Broker::start(2, move |_, _| Reply { throttle: pause, ..Reply::default() });
    let running = Running::new(Config {
        delivery_timeout: Duration::from_millis(600),
        request_timeout: Duration::from_millis(600),
        max_in_flight: 1,
        max_request_bytes: 1,
        ..broker.config()
    });
    let topic = running.topic();
    running.producer.send_packed(&topic, vec![packed(0, 0..5), packed(1, 0..5)]);
    thread::sleep(pause / 2);
    assert!(running.producer.progress().unwrap() > Instant::now(), "the pause is not told");
    // What comes during the pause waits for its end too.
    running.producer.send_packed(&topic, vec![packed(0, 5..10), packed(1, 5..10)]);
    assert!(running.producer.flush(LIMIT));
    running.assert_all_acknowledged(20);
    each_once(&broker, 2, 10);
    broker.with_seen(|seen| {
        assert_eq!(seen.len(), 4, "a batch was sent twice");
        for pair in seen.windows(2) {
            assert!(pair[1].at - pair[0].at >= pause, "{:?}", pair[1].at - pair[0].at);
            assert_eq!(pair[0].connection, pair[1].connection);
        }
    });
}

#[test]
fn requests_on_their_way_do_not_run_out_of_time_in_a_pause() {
    // All that were sent before the first answer are answered after its pause, as brokers do.
    let (pause, mut answers) = (Duration::from_millis(1_500), 0);
    let broker = Broker::start(4, move |_, _| {
        answers += 1;
        match answers {
            1 => Reply { throttle: pause, ..Reply::default() },
            2 => Reply { after: pause, ..Reply::default() },
            _ => Reply::default(),
        }
    });
    let running = Running::new(Config {
        delivery_timeout: Duration::from_millis(800),
        request_timeout: Duration::from_millis(800),
        max_request_bytes: 1,
        ..broker.config()
    });
    let topic = running.topic();
    let batches = (0..4).map(|partition| packed(partition, 0..5)).collect();
    running.producer.send_packed(&topic, batches);
    assert!(running.producer.flush(LIMIT));
    running.assert_all_acknowledged(20);
    broker.with_seen(|seen| assert_eq!(seen.len(), 4, "a batch was sent twice"));
}

/// A port where nobody listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_partition_whose_leader_is_dead_runs_out_of_time_whatever_others_do() {
    let after = Duration::from_millis(100);
    let broker = Broker::start(3, move |_, _| Reply { after, ..Reply::default() }).lead(
        2,
        "127.0.0.1",
        closed_port(),
    );
    let running = Running::new(Config {
        delivery_timeout: Duration::from_millis(800),
        max_request_bytes: 1,
        ..broker.config()
    });
    let topic = running.topic();
    for batch in 0..12 {
        let batches = (0..3).map(|partition| packed(partition, batch..batch + 1)).collect();
        running.producer.send_packed(&topic, batches);
    }
    let began = Instant::now();
    while !running.producer.has_failures() {
        assert!(began.elapsed() < LIMIT);
        thread::sleep(Duration::from_millis(10));
    }
    assert!(running.total().acknowledged < 24, "the others were done before");
    assert!(running.producer.flush(LIMIT));
    let total = running.total();
    assert_eq!((total.acknowledged, total.failed), (24, [(TIMED_OUT, 12)].into()));
}

#[test]
fn a_broker_that_never_answers_runs_out_of_time() {
    let broker = Broker::start(1, |_, _| Reply { after: LIMIT, ..Reply::default() });
    let running = Running::new(Config {
        delivery_timeout: Duration::from_millis(900),
        request_timeout: Duration::from_millis(300),
        ..broker.config()
    });
    let topic = running.topic();
    let began = Instant::now();
    running.producer.send_packed(&topic, vec![packed(0, 0..5)]);
    assert!(running.producer.flush(LIMIT));
    assert!(began.elapsed() < LIMIT / 3);
    let total = running.total();
    assert_eq!((total.failed, total.perhaps_arrived), ([(TIMED_OUT, 5)].into(), 5));
}

#[test]
fn batches_fit_what_the_topic_takes() {
    for (idempotent, told) in [(false, false), (true, false), (false, true), (true, true)] {
        let most = 2_000;
        let broker = Broker::start(2, move |_, batch| Reply {
            error: if batch.len() > most { TOO_LARGE } else { 0 },
            ..Reply::default()
        });
        let running = Running::new(Config { idempotent, ..broker.config() });
        let topic = running.topic();
        if told {
            running.producer.limit(&topic, most);
        }
        let mut refusals = Vec::new();
        for wave in 0..2 {
            let start = wave * 400;
            for partition in 0..2 {
                let batches = vec![
                    packed(partition, start..start + 300),
                    packed(partition, start + 300..start + 301),
                    packed(partition, start + 301..start + 400),
                ];
                running.producer.send_packed(&topic, batches);
            }
            assert!(running.producer.flush(LIMIT));
            refusals
                .push(broker.with_seen(|seen| seen.iter().filter(|one| one.error != 0).count()));
        }
        running.assert_all_acknowledged(1_600);
        each_once(&broker, 2, 800);
        assert_eq!(refusals[0] == 0, told);
        assert_eq!(refusals[0], refusals[1], "what was learned is forgotten");
        assert!(running.producer.most(&topic) <= most);
        // Not one by one, once the limit is known.
        let lengths =
            broker.with_seen(|seen| seen.iter().rev().take(10).map(|one| one.len).max().unwrap());
        assert!(lengths > most / 3, "{lengths}");
    }
}

#[test]
fn an_event_too_large_by_itself_is_named() {
    for idempotent in [false, true] {
        let broker = Broker::start(1, |_, batch| Reply {
            error: if keys(batch).iter().any(|key| key.ends_with(b"07")) { TOO_LARGE } else { 0 },
            ..Reply::default()
        });
        let running = Running::new(Config { idempotent, ..broker.config() });
        let topic = running.topic();
        running.producer.send_packed(&topic, vec![packed(0, 0..20), packed(0, 20..30)]);
        assert!(running.producer.flush(LIMIT));
        let total = running.total();
        assert_eq!((total.acknowledged, total.failed), (29, [(10, 1)].into()));
        let told = running.producer.trouble().unwrap();
        for words in [TOPIC, "00000007", "max.message.bytes=1000", "message.max.bytes"] {
            assert!(told.contains(words), "no {words:?} in {told}");
        }
        let keys = broker.taken().remove(&0).unwrap();
        let keys = keys.iter().map(|key| String::from_utf8_lossy(key).parse::<usize>().unwrap());
        let expected = (0..30).filter(|key| *key != 7).collect::<Vec<usize>>();
        assert_eq!(keys.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn leaders_are_reached_beforehand_or_named() {
    let broker = Broker::start(2, |_, _| Reply::default());
    let running = Running::new(broker.config());
    let topic = running.topic();
    assert_eq!(running.producer.reach(&[TOPIC.into()], LIMIT), Ok(Vec::new()));
    let before = broker.state.lock().unwrap().connections;
    running.producer.send_packed(&topic, vec![packed(0, 0..1), packed(1, 0..1)]);
    assert!(running.producer.flush(LIMIT));
    running.assert_all_acknowledged(2);
    assert_eq!(broker.state.lock().unwrap().connections, before, "it has connected once more");

    let port = closed_port();
    for (host, name) in [("127.0.0.1", false), ("no-such-host.invalid", true)] {
        let broker = Broker::start(2, |_, _| Reply::default()).lead(1, host, port);
        let running = Running::new(broker.config());
        running.topic();
        let found = running.producer.reach(&[TOPIC.into()], Duration::from_secs(2)).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].text.starts_with(&format!("{host}:{port}: ")), "{}", found[0]);
        assert_eq!(found[0].is_unknown_name(), name, "{}", found[0]);
    }
}

/// What is not Kafka's, in place of each answer: the driver lives on, and says that it cannot read it.
#[test]
fn hostile_answers_end_nothing() {
    let huge = [&[0; 4][..], &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    let answers = [
        Vec::new(),
        vec![0xff; 64],
        vec![0x7f; 64],
        [0_u8; 2].into_iter().chain([0xff, 0xff, 0xff, 0xff, 0x0f]).collect(),
        huge,
    ];
    for key in [ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::InitProducerId, ApiKey::Produce] {
        for answer in &answers {
            let broker = Broker::start(1, |_, _| Reply::default());
            let nonsense = Some((key, answer.clone()));
            if key != ApiKey::Produce && key != ApiKey::InitProducerId {
                broker.state.lock().unwrap().nonsense.clone_from(&nonsense);
            }
            let running = Running::new(Config {
                idempotent: key == ApiKey::InitProducerId,
                delivery_timeout: Duration::from_millis(400),
                ..broker.config()
            });
            if broker.state.lock().unwrap().nonsense.is_some() {
                let found = running.producer.find(&[TOPIC.into()], Duration::from_millis(200));
                assert!(!matches!(found, Ok(Some(_))), "{key:?} {answer:x?}");
                continue;
            }
            broker.state.lock().unwrap().nonsense = nonsense;
            let topic = running.topic();
            running.producer.send_packed(&topic, vec![packed(0, 0..5)]);
            let settled = running.producer.flush(Duration::from_secs(2));
            let total = running.total();
            assert_eq!(total.acknowledged, 0, "{key:?} {answer:x?}");
            // Some of it reads as a long pause.
            let paused = running.producer.progress().is_some_and(|moment| moment > Instant::now());
            if key == ApiKey::Produce && !paused {
                assert!(settled, "{answer:x?}");
                assert_eq!(total.failed, [(TIMED_OUT, 5)].into(), "{answer:x?}");
            }
        }
    }
}
