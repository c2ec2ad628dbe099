//! Ids and other numbers by keyed bijection: unique by construction, and leading back to their row.

use crate::rng::{Domain, Rng};

const HALF: u64 = (1 << 61) - 1;
const ROUNDS: usize = 4;
const ROW_BITS: u32 = 48;
const K_BITS: u32 = 32;
const CHECK_BITS: u32 = 36;
/// Bits of `k` that are in the lower half.
const LOWER_K_BITS: u32 = 61 - CHECK_BITS;

/// Where an id comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Table or stream.
    pub domain: Domain,
    /// Row of the table, or of the entity that the event belongs to (48 bits).
    pub row: u64,
    /// Which event of the entity; 0 for a row of a table.
    pub k: u32,
}

/// Turns an [`Origin`] into a UUID and back.
///
/// The 122 free bits of a version-4 UUID are one four-round Feistel network (Luby and Rackoff, 1988)
/// over `domain (6) · row (48) · k (32) · zeros (36)`. The zeros come back as zeros only from an id
/// of the same seed, so a stranger is recognised but for one in 2^36.
#[derive(Debug, Clone, Copy)]
pub struct Ids {
    keys: [u64; ROUNDS],
}

/// Spreads a number over 64 bits, by a key.
#[inline]
pub(crate) const fn mix(x: u64, key: u64) -> u64 {
    // The finalizer of SplitMix64 (Steele, Lea and Flood, 2014), keyed.
    let mut z = x.wrapping_add(key);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Ids {
    /// The ids of a seed.
    pub fn new(rng: &Rng) -> Self {
        Self { keys: rng.four(Domain::Permutation, 0, 0, 0).map(|word| word.0) }
    }

    /// The id of an origin.
    #[inline]
    pub fn encode(&self, origin: Origin) -> [u8; 16] {
        debug_assert!(origin.row < 1 << ROW_BITS);
        let k = u64::from(origin.k);
        let top = (u64::from(origin.domain as u8) << ROW_BITS) | origin.row;
        let mut left = (top << (K_BITS - LOWER_K_BITS)) | (k >> LOWER_K_BITS);
        let mut right = (k << CHECK_BITS) & HALF;
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right, key) & HALF));
        }
        // RFC 9562: version 4 in the top of the seventh byte, variant 10 in the top of the ninth.
        let high = ((left >> 13) << 16) | (0x4 << 12) | ((left >> 1) & 0xFFF);
        let low = (0b10 << 62) | ((left & 1) << 61) | right;
        ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
    }

    /// The origin of an id, if this seed made it.
    pub fn decode(&self, id: [u8; 16]) -> Option<Origin> {
        let shaped = u128::from_be_bytes(id);
        if shaped >> 76 & 0xF != 0x4 || shaped >> 62 & 0b11 != 0b10 {
            return None;
        }
        let bits =
            (shaped >> 80 << 74) | ((shaped >> 64 & 0xFFF) << 62) | (shaped & ((1 << 62) - 1));
        let (mut left, mut right) = ((bits >> 61) as u64, bits as u64 & HALF);
        for key in self.keys.iter().rev() {
            (left, right) = (right ^ (mix(left, *key) & HALF), left);
        }
        let plain = (u128::from(left) << 61) | u128::from(right);
        if plain & ((1 << CHECK_BITS) - 1) != 0 {
            return None;
        }
        Some(Origin {
            domain: Domain::from_number((plain >> (ROW_BITS + K_BITS + CHECK_BITS)) as u8)?,
            row: (plain >> (K_BITS + CHECK_BITS)) as u64 & ((1 << ROW_BITS) - 1),
            k: (plain >> CHECK_BITS) as u32,
        })
    }
}

/// A keyed bijection of `0..size`, for numbers that must be distinct (CPF, card, account).
///
/// A four-round Feistel network over the next even number of bits, walked until it falls inside
/// (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
#[derive(Debug, Clone, Copy)]
pub struct Permutation {
    keys: [u64; ROUNDS],
    size: u64,
    half_bits: u32,
}

impl Permutation {
    /// A permutation of `0..size`; `number` tells the permutations of one seed apart.
    pub fn new(rng: &Rng, number: u64, size: u64) -> Self {
        let bits = 64 - (size - 1).leading_zeros();
        Self {
            keys: rng.four(Domain::Permutation, number, 0, 0).map(|word| word.0),
            size,
            half_bits: bits.div_ceil(2),
        }
    }

    /// Where `x` goes.
    #[inline]
    pub fn apply(&self, x: u64) -> u64 {
        self.apply_of(x, 0)
    }

    /// Where `x` goes by the permutation with a number among those of this key.
    #[inline]
    pub fn apply_of(&self, x: u64, number: u64) -> u64 {
        debug_assert!(x < self.size);
        let mask = (1 << self.half_bits) - 1;
        let tweak = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut x = x;
        loop {
            let (mut left, mut right) = (x >> self.half_bits, x & mask);
            for key in self.keys {
                (left, right) = (right, left ^ (mix(right, key.wrapping_add(tweak)) & mask));
            }
            x = (left << self.half_bits) | right;
            if x < self.size {
                return x;
            }
        }
    }

    /// What goes to `y`; none for a number that is not in `0..size`.
    pub fn invert(&self, y: u64) -> Option<u64> {
        self.invert_of(y, 0)
    }

    /// What goes to `y` by the permutation with a number among those of this key.
    pub fn invert_of(&self, y: u64, number: u64) -> Option<u64> {
        if y >= self.size {
            return None;
        }
        let mask = (1 << self.half_bits) - 1;
        let tweak = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut y = y;
        loop {
            let (mut left, mut right) = (y >> self.half_bits, y & mask);
            for key in self.keys.iter().rev() {
                let before = right ^ (mix(left, key.wrapping_add(tweak)) & mask);
                (left, right) = (before, left);
            }
            y = (left << self.half_bits) | right;
            if y < self.size {
                return Some(y);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_leads_back() {
        for (seed, size) in [(0, 2), (7, 40), (42, 1 << 14), (9, 99_999_990), (u64::MAX, 1 << 40)] {
            let permutation = Permutation::new(&Rng::new(seed), 3, size);
            let step = (size / 1_000).max(1);
            for x in (0..size).step_by(step as usize).chain([size - 1]) {
                assert_eq!(permutation.invert(permutation.apply(x)), Some(x));
                for number in [1, 6_103, u64::MAX] {
                    let there = permutation.apply_of(x, number);
                    assert_eq!(permutation.invert_of(there, number), Some(x));
                }
            }
            assert_eq!(permutation.invert(size), None);
            assert_eq!(permutation.invert(u64::MAX), None);
        }
    }
}
