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
    /// Whether others wait for more records.
    pub(crate) fn pack(
        &self,
        topic: &Arc<str>,
        partitions: u32,
        max_batch_bytes: usize,
        pack: impl FnOnce(&mut Packer, &mut Vec<Packed>),
        hand_over: impl FnOnce(Vec<Packed>),
    ) -> bool {
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
        for (partition, begun) in (0..).zip(&mut filling.begun) {
            if filling.packer.holds(partition) {
                begun.get_or_insert(now);
            }
        }
        hand_over(out);
        filling.begun.iter().any(Option::is_some)
    }

    /// Hands over every batch that is not full.
    pub(crate) fn finish_all(&self, hand_over: impl FnMut(&Arc<str>, Vec<Packed>)) {
        finish(&mut self.topics(), |_| true, hand_over);
    }

    /// Hands over batches that have waited long enough by now, and says when to look again.
    pub(crate) fn finish_lingered(
        &self,
        now: Instant,
        hand_over: impl FnMut(&Arc<str>, Vec<Packed>),
    ) -> Option<Instant> {
        let Ok(mut topics) = self.topics.try_lock() else {
            // A caller packs, and may fill these batches.
            return Some(now + Duration::from_millis(1));
        };
        let waited = |begun: Option<Instant>| begun.is_some_and(|begun| begun + self.linger <= now);
        finish(&mut topics, waited, hand_over);
        let begun = topics.values().flat_map(|filling| &filling.begun).flatten();
        begun.min().map(|begun| *begun + self.linger)
    }
}

fn finish(
    topics: &mut BTreeMap<Arc<str>, Filling>,
    which: impl Fn(Option<Instant>) -> bool,
    mut hand_over: impl FnMut(&Arc<str>, Vec<Packed>),
) {
    for (topic, filling) in topics {
        let mut out = Vec::new();
        filling.finish(&which, &mut out);
        if !out.is_empty() {
            hand_over(topic, out);
        }
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
