//! Both halves of a producer on threads of their own, and real sockets.

use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use super::cluster::{Cluster, Reply};
use super::*;

/// For a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn batches_go_over_sockets_and_leaders_that_are_not_reached_are_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let address = |host: &str, port| Address { host: host.to_owned(), port };
    let local = address("127.0.0.1", listener.local_addr().unwrap().port());
    let cluster = Cluster::new(1, 2, |_| Reply::OK);
    cluster.state().brokers = vec![
        local.clone(),
        address("127.0.0.1", closed.port()),
        address("no-such-host.invalid", 9092),
    ];
    let server = cluster.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = server.connected(0);
            let server = server.clone();
            tokio::spawn(async move { server.serve(0, number, stream).await });
        }
    });
    let client = Client { bootstrap: vec![local], ..client() };
    let config = Config { client, ..config() };
    let batching = Batching { size: 16_384, codec: Codec::None };
    let (producer, driver) = Producer::new(config, batching).unwrap();
    let driver = spawn_blocking(driver.ready().unwrap());
    let calls = spawn_blocking(move || {
        let names = [TOPIC.into()];
        let topic = producer.find(&names, PATIENCE).unwrap().unwrap().remove(0);
        assert_eq!(topic.partitions(), 2);
        assert_eq!(producer.reach(&names, PATIENCE), Ok(Vec::new()));
        producer.send_packed(&topic, vec![packed(0, 0..500), packed(1, 0..500)]);
        assert!(producer.flush(PATIENCE));
        let acknowledged: Vec<_> =
            producer.report().into_iter().map(|(_, _, tally)| tally.acknowledged).collect();
        assert_eq!(acknowledged, [500, 500]);
        for (leader, start, unknown_name) in [
            (1, format!("127.0.0.1:{}: ", closed.port()), false),
            (2, "no-such-host.invalid:9092: ".to_owned(), true),
        ] {
            cluster.state().leaders[1] = leader;
            // The old leader says that it is none.
            producer.send_packed(&topic, vec![packed(1, 500..501)]);
            let began = std::time::Instant::now();
            let found = loop {
                let found = producer.reach(&names, Duration::from_millis(100)).unwrap();
                if found.iter().any(|error| error.text.starts_with(&start)) {
                    break found;
                }
                assert!(began.elapsed() < PATIENCE, "{found:?}");
            };
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].is_unknown_name(), unknown_name, "{}", found[0]);
        }
        producer.close();
    });
    calls.await.unwrap();
    driver.await.unwrap();
}
