//! The sums that people choose.

use crate::brazil::data::{Purpose, Sums};
use crate::entity::skeleton::times;
use crate::rng::{Half, log_normal};

/// Draws of an amount, of which the first within the bounds counts.
const TRIES: u32 = 6;

/// Another draw made of one.
const fn another(draw: Half, n: u32) -> Half {
    // The finalizer of MurmurHash3 (Appleby, 2011).
    let mut mixed = draw.0 ^ n.wrapping_mul(0x9E37_79B9);
    mixed = (mixed ^ mixed >> 16).wrapping_mul(0x85EB_CA6B);
    mixed = (mixed ^ mixed >> 13).wrapping_mul(0xC2B2_AE35);
    Half(mixed ^ mixed >> 16)
}

/// An amount for a purpose, in centavos, of someone whose sums are `scale` times the usual ones, times 2^16. One above
/// the most that is paid, or below the least, is drawn again.
#[inline]
pub(super) fn amount(purpose: &Purpose, scale: u64, most: i64, draw: Half) -> i64 {
    let most = purpose.most.min(most);
    let least = purpose.least.min(most);
    let median = times(purpose.median as i64, scale) as u64;
    let mut drawn = draw;
    for n in 1..=TRIES {
        let exact = log_normal(drawn, median, purpose.sigma_pct) as i64;
        let sum = round(purpose.sums, exact, another(draw, 97));
        if (least..=most).contains(&sum) {
            return sum;
        }
        drawn = another(draw, n);
    }
    // What would be too little all of the time, or too much.
    let part = i64::from(20 + drawn.below(75));
    let sum = if (median as i64) < least { least + least / 100 * part } else { most / 100 * part };
    round(purpose.sums, sum.max(100), drawn).clamp(least, most.max(100))
}

/// A sum as it is chosen that way, up to an exact one or near it.
pub(super) fn round(sums: Sums, exact: i64, draw: Half) -> i64 {
    match sums {
        Sums::Free => exact,
        Sums::Mixed if draw.0 & 0xFF < 180 => exact,
        Sums::Mixed | Sums::Whole => whole(exact, draw),
        Sums::Shop => {
            let reais = exact / 100 * 100;
            match draw.0 % 100 {
                0..34 => reais + 90,
                34..60 => reais + 99,
                60..72 if reais > 0 => reais,
                72..80 => reais + 50,
                _ => exact,
            }
        }
        Sums::Notes => {
            let step = if exact >= 30_000 {
                5_000
            } else if draw.0.is_multiple_of(3) {
                1_000
            } else {
                2_000
            };
            ((exact + step / 2) / step * step).max(step)
        }
    }
}

/// Whole reais; of larger sums fives, tens and fifties.
fn whole(exact: i64, draw: Half) -> i64 {
    let round = draw.0 >> 8 & 0x7 != 0;
    let step = match exact {
        2_000..10_000 if round => 500,
        10_000..50_000 if round => 1_000,
        50_000..200_000 if round => 5_000,
        200_000.. if round => 10_000,
        _ => 100,
    };
    ((exact + step / 2) / step * step).max(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_as_people_choose_them() {
        for n in 0..10_000_u32 {
            let (exact, draw) = (i64::from(n) * 37 + 100, another(Half(n), 1));
            assert_eq!(round(Sums::Free, exact, draw), exact);
            assert_eq!(round(Sums::Whole, exact, draw) % 100, 0);
            assert_eq!(round(Sums::Notes, exact, draw) % 1_000, 0);
            assert!((round(Sums::Shop, exact, draw) - exact).abs() < 100);
        }
    }
}
