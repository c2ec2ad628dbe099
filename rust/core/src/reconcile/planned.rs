//! The rows of a plan, hashed as they should be found.

use twox_hash::XxHash3_128;

use super::content::Marks;
use super::{Row, Shape};
use crate::column::Batch;
use crate::encode::kafka::partition_of;
use crate::encode::{Format, encode};
use crate::keys::uuids;

/// The rows of a batch as they should be found.
pub fn rows_of(batch: &Batch, shape: Shape) -> Vec<Row> {
    let relation = batch.relation();
    let ids = uuids(&batch.columns()[0]);
    let id = |row: usize| u128::from_be_bytes(ids[row]);
    let Shape::Records { value, event_time, partitions, .. } = shape else {
        let tuples = encode(batch, Format::PgCopy);
        let hashed =
            |row| Row { id: id(row), content: XxHash3_128::oneshot(tuples.get(row)), partition: 0 };
        return (0..batch.rows()).map(hashed).collect();
    };
    let column = |name: &str| batch.column(name).expect("a field of the catalogue");
    let (values, keys) = (encode(batch, value), uuids(column(relation.key())));
    let instants: &[i64] = column(relation.time()).values.stored();
    let (is_stream, mut last) = (relation.topic().is_some(), None);
    let (mut rows, mut scratch) = (Vec::with_capacity(batch.rows()), Vec::new());
    for (row, (key, instant)) in keys.iter().zip(instants).enumerate() {
        let partition = match last {
            Some((same, number)) if same == key => number,
            _ => partition_of(key, partitions),
        };
        last = Some((key, partition));
        let marks = Marks {
            id: id(row),
            key: u128::from_be_bytes(*key),
            time: if is_stream { *instant } else { 0 },
            timestamp: if event_time { *instant } else { 0 },
        };
        rows.push(Row {
            id: marks.id,
            content: marks.content(values.get(row), &mut scratch),
            partition,
        });
    }
    rows
}
