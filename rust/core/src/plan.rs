//! What to generate.

use crate::error::Error;

/// 2026-07-01T00:00:00Z.
pub const DEFAULT_AS_OF: i64 = 1_782_864_000_000;
/// Days of history unless told otherwise; the catalogue's volumes are for this many.
pub const DEFAULT_DAYS: u32 = 90;
/// Roots of eight digits that a CPF may have, so that each customer has one of their own.
pub const MAX_CUSTOMERS: u64 = 99_999_990;
/// 2000-01-01T00:00:00Z.
const MIN_AS_OF: i64 = 946_684_800_000;
/// 2100-01-01T00:00:00Z.
const MAX_AS_OF: i64 = 4_102_444_800_000;
const MAX_DAYS: u32 = 3660;

/// The arguments of every value: equal plans give equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    seed: u64,
    customers: u64,
    as_of: i64,
    days: u32,
}

impl Plan {
    /// A plan, if its numbers are in range.
    ///
    /// `as_of` is in milliseconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] naming the first number that is not.
    pub fn try_new(seed: u64, customers: u64, as_of: i64, days: u32) -> Result<Self, Error> {
        let out_of_range = |option, value: String, allowed: &str| {
            Err(Error::OutOfRange { option, value, allowed: allowed.to_owned() })
        };
        if !(1..=MAX_CUSTOMERS).contains(&customers) {
            return out_of_range("customers", customers.to_string(), "1 to 99999990");
        }
        if !(MIN_AS_OF..MAX_AS_OF).contains(&as_of) {
            let given = format!("{as_of} ms after 1970");
            return out_of_range("as_of", given, "an instant of the years 2000 to 2099");
        }
        if !(1..=MAX_DAYS).contains(&days) {
            return out_of_range("days", days.to_string(), "1 to 3660");
        }
        Ok(Self { seed, customers, as_of, days })
    }

    /// Seed of every draw.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Number of customers.
    pub const fn customers(&self) -> u64 {
        self.customers
    }

    /// Where the history ends, in milliseconds since 1970-01-01T00:00:00Z; no event is later.
    pub const fn as_of(&self) -> i64 {
        self.as_of
    }

    /// Days of history before `as_of`.
    pub const fn days(&self) -> u32 {
        self.days
    }

    /// Where the history starts, in milliseconds.
    pub const fn start(&self) -> i64 {
        self.as_of - self.days as i64 * 86_400_000
    }
}
