//! Integers of variable length, as Protocol Buffers has them: seven bits a byte, the lowest first.

/// Small magnitudes as small numbers: 0, −1, 1, −2 become 0, 1, 2, 3.
///
/// Kafka has two widths, of which the shorter is the longer with its high bits cut: one will do.
#[inline]
pub(crate) const fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

/// What [`zigzag`] was given.
#[inline]
pub(crate) const fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// Takes a number off the front of `bytes`, if there is one.
#[inline]
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let (byte, left) = bytes.split_first()?;
        *bytes = left;
        n |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

/// Bytes that `n` takes.
#[inline]
pub(super) const fn len(n: u64) -> usize {
    (70 - (n | 1).leading_zeros() as usize) / 7
}

/// Appends `n`.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

#[cfg(test)]
mod tests {
    use super::{len, put, take, unzigzag, zigzag};

    /// Of Kafka's `ByteUtilsTest`.
    #[test]
    fn published_vectors() {
        let vectors: [(i64, &[u8]); 14] = [
            (0, &[0x00]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (-65, &[0x81, 0x01]),
            (8191, &[0xfe, 0x7f]),
            (8192, &[0x80, 0x80, 0x01]),
            (-8193, &[0x81, 0x80, 0x01]),
            (i32::MAX.into(), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN.into(), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ];
        for (n, bytes) in vectors {
            let mut out = Vec::new();
            put(&mut out, zigzag(n));
            assert_eq!(out, bytes, "{n}");
            assert_eq!(len(zigzag(n)), bytes.len(), "{n}");
            let mut left = bytes;
            assert_eq!(take(&mut left).map(unzigzag), Some(n), "{n}");
            assert!(left.is_empty());
            assert_eq!(take(&mut &bytes[..bytes.len() - 1]), None, "{n}");
        }
    }
}
