//! Nonsense in place of answers, and brokers that are not reached.

use kafka_protocol::messages::ApiKey;

use super::cluster::{Cluster, Reply};
use super::*;

#[tokio::test(start_paused = true)]
async fn hostile_answers_end_nothing() {
    let huge = [&[0; 4][..], &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    let answers = [
        Vec::new(),
        vec![0xff; 64],
        vec![0x7f; 64],
        [0_u8; 2].into_iter().chain([0xff, 0xff, 0xff, 0xff, 0x0f]).collect(),
        huge,
    ];
    let mut settled = 0;
    for key in [ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::InitProducerId, ApiKey::Produce] {
        for answer in &answers {
            let cluster = Cluster::new(1, 1, |_| Reply::OK);
            let idempotent = key == ApiKey::InitProducerId;
            cluster.state().nonsense = Some((key, answer.clone()));
            let running = Running::new(cluster, Config { idempotent, ..config() });
            if key == ApiKey::ApiVersions || key == ApiKey::Metadata {
                for _ in 0..10 {
                    let found = running.producer.find(&[TOPIC.into()], Duration::ZERO);
                    assert!(!matches!(found, Ok(Some(_))), "{key:?} {answer:x?}");
                    sleep(millis(1_000)).await;
                }
            } else {
                let topic = running.topic().await;
                running.producer.send_packed(&topic, vec![packed(0, 0..5)]);
                let done = || running.producer.flush(Duration::ZERO);
                // Some of it reads as a long pause, during which no time runs out.
                let later = || (Instant::now() + millis(60_000)).into_std();
                let paused = || running.producer.progress().is_some_and(|end| end > later());
                until(|| (done() || paused()).then_some(())).await;
                let total = running.total();
                assert_eq!(total.acknowledged, 0, "{key:?} {answer:x?}");
                if done() {
                    assert_eq!(total.failed, [(TIMED_OUT, 5)].into(), "{answer:x?}");
                    settled += 1;
                }
            }
            // Only that a broker knows no version of a request is final.
            assert!(key == ApiKey::ApiVersions || running.producer.failure().is_none());
            running.close().await;
        }
    }
    assert_eq!(settled, 9);
}

#[tokio::test(start_paused = true)]
async fn leaders_are_reached_beforehand_or_named() {
    let cluster = Cluster::new(3, 3, |_| Reply::OK);
    let running = Running::new(cluster.clone(), config());
    let topic = running.topic().await;
    assert_eq!(running.reach(millis(100)).await, []);
    let before = cluster.state().connections.len();
    let batches = (0..3).map(|partition| packed(partition, 0..1)).collect();
    running.producer.send_packed(&topic, batches);
    running.flush().await;
    running.assert_all_acknowledged(3);
    assert_eq!(cluster.state().connections.len(), before, "it has connected once more");
    running.close().await;

    let cluster = Cluster::new(3, 3, |_| Reply::OK);
    cluster.state().down.insert(1);
    cluster.state().leaders[2] = -1;
    let running = Running::new(cluster, config());
    running.topic().await;
    let unreached = running.reach(millis(5_000)).await;
    assert_eq!(
        unreached.iter().map(|error| &*error.text).collect::<Vec<_>>(),
        ["banking.trades partition 2 has no leader", "broker-1:9092: connection refused"],
    );
    running.close().await;
}
