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

/// An id as it is written: one in capitals is another text.
#[inline]
pub(super) fn parsed_uuid(text: &[u8]) -> Option<u128> {
    let text: &[u8; 36] = text.try_into().ok()?;
    if [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let mut digits = [0; 32];
    digits[..8].copy_from_slice(&text[..8]);
    digits[8..12].copy_from_slice(&text[9..13]);
    digits[12..16].copy_from_slice(&text[14..18]);
    digits[16..20].copy_from_slice(&text[19..23]);
    digits[20..].copy_from_slice(&text[24..]);
    let mut is_none = 0;
    for digit in &mut digits {
        let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        let is_number = number < 10;
        is_none |= u8::from(!is_number && letter >= 6);
        *digit = if is_number { number } else { letter.wrapping_add(10) };
    }
    let mut id = [0; 16];
    for (byte, at) in id.iter_mut().zip((0..32).step_by(2)) {
        *byte = digits[at] << 4 | digits[at + 1] & 15;
    }
    (is_none == 0).then_some(u128::from_be_bytes(id))
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`, as it is written, as milliseconds since 1970.
#[inline]
pub(super) fn parsed_instant(text: &[u8]) -> Option<i64> {
    const MOST: &[u8; 24] = b"9999-19-39T29:59:59.999Z";
    const ZERO: &[u8; 24] = b"0000-00-00T00:00:00.000Z";
    let text: &[u8; 24] = text.try_into().ok()?;
    let (mut digits, mut is_none) = ([0; 24], 0);
    for at in 0..24 {
        is_none |= u8::from(text[at] < ZERO[at] || text[at] > MOST[at]);
        digits[at] = u32::from(text[at].wrapping_sub(ZERO[at]));
    }
    let two = |at: usize| digits[at] * 10 + digits[at + 1];
    let (year, month, day) = (two(0) * 100 + two(2), two(5), two(8));
    let (hour, minute, second) = (two(11), two(14), two(17));
    if is_none != 0 || !(1..=12).contains(&month) || hour > 23 {
        return None;
    }
    let millis = digits[20] * 100 + two(21);
    if !(1..=length_of(year, month)).contains(&day) {
        return None;
    }
    let days = civil::to_days(year as i32, month, day);
    let seconds = hour * 3600 + minute * 60 + second;
    Some(i64::from(days) * MS_PER_DAY + i64::from(seconds * 1000 + millis))
}

/// Days of a month.
const fn length_of(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(if year.is_multiple_of(100) { 400 } else { 4 }) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
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

    /// No two texts are one id, or one instant.
    #[test]
    fn what_is_read_is_as_it_is_written() {
        let written = |id: u128| {
            let hex = format!("{id:032x}");
            let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]);
            parts.join("-")
        };
        let instant = |millis: i64| {
            let (days, of_day) = (millis.div_euclid(MS_PER_DAY), millis.rem_euclid(MS_PER_DAY));
            let (year, month, day) = civil::from_days(days as i32);
            let (seconds, millis) = (of_day / 1000, of_day % 1000);
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            format!(
                "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z"
            )
        };
        let mut read = 0;
        for text in ["1234abcd-0000-4fff-8901-23456789abcf", "2024-02-29T23:59:59.999Z"] {
            for at in 0..text.len() {
                for byte in 0..=255 {
                    let mut other = text.as_bytes().to_vec();
                    other[at] = byte;
                    let again = match text.len() {
                        36 => parsed_uuid(&other).map(written),
                        _ => parsed_instant(&other).map(instant),
                    };
                    read += usize::from(again.is_some());
                    assert!(again.is_none_or(|again| again.as_bytes() == other), "{other:?}");
                }
            }
        }
        // All sixteen digits in each of 32 places, and in an instant more than one in each of 17.
        assert!(read > 32 * 16 + 17);
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
