//! A reader beside a cluster in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::{Receiver, TryRecvError};

use datagen_core::encode::kafka::{Decompressor, Flaw};
use kafka_protocol::messages::ApiKey;
use tokio::sync::oneshot;

use super::cluster::{Cluster, NOT_LEADER, Reply};
use super::logs::Log;
use super::*;
use crate::reader::{Asked, Event, Fetcher, Span, Why, flawed};

const NOT_AUTHORIZED: i16 = 29;
const NO_ANSWER: i32 = -185;
const SILENCE: Duration = millis(10_000);

fn cluster(brokers: usize, logs: Vec<Log>) -> Cluster {
    let cluster = Cluster::new(brokers, logs.len(), |_| Reply::OK);
    cluster.state().logs = (0..).zip(logs).collect();
    cluster
}

/// A log of batches of ten records, as many as that.
fn log(batches: usize) -> Log {
    let mut log = Log::default();
    for _ in 0..batches {
        log.append(10);
    }
    log
}

fn log_of(make: impl FnOnce(&mut Log)) -> Log {
    let mut log = Log::default();
    make(&mut log);
    log
}

/// All partitions to the ends that they have.
fn asked(cluster: &Cluster, committed: bool) -> Asked {
    let state = cluster.state();
    let spans = state.logs.iter().map(|(partition, log)| Span {
        topic: TOPIC.into(),
        partition: *partition as u32,
        offsets: 0..log.end(),
    });
    Asked { spans: spans.collect(), committed, silence: SILENCE }
}

/// What was read.
#[derive(Debug, Default)]
struct Found {
    /// The offsets of each partition, which are the keys of its records too.
    offsets: BTreeMap<usize, Vec<i64>>,
    unread: Vec<(usize, Range<i64>, Why)>,
    outcome: Option<Result<(), Error>>,
}

impl Found {
    fn take(&mut self, events: &Receiver<Event>) {
        let mut room = Decompressor::default();
        loop {
            match events.try_recv() {
                Ok(Event::Block(block)) => {
                    for (batch, asked) in block.batches() {
                        let mut records = match batch.records(&mut room) {
                            Ok(records) => records,
                            Err(flaw) => {
                                let one = flawed(&block, &batch, flaw);
                                self.unread.push((one.span, one.offsets, one.why));
                                continue;
                            }
                        };
                        while let Some(record) = records.next().unwrap() {
                            let key = std::str::from_utf8(record.key.unwrap()).unwrap();
                            assert_eq!(key.parse::<i64>().unwrap(), record.offset);
                            if asked.contains(&record.offset) {
                                self.offsets.entry(block.span()).or_default().push(record.offset);
                            }
                        }
                    }
                }
                Ok(Event::Unread(one)) => self.unread.push((one.span, one.offsets, one.why)),
                Ok(Event::Ended(outcome)) => self.outcome = Some(outcome),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.outcome.as_ref().expect("an end that is told");
                    return;
                }
            }
        }
    }

    #[track_caller]
    fn is_whole(&self, partitions: usize, offsets: Range<i64>) {
        assert_eq!(self.outcome, Some(Ok(())));
        assert_eq!(self.unread, []);
        assert_eq!(self.offsets.len(), partitions);
        for found in self.offsets.values() {
            assert_eq!(*found, offsets.clone().collect::<Vec<_>>());
        }
    }
}

/// Reads to the end, and takes all that comes as it comes.
async fn read(cluster: &Cluster, asked: Asked) -> Found {
    let client = Client { bootstrap: cluster.state().brokers.clone(), ..client() };
    let (fetcher, events) = Fetcher::new(cluster.clone(), client, asked);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(fetcher.run(stopped));
    let mut found = Found::default();
    let began = Instant::now();
    while found.outcome.is_none() {
        found.take(&events);
        assert!(began.elapsed() < LIMIT, "it goes on for ever");
        sleep(TICK).await;
    }
    drop(stop);
    task.await.unwrap();
    found
}

#[tokio::test(start_paused = true)]
async fn all_partitions_of_several_brokers_are_read_once() {
    for brokers in [1, 3] {
        let cluster = cluster(brokers, (0..7).map(|_| log(50)).collect());
        read(&cluster, asked(&cluster, true)).await.is_whole(7, 0..500);
        assert!(cluster.state().fetches.len() <= 2 * brokers, "one request for all partitions");
    }
}

#[tokio::test(start_paused = true)]
async fn spans_begin_and_end_within_batches() {
    let cluster = cluster(1, vec![log(5), log(5), log(5)]);
    let mut asked = asked(&cluster, true);
    for (span, offsets) in asked.spans.iter_mut().zip([3..47, 20..21, 9..9]) {
        span.offsets = offsets;
    }
    let found = read(&cluster, asked).await;
    assert_eq!(found.outcome, Some(Ok(())));
    let wanted = [(0, (3..47).collect::<Vec<_>>()), (1, vec![20])];
    assert_eq!(found.offsets, wanted.into());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cuts_off_its_only_batch_is_asked_for_again_with_more_bytes() {
    let big = log_of(|log| {
        log.append(4_000).share = 8;
        log.append(10);
    });
    let cluster = cluster(1, vec![big, log(1)]);
    let found = read(&cluster, asked(&cluster, true)).await;
    assert_eq!(found.outcome, Some(Ok(())));
    assert_eq!(found.offsets[&0], (0..4_010).collect::<Vec<_>>());
    assert_eq!(cluster.state().fetches.len(), 3, "128, 256 and 512 KiB");
}

#[tokio::test(start_paused = true)]
async fn what_was_compacted_away_has_no_record() {
    let gaps = log_of(|log| {
        log.skip(100).append(5).skip(7).append(3).skip(1);
    });
    let cluster = cluster(1, vec![gaps]);
    let found = read(&cluster, asked(&cluster, true)).await;
    assert_eq!((found.outcome, found.unread), (Some(Ok(())), Vec::new()));
    assert_eq!(found.offsets[&0], (100..105).chain(112..115).collect::<Vec<_>>());
}

/// Two producers write by turns; one gives its first transaction up, and commits its second.
#[tokio::test(start_paused = true)]
async fn records_of_transactions_that_were_given_up_do_not_count() {
    let mut log = Log::default();
    log.append_in(1, 3); // 0 to 2, given up
    log.append_in(2, 2); // 3 and 4
    log.append_in(1, 1); // 5, given up
    log.append(2); // 6 and 7
    log.end_transaction(1, false); // 8
    log.append_in(1, 2); // 9 and 10
    log.end_transaction(2, true); // 11
    log.append_in(2, 1); // 12, given up
    log.end_transaction(1, true); // 13
    log.end_transaction(2, false); // 14
    log.aborted = vec![(2, 12), (1, 0)];
    let cluster = cluster(1, vec![log]);
    let found = read(&cluster, asked(&cluster, true)).await;
    assert_eq!((found.outcome, found.unread), (Some(Ok(())), Vec::new()));
    assert_eq!(found.offsets[&0], [3, 4, 6, 7, 9, 10]);
    // What was written is there, whatever became of it.
    let found = read(&cluster, asked(&cluster, false)).await;
    assert_eq!(found.offsets[&0], [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 12]);
}

#[tokio::test(start_paused = true)]
async fn behind_an_open_transaction_nothing_is_read_and_all_is_named() {
    let open = log_of(|log| {
        log.append(10).append_in(1, 5).append(10).last_stable = Some(10);
    });
    let cluster = cluster(1, vec![open, log(3)]);
    let began = Instant::now();
    let found = read(&cluster, asked(&cluster, true)).await;
    assert_eq!(found.outcome, Some(Ok(())));
    assert_eq!(found.unread, [(0, 10..25, Why::OpenTransaction)]);
    assert_eq!(found.offsets[&0], (0..10).collect::<Vec<_>>());
    assert_eq!(found.offsets[&1], (0..30).collect::<Vec<_>>());
    assert!(began.elapsed() < millis(1_000));
    let found = read(&cluster, asked(&cluster, false)).await;
    assert_eq!(found.offsets[&0], (0..25).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_lies_below_the_log_start_is_named() {
    let mut late = log(5);
    late.start = 23;
    let mut gone = log(5);
    gone.start = 50;
    let cluster = cluster(1, vec![late, gone, log(5)]);
    let mut found = read(&cluster, asked(&cluster, true)).await;
    assert_eq!(found.outcome, Some(Ok(())));
    found.unread.sort_by_key(|one| one.0);
    assert_eq!(found.unread, [(0, 0..23, Why::BelowLogStart), (1, 0..50, Why::BelowLogStart)]);
    assert_eq!(found.offsets[&0], (23..50).collect::<Vec<_>>());
    assert_eq!(found.offsets.get(&1), None);
    assert_eq!(found.offsets[&2], (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn batches_that_are_damaged_or_old_are_named_and_the_others_read() {
    let flawed = log_of(|log| {
        log.append(10).append(10).damage().append(10).append(10).set_format(1).append(10);
    });
    let cluster = cluster(1, vec![flawed]);
    let mut found = read(&cluster, asked(&cluster, true)).await;
    assert_eq!(found.outcome, Some(Ok(())));
    found.unread.sort_by_key(|one| one.1.start);
    assert_eq!(
        found.unread,
        [(0, 10..20, Why::Flaw(Flaw::Crc)), (0, 30..40, Why::Flaw(Flaw::Format(1)))]
    );
    assert_eq!(found.offsets[&0], (0..10).chain(20..30).chain(40..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn leaders_that_change_and_brokers_that_hang_up_are_gone_on_from() {
    let cluster = cluster(3, (0..6).map(|_| log(100)).collect());
    for log in cluster.state().logs.values_mut() {
        log.errors.extend([NOT_LEADER, 9, NOT_LEADER]);
    }
    cluster.state().down.insert(1);
    let moving = cluster.clone();
    tokio::spawn(async move {
        sleep(millis(2_500)).await;
        moving.state().leaders = vec![2, 0, 0, 2, 2, 0];
        moving.cut(2);
        sleep(millis(2_500)).await;
        moving.state().down.clear();
    });
    read(&cluster, asked(&cluster, true)).await.is_whole(6, 0..1_000);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_it_and_says_what_was_heard_last() {
    let cluster = cluster(2, vec![log(1), log(1)]);
    cluster.state().down.insert(1);
    let began = Instant::now();
    let found = read(&cluster, asked(&cluster, true)).await;
    assert_about(began.elapsed(), SILENCE);
    let error = found.outcome.unwrap().unwrap_err();
    assert_eq!(error.code, NO_ANSWER);
    assert!(error.text.starts_with("banking.trades partition 1 was not read from offset 0"));
    assert!(error.text.contains("broker-1:9092: connection refused"), "{error}");
    assert_eq!(found.offsets[&0], (0..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_shorter_than_was_asked_for_is_not_passed() {
    let cluster = cluster(1, vec![log(3)]);
    let mut asked = asked(&cluster, true);
    asked.spans[0].offsets.end = 31;
    let error = read(&cluster, asked.clone()).await.outcome.unwrap().unwrap_err();
    assert!(error.text.starts_with("banking.trades partition 0 was not read from offset 30"));
    asked.spans[0].offsets = 40..50;
    let error = read(&cluster, asked).await.outcome.unwrap().unwrap_err();
    assert!(error.text.starts_with("banking.trades partition 0 was not read from offset 40"));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_read_is_told_at_once() {
    let cluster = cluster(1, vec![log(3)]);
    cluster.state().logs.get_mut(&0).unwrap().errors.push_back(NOT_AUTHORIZED);
    let began = Instant::now();
    let error = read(&cluster, asked(&cluster, true)).await.outcome.unwrap().unwrap_err();
    assert_eq!(error.code, i32::from(NOT_AUTHORIZED));
    assert!(error.text.starts_with("banking.trades partition 0: "), "{error}");
    assert!(began.elapsed() < millis(200));
}

/// A caller that takes nothing has no more than so much made ready for it, and no time runs out.
#[tokio::test(start_paused = true)]
async fn a_slow_caller_is_waited_for() {
    const BATCHES: usize = 200;
    let wide = log_of(|log| {
        for _ in 0..BATCHES {
            log.append(4_000);
        }
    });
    let cluster = cluster(1, vec![wide]);
    let client = Client { bootstrap: cluster.state().brokers.clone(), ..client() };
    let (fetcher, events) = Fetcher::new(cluster.clone(), client, asked(&cluster, true));
    let (_stop, stopped) = oneshot::channel();
    let task = tokio::spawn(fetcher.run(stopped));
    sleep(3 * SILENCE).await;
    let fetches = cluster.state().fetches.len();
    assert!((60..80).contains(&fetches), "{fetches} answers of a MiB");
    let mut found = Found::default();
    while found.outcome.is_none() {
        found.take(&events);
        sleep(TICK).await;
    }
    task.await.unwrap();
    found.is_whole(1, 0..4_000 * BATCHES as i64);
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_once_when_the_caller_leaves() {
    let cluster = cluster(1, vec![log(3)]);
    cluster.state().deaf = true;
    let client = Client { bootstrap: cluster.state().brokers.clone(), ..client() };
    let (fetcher, events) = Fetcher::new(cluster.clone(), client, asked(&cluster, true));
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(fetcher.run(stopped));
    sleep(millis(500)).await;
    let began = Instant::now();
    drop(stop);
    task.await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(matches!(events.try_recv(), Err(TryRecvError::Disconnected)));
}

#[tokio::test(start_paused = true)]
async fn hostile_answers_end_no_process() {
    for key in [ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::Fetch] {
        for answer in [Vec::new(), vec![0xff; 64], vec![0x7f; 64], vec![0; 64]] {
            let cluster = cluster(1, vec![log(3)]);
            cluster.state().nonsense = Some((key, answer.clone()));
            let found = read(&cluster, asked(&cluster, true)).await;
            assert!(matches!(found.outcome, Some(Err(_))), "{key:?} {answer:x?}");
        }
    }
}
