//! What callers and the sender both see: counts, room, topics, and batches that are being filled.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use datagen_core::encode::kafka::{Codec, Packed, Packer};
use tokio::time::Instant;

use crate::Batching;
use crate::config::Config;
use crate::error::{Error, Local};
use crate::line::Fate;
use crate::report::Tally;

pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Records and bytes from which on callers have to wait.
    room: (usize, usize),
    packing: Mutex<Packing>,
}

#[derive(Default)]
struct State {
    /// Records whose fate is not known.
    records: usize,
    /// Bytes of batches whose fate is not known.
    bytes: usize,
    tallies: BTreeMap<(Arc<str>, i32), Tally>,
    topics: BTreeMap<Arc<str>, Result<u32, Error>>,
    /// Whether a record has failed.
    has_failed: bool,
    failure: Option<Error>,
    trouble: Option<String>,
    /// Why a record will never be taken, and what to do about it.
    rejection: Option<String>,
    /// The longest batch that a topic takes, where it is short.
    limits: BTreeMap<Arc<str>, usize>,
    /// Brokers that are to be reached and are not, once it is known.
    unreached: Option<Vec<Error>>,
    /// When something was acknowledged last, or a broker will want to be sent to again.
    progress: Option<Instant>,
}

/// Batches of each topic.
pub(crate) type Lingered = Vec<(Arc<str>, Vec<Packed>)>;

struct Packing {
    batch_size: usize,
    codec: Codec,
    linger: Duration,
    topics: BTreeMap<Arc<str>, Filling>,
}

/// The batches of a topic that are not full, and when each was begun.
struct Filling {
    packer: Packer,
    begun: Vec<Option<Instant>>,
}

impl Shared {
    pub(crate) fn new(config: &Config, batching: Batching) -> Self {
        let Batching { size: batch_size, codec } = batching;
        let packing = Packing { batch_size, codec, linger: config.linger, topics: BTreeMap::new() };
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            room: (config.queue_records, config.queue_bytes),
            packing: Mutex::new(packing),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with this lock")
    }

    fn packing(&self) -> MutexGuard<'_, Packing> {
        self.packing.lock().expect("nobody panics with this lock")
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
            state = self.changed.wait_timeout(state, left).expect("nobody panics").0;
        }
    }

    // --- by callers

    pub(crate) fn partitions(&self, topic: &str, until: Instant) -> Option<Result<u32, Error>> {
        self.wait(until, |state| match &state.failure {
            Some(error) => Some(Err(error.clone())),
            None => state.topics.get(topic).cloned(),
        })
    }

    /// Whether there is room for more, or no point in waiting for it.
    pub(crate) fn wait_for_room(&self, until: Instant) -> bool {
        let may_go_on =
            |state: &State| (self.has_room(state) || state.failure.is_some()).then_some(());
        self.wait(until, may_go_on).is_some()
    }

    const fn has_room(&self, state: &State) -> bool {
        state.records < self.room.0 && state.bytes < self.room.1
    }

    /// Whether there is room for more even if so much were handed over already.
    pub(crate) fn has_room_beside(&self, records: usize, bytes: usize) -> bool {
        let state = self.state();
        state.records + records < self.room.0 && state.bytes + bytes < self.room.1
    }

    /// Whether the fate of all that was handed over is known.
    pub(crate) fn wait_until_settled(&self, until: Instant) -> bool {
        let settled = |state: &State| (state.records == 0 || state.failure.is_some()).then_some(());
        self.wait(until, settled).is_some()
    }

    /// Counts records that are handed over, by partition.
    pub(crate) fn attempt(&self, topic: &Arc<str>, records: impl Iterator<Item = (u32, usize)>) {
        let mut state = self.state();
        for (partition, records) in records {
            state.records += records;
            let place = (Arc::clone(topic), partition as i32);
            state.tallies.entry(place).or_default().attempted += records as u64;
        }
    }

    /// Counts the bytes of batches that are to be sent.
    pub(crate) fn queue(&self, batches: &[Packed]) {
        self.state().bytes += batches.iter().map(|packed| packed.bytes.len()).sum::<usize>();
    }

    pub(crate) fn report(&self) -> Vec<(Arc<str>, i32, Tally)> {
        let state = self.state();
        let all = state.tallies.iter();
        all.map(|((topic, partition), tally)| (Arc::clone(topic), *partition, tally.clone()))
            .collect()
    }

    pub(crate) fn failure(&self) -> Option<Error> {
        self.state().failure.clone()
    }

    pub(crate) fn has_failures(&self) -> bool {
        let state = self.state();
        state.has_failed || state.failure.is_some()
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        let state = self.state();
        state.rejection.as_ref().or(state.trouble.as_ref()).cloned()
    }

    /// When something was acknowledged last; later than now if a broker has asked for a pause.
    pub(crate) fn last_progress(&self) -> Option<Instant> {
        self.state().progress
    }

    /// The longest batch that a topic takes, as far as is known.
    pub(crate) fn most(&self, topic: &str) -> usize {
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

    /// Packs, and hands over what is full while nobody else can pack: so batches keep their order.
    pub(crate) fn pack(
        &self,
        topic: &Arc<str>,
        partitions: u32,
        pack: impl FnOnce(&mut Packer, &mut Vec<Packed>),
        hand_over: impl FnOnce(Vec<Packed>),
    ) -> Option<Instant> {
        let most = self.most(topic);
        let mut packing = self.packing();
        let Packing { batch_size, codec, linger, topics } = &mut *packing;
        let filling = topics.entry(Arc::clone(topic)).or_insert_with(|| Filling {
            packer: Packer::new(partitions, *batch_size, *codec),
            begun: vec![None; partitions as usize],
        });
        let mut out = Vec::new();
        filling.packer.set_most(most);
        pack(&mut filling.packer, &mut out);
        if linger.is_zero() {
            filling.finish(|_| true, &mut out);
        }
        let now = Instant::now();
        for packed in &out {
            filling.begun[packed.partition as usize] = None;
        }
        let mut next = None;
        for (partition, begun) in (0..).zip(&mut filling.begun) {
            if filling.packer.holds(partition) {
                next = Some(*begun.get_or_insert(now) + *linger).min(next.or(Some(now + *linger)));
            }
        }
        hand_over(out);
        next
    }

    /// Hands over every batch that is not full.
    pub(crate) fn finish_all(&self, mut hand_over: impl FnMut(&Arc<str>, Vec<Packed>)) {
        for (topic, filling) in &mut self.packing().topics {
            let mut out = Vec::new();
            filling.finish(|_| true, &mut out);
            hand_over(topic, out);
        }
    }

    // --- by the sender

    /// Batches that have waited long enough by now, and when the next will have; nothing while
    /// somebody else packs. `older` is called when nobody can, and before they are taken.
    pub(crate) fn linger(
        &self,
        now: Instant,
        older: impl FnOnce(),
    ) -> Option<(Lingered, Option<Instant>)> {
        let mut packing = self.packing.try_lock().ok()?;
        older();
        let Packing { linger, topics, .. } = &mut *packing;
        let mut all = Vec::new();
        for (topic, filling) in topics.iter_mut() {
            let mut out = Vec::new();
            filling.finish(|begun| begun.is_some_and(|begun| begun + *linger <= now), &mut out);
            self.queue(&out);
            all.push((Arc::clone(topic), out));
        }
        let begun = topics.values().flat_map(|filling| &filling.begun).flatten();
        let next = begun.min().map(|begun| *begun + *linger);
        Some((all, next))
    }

    pub(crate) fn settle(&self, topic: &Arc<str>, partition: i32, fate: &Fate) {
        let mut state = self.state();
        let was_full = !self.has_room(&state);
        let mut acknowledged = false;
        let tally = state.tallies.entry((Arc::clone(topic), partition)).or_default();
        let (records, bytes) = match *fate {
            Fate::Acknowledged { records, bytes, perhaps_twice } => {
                acknowledged = true;
                tally.acknowledged += records as u64;
                tally.perhaps_twice += if perhaps_twice { records as u64 } else { 0 };
                (records, bytes)
            }
            Fate::Failed { records, bytes, code, perhaps_arrived } => {
                *tally.failed.entry(code).or_default() += records as u64;
                tally.perhaps_arrived += if perhaps_arrived { records as u64 } else { 0 };
                state.has_failed = true;
                (records, bytes)
            }
        };
        if acknowledged {
            state.progress = state.progress.max(Some(Instant::now()));
        }
        state.records -= records;
        state.bytes -= bytes;
        // Nothing else is waited for, and to be woken by each batch costs more than the batch.
        if state.records == 0 || (was_full && self.has_room(&state)) {
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

    /// A broker is alive, and wants to be left alone for so long.
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

    /// Something that may pass.
    pub(crate) fn note(&self, trouble: String) {
        self.state().trouble = Some(trouble);
    }
}

impl Filling {
    fn finish(&mut self, which: impl Fn(Option<Instant>) -> bool, out: &mut Vec<Packed>) {
        for (partition, begun) in (0..).zip(&mut self.begun) {
            if which(*begun) {
                *begun = None;
                self.packer.finish(partition, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::Acks;

    /// Longer than any wake-up takes, and not too long for a test that fails.
    const LIMIT: Duration = Duration::from_secs(20);

    fn with_room_for(queue_records: usize, queue_bytes: usize) -> Shared {
        let config = Config {
            bootstrap: Vec::new(),
            client_id: String::new(),
            acks: Acks::All,
            idempotent: true,
            retries: 0,
            retry_backoff: (LIMIT, LIMIT),
            request_timeout: LIMIT,
            delivery_timeout: LIMIT,
            linger: LIMIT,
            max_in_flight: 1,
            max_request_bytes: 1,
            queue_records,
            queue_bytes,
            tls: None,
            sasl: None,
        };
        Shared::new(&config, Batching { size: 1, codec: Codec::None })
    }

    fn hand_over(shared: &Shared, batches: usize, records: usize, bytes: usize) {
        for _ in 0..batches {
            shared.attempt(&"topic".into(), [(0, records)].into_iter());
            shared.queue(&[Packed { partition: 0, records, bytes: vec![0; bytes] }]);
        }
    }

    fn acknowledge(shared: &Shared, records: usize, bytes: usize) {
        let fate = Fate::Acknowledged { records, bytes, perhaps_twice: false };
        shared.settle(&"topic".into(), 0, &fate);
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
    fn the_batch_that_makes_room_wakes_whoever_waits_for_it() {
        for (records, bytes) in [(10, 1_000_000), (1_000_000, 1_000)] {
            let shared = with_room_for(records, bytes);
            hand_over(&shared, 12, 1, 100);
            assert!(!shared.wait_for_room(Instant::now()));
            // At nine of twelve there is room; the first two acknowledgements leave it full.
            assert!(is_woken(&shared, Shared::wait_for_room, 3, (1, 100)));
        }
    }

    #[test]
    fn batches_that_make_no_room_wake_nobody() {
        let shared = with_room_for(10, 1_000_000);
        hand_over(&shared, 20, 1, 100);
        let looked = AtomicUsize::new(0);
        let wait = |shared: &Shared, until| {
            let has_room = |state: &State| {
                looked.fetch_add(1, Ordering::Relaxed);
                shared.has_room(state).then_some(())
            };
            shared.wait(until, has_room).is_some()
        };
        assert!(is_woken(&shared, wait, 11, (1, 100)));
        // Once before it slept, once when there was room, and the system may wake it for nothing.
        assert!(looked.into_inner() <= 4);
    }

    #[test]
    fn the_last_batch_wakes_whoever_waits_for_all() {
        let shared = with_room_for(10, 1_000);
        hand_over(&shared, 3, 1, 100);
        assert!(is_woken(&shared, Shared::wait_until_settled, 3, (1, 100)));
    }
}
