//! `PostgreSQL` binary COPY: "File Formats, Binary Format" of the COPY page; the values are those
//! of each type's `send` function. All numbers are big-endian.

use std::ops::Range;

use super::{Cells, Encoded, Row, Rows, longest, part, symbol};
use crate::column::Typed;

/// What a COPY stream starts with: signature, flags (none), length of the extension (none).
pub const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with: a tuple of -1 fields.
pub const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Length of a missing value.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();
/// Dates and timestamps count from 2000-01-01: in days and milliseconds after 1970-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MILLIS: i64 = 946_684_800_000;

/// `NUMERIC_POS` and `NUMERIC_NEG` of `numeric.c`.
const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
/// Most groups of four decimal digits: 5 before the point, for the 19 digits of an `i64`, and 4
/// after it.
const MAX_GROUPS: usize = 9;
/// Bytes of number of groups, weight, sign and scale.
const NUMERIC_HEAD: usize = 8;

pub(super) fn encode(columns: &[Cells], rows: usize) -> Encoded {
    let count = (columns.len() as i16).to_be_bytes();
    let mut out = Rows::new(rows, columns, count.len(), width);
    for row in 0..rows {
        out.push(|out| {
            out.put(count);
            for column in columns {
                if column.is_valid(row) {
                    put_value(out, &column.data, row);
                } else {
                    out.put(NULL);
                }
            }
        });
    }
    out.finish()
}

/// Most bytes of a value with its length, beside the text itself.
fn width(column: &Cells) -> usize {
    let value = match column.data {
        Typed::Uuid(_) => size_of::<[u8; 16]>(),
        Typed::Text(_) => 0,
        Typed::Decimal { .. } => NUMERIC_HEAD + 2 * MAX_GROUPS,
        Typed::Instant(_) => size_of::<i64>(),
        Typed::Int(_) | Typed::Date(_) => size_of::<i32>(),
        Typed::SmallInt(_) => size_of::<i16>(),
        Typed::Bool(_) => size_of::<bool>(),
        Typed::Enum(_, symbols) => longest(symbols),
    };
    NULL.len() + value
}

#[inline]
fn put_value(out: &mut Row, data: &Typed, row: usize) {
    match *data {
        Typed::Uuid(v) => put_fixed(out, v[row]),
        Typed::Text(v) => put_part(out, &v.bytes, part(v, row)),
        Typed::Decimal { units: v, scale, .. } => put_numeric(out, v[row], scale),
        Typed::Instant(v) => put_fixed(out, ((v[row] - EPOCH_MILLIS) * 1000).to_be_bytes()),
        Typed::Int(v) => put_fixed(out, v[row].to_be_bytes()),
        Typed::Date(v) => put_fixed(out, (v[row] - EPOCH_DAYS).to_be_bytes()),
        Typed::SmallInt(v) => put_fixed(out, v[row].to_be_bytes()),
        Typed::Bool(v) => put_fixed(out, [u8::from(v[row])]),
        Typed::Enum(v, symbols) => {
            let symbol = symbol(symbols, v[row]);
            put_part(out, symbol, 0..symbol.len());
        }
    }
}

#[inline]
fn put_fixed<const N: usize>(out: &mut Row, value: [u8; N]) {
    out.put((N as i32).to_be_bytes());
    out.put(value);
}

#[inline]
fn put_part(out: &mut Row, bytes: &[u8], part: Range<usize>) {
    out.put((part.len() as i32).to_be_bytes());
    out.copy(bytes, part);
}

/// `numeric_send`: the groups from the first to the last that is not zero, where the first weighs
/// `10000^weight`. Zero has no groups, and weighs nothing.
#[inline]
fn put_numeric(out: &mut Row, units: i64, scale: u8) {
    let (groups, point) = groups(units.unsigned_abs(), scale.into());
    let first = groups.iter().position(|g| *g != 0).unwrap_or(point - 1);
    let last = groups.iter().rposition(|g| *g != 0).map_or(first, |i| i + 1);
    let digits = &groups[first..last];
    let weight = point as i16 - 1 - first as i16;
    let sign = if units < 0 { NEGATIVE } else { POSITIVE };

    out.put(((NUMERIC_HEAD + 2 * digits.len()) as i32).to_be_bytes());
    out.put((digits.len() as u16).to_be_bytes());
    out.put(weight.to_be_bytes());
    out.put(sign.to_be_bytes());
    out.put(u16::from(scale).to_be_bytes());
    for group in digits {
        out.put(group.to_be_bytes());
    }
}

/// The digits in groups of four, and how many of the groups are in front of the point.
#[inline]
fn groups(units: u64, scale: u32) -> ([u16; MAX_GROUPS], usize) {
    let after = scale.div_ceil(4);
    let point = MAX_GROUPS - after as usize;
    let one = 10_u64.pow(scale);
    let mut whole = units / one;
    let mut fraction = units % one * 10_u64.pow(4 * after - scale);
    let mut groups = [0; MAX_GROUPS];
    for group in groups[point..].iter_mut().rev() {
        *group = (fraction % 10_000) as u16;
        fraction /= 10_000;
    }
    for group in groups[..point].iter_mut().rev() {
        if whole == 0 {
            break;
        }
        *group = (whole % 10_000) as u16;
        whole /= 10_000;
    }
    (groups, point)
}
