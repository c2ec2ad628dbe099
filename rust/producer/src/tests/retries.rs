//! What is tried again, when, where, and how often.

use super::cluster::{Cluster, NOT_LEADER, Reply, Then};
use super::*;

const NOT_ENOUGH_REPLICAS: i16 = 19;
const REQUEST_TIMED_OUT: i16 = 7;
const INVALID_TIMESTAMP: i16 = 32;
const UNKNOWN_TOPIC: i16 = 3;
const TOPIC_FORBIDDEN: i16 = 29;

#[tokio::test(start_paused = true)]
async fn a_refusal_that_may_pass_is_followed_by_longer_and_longer_waits() {
    for idempotent in [false, true] {
        let mut left = 6;
        let cluster = Cluster::new(1, 1, move |_| {
            left -= 1;
            Reply::error(if left >= 0 { NOT_ENOUGH_REPLICAS } else { 0 })
        });
        let running = Running::new(cluster, Config { idempotent, ..config() });
        let topic = running.topic().await;
        running.producer.send_packed(&topic, vec![packed(0, 0..5), packed(0, 5..9)]);
        running.flush().await;
        running.assert_all_acknowledged(9);
        running.assert_each_once(1, 9);
        running.assert_waits(&[100, 200, 400, 800, 1_000, 1_000, 0]);
        let error = running.producer.last_error().unwrap();
        assert!(error.starts_with("banking.trades partition 0: "), "{error}");
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_follows_its_leader() {
    for idempotent in [false, true] {
        let cluster = Cluster::new(3, 3, |_| Reply::OK);
        let running = Running::new(cluster.clone(), Config { idempotent, ..config() });
        let topic = running.warm(3).await;
        // The old leader says so itself,
        cluster.state().leaders = vec![1, 2, 0];
        for partition in 0..3 {
            running.producer.send_packed(&topic, vec![packed(partition, 1..5)]);
        }
        running.flush().await;
        let seen = cluster.seen();
        assert_eq!(seen[3..6].iter().map(|one| one.error).collect::<Vec<_>>(), [NOT_LEADER; 3]);
        // or is gone.
        cluster.state().leaders = vec![2, 2, 0];
        cluster.state().down.insert(1);
        cluster.cut(1);
        running.producer.send_packed(&topic, vec![packed(0, 5..9)]);
        for partition in 1..3 {
            running.producer.send_packed(&topic, vec![packed(partition, 5..9)]);
        }
        running.flush().await;
        running.assert_all_acknowledged(27);
        running.assert_each_once(3, 9);
        let last: Vec<_> = cluster.seen().iter().rev().take(3).map(|one| one.node).collect();
        assert!(!last.contains(&1));
        running.close().await;
    }
}

/// A broker may know less of a partition than that another leads it.
#[tokio::test(start_paused = true)]
async fn any_refusal_that_may_pass_leads_to_another_look_for_the_leader() {
    for error in [UNKNOWN_TOPIC, NOT_ENOUGH_REPLICAS] {
        let cluster =
            Cluster::new(2, 1, move |seen| Reply::error(if seen.node == 0 { error } else { 0 }));
        let running = Running::new(cluster.clone(), config());
        let topic = running.topic().await;
        cluster.state().leaders[0] = 1;
        running.producer.send_packed(&topic, vec![packed(0, 0..5)]);
        running.flush().await;
        running.assert_all_acknowledged(5);
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_a_leader_waits_for_one() {
    let cluster = Cluster::new(2, 2, |_| Reply::OK);
    cluster.state().leaders[1] = -1;
    let running = Running::new(cluster.clone(), config());
    let topic = running.topic().await;
    running.producer.send_packed(&topic, vec![packed(0, 0..1), packed(1, 0..1)]);
    sleep(millis(5_000)).await;
    assert_eq!(running.total().acknowledged, 1);
    let asked = cluster.state().metadata.clone();
    for pair in asked.windows(2) {
        assert!(pair[1] - pair[0] >= millis(100), "{:?}", pair[1] - pair[0]);
    }
    assert!(asked.len() > 20, "{}", asked.len());
    cluster.state().leaders[1] = 1;
    running.flush().await;
    running.assert_all_acknowledged(2);
    running.close().await;
}

/// The connection ends before the answer of a batch that was appended.
#[tokio::test(start_paused = true)]
async fn a_batch_whose_answer_is_lost_is_counted_as_perhaps_twice_unless_it_is_numbered() {
    for idempotent in [false, true] {
        let mut batches = 0;
        let cluster = Cluster::new(1, 1, move |_| {
            batches += 1;
            if batches == 2 { Reply::OK.then(Then::HangUp) } else { Reply::OK }
        });
        let running = Running::new(cluster, Config { idempotent, ..config() });
        let topic = running.topic().await;
        for start in [0, 3, 10] {
            let keys = start..[3, 10, 12].into_iter().find(|end| *end > start).unwrap();
            running.producer.send_packed(&topic, vec![packed(0, keys)]);
        }
        running.flush().await;
        let total = running.total();
        assert_eq!((total.acknowledged, total.failed.len()), (12, 0));
        let log = running.cluster.state().log[&0].clone();
        if idempotent {
            assert_eq!(total.perhaps_twice, 0);
            assert_eq!(log, (0..12).collect::<Vec<_>>());
        } else {
            assert_eq!(total.perhaps_twice, 7);
            assert_eq!(log, (0..10).chain(3..12).collect::<Vec<_>>());
        }
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_says_it_had_too_little_time_may_have_the_batch() {
    let mut batches = 0;
    let cluster = Cluster::new(1, 1, move |_| {
        batches += 1;
        Reply::error(if batches == 1 { REQUEST_TIMED_OUT } else { 0 })
    });
    let running = Running::new(cluster, config());
    let topic = running.topic().await;
    running.producer.send_packed(&topic, vec![packed(0, 0..5)]);
    running.flush().await;
    assert_eq!((running.total().acknowledged, running.total().perhaps_twice), (5, 5));
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn all_unanswered_requests_of_a_lost_connection_are_sent_again_in_order() {
    for idempotent in [false, true] {
        let mut batches = 0;
        let cluster = Cluster::new(1, 4, move |seen| {
            batches += 1;
            match batches {
                // A numbered producer goes on with several once it has an answer.
                1..=4 => Reply::OK,
                5 => Reply::after(millis(500)).then(Then::HangUp),
                _ => {
                    assert!(seen.keys[0] > 0);
                    Reply::OK
                }
            }
        });
        let config = Config { idempotent, max_request_bytes: 1, max_in_flight: 9, ..config() };
        let running = Running::new(cluster.clone(), config);
        let topic = running.warm(4).await;
        for batch in 1..10 {
            let batches = (0..4).map(|partition| packed(partition, batch..batch + 1)).collect();
            running.producer.send_packed(&topic, batches);
        }
        running.flush().await;
        let total = running.total();
        assert_eq!((total.acknowledged, total.failed.len()), (40, 0));
        // One of each partition was written, or of numbered ones as many as may be.
        assert_eq!(cluster.state().most_in_flight, if idempotent { 9 } else { 4 });
        assert_eq!(total.perhaps_twice, if idempotent { 0 } else { 4 });
        if idempotent {
            running.assert_each_once(4, 10);
        }
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_never_written_is_neither_a_try_nor_doubtful() {
    let cluster = Cluster::new(1, 1, |_| Reply::OK);
    let running = Running::new(cluster.clone(), Config { retries: 0, ..config() });
    let topic = running.topic().await;
    cluster.state().deaf = true;
    cluster.state().buffer = 1_000;
    for _ in 0..5 {
        // More than the connection takes before it is read.
        running.producer.send_packed(&topic, vec![packed(0, 0..100)]);
        sleep(millis(1_500)).await;
        cluster.cut(0);
    }
    assert_eq!(running.total().acknowledged, 0);
    cluster.state().deaf = false;
    running.flush().await;
    running.assert_all_acknowledged(500);
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn retries_end() {
    for (reply, code, doubtful) in [
        (Reply::error(NOT_ENOUGH_REPLICAS), NOT_ENOUGH_REPLICAS.into(), 0),
        (Reply::error(REQUEST_TIMED_OUT), REQUEST_TIMED_OUT.into(), 5),
        (Reply::error(NOT_ENOUGH_REPLICAS).then(Then::HangUp), TRANSPORT, 5),
        (Reply::OK.then(Then::Silence), TRANSPORT, 5),
    ] {
        let cluster = Cluster::new(1, 1, move |_| reply);
        let config = Config { retries: 3, delivery_timeout: LIMIT, ..config() };
        let running = Running::new(cluster, config);
        let topic = running.topic().await;
        running.producer.send_packed(&topic, vec![packed(0, 0..5)]);
        running.flush().await;
        assert_eq!(running.cluster.seen().len(), 4);
        let total = running.total();
        assert_eq!((total.failed, total.perhaps_arrived), ([(code, 5)].into(), doubtful));
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_broker_refuses_for_good_fails_alone_or_breaks_the_numbers() {
    for idempotent in [false, true] {
        let cluster = Cluster::new(1, 2, |seen| {
            Reply::error(if seen.keys.contains(&2) { INVALID_TIMESTAMP } else { 0 })
        });
        let running = Running::new(cluster, Config { idempotent, ..config() });
        let topic = running.topic().await;
        for key in 0..5 {
            running.producer.send_packed(&topic, vec![packed(0, key..key + 1)]);
            let other = if key < 2 { key } else { key + 1 };
            running.producer.send_packed(&topic, vec![packed(1, other..other + 1)]);
        }
        running.flush().await;
        let failed = if idempotent { 3 } else { 1 };
        let total = running.total();
        assert_eq!(total.failed.values().sum::<u64>(), failed);
        assert_eq!((total.acknowledged, total.perhaps_arrived), (10 - failed, 0));
        let log = running.cluster.state().log.clone();
        assert_eq!(log[&0], if idempotent { vec![0, 1] } else { vec![0, 1, 3, 4] });
        assert_eq!(log[&1], [0, 1, 3, 4, 5], "the other partition");
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_gone_is_connected_to_again_with_longer_and_longer_waits() {
    let cluster = Cluster::new(2, 2, |_| Reply::OK);
    let running = Running::new(cluster.clone(), config());
    let topic = running.warm(2).await;
    cluster.state().down.insert(1);
    cluster.cut(1);
    let began = Instant::now();
    running.producer.send_packed(&topic, vec![packed(0, 1..2), packed(1, 1..2)]);
    sleep(millis(5_000)).await;
    assert_eq!(running.total().acknowledged, 3);
    let error = running.producer.last_error().unwrap();
    assert_eq!(error, "broker-1:9092: connection refused");
    cluster.state().down.clear();
    running.flush().await;
    assert!(began.elapsed() < millis(6_100), "{:?}", began.elapsed());
    // It was never sent to the broker, so there is no doubt.
    running.assert_all_acknowledged(4);
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_cluster_is_found_through_any_of_its_addresses() {
    let cluster = Cluster::new(3, 3, |_| Reply::OK);
    cluster.state().down.insert(0);
    cluster.state().leaders[0] = 2;
    let client = Client { bootstrap: cluster.state().brokers.clone(), ..client() };
    let running = Running::new(cluster, Config { client, ..config() });
    running.warm(3).await;
    running.assert_all_acknowledged(3);
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_may_be_made_late_but_not_for_ever() {
    let cluster = Cluster::new(1, 1, |_| Reply::OK);
    cluster.state().topic_error = UNKNOWN_TOPIC;
    let running = Running::new(cluster.clone(), config());
    let find = || running.producer.find(&[TOPIC.into()], Duration::ZERO);
    assert_eq!(find().unwrap().map(|_| ()), None);
    sleep(millis(20_000)).await;
    assert_eq!(find().unwrap().map(|_| ()), None);
    cluster.state().topic_error = 0;
    let topic = running.warm(1).await;
    // The same if it is deleted meanwhile: what waits for it fails.
    cluster.state().topic_error = UNKNOWN_TOPIC;
    cluster.state().leaders[0] = 7;
    let began = Instant::now();
    running.producer.send_packed(&topic, vec![packed(0, 1..5)]);
    running.flush().await;
    assert!(began.elapsed() <= millis(31_000));
    assert_eq!(running.total().failed.values().sum::<u64>(), 4);
    running.close().await;

    let cluster = Cluster::new(1, 1, |_| Reply::OK);
    cluster.state().topic_error = TOPIC_FORBIDDEN;
    let running = Running::new(cluster, config());
    let refused = until(|| running.producer.find(&[TOPIC.into()], Duration::ZERO).err()).await;
    assert_eq!(refused.code, i32::from(TOPIC_FORBIDDEN));
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn without_acknowledgements_what_is_written_counts() {
    let cluster = Cluster::new(1, 1, |_| Reply::OK);
    let running = Running::new(cluster, Config { acks: Acks::None, ..config() });
    let topic = running.warm(1).await;
    for key in 1..50 {
        running.producer.send_packed(&topic, vec![packed(0, key..key + 1)]);
    }
    running.flush().await;
    running.assert_all_acknowledged(50);
    running.seen(50).await;
    running.assert_each_once(1, 50);
    running.close().await;
}

/// The broker ends sessions, and sees a new connection before that.
#[tokio::test(start_paused = true)]
async fn sessions_are_renewed_before_they_expire() {
    let cluster = Cluster::new(1, 1, |_| Reply::after(millis(100)));
    cluster.state().session_lifetime = millis(5_000);
    let sasl = crate::Sasl {
        mechanism: crate::Mechanism::Plain,
        user: "user".to_owned(),
        password: "secret".to_owned(),
    };
    let client = Client { sasl: Some(sasl), ..client() };
    let running = Running::new(cluster.clone(), Config { client, ..config() });
    let topic = running.warm(1).await;
    for key in 1..200 {
        running.producer.send_packed(&topic, vec![packed(0, key..key + 1)]);
    }
    running.flush().await;
    running.assert_all_acknowledged(200);
    running.assert_each_once(1, 200);
    let mut sessions: BTreeMap<usize, Vec<Instant>> = BTreeMap::new();
    for one in cluster.seen() {
        sessions.entry(one.connection).or_default().push(one.at);
    }
    assert!(sessions.len() >= 4, "{}", sessions.len());
    for moments in sessions.values() {
        assert!(*moments.last().unwrap() - moments[0] <= millis(4_000));
    }
    running.close().await;
}
