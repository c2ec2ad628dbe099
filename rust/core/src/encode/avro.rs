//! Avro 1.11, "Binary Encoding": the fields of the record in order, without names or types.

use super::text::{self, UUID_LEN};
use super::{Cells, Encoded, Row, Rows, longest, part, symbol};
use crate::column::Typed;

/// Union branches of `["null", T]`, as zigzag numbers.
const NULL: u8 = 0;
const VALUE: u8 = 2;

/// Confluent's wire format: a zero, then the schema id as four bytes, big-endian.
const FRAME_LEN: usize = 5;

/// Most bytes of a 64-bit number: 64 bits in sevens.
const LONG_LEN: usize = 10;

/// With `STRINGS` the symbols of enumerations are strings, not positions.
pub(super) fn encode<const STRINGS: bool>(
    columns: &[Cells],
    rows: usize,
    schema_id: Option<u32>,
) -> Encoded {
    let frame = schema_id.map(frame);
    let mut out = Rows::new(rows, columns, FRAME_LEN, width::<STRINGS>);
    for row in 0..rows {
        out.push(|out| {
            if let Some(frame) = frame {
                out.put(frame);
            }
            for column in columns {
                if let Some(validity) = column.validity {
                    if !validity[row] {
                        out.put([NULL]);
                        continue;
                    }
                    out.put([VALUE]);
                }
                put_value::<STRINGS>(out, &column.data, row);
            }
        });
    }
    out.finish()
}

fn frame(schema_id: u32) -> [u8; FRAME_LEN] {
    let mut frame = [0; FRAME_LEN];
    frame[1..].copy_from_slice(&schema_id.to_be_bytes());
    frame
}

/// Most bytes of a value, beside the text itself.
fn width<const STRINGS: bool>(column: &Cells) -> usize {
    let value = match column.data {
        Typed::Uuid(_) => 1 + UUID_LEN,
        Typed::Bool(_) => 1,
        Typed::Decimal { .. } => 1 + size_of::<i64>(),
        Typed::Enum(_, symbols) if STRINGS => LONG_LEN + longest(symbols),
        Typed::Text(_)
        | Typed::Instant(_)
        | Typed::Int(_)
        | Typed::Date(_)
        | Typed::SmallInt(_)
        | Typed::Enum(..) => LONG_LEN,
    };
    usize::from(column.field.nullable) + value
}

#[inline]
fn put_value<const STRINGS: bool>(out: &mut Row, data: &Typed, row: usize) {
    match data {
        Typed::Uuid(v) => put_uuid(out, &v[row]),
        Typed::Text(v) => {
            let part = part(v, row);
            put_long(out, (part.end - part.start) as i64);
            out.copy(&v.bytes, part);
        }
        Typed::Decimal { units: v, .. } => put_decimal(out, v[row]),
        Typed::Instant(v) => put_long(out, v[row]),
        Typed::Int(v) | Typed::Date(v) => put_long(out, i64::from(v[row])),
        Typed::SmallInt(v) => put_long(out, i64::from(v[row])),
        Typed::Bool(v) => out.put([u8::from(v[row])]),
        Typed::Enum(v, symbols) if STRINGS => {
            let symbol = symbol(symbols, v[row]);
            put_long(out, symbol.len() as i64);
            out.copy(symbol, 0..symbol.len());
        }
        Typed::Enum(v, _) => put_long(out, i64::from(v[row])),
    }
}

/// A number in zigzag order (0, -1, 1, -2, …), seven bits a byte, the lowest first.
#[inline]
fn put_long(out: &mut Row, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    // Lengths, symbols and small numbers: by far the most.
    if rest < 0x80 {
        return out.put([rest as u8]);
    }
    let mut len = 0;
    for byte in out.ahead::<LONG_LEN>() {
        len += 1;
        if rest < 0x80 {
            *byte = rest as u8;
            break;
        }
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    out.advance(len);
}

/// Logical type `uuid`: a string, whose length is the number 36.
#[inline]
fn put_uuid(out: &mut Row, id: &[u8; 16]) {
    out.put([2 * UUID_LEN as u8]);
    text::uuid(id, out.ahead());
    out.advance(UUID_LEN);
}

/// Logical type `decimal`: the units as bytes in two's complement, big-endian, as few as will do.
#[inline]
fn put_decimal(out: &mut Row, units: i64) {
    // Bits that merely repeat the sign may go, all but one.
    let repeated = (units ^ (units >> 63)).leading_zeros();
    let len = (72 - repeated) / 8;
    out.put([2 * len as u8]);
    *out.ahead() = (units << (64 - 8 * len)).to_be_bytes();
    out.advance(len as usize);
}
