//! What a plan says of a table or topic, held against what is there.
//!
//! Each row is hashed, and the hashes are summed by bucket: the lowest bits of the row's id, which are as good as
//! random. What the plan has is added and what is there is subtracted, so that any order of either will do, and a
//! bucket that is not zero has a row that is missing, double, altered or misplaced. These buckets alone are gone
//! through once more, row by row. Memory is that of the buckets, and of as many rows as the caller allows.

mod reading;

use std::ops::Range;

use reading::{avro_time, first_id, parsed_instant, parsed_uuid, tuple_len};
use twox_hash::XxHash3_128;

use crate::batch::Bank;
use crate::catalog::{Relation, relation};
use crate::column::Batch;
use crate::encode::kafka::murmur2;
use crate::encode::{Encoded, Format, encode, pgcopy, text};
use crate::error::Error;
use crate::id::Ids;
use crate::keys::{KeyMap, uuids};
use crate::rng::{Domain, Rng};

/// Buckets of a table or topic, a power of two.
const BUCKETS: usize = 1 << 16;
/// Who sends events, as the header `ce_source` says.
const SOURCE: &[u8] = b"data-gen/financial";

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
}

impl Kind {
    /// All kinds, with their names.
    pub const ALL: [(&'static str, Self); 8] = [
        ("missing", Self::Missing),
        ("double", Self::Double),
        ("altered", Self::Altered),
        ("misplaced", Self::Misplaced),
        ("late", Self::Late),
        ("foreign", Self::Foreign),
        ("elsewhere", Self::Elsewhere),
        ("outside", Self::Outside),
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

/// A record, or a tuple, as far as it can be judged by itself.
#[derive(Debug, Clone, Copy)]
enum Seen {
    Foreign(&'static str),
    Elsewhere,
    Ours { content: u128, time: Option<i64> },
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
    /// Whether it is there as it should be.
    right: bool,
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
    relation: &'static Relation,
    shape: Shape,
    ids: Ids,
    domain: Domain,
    /// Rows of the table, or entities of the stream, that were asked about.
    asked: Range<u64>,
    /// Instants of the events that were asked about.
    span: Range<i64>,
    show: usize,
    buckets: Vec<Bucket>,
    done: Vec<bool>,
    exact: Option<Exact>,
    expected: Side,
    found: Side,
    counts: [u64; Kind::ALL.len()],
    missing: Vec<u64>,
    findings: Vec<Finding>,
    last_times: Vec<i64>,
    /// Offsets of each partition from which on the order of time is not promised.
    in_time_until: Vec<i64>,
    unfinished: Vec<u8>,
    header_read: bool,
    scratch: Vec<u8>,
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
        let owner = entity_of(relation);
        let before = |customer| bank.rows(owner, 0..customer);
        let asked = if relation.is_reference() {
            0..u64::MAX
        } else {
            before(customers.start)?..before(customers.end)?
        };
        Ok(Self {
            relation,
            shape,
            ids: Ids::new(&Rng::new(bank.plan().seed())),
            domain: domain_of(relation),
            asked,
            span,
            show,
            buckets: vec![Bucket::default(); BUCKETS],
            done: vec![false; BUCKETS],
            exact: None,
            expected: Side::default(),
            found: Side::default(),
            counts: [0; Kind::ALL.len()],
            missing: vec![0; partitions],
            findings: Vec::new(),
            last_times: vec![i64::MIN; partitions],
            in_time_until: vec![i64::MAX; partitions],
            unfinished: Vec::new(),
            header_read: false,
            scratch: Vec::new(),
        })
    }

    /// The table or stream.
    pub const fn relation(&self) -> &'static Relation {
        self.relation
    }

    /// What is expected of rows: see [`rows_of`].
    pub const fn shape(&self) -> Shape {
        self.shape
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
                        right: false,
                    };
                    exact.rows.insert(row.id, entry);
                }
                Some(_) => {}
            }
        }
    }

    /// Takes a record that is there.
    pub fn find(&mut self, record: &Record<'_>) {
        let Shape::Records { event_time, in_time, .. } = self.shape else { return };
        let place = (Some(record.partition), Some(record.offset));
        let found = record.value.unwrap_or_default();
        let id = self.id_of(record);
        let seen = self.judged(record, id, event_time);
        if let (Seen::Ours { time: Some(time), .. }, Some(last), None) =
            (seen, self.last_times.get_mut(record.partition as usize), &self.exact)
        {
            let promised = in_time && record.offset < self.in_time_until[record.partition as usize];
            if promised && time < *last && self.span.contains(&time) {
                self.note(Kind::Late, id, place, "", found);
            } else if promised {
                *last = time;
            }
        }
        self.take(seen, id, record.partition, place, found);
    }

    /// Takes bytes of a binary COPY, cut anywhere.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for bytes that are no COPY.
    pub fn find_copied(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut unfinished = std::mem::take(&mut self.unfinished);
        unfinished.extend_from_slice(bytes);
        let mut rest = &unfinished[..];
        if !self.header_read {
            if rest.len() < pgcopy::HEADER.len() {
                self.unfinished = unfinished;
                return Ok(());
            }
            rest = rest.strip_prefix(&pgcopy::HEADER[..]).ok_or_else(no_copy)?;
            self.header_read = true;
        }
        while let Some(len) = tuple_len(rest) {
            if rest.starts_with(&pgcopy::TRAILER) {
                self.header_read = false;
                rest = &rest[pgcopy::TRAILER.len()..];
                break;
            }
            let Some((tuple, left)) = rest.split_at_checked(len) else { break };
            self.find_tuple(tuple);
            rest = left;
        }
        self.unfinished = rest.to_vec();
        Ok(())
    }

    /// Chooses buckets to go through row by row, as many as have so many rows at the most, and one at least.
    /// False where there are none any more. All that is expected, and all that is there, has to come
    /// once more, and then [`Self::finish`].
    pub fn next_exact(&mut self, rows: u64) -> bool {
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
        let Some(exact) = self.exact.take() else { return };
        let mut missing: Vec<_> = exact
            .rows
            .iter()
            .filter(|(_, entry)| !entry.seen)
            .map(|(id, e)| (*id, e.partition))
            .collect();
        missing.sort_unstable();
        let is_topic = matches!(self.shape, Shape::Records { .. });
        for (id, partition) in missing {
            self.missing[partition as usize] += 1;
            let place = (is_topic.then_some(partition), None);
            self.note(Kind::Missing, Some(id), place, "", &[]);
        }
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

    /// The customer whose row an id is; none of reference rows, and of ids of others.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] never, as the plan's own customers are asked about.
    pub fn customer_of(&self, bank: &Bank, id: [u8; 16]) -> Result<Option<u64>, Error> {
        let origin = self.ids.decode(id).filter(|origin| origin.domain == self.domain);
        let Some(origin) = origin.filter(|_| !self.relation.is_reference()) else {
            return Ok(None);
        };
        let owner = entity_of(self.relation);
        let (mut first, mut stop) = (0, bank.plan().customers());
        if origin.row >= bank.rows(owner, 0..stop)? {
            return Ok(None);
        }
        // Rows before `first` are no more than the row's own number, and those before `stop` are more.
        while stop - first > 1 {
            let middle = first.midpoint(stop);
            let before = bank.rows(owner, 0..middle)?;
            *(if before <= origin.row { &mut first } else { &mut stop }) = middle;
        }
        Ok(Some(first))
    }

    fn find_tuple(&mut self, tuple: &[u8]) {
        let id = tuple.get(2..22).filter(|head| head[..4] == [0, 0, 0, 16]);
        let id = id.map(|head| u128::from_be_bytes(head[4..].try_into().expect("16 bytes")));
        let seen = match id {
            Some(id) => self
                .origin(id)
                .unwrap_or_else(|| Seen::Ours { content: XxHash3_128::oneshot(tuple), time: None }),
            None => Seen::Foreign("it has no id"),
        };
        self.take(seen, id, 0, (None, None), tuple);
    }

    /// Whether a record is of this run, and what it holds.
    fn judged(&mut self, record: &Record<'_>, id: Option<u128>, event_time: bool) -> Seen {
        let source = record.headers.iter().find(|(name, _)| *name == b"ce_source");
        if source.is_some_and(|(_, value)| *value != Some(SOURCE)) {
            return Seen::Foreign("another ce_source");
        }
        let Some(id) = id else {
            return Seen::Foreign(if record.value.is_none() {
                "a tombstone"
            } else {
                "it has no id"
            });
        };
        if let Some(other) = self.origin(id) {
            return other;
        }
        let content = &mut self.scratch;
        content.clear();
        put(content, record.key);
        put(content, record.value);
        for (name, value) in record.headers {
            put(content, Some(name));
            put(content, *value);
        }
        if event_time {
            content.extend_from_slice(&record.timestamp.to_le_bytes());
        }
        let content = XxHash3_128::oneshot(content);
        Seen::Ours { content, time: self.time_of(record) }
    }

    /// What an id says against a row: it is not of this seed and relation, or not of these customers.
    fn origin(&self, id: u128) -> Option<Seen> {
        if self.relation.is_reference() {
            return None;
        }
        match self.ids.decode(id.to_be_bytes()) {
            Some(origin) if origin.domain == self.domain => {
                (!self.asked.contains(&origin.row)).then_some(Seen::Elsewhere)
            }
            Some(_) => Some(Seen::Foreign("its id is that of something else")),
            None => Some(Seen::Foreign("its id is not of this seed")),
        }
    }

    fn take(
        &mut self,
        seen: Seen,
        id: Option<u128>,
        partition: u32,
        place: (Option<u32>, Option<i64>),
        found: &[u8],
    ) {
        let (content, time, id) = match (seen, id) {
            (Seen::Ours { content, time }, Some(id)) => (content, time, id),
            (Seen::Foreign(why), _) => return self.note_once(Kind::Foreign, id, place, why, found),
            _ => return self.note_once(Kind::Elsewhere, id, place, "", found),
        };
        if time.is_some_and(|time| !self.span.contains(&time)) {
            return self.note_once(Kind::Outside, Some(id), place, "", found);
        }
        let row = Row { id, content, partition };
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
                } else if std::mem::replace(&mut entry.right, true) {
                    (Kind::Double, "")
                } else {
                    return;
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
        if self.exact.is_none() {
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

    /// The id that a record bears: in a header, or as the first field of its value.
    fn id_of(&self, record: &Record<'_>) -> Option<u128> {
        let header = record.headers.iter().find(|(name, _)| *name == b"ce_id");
        let text = match header {
            Some((_, value)) => *value,
            None => record.value.and_then(|value| first_id(self.relation, value)),
        };
        text.and_then(parsed_uuid)
    }

    /// When the event of a record happened, where a header or its value says so.
    fn time_of(&self, record: &Record<'_>) -> Option<i64> {
        self.relation.topic()?;
        let header = record.headers.iter().find(|(name, _)| *name == b"ce_time");
        match (header, self.shape) {
            (Some((_, value)), _) => value.and_then(parsed_instant),
            (None, Shape::Records { value: Format::Json, .. }) => {
                let name = format!("\"{}\":\"", self.relation.time());
                let value = record.value?;
                let at = value.windows(name.len()).position(|part| part == name.as_bytes())?;
                value.get(at + name.len()..).and_then(|rest| parsed_instant(rest.get(..24)?))
            }
            (None, Shape::Records { value, .. }) => {
                avro_time(self.relation, record.value?, matches!(value, Format::AvroStrings { .. }))
            }
            (None, Shape::Tuples) => None,
        }
    }
}

impl Bucket {
    const fn differs(&self) -> bool {
        self.sum != 0 || self.expected != self.found
    }
}

/// The rows of a batch as they should be found.
pub fn rows_of(batch: &Batch, shape: Shape) -> Vec<Row> {
    let relation = batch.relation();
    let ids = uuids(&batch.columns()[0]);
    let id = |row: usize| u128::from_be_bytes(ids[row]);
    let Shape::Records { value, cloudevents, content_type, event_time, partitions, .. } = shape
    else {
        let tuples = encode(batch, Format::PgCopy);
        let hashed =
            |row| Row { id: id(row), content: XxHash3_128::oneshot(tuples.get(row)), partition: 0 };
        return (0..batch.rows()).map(hashed).collect();
    };
    let as_text = |name: &str| -> Encoded {
        let position = relation.position(name).expect("a field of the catalogue");
        text(&batch.columns()[position], &relation.fields[position])
            .expect("a field that has a text")
    };
    let (values, keys) = (encode(batch, value), as_text(relation.key()));
    let headers = relation
        .topic()
        .filter(|_| cloudevents)
        .map(|topic| (topic.ce_type, as_text(relation.fields[0].name), as_text(relation.time())));
    let instants: &[i64] =
        batch.column(relation.time()).expect("a field of the catalogue").values.stored();
    let kind: &[u8] = if value == Format::Json { b"application/json" } else { b"application/avro" };
    let mut content = Vec::new();
    let mut last: Option<(&[u8], u32)> = None;
    let mut rows = Vec::with_capacity(batch.rows());
    for (row, instant) in instants.iter().enumerate() {
        let key = keys.get(row);
        content.clear();
        put(&mut content, Some(key));
        put(&mut content, Some(values.get(row)));
        if let Some((ce_type, ids, times)) = &headers {
            let headers: [(&[u8], &[u8]); 6] = [
                (b"ce_specversion", b"1.0"),
                (b"ce_type", ce_type.as_bytes()),
                (b"ce_source", SOURCE),
                (b"ce_id", ids.get(row)),
                (b"ce_time", times.get(row)),
                (b"ce_subject", key),
            ];
            for (name, value) in headers {
                put(&mut content, Some(name));
                put(&mut content, Some(value));
            }
        }
        if content_type {
            put(&mut content, Some(b"content-type"));
            put(&mut content, Some(kind));
        }
        if event_time {
            content.extend_from_slice(&instant.to_le_bytes());
        }
        let partition = match last {
            Some((same, number)) if same == key => number,
            _ => (murmur2(key) & 0x7fff_ffff) % partitions,
        };
        last = Some((key, partition));
        rows.push(Row { id: id(row), content: XxHash3_128::oneshot(&content), partition });
    }
    rows
}

/// Appends bytes with their length before them, so that no two lists of bytes are alike.
fn put(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let len = bytes.map_or(u32::MAX, |bytes| bytes.len() as u32);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// Whose rows the ids of a relation count: a table's own, or those of the table that a stream's key is of.
fn entity_of(relation_: &'static Relation) -> &'static Relation {
    if relation_.topic().is_none() {
        return relation_;
    }
    let key = relation_.foreign_keys.iter().find(|key| key.field == relation_.key());
    key.and_then(|key| relation(key.table)).expect("the key of a stream is that of a table")
}

fn domain_of(relation: &Relation) -> Domain {
    match relation.name {
        "customers" => Domain::Customer,
        "properties" => Domain::Property,
        "stocks" => Domain::Stock,
        "accounts" => Domain::Account,
        "credit_cards" => Domain::CreditCard,
        "loans" => Domain::Loan,
        "banking.transactions" => Domain::Transaction,
        "banking.card-transactions" => Domain::CardTransaction,
        "banking.trades" => Domain::Trade,
        "banking.installments" => Domain::Installment,
        name => panic!("{name} has no domain of ids"),
    }
}

fn no_copy() -> Error {
    Error::OutOfRange {
        option: "bytes",
        value: "no COPY".to_owned(),
        allowed: "those of a binary COPY".to_owned(),
    }
}
