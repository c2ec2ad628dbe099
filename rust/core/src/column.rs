//! Columns in memory, and the batch that holds those of one table or stream.
//!
//! A generator fills one typed column per field ([`columns!`]); `finish` turns them into a
//! [`Batch`] after checking them against the catalogue. Encoders and the Arrow export read them.

use std::mem::discriminant;
use std::sync::Arc;

use crate::catalog::{Enumeration, FieldType, Relation};

/// Bytes of a usual text, for a first guess at the room that a column needs.
const USUAL_TEXT: usize = 16;

/// Text of all rows, end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// `rows + 1` positions in `bytes`, from 0.
    pub offsets: Vec<i32>,
    /// UTF-8.
    pub bytes: Vec<u8>,
}

impl Default for Texts {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Texts {
    /// Adds a row.
    #[inline]
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.end_row();
    }

    /// Adds a row made of several pieces.
    pub fn push_parts(&mut self, parts: &[&str]) {
        for part in parts {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.end_row();
    }

    /// Adds a row made of the first so many bytes of each of these, which are UTF-8. A copy of known
    /// size is an instruction or two, and one of unknown size a call.
    #[inline]
    pub fn push_padded<const N: usize, const PARTS: usize>(
        &mut self,
        parts: [(&[u8; N], usize); PARTS],
    ) {
        for (padded, len) in parts {
            self.append(padded, len);
        }
        self.end_row();
    }

    /// Adds a row of ASCII.
    #[inline]
    pub fn push_ascii<const N: usize>(&mut self, text: &[u8; N]) {
        debug_assert!(text.is_ascii());
        self.append(text, N);
        self.end_row();
    }

    /// Adds the first so many bytes.
    #[expect(clippy::inline_always, reason = "a call takes longer than the copy")]
    #[inline(always)]
    fn append<const N: usize>(&mut self, padded: &[u8; N], len: usize) {
        self.bytes.reserve(N);
        let end = self.bytes.len();
        // SAFETY: there is room for all of the bytes, and those that the vector then has were written.
        unsafe {
            self.bytes.as_mut_ptr().add(end).cast::<[u8; N]>().write(*padded);
            self.bytes.set_len(end + len.min(N));
        }
    }

    /// Closes the row whose bytes were just added to `bytes`.
    ///
    /// # Panics
    /// If a batch holds more than 2 GiB of text, which `batch_rows` keeps far away.
    #[inline]
    pub fn end_row(&mut self) {
        self.offsets.push(i32::try_from(self.bytes.len()).expect("less than 2 GiB of text"));
    }

    /// The bytes of row `row`.
    pub fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    fn gather(parts: &[&Self], rows: &[(u32, u32)]) -> Self {
        let mut texts: Self = Build::with_capacity(rows.len());
        // Found first and copied then, so that many are waited for at once.
        let found: Vec<&[u8]> =
            rows.iter().map(|&(part, row)| parts[part as usize].get(row as usize)).collect();
        for text in found {
            texts.bytes.extend_from_slice(text);
            texts.end_row();
        }
        texts
    }
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// [`FieldType::Uuid`].
    Uuid(Vec<[u8; 16]>),
    /// [`FieldType::Text`] and [`FieldType::Char`].
    Text(Texts),
    /// [`FieldType::Decimal`] and [`FieldType::Instant`].
    I64(Vec<i64>),
    /// [`FieldType::Int`] and [`FieldType::Date`].
    I32(Vec<i32>),
    /// [`FieldType::SmallInt`].
    I16(Vec<i16>),
    /// [`FieldType::Bool`].
    Bool(Vec<bool>),
    /// [`FieldType::Enum`]: positions in the list of symbols.
    Code(Vec<u8>),
}

impl Values {
    /// No rows of a type: what each type is in memory.
    pub fn empty(ty: FieldType) -> Self {
        match ty {
            FieldType::Uuid => Self::Uuid(Vec::new()),
            FieldType::Text | FieldType::Char(_) => Self::Text(Texts::default()),
            FieldType::Decimal { .. } | FieldType::Instant => Self::I64(Vec::new()),
            FieldType::Int | FieldType::Date => Self::I32(Vec::new()),
            FieldType::SmallInt => Self::I16(Vec::new()),
            FieldType::Bool => Self::Bool(Vec::new()),
            FieldType::Enum(_) => Self::Code(Vec::new()),
        }
    }

    /// Values that are stored as `T`.
    ///
    /// # Panics
    /// If these values are stored otherwise.
    pub fn stored<T: Stored>(&self) -> &[T] {
        T::of(self).expect(OTHERWISE)
    }

    /// Values that are stored as `T`, to be added to.
    ///
    /// # Panics
    /// If these values are stored otherwise.
    pub fn stored_mut<T: Stored>(&mut self) -> &mut Vec<T> {
        T::of_mut(self).expect(OTHERWISE)
    }

    /// Values that are text.
    ///
    /// # Panics
    /// If these values are no text.
    pub fn texts(&self) -> &Texts {
        let Self::Text(texts) = self else { panic!("{OTHERWISE}") };
        texts
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Uuid(v) => v.len(),
            Self::Text(v) => v.offsets.len() - 1,
            Self::I64(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::Code(v) => v.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the values.
    fn nbytes(&self) -> usize {
        match self {
            Self::Uuid(v) => size_of_val(&v[..]),
            Self::Text(v) => size_of_val(&v.offsets[..]) + v.bytes.len(),
            Self::I64(v) => size_of_val(&v[..]),
            Self::I32(v) => size_of_val(&v[..]),
            Self::I16(v) => size_of_val(&v[..]),
            Self::Bool(v) => size_of_val(&v[..]),
            Self::Code(v) => size_of_val(&v[..]),
        }
    }

    /// These rows of columns of one type, each the number of a column and a row there.
    fn gather<'a>(columns: impl Iterator<Item = &'a Self> + Clone, rows: &[(u32, u32)]) -> Self {
        macro_rules! gathered {
            ($($variant:ident => $gather:path),*) => {
                match columns.clone().next() {
                    $(Some(Self::$variant(_)) => {
                        let columns: Vec<_> = columns.map(|column| match column {
                            Self::$variant(values) => values,
                            _ => panic!("columns of one type"),
                        }).collect();
                        Self::$variant($gather(&columns, rows))
                    })*
                    None => panic!("a column at least"),
                }
            };
        }
        gathered! {
            Uuid => copied,
            Text => Texts::gather,
            I64 => copied,
            I32 => copied,
            I16 => copied,
            Bool => copied,
            Code => copied
        }
    }

    fn fits(&self, ty: FieldType) -> bool {
        discriminant(self) == discriminant(&Self::empty(ty))
    }
}

const OTHERWISE: &str = "a column of this type";

/// What values other than texts are stored as.
pub trait Stored: Sized {
    /// Values that are stored so.
    fn of(values: &Values) -> Option<&[Self]>;

    /// The same, to be added to.
    fn of_mut(values: &mut Values) -> Option<&mut Vec<Self>>;
}

/// The values of a column by their meaning, where [`Values`] has them by their shape in memory.
#[derive(Debug, Clone, Copy)]
pub enum Typed<'a> {
    /// [`FieldType::Uuid`].
    Uuid(&'a [[u8; 16]]),
    /// [`FieldType::Text`] and [`FieldType::Char`].
    Text(&'a Texts),
    /// [`FieldType::Decimal`].
    Decimal {
        /// Units of `10^-scale`.
        units: &'a [i64],
        /// Total digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// [`FieldType::Instant`].
    Instant(&'a [i64]),
    /// [`FieldType::Int`].
    Int(&'a [i32]),
    /// [`FieldType::Date`].
    Date(&'a [i32]),
    /// [`FieldType::SmallInt`].
    SmallInt(&'a [i16]),
    /// [`FieldType::Bool`].
    Bool(&'a [bool]),
    /// [`FieldType::Enum`]: positions in the symbols, and the symbols.
    Enum(&'a [u8], &'static [&'static str]),
}

fn copied<T: Copy>(columns: &[&Vec<T>], rows: &[(u32, u32)]) -> Vec<T> {
    rows.iter().map(|&(column, row)| columns[column as usize][row as usize]).collect()
}

/// A column: values, and which of them are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// One value a row; a row without a value holds the type's zero.
    pub values: Values,
    /// For a nullable field, whether each row has a value.
    pub validity: Option<Vec<bool>>,
}

impl Column {
    /// Whether row `row` has a value.
    pub fn is_valid(&self, row: usize) -> bool {
        self.validity.as_ref().is_none_or(|v| v[row])
    }

    /// The values of a field of this type.
    ///
    /// # Panics
    /// If they are of another type.
    pub fn typed(&self, ty: FieldType) -> Typed<'_> {
        let values = &self.values;
        match ty {
            FieldType::Uuid => Typed::Uuid(values.stored()),
            FieldType::Text | FieldType::Char(_) => Typed::Text(values.texts()),
            FieldType::Decimal { precision, scale } => {
                Typed::Decimal { units: values.stored(), precision, scale }
            }
            FieldType::SmallInt => Typed::SmallInt(values.stored()),
            FieldType::Int => Typed::Int(values.stored()),
            FieldType::Bool => Typed::Bool(values.stored()),
            FieldType::Date => Typed::Date(values.stored()),
            FieldType::Instant => Typed::Instant(values.stored()),
            FieldType::Enum(symbols) => Typed::Enum(values.stored(), symbols),
        }
    }
}

/// Rows of one table or stream, by column, in catalogue order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    relation: &'static Relation,
    columns: Vec<Column>,
    rows: usize,
}

impl Batch {
    /// Joins columns, each with the name of its field, into a batch of a relation.
    ///
    /// # Panics
    /// If they are not exactly the catalogue's: a mistake in a generator, not in any input.
    pub fn new(relation: &'static Relation, columns: Vec<(&'static str, Column)>) -> Self {
        let name = relation.name;
        assert_eq!(relation.fields.len(), columns.len(), "{name}: number of columns");
        let rows = columns[0].1.values.len();
        for (field, (given, column)) in relation.fields.iter().zip(&columns) {
            assert_eq!(field.name, *given, "{name}: order of columns");
            assert!(column.values.fits(field.ty), "{name}.{given}: type");
            assert_eq!(column.validity.is_some(), field.nullable, "{name}.{given}: nullability");
            assert_eq!(column.values.len(), rows, "{name}.{given}: number of rows");
        }
        Self { relation, columns: columns.into_iter().map(|(_, column)| column).collect(), rows }
    }

    /// What the rows are.
    pub const fn relation(&self) -> &'static Relation {
        self.relation
    }

    /// Number of rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Columns in catalogue order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of the field called `name`.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.relation.position(name).map(|i| &self.columns[i])
    }

    /// Bytes of the values of all columns. Room that was kept for more is not counted.
    pub fn nbytes(&self) -> usize {
        let validity = |column: &Column| column.validity.as_ref().map_or(0, Vec::len);
        self.columns.iter().map(|column| column.values.nbytes() + validity(column)).sum()
    }

    /// These rows of batches of one relation, in this order: each the number of a batch and a row there.
    ///
    /// # Panics
    /// If a row is not there, or there are no batches, or of several relations.
    pub fn gather(batches: &[Arc<Self>], rows: &[(u32, u32)]) -> Self {
        let relation = batches[0].relation;
        let gathered = |position: usize| {
            let columns = batches.iter().map(|batch| &batch.columns[position]);
            let values = Values::gather(columns.clone().map(|column| &column.values), rows);
            let validity = relation.fields[position].nullable.then(|| {
                let validity = columns.map(|column| column.validity.as_ref().expect("nullable"));
                copied(&validity.collect::<Vec<_>>(), rows)
            });
            Column { values, validity }
        };
        let columns = (0..relation.fields.len()).map(gathered).collect();
        Self { relation, columns, rows: rows.len() }
    }
}

/// What a generator pushes into, and what becomes a [`Column`].
pub trait Build: Sized {
    /// An empty column with room for so many rows.
    fn with_capacity(rows: usize) -> Self;

    /// Turns it into a column.
    fn build(self) -> Column;

    /// Rows pushed so far.
    fn rows(&self) -> usize;
}

macro_rules! stored {
    ($($ty:ty => $variant:ident),*) => {$(
        impl Stored for $ty {
            fn of(values: &Values) -> Option<&[Self]> {
                if let Values::$variant(values) = values { Some(values) } else { None }
            }

            fn of_mut(values: &mut Values) -> Option<&mut Vec<Self>> {
                if let Values::$variant(values) = values { Some(values) } else { None }
            }
        }
    )*};
}
stored!([u8; 16] => Uuid, i64 => I64, i32 => I32, i16 => I16, bool => Bool, u8 => Code);

macro_rules! build_vec {
    ($($ty:ty => $variant:ident),*) => {$(
        impl Build for Vec<$ty> {
            fn with_capacity(rows: usize) -> Self {
                Self::with_capacity(rows)
            }

            fn build(self) -> Column {
                Column { values: Values::$variant(self), validity: None }
            }

            fn rows(&self) -> usize {
                self.len()
            }
        }
    )*};
}
build_vec!([u8; 16] => Uuid, i64 => I64, i32 => I32, i16 => I16, bool => Bool);

impl<E: Enumeration> Build for Vec<E> {
    fn with_capacity(rows: usize) -> Self {
        Self::with_capacity(rows)
    }

    fn build(self) -> Column {
        let codes = self.into_iter().map(E::code).collect();
        Column { values: Values::Code(codes), validity: None }
    }

    fn rows(&self) -> usize {
        self.len()
    }
}

impl Build for Texts {
    fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, bytes: Vec::with_capacity(rows * USUAL_TEXT) }
    }

    fn build(self) -> Column {
        Column { values: Values::Text(self), validity: None }
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }
}

/// A column in which rows may have no value.
#[derive(Debug)]
pub struct Nullable<T> {
    values: T,
    validity: Vec<bool>,
}

impl<T: Copy + Default> Nullable<Vec<T>> {
    /// Adds a row.
    #[inline]
    pub fn push(&mut self, value: Option<T>) {
        self.values.push(value.unwrap_or_default());
        self.validity.push(value.is_some());
    }
}

impl Nullable<Texts> {
    /// Adds a row.
    #[inline]
    pub fn push(&mut self, text: Option<&str>) {
        if let Some(text) = text {
            self.values.push(text);
        } else {
            self.values.end_row();
        }
        self.validity.push(text.is_some());
    }

    /// Adds a row as [`Texts::push_padded`] does.
    #[inline]
    pub fn push_padded<const N: usize, const PARTS: usize>(
        &mut self,
        parts: [(&[u8; N], usize); PARTS],
    ) {
        self.values.push_padded(parts);
        self.validity.push(true);
    }

    /// Adds a row of ASCII.
    #[inline]
    pub fn push_ascii<const N: usize>(&mut self, text: &[u8; N]) {
        self.values.push_ascii(text);
        self.validity.push(true);
    }

    /// Adds a row made of several pieces.
    pub fn push_parts(&mut self, parts: &[&str]) {
        self.values.push_parts(parts);
        self.validity.push(true);
    }
}

impl<T: Build> Build for Nullable<T> {
    fn with_capacity(rows: usize) -> Self {
        Self { values: T::with_capacity(rows), validity: Vec::with_capacity(rows) }
    }

    fn build(self) -> Column {
        Column { values: self.values.build().values, validity: Some(self.validity) }
    }

    fn rows(&self) -> usize {
        self.validity.len()
    }
}

/// The columns of a relation while rows are added to them.
pub trait Columns {
    /// What they are the columns of.
    const RELATION: &'static Relation;

    /// No rows, with room for so many.
    fn with_capacity(rows: usize) -> Self;

    /// Rows added so far.
    fn rows(&self) -> usize;

    /// The rows added so far, as a batch.
    fn finish(self) -> Batch;
}

/// Declares the columns of a relation as a struct of builders, one field each, in order.
macro_rules! columns {
    (
        $(#[$meta:meta])* $name:ident for $relation:ident {
            $id:ident: $id_ty:ty, $($field:ident: $ty:ty),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name { pub(crate) $id: $id_ty, $(pub(crate) $field: $ty),* }

        impl $crate::column::Columns for $name {
            const RELATION: &'static $crate::catalog::Relation = &$crate::catalog::$relation;

            fn with_capacity(rows: usize) -> Self {
                use $crate::column::Build;
                Self {
                    $id: Build::with_capacity(rows),
                    $($field: Build::with_capacity(rows)),*
                }
            }

            fn rows(&self) -> usize {
                $crate::column::Build::rows(&self.$id)
            }

            fn finish(self) -> $crate::column::Batch {
                use $crate::column::Build;
                $crate::column::Batch::new(Self::RELATION, vec![
                    (stringify!($id), self.$id.build()),
                    $((stringify!($field), self.$field.build())),*
                ])
            }
        }
    };
}
pub(crate) use columns;
