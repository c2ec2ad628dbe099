//! The sender's state by itself, event by event.

use datagen_core::encode::kafka::Codec;

use super::*;
use crate::answer::TopicMetadata;
use crate::tests::cluster::{Cluster, Reply};
use crate::tests::config;
use crate::{Batching, Producer};

const TOPIC: &str = "banking.trades";

fn sender() -> (Producer, Sender<Cluster>) {
    let batching = Batching { size: 1, codec: Codec::None };
    let (producer, mut sender) =
        Producer::over(Cluster::new(1, 3, |_| Reply::OK), config(), batching);
    sender.obey(Command::Topics(vec![TOPIC.into()]));
    (producer, sender)
}

fn metadata(error: i16, leaders: &[i32]) -> Event {
    let partitions = (0..).zip(leaders.iter().copied()).collect();
    let topics = vec![TopicMetadata { error, name: Some(TOPIC.to_owned()), partitions }];
    let brokers = vec![(0, "broker-0".to_owned(), 9092), (1, "far".to_owned(), 70_000)];
    Event::Metadata(Ok(Metadata { throttle: Duration::ZERO, brokers, topics }))
}

#[tokio::test(start_paused = true)]
async fn events_of_a_connection_before_are_none_of_this_one() {
    let (producer, mut sender) = sender();
    sender.take(metadata(0, &[0, 0, 0]));
    let now = Instant::now();
    let broker = sender.brokers.get_mut(&0).unwrap();
    broker.connect(now, &sender.dialer);
    let before = broker.generation;
    broker.close(now);
    let closed = || ConnectionEvent::Closed(Error::new(Local::Transport, "gone"));
    sender.take(Event::Connection(0, before, closed()));
    assert_eq!(producer.last_error(), None);
    let broker = sender.brokers.get_mut(&0).unwrap();
    broker.connect(now, &sender.dialer);
    let generation = broker.generation;
    sender.take(Event::Connection(0, before, closed()));
    assert_eq!(producer.last_error(), None);
    sender.take(Event::Connection(0, generation, closed()));
    assert_eq!(producer.last_error().unwrap(), "broker-0:9092: gone");
    // No broker has that number, nor a port like that.
    sender.take(Event::Connection(7, 1, closed()));
    assert_eq!(sender.brokers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn leaders_are_those_of_the_last_answer_and_partitions_those_of_the_first() {
    let (_producer, mut sender) = sender();
    let name = TOPIC.into();
    assert!(sender.topics.leaders(&name).is_empty());
    for (leaders, expected) in [
        (&[0, 0, -1][..], [0, 0, -1]),
        (&[0, 0, 0], [0, 0, 0]),
        // An answer that leaves some out, and one that has more.
        (&[0], [0, -1, -1]),
        (&[0, 1, 2, 3, 4], [0, 1, 2]),
        // Nothing is known anew.
        (&[], [0, 1, 2]),
    ] {
        sender.metadata.wanted = false;
        sender.take(metadata(0, leaders));
        assert_eq!(sender.topics.leaders(&name), expected);
        assert_eq!(sender.metadata.wanted, expected.contains(&-1) || leaders.is_empty());
    }
}
