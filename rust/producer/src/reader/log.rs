//! A part of a log, as a broker sends it: which of its batches count.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use datagen_core::encode::kafka::{Flaw, Marker, StoredBatch};

use crate::answer::Part;

/// What a part of a log has.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Batches with records that count.
    pub(super) batches: Vec<Bytes>,
    /// Offsets that cannot be read, and why.
    pub(super) flaws: Vec<(Range<i64>, Flaw)>,
    /// Where to read on.
    pub(super) next: i64,
    /// Whether a batch was cut off that is needed.
    pub(super) cut: bool,
}

/// Goes through what a partition had from `next` on, up to `end`. With `committed`, records of transactions that were given
/// up are left out, as the broker names them (KIP-98).
///
/// # Errors
/// Where the log cannot be followed any more.
pub(super) fn walk(part: &Part, next: i64, end: i64, committed: bool) -> Result<Found, Flaw> {
    let mut found = Found { next, ..Found::default() };
    // By first offset, the last ones first.
    let mut aborted = part.aborted.clone();
    aborted.sort_by_key(|(_, first)| std::cmp::Reverse(*first));
    let mut aborting = BTreeSet::new();
    let mut left = &part.records[..];
    while found.next < end {
        let batch = match StoredBatch::take(&mut left) {
            Ok(Some(batch)) => batch,
            Ok(None) => {
                found.cut = !left.is_empty();
                break;
            }
            Err((flaw @ Flaw::Format(_), last)) => {
                if last >= found.next {
                    found.flaws.push((found.next..last + 1, flaw));
                    found.next = last + 1;
                }
                continue;
            }
            Err((flaw, _)) => return Err(flaw),
        };
        let last = batch.last_offset();
        if last < batch.base_offset() {
            return Err(Flaw::Length);
        }
        while let Some((producer, first)) = aborted.last().copied()
            && first <= last
        {
            aborting.insert(producer);
            aborted.pop();
        }
        if batch.marker() == Some(Marker::Abort) {
            aborting.remove(&batch.producer_id());
        }
        let given_up =
            committed && batch.is_transactional() && aborting.contains(&batch.producer_id());
        // A broker begins with the batch that has the offset: before it there may be some that it has not.
        if last >= found.next {
            if !batch.is_control() && !given_up {
                found.batches.push(part.records.slice_ref(batch.bytes()));
            }
            found.next = last + 1;
        }
    }
    Ok(found)
}
