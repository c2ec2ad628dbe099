//! The events of a stream as records: key, value, and `CloudEvents` headers in binary mode. The rows of a
//! table are records too, by their primary key; they are no events, and have no such headers.

use super::record::{Header, Records, Timestamps};
use crate::column::{Batch, Column};
use crate::encode::{Encoded, Format, encode, text};

/// What an event becomes, apart from its own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFormat {
    /// How the value is encoded: Avro or JSON.
    pub value: Format,
    /// Whether events have the six `CloudEvents` headers.
    pub cloudevents: bool,
    /// Whether a header says what the value is: `application/avro` or `application/json`.
    pub content_type: bool,
    /// The timestamp of every record, or `None` for the time of its event, or of its row's last change.
    pub timestamp: Option<i64>,
}

/// The parts of a stream's records, by column.
#[derive(Debug)]
pub struct Events<'a> {
    format: EventFormat,
    ce_type: Option<&'static str>,
    keys: Encoded,
    values: Encoded,
    ids: Encoded,
    times: Encoded,
    instants: &'a [i64],
}

impl<'a> Events<'a> {
    /// Encodes the events or rows of a batch.
    pub fn new(batch: &'a Batch, format: EventFormat) -> Self {
        let relation = batch.relation();
        let ce_type = relation.topic().filter(|_| format.cloudevents).map(|topic| topic.ce_type);
        let column = |name: &str| batch.column(name).expect("a field of the catalogue");
        let as_text = |name: &str| {
            let position = relation.position(name).expect("a field of the catalogue");
            text(column(name), &relation.fields[position]).expect("a field that has a text")
        };
        let header = |name: &str| {
            let nothing = || Encoded { bytes: Vec::new(), offsets: vec![0] };
            if ce_type.is_some() { as_text(name) } else { nothing() }
        };
        Self {
            format,
            ce_type,
            keys: as_text(relation.key()),
            values: encode(batch, format.value),
            ids: header(relation.fields[0].name),
            times: header(relation.time()),
            instants: instants(column(relation.time())),
        }
    }

    /// The keys, which decide about partitions.
    pub const fn keys(&self) -> &Encoded {
        &self.keys
    }

    /// The records, in the order of the batch.
    pub fn records(&self) -> Records<'_> {
        let mut headers = Vec::with_capacity(7);
        if let Some(ce_type) = self.ce_type {
            headers.extend([
                Header::same("ce_specversion", b"1.0"),
                Header::same("ce_type", ce_type.as_bytes()),
                Header::same("ce_source", b"data-gen/financial"),
                Header::each("ce_id", &self.ids),
                Header::each("ce_time", &self.times),
                Header::each("ce_subject", &self.keys),
            ]);
        }
        if self.format.content_type {
            let name: &[u8] = match self.format.value {
                Format::Json => b"application/json",
                _ => b"application/avro",
            };
            headers.push(Header::same("content-type", name));
        }
        let timestamps = match self.format.timestamp {
            Some(timestamp) => Timestamps::Same(timestamp),
            None => Timestamps::Each(self.instants),
        };
        Records::new(&self.keys, &self.values, &headers, timestamps)
    }
}

fn instants(column: &Column) -> &[i64] {
    column.values.stored()
}
