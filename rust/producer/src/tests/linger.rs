//! Batches that are not full, and how long they wait for more records.

use std::collections::BTreeSet;
use std::sync::Arc;

use datagen_core::batch::Bank;
use datagen_core::catalog::TRANSACTIONS;
use datagen_core::column::Batch;
use datagen_core::encode::Format;
use datagen_core::encode::kafka::{EventFormat, Events};
use datagen_core::plan::{DEFAULT_AS_OF, Plan};

use super::cluster::{Cluster, Reply};
use super::*;

/// The events of so many customers and days, in batches of about so many rows.
fn batches(customers: u64, days: u32, rows: usize) -> Vec<Batch> {
    let plan = Plan::try_new(3, customers, DEFAULT_AS_OF, days).unwrap();
    Arc::new(Bank::new(plan)).batches(&TRANSACTIONS, 0..customers, rows).unwrap().collect()
}

impl Running {
    fn send(&self, topic: &Topic, batch: &Batch) {
        let format = EventFormat {
            value: Format::Json,
            cloudevents: false,
            content_type: false,
            timestamp: Some(0),
        };
        self.producer.send(topic, &Events::new(batch, format));
    }

    async fn settled(&self) {
        until(|| self.producer.shared.wait_until_settled(Instant::now()).then_some(())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_others_so_long_and_no_longer() {
    let linger = millis(200);
    let running = Running::new(Cluster::new(1, 2, |_| Reply::OK), Config { linger, ..config() });
    let topic = running.topic().await;
    let batches = batches(40, 7, 10);
    let [first, second, third, ..] = &batches[..] else { panic!("{}", batches.len()) };
    let began = Instant::now();
    running.send(&topic, first);
    sleep(millis(100)).await;
    assert_eq!(running.cluster.seen().len(), 0);
    running.send(&topic, second);
    running.settled().await;
    // Both in the batches of the first.
    let seen = running.cluster.seen();
    assert_eq!(seen.len(), 2);
    for one in &seen {
        assert_about(one.at - began, linger);
    }
    let began = Instant::now();
    running.send(&topic, third);
    running.settled().await;
    assert_about(began.elapsed(), linger);
    let rows: usize = batches[..3].iter().map(Batch::rows).sum();
    running.assert_all_acknowledged(rows as u64);
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_batch_of_each_partition_has_its_own_time() {
    let linger = millis(200);
    let running = Running::new(Cluster::new(1, 8, |_| Reply::OK), Config { linger, ..config() });
    let topic = running.topic().await;
    let batches = batches(40, 7, 1);
    let began = Instant::now();
    running.send(&topic, &batches[0]);
    sleep(millis(100)).await;
    batches[1..10].iter().for_each(|batch| running.send(&topic, batch));
    running.settled().await;
    let seen = running.cluster.seen();
    let partitions: BTreeSet<_> = seen.iter().map(|one| one.partition).collect();
    assert_eq!(partitions.len(), seen.len());
    let (early, late): (Vec<_>, Vec<_>) =
        seen.iter().partition(|one| one.at - began < linger + millis(50));
    assert!(!early.is_empty() && !late.is_empty(), "{} and {}", early.len(), late.len());
    for (batches, wait) in [(early, linger), (late, linger + millis(100))] {
        for one in batches {
            assert_about(one.at - began, wait);
        }
    }
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait_and_a_flush_ends_every_wait() {
    let batches = batches(300, 90, 500);
    let rows: usize = batches.iter().map(Batch::rows).sum();
    let mut logs = Vec::new();
    for linger in [Duration::ZERO, millis(3), LIMIT] {
        let running =
            Running::new(Cluster::new(1, 3, |_| Reply::OK), Config { linger, ..config() });
        let topic = running.topic().await;
        let began = Instant::now();
        for batch in &batches {
            running.send(&topic, batch);
            sleep(millis(1)).await;
        }
        sleep(millis(5)).await;
        let seen = running.cluster.seen();
        assert!(!seen.is_empty());
        if linger == LIMIT {
            assert!(seen.iter().all(|one| one.len > 10_000), "a batch is sent before it is full");
            assert!(running.total().acknowledged < rows as u64);
        }
        running.flush().await;
        assert!(began.elapsed() < millis(1_000));
        running.assert_all_acknowledged(rows as u64);
        logs.push(running.cluster.state().log.clone());
        running.close().await;
    }
    assert!(logs[0] == logs[1] && logs[1] == logs[2], "the order depends on the wait");
}
