//! Batches that are being filled, and how long each may wait for more records.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use datagen_core::encode::kafka::{Codec, Packed, Packer};
use tokio::time::Instant;

use crate::Batching;

pub(crate) struct Accumulator {
    batch_size: usize,
    codec: Codec,
    linger: Duration,
    topics: Mutex<BTreeMap<Arc<str>, Filling>>,
}

/// Batches of each topic that have waited long enough, and when the next will have.
pub(crate) type Lingered = (Vec<(Arc<str>, Vec<Packed>)>, Option<Instant>);

/// The batches of a topic that are not full, and when each was begun.
struct Filling {
    packer: Packer,
    begun: Vec<Option<Instant>>,
}

impl Accumulator {
    pub(crate) fn new(batching: Batching, linger: Duration) -> Self {
        let Batching { size: batch_size, codec } = batching;
        Self { batch_size, codec, linger, topics: Mutex::default() }
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Filling>> {
        self.topics.lock().expect("no panic with this lock")
    }

    /// Packs, and hands over full batches before another caller can pack: so they keep their order.
    /// The moment at which the first of the others has waited long enough.
    pub(crate) fn pack(
        &self,
        topic: &Arc<str>,
        partitions: u32,
        max_batch_bytes: usize,
        pack: impl FnOnce(&mut Packer, &mut Vec<Packed>),
        hand_over: impl FnOnce(Vec<Packed>),
    ) -> Option<Instant> {
        let mut topics = self.topics();
        let filling = topics.entry(Arc::clone(topic)).or_insert_with(|| Filling {
            packer: Packer::new(partitions, self.batch_size, self.codec),
            begun: vec![None; partitions as usize],
        });
        let mut out = Vec::new();
        filling.packer.set_most(max_batch_bytes);
        pack(&mut filling.packer, &mut out);
        if self.linger.is_zero() {
            filling.finish(|_| true, &mut out);
        }
        let now = Instant::now();
        for packed in &out {
            filling.begun[packed.partition as usize] = None;
        }
        let mut next = None;
        for (partition, begun) in (0..).zip(&mut filling.begun) {
            if filling.packer.holds(partition) {
                let due = *begun.get_or_insert(now) + self.linger;
                next = Some(next.map_or(due, |next| due.min(next)));
            }
        }
        hand_over(out);
        next
    }

    /// Hands over every batch that is not full.
    pub(crate) fn finish_all(&self, mut hand_over: impl FnMut(&Arc<str>, Vec<Packed>)) {
        for (topic, filling) in self.topics().iter_mut() {
            let mut out = Vec::new();
            filling.finish(|_| true, &mut out);
            hand_over(topic, out);
        }
    }

    /// Takes batches that have waited long enough by now; `None` while a caller packs. `before` runs
    /// while none can pack and before they are taken.
    pub(crate) fn lingered(&self, now: Instant, before: impl FnOnce()) -> Option<Lingered> {
        let mut topics = self.topics.try_lock().ok()?;
        before();
        let mut all = Vec::new();
        for (topic, filling) in topics.iter_mut() {
            let mut out = Vec::new();
            filling.finish(|begun| begun.is_some_and(|begun| begun + self.linger <= now), &mut out);
            all.push((Arc::clone(topic), out));
        }
        let begun = topics.values().flat_map(|filling| &filling.begun).flatten();
        let next = begun.min().map(|begun| *begun + self.linger);
        Some((all, next))
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
