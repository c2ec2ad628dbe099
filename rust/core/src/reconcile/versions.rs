//! Records of a table that follows a stream: several of a row, one after each change.
//!
//! Which changes have a record follows from no plan: of those within a slice only the last has one, and compaction
//! keeps the last record of a key alone. So what is there is kept, a share of the ids at a time, and held against all
//! versions of its rows; of each row the last version that was asked about, or one after it, has to be there.

use std::ops::Range;

use super::{BUCKETS, Kind, Row};
use crate::keys::KeySet;

/// The share of the ids whose records are kept.
#[derive(Debug, Default)]
pub(super) struct Versions {
    records: Vec<Version>,
    last: Vec<Last>,
    /// Buckets of the ids; it is made smaller where it has more records than are allowed.
    share: Range<usize>,
    most: usize,
    sorted: bool,
}

/// A record.
#[derive(Debug)]
struct Version {
    id: u128,
    content: u128,
    offset: i64,
    /// When the row came to be as it is here, if it ever was.
    since: Option<i64>,
    partition: u32,
    /// The plan has a row of the id.
    known: bool,
    misplaced: bool,
}

/// The last version of a row that was asked about.
#[derive(Debug)]
struct Last {
    id: u128,
    content: u128,
    since: i64,
    partition: u32,
}

/// What is to be said of a record, or of a row without one.
#[derive(Debug)]
pub(super) struct Said {
    pub kind: Kind,
    pub id: u128,
    pub partition: u32,
    pub offset: Option<i64>,
    pub why: &'static str,
}

impl Versions {
    /// Goes on to the ids that were not looked at, all of them if they have so many records at the most.
    pub(super) fn next_share(&mut self, most: u64) -> bool {
        *self = Self {
            share: self.share.end..BUCKETS,
            most: usize::try_from(most).unwrap_or(usize::MAX),
            ..Self::default()
        };
        !self.share.is_empty()
    }

    /// Whether the records that come are the first ones, and no share was looked at.
    pub(super) const fn is_first(&self) -> bool {
        self.share.start == 0
    }

    /// Takes a record.
    pub(super) fn find(&mut self, row: Row, offset: i64) {
        let Row { id, content, partition } = row;
        if !self.share.contains(&row.bucket()) {
            return;
        }
        let (since, known, misplaced) = (None, false, false);
        self.records.push(Version { id, content, offset, since, partition, known, misplaced });
        while self.records.len() > self.most && self.share.len() > 1 {
            self.share.end = self.share.start + self.share.len() / 2;
            let share = self.share.clone();
            self.records.retain(|one| share.contains(&bucket(one.id)));
        }
    }

    /// Takes versions of rows, once all records have come; `times` says since when rows are so.
    pub(super) fn expect(&mut self, rows: &[Row], times: &[i64]) {
        self.sort();
        for (row, since) in rows.iter().zip(times) {
            if !self.share.contains(&row.bucket()) {
                continue;
            }
            let first = self.records.partition_point(|one| one.id < row.id);
            for record in self.records[first..].iter_mut().take_while(|one| one.id == row.id) {
                record.known = true;
                if record.content == row.content {
                    record.since = Some(*since);
                    record.misplaced = record.partition != row.partition;
                }
            }
        }
    }

    /// Takes the last version of a row; whether it is of this share.
    pub(super) fn expect_last(&mut self, row: Row, since: i64) -> bool {
        let is_ours = self.share.contains(&row.bucket());
        if is_ours {
            let Row { id, content, partition } = row;
            self.last.push(Last { id, content, since, partition });
        }
        is_ours
    }

    /// Says what is wrong, earlier or of other instants; `is_there` is told the content of the last versions that are
    /// there. Versions from `end` on were not asked about, and each may be there `copies` times.
    pub(super) fn judge(
        &mut self,
        end: i64,
        copies: u32,
        mut say: impl FnMut(Said),
        mut is_there: impl FnMut(u128),
    ) {
        self.sort();
        self.last.sort_unstable_by_key(|one| one.id);
        let mut last = self.last.iter().peekable();
        let mut missing = Vec::new();
        for records in self.records.chunk_by(|one, next| one.id == next.id) {
            let id = records[0].id;
            while let Some(absent) = last.next_if(|one| one.id < id) {
                missing.push((absent, ""));
            }
            let last = last.next_if(|one| one.id == id);
            match (of_row(records, last, end, copies, &mut say), last) {
                (There::Last, Some(last)) => is_there(last.content),
                (There::Earlier, Some(last)) => {
                    missing.push((last, "its last change is not there"));
                }
                _ => {}
            }
        }
        missing.extend(last.map(|absent| (absent, "")));
        for (Last { id, partition, .. }, why) in missing {
            say(Said { kind: Kind::Missing, id: *id, partition: *partition, offset: None, why });
        }
    }

    fn sort(&mut self) {
        if !std::mem::replace(&mut self.sorted, true) {
            self.records.sort_unstable_by_key(|one| (one.id, one.partition, one.offset));
        }
    }
}

/// How much of a row is there.
#[derive(Debug, PartialEq, Eq)]
enum There {
    /// The last version, or one after it.
    Last,
    Earlier,
    /// Something that is named, and may stand in its place.
    Wrong,
}

/// Judges the records of a row, in their order.
fn of_row(
    records: &[Version],
    last: Option<&Last>,
    end: i64,
    copies: u32,
    say: &mut impl FnMut(Said),
) -> There {
    let (mut seen, mut newest, mut there) = (KeySet::new(), i64::MIN, There::Earlier);
    for (number, one) in records.iter().enumerate() {
        let (kind, why) = match one.since {
            None if !one.known => {
                (Kind::Foreign, "its id is of this seed, and the plan has none such")
            }
            None => (Kind::Altered, "the row was so at no time"),
            Some(_) if one.misplaced => (Kind::Misplaced, ""),
            Some(_) if !seen.insert(&one.content.to_le_bytes()) => {
                let before = records[..number]
                    .iter()
                    .filter(|it| it.content == one.content && !it.misplaced);
                let is_copy = before.count() < copies as usize;
                (if is_copy { Kind::Copy } else { Kind::Double }, "")
            }
            Some(since) if since < newest => {
                (Kind::Late, "a later version of the row is before it")
            }
            Some(since) => {
                newest = since;
                if last.is_some_and(|last| since >= last.since) {
                    there = There::Last;
                }
                if since >= end {
                    (Kind::Outside, "")
                } else if last.is_some_and(|last| since == last.since) {
                    continue;
                } else {
                    (Kind::Earlier, "")
                }
            }
        };
        if matches!(kind, Kind::Altered | Kind::Misplaced) && there == There::Earlier {
            there = There::Wrong;
        }
        let (partition, offset) = (one.partition, Some(one.offset));
        say(Said { kind, id: one.id, partition, offset, why });
    }
    there
}

fn bucket(id: u128) -> usize {
    id as usize & (BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITION: u32 = 1;

    fn row(id: u128, content: u128) -> Row {
        Row { id, content, partition: PARTITION }
    }

    /// What is said of records, as id, content and partition, of rows with the versions 1 to 3 at these times; 3 is not
    /// asked about. With the kinds, ids and offsets come the contents that are there.
    fn judged(records: &[(u128, u128, u32)], most: u64) -> (Vec<(Kind, u128, Option<i64>)>, u128) {
        judged_in_copies(records, most, 1)
    }

    fn judged_in_copies(
        records: &[(u128, u128, u32)],
        most: u64,
        copies: u32,
    ) -> (Vec<(Kind, u128, Option<i64>)>, u128) {
        let (mut versions, mut said, mut there) = (Versions::default(), Vec::new(), 0);
        let mut shares = 0;
        while versions.next_share(most) {
            shares += 1;
            for (offset, (id, content, partition)) in (0..).zip(records) {
                let found = Row { id: *id, content: *content, partition: *partition };
                versions.find(found, offset);
            }
            for id in [7, 8] {
                let rows: Vec<_> = (1..=3).map(|number| row(id, number)).collect();
                // A row's versions may come in two parts.
                versions.expect(&rows[..1], &[10]);
                versions.expect(&rows[1..], &[20, 30]);
                versions.expect_last(rows[1], 20);
            }
            versions.judge(
                25,
                copies,
                |one| said.push((one.kind, one.id, one.offset)),
                |content| there += content,
            );
        }
        assert!(shares == 1 || most < records.len() as u64);
        (said, there)
    }

    const RIGHT: [(u128, u128, u32); 3] = [(7, 1, 1), (7, 2, 1), (8, 2, 1)];

    #[test]
    fn of_each_row_the_last_version_is_asked_for() {
        for most in [1, 2, 100] {
            assert_eq!(judged(&RIGHT, most), (vec![(Kind::Earlier, 7, Some(0))], 4), "{most}");
            // What compaction leaves.
            assert_eq!(judged(&RIGHT[1..], most), (vec![], 4), "{most}");
            let without = vec![(Kind::Earlier, 7, Some(0)), (Kind::Missing, 7, None)];
            assert_eq!(judged(&[RIGHT[0], RIGHT[2]], most), (without, 2), "{most}");
            assert_eq!(judged(&RIGHT[..2], most).0[1], (Kind::Missing, 8, None), "{most}");
        }
        let nothing = vec![(Kind::Missing, 7, None), (Kind::Missing, 8, None)];
        assert_eq!(judged(&[], 100), (nothing, 0));
    }

    #[test]
    fn a_version_after_the_last_stands_for_it() {
        let later = [(7, 3, 1), (8, 2, 1)];
        assert_eq!(judged(&later, 100), (vec![(Kind::Outside, 7, Some(0))], 4));
    }

    #[test]
    fn of_copies_no_more_than_shards_are_no_mistake() {
        let records = [&RIGHT[..], &[(8, 2, 1), (8, 2, 1)]].concat();
        let of = |copies| {
            let said = judged_in_copies(&records, 100, copies).0;
            said.iter().skip(1).map(|(kind, ..)| *kind).collect::<Vec<_>>()
        };
        assert_eq!(of(1), [Kind::Double, Kind::Double]);
        assert_eq!(of(2), [Kind::Copy, Kind::Double]);
        assert_eq!(of(3), [Kind::Copy, Kind::Copy]);
    }

    #[test]
    fn each_kind_of_damage_has_its_name() {
        let with = |more: (u128, u128, u32)| {
            let said = judged(&[&RIGHT[..], &[more]].concat(), 100);
            assert_eq!(said.1, 4);
            said.0.into_iter().find(|(_, _, offset)| *offset == Some(3)).map(|(kind, ..)| kind)
        };
        assert_eq!(with((7, 2, 1)), Some(Kind::Double));
        assert_eq!(with((7, 1, 1)), Some(Kind::Double));
        assert_eq!(with((8, 1, 1)), Some(Kind::Late));
        assert_eq!(with((8, 3, 0)), Some(Kind::Misplaced));
        assert_eq!(with((8, 9, 1)), Some(Kind::Altered));
        assert_eq!(with((9, 1, 1)), Some(Kind::Foreign));
        // What stands in the place of the last version is not missing beside that.
        let altered = judged(&[(7, 1, 1), (7, 9, 1), (8, 2, 1)], 100);
        assert!(!altered.0.iter().any(|(kind, ..)| *kind == Kind::Missing));
    }
}
