//! The order of a partition, whatever happens.

use super::cluster::{Cluster, Reply, Seen, Then};
use super::*;

/// Numbers that look random (xorshift), the same for a seed each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }
}

const PARTITIONS: usize = 5;
/// Records of each partition.
const RECORDS: usize = 200;
const ALL: u64 = (PARTITIONS * RECORDS) as u64;
const TOO_LARGE: i16 = 10;
const REFUSALS: [i16; 4] = [6, 7, 19, 20];

/// Refuses, delays, throttles, hangs up and forgets to answer, but takes most; nothing long.
fn misbehave(random: &mut Random, seen: &Seen, most: usize) -> Reply {
    if seen.len > most {
        return Reply::error(TOO_LARGE);
    }
    match random.below(20) {
        0 => Reply::OK.then(Then::HangUp),
        1 => Reply::error(REFUSALS[0]).then(Then::HangUp),
        2 => Reply::throttle(millis(random.below(500))),
        3 if random.below(5) == 0 => Reply::OK.then(Then::Silence),
        4..=6 => Reply::error(REFUSALS[random.below(4) as usize]),
        7..=9 => Reply::after(millis(random.below(200))),
        _ => Reply::OK,
    }
}

/// A cluster that misbehaves while its partitions move from broker to broker, and what has come of it
/// once all records are through.
async fn chaos(seed: u64, idempotent: bool) -> Running {
    let mut random = Random(seed);
    let most = 600 + random.below(3_000) as usize;
    let cluster = Cluster::new(3, PARTITIONS, {
        let mut random = Random(seed ^ 0xabcd);
        move |seen| misbehave(&mut random, seen, most)
    });
    let config = Config {
        idempotent,
        max_in_flight: 1 + random.below(6) as usize,
        max_request_bytes: 1 << random.below(14),
        delivery_timeout: LIMIT,
        client: Client { bootstrap: cluster.state().brokers.clone(), ..client() },
        ..config()
    };
    let running = Running::new(cluster.clone(), config);
    let topic = running.topic().await;
    for partition in 0..PARTITIONS as u32 {
        let mut start = 0;
        while start < RECORDS {
            let end = RECORDS.min(start + 1 + random.below(60) as usize);
            running.producer.send_packed(&topic, vec![packed(partition, start..end)]);
            start = end;
        }
    }
    while !running.producer.flush(Duration::ZERO) {
        match random.below(75) {
            0 => cluster.cut(random.below(3) as i32),
            1..=2 => {
                let (partition, leader) =
                    (random.below(PARTITIONS as u64) as usize, random.below(3) as i32);
                cluster.state().leaders[partition] = leader;
            }
            3 => {
                let node = random.below(4) as i32;
                cluster.state().down = [node].into();
                cluster.cut(node);
            }
            _ => {}
        }
        sleep(millis(100)).await;
    }
    running
}

#[tokio::test(start_paused = true)]
async fn numbered_records_are_there_once_and_in_order() {
    for seed in 1..=6 {
        let running = chaos(seed, true).await;
        running.assert_all_acknowledged(ALL);
        running.assert_each_once(PARTITIONS as i32, RECORDS);
        let refused = running.cluster.seen().iter().filter(|one| one.error != 0).count();
        assert!(refused > 10, "seed {seed} is too peaceful: {refused}");
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_records_are_in_order_and_those_that_are_there_twice_are_counted() {
    let mut twice = 0;
    for seed in 1..=6 {
        let running = chaos(seed, false).await;
        let total = running.total();
        assert_eq!((total.acknowledged, total.failed.len()), (ALL, 0));
        let log = running.cluster.state().log.clone();
        let records: usize = log.values().map(Vec::len).sum();
        for keys in log.into_values() {
            // A batch that is there again follows itself.
            let mut next = 0;
            for key in &keys {
                assert!(*key <= next, "seed {seed}: {key} is there before {next}");
                next = next.max(key + 1);
            }
            assert_eq!(next, RECORDS);
            // So nothing goes back further than a batch.
            assert!(keys.windows(2).all(|pair| pair[1] + 60 > pair[0]), "seed {seed}");
        }
        // A batch may be there three times, and was then perhaps there twice.
        let more = records - ALL as usize;
        assert!(more == 0 || total.perhaps_twice > 0, "seed {seed}: {more}");
        twice += more;
        running.close().await;
    }
    assert!(twice > 0, "no answer was lost");
}

#[tokio::test(start_paused = true)]
async fn numbers_follow_each_other_and_stay_with_their_batches() {
    let mut batches = 0;
    let cluster = Cluster::new(1, 1, move |_| {
        batches += 1;
        match batches {
            4 => Reply::error(19),
            9 => Reply::OK.then(Then::HangUp),
            _ => Reply::after(millis(5)),
        }
    });
    let running = Running::new(cluster, Config { idempotent: true, ..config() });
    let topic = running.topic().await;
    let mut start = 0;
    for records in 1..=12 {
        running.producer.send_packed(&topic, vec![packed(0, start..start + records)]);
        start += records;
    }
    running.flush().await;
    running.assert_all_acknowledged(78);
    running.assert_each_once(1, 78);
    let seen = running.cluster.seen();
    assert!(seen.len() > 12 + 4, "{}", seen.len());
    for one in &seen {
        assert_eq!(one.sequence as usize, one.keys[0]);
    }
    running.close().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_batches_are_in_flight_than_keep_their_order() {
    for (idempotent, max_in_flight, expected) in
        [(false, 20, 1), (true, 20, 5), (true, 3, 3), (true, 1, 1)]
    {
        let cluster = Cluster::new(1, 1, |_| Reply::after(millis(100)));
        let config = Config { idempotent, max_in_flight, max_request_bytes: 1, ..config() };
        let running = Running::new(cluster.clone(), config);
        let topic = running.topic().await;
        for key in 0..30 {
            running.producer.send_packed(&topic, vec![packed(0, key..key + 1)]);
        }
        running.seen(1).await;
        sleep(millis(50)).await;
        // Brokers take any number first.
        assert_eq!(cluster.state().most_in_flight, 1);
        running.flush().await;
        running.assert_each_once(1, 30);
        assert_eq!(cluster.state().most_in_flight, expected);
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_gets_nothing_while_the_old_one_has_something_to_answer() {
    for idempotent in [false, true] {
        let mut batches = 0;
        let cluster = Cluster::new(2, 1, move |seen| {
            batches += 1;
            if seen.node == 0 && batches > 1 { Reply::after(millis(1_000)) } else { Reply::OK }
        });
        let running = Running::new(cluster.clone(), Config { idempotent, ..config() });
        let topic = running.warm(1).await;
        let began = Instant::now();
        running.producer.send_packed(&topic, vec![packed(0, 1..2)]);
        running.seen(2).await;
        cluster.state().leaders[0] = 1;
        // Makes the sender learn of it.
        running.producer.find(&["other".into()], Duration::ZERO).unwrap();
        for key in 2..10 {
            running.producer.send_packed(&topic, vec![packed(0, key..key + 1)]);
        }
        running.flush().await;
        running.assert_each_once(1, 10);
        let later: Vec<_> = cluster.seen().into_iter().filter(|one| one.node == 1).collect();
        assert_eq!(later.len(), 8);
        assert!(later[0].at - began >= millis(1_000), "{:?}", later[0].at - began);
        running.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_take_turns() {
    for idempotent in [false, true] {
        for max_in_flight in 1..=5 {
            let cluster = Cluster::new(1, 4, |_| Reply::after(millis(10)));
            let config = Config { idempotent, max_in_flight, max_request_bytes: 1, ..config() };
            let running = Running::new(cluster.clone(), config);
            let topic = running.topic().await;
            for partition in 0..4 {
                for key in 0..20 {
                    running.producer.send_packed(&topic, vec![packed(partition, key..key + 1)]);
                }
            }
            running.flush().await;
            running.assert_each_once(4, 20);
            let mut done = [0_i32; 4];
            for one in cluster.seen() {
                done[one.partition as usize] += 1;
                let (least, most) = (done.iter().min().unwrap(), done.iter().max().unwrap());
                assert!(most - least <= 2, "{idempotent} {max_in_flight}: {done:?}");
            }
            running.close().await;
        }
    }
}
