//! Any values of a relation's columns: what each encoder writes, its reader reads again.

#![no_main]

// The readers of the tests, which share nothing with the encoders.
#[path = "../../tests/encode/batches.rs"]
#[allow(dead_code, reason = "the tests draw values by proptest")]
mod batches;
#[path = "../../tests/encode/readers.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod readers;

use std::sync::LazyLock;

use apache_avro::Schema;
use arbitrary::{Result, Unstructured};
use batches::{Cell, Value, batch, relations};
use datagen_core::catalog::{Field, FieldType, Relation};
use datagen_core::encode::{Format, avro_schema, avro_schema_of_strings, encode};
use readers::{read_avro, read_json, read_pgcopy};

/// 1900-01-01 and 2200-12-31.
const DAYS: (i64, i64) = (-25_567, 84_370);

static RELATIONS: LazyLock<Vec<(&'static Relation, Schema, Schema)>> = LazyLock::new(|| {
    let parsed = |text: &str| Schema::parse_str(text).expect("a schema");
    relations()
        .map(|one| (one, parsed(&avro_schema(one)), parsed(&avro_schema_of_strings(one))))
        .collect()
});

fn value(u: &mut Unstructured, ty: FieldType) -> Result<Value> {
    let mut number = |low: i64, high: i64| Ok(Value::Number(u.int_in_range(low..=high)?));
    match ty {
        FieldType::Decimal { precision, .. } => {
            let top = 10_i64.pow(precision.into()) - 1;
            number(-top, top)
        }
        FieldType::SmallInt => number(i16::MIN.into(), i16::MAX.into()),
        FieldType::Int => number(i32::MIN.into(), i32::MAX.into()),
        FieldType::Date => number(DAYS.0, DAYS.1),
        FieldType::Instant => number(DAYS.0 * 86_400_000, (DAYS.1 + 1) * 86_400_000 - 1),
        FieldType::Uuid => Ok(Value::Uuid(u.arbitrary()?)),
        FieldType::Text => Ok(Value::Text(u.arbitrary()?)),
        FieldType::Char(len) => {
            let ascii = |u: &mut Unstructured| u.int_in_range(b' '..=b'~').map(char::from);
            Ok(Value::Text((0..len).map(|_| ascii(u)).collect::<Result<_>>()?))
        }
        FieldType::Bool => Ok(Value::Bool(u.arbitrary()?)),
        FieldType::Enum(symbols) => Ok(Value::Symbol(u.choose(symbols)?)),
    }
}

fn cell(u: &mut Unstructured, field: &Field) -> Result<Cell> {
    let there = !field.nullable || u.arbitrary()?;
    there.then(|| value(u, field.ty)).transpose()
}

fn check(u: &mut Unstructured) -> Result<()> {
    let (relation, schema, of_strings) = &RELATIONS[u.choose_index(RELATIONS.len())?];
    let rows = u.int_in_range(0..=4)?;
    let column = |u: &mut Unstructured, field| (0..rows).map(|_| cell(u, field)).collect();
    let columns: Vec<Vec<Cell>> =
        relation.fields.iter().map(|field| column(u, field)).collect::<Result<_>>()?;
    let batch = batch(relation, &columns);
    let formats: [(Format, &dyn Fn(&[u8]) -> Vec<Cell>); 5] = [
        (Format::Avro { schema_id: None }, &|row| read_avro(schema, relation, row)),
        (Format::AvroStrings { schema_id: None }, &|row| read_avro(of_strings, relation, row)),
        (Format::Json, &|row| read_json(relation, row)),
        (Format::JsonLines, &|row| {
            read_json(relation, row.strip_suffix(b"\n").expect("a line"))
        }),
        (Format::PgCopy, &|row| read_pgcopy(relation, row)),
    ];
    for (format, read) in formats {
        let encoded = encode(&batch, format);
        assert_eq!(encoded.len(), rows);
        for row in 0..rows {
            let planned: Vec<Cell> = columns.iter().map(|column| column[row].clone()).collect();
            assert_eq!(read(encoded.get(row)), planned);
        }
    }
    Ok(())
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Bytes that are too few are no values.
    let _ = check(&mut Unstructured::new(data));
});
