//! What to generate.

use crate::civil;
use crate::error::Error;

/// 2026-07-01T00:00:00Z.
pub const DEFAULT_AS_OF: i64 = 1_782_864_000_000;
/// Days of history by default; the catalogue's volumes are for this many.
pub const DEFAULT_DAYS: u32 = 90;
/// Roots of eight digits that a CPF may have, so that each customer has one of their own.
pub const MAX_CUSTOMERS: u64 = 99_999_990;
/// 2021-01-01T00:00:00Z: no history starts before, since its institutions were others.
///
/// Pix began on 16 November 2020; B3 settles on the second day since 27 May 2019; the last daylight saving
/// time ended on 17 February 2019.
pub const FIRST_START: i64 = 1_609_459_200_000;
/// The year of [`FIRST_START`].
const FIRST_YEAR: i32 = 2021;
/// 2100-01-01T00:00:00Z: every history ends before.
const END: i64 = 4_102_444_800_000;
const MAX_DAYS: u32 = 3660;
const DAY: i64 = 86_400_000;

/// The scenarios that are woven into events, by the names of their rates and the rates that they have by default, of
/// a million accounts or cards in a month.
pub const SCENARIOS: [(&str, u32); 7] = [
    ("pix-scam", 2_000),
    ("account-takeover", 400),
    ("mule-chain", 600),
    ("structuring", 200),
    ("card-testing", 1_000),
    ("cloned-card", 800),
    ("bust-out", 300),
];
/// A quarter of all accounts or cards in a month, for one scenario: together they are not more than all.
pub const MOST_LABELLED: u32 = 250_000;

/// How many of a million accounts or cards each of the [`SCENARIOS`] befalls in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rates([u32; SCENARIOS.len()]);

impl Default for Rates {
    fn default() -> Self {
        Self(SCENARIOS.map(|(_, rate)| rate))
    }
}

impl Rates {
    /// The rate of a scenario, by its place among all.
    pub const fn of(&self, place: usize) -> u32 {
        self.0[place]
    }

    /// The same rates but for that of one scenario.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if it is no scenario, or the rate is above [`MOST_LABELLED`].
    pub fn with(mut self, name: &str, rate: u32) -> Result<Self, Error> {
        let refused =
            |value: String, allowed: String| Error::OutOfRange { option: "labels", value, allowed };
        let Some(place) = SCENARIOS.iter().position(|(known, _)| *known == name) else {
            let names = SCENARIOS.map(|(name, _)| name).join(", ");
            return Err(refused(name.to_owned(), format!("rates of {names}")));
        };
        if rate > MOST_LABELLED {
            return Err(refused(format!("{name}={rate}"), "up to 250000 of a million".to_owned()));
        }
        self.0[place] = rate;
        Ok(self)
    }
}

/// The arguments of every value: equal plans give equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    seed: u64,
    customers: u64,
    as_of: i64,
    days: u32,
    labels: Option<Rates>,
}

impl Plan {
    /// A plan, if its numbers are in range.
    ///
    /// `as_of` is in milliseconds since 1970-01-01T00:00:00Z, in the years 2021 to 2099; the history of
    /// 1 to 3 660 `days` before it starts in 2021 or later ([`FIRST_START`]). `customers` are 1 to
    /// 99 999 990, as many as have a CPF of their own.
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
        if !(FIRST_START..END).contains(&as_of) {
            let given = format!("{as_of} ms after 1970");
            // The first with which the days would do.
            let history = days.clamp(1, MAX_DAYS);
            let first = FIRST_START / DAY + i64::from(history);
            let (year, month, day) = civil::from_days(first as i32);
            let allowed = format!(
                "{year}-{month:02}-{day:02} to 2099-12-31, with {history} days of history from {FIRST_YEAR} on"
            );
            return out_of_range("as_of", given, &allowed);
        }
        let most = i64::from(MAX_DAYS).min((as_of - FIRST_START) / DAY);
        if !(1..=most).contains(&days.into()) {
            let later = format!("a later as_of, as no history starts before {FIRST_YEAR}");
            let allowed = match most {
                0 => later,
                // No later instant has room for none, or for more than the most.
                _ if !(1..=MAX_DAYS).contains(&days) => format!("1 to {most}"),
                _ => format!("1 to {most}, or {later}"),
            };
            return out_of_range("days", days.to_string(), &allowed);
        }
        Ok(Self { seed, customers, as_of, days, labels: None })
    }

    /// The same plan, with scenarios woven into its events, or without any.
    #[must_use]
    pub const fn with_labels(self, labels: Option<Rates>) -> Self {
        Self { labels, ..self }
    }

    /// The rates of the scenarios that are woven into events, if any are.
    pub const fn labels(&self) -> Option<&Rates> {
        self.labels.as_ref()
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
        self.as_of - self.days as i64 * DAY
    }
}
