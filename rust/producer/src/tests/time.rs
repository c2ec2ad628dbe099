//! How long a batch may take, and what is no time of its own.

use super::cluster::{Cluster, Reply, Then};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_queue_that_drains_slowly_does_not_run_out_of_time() {
    for idempotent in [false, true] {
        let cluster = Cluster::new(1, 8, |_| Reply::after(millis(150)));
        let config = Config {
            idempotent,
            delivery_timeout: millis(900),
            client: Client { request_timeout: millis(900), ..client() },
            // A batch at a time, so that a partition waits for the others longer than it may.
            max_request_bytes: 1,
            ..config()
        };
        let running = Running::new(cluster, config);
        let topic = running.topic().await;
        let began = Instant::now();
        for batch in 0..3 {
            let batches = (0..8).map(|partition| packed(partition, batch * 10..batch * 10 + 10));
            running.producer.send_packed(&topic, batches.collect());
        }
        running.flush().await;
        assert!(began.elapsed() >= millis(24 * 150), "it was not slow");
        running.assert_all_acknowledged(240);
        running.assert_each_once(8, 30);
        let connections: std::collections::BTreeSet<_> =
            running.cluster.seen().iter().map(|one| one.connection).collect();
        assert_eq!(connections.len(), 1, "a connection was closed though it answered");
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_batch_counts_from_the_last_acknowledgement_of_its_partition() {
    let mut batches = 0;
    let cluster = Cluster::new(1, 1, move |_| {
        batches += 1;
        let reply = Reply::after(millis(8_000));
        if batches > 2 { reply.then(Then::Silence) } else { reply }
    });
    let client = Client { request_timeout: LIMIT, ..client() };
    let running = Running::new(cluster, Config { client, ..config() });
    let topic = running.topic().await;
    let began = Instant::now();
    for batch in 0..4 {
        running.producer.send_packed(&topic, vec![packed(0, batch..batch + 1)]);
    }
    until(|| running.producer.has_failures().then_some(())).await;
    assert_about(began.elapsed(), millis(2 * 8_000 + 10_000));
    running.flush().await;
    let total = running.total();
    // The fourth was never sent.
    assert_eq!((total.acknowledged, total.perhaps_arrived), (2, 1));
    assert_eq!(total.failed, [(TIMED_OUT, 2)].into());
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_asks_for_a_pause_gets_it() {
    let pause = millis(1_200);
    let config = Config {
        delivery_timeout: millis(600),
        client: Client { request_timeout: millis(600), ..client() },
        max_in_flight: 1,
        max_request_bytes: 1,
        ..config()
    };
    let running = Running::new(Cluster::new(1, 2, move |_| Reply::throttle(pause)), config);
    let topic = running.topic().await;
    running.producer.send_packed(&topic, vec![packed(0, 0..5), packed(1, 0..5)]);
    sleep(pause / 2).await;
    let end = running.producer.progress().unwrap();
    assert!(end > Instant::now().into_std(), "the pause is not reported");
    // What comes during the pause waits for its end too.
    running.producer.send_packed(&topic, vec![packed(0, 5..10), packed(1, 5..10)]);
    running.flush().await;
    running.assert_all_acknowledged(20);
    running.assert_each_once(2, 10);
    let seen = running.cluster.seen();
    assert_eq!(seen.len(), 4, "a batch was sent twice");
    for pair in seen.windows(2) {
        assert_about(pair[1].at - pair[0].at, pause);
        assert_eq!(pair[0].connection, pair[1].connection);
    }
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_do_not_run_out_of_time_in_a_pause() {
    // All that were sent before the first answer are answered after its pause, as brokers do.
    let (pause, mut answers) = (millis(1_500), 0);
    let cluster = Cluster::new(1, 4, move |_| {
        answers += 1;
        match answers {
            1 => Reply::throttle(pause),
            2 => Reply::after(pause),
            _ => Reply::OK,
        }
    });
    let config = Config {
        delivery_timeout: millis(800),
        client: Client { request_timeout: millis(800), ..client() },
        max_request_bytes: 1,
        ..config()
    };
    let running = Running::new(cluster, config);
    let topic = running.topic().await;
    let batches = (0..4).map(|partition| packed(partition, 0..5)).collect();
    running.producer.send_packed(&topic, batches);
    running.flush().await;
    running.assert_all_acknowledged(20);
    assert_eq!(running.cluster.seen().len(), 4, "a batch was sent twice");
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_whose_leader_is_dead_runs_out_of_time_whatever_others_do() {
    let cluster = Cluster::new(2, 3, |_| Reply::after(millis(900)));
    cluster.state().down.insert(1);
    let running = Running::new(cluster, Config { max_request_bytes: 1, ..config() });
    let topic = running.topic().await;
    let began = Instant::now();
    for batch in 0..12 {
        let batches = (0..3).map(|partition| packed(partition, batch..batch + 1)).collect();
        running.producer.send_packed(&topic, batches);
    }
    until(|| running.producer.has_failures().then_some(())).await;
    assert_about(began.elapsed(), millis(10_000));
    assert!(running.total().acknowledged < 24, "the others were done before");
    running.flush().await;
    let total = running.total();
    assert_eq!((total.acknowledged, total.failed), (24, [(TIMED_OUT, 12)].into()));
    assert_eq!(total.perhaps_arrived, 0);
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_only_refused_runs_out_of_time_whatever_others_do() {
    let cluster = Cluster::new(1, 2, |seen| match seen.partition {
        0 => Reply::after(millis(50)),
        _ => Reply::error(19),
    });
    let running = Running::new(cluster, Config { max_request_bytes: 1, ..config() });
    let topic = running.topic().await;
    let began = Instant::now();
    for batch in 0..400 {
        running.producer.send_packed(&topic, vec![packed(0, batch..batch + 1)]);
    }
    running.producer.send_packed(&topic, vec![packed(1, 0..1)]);
    until(|| running.producer.has_failures().then_some(())).await;
    // Waits for the other partition are excused, and those after a refusal are not.
    assert!((millis(10_000)..millis(12_000)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(running.total().acknowledged < 400, "the other was done before");
    running.flush().await;
    assert_eq!(running.total().failed, [(TIMED_OUT, 1)].into());
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_never_answers_runs_out_of_time() {
    let cluster = Cluster::new(1, 1, |_| Reply::OK.then(Then::Silence));
    let running = Running::new(cluster, config());
    let topic = running.topic().await;
    let began = Instant::now();
    running.producer.send_packed(&topic, vec![packed(0, 0..5)]);
    running.flush().await;
    assert_about(began.elapsed(), millis(10_000));
    let total = running.total();
    assert_eq!((total.failed, total.perhaps_arrived), ([(TIMED_OUT, 5)].into(), 5));
    // Each try has its two seconds and its wait, on a connection of its own.
    running.assert_waits(&[2_100, 2_200, 2_400, 2_800]);
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_sender_holds_does_not_run_out_of_time() {
    let running = Running::new(Cluster::new(1, 1, |_| Reply::OK), config());
    let topic = running.topic().await;
    running.producer.hold();
    running.producer.send_packed(&topic, vec![packed(0, 0..5)]);
    sleep(millis(60_000)).await;
    assert_eq!(running.cluster.seen().len(), 0);
    assert!(!running.producer.has_failures());
    running.producer.open();
    running.flush().await;
    running.assert_all_acknowledged(5);
    running.close().await;
}
