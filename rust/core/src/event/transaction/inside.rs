//! Pix between two customers of the bank: both legs, each found from its own side alone.
//!
//! A week of a month has a mask, and the mask pairs every customer with the one whose row differs by it: an
//! involution, so that each side finds the other without a look-up. Masks stay within [`CIRCLE`] rows, so a
//! pair meets again, and a partner is beyond the customers of a load only in its last circle. Whether they pay, when,
//! who and how much are draws of the pair.

use super::amounts::round;
use crate::brazil::calendar::{Month, instant, local_day};
use crate::brazil::data::Sums;
use crate::brazil::hours::{DAYLIGHT, time_between};
use crate::entity::customer::Customer;
use crate::entity::skeleton::{ONE, Skeleton, times};
use crate::event::History;
use crate::plan::MAX_CUSTOMERS;
use crate::rng::{Domain, Word, log_normal};

/// Rows within which customers pay one another.
pub const CIRCLE: u64 = 128;
/// Weeks of a month in which a pair may meet; what is left of the month has none.
pub(super) const WEEKS: u64 = 4;
/// Of 65 536 weeks of two customers of usual activity, those in which one pays the other.
const RATE: u64 = 12_500;
/// No sum is above this, in centavos.
const MOST: i64 = 500_000;

/// A customer's side of a payment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leg {
    /// Milliseconds.
    pub(super) time: i64,
    /// Whether the customer pays.
    pub(super) pays: bool,
    /// Row of the other customer.
    pub(super) partner: u64,
    /// Centavos.
    pub(super) amount: i64,
    /// For the end-to-end id.
    pub(super) id: Word,
}

/// Rows of the plan's largest possible bank, so that a partner does not depend on the load.
fn partner(history: &History, row: u64, month: i32, week: u64) -> Option<u64> {
    let [mask, reach, ..] =
        history.context.rng.four(Domain::Inside, u64::MAX >> 16, (month as u64) << 8 | week, 0);
    // Near ones meet more often.
    let bits = 1 + reach.below(7).min(reach.halves().1.below(7).into());
    let partner = row ^ (1 + mask.below((1 << bits) - 1));
    (partner < MAX_CUSTOMERS).then_some(partner)
}

/// How probable a customer's part in a payment is, of 65 536.
fn rate(life: &Skeleton) -> u64 {
    if life.dormant {
        return 0;
    }
    RATE * u64::from(life.activity) / ONE
}

/// The customer's side of what happens between them and their partner of a week; of a customer whose standing is good
/// in the month.
pub(super) fn leg(
    history: &History,
    life: &Skeleton,
    joined_at: i64,
    month: &Month,
    week: u64,
) -> Option<Leg> {
    let partner = partner(history, life.row, month.number, week)?;
    let context = &history.context;
    let first = life.row.min(partner);
    let place = (month.number as u64) << 8 | week;
    let [happens, when, size, id] = context.rng.four(Domain::Inside, first, place, 1);
    let (happens, sum) = happens.halves();
    let chance = u64::from(happens.0 >> 16);
    if chance >= rate(life) {
        return None;
    }
    let other = Customer::new(context, partner);
    let other_life = Skeleton::new(context, &other);
    if chance >= rate(&other_life) || !other_life.standing(month.number).is_good() {
        return None;
    }
    let (day, time) = when.halves();
    let day = month.first_day + (7 * week) as i32 + day.below(7) as i32;
    // In the day, below the night cap.
    let time = instant(day, time_between(DAYLIGHT, time));
    let (size, side) = size.halves();
    let pays = (side.0 & 1 == 0) == (life.row == first);
    let payer = if pays { life.income } else { other_life.income };
    let scale = ((payer as u64 * ONE / 300_000) * ONE).isqrt().clamp(ONE / 2, 5 * ONE);
    let amount = round(Sums::Mixed, log_normal(size, times(6_500, scale) as u64, 120) as i64, sum);
    // Who joins later than that, or the day before, does not pay yet.
    let known = day > 1 + local_day(joined_at.max(other.created_at));
    known.then_some(Leg { time, pays, partner, amount: amount.clamp(500, MOST), id })
}
