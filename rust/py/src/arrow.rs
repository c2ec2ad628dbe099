//! Batches as Arrow arrays, by the C data interface.
//!
//! Integers, dates, instants, uuids, texts and the positions of enumerations leave without a copy:
//! their buffers keep the batch alive. Decimals are widened to 128 bits, and bools and validity
//! are packed into bits. In a layout with texts, those of uuids and enumerations are written.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::types::{Decimal128Type, Int8Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    FixedSizeBinaryArray, Int8Array, Int16Array, Int32Array, PrimitiveArray, RecordBatch,
    RecordBatchReader, StringArray, StructArray, TimestampMillisecondArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use datagen_core::batch::Window;
use datagen_core::catalog::{self, FieldType, Relation};
use datagen_core::column::{Batch, Column, Typed};
use datagen_core::encode;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::error::one_of;

/// What uuids and enumerations are in Arrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// Texts in place of the extension type over 16 bytes.
    uuids_as_text: bool,
    /// Texts in place of dictionaries.
    enums_as_text: bool,
}

impl Layout {
    /// The layout that the arguments `uuids` and `enums` ask for.
    pub fn new(py: Python<'_>, uuids: &str, enums: &str) -> PyResult<Self> {
        Ok(Self {
            uuids_as_text: one_of(py, "uuids", uuids, &[("binary", false), ("text", true)])?,
            enums_as_text: one_of(py, "enums", enums, &[("dictionary", false), ("text", true)])?,
        })
    }

    fn as_text(self, ty: FieldType) -> bool {
        match ty {
            FieldType::Uuid => self.uuids_as_text,
            FieldType::Enum(_) => self.enums_as_text,
            _ => false,
        }
    }
}

/// The schema of a relation, as the capsule that Arrow readers ask for.
pub fn schema_capsule<'py>(
    py: Python<'py>,
    relation: &Relation,
    layout: Layout,
) -> PyResult<Bound<'py, PyCapsule>> {
    let exported = FFI_ArrowSchema::try_from(schema(relation, layout)).expect("names without NUL");
    PyCapsule::new_with_value(py, exported, c"arrow_schema")
}

/// A batch as a struct array.
pub fn export(batch: &Arc<Batch>, layout: Layout) -> FFI_ArrowArray {
    FFI_ArrowArray::new(&StructArray::from(record_batch(batch, layout)).into_data())
}

/// Reads the batches that are left, for an Arrow stream.
pub struct Reader {
    schema: SchemaRef,
    layout: Layout,
    rest: Arc<Mutex<Window>>,
}

impl Reader {
    pub fn new(relation: &Relation, layout: Layout, rest: Arc<Mutex<Window>>) -> Self {
        Self { schema: Arc::new(schema(relation, layout)), layout, rest }
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.rest.lock().expect("no batch has failed before").next();
        next.map(|batch| Ok(record_batch(&Arc::new(batch), self.layout)))
    }
}

impl RecordBatchReader for Reader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

fn schema(relation: &Relation, layout: Layout) -> Schema {
    Schema::new(relation.fields.iter().map(|one| field(one, layout)).collect::<Vec<_>>())
}

fn field(field: &catalog::Field, layout: Layout) -> Field {
    if layout.as_text(field.ty) {
        return Field::new(field.name, DataType::Utf8, field.nullable);
    }
    let arrow = Field::new(field.name, data_type(field.ty), field.nullable);
    if field.ty != FieldType::Uuid {
        return arrow;
    }
    // https://arrow.apache.org/docs/format/CanonicalExtensions.html#uuid
    arrow.with_metadata([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())])
}

fn data_type(ty: FieldType) -> DataType {
    match ty {
        FieldType::Uuid => DataType::FixedSizeBinary(16),
        FieldType::Text | FieldType::Char(_) => DataType::Utf8,
        FieldType::Decimal { precision, scale } => DataType::Decimal128(precision, scale as i8),
        FieldType::SmallInt => DataType::Int16,
        FieldType::Int => DataType::Int32,
        FieldType::Bool => DataType::Boolean,
        FieldType::Date => DataType::Date32,
        FieldType::Instant => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        // Signed, as pyarrow does not turn unsigned positions into a pandas Categorical.
        FieldType::Enum(_) => {
            DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
        }
    }
}

fn record_batch(batch: &Arc<Batch>, layout: Layout) -> RecordBatch {
    let relation = batch.relation();
    let columns = relation.fields.iter().zip(batch.columns());
    let arrays = columns
        .map(|(field, column)| {
            if layout.as_text(field.ty) {
                texts(column, field)
            } else {
                array(batch, column, field.ty)
            }
        })
        .collect();
    let schema = Arc::new(schema(relation, layout));
    RecordBatch::try_new(schema, arrays).expect("columns of the catalogue")
}

/// The texts of a uuid or an enumeration.
fn texts(column: &Column, field: &catalog::Field) -> ArrayRef {
    let texts = encode::text(column, field).expect("a type that has a text");
    let offsets: ScalarBuffer<i32> = texts.offsets.iter().map(|&offset| offset as i32).collect();
    let nulls = column.validity.as_deref().map(NullBuffer::from);
    // SAFETY: texts are ASCII, and their offsets grow from 0 to the end; a batch has at most 2^20 rows
    // of 36 bytes.
    Arc::new(unsafe {
        StringArray::new_unchecked(OffsetBuffer::new(offsets), texts.bytes.into(), nulls)
    })
}

fn array(batch: &Arc<Batch>, column: &Column, ty: FieldType) -> ArrayRef {
    let nulls = column.validity.as_deref().map(NullBuffer::from);
    match column.typed(ty) {
        Typed::Uuid(ids) => Arc::new(FixedSizeBinaryArray::new(16, share(batch, ids), nulls)),
        Typed::Text(texts) => {
            let offsets = OffsetBuffer::new(share(batch, &texts.offsets).into());
            let bytes = share(batch, &texts.bytes);
            // SAFETY: `Texts` holds UTF-8, row by row. To look again would take longer than all
            // else here; the tests do, by pyarrow's full validation.
            Arc::new(unsafe { StringArray::new_unchecked(offsets, bytes, nulls) })
        }
        Typed::Decimal { units, precision, scale } => {
            let wide: ScalarBuffer<i128> = units.iter().map(|&unit| i128::from(unit)).collect();
            let decimals: Decimal128Array = PrimitiveArray::<Decimal128Type>::new(wide, nulls);
            let decimals = decimals.with_precision_and_scale(precision, scale as i8);
            Arc::new(decimals.expect("precision and scale of the catalogue"))
        }
        Typed::Instant(millis) => {
            let instants = TimestampMillisecondArray::new(share(batch, millis).into(), nulls);
            Arc::new(instants.with_timezone("UTC"))
        }
        Typed::Date(days) => Arc::new(Date32Array::new(share(batch, days).into(), nulls)),
        Typed::Int(numbers) => Arc::new(Int32Array::new(share(batch, numbers).into(), nulls)),
        Typed::SmallInt(numbers) => Arc::new(Int16Array::new(share(batch, numbers).into(), nulls)),
        Typed::Bool(flags) => Arc::new(BooleanArray::new(BooleanBuffer::from(flags), nulls)),
        Typed::Enum(codes, symbols) => {
            let positions = Int8Array::new(share(batch, codes).into(), nulls);
            let symbols: ArrayRef = Arc::new(StringArray::from(symbols.to_vec()));
            Arc::new(DictionaryArray::<Int8Type>::new(positions, symbols))
        }
    }
}

/// The memory of a column, which keeps its batch alive.
fn share<T>(batch: &Arc<Batch>, values: &[T]) -> Buffer {
    let start = NonNull::from(values).cast();
    // SAFETY: `values` is a column of `batch`, which nothing changes while the buffer holds it.
    unsafe {
        let owner: Arc<Batch> = Arc::clone(batch);
        Buffer::from_custom_allocation(start, size_of_val(values), owner)
    }
}
