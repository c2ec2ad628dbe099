//! Random draws, located by (seed, domain, row, k) and never by how many came before.
//!
//! The generator is Philox4x64-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy
//! as 1, 2, 3", SC 2011): key = (seed, domain), counter = (block, k, row, 0). `numpy.random.Philox`
//! computes the same function, and the tests compare the two.

mod normal;
mod weighted;

pub use normal::{exp2_q16, log_normal, normal_q16, poisson};
pub use weighted::{Search, Weighted, fit};

/// What a draw is for. The numbers are part of every value: never reuse or change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Domain {
    /// Rows of `customers`.
    Customer = 1,
    /// Rows of `properties`.
    Property = 2,
    /// Rows of `stocks` (ids only; they do not depend on the seed).
    Stock = 3,
    /// Rows of `accounts`.
    Account = 4,
    /// Rows of `credit_cards`.
    CreditCard = 5,
    /// Rows of `loans`.
    Loan = 6,
    /// Events of `banking.transactions`.
    Transaction = 7,
    /// Events of `banking.card-transactions`.
    CardTransaction = 8,
    /// Events of `banking.trades`.
    Trade = 9,
    /// Events of `banking.installments`.
    Installment = 10,
    /// Who has what, by block of customers.
    Layout = 11,
    /// Round keys of permutations.
    Permutation = 12,
    /// Price paths.
    Price = 13,
    /// Random Pix keys (EVP).
    PixKey = 14,
    /// What joins the products of a customer.
    Skeleton = 15,
    /// Merchants (ids only): their row is a category and a city, and k one of them there.
    Merchant = 16,
    /// Pix between customers of the bank.
    Inside = 17,
    /// Scenarios of fraud, and the ids of their instances.
    Scenario = 18,
}

impl Domain {
    /// The domain with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Customer,
            2 => Self::Property,
            3 => Self::Stock,
            4 => Self::Account,
            5 => Self::CreditCard,
            6 => Self::Loan,
            7 => Self::Transaction,
            8 => Self::CardTransaction,
            9 => Self::Trade,
            10 => Self::Installment,
            14 => Self::PixKey,
            16 => Self::Merchant,
            _ => return None,
        })
    }
}

/// A 64-bit draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Word(pub u64);

impl Word {
    /// A number in `0..n`, by multiplication; the bias is below `n / 2^64`.
    #[inline]
    pub const fn below(self, n: u64) -> u64 {
        ((self.0 as u128 * n as u128) >> 64) as u64
    }

    /// A number in `low..=high`.
    #[inline]
    pub const fn between(self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    /// Its two halves, for two draws of 32 bits.
    #[inline]
    pub const fn halves(self) -> (Half, Half) {
        (Half((self.0 >> 32) as u32), Half(self.0 as u32))
    }
}

/// A 32-bit draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Half(pub u32);

impl Half {
    /// A number in `0..n`; the bias is below `n / 2^32`, so `n` should be small.
    #[inline]
    pub const fn below(self, n: u32) -> u32 {
        ((self.0 as u64 * n as u64) >> 32) as u32
    }

    /// True in `parts` of 10 000 cases.
    #[inline]
    pub const fn chance(self, parts: u32) -> bool {
        self.below(10_000) < parts
    }
}

/// Draws of one seed.
#[derive(Debug, Clone, Copy)]
pub struct Rng {
    seed: u64,
}

const MULTIPLIERS: [u64; 2] = [0xD2E7_470E_E14C_6C93, 0xCA5A_8263_9512_1157];
const WEYL: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xBB67_AE85_84CA_A73B];

/// Philox4x64-10: 256 random bits for a counter and a key.
#[inline]
pub const fn philox(counter: [u64; 4], key: [u64; 2]) -> [u64; 4] {
    let [[w0, w1, w2, w3]] = philoxes([counter], key);
    [w0.0, w1.0, w2.0, w3.0]
}

/// The same for several counters at once: each round waits for the one before, so that a processor
/// does two or three in little more time than one.
#[expect(clippy::inline_always, reason = "see `Rng::fours`")]
#[inline(always)]
const fn philoxes<const N: usize>(counters: [[u64; 4]; N], key: [u64; 2]) -> [[Word; 4]; N] {
    let mut blocks = counters;
    let [mut k0, mut k1] = key;
    let mut round = 0;
    while round < 10 {
        let mut i = 0;
        while i < N {
            let [c0, c1, c2, c3] = blocks[i];
            let left = MULTIPLIERS[0] as u128 * c0 as u128;
            let right = MULTIPLIERS[1] as u128 * c2 as u128;
            blocks[i] = [
                (right >> 64) as u64 ^ c1 ^ k0,
                right as u64,
                (left >> 64) as u64 ^ c3 ^ k1,
                left as u64,
            ];
            i += 1;
        }
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
        round += 1;
    }
    let mut words = [[Word(0); 4]; N];
    let mut i = 0;
    while i < N {
        let [c0, c1, c2, c3] = blocks[i];
        words[i] = [Word(c0), Word(c1), Word(c2), Word(c3)];
        i += 1;
    }
    words
}

impl Rng {
    /// The draws of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Four draws for (domain, row, k); `block` numbers further fours.
    #[inline]
    pub fn four(&self, domain: Domain, row: u64, k: u64, block: u64) -> [Word; 4] {
        let [words] = philoxes([[block, k, row, 0]], [self.seed, domain as u64]);
        words
    }

    /// The first fours of successive rows, in less time than one by one.
    #[expect(clippy::inline_always, reason = "see `Rng::fours`")]
    #[inline(always)]
    pub fn rows<const N: usize>(&self, domain: Domain, first: u64, k: u64) -> [[Word; 4]; N] {
        let mut counters = [[0; 4]; N];
        for (row, counter) in (first..).zip(&mut counters) {
            *counter = [0, k, row, 0];
        }
        philoxes(counters, [self.seed, domain as u64])
    }

    /// Fours of a domain and block at these (row, k), in less time than one by one.
    #[expect(clippy::inline_always, reason = "see `Rng::fours`")]
    #[inline(always)]
    pub fn fours_of<const N: usize>(
        &self,
        domain: Domain,
        places: [(u64, u64); N],
        block: u64,
    ) -> [[Word; 4]; N] {
        let mut counters = [[0; 4]; N];
        for (&(row, k), counter) in places.iter().zip(&mut counters) {
            *counter = [block, k, row, 0];
        }
        philoxes(counters, [self.seed, domain as u64])
    }

    /// Fours of (domain, row) at these (k, block), in less time than one by one.
    #[expect(clippy::inline_always, reason = "see `Rng::fours`")]
    #[inline(always)]
    pub fn fours_at<const N: usize>(
        &self,
        domain: Domain,
        row: u64,
        places: [(u64, u64); N],
    ) -> [[Word; 4]; N] {
        let mut counters = [[0; 4]; N];
        for (&(k, block), counter) in places.iter().zip(&mut counters) {
            *counter = [block, k, row, 0];
        }
        philoxes(counters, [self.seed, domain as u64])
    }

    /// The first `N` fours of (domain, row, k), in less time than one by one.
    #[expect(clippy::inline_always, reason = "blocks that come back through memory are waited for")]
    #[inline(always)]
    pub fn fours<const N: usize>(&self, domain: Domain, row: u64, k: u64) -> [[Word; 4]; N] {
        let mut counters = [[0; 4]; N];
        for (block, counter) in (0..).zip(&mut counters) {
            *counter = [block, k, row, 0];
        }
        philoxes(counters, [self.seed, domain as u64])
    }
}
