//! The catalogue: every table and stream, its fields, types and keys, in public order.
//!
//! This is the one place that names a column. The generators fill columns in this order, the
//! encoders read types from here, and Python derives DDL, foreign-key checks and topics from it.

/// Declares enumerations: the variants and their symbols, in one list for both.
macro_rules! enumerations {
    ($(
        $(#[$meta:meta])*
        $name:ident { $first:ident = $first_symbol:literal $(, $variant:ident = $symbol:literal)* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            #[default]
            #[doc = concat!("`", $first_symbol, "`")]
            $first,
            $(#[doc = concat!("`", $symbol, "`")] $variant),*
        }

        impl $crate::catalog::Enumeration for $name {
            const SYMBOLS: &'static [&'static str] = &[$first_symbol $(, $symbol)*];

            #[inline]
            fn code(self) -> u8 {
                self as u8
            }
        }
    )*};
}

pub(crate) use enumerations;

mod labels;
mod streams;
mod tables;

pub use labels::*;
pub use streams::*;
pub use tables::*;

/// Changes with any change of a generated value.
pub const CATALOG_VERSION: u32 = 3;

/// The type of a field, with its meaning in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// Sixteen bytes, shaped as a version-4 UUID.
    Uuid,
    /// UTF-8 text.
    Text,
    /// Text of exactly this many ASCII characters (`char(n)` in `PostgreSQL`).
    Char(u8),
    /// A fixed-point number: an `i64` counting units of `10^-scale`.
    Decimal {
        /// Total digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// 16-bit integer.
    SmallInt,
    /// 32-bit integer.
    Int,
    /// True or false.
    Bool,
    /// Days since 1970-01-01.
    Date,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Instant,
    /// One of these symbols; in memory its position in the list.
    Enum(&'static [&'static str]),
}

/// The values of a field of type [`FieldType::Enum`].
pub trait Enumeration: Copy + Default {
    /// Their symbols, in order.
    const SYMBOLS: &'static [&'static str];

    /// The position of its symbol.
    fn code(self) -> u8;
}

/// Money: centavos in memory, two decimals elsewhere.
pub const MONEY: FieldType = FieldType::Decimal { precision: 15, scale: 2 };

/// One column of a table, or one field of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Public name: column, Avro field, Arrow field and JSON key alike.
    pub name: &'static str,
    /// Type.
    pub ty: FieldType,
    /// Whether a row may have no value.
    pub nullable: bool,
    /// What the field means, in one line (Avro `doc`).
    pub doc: &'static str,
}

/// A field whose values must be ids of a table handed over before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignKey {
    /// The referring field.
    pub field: &'static str,
    /// The table referred to (its primary key).
    pub table: &'static str,
    /// Only parents whose enumeration field has this symbol will do.
    pub only: Option<(&'static str, &'static str)>,
}

/// What a table has and a stream has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Columns that must be unique on their own.
    pub unique: &'static [&'static str],
    /// `(name, SQL condition)` of each CHECK beyond the enumerations.
    pub checks: &'static [(&'static str, &'static str)],
    /// Whether its rows belong to no customer and are the same for every seed.
    pub reference: bool,
    /// Its position, from 1, where tables are validated.
    pub validation_rank: u8,
    /// The compacted topic of its rows, where they are sent to one.
    pub topic: &'static str,
    /// The stream that has the same keys, and so equal keys in equal partitions.
    pub keyed_as: Option<&'static str>,
}

/// What a stream has and a table has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// Field that is the message key.
    pub key: &'static str,
    /// Field that orders the events of a key.
    pub time: &'static str,
    /// `CloudEvents` type.
    pub ce_type: &'static str,
    /// Partitions that its topic is created with.
    pub partitions: u32,
    /// The same for a load by several threads.
    pub parallel_partitions: u32,
    /// Days before the end of the history in which all its events lie, if not those of the plan.
    pub history_days: Option<u32>,
}

/// Whether a relation is loaded as a table or sent as a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Master data.
    Table(Table),
    /// Events.
    Stream(Topic),
}

/// A table or a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// Table name, or topic name.
    pub name: &'static str,
    /// What one row is called: `credit card`.
    pub singular: &'static str,
    /// Table or stream.
    pub kind: Kind,
    /// Fields in public order; the first is the row's own id.
    pub fields: &'static [Field],
    /// Foreign keys.
    pub foreign_keys: &'static [ForeignKey],
}

impl Relation {
    /// Position of the field called `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }

    /// What makes it a stream, if it is one.
    pub const fn topic(&self) -> Option<&Topic> {
        match &self.kind {
            Kind::Stream(topic) => Some(topic),
            Kind::Table(_) => None,
        }
    }

    /// The name of its topic, without a prefix.
    pub const fn topic_name(&self) -> &'static str {
        match &self.kind {
            Kind::Stream(_) => self.name,
            Kind::Table(table) => table.topic,
        }
    }

    /// The field that is the key of its records: of a table the primary key.
    pub const fn key(&self) -> &'static str {
        match &self.kind {
            Kind::Stream(topic) => topic.key,
            Kind::Table(_) => self.fields[0].name,
        }
    }

    /// The field that is the time of its records.
    pub const fn time(&self) -> &'static str {
        match &self.kind {
            Kind::Stream(topic) => topic.time,
            Kind::Table(_) => "updated_at",
        }
    }

    /// Whether its rows belong to no customer, so that any range of customers has them all.
    pub const fn is_reference(&self) -> bool {
        matches!(self.kind, Kind::Table(Table { reference: true, .. }))
    }
}

/// The table or stream called `name`, or the labels.
pub fn relation(name: &str) -> Option<&'static Relation> {
    TABLES.iter().chain(STREAMS.iter()).chain(&[&LABELS]).copied().find(|r| r.name == name)
}

const fn field(name: &'static str, ty: FieldType, doc: &'static str) -> Field {
    Field { name, ty, nullable: false, doc }
}

const fn nullable(name: &'static str, ty: FieldType, doc: &'static str) -> Field {
    Field { name, ty, nullable: true, doc }
}
