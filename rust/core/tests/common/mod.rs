//! What the tests share: batches read by column name, and days counted apart from the core.

#![allow(dead_code, reason = "each test crate uses a part of it")]

pub mod days;
pub mod figures;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use datagen_core::batch::Bank;
use datagen_core::catalog::{self, FieldType, Relation, STREAMS, TABLES};
use datagen_core::column::{Batch, Column, Values};
use datagen_core::plan::{DEFAULT_AS_OF, Plan};

/// Sixteen bytes.
pub type Id = [u8; 16];

/// The bank of a plan.
pub fn bank_of(plan: Plan) -> Arc<Bank> {
    Arc::new(Bank::new(plan))
}

/// A bank whose history ends at the default instant.
pub fn bank(seed: u64, customers: u64, days: u32) -> Arc<Bank> {
    bank_of(Plan::try_new(seed, customers, DEFAULT_AS_OF, days).expect("a plan"))
}

/// Tables, then streams.
pub fn relations() -> impl Iterator<Item = &'static Relation> {
    TABLES.into_iter().chain(STREAMS)
}

/// All rows of a relation, as one batch.
pub fn all(bank: &Arc<Bank>, name: &str) -> Batch {
    part(bank, name, 0..bank.plan().customers(), 10_000)
}

/// The rows of a relation that belong to these customers, as one batch.
pub fn part(bank: &Arc<Bank>, name: &str, customers: Range<u64>, batch_rows: usize) -> Batch {
    let relation = catalog::relation(name).expect("a relation");
    concat(relation, bank.batches(relation, customers, batch_rows).expect("a range"))
}

/// One batch after the other.
pub fn concat(relation: &'static Relation, batches: impl IntoIterator<Item = Batch>) -> Batch {
    let mut columns: Vec<Column> = relation
        .fields
        .iter()
        .map(|field| Column {
            values: Values::empty(field.ty),
            validity: field.nullable.then(Vec::new),
        })
        .collect();
    for batch in batches {
        for (to, from) in columns.iter_mut().zip(batch.columns()) {
            append(&mut to.values, &from.values);
            if let (Some(to), Some(from)) = (&mut to.validity, &from.validity) {
                to.extend(from);
            }
        }
    }
    let names = relation.fields.iter().map(|field| field.name);
    Batch::new(relation, names.zip(columns).collect())
}

fn append(to: &mut Values, from: &Values) {
    match (to, from) {
        (Values::Uuid(to), Values::Uuid(from)) => to.extend(from),
        (Values::Text(to), Values::Text(from)) => {
            for row in 0..from.offsets.len() - 1 {
                to.bytes.extend_from_slice(from.get(row));
                to.end_row();
            }
        }
        (Values::I64(to), Values::I64(from)) => to.extend(from),
        (Values::I32(to), Values::I32(from)) => to.extend(from),
        (Values::I16(to), Values::I16(from)) => to.extend(from),
        (Values::Bool(to), Values::Bool(from)) => to.extend(from),
        (Values::Code(to), Values::Code(from)) => to.extend(from),
        _ => panic!("columns of two types"),
    }
}

/// Reads a batch by the names of its columns.
pub trait Read {
    /// The column of this name.
    fn named(&self, name: &str) -> &Column;
    /// Whether each row has a value.
    fn valid(&self, name: &str) -> Vec<bool>;
    /// Ids.
    fn ids(&self, name: &str) -> &[Id];
    /// Decimals and instants.
    fn longs(&self, name: &str) -> &[i64];
    /// Decimals and instants of rows that have one.
    fn some_longs(&self, name: &str) -> Vec<Option<i64>>;
    /// Ids of rows that have one.
    fn some_ids(&self, name: &str) -> Vec<Option<Id>>;
    /// Integers and dates.
    fn ints(&self, name: &str) -> &[i32];
    /// Small integers.
    fn shorts(&self, name: &str) -> &[i16];
    /// Texts; those of rows without a value are empty.
    fn texts(&self, name: &str) -> Vec<&str>;
    /// Texts of rows that have one.
    fn some_texts(&self, name: &str) -> Vec<Option<&str>>;
    /// Symbols of an enumeration.
    fn symbols(&self, name: &str) -> Vec<&'static str>;
    /// Symbols of rows that have one.
    fn some_symbols(&self, name: &str) -> Vec<Option<&'static str>>;
    /// The row of each id of a column of distinct ids.
    fn rows_by_id(&self, name: &str) -> BTreeMap<Id, usize>;
    /// Stretches of rows with the same id, which must not come back later.
    fn groups(&self, name: &str) -> Vec<(Id, Range<usize>)>;
    /// A value as text, `None` where there is none.
    fn cell(&self, column: usize, row: usize) -> Option<String>;
}

macro_rules! slice {
    ($batch:expr, $name:expr, $variant:ident) => {
        match &$batch.named($name).values {
            Values::$variant(values) => values,
            other => panic!("{} is {other:?}", $name),
        }
    };
}

impl Read for Batch {
    fn named(&self, name: &str) -> &Column {
        self.column(name).unwrap_or_else(|| panic!("no {name} in {}", self.relation().name))
    }

    fn valid(&self, name: &str) -> Vec<bool> {
        let column = self.named(name);
        (0..self.rows()).map(|row| column.is_valid(row)).collect()
    }

    fn ids(&self, name: &str) -> &[Id] {
        slice!(self, name, Uuid)
    }

    fn longs(&self, name: &str) -> &[i64] {
        slice!(self, name, I64)
    }

    fn some_longs(&self, name: &str) -> Vec<Option<i64>> {
        let valid = self.valid(name);
        self.longs(name).iter().zip(valid).map(|(value, is)| is.then_some(*value)).collect()
    }

    fn some_ids(&self, name: &str) -> Vec<Option<Id>> {
        let valid = self.valid(name);
        self.ids(name).iter().zip(valid).map(|(id, is)| is.then_some(*id)).collect()
    }

    fn ints(&self, name: &str) -> &[i32] {
        slice!(self, name, I32)
    }

    fn shorts(&self, name: &str) -> &[i16] {
        slice!(self, name, I16)
    }

    fn texts(&self, name: &str) -> Vec<&str> {
        let texts = slice!(self, name, Text);
        (0..self.rows()).map(|row| std::str::from_utf8(texts.get(row)).expect("UTF-8")).collect()
    }

    fn some_texts(&self, name: &str) -> Vec<Option<&str>> {
        let valid = self.valid(name);
        self.texts(name).into_iter().zip(valid).map(|(text, is)| is.then_some(text)).collect()
    }

    fn symbols(&self, name: &str) -> Vec<&'static str> {
        let position = self.relation().position(name).expect("a field");
        let FieldType::Enum(symbols) = self.relation().fields[position].ty else {
            panic!("{name} is no enumeration");
        };
        let codes = slice!(self, name, Code);
        codes.iter().map(|&code| symbols[usize::from(code)]).collect()
    }

    fn some_symbols(&self, name: &str) -> Vec<Option<&'static str>> {
        let valid = self.valid(name);
        self.symbols(name).into_iter().zip(valid).map(|(text, is)| is.then_some(text)).collect()
    }

    fn rows_by_id(&self, name: &str) -> BTreeMap<Id, usize> {
        let rows: BTreeMap<Id, usize> =
            self.ids(name).iter().enumerate().map(|(row, id)| (*id, row)).collect();
        assert_eq!(rows.len(), self.rows(), "{name} is not distinct");
        rows
    }

    fn groups(&self, name: &str) -> Vec<(Id, Range<usize>)> {
        let mut groups: Vec<(Id, Range<usize>)> = Vec::new();
        for (row, id) in self.ids(name).iter().enumerate() {
            match groups.last_mut() {
                Some((last, rows)) if last == id => rows.end = row + 1,
                _ => groups.push((*id, row..row + 1)),
            }
        }
        let mut ids: Vec<Id> = groups.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), groups.len(), "the rows of one {name} are apart");
        groups
    }

    fn cell(&self, column: usize, row: usize) -> Option<String> {
        let values = &self.columns()[column];
        values.is_valid(row).then(|| match (&values.values, self.relation().fields[column].ty) {
            (Values::Uuid(v), _) => uuid(v[row]),
            (Values::Text(v), _) => String::from_utf8(v.get(row).to_vec()).expect("UTF-8"),
            (Values::I64(v), FieldType::Instant) => days::instant_text(v[row]),
            (Values::I64(v), _) => v[row].to_string(),
            (Values::I32(v), FieldType::Date) => days::date_text(v[row]),
            (Values::I32(v), _) => v[row].to_string(),
            (Values::I16(v), _) => v[row].to_string(),
            (Values::Bool(v), _) => v[row].to_string(),
            (Values::Code(v), FieldType::Enum(symbols)) => symbols[usize::from(v[row])].to_owned(),
            (Values::Code(_), _) => unreachable!("codes are of enumerations"),
        })
    }
}

/// A UUID in its usual 36 characters.
pub fn uuid(id: Id) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(id));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The lines of a data file, split at commas, without comments and the header.
pub fn data(csv: &'static str) -> Vec<Vec<&'static str>> {
    csv.lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect()
}
