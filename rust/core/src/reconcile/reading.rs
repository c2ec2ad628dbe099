//! What a value says of its row by itself: the id, and when an event happened.

use crate::catalog::{FieldType, Relation};
use crate::civil;
use crate::encode::kafka::varint;

const MS_PER_DAY: i64 = 86_400_000;

/// The length of the tuple at the front, or of the trailer, as far as it is there.
pub(super) fn tuple_len(bytes: &[u8]) -> Option<usize> {
    let fields = i16::from_be_bytes(*bytes.first_chunk()?);
    let mut at = 2;
    for _ in 0..fields {
        let len = i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?);
        at += 4 + usize::try_from(len).unwrap_or(0);
    }
    Some(at)
}

/// The text of the first field of a value, which is its id: in Avro 36 bytes behind their length, in JSON behind
/// its name.
pub(super) fn first_id<'a>(relation: &Relation, value: &'a [u8]) -> Option<&'a [u8]> {
    const LEN: usize = 36;
    // Behind the frame of a schema that is not the catalogue's.
    let value = if value.first() == Some(&0) { value.get(5..)? } else { value };
    if value.first() == Some(&(2 * LEN as u8)) {
        return value.get(1..=LEN);
    }
    let name = format!("{{\"{}\":\"", relation.fields[0].name);
    value.strip_prefix(name.as_bytes())?.get(..LEN)
}

pub(super) fn parsed_uuid(text: &[u8]) -> Option<u128> {
    if text.len() != 36 {
        return None;
    }
    let mut id = 0;
    for (at, byte) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        // As it is written: an id in capitals is another text.
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        id = id << 4 | u128::from(digit);
    }
    Some(id)
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ` as milliseconds since 1970.
pub(super) fn parsed_instant(text: &[u8]) -> Option<i64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0_u32, |n, byte| {
            byte.is_ascii_digit().then(|| n * 10 + u32::from(byte - b'0'))
        })
    };
    let days = civil::to_days(number(0, 4)? as i32, number(5, 7)?, number(8, 10)?);
    let seconds = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(i64::from(days) * MS_PER_DAY + i64::from(seconds) * 1000 + i64::from(number(20, 23)?))
}

/// The field by which events are in order, of a value in Avro.
pub(super) fn avro_time(relation: &Relation, value: &[u8], strings: bool) -> Option<i64> {
    let mut rest = value;
    for field in relation.fields {
        if field.nullable && long(&mut rest)? == 0 {
            continue;
        }
        match field.ty {
            FieldType::Instant | FieldType::Int | FieldType::SmallInt | FieldType::Date => {
                let number = long(&mut rest)?;
                if field.name == relation.time() {
                    return Some(number);
                }
            }
            FieldType::Enum(_) if !strings => drop(long(&mut rest)?),
            FieldType::Bool => rest = rest.get(1..)?,
            _ => {
                let len = usize::try_from(long(&mut rest)?).ok()?;
                rest = rest.get(len..)?;
            }
        }
    }
    None
}

fn long(bytes: &mut &[u8]) -> Option<i64> {
    varint::take(bytes).map(varint::unzigzag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Bank;
    use crate::catalog::STREAMS;
    use crate::encode::{Encoded, Format, encode, text};
    use crate::keys::uuids;
    use crate::plan::{DEFAULT_AS_OF, Plan};
    use std::sync::Arc;

    /// What is read of an event is what its batch has, in every format.
    #[test]
    fn ids_and_times_are_read_from_values() {
        let plan = Plan::try_new(3, 20, DEFAULT_AS_OF, 30).expect("a plan");
        let bank = Arc::new(Bank::new(plan));
        for relation in STREAMS {
            let batches = bank.batches(relation, 0..20, 1000).expect("customers of the plan");
            for batch in batches {
                let of_field = |name: &str| -> Encoded {
                    let at = relation.position(name).expect("a field");
                    text(&batch.columns()[at], &relation.fields[at]).expect("a text")
                };
                let (ids, times) = (uuids(&batch.columns()[0]), of_field(relation.time()));
                let instants: &[i64] =
                    batch.column(relation.time()).expect("a field").values.stored();
                let avro = encode(&batch, Format::Avro { schema_id: None });
                let strings = encode(&batch, Format::AvroStrings { schema_id: None });
                let json = encode(&batch, Format::Json);
                for row in 0..batch.rows() {
                    let id = Some(u128::from_be_bytes(ids[row]));
                    for value in [&avro, &strings, &json] {
                        assert_eq!(first_id(relation, value.get(row)).and_then(parsed_uuid), id);
                    }
                    let time = Some(instants[row]);
                    assert_eq!(parsed_instant(times.get(row)), time);
                    assert_eq!(avro_time(relation, avro.get(row), false), time);
                    assert_eq!(avro_time(relation, strings.get(row), true), time);
                    // What is cut off has no time, and is no mistake of ours.
                    assert_eq!(avro_time(relation, &avro.get(row)[..40], false), None);
                }
            }
        }
    }

    #[test]
    fn what_is_no_id_and_no_instant_is_none() {
        for id in [
            "",
            "x",
            "00000000-0000-4000-8000-00000000000g",
            "00000000000040008000000000000000----",
        ] {
            assert_eq!(parsed_uuid(id.as_bytes()), None, "{id}");
        }
        for instant in ["", "2026-07-01T00:00:00Z", "2026-07-01T00:00:0x.000Z"] {
            assert_eq!(parsed_instant(instant.as_bytes()), None, "{instant}");
        }
    }
}
