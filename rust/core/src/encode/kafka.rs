//! Kafka's record batches, format v2, straight from columns.
//!
//! Kafka documentation, "Message Format": a batch is a header of fixed length and then its
//! records, together compressed. [`Records`] joins encoded columns to records, [`partition`] says
//! where each belongs, a [`BatchBuilder`] takes those of one partition until a batch is full, and
//! a [`Compressor`] makes the bytes of it that brokers take and store.
//!
//! ```
//! use datagen_core::encode::Encoded;
//! use datagen_core::encode::kafka::{
//!     BatchBuilder, Codec, Compressor, Header, Limits, Producer, Records, Timestamps, set_producer,
//! };
//!
//! let keys = Encoded { bytes: b"anabia".to_vec(), offsets: vec![0, 3, 6] };
//! let values = Encoded { bytes: b"12345".to_vec(), offsets: vec![0, 2, 5] };
//! let headers = [Header::same("ce_specversion", b"1.0"), Header::each("ce_subject", &keys)];
//! let records = Records::new(&keys, &values, &headers, Timestamps::Same(1_782_864_000_000));
//!
//! let mut builder = BatchBuilder::new(Limits::default());
//! assert_eq!(builder.append(&records, &[0, 1]), 2);
//! let mut batch = Vec::new();
//! builder.finish(&mut Compressor::new(Codec::Lz4), &mut batch);
//! set_producer(&mut batch, Producer { id: 4000, epoch: 0, sequence: 0 });
//! ```

mod batch;
mod codec;
mod event;
mod lz4;
mod pack;
mod partition;
mod record;
mod split;
mod stored;
pub(crate) mod varint;

pub use batch::{BatchBuilder, Limits, Producer, set_base_offset, set_producer};
pub use codec::{Codec, Compressor, Decompressor};
pub use event::{EventFormat, Events};
pub use pack::{Packed, Packer};
pub use partition::{murmur2, partition, partition_of, rows_by_partition};
pub use record::{Header, Records, Timestamps};
pub use split::{first_key, split};
pub use stored::{Flaw, Marker, StoredBatch, StoredRecord, StoredRecords};
