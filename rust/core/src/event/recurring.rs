//! What comes back month after month: which events of an entity it is, and when.
//!
//! An event that is due takes the place of the one in whose part its instant lies. So there are as many
//! events as without, they stay in order, and each is still found by its number alone.

use std::ops::Range;

use super::History;
use super::timeline::Parts;
use crate::brazil::calendar::Month;

/// An event that is due at an instant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// Number of the event.
    pub k: u32,
    /// Which of the things that come back it is; of two in one part the lower number comes.
    pub what: usize,
    /// When.
    pub time: i64,
}

/// The events that are due, in order, of an entity with `n` events; `instants` says for a month what
/// comes back in it, and when.
pub(super) fn dues<I: IntoIterator<Item = (usize, i64)>>(
    history: &History,
    parts: &Parts<'_>,
    n: u32,
    instants: impl Fn(&Month) -> I,
) -> Vec<Due> {
    let mut dues = Vec::new();
    if n == 0 {
        return dues;
    }
    let plan = &history.context.plan;
    for month in &history.months {
        for (what, time) in instants(month) {
            if (plan.start()..plan.as_of()).contains(&time) {
                dues.push(Due { k: parts.holding(time), what, time });
            }
        }
    }
    dues.sort_unstable_by_key(|due| (due.k, due.what));
    dues.dedup_by_key(|due| due.k);
    dues
}

/// Events in order, each with what is due in its place.
pub(super) fn with_dues(
    events: Range<u32>,
    dues: &[Due],
) -> impl Iterator<Item = (u32, Option<Due>)> + '_ {
    let before = dues.partition_point(|due| due.k < events.start);
    let mut dues = dues[before..].iter().copied().peekable();
    events.map(move |k| (k, dues.next_if(|due| due.k == k)))
}

/// What is due in the place of event `k`.
pub(super) fn due_at(dues: &[Due], k: u32) -> Option<Due> {
    dues.binary_search_by_key(&k, |due| due.k).ok().map(|found| dues[found])
}
