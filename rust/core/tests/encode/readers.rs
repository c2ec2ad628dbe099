//! Readers of the encoded rows, which share nothing with the encoders.

use apache_avro::Schema;
use apache_avro::types::Value as Avro;
use datagen_core::catalog::{Field, FieldType, Relation};
use serde_json::Value as Json;

use crate::batches::{Cell, Value};

pub fn read_avro(schema: &Schema, relation: &Relation, mut row: &[u8]) -> Vec<Cell> {
    let Ok(Avro::Record(fields)) = apache_avro::from_avro_datum(schema, &mut row, None) else {
        panic!("not a record")
    };
    assert!(row.is_empty(), "bytes left over");
    let mut cells = Vec::new();
    for (field, (name, value)) in relation.fields.iter().zip(fields) {
        assert_eq!(field.name, name);
        let value = match value {
            Avro::Union(0, _) if field.nullable => {
                cells.push(None);
                continue;
            }
            Avro::Union(1, value) if field.nullable => *value,
            value => value,
        };
        cells.push(Some(match (field.ty, value) {
            (FieldType::Uuid, Avro::Uuid(id)) => Value::Uuid(*id.as_bytes()),
            (FieldType::Text | FieldType::Char(_), Avro::String(text)) => Value::Text(text),
            (FieldType::Decimal { .. }, Avro::Decimal(decimal)) => {
                let bytes = Vec::<u8>::try_from(&decimal).expect("bytes");
                Value::Number(signed(&bytes))
            }
            (FieldType::Instant, Avro::TimestampMillis(n)) => Value::Number(n),
            (FieldType::Date, Avro::Date(n))
            | (FieldType::Int | FieldType::SmallInt, Avro::Int(n)) => Value::Number(n.into()),
            (FieldType::Bool, Avro::Boolean(b)) => Value::Bool(b),
            (FieldType::Enum(symbols), Avro::Enum(code, symbol)) => {
                assert_eq!(symbols[code as usize], symbol);
                Value::Symbol(symbols[code as usize])
            }
            (FieldType::Enum(symbols), Avro::String(text)) => {
                let found = symbols.iter().find(|symbol| **symbol == text);
                Value::Symbol(found.expect("a symbol of the field"))
            }
            (ty, value) => panic!("{}: {ty:?} as {value:?}", field.name),
        }));
    }
    cells
}

/// Two's complement, big-endian.
fn signed(bytes: &[u8]) -> i64 {
    let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
    bytes.iter().fold(sign, |n, b| n << 8 | i64::from(*b))
}

pub fn read_json(relation: &Relation, row: &[u8]) -> Vec<Cell> {
    let raw = std::str::from_utf8(row).expect("UTF-8");
    let object: serde_json::Map<String, Json> = serde_json::from_str(raw).expect("an object");
    assert_eq!(object.len(), relation.fields.len());
    let mut rest = raw;
    let read = |field: &Field| {
        // A quotation mark within a string is escaped, so this finds keys only.
        let key = format!("\"{}\":", field.name);
        rest = rest.split_once(&key).expect("keys in order").1;
        Some(match (field.ty, &object[field.name]) {
            (_, Json::Null) => {
                assert!(field.nullable);
                return None;
            }
            (FieldType::Uuid, Json::String(text)) => Value::Uuid(parse_uuid(text)),
            (FieldType::Text | FieldType::Char(_), Json::String(s)) => Value::Text(s.clone()),
            // The text itself, as a float would forgive too much.
            (FieldType::Decimal { scale, .. }, Json::Number(_)) => {
                let number = rest.split([',', '}']).next().expect("a number");
                let (_, decimals) = number.split_once('.').expect("a point");
                assert_eq!(decimals.len(), usize::from(scale));
                Value::Number(number.replace('.', "").parse().expect("digits"))
            }
            (FieldType::Int | FieldType::SmallInt, Json::Number(n)) => {
                Value::Number(n.as_i64().expect("an integer"))
            }
            (FieldType::Bool, Json::Bool(b)) => Value::Bool(*b),
            (FieldType::Date, Json::String(text)) => Value::Number(parse_date(text)),
            (FieldType::Instant, Json::String(text)) => Value::Number(parse_instant(text)),
            (FieldType::Enum(symbols), Json::String(text)) => {
                Value::Symbol(symbols.iter().find(|s| **s == text).expect("a symbol"))
            }
            (ty, value) => panic!("{}: {ty:?} as {value:?}", field.name),
        })
    };
    relation.fields.iter().map(read).collect()
}

pub fn parse_uuid(text: &str) -> [u8; 16] {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12]);
    assert!(!text.contains(|c: char| c.is_ascii_uppercase()));
    u128::from_str_radix(&text.replace('-', ""), 16).expect("hexadecimal").to_be_bytes()
}

/// Days since 1970, counted year by year and month by month.
pub fn parse_date(text: &str) -> i64 {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let parts: Vec<i64> = text.split('-').map(|p| p.parse().expect("digits")).collect();
    let [year, month, day] = parts[..] else { panic!("{text}") };
    assert_eq!(text, format!("{year:04}-{month:02}-{day:02}"));
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years = |a, b| (a..b).map(|y| if leap(y) { 366 } else { 365 }).sum::<i64>();
    let months = months[..month as usize - 1].iter().sum::<i64>();
    years(1970, year) - years(year, 1970) + months + day - 1
}

pub fn parse_instant(text: &str) -> i64 {
    let (date, time) = text.strip_suffix('Z').expect("Z").split_once('T').expect("T");
    let parts: Vec<i64> = time.split([':', '.']).map(|p| p.parse().expect("digits")).collect();
    let [hours, minutes, seconds, millis] = parts[..] else { panic!("{text}") };
    assert_eq!(time, format!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03}"));
    (((parse_date(date) * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + millis
}

pub fn read_pgcopy(relation: &Relation, row: &[u8]) -> Vec<Cell> {
    let read = |(field, value): (&Field, Option<&[u8]>)| {
        let text = |v: &[u8]| std::str::from_utf8(v).expect("UTF-8").to_owned();
        value.map(|v| match field.ty {
            FieldType::Uuid => Value::Uuid(v.try_into().expect("16 bytes")),
            FieldType::Text | FieldType::Char(_) => Value::Text(text(v)),
            FieldType::Decimal { scale, .. } => Value::Number(numeric(v, scale.into())),
            FieldType::SmallInt => {
                Value::Number(i16::from_be_bytes(v.try_into().expect("2 bytes")).into())
            }
            FieldType::Int => {
                Value::Number(i32::from_be_bytes(v.try_into().expect("4 bytes")).into())
            }
            FieldType::Bool => Value::Bool(v == [1]),
            FieldType::Date => {
                let days = i32::from_be_bytes(v.try_into().expect("4 bytes"));
                Value::Number(i64::from(days) + parse_date("2000-01-01"))
            }
            FieldType::Instant => {
                let micros = i64::from_be_bytes(v.try_into().expect("8 bytes"));
                assert_eq!(micros % 1000, 0);
                Value::Number(micros / 1000 + parse_instant("2000-01-01T00:00:00.000Z"))
            }
            FieldType::Enum(symbols) => {
                Value::Symbol(symbols.iter().find(|s| s.as_bytes() == v).expect("a symbol"))
            }
        })
    };
    let values = tuple(row);
    assert_eq!(values.len(), relation.fields.len());
    relation.fields.iter().zip(values).map(read).collect()
}

/// The fields of a tuple of binary COPY.
pub fn tuple(row: &[u8]) -> Vec<Option<&[u8]>> {
    let (count, mut rest) = row.split_first_chunk().expect("a count");
    let mut values = Vec::new();
    for _ in 0..i16::from_be_bytes(*count) {
        let (len, after) = rest.split_first_chunk().expect("a length");
        let (value, after) = match i32::from_be_bytes(*len) {
            -1 => (None, after),
            len => {
                let (value, after) = after.split_at(len as usize);
                (Some(value), after)
            }
        };
        values.push(value);
        rest = after;
    }
    assert!(rest.is_empty(), "bytes left over");
    values
}

/// Units of a numeric: the sum of its groups, group `i` weighing `10000^(weight - i)`.
fn numeric(value: &[u8], scale: u32) -> i64 {
    let words: Vec<u16> =
        value.chunks(2).map(|w| u16::from_be_bytes(w.try_into().expect("a pair"))).collect();
    let [count, weight, sign, dscale, groups @ ..] = &words[..] else { panic!("no header") };
    assert_eq!((usize::from(*count), u32::from(*dscale)), (groups.len(), scale));
    assert!(groups.first() != Some(&0) && groups.last() != Some(&0), "groups of zero at an end");
    let mut units = 0_i128;
    for (i, group) in groups.iter().enumerate() {
        let power = 4 * (i32::from(*weight as i16) - i as i32) + scale as i32;
        let group = i128::from(*group);
        let ten = |n: i32| 10_i128.pow(n.unsigned_abs());
        units += if power >= 0 { group * ten(power) } else { group / ten(power) };
    }
    match sign {
        0x0000 => units as i64,
        0x4000 => -units as i64,
        _ => panic!("sign {sign:#x}"),
    }
}
