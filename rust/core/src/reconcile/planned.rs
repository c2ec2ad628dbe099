//! The rows of a plan, hashed as they should be found.

use twox_hash::XxHash3_128;

use super::{Row, Shape};
use crate::column::Batch;
use crate::encode::kafka::murmur2;
use crate::encode::{Encoded, Format, encode, text};
use crate::keys::uuids;

/// Who sends events, as the header `ce_source` says.
pub(super) const SOURCE: &[u8] = b"data-gen/financial";

/// The rows of a batch as they should be found.
pub fn rows_of(batch: &Batch, shape: Shape) -> Vec<Row> {
    let relation = batch.relation();
    let ids = uuids(&batch.columns()[0]);
    let id = |row: usize| u128::from_be_bytes(ids[row]);
    let Shape::Records { value, cloudevents, content_type, event_time, partitions, .. } = shape
    else {
        let tuples = encode(batch, Format::PgCopy);
        let hashed =
            |row| Row { id: id(row), content: XxHash3_128::oneshot(tuples.get(row)), partition: 0 };
        return (0..batch.rows()).map(hashed).collect();
    };
    let as_text = |name: &str| -> Encoded {
        let position = relation.position(name).expect("a field of the catalogue");
        text(&batch.columns()[position], &relation.fields[position])
            .expect("a field that has a text")
    };
    let (values, keys) = (encode(batch, value), as_text(relation.key()));
    let headers = relation
        .topic()
        .filter(|_| cloudevents)
        .map(|topic| (topic.ce_type, as_text(relation.fields[0].name), as_text(relation.time())));
    let instants: &[i64] =
        batch.column(relation.time()).expect("a field of the catalogue").values.stored();
    let kind: &[u8] = if value == Format::Json { b"application/json" } else { b"application/avro" };
    let mut content = Vec::new();
    let mut last: Option<(&[u8], u32)> = None;
    let mut rows = Vec::with_capacity(batch.rows());
    for (row, instant) in instants.iter().enumerate() {
        let key = keys.get(row);
        content.clear();
        put(&mut content, Some(key));
        put(&mut content, Some(values.get(row)));
        if let Some((ce_type, ids, times)) = &headers {
            let headers: [(&[u8], &[u8]); 6] = [
                (b"ce_specversion", b"1.0"),
                (b"ce_type", ce_type.as_bytes()),
                (b"ce_source", SOURCE),
                (b"ce_id", ids.get(row)),
                (b"ce_time", times.get(row)),
                (b"ce_subject", key),
            ];
            for (name, value) in headers {
                put(&mut content, Some(name));
                put(&mut content, Some(value));
            }
        }
        if content_type {
            put(&mut content, Some(b"content-type"));
            put(&mut content, Some(kind));
        }
        if event_time {
            content.extend_from_slice(&instant.to_le_bytes());
        }
        let partition = match last {
            Some((same, number)) if same == key => number,
            _ => (murmur2(key) & 0x7fff_ffff) % partitions,
        };
        last = Some((key, partition));
        rows.push(Row { id: id(row), content: XxHash3_128::oneshot(&content), partition });
    }
    rows
}

/// Appends bytes with their length before them, so that no two lists of bytes are alike.
pub(super) fn put(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let len = bytes.map_or(u32::MAX, |bytes| bytes.len() as u32);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}
