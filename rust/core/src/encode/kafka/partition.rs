//! To which partition a key belongs: as Java's producer decides it, so that Kafka Streams and
//! ksqlDB find equal keys of two topics in equal partitions.

use crate::encode::{Encoded, text};

/// `MurmurHash2`, 32 bits, with the seed of Kafka's `Utils.murmur2`.
#[inline]
pub fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

/// The partition of events whose key is this id.
pub fn partition_of(id: &[u8; 16], partitions: u32) -> u32 {
    let mut key = [0; text::UUID_LEN];
    text::uuid(id, &mut key);
    of_key(&key, partitions)
}

#[inline]
fn of_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// The partition of each key (Kafka's `BuiltInPartitioner.partitionForKey`).
///
/// # Panics
/// If there are no partitions.
pub fn partition(keys: &Encoded, partitions: u32) -> Vec<u32> {
    assert!(partitions > 0, "a topic with partitions");
    let mut out = Vec::with_capacity(keys.len());
    // The events of an entity come together, so most keys are the one before.
    let mut last: Option<(&[u8], u32)> = None;
    for row in 0..keys.len() {
        let key = keys.get(row);
        let number = match last {
            Some((same, number)) if same == key => number,
            _ => of_key(key, partitions),
        };
        last = Some((key, number));
        out.push(number);
    }
    out
}

/// The rows of each partition in their order, from the partition of each row.
///
/// # Panics
/// If a row's partition is not below `partitions`.
pub fn rows_by_partition(of_rows: &[u32], partitions: u32) -> Vec<Vec<u32>> {
    let mut counts = vec![0; partitions as usize];
    for number in of_rows {
        counts[*number as usize] += 1;
    }
    let mut out: Vec<Vec<u32>> = counts.into_iter().map(Vec::with_capacity).collect();
    for (row, number) in (0..).zip(of_rows) {
        out[*number as usize].push(row);
    }
    out
}
