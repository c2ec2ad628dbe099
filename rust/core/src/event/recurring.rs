//! What comes back month after month: which events of an entity it is, and when.
//!
//! An event that is due takes the place of the one in whose part its instant lies. So there are as many
//! events as without, they stay in order, and each is still found by its number alone.

use super::History;
use super::timeline::Parts;
use crate::brazil::calendar::Month;

/// An event that is due at an instant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// Which of the things that come back it is; of two in one part the lower number comes.
    pub what: usize,
    /// When.
    pub time: i64,
}

/// The events of an entity that are due, in order. There are many such lists in memory at a time.
#[derive(Debug, Clone)]
pub(super) struct Dues {
    all: Box<[Packed]>,
    /// How many have been passed, and the next, which is looked at for every event.
    passed: u32,
    next: Packed,
}

/// The number of the event in 16 bits (an entity has 5 084 at the most), which of the things it is in 8,
/// and the milliseconds since the start of the history in 40: in the order of the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Packed(u64);

impl Packed {
    /// Of no event.
    const NONE: Self = Self(u64::MAX);

    fn new(k: u32, what: usize, since_start: i64) -> Self {
        debug_assert!(k < 1 << 16 && what < 1 << 8 && since_start < 1 << 40);
        Self(u64::from(k) << 48 | (what as u64) << 40 | since_start as u64)
    }

    const fn k(self) -> u32 {
        (self.0 >> 48) as u32
    }

    const fn due(self, start: i64) -> Due {
        Due { what: (self.0 >> 40 & 0xFF) as usize, time: start + (self.0 & 0xFF_FFFF_FFFF) as i64 }
    }
}

impl Dues {
    /// The events that are due of an entity with `n` events; `instants` says for a month what comes back
    /// in it, and when.
    pub(super) fn new<I: IntoIterator<Item = (usize, i64)>>(
        history: &History,
        parts: &Parts<'_>,
        n: u32,
        instants: impl Fn(&Month) -> I,
    ) -> Self {
        let mut dues = Vec::new();
        if n > 0 {
            let plan = &history.context.plan;
            for month in &history.months {
                for (what, time) in instants(month) {
                    if (plan.start()..plan.as_of()).contains(&time) {
                        dues.push(Packed::new(parts.holding(time), what, time - plan.start()));
                    }
                }
            }
        }
        dues.sort_unstable();
        dues.dedup_by_key(|due| due.k());
        let mut dues = Self { all: dues.into_boxed_slice(), passed: 0, next: Packed::NONE };
        dues.pass_until(0);
        dues
    }

    /// What is due in the place of event `k`, where all before it were passed.
    #[inline]
    pub(super) fn at(&self, history: &History, k: u32) -> Option<Due> {
        (self.next.k() == k).then(|| self.next.due(history.context.plan.start()))
    }

    /// Passes what is due next.
    #[inline]
    pub(super) fn pass(&mut self) {
        self.passed += 1;
        self.next = self.all.get(self.passed as usize).copied().unwrap_or(Packed::NONE);
    }

    /// Passes, or comes back to, all before event `k`.
    pub(super) fn pass_until(&mut self, k: u32) {
        self.passed = self.all.partition_point(|due| due.k() < k) as u32;
        self.next = self.all.get(self.passed as usize).copied().unwrap_or(Packed::NONE);
    }
}
