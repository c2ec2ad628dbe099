//! One compact JSON object a row (RFC 8259), keys in catalogue order.

use super::text::{self, DATE_LEN, DECIMAL_LEN, INSTANT_LEN, UUID_LEN};
use super::{Cells, Encoded, Row, Rows, longest, put_text};
use crate::column::{Texts, Typed};

/// `end` follows each object.
pub(super) fn encode<const N: usize>(columns: &[Cells], rows: usize, end: [u8; N]) -> Encoded {
    // Hardly any text has a character to be escaped, so a column that has is rewritten first.
    let escaped: Vec<Option<Texts>> = columns.iter().map(escape).collect();
    let columns: Vec<Cells> = columns.iter().zip(&escaped).map(plain).collect();
    let keys: Vec<Key> = columns.iter().enumerate().map(|(i, c)| Key::new(c, i == 0)).collect();

    let per_row = 1 + N + keys.iter().map(|k| k.missing.len()).sum::<usize>();
    let mut out = Rows::new(rows, &columns, per_row, width);
    for row in 0..rows {
        out.push(|out| {
            for (column, key) in columns.iter().zip(&keys) {
                if column.is_valid(row) {
                    out.copy(&key.present, 0..key.present.len());
                    put_value(out, &column.data, row);
                } else {
                    out.copy(&key.missing, 0..key.missing.len());
                }
            }
            out.put([b'}']);
            out.put(end);
        });
    }
    out.finish()
}

/// What stands on either side of a string.
const QUOTE: &str = "\"";

/// What stands in front of the values of a column.
struct Key {
    /// Separator and key, and the opening quote of a string.
    present: Vec<u8>,
    /// Separator, key and `null`.
    missing: Vec<u8>,
}

impl Key {
    fn new(column: &Cells, first: bool) -> Self {
        // Names in the catalogue are identifiers: nothing to escape.
        let separator = if first { '{' } else { ',' };
        let key = format!("{separator}\"{}\":", column.field.name);
        let (quote, _) = layout(&column.data);
        Self {
            present: format!("{key}{quote}").into_bytes(),
            missing: format!("{key}null").into_bytes(),
        }
    }
}

/// What stands around a value, and most bytes of it without that and without the text itself.
fn layout(data: &Typed) -> (&'static str, usize) {
    match data {
        Typed::Uuid(_) => (QUOTE, UUID_LEN),
        Typed::Text(_) => (QUOTE, 0),
        Typed::Instant(_) => (QUOTE, INSTANT_LEN),
        Typed::Date(_) => (QUOTE, DATE_LEN),
        Typed::Enum(_, symbols) => (QUOTE, longest(symbols)),
        Typed::Decimal { .. } | Typed::Int(_) | Typed::SmallInt(_) | Typed::Bool(_) => {
            ("", DECIMAL_LEN)
        }
    }
}

/// Most bytes of a value after its key, without the text itself.
fn width(column: &Cells) -> usize {
    let (quote, width) = layout(&column.data);
    2 * quote.len() + width
}

#[inline]
fn put_value(out: &mut Row, data: &Typed, row: usize) {
    match *data {
        Typed::Uuid(_) | Typed::Text(_) | Typed::Instant(_) | Typed::Enum(..) => {
            put_text(out, data, row);
            out.put([b'"']);
        }
        Typed::Date(v) => {
            out.put(text::date(v[row]));
            out.put([b'"']);
        }
        Typed::Decimal { units: v, scale, .. } => put_number(out, v[row], scale),
        Typed::Int(v) => put_number(out, v[row].into(), 0),
        Typed::SmallInt(v) => put_number(out, v[row].into(), 0),
        Typed::Bool(v) if v[row] => out.put(*b"true"),
        Typed::Bool(_) => out.put(*b"false"),
    }
}

#[inline]
fn put_number(out: &mut Row, units: i64, scale: u8) {
    let len = text::decimal(units, scale, out.ahead());
    out.advance(len);
}

/// RFC 8259, section 7: quotation mark, reverse solidus and control characters.
const fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The texts of a column with escapes, if any text needs one.
fn escape(column: &Cells) -> Option<Texts> {
    let Typed::Text(texts) = column.data else { return None };
    // A fold, unlike `any`, looks at all bytes and so becomes vector instructions.
    if !texts.bytes.iter().fold(false, |found, b| found | must_escape(*b)) {
        return None;
    }
    let mut escaped = Texts::default();
    for row in 0..texts.offsets.len() - 1 {
        for &byte in texts.get(row) {
            push_escaped(&mut escaped.bytes, byte);
        }
        escaped.end_row();
    }
    Some(escaped)
}

fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ if must_escape(byte) => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        _ => out.push(byte),
    }
}

/// The column, with the escaped texts in place of its own.
fn plain<'a>((column, escaped): (&Cells<'a>, &'a Option<Texts>)) -> Cells<'a> {
    match escaped {
        Some(texts) => Cells { data: Typed::Text(texts), ..*column },
        None => *column,
    }
}
