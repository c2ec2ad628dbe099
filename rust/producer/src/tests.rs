//! The producer, and the reader, beside a cluster in memory, in a time that passes only while everything waits.

mod cancellation;
pub(crate) mod cluster;
mod hostile;
mod linger;
mod logs;
mod network;
mod order;
mod reading;
mod retries;
mod sizes;
mod time;

use std::collections::BTreeMap;
use std::time::Duration;

use datagen_core::encode::Encoded;
use datagen_core::encode::kafka::{
    BatchBuilder, Codec, Compressor, Limits, Packed, Records, Timestamps,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::config::Address;
use crate::{Acks, Batching, Client, Config, Error, Producer, Tally, Topic};
use cluster::Cluster;

const TOPIC: &str = "banking.trades";
const TRANSPORT: i32 = -195;
const TIMED_OUT: i32 = -192;
/// Longer than anything here takes, in a time that costs nothing.
const LIMIT: Duration = Duration::from_secs(3_600);
const TICK: Duration = millis(5);

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn client() -> Client {
    Client {
        bootstrap: vec![Address { host: "broker-0".to_owned(), port: 9092 }],
        client_id: "test".to_owned(),
        retry_backoff: (millis(100), millis(1_000)),
        request_timeout: millis(2_000),
        tls: None,
        sasl: None,
    }
}

pub(crate) fn config() -> Config {
    Config {
        client: client(),
        acks: Acks::All,
        idempotent: false,
        retries: u32::MAX,
        delivery_timeout: millis(10_000),
        linger: Duration::ZERO,
        max_in_flight: 5,
        max_request_bytes: 1 << 20,
        queue_records: usize::MAX,
        queue_bytes: usize::MAX,
    }
}

/// A batch of records of about a hundred bytes, whose keys are these numbers.
pub(crate) fn packed(partition: u32, keys: std::ops::Range<usize>) -> Packed {
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

/// Waits until something is found.
async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "it goes on for ever");
        sleep(TICK).await;
    }
}

/// No timer is much later than it has to be.
fn assert_about(took: Duration, expected: Duration) {
    assert!((expected..expected + 3 * TICK).contains(&took), "{took:?} instead of {expected:?}");
}

/// A producer and its sender, which ends with it.
struct Running {
    cluster: Cluster,
    producer: Producer,
    sender: JoinHandle<()>,
}

impl Running {
    fn new(cluster: Cluster, config: Config) -> Self {
        let batching = Batching { size: 16_384, codec: Codec::None };
        let (producer, sender) = Producer::over(cluster.clone(), config, batching);
        Self { cluster, producer, sender: tokio::spawn(sender.run()) }
    }

    async fn topic(&self) -> Topic {
        let find = || self.producer.find(&[TOPIC.into()], Duration::ZERO).unwrap();
        until(find).await.remove(0)
    }

    /// With the topic found and one batch acknowledged in each of these partitions.
    async fn warm(&self, partitions: u32) -> Topic {
        let topic = self.topic().await;
        let batches = (0..partitions).map(|partition| packed(partition, 0..1)).collect();
        self.producer.send_packed(&topic, batches);
        self.flush().await;
        topic
    }

    async fn flush(&self) {
        let done = || self.producer.flush(Duration::ZERO).then_some(());
        until(done).await;
    }

    /// How many batches the cluster has seen, waited for.
    async fn seen(&self, batches: usize) {
        until(|| (self.cluster.state().seen.len() >= batches).then_some(())).await;
    }

    /// The brokers that are not reached after so long.
    async fn reach(&self, limit: Duration) -> Vec<Error> {
        self.producer.reach(&[TOPIC.into()], Duration::ZERO).unwrap();
        sleep(limit).await;
        self.producer.shared.wait_until_reached(Instant::now()).unwrap()
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
            self.producer.last_error(),
        );
        assert!(!self.producer.has_failures());
    }

    /// Each partition has the records 0, 1, 2, … once and in order.
    fn assert_each_once(&self, partitions: i32, records: usize) {
        let log = self.cluster.state().log.clone();
        assert_eq!(log.keys().copied().collect::<Vec<_>>(), (0..partitions).collect::<Vec<_>>());
        for (partition, keys) in log {
            assert_eq!(keys, (0..records).collect::<Vec<_>>(), "partition {partition}");
        }
    }

    /// The batches came one after the other with waits of so many milliseconds between them.
    fn assert_waits(&self, millis: &[u64]) {
        let seen = self.cluster.seen();
        assert_eq!(seen.len() - 1, millis.len());
        for (pair, wait) in seen.windows(2).zip(millis) {
            assert_about(pair[1].at - pair[0].at, Duration::from_millis(*wait));
        }
    }

    /// Ends the sender, which must not have panicked.
    async fn close(self) {
        self.producer.close();
        self.sender.await.expect("a sender that does not panic");
    }
}
