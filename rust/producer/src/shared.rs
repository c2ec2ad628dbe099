//! The state that callers and the sender share: counts, capacity, topics and errors.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use datagen_core::encode::kafka::Packed;
use tokio::time::Instant;

use crate::Batching;
use crate::accumulator::Accumulator;
use crate::config::Config;
use crate::delivery::{Delivery, DeliveryOutcome, Tally, TopicPartition};
use crate::error::{Error, Local};

pub(crate) struct Shared {
    pub(crate) accumulator: Accumulator,
    state: Mutex<State>,
    changed: Condvar,
    /// Records and bytes from which on callers have to wait.
    capacity: (usize, usize),
}

#[derive(Default)]
struct State {
    /// Records whose outcome is not known.
    records: usize,
    /// Bytes of batches whose outcome is not known.
    bytes: usize,
    tallies: BTreeMap<TopicPartition, Tally>,
    topics: BTreeMap<Arc<str>, Result<u32, Error>>,
    /// Whether a record has failed.
    has_failed: bool,
    failure: Option<Error>,
    last_error: Option<String>,
    /// Why a record will never be taken, and what to do about it.
    rejection: Option<String>,
    /// The longest batch that a topic takes, where it is short.
    limits: BTreeMap<Arc<str>, usize>,
    /// Brokers that are to be reached and are not, once it is known.
    unreached: Option<Vec<Error>>,
    /// When something was acknowledged last, or a broker will want to be sent to again.
    progress: Option<Instant>,
}

impl Shared {
    pub(crate) fn new(config: &Config, batching: Batching) -> Self {
        Self {
            accumulator: Accumulator::new(batching, config.linger),
            state: Mutex::default(),
            changed: Condvar::new(),
            capacity: (config.queue_records, config.queue_bytes),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic with this lock")
    }

    /// Waits until `found` finds something in the state, or until the time is over.
    fn wait<T>(&self, until: Instant, found: impl Fn(&State) -> Option<T>) -> Option<T> {
        let mut state = self.state();
        loop {
            if let Some(found) = found(&state) {
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).expect("no panic with this lock").0;
        }
    }

    // --- by callers

    pub(crate) fn partitions(&self, topic: &str, until: Instant) -> Option<Result<u32, Error>> {
        self.wait(until, |state| match &state.failure {
            Some(error) => Some(Err(error.clone())),
            None => state.topics.get(topic).cloned(),
        })
    }

    /// Whether the queue takes more, or waiting for that is pointless.
    pub(crate) fn wait_for_capacity(&self, until: Instant) -> bool {
        let may_go_on =
            |state: &State| (self.has_capacity(state) || state.failure.is_some()).then_some(());
        self.wait(until, may_go_on).is_some()
    }

    const fn has_capacity(&self, state: &State) -> bool {
        state.records < self.capacity.0 && state.bytes < self.capacity.1
    }

    /// Whether the queue would take more even with so much in it besides.
    pub(crate) fn has_capacity_beside(&self, records: usize, bytes: usize) -> bool {
        let state = self.state();
        state.records + records < self.capacity.0 && state.bytes + bytes < self.capacity.1
    }

    /// Whether the outcome of all that was handed over is known.
    pub(crate) fn wait_until_settled(&self, until: Instant) -> bool {
        let settled = |state: &State| (state.records == 0 || state.failure.is_some()).then_some(());
        self.wait(until, settled).is_some()
    }

    /// Counts records that are handed over, by partition.
    pub(crate) fn attempt(&self, topic: &Arc<str>, records: impl Iterator<Item = (u32, usize)>) {
        let mut state = self.state();
        for (partition, records) in records {
            state.records += records;
            let (topic, partition) = (Arc::clone(topic), partition as i32);
            let tally = state.tallies.entry(TopicPartition { topic, partition }).or_default();
            tally.attempted += records as u64;
        }
    }

    /// Counts the bytes of batches that are to be sent.
    pub(crate) fn queue(&self, batches: &[Packed]) {
        self.state().bytes += batches.iter().map(|packed| packed.bytes.len()).sum::<usize>();
    }

    pub(crate) fn report(&self) -> Vec<(Arc<str>, i32, Tally)> {
        let state = self.state();
        let all = state.tallies.iter();
        all.map(|(of, tally)| (Arc::clone(&of.topic), of.partition, tally.clone())).collect()
    }

    pub(crate) fn failure(&self) -> Option<Error> {
        self.state().failure.clone()
    }

    pub(crate) fn has_failures(&self) -> bool {
        let state = self.state();
        state.has_failed || state.failure.is_some()
    }

    /// What last went wrong; first of all a record that will never be taken.
    pub(crate) fn last_error(&self) -> Option<String> {
        let state = self.state();
        state.rejection.as_ref().or(state.last_error.as_ref()).cloned()
    }

    /// When something was acknowledged last; later than now if a broker has asked for a pause.
    pub(crate) fn last_progress(&self) -> Option<Instant> {
        self.state().progress
    }

    /// The longest batch that a topic takes, as far as is known.
    pub(crate) fn max_batch_bytes(&self, topic: &str) -> usize {
        self.state().limits.get(topic).copied().unwrap_or(usize::MAX)
    }

    /// Waits until it is known which brokers are not reached: none, or those after so long.
    pub(crate) fn wait_until_reached(&self, until: Instant) -> Result<Vec<Error>, Error> {
        let reached = |state: &State| match (&state.failure, &state.unreached) {
            (Some(error), _) => Some(Err(error.clone())),
            (None, Some(unreached)) if unreached.is_empty() => Some(Ok(Vec::new())),
            _ => None,
        };
        self.wait(until, reached).unwrap_or_else(|| {
            let nothing = || vec![Error::new(Local::TimedOut, "no leader is known yet")];
            Ok(self.state().unreached.clone().unwrap_or_else(nothing))
        })
    }

    pub(crate) fn forget_unreached(&self) {
        self.state().unreached = None;
    }

    // --- by the sender

    /// Counts a delivery of a partition.
    pub(crate) fn settle(&self, of: &TopicPartition, delivery: &Delivery) {
        let mut state = self.state();
        let was_full = !self.has_capacity(&state);
        state.tallies.entry(of.clone()).or_default().add(delivery);
        match delivery.outcome {
            DeliveryOutcome::Failed { .. } => state.has_failed = true,
            DeliveryOutcome::Acknowledged { .. } => {
                state.progress = state.progress.max(Some(Instant::now()));
            }
        }
        state.records -= delivery.records;
        state.bytes -= delivery.bytes;
        // Callers wait for nothing else, and to wake them for each batch costs more than the batch.
        if state.records == 0 || (was_full && self.has_capacity(&state)) {
            self.changed.notify_all();
        }
    }

    pub(crate) fn found(&self, topic: &Arc<str>, partitions: u32) {
        self.state().topics.insert(Arc::clone(topic), Ok(partitions));
        self.changed.notify_all();
    }

    /// There is no way to send to a topic.
    pub(crate) fn refused(&self, topic: &Arc<str>, error: Error) {
        self.state().topics.insert(Arc::clone(topic), Err(error));
        self.changed.notify_all();
    }

    /// There is no way to send anything.
    pub(crate) fn fail(&self, error: Error) {
        self.state().failure.get_or_insert(error);
        self.changed.notify_all();
    }

    /// A broker answers, and asks for a pause of this length.
    pub(crate) fn progress(&self, throttle: Duration) {
        let mut state = self.state();
        state.progress = state.progress.max(Some(Instant::now() + throttle));
    }

    /// A topic takes no batch that is longer.
    pub(crate) fn limit(&self, topic: &Arc<str>, most: usize) {
        let mut state = self.state();
        let limit = state.limits.entry(Arc::clone(topic)).or_insert(most);
        *limit = most.min(*limit);
    }

    /// Which brokers are not reached, of those that are to be.
    pub(crate) fn unreached(&self, unreached: Vec<Error>) {
        let reached = unreached.is_empty();
        self.state().unreached = Some(unreached);
        if reached {
            self.changed.notify_all();
        }
    }

    /// A record will never be taken.
    pub(crate) fn rejected(&self, why: String) {
        self.state().rejection.get_or_insert(why);
    }

    /// Something went wrong that may pass.
    pub(crate) fn note(&self, error: String) {
        self.state().last_error = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use datagen_core::encode::kafka::Codec;

    use super::*;
    use crate::tests::config;

    /// Longer than any wake-up takes, and not too long for a test that fails.
    const LIMIT: Duration = Duration::from_secs(20);

    fn with_capacity(queue_records: usize, queue_bytes: usize) -> Shared {
        let config = Config { queue_records, queue_bytes, ..config() };
        Shared::new(&config, Batching { size: 1, codec: Codec::None })
    }

    fn hand_over(shared: &Shared, batches: usize, records: usize, bytes: usize) {
        for _ in 0..batches {
            shared.attempt(&"topic".into(), [(0, records)].into_iter());
            shared.queue(&[Packed { partition: 0, records, bytes: vec![0; bytes] }]);
        }
    }

    fn acknowledge(shared: &Shared, records: usize, bytes: usize) {
        let outcome = DeliveryOutcome::Acknowledged { perhaps_twice: false };
        let of = TopicPartition { topic: "topic".into(), partition: 0 };
        shared.settle(&of, &Delivery { records, bytes, outcome });
    }

    /// Whether `wait` comes back by itself while `batches` are acknowledged.
    fn is_woken(
        shared: &Shared,
        wait: impl Fn(&Shared, Instant) -> bool + Send,
        batches: usize,
        (records, bytes): (usize, usize),
    ) -> bool {
        thread::scope(|scope| {
            let began = Instant::now();
            let waiting = scope.spawn(move || wait(shared, began + LIMIT));
            thread::sleep(Duration::from_millis(50));
            for _ in 0..batches {
                assert!(!waiting.is_finished(), "it came back too early");
                acknowledge(shared, records, bytes);
                thread::sleep(Duration::from_millis(5));
            }
            waiting.join().expect("no panic") && began.elapsed() < LIMIT
        })
    }

    #[test]
    fn the_batch_that_frees_capacity_wakes_those_that_wait_for_it() {
        for (records, bytes) in [(10, 1_000_000), (1_000_000, 1_000)] {
            let shared = with_capacity(records, bytes);
            hand_over(&shared, 12, 1, 100);
            assert!(!shared.wait_for_capacity(Instant::now()));
            // At nine of twelve there is capacity; the first two acknowledgements leave it full.
            assert!(is_woken(&shared, Shared::wait_for_capacity, 3, (1, 100)));
        }
    }

    #[test]
    fn batches_that_free_no_capacity_wake_none() {
        let shared = with_capacity(10, 1_000_000);
        hand_over(&shared, 20, 1, 100);
        let looked = AtomicUsize::new(0);
        let wait = |shared: &Shared, until| {
            let has_capacity = |state: &State| {
                looked.fetch_add(1, Ordering::Relaxed);
                shared.has_capacity(state).then_some(())
            };
            shared.wait(until, has_capacity).is_some()
        };
        assert!(is_woken(&shared, wait, 11, (1, 100)));
        // Once before it slept, once when there was capacity, and the system may wake it for nothing.
        assert!(looked.into_inner() <= 4);
    }

    #[test]
    fn the_last_batch_wakes_those_that_wait_for_all() {
        let shared = with_capacity(10, 1_000);
        hand_over(&shared, 3, 1, 100);
        assert!(is_woken(&shared, Shared::wait_until_settled, 3, (1, 100)));
    }
}
