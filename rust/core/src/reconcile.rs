//! What a plan says of a table or topic, held against what is there.
//!
//! Each row is hashed, and the hashes are summed by bucket: the lowest bits of the row's id, which are as good as
//! random. What the plan has is added and what is there is subtracted, so that any order of either will do, and a
//! bucket that is not zero has a row that is missing, double, altered or misplaced. These buckets alone are gone
//! through once more, row by row. Memory is that of the buckets, and of as many rows as the caller allows.

mod content;
mod copied;
mod judge;
mod planned;
mod reading;
mod versions;

use std::ops::Range;
use std::sync::Arc;

use copied::Copy;
use judge::Seen;
pub use judge::{Judge, Judged, Valued, id_of};
pub use planned::rows_of;
use versions::{Said, Versions};

use crate::batch::Bank;
use crate::catalog::Relation;
use crate::encode::Format;
use crate::error::Error;
use crate::keys::KeyMap;

/// Buckets of a table or topic, a power of two.
const BUCKETS: usize = 1 << 16;

/// What rows are, where they are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Tuples of a table, as binary COPY has them.
    Tuples,
    /// Records of a topic.
    Records {
        /// How values are encoded, without the frame of a schema id.
        value: Format,
        /// Whether events have the six `CloudEvents` headers.
        cloudevents: bool,
        /// Whether a header says what the value is.
        content_type: bool,
        /// Whether records bear the time of their event.
        event_time: bool,
        /// Partitions by which keys are placed.
        partitions: u32,
        /// Whether event times never decrease within a partition.
        in_time: bool,
    },
}

/// A record of a topic.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970, or -1.
    pub timestamp: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; without Confluent's frame, where it has one.
    pub value: Option<&'a [u8]>,
    /// Names and values, in order.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// What is wrong with a row, or what keeps it from being judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The plan has it, and it is not there.
    Missing,
    /// It is there once more.
    Double,
    /// It is there with other values, another key or other headers.
    Altered,
    /// It is in another partition than its key's.
    Misplaced,
    /// It comes after a later one of its partition.
    Late,
    /// The plan does not have it: another producer's.
    Foreign,
    /// It is of customers of the same seed that were not asked about. This is no mistake.
    Elsewhere,
    /// It is of an instant that was not asked about. This is no mistake.
    Outside,
    /// It is a row as it was before its last change. This is no mistake.
    Earlier,
    /// It is there once more, as each shard may send it. This is no mistake.
    Copy,
}

impl Kind {
    /// All kinds, with their names.
    pub const ALL: [(&'static str, Self); 10] = [
        ("missing", Self::Missing),
        ("double", Self::Double),
        ("altered", Self::Altered),
        ("misplaced", Self::Misplaced),
        ("late", Self::Late),
        ("foreign", Self::Foreign),
        ("elsewhere", Self::Elsewhere),
        ("outside", Self::Outside),
        ("earlier", Self::Earlier),
        ("copies", Self::Copy),
    ];
}

/// A row by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// The id of the row, where it has one.
    pub id: Option<[u8; 16]>,
    /// The partition where it is, or where it should be.
    pub partition: Option<u32>,
    /// The offset where it is.
    pub offset: Option<i64>,
    /// Why, where the kind does not say enough.
    pub why: &'static str,
    /// What is there: the value of a record, or a tuple.
    pub found: Vec<u8>,
}

/// How many rows there are, and the sum of their hashes modulo 2^128, which no order changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Side {
    /// Rows.
    pub rows: u64,
    /// The sum of the hashes of what they hold, wherever they are.
    pub sum: u128,
}

impl Side {
    fn add(&mut self, content: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(content);
    }
}

/// A row by hash.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    id: u128,
    content: u128,
    partition: u32,
}

impl Row {
    fn bucket(&self) -> usize {
        self.id as usize & (BUCKETS - 1)
    }

    /// Its hash, where its partition counts.
    fn located(&self) -> u128 {
        let place =
            u128::from(self.partition).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        self.content ^ place
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// What is expected, less what was found.
    sum: u128,
    expected: u32,
    found: u32,
}

#[derive(Debug)]
struct Entry {
    content: u128,
    partition: u32,
    /// Whether it is there, in whatever way.
    seen: bool,
    /// How often it is there as it should be.
    right: u32,
}

/// Buckets that are gone through row by row.
#[derive(Debug)]
struct Exact {
    chosen: Vec<bool>,
    rows: KeyMap<Entry>,
}

/// One table or topic of a plan, and what is there of it.
#[derive(Debug)]
pub struct Reconciliation {
    judge: Arc<Judge>,
    show: usize,
    buckets: Vec<Bucket>,
    done: Vec<bool>,
    exact: Option<Exact>,
    /// Of a table that follows a stream.
    versions: Option<Versions>,
    /// How often a row may be there.
    copies: u32,
    expected: Side,
    found: Side,
    counts: [u64; Kind::ALL.len()],
    missing: Vec<u64>,
    findings: Vec<Finding>,
    last_times: Vec<i64>,
    /// Offsets of each partition from which on the order of time is not promised.
    in_time_until: Vec<i64>,
    copy: Copy,
}

impl Reconciliation {
    /// Nothing yet of a relation, of which some customers' rows, and of a stream the events of a span, are asked about.
    ///
    /// `show` is the most rows of each kind that are named.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for customers that the plan does not have.
    pub fn new(
        bank: &Bank,
        relation: &'static Relation,
        shape: Shape,
        customers: Range<u64>,
        span: Range<i64>,
        show: usize,
    ) -> Result<Self, Error> {
        let partitions = match shape {
            Shape::Tuples => 1,
            Shape::Records { partitions, .. } => partitions as usize,
        };
        Ok(Self {
            judge: Arc::new(Judge::new(bank, relation, shape, customers, span)?),
            show,
            buckets: vec![Bucket::default(); BUCKETS],
            done: vec![false; BUCKETS],
            exact: None,
            versions: None,
            copies: 1,
            expected: Side::default(),
            found: Side::default(),
            counts: [0; Kind::ALL.len()],
            missing: vec![0; partitions],
            findings: Vec::new(),
            last_times: vec![i64::MIN; partitions],
            in_time_until: vec![i64::MAX; partitions],
            copy: Copy::default(),
        })
    }

    /// Of a table that follows a stream, whose rows have a record for each of some changes: the span is that of the last
    /// changes which are asked about. All that is there comes first after each [`Self::next_exact`], then all versions
    /// and the last ones, and then [`Self::finish`].
    #[must_use]
    pub fn of_versions(self) -> Self {
        Self { versions: Some(Versions::default()), ..self }
    }

    /// Each row may be there so many times, as shards have reference rows each for itself.
    #[must_use]
    pub fn in_copies(self, copies: u32) -> Self {
        Self { copies, ..self }
    }

    /// What judges records and tuples by themselves, without the state that is here.
    pub const fn judge(&self) -> &Arc<Judge> {
        &self.judge
    }

    /// The order of time is promised only below an offset of a partition.
    pub fn in_time_below(&mut self, partition: u32, offset: i64) {
        if let Some(until) = self.in_time_until.get_mut(partition as usize) {
            *until = offset;
        }
    }

    /// Adds rows that the plan has.
    pub fn expect(&mut self, rows: &[Row]) {
        for row in rows {
            let bucket = row.bucket();
            match &mut self.exact {
                None => {
                    self.expected.add(row.content);
                    let bucket = &mut self.buckets[bucket];
                    bucket.sum = bucket.sum.wrapping_add(row.located());
                    bucket.expected += 1;
                }
                Some(exact) if exact.chosen[bucket] => {
                    let entry = Entry {
                        content: row.content,
                        partition: row.partition,
                        seen: false,
                        right: 0,
                    };
                    exact.rows.insert(row.id, entry);
                }
                Some(_) => {}
            }
        }
    }

    /// Adds versions of rows; `times` says since when each row is so.
    pub fn expect_versions(&mut self, rows: &[Row], times: &[i64]) {
        if let Some(versions) = &mut self.versions {
            versions.expect(rows, times);
        }
    }

    /// Adds the last versions of rows that were asked about.
    pub fn expect_last(&mut self, rows: &[Row], times: &[i64]) {
        let Some(versions) = &mut self.versions else { return };
        for (row, since) in rows.iter().zip(times) {
            if self.judge.is_asked_at(*since) && versions.expect_last(*row, *since) {
                self.expected.add(row.content);
            }
        }
    }

    /// Takes a record that is there, whose value is `found`, or a tuple; those of a partition in their order.
    pub fn find(&mut self, judged: &Judged, found: &[u8]) {
        let Judged { seen, id, place, .. } = *judged;
        if let (Seen::Ours { time: Some(time), .. }, (Some(partition), Some(offset)), None) =
            (seen, place, &self.exact)
            && let Some(last) = self.last_times.get_mut(partition as usize)
            && matches!(self.judge.shape(), Shape::Records { in_time: true, .. })
            && offset < self.in_time_until[partition as usize]
        {
            if time < *last && self.judge.is_asked_at(time) {
                self.note(Kind::Late, id, place, "", found);
            } else {
                *last = time;
            }
        }
        self.take(judged, found);
    }

    /// Takes bytes of a binary COPY, cut anywhere.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for bytes that are no COPY.
    pub fn find_copied(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let (judge, mut copy) = (Arc::clone(&self.judge), std::mem::take(&mut self.copy));
        let taken = copy.take(bytes, |tuple| self.take(&judge.tuple(tuple), tuple));
        self.copy = copy;
        taken
    }

    /// Chooses buckets to go through row by row, as many as have so many rows at the most, and one at least.
    /// False where there are none any more. All that is expected has to come once more, then all that is there, and then
    /// [`Self::finish`].
    pub fn next_exact(&mut self, rows: u64) -> bool {
        if let Some(versions) = &mut self.versions {
            return versions.next_share(rows);
        }
        let mut exact = Exact { chosen: vec![false; BUCKETS], rows: KeyMap::default() };
        let mut left = rows;
        let mut any = false;
        for (number, bucket) in self.buckets.iter().enumerate() {
            let size = u64::from(bucket.expected);
            if self.done[number] || !bucket.differs() || (any && size > left) {
                continue;
            }
            exact.chosen[number] = true;
            self.done[number] = true;
            left = left.saturating_sub(size);
            any = true;
        }
        if any {
            self.exact = Some(exact);
        }
        any
    }

    /// Counts what was expected in the chosen buckets and has not come.
    pub fn finish(&mut self) {
        if let Some(versions) = self.versions.take() {
            self.versions = Some(self.finished(versions));
        }
        let Some(exact) = self.exact.take() else { return };
        let mut missing: Vec<_> = exact
            .rows
            .iter()
            .filter(|(_, entry)| !entry.seen)
            .map(|(id, e)| (*id, e.partition))
            .collect();
        missing.sort_unstable();
        let is_topic = matches!(self.judge.shape(), Shape::Records { .. });
        for (id, partition) in missing {
            self.missing[partition as usize] += 1;
            let place = (is_topic.then_some(partition), None);
            self.note(Kind::Missing, Some(id), place, "", &[]);
        }
    }

    /// Judges a share of versions.
    fn finished(&mut self, mut versions: Versions) -> Versions {
        let (end, copies, mut there) = (self.judge.span().end, self.copies, Side::default());
        let say = |Said { kind, id, partition, offset, why }| {
            if kind == Kind::Missing {
                self.missing[partition as usize] += 1;
            }
            self.note(kind, Some(id), (Some(partition), offset), why, &[]);
        };
        versions.judge(end, copies, say, |content| there.add(content));
        self.found.rows += there.rows;
        self.found.sum = self.found.sum.wrapping_add(there.sum);
        versions
    }

    /// Rows that the plan has, and rows of the run that are there.
    pub const fn sides(&self) -> (Side, Side) {
        (self.expected, self.found)
    }

    /// How many rows of each kind were found, in the order of [`Kind::ALL`].
    pub const fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many rows of each partition are missing.
    pub fn missing(&self) -> &[u64] {
        &self.missing
    }

    /// The rows that have a name.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Rows that the plan has in buckets that differ and were not gone through.
    pub fn unexamined(&self) -> u64 {
        let left = self
            .buckets
            .iter()
            .zip(&self.done)
            .filter(|(bucket, done)| bucket.differs() && !**done);
        left.map(|(bucket, _)| u64::from(bucket.expected.max(bucket.found))).sum()
    }

    fn take(&mut self, judged: &Judged, found: &[u8]) {
        let Judged { seen, id, partition, place } = *judged;
        let (content, time, id) = match (seen, id) {
            (Seen::Ours { content, time }, Some(id)) => (content, time, id),
            (Seen::Foreign(why), _) => return self.note_once(Kind::Foreign, id, place, why, found),
            _ => return self.note_once(Kind::Elsewhere, id, place, "", found),
        };
        if time.is_some_and(|time| !self.judge.is_asked_at(time)) {
            return self.note_once(Kind::Outside, Some(id), place, "", found);
        }
        let row = Row { id, content, partition };
        if let Some(versions) = &mut self.versions {
            versions.find(row, place.1.unwrap_or_default());
            return;
        }
        let Some(exact) = &mut self.exact else {
            self.found.add(content);
            let bucket = &mut self.buckets[row.bucket()];
            bucket.sum = bucket.sum.wrapping_sub(row.located());
            bucket.found += 1;
            return;
        };
        if !exact.chosen[row.bucket()] {
            return;
        }
        let (kind, why) = match exact.rows.get_mut(&id) {
            None => (Kind::Foreign, "its id is of this seed, and the plan has none such"),
            Some(entry) => {
                entry.seen = true;
                if entry.content != content {
                    (Kind::Altered, "")
                } else if entry.partition != partition {
                    (Kind::Misplaced, "")
                } else {
                    entry.right += 1;
                    match entry.right {
                        1 => return,
                        number if number <= self.copies => (Kind::Copy, ""),
                        _ => (Kind::Double, ""),
                    }
                }
            }
        };
        self.note(kind, Some(id), place, why, found);
    }

    /// What is seen in every pass counts in the first.
    fn note_once(
        &mut self,
        kind: Kind,
        id: Option<u128>,
        place: (Option<u32>, Option<i64>),
        why: &'static str,
        found: &[u8],
    ) {
        let is_first = self.versions.as_ref().is_none_or(Versions::is_first);
        if is_first && self.exact.is_none() {
            self.note(kind, id, place, why, found);
        }
    }

    fn note(
        &mut self,
        kind: Kind,
        id: Option<u128>,
        (partition, offset): (Option<u32>, Option<i64>),
        why: &'static str,
        found: &[u8],
    ) {
        let count = &mut self.counts[kind as usize];
        *count += 1;
        if *count <= self.show as u64 {
            let (id, found) = (id.map(u128::to_be_bytes), found.to_vec());
            self.findings.push(Finding { kind, id, partition, offset, why, found });
        }
    }
}

impl Bucket {
    const fn differs(&self) -> bool {
        self.sum != 0 || self.expected != self.found
    }
}

#[cfg(test)]
mod tests;
