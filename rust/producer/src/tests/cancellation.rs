//! What is given up, kept or left behind.

use super::cluster::{Cluster, Reply, Then};
use super::*;

const PURGED_IN_QUEUE: i32 = -152;
const PURGED_IN_FLIGHT: i32 = -151;

/// One batch of a record in flight and four behind it, for a broker that answers after a second.
async fn under_way(idempotent: bool) -> (Running, Topic) {
    let cluster = Cluster::new(1, 1, |_| Reply::after(millis(1_000)));
    let running = Running::new(cluster, Config { idempotent, ..config() });
    let topic = running.topic().await;
    for key in 0..5 {
        running.producer.send_packed(&topic, vec![packed(0, key..key + 1)]);
    }
    running.seen(1).await;
    (running, topic)
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_given_up_and_what_is_in_flight_is_answered() {
    for idempotent in [false, true] {
        let (running, topic) = under_way(idempotent).await;
        running.producer.give_up(false);
        sleep(TICK).await;
        let total = running.total();
        assert_eq!((total.acknowledged, total.perhaps_arrived), (0, 0));
        assert_eq!(total.failed, [(PURGED_IN_QUEUE, 4)].into());
        running.flush().await;
        assert_eq!(running.total().acknowledged, 1);
        // They have used no numbers, so that others may follow.
        running.producer.send_packed(&topic, vec![packed(0, 5..9)]);
        running.flush().await;
        assert_eq!(running.total().acknowledged, 5);
        assert_eq!(running.cluster.state().log[&0], [0, 5, 6, 7, 8]);
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_given_up_too_and_may_have_arrived() {
    for idempotent in [false, true] {
        let (running, _) = under_way(idempotent).await;
        running.producer.give_up(true);
        sleep(TICK).await;
        let total = running.total();
        assert_eq!((total.acknowledged, total.perhaps_arrived), (0, 1));
        assert_eq!(total.failed, [(PURGED_IN_QUEUE, 4), (PURGED_IN_FLIGHT, 1)].into());
        assert!(running.producer.flush(Duration::ZERO));
        // The late answer changes nothing.
        sleep(millis(5_000)).await;
        assert_eq!(running.total(), total);
        assert_eq!(running.cluster.seen().len(), 1);
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_between_two_tries_is_given_up_with_what_is_known_of_it() {
    for (reply, code, doubtful) in
        [(Reply::error(19), PURGED_IN_QUEUE, 0), (Reply::OK.then(Then::HangUp), PURGED_IN_QUEUE, 1)]
    {
        let cluster = Cluster::new(1, 1, move |_| reply);
        let running = Running::new(cluster, config());
        let topic = running.topic().await;
        running.producer.send_packed(&topic, vec![packed(0, 0..1)]);
        running.seen(1).await;
        sleep(millis(50)).await;
        running.producer.give_up(false);
        running.flush().await;
        let total = running.total();
        assert_eq!((total.failed, total.perhaps_arrived), ([(code, 1)].into(), doubtful));
        sleep(millis(5_000)).await;
        assert_eq!(running.cluster.seen().len(), 1);
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_numbered_batch_that_is_given_up_after_a_try_ends_its_partition() {
    let cluster = Cluster::new(1, 2, |seen| match seen.partition {
        0 => Reply::error(19),
        _ => Reply::OK,
    });
    let running = Running::new(cluster, Config { idempotent: true, ..config() });
    let topic = running.topic().await;
    running.producer.send_packed(&topic, vec![packed(0, 0..1), packed(1, 0..1)]);
    running.seen(2).await;
    running.producer.give_up(false);
    running.flush().await;
    running.producer.send_packed(&topic, vec![packed(0, 1..3), packed(1, 1..3)]);
    running.flush().await;
    let total = running.total();
    assert_eq!((total.acknowledged, total.failed), (3, [(PURGED_IN_QUEUE, 3)].into()));
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_is_closed_ends_at_once_and_writes_nothing_more() {
    let (running, topic) = under_way(false).await;
    running.producer.send_packed(&topic, vec![packed(0, 5..9)]);
    let (cluster, producer, began) =
        (running.cluster.clone(), running.producer.clone(), Instant::now());
    running.close().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    sleep(millis(5_000)).await;
    assert_eq!(cluster.seen().len(), 1);
    // What no sender has any more is never settled.
    assert!(!producer.flush(Duration::ZERO));
    assert!(!producer.has_failures());
}

#[tokio::test(start_paused = true)]
async fn a_sender_ends_with_its_last_producer() {
    let (running, _) = under_way(false).await;
    let (Running { producer, sender, .. }, began) = (running, Instant::now());
    let other = producer.clone();
    drop(producer);
    sleep(millis(100)).await;
    assert!(!sender.is_finished());
    drop(other);
    sender.await.unwrap();
    assert!(began.elapsed() < millis(1_000));
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_holds_keeps_what_comes_and_hears_answers() {
    let (running, topic) = under_way(false).await;
    running.producer.hold();
    sleep(millis(30_000)).await;
    assert_eq!(running.total().acknowledged, 1);
    running.producer.send_packed(&topic, vec![packed(0, 5..9)]);
    sleep(millis(30_000)).await;
    assert_eq!(running.cluster.seen().len(), 1);
    running.producer.open();
    running.flush().await;
    running.assert_all_acknowledged(9);
    running.assert_each_once(1, 9);
    // What is held can be given up.
    running.producer.hold();
    running.producer.send_packed(&topic, vec![packed(0, 9..12)]);
    running.producer.give_up(false);
    running.flush().await;
    assert_eq!(running.total().failed, [(PURGED_IN_QUEUE, 3)].into());
    running.close().await;
}
