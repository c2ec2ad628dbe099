//! Batches that are too large for their topic.

use super::cluster::{Cluster, Reply};
use super::*;

const TOO_LARGE: i16 = 10;

#[tokio::test(start_paused = true)]
async fn batches_fit_what_the_topic_takes() {
    for (idempotent, limited) in [(false, false), (true, false), (false, true), (true, true)] {
        let most = 2_000;
        let cluster = Cluster::new(1, 2, move |seen| {
            Reply::error(if seen.len > most { TOO_LARGE } else { 0 })
        });
        let running = Running::new(cluster.clone(), Config { idempotent, ..config() });
        let topic = running.topic().await;
        if limited {
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
            running.flush().await;
            refusals.push(cluster.seen().iter().filter(|one| one.error != 0).count());
        }
        running.assert_all_acknowledged(1_600);
        running.assert_each_once(2, 800);
        assert_eq!(refusals[0] == 0, limited);
        assert_eq!(refusals[0], refusals[1], "what was learned is forgotten");
        assert!(running.producer.max_batch_bytes(&topic) <= most);
        // Not one by one, once the limit is known.
        let last = cluster.seen().iter().rev().take(10).map(|one| one.len).max().unwrap();
        assert!(last > most / 3, "{last}");
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn several_batches_in_flight_that_are_too_large_are_split_in_order() {
    for most in [300, 1_000, 5_000] {
        let cluster = Cluster::new(1, 1, move |seen| Reply {
            after: millis(20),
            ..Reply::error(if seen.len > most { TOO_LARGE } else { 0 })
        });
        let config = Config { idempotent: true, max_request_bytes: 1, ..config() };
        let running = Running::new(cluster.clone(), config);
        let topic = running.warm(1).await;
        let mut start = 1;
        for records in [40, 1, 90, 3, 60, 200, 2, 100, 1, 1] {
            running.producer.send_packed(&topic, vec![packed(0, start..start + records)]);
            start += records;
        }
        running.flush().await;
        assert!(cluster.state().most_in_flight > 1);
        running.assert_all_acknowledged(start as u64);
        running.assert_each_once(1, start);
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_too_large_by_itself_is_named() {
    for idempotent in [false, true] {
        let cluster = Cluster::new(1, 1, |seen| {
            Reply::error(if seen.keys.contains(&7) { TOO_LARGE } else { 0 })
        });
        let running = Running::new(cluster, Config { idempotent, ..config() });
        let topic = running.topic().await;
        running.producer.send_packed(&topic, vec![packed(0, 0..20), packed(0, 20..30)]);
        running.flush().await;
        let total = running.total();
        assert_eq!((total.acknowledged, total.failed), (29, [(10, 1)].into()));
        let error = running.producer.last_error().unwrap();
        for words in [TOPIC, "00000007", "max.message.bytes=1000", "message.max.bytes"] {
            assert!(error.contains(words), "no {words:?} in {error}");
        }
        let expected: Vec<_> = (0..30).filter(|key| *key != 7).collect();
        assert_eq!(running.cluster.state().log[&0], expected);
        running.close().await;
    }
}
