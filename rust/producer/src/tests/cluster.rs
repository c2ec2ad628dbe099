//! A cluster in memory whose brokers do with each batch as a test's script says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use datagen_core::encode::kafka::{first_key, split};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, FetchRequest, InitProducerIdResponse,
    ListOffsetsRequest, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
    ProducerId, RequestHeader, ResponseHeader, SaslAuthenticateResponse, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::logs::Log;
use crate::config::Address;
use crate::error::{Error, Local};
use crate::transport::{Stream, Transport};

pub(crate) const NOT_LEADER: i16 = 6;
const OUT_OF_ORDER: i16 = 45;
/// Bytes that a connection holds and its reader has not read.
const BUFFER: usize = 64 << 10;

/// How a broker goes on with the connection that a batch has come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Answer,
    /// Answers nothing any more.
    Silence,
    HangUp,
}

/// What a broker does with a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    /// The batch is appended without an error, and only then.
    pub(crate) error: i16,
    pub(crate) throttle: Duration,
    pub(crate) after: Duration,
    pub(crate) then: Then,
}

impl Reply {
    pub(crate) const OK: Self = Self::error(0);

    pub(crate) const fn error(error: i16) -> Self {
        Self { error, throttle: Duration::ZERO, after: Duration::ZERO, then: Then::Answer }
    }

    pub(crate) const fn after(after: Duration) -> Self {
        Self { after, ..Self::OK }
    }

    pub(crate) const fn throttle(throttle: Duration) -> Self {
        Self { throttle, ..Self::OK }
    }

    pub(crate) const fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }
}

/// A batch as it came, and what it was answered.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) node: i32,
    pub(crate) connection: usize,
    pub(crate) partition: i32,
    pub(crate) len: usize,
    /// -1 without a number.
    pub(crate) sequence: i32,
    pub(crate) keys: Vec<usize>,
    pub(crate) error: i16,
}

type Script = Box<dyn FnMut(&Seen) -> Reply + Send>;

pub(crate) struct State {
    pub(crate) brokers: Vec<Address>,
    /// Brokers that take no connection.
    pub(crate) down: BTreeSet<i32>,
    /// The leader of each partition; -1 for none.
    pub(crate) leaders: Vec<i32>,
    /// The error that the topic has.
    pub(crate) topic_error: i16,
    script: Script,
    pub(crate) seen: Vec<Seen>,
    /// The records of each partition.
    pub(crate) log: BTreeMap<i32, Vec<usize>>,
    /// By partition the numbers of the last five batches, each with that of the next.
    numbers: BTreeMap<i32, VecDeque<(i32, i32)>>,
    /// The node of each connection, and the task that serves it.
    pub(crate) connections: Vec<(i32, Option<AbortHandle>)>,
    /// The body of every answer to requests of that kind.
    pub(crate) nonsense: Option<(ApiKey, Vec<u8>)>,
    /// Bytes that a connection takes before its reader reads them.
    pub(crate) buffer: usize,
    /// Brokers read no second request of any connection for the moment.
    pub(crate) deaf: bool,
    pub(crate) session_lifetime: Duration,
    /// When metadata were asked for.
    pub(crate) metadata: Vec<Instant>,
    /// Requests to produce of each connection that are not answered.
    in_flight: Vec<usize>,
    pub(crate) most_in_flight: usize,
    /// What those who read find in each partition.
    pub(crate) logs: BTreeMap<i32, Log>,
    /// When a broker was asked for batches.
    pub(crate) fetches: Vec<(Instant, i32)>,
}

#[derive(Clone)]
pub(crate) struct Cluster(Arc<Mutex<State>>);

impl Cluster {
    /// So many brokers, of which each leads every so many-th of the partitions.
    pub(crate) fn new(
        brokers: usize,
        partitions: usize,
        script: impl FnMut(&Seen) -> Reply + Send + 'static,
    ) -> Self {
        let address = |node| Address { host: format!("broker-{node}"), port: 9092 };
        Self(Arc::new(Mutex::new(State {
            brokers: (0..brokers).map(address).collect(),
            down: BTreeSet::new(),
            leaders: (0..partitions).map(|partition| (partition % brokers) as i32).collect(),
            topic_error: 0,
            script: Box::new(script),
            seen: Vec::new(),
            log: BTreeMap::new(),
            numbers: BTreeMap::new(),
            connections: Vec::new(),
            nonsense: None,
            buffer: BUFFER,
            deaf: false,
            session_lifetime: Duration::ZERO,
            metadata: Vec::new(),
            in_flight: Vec::new(),
            most_in_flight: 0,
            logs: BTreeMap::new(),
            fetches: Vec::new(),
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic with this lock")
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// Ends all connections of a broker.
    pub(crate) fn cut(&self, node: i32) {
        for (_, task) in self.state().connections.iter_mut().filter(|one| one.0 == node) {
            if let Some(task) = task.take() {
                task.abort();
            }
        }
    }

    /// Counts a new connection, and gives it a number.
    pub(crate) fn connected(&self, node: i32) -> usize {
        let connections = &mut self.state().connections;
        connections.push((node, None));
        connections.len() - 1
    }

    /// Serves a connection until it ends. Requests are read as they come and answered one by one.
    pub(crate) async fn serve(&self, node: i32, number: usize, stream: impl Stream) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (queue, mut requests) = unbounded_channel();
        let reading = async move {
            while let Ok(request) = read_request(&mut reader).await {
                self.state().received(number, request.0);
                queue.send(request).unwrap();
                while self.state().deaf {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let answering = async {
            while let Some((key, version, correlation, body)) = requests.recv().await {
                let Some(answer) = self.answer(node, number, key, version, body).await else {
                    return;
                };
                if key == ApiKey::Produce {
                    self.state().in_flight[number] -= 1;
                }
                if let Some(answer) = answer
                    && write_answer(&mut writer, key, version, correlation, &answer).await.is_err()
                {
                    return;
                }
            }
        };
        // A request that has come is taken even if the other end is gone meanwhile.
        tokio::select! {
            () = answering => {}
            () = async { reading.await; std::future::pending().await } => {}
        }
    }

    /// The answer, if there is one; `None` when the broker hangs up.
    async fn answer(
        &self,
        node: i32,
        number: usize,
        key: ApiKey,
        version: i16,
        mut body: Bytes,
    ) -> Option<Option<Vec<u8>>> {
        let nonsense = self.state().nonsense.clone();
        Some(Some(match (key, nonsense) {
            (_, Some((hostile, answer))) if hostile == key => answer,
            (ApiKey::ApiVersions, _) => encoded(&versions(), version),
            (ApiKey::SaslHandshake, _) => encoded(&SaslHandshakeResponse::default(), version),
            (ApiKey::SaslAuthenticate, _) => {
                let lifetime = self.state().session_lifetime.as_millis() as i64;
                let answer = SaslAuthenticateResponse::default();
                encoded(&answer.with_session_lifetime_ms(lifetime), version)
            }
            (ApiKey::Metadata, _) => encoded(&self.metadata(body, version), version),
            (ApiKey::InitProducerId, _) => {
                let answer = InitProducerIdResponse::default();
                encoded(&answer.with_producer_id(ProducerId(7)), version)
            }
            (ApiKey::Produce, _) => {
                let request = ProduceRequest::decode(&mut body, version).unwrap();
                let acks = request.acks;
                let (answer, wait, then) = self.produce(node, number, request);
                sleep(wait).await;
                match then {
                    Then::Answer if acks == 0 => return Some(None),
                    Then::Answer => encoded(&answer, version),
                    Then::Silence => std::future::pending().await,
                    Then::HangUp => return None,
                }
            }
            (ApiKey::Fetch, _) => {
                let request = FetchRequest::decode(&mut body, version).unwrap();
                let wait = Duration::from_millis(request.max_wait_ms as u64);
                let answer = self.state().fetched(node, &request);
                let is_empty =
                    answer.responses.iter().flat_map(|topic| &topic.partitions).all(|part| {
                        part.error_code == 0 && part.records.as_ref().is_none_or(Bytes::is_empty)
                    });
                if is_empty {
                    sleep(wait).await;
                }
                encoded(&answer, version)
            }
            (ApiKey::ListOffsets, _) => {
                let request = ListOffsetsRequest::decode(&mut body, version).unwrap();
                encoded(&self.state().listed(&request), version)
            }
            _ => panic!("a client asks for {key:?}"),
        }))
    }

    fn metadata(&self, mut body: Bytes, version: i16) -> MetadataResponse {
        let request = MetadataRequest::decode(&mut body, version).unwrap();
        let mut state = self.state();
        state.metadata.push(Instant::now());
        let brokers = (0..).zip(&state.brokers).map(|(node, address)| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(node))
                .with_host(StrBytes::from_string(address.host.clone()))
                .with_port(address.port.into())
        });
        let partitions = (0..).zip(&state.leaders).map(|(partition, leader)| {
            MetadataResponsePartition::default()
                .with_partition_index(partition)
                .with_leader_id(BrokerId(*leader))
        });
        let partitions: Vec<_> =
            if state.topic_error == 0 { partitions.collect() } else { Vec::new() };
        let topics = request.topics.unwrap().into_iter().map(|topic| {
            MetadataResponseTopic::default()
                .with_error_code(state.topic_error)
                .with_name(topic.name)
                .with_partitions(partitions.clone())
        });
        MetadataResponse::default().with_brokers(brokers.collect()).with_topics(topics.collect())
    }

    fn produce(
        &self,
        node: i32,
        connection: usize,
        request: ProduceRequest,
    ) -> (ProduceResponse, Duration, Then) {
        let (mut wait, mut throttle) = (Duration::ZERO, Duration::ZERO);
        let (mut then, mut topics) = (Then::Answer, Vec::new());
        for topic in request.topic_data {
            let mut parts = Vec::new();
            for part in topic.partition_data {
                let batch = part.records.unwrap();
                let reply = self.state().append(node, connection, part.index, &batch);
                (wait, throttle) = (wait.max(reply.after), throttle.max(reply.throttle));
                then = if reply.then == Then::Answer { then } else { reply.then };
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
        let answer = ProduceResponse::default()
            .with_responses(topics)
            .with_throttle_time_ms(throttle.as_millis() as i32);
        (answer, wait, then)
    }
}

impl State {
    fn received(&mut self, connection: usize, key: ApiKey) {
        if key == ApiKey::Produce {
            self.in_flight.resize(self.connections.len(), 0);
            self.in_flight[connection] += 1;
            self.most_in_flight = self.most_in_flight.max(self.in_flight[connection]);
        }
    }

    /// As brokers do: the leader only, any numbered batch first and then only the next, and none of
    /// the last five a second time (KIP-98).
    fn append(&mut self, node: i32, connection: usize, partition: i32, batch: &[u8]) -> Reply {
        let number = |at: usize| i32::from_be_bytes(batch[at..at + 4].try_into().unwrap());
        let mut seen = Seen {
            at: Instant::now(),
            node,
            connection,
            partition,
            len: batch.len(),
            sequence: number(53),
            keys: keys(batch),
            error: 0,
        };
        let mut reply = (self.script)(&seen);
        if reply.error == 0 && self.leaders[partition as usize] != node {
            reply.error = NOT_LEADER;
        }
        if reply.error == 0 {
            let numbers = self.numbers.entry(partition).or_default();
            let (first, after) = (seen.sequence, seen.sequence + number(57));
            if first < 0 || numbers.back().is_none_or(|last| last.1 == first) {
                if first >= 0 {
                    numbers.push_back((first, after));
                    let old = numbers.len().saturating_sub(5);
                    numbers.drain(..old);
                }
                self.log.entry(partition).or_default().extend(&seen.keys);
            } else if !numbers.contains(&(first, after)) {
                reply.error = OUT_OF_ORDER;
            }
        }
        seen.error = reply.error;
        self.seen.push(seen);
        reply
    }
}

impl Transport for Cluster {
    type Stream = DuplexStream;

    async fn connect(&self, address: &Address) -> Result<DuplexStream, Error> {
        let state = self.state();
        let node = state.brokers.iter().position(|one| one == address);
        let node = node.ok_or_else(|| Error::new(Local::Resolve, "the name is not known"))? as i32;
        if state.down.contains(&node) {
            return Err(Error::new(Local::Transport, format!("{address}: connection refused")));
        }
        let (ours, theirs) = tokio::io::duplex(state.buffer);
        drop(state);
        let (number, cluster) = (self.connected(node), self.clone());
        let task = tokio::spawn(async move { cluster.serve(node, number, theirs).await });
        self.state().connections[number].1 = Some(task.abort_handle());
        Ok(ours)
    }
}

/// The kind, version, number and body of the next request.
pub(crate) async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<(ApiKey, i16, i32, Bytes)> {
    let mut frame = vec![0; stream.read_u32().await? as usize];
    stream.read_exact(&mut frame).await?;
    let key = ApiKey::try_from(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
    let version = i16::from_be_bytes([frame[2], frame[3]]);
    let mut body = Bytes::from(frame);
    let header = RequestHeader::decode(&mut body, key.request_header_version(version)).unwrap();
    Ok((key, version, header.correlation_id, body))
}

pub(crate) async fn write_answer(
    stream: &mut (impl AsyncWrite + Unpin),
    key: ApiKey,
    version: i16,
    correlation: i32,
    body: &[u8],
) -> io::Result<()> {
    let mut out = BytesMut::new();
    let header = ResponseHeader::default().with_correlation_id(correlation);
    header.encode(&mut out, key.response_header_version(version)).unwrap();
    out.extend_from_slice(body);
    stream.write_u32(out.len() as u32).await?;
    stream.write_all(&out).await
}

pub(crate) fn encoded(answer: &impl Encodable, version: i16) -> Vec<u8> {
    let mut out = BytesMut::new();
    answer.encode(&mut out, version).unwrap();
    out.to_vec()
}

pub(crate) fn versions() -> ApiVersionsResponse {
    let keys = [
        (ApiKey::Produce, 9),
        (ApiKey::Metadata, 9),
        (ApiKey::SaslHandshake, 1),
        (ApiKey::ApiVersions, 3),
        (ApiKey::InitProducerId, 4),
        (ApiKey::SaslAuthenticate, 2),
        (ApiKey::Fetch, 12),
        (ApiKey::ListOffsets, 6),
    ];
    let keys = keys.map(|(key, newest)| {
        ApiVersion::default().with_api_key(key as i16).with_min_version(0).with_max_version(newest)
    });
    ApiVersionsResponse::default().with_api_keys(keys.into())
}

/// The keys of the records of a batch: as numbers, or what stands for them.
fn keys(batch: &[u8]) -> Vec<usize> {
    let key = |batch: &[u8]| {
        let (key, _) = first_key(batch).unwrap();
        let hash =
            |key: &str| key.bytes().fold(7, |hash, byte| hash * 31 % 1_000_003 + byte as usize);
        let key = String::from_utf8(key).unwrap();
        key.parse().unwrap_or_else(|_| hash(&key))
    };
    split(batch, usize::MAX)
        .map_or_else(|| vec![key(batch)], |parts| parts.iter().map(|(_, part)| key(part)).collect())
}
