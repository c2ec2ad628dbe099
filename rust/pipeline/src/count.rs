//! Events counted by several threads, as those of each customer are counted alone.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use datagen_core::batch::Bank;
use datagen_core::catalog::Relation;
use datagen_core::error::Error;

/// Customers whose events are counted by a thread before it takes others.
const AT_ONCE: u64 = 1_000;

/// How many events of a stream belong to these customers, by so many threads at the most, of which the calling one is one.
///
/// # Errors
/// [`Error::OutOfRange`] for a table, and for a range that is not within the plan's customers.
pub fn count(
    bank: &Bank,
    stream: &'static Relation,
    customers: Range<u64>,
    threads: usize,
) -> Result<u64, Error> {
    bank.check_stream(stream, &customers)?;
    let next = AtomicU64::new(customers.start);
    let work = || -> Result<u64, Error> {
        let mut rows = 0;
        loop {
            let first = next.fetch_add(AT_ONCE, Ordering::Relaxed);
            if first >= customers.end {
                return Ok(rows);
            }
            rows += bank.rows(stream, first..customers.end.min(first + AT_ONCE))?;
        }
    };
    let parts = (customers.end - customers.start).div_ceil(AT_ONCE);
    let more = parts.min(threads as u64).saturating_sub(1);
    thread::scope(|scope| {
        let start = || thread::Builder::new().name("datagen-count".to_owned());
        // One that cannot be started leaves the work to the others.
        let started: Vec<_> =
            (0..more).filter_map(|_| start().spawn_scoped(scope, work).ok()).collect();
        let own = work();
        let others = started.into_iter().map(|one| one.join().unwrap_or_else(|e| resume_unwind(e)));
        others.chain([own]).sum()
    })
}
