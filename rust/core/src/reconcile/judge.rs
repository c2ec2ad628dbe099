//! What a record, or a tuple, says by itself: whose it is, and what it holds.

use std::ops::Range;

use twox_hash::XxHash3_128;

use super::content::{Marks, SOURCE, Said, Usual, of_parts};
use super::reading::{avro_time, first_id, parsed_instant, parsed_uuid};
use super::{Record, Shape};
use crate::batch::Bank;
use crate::catalog::{Relation, relation};
use crate::encode::Format;
use crate::encode::kafka::{Flaw, StoredRecord, StoredRecords};
use crate::error::Error;
use crate::id::Ids;
use crate::rng::{Domain, Rng};

/// Confluent's frame before a value in Avro: a zero, and the id of its schema.
const FRAME_LEN: usize = 5;

/// Whose it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen {
    Foreign(&'static str),
    Elsewhere,
    Ours { content: u128, time: Option<i64> },
}

/// A record, or a tuple, as far as it can be judged by itself.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    pub(super) seen: Seen,
    pub(super) id: Option<u128>,
    pub(super) partition: u32,
    /// Partition and offset of a record.
    pub(super) place: (Option<u32>, Option<i64>),
}

/// A record that was judged, and its value.
pub type Valued<'r> = (Judged, &'r [u8]);

/// Judges the records of a topic, or the tuples of a table, by what a plan has.
#[derive(Debug)]
pub struct Judge {
    relation: &'static Relation,
    shape: Shape,
    ids: Ids,
    domain: Domain,
    /// Rows of the table, or entities of the stream, that were asked about.
    asked: Range<u64>,
    usual: Usual,
    /// Instants of the events that were asked about, or of the last changes.
    span: Range<i64>,
}

impl Judge {
    pub(super) fn new(
        bank: &Bank,
        relation: &'static Relation,
        shape: Shape,
        customers: Range<u64>,
        span: Range<i64>,
    ) -> Result<Self, Error> {
        let owner = entity_of(relation);
        let before = |customer| bank.rows(owner, 0..customer);
        let asked = if relation.is_reference() {
            0..u64::MAX
        } else {
            before(customers.start)?..before(customers.end)?
        };
        let ids = Ids::new(&Rng::new(bank.plan().seed()));
        let (domain, usual) = (domain_of(relation), Usual::new(relation, shape));
        Ok(Self { relation, shape, ids, domain, asked, usual, span })
    }

    /// The table or stream.
    pub const fn relation(&self) -> &'static Relation {
        self.relation
    }

    /// What is expected of rows: see [`super::rows_of`].
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The instants that were asked about.
    pub(super) const fn span(&self) -> &Range<i64> {
        &self.span
    }

    /// Whether an instant is one of those that were asked about.
    pub(super) fn is_asked_at(&self, time: i64) -> bool {
        self.span.contains(&time)
    }

    /// Judges a record; `scratch` is memory, which is the caller's to keep.
    pub fn record(&self, record: &Record<'_>, scratch: &mut Vec<u8>) -> Judged {
        let said = self.usual.read(record);
        if let Some((marks, value)) = said.and_then(|said| self.marks(record, said)) {
            return self.usual(record, &marks, value, scratch);
        }
        let id = id_of(self.relation, record);
        Self::judged(record, id, self.unusual(record, id, scratch))
    }

    /// Whether headers, as they are stored, are those of the plan's records.
    #[cfg(test)]
    pub(super) fn is_usual(&self, folded: &[u8], key: &[u8]) -> bool {
        self.usual.read_stored(folded, key).is_some()
    }

    fn judged(record: &Record<'_>, id: Option<u128>, seen: Seen) -> Judged {
        let place = (Some(record.partition), Some(record.offset));
        Judged { seen, id, partition: record.partition, place }
    }

    /// What a record says whose headers are the usual ones, and its value; none if these are not what they should be.
    #[inline]
    fn marks<'r>(&self, record: &Record<'r>, said: Said<'_>) -> Option<(Marks, &'r [u8])> {
        let (value, key) = (record.value?, parsed_uuid(record.key?)?);
        let (id, time) = if self.usual.says() {
            (parsed_uuid(said.id)?, parsed_instant(said.time)?)
        } else {
            let id = first_id(self.relation, value).and_then(parsed_uuid)?;
            (id, if self.relation.topic().is_some() { self.time_in(value)? } else { 0 })
        };
        let timestamp = self.timestamp(record).unwrap_or(0);
        Some((Marks { id, key, time, timestamp }, value))
    }

    /// The timestamp of a record, where it counts.
    fn timestamp(&self, record: &Record<'_>) -> Option<i64> {
        let counts = matches!(self.shape, Shape::Records { event_time: true, .. });
        counts.then_some(record.timestamp)
    }

    /// Judges a record by what it says.
    #[inline]
    fn usual(
        &self,
        record: &Record<'_>,
        marks: &Marks,
        value: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Judged {
        let time = self.relation.topic().map(|_| marks.time);
        let seen = self
            .origin(marks.id)
            .unwrap_or_else(|| Seen::Ours { content: marks.content(value, scratch), time });
        Self::judged(record, Some(marks.id), seen)
    }

    /// The schema that a value names by Confluent's frame, where values are Avro.
    pub fn schema_of(&self, value: &[u8]) -> Option<u32> {
        let avro = !matches!(self.shape, Shape::Records { value: Format::Json, .. });
        match value.split_first_chunk::<FRAME_LEN>().filter(|_| avro) {
            Some((&[0, id @ ..], _)) => Some(u32::from_be_bytes(id)),
            _ => None,
        }
    }

    /// A value as it is judged: without the frame, if the schema that it names is the catalogue's.
    ///
    /// # Errors
    /// What `is_ours` has failed by.
    pub fn unframed<'a, E>(
        &self,
        value: &'a [u8],
        is_ours: impl FnOnce(u32) -> Result<bool, E>,
    ) -> Result<&'a [u8], E> {
        let framed = match self.schema_of(value) {
            Some(schema) => is_ours(schema)?,
            None => false,
        };
        Ok(if framed { &value[FRAME_LEN..] } else { value })
    }

    /// Judges the records of a batch that have these offsets: all, or none if one cannot be read. `is_ours` says whether a
    /// schema is the catalogue's.
    ///
    /// # Errors
    /// What is wrong with the batch, or what `is_ours` has failed by.
    pub fn batch<'r, E>(
        &self,
        mut records: StoredRecords<'r>,
        partition: u32,
        offsets: &Range<i64>,
        mut is_ours: impl FnMut(u32) -> Result<bool, E>,
        scratch: &mut Vec<u8>,
    ) -> Result<Result<Vec<Valued<'r>>, Flaw>, E> {
        let mut all = Vec::with_capacity(records.room());
        // Nearly all records have the schema of the one before.
        let mut last = None;
        let mut is_ours = |schema| match last {
            Some((same, ours)) if same == schema => Ok(ours),
            _ => is_ours(schema).inspect(|ours| last = Some((schema, *ours))),
        };
        loop {
            let (StoredRecord { offset, timestamp, key, value }, folded) =
                match records.next_folded() {
                    Ok(Some(record)) => record,
                    Ok(None) => return Ok(Ok(all)),
                    Err(flaw) => return Ok(Err(flaw)),
                };
            let said = key.and_then(|key| self.usual.read_stored(folded, key));
            if said.is_none()
                && let Err(flaw) = records.unfold(folded)
            {
                return Ok(Err(flaw));
            }
            if !offsets.contains(&offset) {
                continue;
            }
            let value = value.map(|value| self.unframed(value, &mut is_ours)).transpose()?;
            let record = Record { partition, offset, timestamp, key, value, headers: &[] };
            let marks = said.and_then(|said| self.marks(&record, said));
            let judged = if let Some((marks, value)) = marks {
                self.usual(&record, &marks, value, scratch)
            } else {
                if let Err(flaw) = records.unfold(folded) {
                    return Ok(Err(flaw));
                }
                self.record(&Record { headers: records.headers(), ..record }, scratch)
            };
            all.push((judged, value.unwrap_or_default()));
        }
    }

    /// Judges a tuple, as binary COPY has it.
    pub(super) fn tuple(&self, tuple: &[u8]) -> Judged {
        let id = tuple.get(2..22).filter(|head| head[..4] == [0, 0, 0, 16]);
        let id = id.map(|head| u128::from_be_bytes(head[4..].try_into().expect("16 bytes")));
        let seen = match id {
            Some(id) => self
                .origin(id)
                .unwrap_or_else(|| Seen::Ours { content: XxHash3_128::oneshot(tuple), time: None }),
            None => Seen::Foreign("it has no id"),
        };
        Judged { seen, id, partition: 0, place: (None, None) }
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

    /// Whether a record is of this run, and what it holds, if that is not what the plan's records hold.
    fn unusual(&self, record: &Record<'_>, id: Option<u128>, scratch: &mut Vec<u8>) -> Seen {
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
        let content = of_parts(record, self.timestamp(record), scratch);
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

    /// When the event of a record happened, where a header or its value says so.
    fn time_of(&self, record: &Record<'_>) -> Option<i64> {
        self.relation.topic()?;
        let header = record.headers.iter().find(|(name, _)| *name == b"ce_time");
        match header {
            Some((_, value)) => value.and_then(parsed_instant),
            None => self.time_in(record.value?),
        }
    }

    /// When the event happened whose value this is.
    fn time_in(&self, value: &[u8]) -> Option<i64> {
        match self.shape {
            Shape::Records { value: Format::Json, .. } => {
                let name = format!("\"{}\":\"", self.relation.time());
                let at = value.windows(name.len()).position(|part| part == name.as_bytes())?;
                value.get(at + name.len()..).and_then(|rest| parsed_instant(rest.get(..24)?))
            }
            Shape::Records { value: format, .. } => {
                avro_time(self.relation, value, matches!(format, Format::AvroStrings { .. }))
            }
            Shape::Tuples => None,
        }
    }
}

/// The id that a record of a relation bears: in a header, or as the first field of its value.
pub fn id_of(relation: &Relation, record: &Record<'_>) -> Option<u128> {
    let header = record.headers.iter().find(|(name, _)| *name == b"ce_id");
    let text = match header {
        Some((_, value)) => *value,
        None => record.value.and_then(|value| first_id(relation, value)),
    };
    text.and_then(parsed_uuid)
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
