//! A batch as encoded rows: Avro, JSON, or tuples of `PostgreSQL`'s binary COPY.
//!
//! Each column is resolved to a typed slice once; then one loop over the rows appends to one
//! buffer. A format is a file of its own and knows nothing of the others.

mod avro;
mod json;
pub mod kafka;
pub mod pgcopy;
mod rows;
mod schema;
mod text;

pub use schema::{avro_schema, avro_schema_of_strings};

use rows::{Row, Rows, part};

use crate::catalog::{Field, FieldType};
use crate::column::{Batch, Column, Typed};

/// What each row becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Avro binary, without a container file.
    Avro {
        /// If given, each row starts with Confluent's frame for this id.
        schema_id: Option<u32>,
    },
    /// The same with the symbols of enumerations as strings, for readers that know no enumerations.
    AvroStrings {
        /// If given, each row starts with Confluent's frame for this id.
        schema_id: Option<u32>,
    },
    /// A compact JSON object, without a line end.
    Json,
    /// The same with a line end.
    JsonLines,
    /// A tuple of binary COPY, to be sent between [`pgcopy::HEADER`] and [`pgcopy::TRAILER`].
    PgCopy,
}

/// Encoded rows, end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// All rows.
    pub bytes: Vec<u8>,
    /// `rows + 1` positions in `bytes`, from 0.
    pub offsets: Vec<i64>,
}

impl Encoded {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of row `row`.
    pub fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

/// Encodes every row of a batch.
pub fn encode(batch: &Batch, format: Format) -> Encoded {
    let fields = batch.relation().fields;
    let columns: Vec<Cells> =
        fields.iter().zip(batch.columns()).map(|(f, c)| Cells::new(c, f)).collect();
    match format {
        Format::Avro { schema_id } => avro::encode::<false>(&columns, batch.rows(), schema_id),
        Format::AvroStrings { schema_id } => {
            avro::encode::<true>(&columns, batch.rows(), schema_id)
        }
        Format::Json => json::encode(&columns, batch.rows(), []),
        Format::JsonLines => json::encode(&columns, batch.rows(), *b"\n"),
        Format::PgCopy => pgcopy::encode(&columns, batch.rows()),
    }
}

/// The text of each value of a uuid, text, instant or enumeration column, for message keys and
/// headers; `None` for a column of another type. A missing value is empty.
pub fn text(column: &Column, field: &Field) -> Option<Encoded> {
    let width = text_width(field.ty)?;
    let (cells, rows) = (Cells::new(column, field), column.values.len());
    let mut out = Rows::new(rows, &[cells], 0, |_| width);
    for row in 0..rows {
        out.push(|out| {
            if cells.is_valid(row) {
                put_text(out, &cells.data, row);
            }
        });
    }
    Some(out.finish())
}

/// Most bytes that [`text`] adds to a value, if values of the type have a text.
pub fn text_width(ty: FieldType) -> Option<usize> {
    match ty {
        FieldType::Uuid => Some(text::UUID_LEN),
        FieldType::Text | FieldType::Char(_) => Some(0),
        FieldType::Instant => Some(text::INSTANT_LEN),
        FieldType::Enum(symbols) => Some(longest(symbols)),
        FieldType::Decimal { .. }
        | FieldType::SmallInt
        | FieldType::Int
        | FieldType::Bool
        | FieldType::Date => None,
    }
}

/// Writes a value of one of the types that have a [`text_width`]; nothing for others.
#[inline]
fn put_text(out: &mut Row, data: &Typed, row: usize) {
    match data {
        Typed::Uuid(v) => {
            text::uuid(&v[row], out.ahead());
            out.advance(text::UUID_LEN);
        }
        Typed::Text(v) => out.copy(&v.bytes, part(v, row)),
        Typed::Instant(v) => out.put(text::instant(v[row])),
        Typed::Enum(v, symbols) => {
            let symbol = symbol(symbols, v[row]);
            out.copy(symbol, 0..symbol.len());
        }
        Typed::Decimal { .. }
        | Typed::SmallInt(_)
        | Typed::Int(_)
        | Typed::Bool(_)
        | Typed::Date(_) => {}
    }
}

/// A column with its type resolved: what the row loops read.
#[derive(Clone, Copy)]
struct Cells<'a> {
    field: &'a Field,
    data: Typed<'a>,
    validity: Option<&'a [bool]>,
}

impl<'a> Cells<'a> {
    fn new(column: &'a Column, field: &'a Field) -> Self {
        let data = column.typed(field.ty);
        Self { field, data, validity: column.validity.as_deref() }
    }

    #[inline]
    fn is_valid(&self, row: usize) -> bool {
        self.validity.is_none_or(|v| v[row])
    }
}

#[inline]
fn symbol(symbols: &'static [&'static str], code: u8) -> &'static [u8] {
    symbols[usize::from(code)].as_bytes()
}

fn longest(symbols: &[&str]) -> usize {
    symbols.iter().map(|s| s.len()).max().unwrap_or(0)
}
